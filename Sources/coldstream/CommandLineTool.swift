// All commands in one declaration, and what becomes of a command line.

import CommandLineArguments

#if canImport(Glibc)
    import Glibc
#endif

/// What a command does; returns how it ended, throws what the outside world caused.
typealias Action = @Sendable (Arguments) throws -> ExitCode

/// `coldstream` with everything it can do. Commands that are not built yet do not exist.
let commandLineTool: Command<Action> = Command(
    "coldstream", "Turns a live stream of impressions and clicks into fresh item scores.",
    [Option<OutputFormat>.format],
    subcommands: [
        UpCommand.command,
        WorkerCommand.command,
        IngestCommand.command,
        SimulateCommand.command,
        ImportCommand.command,
        ReportCommand.command,
        EvaluateCommand.command,
        ScoresCommand.command,
        StatsCommand.command,
        DeadLettersCommand.command,
        TextCommand.command,
        ConfigCommand.command,
        TopicsCommand.command,
        DoctorCommand.command,
        LagCommand.command,
        BenchCommand.command,
        VersionCommand.command,
        CompletionCommand.command,
    ])

/// Runs one command line; results go to standard output, everything else to standard error.
func runCommandLine(_ words: [String]) -> ExitCode {
    switch commandLineTool.parse(words) {
    case .help(let text):
        print(text, terminator: "")
        return .done
    case .failure(let error):
        say("\(error)")
        return .usage
    case .run(let action, let arguments):
        do {
            return try action(arguments)
        } catch let error as UsageError {
            say("\(error)")
            return .usage
        } catch {
            say("coldstream: \(error)")
            return ExitCode(of: error)
        }
    }
}

/// Writes a line to standard error, behind what has been printed.
func say(_ line: String) {
    fflush(nil)
    writeToStandardError(line + "\n")
}

func writeToStandardError(_ text: String) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
        let count = rest.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
        guard count > 0 else { return }
        rest.removeFirst(count)
    }
}

func exit(code: ExitCode) -> Never { exit(code.rawValue) }

extension Arguments {
    var isJSON: Bool { self[Option<OutputFormat>.format] == .json }

    /// Ends the command: the words are right, but not together.
    func usageError(_ message: String) -> UsageError { UsageError(message, path: path) }
}
