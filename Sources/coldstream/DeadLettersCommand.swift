// `coldstream dead-letters`: what could not be used, and why.

import CommandLineArguments
import Contracts
import JSON
import Reports

enum DeadLettersCommand {
    static let reason = Option<String?>(
        "reason", "WORD", help: "only letters of this reason"
    ).completing(.words(DeadLetterReason.allCases.map { "\($0.word)" }))
    static let count = Option<Int>("count", "N", default: 20, help: "how many").short("n")
        .within(1...1_000_000)

    static let command = Command<Action>(
        "dead-letters", "Shows what could not be used, and why.",
        subcommands: [
            Command(
                "ls", "Counts by reason, with what the first one says.", [OutputFolder.from],
                action: list),
            Command(
                "show", "The letters themselves.", [OutputFolder.from, reason, count], action: show),
        ])

    private static func list(_ arguments: Arguments) throws -> ExitCode {
        var found: [String: (count: Int, first: DeadLetterLine)] = [:]
        try OutputRecords.forEachDeadLetter(folder: arguments[OutputFolder.from]) { letter in
            found[letter.reason, default: (0, letter)].count += 1
            return true
        }
        let rows = found.sorted { ($1.value.count, $0.key) < ($0.value.count, $1.key) }
        if arguments.isJSON {
            let members = rows.map { JSONMember($0.key, .integer(Int64($0.value.count))) }
            print(JSONValue.object(members).canonicalText)
            return .done
        }
        var table = TextTable(
            [("letters", .right), ("reason", .left), ("the first one", .left)], widest: 200)
        for (reason, row) in rows {
            table.append([Formatted.count(Int64(row.count)), reason, row.first.message])
        }
        print(rows.isEmpty ? "no dead letters\n" : table.text, terminator: "")
        return .done
    }

    private static func show(_ arguments: Arguments) throws -> ExitCode {
        let known = DeadLetterReason.allCases.map { "\($0.word)" }
        if let wanted = arguments[reason], !known.contains(wanted) {
            let nearest = nearestWord(to: wanted, in: known).map { "; did you mean \($0)?" } ?? ""
            throw arguments.usageError("--reason: there is no reason \(wanted)\(nearest)")
        }
        var shown: [DeadLetterLine] = []
        try OutputRecords.forEachDeadLetter(folder: arguments[OutputFolder.from]) { letter in
            if arguments[reason] == nil || letter.reason == arguments[reason] {
                shown.append(letter)
            }
            return shown.count < arguments[count]
        }
        if arguments.isJSON {
            print(JSONValue.array(shown.map(\.json)).canonicalText)
            return .done
        }
        for letter in shown {
            print("\(letter.reason)  \(letter.origin)  (\(letter.valueBytes) bytes)")
            print("  \(letter.message)")
            print("  \(letter.printableValue)")
        }
        return .done
    }
}
