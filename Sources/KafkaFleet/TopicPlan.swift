// What the cluster's topics lack of what the contracts say.

import Contracts
import FleetSettings
import KafkaTransactions
import WorkerRuntime

/// How a topic of the fleet should be on its cluster.
public struct WantedTopic: Equatable, Sendable {
    public let topic: Topic
    /// On the cluster.
    public let name: String
    public let partitions: Int
    /// Kafka's settings of the topic: `cleanup.policy`, `retention.ms`, `max.message.bytes`.
    public let settings: [String: String]

    /// - Parameter partitions: nil: as many as the contract says.
    init(_ contract: TopicContract, name: String, partitions: Int?) {
        topic = contract.topic
        self.name = name
        self.partitions = partitions ?? contract.partitions
        var settings = [
            "cleanup.policy": contract.cleanup.rawValue,
            "max.message.bytes": "\(Limit.messageBytes)",
        ]
        if contract.cleanup == .delete {
            settings["retention.ms"] =
                contract.retentionHours.map { "\($0 * 3_600_000)" } ?? "-1"
        }
        self.settings = settings
    }
}

/// One difference between the cluster and the contracts.
public enum TopicDifference: Equatable, Sendable {
    case missing(WantedTopic)
    /// Another number of partitions sends keys elsewhere: nobody changes that silently.
    case partitions(WantedTopic, found: Int)
    case setting(WantedTopic, key: String, wanted: String, found: String?)

    /// A sentence's first half: what is wrong.
    public var description: String {
        switch self {
        case .missing(let topic): "\(topic.name) does not exist"
        case .partitions(let topic, let found):
            "\(topic.name) has \(found) partitions, not \(topic.partitions)"
        case .setting(let topic, let key, let wanted, let found):
            "\(topic.name) has \(key)=\(found ?? "(unknown)"), not \(wanted)"
        }
    }
}

extension KafkaFleet {
    /// Every topic as contracts and settings want it.
    public var wantedTopics: [WantedTopic] {
        TopicContract.all.map {
            WantedTopic(
                $0, name: topics[$0.topic], partitions: settings.topicPartitions[$0.topic.name])
        }
    }

    /// What is different on the cluster, in the order of the topics.
    ///
    /// A topic that keeps its records longer than the contract says, or takes larger ones, is as good:
    /// only less is a difference.
    public func differences(from found: [TopicDescription]) -> [TopicDifference] {
        let found = Dictionary(uniqueKeysWithValues: found.map { ($0.name, $0) })
        return wantedTopics.flatMap { wanted -> [TopicDifference] in
            guard let there = found[wanted.name] else { return [.missing(wanted)] }
            var differences: [TopicDifference] = []
            if there.partitions != wanted.partitions {
                differences.append(.partitions(wanted, found: there.partitions))
            }
            for (key, value) in wanted.settings.sorted(by: { $0.key < $1.key }) {
                let now = there.settings[key]?.value
                guard !Self.isEnough(now, key, value) else { continue }
                differences.append(.setting(wanted, key: key, wanted: value, found: now))
            }
            return differences
        }
    }

    private static func isEnough(_ found: String?, _ key: String, _ wanted: String) -> Bool {
        guard let found = found.flatMap({ Int64($0) }), let wanted = Int64(wanted) else {
            return found == wanted
        }
        switch key {
        case "retention.ms": return found < 0 || (wanted >= 0 && found >= wanted)
        case "max.message.bytes": return found >= wanted
        default: return found == wanted
        }
    }
}
