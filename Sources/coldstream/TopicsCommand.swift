// `coldstream topics check`: whether the contracts in this binary keep what they promise.

import Bytes
import CommandLineArguments
import Contracts
import JSON
import Reports

enum TopicsCommand {
    static let command = Command<Action>(
        "topics", "Shows and checks the contracts of the topics.",
        subcommands: [
            Command(
                "check", "Reads every example by the contract's own reader.", action: check)
        ])

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
