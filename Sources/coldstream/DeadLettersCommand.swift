// `coldstream dead-letters`: what could not be used, and why; and once more, when it can be.

import CommandLineArguments
import Contracts
import JSON
import KafkaFleet
import KafkaTransactions
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
                "ls", "Counts by reason, with what the first one says.",
                discussion: PublishedSource.discussion, PublishedSource.options, action: list),
            Command(
                "show", "The letters themselves.", discussion: PublishedSource.discussion,
                [reason, count] + PublishedSource.options, action: show),
            Command(
                "replay", "Appends the original records again, on Kafka.",
                discussion: """
                    For when what kept them out has been mended: a new domain that is accepted now, a
                    clock, a bug. Every letter of the topic (of one --reason) is taken, and its record
                    goes byte for byte and under its key to the topic that it was read from, events or
                    catalog. What was used meanwhile is dropped as a duplicate by its id; what still
                    cannot be used becomes a letter again. Left out are records of which only the first
                    64 KiB were kept, lines that never were a record (mend the file and ingest it
                    again), and records of internal topics.
                    """, [reason, dryRun] + PublishedSource.kafka, action: replay),
        ])

    static let dryRun = Flag("dry-run", help: "only say what would be appended")

    private static func list(_ arguments: Arguments) throws -> ExitCode {
        var found: [String: (count: Int, first: DeadLetterLine)] = [:]
        try OutputRecords.forEachDeadLetter(PublishedSource.records(arguments)) { letter in
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
        try checkReason(arguments)
        var shown: [DeadLetterLine] = []
        try OutputRecords.forEachDeadLetter(PublishedSource.records(arguments)) { letter in
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

    private static func checkReason(_ arguments: Arguments) throws {
        let known = DeadLetterReason.allCases.map { "\($0.word)" }
        guard let wanted = arguments[reason], !known.contains(wanted) else { return }
        let nearest = nearestWord(to: wanted, in: known).map { "; did you mean \($0)?" } ?? ""
        throw arguments.usageError("--reason: there is no reason \(wanted)\(nearest)")
    }

    private static func replay(_ arguments: Arguments) throws -> ExitCode {
        try checkReason(arguments)
        let fleet = try PublishedSource.fleet(arguments)
        let resending = arguments[dryRun] ? nil : try Resending(fleet)
        let parser = JSONParser(maximumDepth: 16, maximumBytes: 64 << 20)
        var counts = ReplayCounts()
        try TopicReader(fleet).read(.deadLetters) { record in
            guard let value = record.value else { return true }
            let letter = DeadLetterLine(try parser.parse(value))
            guard arguments[reason] == nil || letter.reason == arguments[reason] else {
                return true
            }
            if let original = counts.take(letter, at: "\(record.partition)/\(record.offset)") {
                try resending?.send(original)
            }
            return true
        }
        try resending?.finish()
        print(
            arguments.isJSON
                ? counts.json(dryRun: arguments[dryRun]).canonicalText
                : counts.text(dryRun: arguments[dryRun]))
        return .done
    }
}

/// What becomes of letters in a replay.
struct ReplayCounts {
    private(set) var letters: Int64 = 0
    private(set) var appended: [Topic: Int64] = [:]
    private(set) var cut: Int64 = 0
    private(set) var heldBack: Int64 = 0
    private(set) var foreign: Int64 = 0

    /// The record to append; nil: the letter is left out, and counted as that.
    mutating func take(_ letter: DeadLetterLine, at place: String) -> OriginalRecord? {
        letters += 1
        if letter.isHeldBack {
            heldBack += 1
            return nil
        }
        guard let topic = Topic(name: letter.topic), topic == .events || topic == .catalog else {
            foreign += 1
            return nil
        }
        guard letter.isWhole else {
            cut += 1
            return nil
        }
        appended[topic, default: 0] += 1
        return OriginalRecord(topic: topic, key: letter.key, value: letter.value, letter: place)
    }

    func text(dryRun: Bool) -> String {
        let sent = [Topic.events, .catalog].compactMap { topic in
            appended[topic].map { "\(Formatted.count($0)) to \(topic.name)" }
        }
        let leftOut = [
            (cut, "longer than what was kept"), (heldBack, "lines that never were a record"),
            (foreign, "of internal topics"),
        ].filter { $0.0 > 0 }.map { "\(Formatted.count($0.0)) \($0.1)" }
        return "\(Formatted.count(letters)) letters; \(dryRun ? "would append" : "appended") "
            + (sent.isEmpty ? "none" : sent.joined(separator: ", "))
            + (leftOut.isEmpty ? "" : "; left out \(leftOut.joined(separator: ", "))")
    }

    func json(dryRun: Bool) -> JSONValue {
        .object([
            JSONMember("letters", .integer(letters)),
            JSONMember("events", .integer(appended[.events] ?? 0)),
            JSONMember("catalog", .integer(appended[.catalog] ?? 0)),
            JSONMember("cut", .integer(cut)), JSONMember("held_back", .integer(heldBack)),
            JSONMember("internal", .integer(foreign)), JSONMember("dry_run", .boolean(dryRun)),
        ])
    }
}
