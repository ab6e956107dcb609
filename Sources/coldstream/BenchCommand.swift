// `coldstream bench`: speeds, measured here and now.

import CommandLineArguments
import Tensors

extension KernelClass: ArgumentValue {}

enum BenchCommand {
    static let numerics = Option<KernelClass?>(
        "numerics", "CLASS", help: "kernels to use; without it the fastest")
    static let threads = Option<Int>(
        "threads", "N", default: 1, help: "also measure training with so many threads"
    ).within(1...256)
    static let only = Option<String?>(
        "only", "FIGURE", help: "the one figure to take, such as train_1024")

    static let input = Option<String?>(
        "input", "DIR", help: "events, catalog and settings to use instead of a simulation"
    ).completing(.directories)
    static let impressions = Option<Int>(
        "impressions", "N", default: 100_000, help: "how large the simulation is"
    ).within(1_000...10_000_000)

    static let command = Command<Action>(
        "bench", "Measures speed on this machine.",
        subcommands: [
            Command(
                "json", "Decoding and writing of records, one core.",
                action: { arguments in
                    JSONBenchmark.run(json: arguments.isJSON)
                    return .done
                }),
            Command(
                "stream", "Events per core-second: finetune alone, and the whole chain.",
                [input, impressions],
                action: { arguments in
                    try StreamFigures.run(
                        folder: arguments[input], impressions: arguments[impressions],
                        json: arguments.isJSON)
                    return .done
                }),
            Command(
                "model", "Training and scoring of the network.", [numerics, threads, only],
                action: { arguments in
                    try benchModel(
                        numerics: arguments[numerics]?.rawValue, threads: arguments[threads],
                        json: arguments.isJSON, only: arguments[only])
                    return .done
                }),
        ])
}
