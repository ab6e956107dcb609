// `coldstream report DIR`: what a run came to, from its output files alone.

import CommandLineArguments
import Reports

enum ReportCommand {
    static let folder = Argument<String>(
        "DIR", help: "the output folder of a run"
    ).completing(.directories)

    static let against = Option<String?>(
        "against", "DIR",
        help:
            "only compare with that run: counts must be equal, metrics within .003, those of a domain within .01; 1 if not"
    ).completing(.directories)

    static let command = Command<Action>(
        "report", "Shows what a run came to: quality, the cold domain's curve, top items.",
        [folder, against],
        action: { arguments in
            if let other = arguments[against] {
                return try compare(arguments[folder], other, arguments)
            }
            printReport(try RunReport(folder: arguments[folder]), arguments)
            return .done
        })

    private static func compare(
        _ first: String, _ second: String, _ arguments: Arguments
    ) throws -> ExitCode {
        let comparison = try ReportComparison(folder: first, other: second)
        print(
            arguments.isJSON ? comparison.json.canonicalText + "\n" : comparison.text,
            terminator: "")
        return comparison.differences.isEmpty ? .done : .checkFailed
    }
}
