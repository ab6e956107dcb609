// Scripts that let a shell complete commands, options and values.

/// The shells a completion script can be written for.
public enum Shell: String, CaseIterable, ArgumentValue {
    case bash, zsh
}

extension Command {
    /// A script to be sourced by the shell: `source <(coldstream completion bash)`.
    ///
    /// One script serves both: zsh runs it through its own `bashcompinit`, and bash 3.2 is enough.
    public func completionScript(for shell: Shell) -> String {
        let function = "_" + name.map { $0.isLetter || $0.isNumber ? String($0) : "_" }.joined()
        let preamble =
            switch shell {
            case .bash: ""
            case .zsh: "autoload -U +X compinit bashcompinit && compinit -i && bashcompinit\n"
            }
        return """
            \(preamble)# Completion of \(name) for \(shell.rawValue), written by \(name) itself.
            \(function)() {
                local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"
                local at='\(name)' i
                COMPREPLY=()
                for ((i = 1; i < COMP_CWORD; i++)); do
                    case "$at ${COMP_WORDS[i]}" in
            \(transitions(indent: 16))
                    esac
                done
                case "$at $before" in
            \(valueCases(indent: 12))
                esac
                case "$at" in
            \(wordCases(indent: 12))
                esac
            }
            complete -o bashdefault -F \(function) \(name)

            """
    }

    /// Every command below this one, itself first, with its path and what it inherits.
    private func walk(
        path: [String], inherited: [Declaration],
        _ visit: (Command, [String], [Declaration]) -> Void
    ) {
        visit(self, path, inherited)
        for subcommand in subcommands {
            subcommand.walk(
                path: path + [subcommand.name], inherited: inherited + self.inherited, visit)
        }
    }

    private func transitions(indent: Int) -> String {
        var lines: [String] = []
        walk(path: [name], inherited: []) { _, path, _ in
            guard path.count > 1 else { return }
            let text = path.joined(separator: " ")
            lines.append("'\(text)') at='\(text)' ;;")
        }
        if lines.isEmpty { lines = ["*) ;;"] }
        return lines.indented(indent)
    }

    /// What may follow an option that needs a value.
    private func valueCases(indent: Int) -> String {
        var lines: [String] = []
        walk(path: [name], inherited: []) { command, path, inherited in
            let at = path.joined(separator: " ")
            for option in inherited + command.declarations where option.kind == .option {
                let patterns = option.labels.map { "'\(at) \($0)'" }.joined(separator: "|")
                lines.append("\(patterns)) \(option.completion.reply); return ;;")
            }
        }
        if lines.isEmpty { lines = ["*) ;;"] }
        return lines.indented(indent)
    }

    /// What may stand where no value is due: subcommands, options, arguments.
    private func wordCases(indent: Int) -> String {
        var lines: [String] = []
        walk(path: [name], inherited: []) { command, path, inherited in
            let options = (inherited + command.declarations).filter { $0.kind != .argument }
            let words =
                command.subcommands.map(\.name) + options.map(\.label) + ["--help"]
            let arguments = command.declarations.filter { $0.kind == .argument }
            var replies = [Completion.words(words).reply]
            var seen: [Completion] = [.none]
            for argument in arguments where !seen.contains(argument.completion) {
                seen.append(argument.completion)
                replies.append(argument.completion.reply)
            }
            lines.append(
                "'\(path.joined(separator: " "))') \(replies.joined(separator: "; ")) ;;")
        }
        return lines.indented(indent)
    }
}

extension Completion {
    /// The shell command that adds the matching words to `COMPREPLY`.
    fileprivate var reply: String {
        let generator =
            switch self {
            case .none: "-W ''"
            case .files: "-f"
            case .directories: "-d"
            case .words(let words): "-W '\(words.joined(separator: " "))'"
            }
        return "COMPREPLY+=($(compgen \(generator) -- \"$word\"))"
    }
}

extension [String] {
    fileprivate func indented(_ count: Int) -> String {
        map { String(repeating: " ", count: count) + $0 }.joined(separator: "\n")
    }
}
