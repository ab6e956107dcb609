// A command line that cannot be run.

/// What is wrong with a command line, for people.
public struct UsageError: Error, Equatable, Sendable, CustomStringConvertible {
    /// EX_USAGE of sysexits.h.
    public static let exitCode: Int32 = 64

    /// One sentence that names the word at fault, and the nearest known one if there is any.
    public let message: String
    /// The names from the tool down to the command whose `--help` explains it.
    public let path: [String]

    public init(_ message: String, path: [String]) {
        self.message = message
        self.path = path
    }

    public var exitCode: Int32 { Self.exitCode }

    public var description: String {
        let command = path.joined(separator: " ")
        return "\(command): \(message)\nSee '\(command) --help'."
    }
}
