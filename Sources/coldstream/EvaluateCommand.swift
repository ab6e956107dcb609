// `coldstream evaluate`: figures recomputed from what a run left, and studies on public data.

import CommandLineArguments
import RankingModel
import Reports

enum EvaluateCommand {
    static let output = Argument<String>(
        "DIR", help: "the output folder of a run: its examples.jsonl is read"
    ).completing(.directories)
    static let truth = Option<String?>(
        "truth", "DIR",
        help: "a simulation's folder: also the ceiling and whether intervals hold the truth"
    ).completing(.directories)
    static let folder = Argument<String>(
        "DIR", help: "the folder with RankLens' files"
    ).completing(.directories)
    static let seeds = Option<Int>("seeds", "N", default: 5, help: "how many seeds to average")
        .within(1...100)
    static let onlineSeeds = Option<Int>(
        "seeds", "N", default: 3, help: "how many seeds to average"
    ).within(1...100)
    static let variants = Option<[String]>(
        "variant", "NAME", help: "only this variant of the network")

    static let textFolder = Argument<String>(
        "DIR", help: "RankLens' files, or a folder that simulate wrote"
    ).completing(.directories)
    static let held = Option<[String]>(
        "held", "DOMAIN", help: "only this held-out domain")
    static let threads = Option<Int>(
        "threads", "N", default: 1, help: "pretrainings at the same time"
    ).within(1...256)

    static let command = Command<Action>(
        "evaluate", "Recomputes a run's quality exactly, or measures the network on public data.",
        [output, truth],
        subcommands: [
            Command(
                "ranklens", "The network's variants on RankLens beside the reference program.",
                [folder, seeds, variants],
                action: { arguments in
                    let named = arguments[variants]
                    try evaluateRankLens(
                        folder: arguments[folder], seeds: arguments[seeds],
                        variants: named.isEmpty
                            ? ["single (separate models)"] + ModelConfiguration.variants : named)
                    return .done
                }),
            Command(
                "online", "Online learning on four held-out domains of RankLens.",
                [folder, onlineSeeds],
                action: { arguments in
                    try evaluateOnline(folder: arguments[folder], seeds: arguments[onlineSeeds])
                    return .done
                }),
            Command(
                "text",
                "What text vectors are worth to a domain nobody has seen: none, random, n-grams, "
                    + "language model.",
                [textFolder, TextCommand.model, onlineSeeds, held, threads],
                action: { arguments in
                    try evaluateText(
                        folder: arguments[textFolder], model: arguments[TextCommand.model],
                        seeds: arguments[onlineSeeds], held: arguments[held],
                        threads: arguments[threads])
                    return .done
                }),
        ],
        action: { arguments in
            let report = try EvaluationReport(
                folder: arguments[output], truth: arguments[truth])
            print(
                arguments.isJSON ? report.json.canonicalText + "\n" : report.text(textStyle),
                terminator: "")
            return .done
        })
}
