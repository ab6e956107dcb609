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

    static let events = Option<Int>(
        "events", "N", default: 2_000_000, help: "with --brokers: the backlog to drain; 0 = none"
    ).within(0...100_000_000)
    static let seconds = Option<Int>(
        "seconds", "N", default: 60,
        help: "with --brokers: how long freshness is measured; 0 = not at all"
    ).within(0...3_600)
    static let pace = Option<Int>(
        "pace", "N", default: 10_000, help: "events a second while freshness is measured"
    ).within(10...1_000_000)
    static let texts = Option<String?>(
        "texts", "FILE", help: "a catalog, or a text a line; without it made-up ones"
    ).completing(.files)
    static let repeats = Option<Int>(
        "repeats", "N", default: 3, help: "passes over the texts; the fastest counts"
    ).within(1...1_000)

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
                discussion: """
                    Without --brokers the steps alone, on a log in memory. With it workers in processes of
                    their own on that cluster, exactly-once with commits every 100 ms, under a fleet's name
                    of their own: topics are made at the start and deleted at the end. Then the time from
                    an event to the score that it changed, at a steady pace.
                    """,
                [input, impressions, WorkerCommand.brokers, events, seconds, pace],
                action: { arguments in
                    if let brokers = arguments[WorkerCommand.brokers] {
                        return try KafkaStreamFigures.run(brokers, arguments)
                    }
                    try StreamFigures.run(
                        folder: arguments[input], impressions: arguments[impressions],
                        json: arguments.isJSON)
                    return .done
                }),
            KafkaStreamFigures.workerCommand,
            Command(
                "text", "Texts a second of the encoders, one thread.",
                [TextCommand.model, texts, numerics, repeats],
                action: { arguments in
                    try benchText(
                        model: arguments[TextCommand.model], texts: arguments[texts],
                        numerics: arguments[numerics], repeats: arguments[repeats],
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
