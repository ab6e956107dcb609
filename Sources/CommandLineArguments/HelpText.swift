// The text that `--help` prints, made from the same declaration that parsing reads.

extension Command {
    /// The help of the tool itself.
    public var help: String { helpText(path: [name], inherited: []) }

    /// - Parameters:
    ///   - path: the names from the tool down to this command.
    ///   - inherited: what the commands above declare.
    func helpText(path: [String], inherited: [Declaration]) -> String {
        let arguments = declarations.filter { $0.kind == .argument }
        let own = declarations.filter { $0.kind != .argument }
        var blocks = [summary, "USAGE: " + usage(path: path, own: own, arguments: arguments)]
        if let discussion { blocks.insert(discussion, at: 1) }
        let sections: [(String, [(String, String)])] = [
            ("COMMANDS", subcommands.map { ($0.name, $0.summary) }),
            ("ARGUMENTS", arguments.map { ($0.name, $0.explanation) }),
            ("OPTIONS", own.map { ($0.signature, $0.explanation) }),
            (
                "COMMON OPTIONS",
                inherited.filter { $0.kind != .argument }.map { ($0.signature, $0.explanation) }
                    + [("-h, --help", "show this help")]
            ),
        ]
        let width = sections.flatMap(\.1).map(\.0.count).max()!
        for (title, rows) in sections where !rows.isEmpty {
            let lines = rows.map { wrapped($0.1, behind: $0.0, column: min(width, 30) + 4) }
            blocks.append("\(title):\n" + lines.joined(separator: "\n"))
        }
        if !subcommands.isEmpty {
            blocks.append("See '\(path.joined(separator: " ")) COMMAND --help' for a command.")
        }
        return blocks.joined(separator: "\n\n") + "\n"
    }

    private func usage(path: [String], own: [Declaration], arguments: [Declaration]) -> String {
        var words = path
        words += own.filter(\.isRequired).map { "\($0.label) \($0.placeholder)" }
        if own.contains(where: { !$0.isRequired }) { words.append("[options]") }
        if !subcommands.isEmpty, !arguments.isEmpty {
            words.append("COMMAND |")
        } else if !subcommands.isEmpty {
            words.append(action == nil ? "COMMAND" : "[COMMAND]")
        }
        for argument in arguments {
            let name = argument.isRepeated ? "\(argument.name)…" : argument.name
            words.append(argument.isRequired ? name : "[\(name)]")
        }
        return words.joined(separator: " ")
    }

    /// `label`, then `text` in lines of at most 100 columns that begin at `column`.
    private func wrapped(_ text: String, behind label: String, column: Int) -> String {
        let indent = String(repeating: " ", count: column)
        var lines: [String] = []
        var line = ""
        for word in text.split(separator: " ") {
            if !line.isEmpty, column + line.count + 1 + word.count > 100 {
                lines.append(line)
                line = ""
            }
            line += (line.isEmpty ? "" : " ") + word
        }
        lines.append(line)
        let head = "  " + label
        let body = lines.joined(separator: "\n" + indent)
        guard head.count + 2 <= column else { return head + "\n" + indent + body }
        return head + String(repeating: " ", count: column - head.count) + body
    }
}

extension Declaration {
    /// `-o, --out DIR`.
    fileprivate var signature: String {
        let names = labels.joined(separator: ", ")
        return kind == .flag ? names : "\(names) \(placeholder)"
    }

    /// The help with what is allowed, the default and how often, in brackets.
    fileprivate var explanation: String {
        var notes: [String] = []
        if let allowed { notes.append(allowed) }
        if isRequired, kind == .option { notes.append("required") }
        if isRepeated, kind == .option { notes.append("may be repeated") }
        if let defaultText { notes.append("default: \(defaultText)") }
        return notes.isEmpty ? help : "\(help) (\(notes.joined(separator: "; ")))"
    }
}
