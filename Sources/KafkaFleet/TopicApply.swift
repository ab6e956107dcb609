// Brings the cluster's topics to what the contracts say, where nothing would be re-keyed.

import KafkaTransactions
import WorkerRuntime

extension KafkaFleet {
    /// Creates topics that are missing, and sets cleanup and retention of those that are there.
    ///
    /// - Parameter report: is told every change before it is made.
    /// - Throws: `WorkerSettingsError`, before anything is changed, where a topic has another number of
    ///   partitions than contract and settings say: its keys would be elsewhere.
    public func applyTopics(report: (String) -> Void) throws {
        let admin = try Admin(client)
        try admin.connect()
        let differences = differences(from: try admin.describe(topics: wantedTopics.map(\.name)))
        try refuseOtherPartitions(differences)
        var missing: [NewTopic] = []
        for case .missing(let topic) in differences {
            let settings = topic.settings.sorted { $0.key < $1.key }
                .map { "\($0.key)=\($0.value)" }.joined(separator: " ")
            report("create \(topic.name): \(topic.partitions) partitions, \(settings)")
            missing.append(
                NewTopic(topic.name, partitions: topic.partitions, settings: topic.settings))
        }
        try admin.create(missing)
        for case .setting(let topic, let key, let wanted, let found) in differences {
            report("alter \(topic.name): \(key)=\(wanted), was \(found ?? "(unknown)")")
            try admin.alter(topic: topic.name, settings: [key: wanted])
        }
    }

    private func refuseOtherPartitions(_ differences: [TopicDifference]) throws {
        for difference in differences {
            guard case .partitions(let topic, let found) = difference else { continue }
            throw WorkerSettingsError(
                "\(difference.description); \(refusalOfPartitions(topic.topic, found: found))")
        }
    }
}
