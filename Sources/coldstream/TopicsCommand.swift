// `coldstream topics check`: whether the contracts in this binary keep what they promise.

import Bytes
import CommandLineArguments
import Contracts
import FleetSettings
import JSON
import KafkaFleet
import KafkaTransactions
import Reports
import WorkerRuntime

#if canImport(Glibc)
    import Glibc
#endif

enum TopicsCommand {
    static let command = Command<Action>(
        "topics", "Shows and checks the contracts of the topics.",
        subcommands: [
            Command(
                "check", "Reads every example by the contract's own reader.", action: check),
            Command(
                "plan", "Says what apply would change on the cluster.",
                [UpCommand.config, UpCommand.set, WorkerCommand.brokers, WorkerCommand.fleet],
                action: { try apply($0, changes: false) }),
            Command(
                "apply", "Creates what is missing on the cluster, and writes the fleet's settings.",
                [UpCommand.config, UpCommand.set, WorkerCommand.brokers, WorkerCommand.fleet],
                action: { try apply($0, changes: true) }),
        ])

    /// Creates missing topics as the contracts say, and sets cleanup and retention of those that are
    /// there. What would re-key a topic, another number of partitions, is refused.
    private static func apply(_ arguments: Arguments, changes: Bool) throws -> ExitCode {
        do {
            let fleet = try WorkerCommand.kafkaFleet(arguments)
            let admin = try Admin(fleet.client)
            try admin.connect()
            let wanted = fleet.wantedTopics
            let differences = fleet.differences(
                from: try admin.describe(topics: wanted.map(\.name)))
            var missing: [NewTopic] = []
            var alterations: [(topic: String, key: String, value: String)] = []
            var refused = false
            for difference in differences {
                switch difference {
                case .missing(let topic):
                    missing.append(
                        NewTopic(
                            topic.name, partitions: topic.partitions, settings: topic.settings))
                    let settings = topic.settings.sorted { $0.key < $1.key }
                        .map { "\($0.key)=\($0.value)" }.joined(separator: " ")
                    print("create \(topic.name): \(topic.partitions) partitions, \(settings)")
                case .partitions:
                    print(
                        "refused: \(difference.description); another number would send keys elsewhere"
                    )
                    refused = true
                case .setting(let topic, let key, let wanted, let found):
                    alterations.append((topic.name, key, wanted))
                    print("alter \(topic.name): \(key)=\(wanted), was \(found ?? "(unknown)")")
                }
            }
            if differences.isEmpty { print("the cluster has every topic as it should be") }
            guard changes, !refused else { return refused ? .checkFailed : .done }
            try admin.create(missing)
            for (topic, key, value) in alterations {
                try admin.alter(topic: topic, settings: [key: value])
            }
            let written = try fleet.writeSettings(time: ProcessFacts.milliseconds)
            print("settings written to \(written.count) partitions of domain-log")
            return .done
        } catch let error as SettingsError {
            throw error
        } catch {
            say("coldstream topics: \(error)")
            exit(WorkerRuntime.ExitCode(error).rawValue)
        }
    }

    private static func check(_ arguments: Arguments) -> ExitCode {
        var faults: [String] = []
        let contracts = TopicContract.all
        if Set(contracts.map(\.topic.name)).count != contracts.count {
            faults.append("two topics have one name")
        }
        var table = TextTable([
            ("topic", .left), ("schema", .left), ("cleanup", .left), ("partitions", .right),
            ("bytes", .right), ("examples", .right),
        ])
        for contract in contracts {
            let name = contract.topic.name
            if contract.examples.count < 2 { faults.append("\(name) has fewer than two examples") }
            if !contract.purpose.hasSuffix(".") {
                faults.append("\(name): the purpose is no sentence")
            }
            for (number, example) in contract.examples.enumerated() {
                do {
                    try read(contract.topic, example)
                } catch {
                    faults.append("\(name), example \(number): \(error)")
                }
            }
            table.append([
                name, contract.schemaHeader, contract.cleanup.rawValue,
                Formatted.count(Int64(contract.partitions)),
                Formatted.count(Int64(contract.bytesPerRecord)),
                Formatted.count(Int64(contract.examples.count)),
            ])
        }
        if arguments.isJSON {
            print(JSONValue.array(faults.map { .text($0) }).canonicalText)
        } else {
            print(table.text, terminator: "")
            for fault in faults { print(fault) }
            print("\(contracts.count) topics, \(faults.count) faults")
        }
        return faults.isEmpty ? .done : .checkFailed
    }

    private static func read(_ topic: Topic, _ example: TopicContract.Example) throws {
        try example.value.lend { value in
            switch topic {
            case .events: try EventReader().read(value)
            case .catalog: try CatalogReader().read(value)
            case .domainLog: _ = try DomainLogReader().read(value)
            case .scores: _ = try RecordReader().score(value)
            case .domainStatistics: _ = try RecordReader().domainStatistics(value)
            case .evaluations: _ = try RecordReader().evaluation(value)
            case .examples: _ = try RecordReader().exampleBatch(value)
            case .deadLetters: _ = try RecordReader().deadLetter(value)
            case .texts: _ = try RecordReader().text(value)
            case .textVectors, .heads, .releases, .checkpoints:
                if example.isJSON { _ = try JSONValue(parsing: value) }
            }
        }
    }
}
