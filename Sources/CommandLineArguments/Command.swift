// A command, declared once: parsing, help, completion and errors all read this one value.

/// One command of a command line: what it is called, what it takes, what it does.
///
/// ```swift
/// let out = Option<String>("out", "DIR", help: "where to write").completing(.directories)
/// let seed = Option<Int>("seed", "N", default: 1, help: "equal seeds give equal bytes")
/// let tool = Command<Action>("tool", "Makes data.", subcommands: [
///     Command("simulate", "Writes traffic.", [out, seed], action: .simulate)
/// ])
/// switch tool.parse(["simulate", "--out", "data"]) {
/// case .run(.simulate, let arguments): simulate(to: arguments[out], seed: arguments[seed])
/// case .help(let text): print(text)
/// case .failure(let error): …  // error.description, error.exitCode
/// }
/// ```
///
/// A command's options and flags may also be given after the name of any of its subcommands, unless it
/// takes arguments of its own.
/// `Action` is whatever the caller dispatches on: an enumeration, or a closure.
public struct Command<Action> {
    public let name: String
    /// One sentence, for the list of the parent and the head of the command's own help.
    public let summary: String
    /// Further paragraphs of the command's own help.
    public let discussion: String?
    /// Nil where one of the subcommands has to be named.
    public let action: Action?
    public let subcommands: [Command]
    let declarations: [Declaration]

    /// - Precondition: no name is declared twice, here or in a subcommand; only the last
    ///   positional argument repeats; optional ones stand behind required ones; a command that has
    ///   subcommands takes positional arguments only if it has an action too. There the first word
    ///   decides: the name of a subcommand, or else an argument.
    public init(
        _ name: String, _ summary: String, discussion: String? = nil,
        _ parameters: [any DeclaredParameter] = [], subcommands: [Command] = [],
        action: Action? = nil
    ) {
        self.name = name
        self.summary = summary
        self.discussion = discussion
        self.action = action
        self.subcommands = subcommands
        declarations = parameters.map(\.declaration)
        precondition(
            action != nil || !subcommands.isEmpty, "\(name) has neither action nor subcommands")
        let positionals = declarations.filter { $0.kind == .argument }
        precondition(
            positionals.isEmpty || action != nil, "\(name) takes arguments and has no action")
        for (earlier, later) in zip(positionals, positionals.dropFirst()) {
            precondition(
                !earlier.isRepeated, "\(name): \(earlier.label) repeats before \(later.label)")
            precondition(
                earlier.isRequired || !later.isRequired,
                "\(name): \(earlier.label) is optional before \(later.label)")
        }
        checkNames(known: [])
    }

    /// Refuses names that would hide one another, from here down.
    private func checkNames(known: [String]) {
        var own = known
        for declaration in declarations {
            for label in declaration.labels {
                precondition(!own.contains(label), "\(name) declares \(label) twice")
                own.append(label)
            }
        }
        for subcommand in subcommands {
            subcommand.checkNames(known: takesArguments ? known : own)
        }
        let names = subcommands.map(\.name)
        precondition(Set(names).count == names.count, "\(name) has two subcommands of one name")
    }

    /// What may also be given behind the name of a subcommand: not where arguments may stand instead.
    var inherited: [Declaration] { takesArguments ? [] : declarations }

    var takesArguments: Bool { declarations.contains { $0.kind == .argument } }

    func subcommand(_ name: String) -> Command? { subcommands.first { $0.name == name } }
}

extension Command: Sendable where Action: Sendable {}

/// What a command line comes to.
public enum ParseResult<Action> {
    case run(Action, Arguments)
    /// The text that `--help` or `help` asked for; belongs on standard output, exit code 0.
    case help(String)
    /// Belongs on standard error, with its exit code.
    case failure(UsageError)
}
