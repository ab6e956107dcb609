let words = CommandLine.arguments.dropFirst()
if words.starts(with: ["bench", "model"]) {
    let rest = words.dropFirst(2)
    try benchModel(
        numerics: rest.first { $0 == "haswell" || $0 == "skylakex" },
        threads: rest.contains("2") ? 2 : 1, json: rest.contains("json"))
} else {
    print("coldstream")
}
