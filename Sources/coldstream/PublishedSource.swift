// Where `scores`, `stats` and `dead-letters` look: the output folder of a run, or a fleet on Kafka.

import Bytes
import CommandLineArguments
import Contracts
import JSON
import KafkaFleet
import KafkaTransactions
import Reports

enum PublishedSource {
    static let from = Option<String?>(
        "from", "DIR", help: "the output folder of a run; without it the fleet on Kafka"
    ).completing(.directories)
    static let domain = Argument<String>("DOMAIN", help: "a domain's name")

    /// Options that every such command has.
    static let kafka: [any DeclaredParameter] = [
        UpCommand.config, UpCommand.set, WorkerCommand.brokers, WorkerCommand.fleet,
    ]
    static let options: [any DeclaredParameter] = [from] + kafka

    static let discussion = """
        Reads an output folder (--from), or what a fleet has committed to its topics (--brokers, or
        addresses in cluster.client_properties of the settings). Joins no group, so workers notice
        nothing.
        """

    static func records(_ arguments: Arguments) throws -> any PublishedRecords {
        guard let folder = arguments[from] else { return try TopicRecords(fleet(arguments)) }
        guard arguments[WorkerCommand.brokers] == nil else {
            throw arguments.usageError("--from and --brokers exclude each other")
        }
        return RunFiles(folder: folder)
    }

    static func fleet(_ arguments: Arguments) throws -> KafkaFleet {
        guard arguments[WorkerCommand.brokers] ?? arguments[UpCommand.config] != nil else {
            throw arguments.usageError(
                "say where to look: --from DIR, --brokers HOST:PORT, or --config FILE whose "
                    + "cluster.client_properties have bootstrap.servers")
        }
        return try WorkerCommand.kafkaFleet(arguments, warnsOfFixedKey: false)
    }

    /// What to say of a domain that is not there.
    static func unknown(_ domain: String, _ known: [String], _ place: String) -> ReportError {
        let nearest = nearestWord(to: domain, in: known)
        return ReportError(
            "\(place) has no domain \(domain)"
                + (nearest.map { "; did you mean \($0)?" }
                    ?? "; it has \(known.joined(separator: ", "))"))
    }
}

/// The topics of a fleet on Kafka.
final class TopicRecords: PublishedRecords {
    let name: String
    private let reader: TopicReader

    init(_ fleet: KafkaFleet) throws {
        name = "fleet \(fleet.settings.fleet)"
        reader = try TopicReader(fleet)
    }

    func forEach(
        of topic: String, keyPrefix: String?, _ body: (JSONView) throws -> Bool
    ) throws {
        guard let topic = Topic(name: topic) else {
            preconditionFailure("no topic has the name \(topic)")
        }
        let parser = JSONParser(maximumDepth: 16, maximumBytes: 64 << 20)
        guard topic.isCompacted else {
            return try reader.read(topic) { record in
                guard let value = record.value else { return true }
                return try body(parser.parse(value))
            }
        }
        let prefix = Array((keyPrefix ?? "").utf8)
        let newest = try reader.newest(of: topic) { key in
            key.count >= prefix.count && prefix.lend { $0.equals(key.slice(0, $0.count)) }
        }
        for (_, value) in newest {
            guard try value.lend({ try body(parser.parse($0)) }) else { return }
        }
    }
}
