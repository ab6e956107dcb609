// `coldstream import`: public data sets as events, catalog and settings.

import CommandLineArguments
import JSON
import Reports
import Simulation

enum ImportCommand {
    static let source = Argument<String>(
        "DIR", help: "the folder with the data set's files"
    ).completing(.directories)
    static let out = Option<String>(
        "out", "DIR", help: "where to write what up --embedded --input reads"
    ).short("o").completing(.directories)
    static let plain = Flag("plain", help: "write events.jsonl instead of events.jsonl.gz")

    static let command = Command<Action>(
        "import", "Turns a public data set into input for a fleet.",
        subcommands: [
            Command(
                "ranklens",
                "RankLens: crowd workers marking films they like (events.csv.gz, items.jsonl).",
                [source, out, plain], action: ranklens)
        ])

    private static func ranklens(_ arguments: Arguments) throws -> ExitCode {
        let summary = try RankLensImport.run(
            from: arguments[source], to: arguments[out], compressed: !arguments[plain])
        printCounts(
            [
                ("impressions", summary.impressions), ("clicks", summary.clicks),
                ("lists", summary.lists), ("items", summary.items),
            ], arguments)
        return .done
    }
}

/// Prints what was counted.
func printCounts(_ counts: [(String, Int)], _ arguments: Arguments) {
    if arguments.isJSON {
        print(
            JSONValue.object(counts.map { JSONMember($0.0, .integer(Int64($0.1))) }).canonicalText)
        return
    }
    var table = TextTable([("", .left), ("", .right)])
    for (name, count) in counts { table.append([name, Formatted.count(Int64(count))]) }
    print(table.text, terminator: "")
}
