// `coldstream scores` and `coldstream stats`: what has been published, by a run or by a fleet on Kafka.

import Bytes
import CommandLineArguments
import Contracts
import JSON
import KafkaFleet
import KafkaTransactions
import Reports

#if canImport(Glibc)
    import Glibc
#endif

enum ScoresCommand {
    static let query = Option<String?>(
        "query", "TEXT", help: "in a search domain: the scores for this query")
    static let count = Option<Int>("count", "N", default: 20, help: "how many").short("n")
        .within(1...1_000_000)
    static let key = Argument<String>(
        "KEY",
        help: "DOMAIN/TASK/QUERY-HASH/ITEM; - in the place of the hash where there is no query")
    static let onlyDomain = Option<String?>("domain", "NAME", help: "only scores of this domain")
    static let limit = Option<Int?>("count", "N", help: "end after so many").short("n")
        .within(1...1_000_000_000)

    static let command = Command<Action>(
        "scores", "Shows published scores.",
        subcommands: [
            Command(
                "top", "The items of a domain with the highest scores.",
                discussion: PublishedSource.discussion,
                [PublishedSource.domain, query, count] + PublishedSource.options, action: top),
            Command(
                "get", "The newest record of one key, as JSON; ends with 1 where there is none.",
                discussion: PublishedSource.discussion, [key] + PublishedSource.options,
                action: get),
            Command(
                "tail", "Scores as they are committed, until a signal.",
                discussion: """
                    Begins behind what is committed now. A line is domain, query (- without one), item,
                    score, its 90 % interval and labels, with tabs between them; with --format json
                    the record.
                    """, [onlyDomain, limit] + PublishedSource.kafka, action: tail),
        ])

    private static func get(_ arguments: Arguments) throws -> ExitCode {
        let key = arguments[key]
        var found: String?
        if let folder = arguments[PublishedSource.from] {
            try RunFiles(folder: folder).forEach(of: "scores", keyPrefix: nil) { line in
                if ScoreKey.text(of: line) == key { found = JSONValue(line).canonicalText }
                return found == nil
            }
        } else {
            found = try TopicReader(PublishedSource.fleet(arguments))
                .newest(of: .scores, key: Array(key.utf8)).map {
                    String(decoding: $0, as: UTF8.self)
                }
        }
        guard let found else {
            say("coldstream: there is no score under the key \(key)")
            return .checkFailed
        }
        print(found)
        return .done
    }

    private static func tail(_ arguments: Arguments) throws -> ExitCode {
        StopSignal.watch()
        let reader = try TopicReader(PublishedSource.fleet(arguments))
        let parser = JSONParser(maximumDepth: 16, maximumBytes: 64 << 20)
        var left = arguments[limit] ?? Int.max
        try reader.follow(
            .scores, until: { StopSignal.isRaised },
            started: { say("coldstream: waiting for scores; Ctrl-C ends it") }
        ) { record in
            guard let value = record.value else { return true }
            let view = try parser.parse(value)
            let line = try ScoreLine(view)
            guard arguments[onlyDomain].map({ $0 == line.domain }) ?? true else { return true }
            print(arguments.isJSON ? JSONValue(view).canonicalText : text(of: line))
            fflush(nil)
            left -= 1
            return left > 0
        }
        return .done
    }

    private static func text(of line: ScoreLine) -> String {
        let interval = line.interval
        return [
            line.domain, line.query ?? "-", line.item, Formatted.unit(line.score),
            Formatted.unit(interval.lowerBound) + "–" + Formatted.unit(interval.upperBound),
            "\(line.labels)",
        ].joined(separator: "\t")
    }

    private static func top(_ arguments: Arguments) throws -> ExitCode {
        let domain = arguments[PublishedSource.domain]
        let records = try PublishedSource.records(arguments)
        let lines = try ScoreFile.top(
            records, domain: domain, query: arguments[query], count: arguments[count])
        if lines.isEmpty {
            let known = try OutputRecords.statistics(records, domain: domain).domains
            guard known.contains(domain) else {
                throw PublishedSource.unknown(domain, known, records.name)
            }
            throw ReportError("\(records.name) has no scores of \(domain) for that query")
        }
        if arguments.isJSON {
            print(JSONValue.array(lines.map(\.json)).canonicalText)
            return .done
        }
        let hasQueries = lines.contains { $0.query != nil }
        var table = TextTable(
            (hasQueries ? [("query", .left)] : [])
                + [
                    ("item", .left), ("score", .right), ("90 % interval", .left),
                    ("labels", .right),
                    ("impressions", .right), ("stage", .left),
                ])
        for line in lines {
            let interval = line.interval
            table.append(
                (hasQueries ? [line.query ?? "–"] : [])
                    + [
                        line.item, Formatted.unit(line.score),
                        Formatted.unit(interval.lowerBound) + "–"
                            + Formatted.unit(interval.upperBound),
                        Formatted.count(line.labels), Formatted.count(line.impressions), line.stage,
                    ])
        }
        print(table.text, terminator: "")
        return .done
    }
}

enum StatsCommand {
    static let command = Command<Action>(
        "stats", "Shows what has been counted in a domain.",
        discussion: PublishedSource.discussion,
        [PublishedSource.domain] + PublishedSource.options,
        action: { arguments in
            let domain = arguments[PublishedSource.domain]
            let records = try PublishedSource.records(arguments)
            let (record, known) = try OutputRecords.statistics(records, domain: domain)
            guard let record else {
                throw PublishedSource.unknown(domain, known, records.name)
            }
            print(
                arguments.isJSON
                    ? record.canonicalText + "\n" : OutputRecords.text(ofStatistics: record),
                terminator: "")
            return .done
        })
}

extension ScoreKey {
    /// The key of a score as it stands in a file; nil where a field of the key is missing.
    static func text(of line: JSONView) -> String? {
        guard let domain = line.member("domain")?.text, let item = line.member("item_id")?.text,
            let task = line.member("task")?.text
        else { return nil }
        var key = ByteBuffer()
        key.append(domain)
        key.append("/" as StaticString)
        key.append(task)
        key.append("/" as StaticString)
        if let query = line.member("query")?.text {
            key.append(hexadecimal: TextHash.of(query))
        } else {
            key.append("-" as StaticString)
        }
        key.append("/" as StaticString)
        key.append(item)
        return key.slice.text
    }
}
