// `coldstream lag`: how far each role is behind its input.

import CommandLineArguments
import JSON
import KafkaFleet
import Reports

enum LagCommand {
    static let command = Command<Action>(
        "lag", "Says how far each role is behind its input, in records and in seconds.",
        discussion: """
            Records are an upper bound: the ends of transactions stand in the log too, but where
            nothing else is left the lag is 0. Seconds are the age of the oldest unread record by its
            own timestamp. Joins no group, so workers notice nothing.
            """,
        [UpCommand.config, UpCommand.set, WorkerCommand.brokers, WorkerCommand.fleet],
        action: { arguments in
            let fleet = try WorkerCommand.kafkaFleet(arguments, warnsOfFixedKey: false)
            let rows = try fleet.lag(now: ProcessFacts.milliseconds)
            arguments.isJSON ? printJSON(rows) : printTable(rows)
            return .done
        })

    private static func printJSON(_ rows: [PartitionLag]) {
        let list = rows.map {
            JSONValue.object([
                JSONMember("role", .text($0.role)), JSONMember("topic", .text($0.topic)),
                JSONMember("partition", .integer(Int64($0.partition))),
                JSONMember("first", .integer($0.first)),
                JSONMember("committed", $0.committed.map { .integer($0) } ?? .null),
                JSONMember("end", .integer($0.end)),
                JSONMember("lag_records", .integer($0.records)),
                JSONMember("lag_seconds", $0.seconds.map { .number($0) } ?? .null),
            ])
        }
        print(JSONValue.array(list).canonicalText)
    }

    private static func printTable(_ rows: [PartitionLag]) {
        var table = TextTable([
            ("role", .left), ("topic", .left), ("partition", .right), ("committed", .right),
            ("end", .right), ("lag records", .right), ("lag seconds", .right),
        ])
        for row in rows {
            table.append([
                row.role, row.topic, "\(row.partition)", row.committed.map { "\($0)" } ?? "-",
                "\(row.end)", "\(row.records)",
                row.seconds.map { "\(Int64($0.rounded()))" } ?? "-",
            ])
        }
        print(table.text, terminator: "")
    }
}
