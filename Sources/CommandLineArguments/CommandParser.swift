// From words to values: finds the command, then reads its options, flags and arguments.

extension Command {
    /// Reads the words behind the tool's own name. Prints nothing and never exits.
    ///
    /// `--name=VALUE` and `--name VALUE` give options; `-o VALUE`, `-o=VALUE` and clusters of one-letter
    /// flags (`-qv`) work where they are declared; everything behind `--` is an argument, and so are
    /// `-` (standard input or output) and negative numbers. `-h` and `--help` win over everything,
    /// errors included; `help` before a subcommand does the same.
    public func parse(_ words: [String]) -> ParseResult<Action> {
        var parser = CommandParser(command: self)
        do throws(UsageError) {
            return try parser.parse(words)
        } catch {
            return .failure(error)
        }
    }
}

private struct CommandParser<Action> {
    var command: Command<Action>
    var path: [String]
    /// What is known at this level: the command's own and its parents' options and flags.
    var declarations: [Declaration]
    /// The words given for each parameter, by label, in order.
    var given: [String: [String]] = [:]
    var positionals: [String] = []

    init(command: Command<Action>) {
        self.command = command
        path = [command.name]
        declarations = command.declarations
    }

    mutating func parse(_ words: [String]) throws(UsageError) -> ParseResult<Action> {
        if asksForHelp(words) { return .help(helpFor(words.filter { !$0.hasPrefix("-") })) }
        var rest = words[...]
        while let word = rest.popFirst() {
            if word == "--" {
                positionals += rest
                break
            }
            if word.hasPrefix("--") {
                try readOption(word, &rest)
            } else if word.hasPrefix("-"), word != "-", !isNegativeNumber(word) {
                try readLetters(word, &rest)
            } else if command.subcommands.isEmpty || isArgument(word) {
                positionals.append(word)
            } else {
                try enter(word)
            }
        }
        guard let action = command.action else {
            throw error(
                "needs a subcommand: \(command.subcommands.map(\.name).joined(separator: ", "))")
        }
        try placePositionals()
        return .run(action, try readValues())
    }

    private func asksForHelp(_ words: [String]) -> Bool {
        let options = words.prefix { $0 != "--" }
        return options.contains("--help") || options.contains("-h")
            || (words.first == "help" && command.subcommand("help") == nil
                && !command.subcommands.isEmpty)
    }

    /// The help of the deepest command that the words name.
    private func helpFor(_ words: [String]) -> String {
        var command = command
        var path = path
        var inherited: [Declaration] = []
        for word in words.first == "help" ? words.dropFirst() : words[...] {
            guard let next = command.subcommand(word) else { continue }
            inherited += command.inherited
            command = next
            path.append(word)
        }
        return command.helpText(path: path, inherited: inherited)
    }

    private mutating func readOption(
        _ word: String, _ rest: inout ArraySlice<String>
    ) throws(UsageError) {
        let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let label = String(parts[0])
        let value = parts.count == 2 ? String(parts[1]) : nil
        guard
            let declaration = declarations.first(where: {
                $0.kind != .argument && $0.label == label
            })
        else {
            let known = declarations.filter { $0.kind != .argument }.map(\.label) + ["--help"]
            throw error("unknown option \(label)\(suggestion(label, known))")
        }
        try take(declaration, label, value, &rest)
    }

    private mutating func readLetters(
        _ word: String, _ rest: inout ArraySlice<String>
    ) throws(UsageError) {
        let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let letters = parts[0].dropFirst()
        for (i, letter) in letters.enumerated() {
            guard let declaration = declarations.first(where: { $0.short == letter }) else {
                let known = declarations.filter { $0.kind != .argument }.map(\.label)
                throw error("unknown option -\(letter)\(suggestion("-" + word, known))")
            }
            let isLast = i == letters.count - 1
            guard declaration.kind == .flag || isLast else {
                throw error("-\(letter) needs a value \(declaration.placeholder)")
            }
            let value = isLast && parts.count == 2 ? String(parts[1]) : nil
            try take(declaration, "-\(letter)", value, &rest)
        }
    }

    private mutating func take(
        _ declaration: Declaration, _ label: String, _ value: String?,
        _ rest: inout ArraySlice<String>
    ) throws(UsageError) {
        if !declaration.isRepeated, given[declaration.label] != nil {
            if declaration.kind == .flag, value == nil { return }
            throw error("\(label) is given twice")
        }
        if declaration.kind == .flag {
            guard value == nil else { throw error("\(label) takes no value") }
            given[declaration.label] = [""]
            return
        }
        if let value {
            given[declaration.label, default: []].append(value)
            return
        }
        guard let next = rest.first else {
            throw error("\(label) needs a value \(declaration.placeholder)")
        }
        guard !next.hasPrefix("-") || next == "-" || isNegativeNumber(next) else {
            throw error(
                "\(label) needs a value \(declaration.placeholder), not the option \(next)"
                    + "; a value that begins with a dash is given as \(label)=\(next)")
        }
        rest.removeFirst()
        given[declaration.label, default: []].append(next)
    }

    private func isNegativeNumber(_ word: String) -> Bool {
        guard word.hasPrefix("-"), let digit = word.dropFirst().first,
            digit.isNumber || digit == "."
        else { return false }
        return Double(word) != nil && !declarations.contains { $0.short == digit }
    }

    /// Where a command takes a subcommand or arguments, the first word decides.
    private func isArgument(_ word: String) -> Bool {
        guard command.takesArguments else { return false }
        return !positionals.isEmpty || command.subcommand(word) == nil
    }

    private mutating func enter(_ word: String) throws(UsageError) {
        guard let next = command.subcommand(word) else {
            let known = command.subcommands.map(\.name)
            throw error("unknown command '\(word)'\(suggestion(word, known))")
        }
        if command.takesArguments { declarations.removeLast(command.declarations.count) }
        command = next
        path.append(word)
        declarations += next.declarations
    }

    private mutating func placePositionals() throws(UsageError) {
        var rest = positionals[...]
        for declaration in declarations where declaration.kind == .argument {
            if declaration.isRepeated {
                given[declaration.label] = Array(rest)
                rest = []
            } else if let word = rest.popFirst() {
                given[declaration.label] = [word]
            }
        }
        if let extra = rest.first { throw error("does not know what to do with '\(extra)'") }
    }

    private func readValues() throws(UsageError) -> Arguments {
        var values: [String: any Sendable] = [:]
        for declaration in declarations {
            let words = given[declaration.label] ?? []
            if declaration.isRequired, words.isEmpty {
                let value = declaration.kind == .option ? " \(declaration.placeholder)" : ""
                throw error("needs \(declaration.label)\(value): \(declaration.help)")
            }
            do throws(ValueProblem) {
                values[declaration.label] = try declaration.read(words)
            } catch {
                throw self.error("\(declaration.label): '\(error.word)' \(error.reason)")
            }
        }
        let given = given.filter { !$0.value.isEmpty }
        return Arguments(path: path, values: values, given: Set(given.keys))
    }

    private func suggestion(_ word: String, _ known: [String]) -> String {
        nearestWord(to: word, in: known).map { "; did you mean \($0)?" } ?? ""
    }

    private func error(_ message: String) -> UsageError { UsageError(message, path: path) }
}
