// `coldstream report DIR`: what a run came to, from its output files alone.

import CommandLineArguments
import Reports

enum ReportCommand {
    static let folder = Argument<String>(
        "DIR", help: "the output folder of a run"
    ).completing(.directories)

    static let command = Command<Action>(
        "report", "Shows what a run came to: quality, the cold domain's curve, top items.",
        [folder],
        action: { arguments in
            printReport(try RunReport(folder: arguments[folder]), arguments)
            return .done
        })
}
