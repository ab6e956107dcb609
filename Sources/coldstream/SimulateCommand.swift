// `coldstream simulate`: traffic whose truth is known.

import CommandLineArguments
import Reports
import Simulation

enum SimulateCommand {
    static let out = Option<String>(
        "out", "DIR", help: "where to write what up --embedded --input reads"
    ).short("o").completing(.directories)
    static let seed = Option<UInt64>("seed", "N", default: 1, help: "equal seeds give equal bytes")
    static let impressions = Option<Int>(
        "impressions", "N", default: 200_000, help: "about how many impressions"
    ).within(100...100_000_000)
    static let seconds = Option<Int>(
        "seconds", "N", default: 7_200, help: "over how much event time"
    ).within(60...31_536_000)
    static let users = Option<Int>("users", "N", default: 20_000, help: "how many users")
        .within(1...50_000_000)
    static let items = Option<Int>("items", "N", default: 3_000, help: "how many items")
        .within(10...10_000_000)
    static let drift = Option<Double>(
        "drift", "X", default: 1, help: "how much the world changes; 0 holds it still"
    ).within(0...10)
    static let clean = Flag(
        "clean", help: "no duplicates, no disorder, no broken or lost records")
    static let plain = Flag("plain", help: "write events.jsonl instead of events.jsonl.gz")

    static let command = Command<Action>(
        "simulate", "Writes the traffic of two searches and four feeds, with its truth.",
        discussion: """
            Writes events, a catalog, settings that fit, and the true click probabilities: of every
            impression in truth.jsonl, of every item at the end in truth-items.jsonl.
            """,
        [out, seed, impressions, seconds, users, items, drift, clean, plain],
        action: run)

    private static func run(_ arguments: Arguments) throws -> ExitCode {
        var settings = SimulationSettings()
        settings.seed = arguments[seed]
        settings.impressions = arguments[impressions]
        settings.seconds = arguments[seconds]
        settings.users = arguments[users]
        settings.items = arguments[items]
        settings.drift = arguments[drift]
        if arguments[clean] { settings.faults = .none }
        var bar = ProgressBar()
        let tally = try SimulationFiles.write(
            settings, to: arguments[out], compressed: !arguments[plain]
        ) { part in
            bar.show(part) { _ in "simulating" }
        }
        bar.end()
        printCounts(
            [
                ("lines", tally.lines), ("impressions", tally.impressions),
                ("clicks", tally.clicks), ("conversions", tally.conversions),
                ("judgments", tally.judgments), ("duplicates", tally.duplicates),
                ("late", tally.late), ("broken", tally.broken), ("lost", tally.lost),
            ], arguments)
        return .done
    }
}
