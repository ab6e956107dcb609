import RankingModel

let words = CommandLine.arguments.dropFirst()
if words.starts(with: ["bench", "model"]) {
    let rest = words.dropFirst(2)
    try benchModel(
        numerics: rest.first { $0 == "haswell" || $0 == "skylakex" },
        threads: rest.contains("2") ? 2 : 1, json: rest.contains("json"),
        only: rest.first { $0.contains("_") })
} else if words.starts(with: ["bench", "json"]) {
    JSONBenchmark.run(json: words.contains("--format") && words.last == "json")
} else if words.starts(with: ["evaluate", "ranklens"]) {
    let rest = Array(words.dropFirst(2))
    try evaluateRankLens(
        folder: rest[0], seeds: rest.count > 1 ? Int(rest[1])! : 5,
        variants: rest.count > 2
            ? Array(rest.dropFirst(2)) : ["single (separate models)"] + ModelConfiguration.variants)
} else if words.starts(with: ["evaluate", "online"]) {
    let rest = Array(words.dropFirst(2))
    try evaluateOnline(folder: rest[0], seeds: rest.count > 1 ? Int(rest[1])! : 3)
} else {
    try trial()
}
