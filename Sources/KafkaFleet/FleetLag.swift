// How far each role is behind its input.

import Contracts
import KafkaTransactions
import WorkerRuntime

/// One partition of a role's input, and where the role stands in it.
public struct PartitionLag: Equatable, Sendable {
    public let role: String
    /// On the cluster.
    public let topic: String
    public let partition: Int
    /// The oldest offset that the log still has.
    public let first: Int64
    /// The role's committed offset; nil: it has committed nothing there yet.
    public let committed: Int64?
    /// Where a read-committed reader must stop.
    public let end: Int64
    /// At most so many records are unread; 0 where only markers are left.
    public let records: Int64
    /// How old the oldest unread record is by its own timestamp; 0 where nothing is unread, nil where
    /// the log keeps no timestamps.
    public let seconds: Double?
}

extension KafkaFleet {
    /// The groups that consume, named after their roles, with what each consumes, in the order of the
    /// flow. Encode has two.
    public static let inputs: [(role: String, topic: Topic)] = [
        ("encode", .catalog), ("encode-texts", .texts), ("enrich", .events),
        ("finetune", .domainLog),
    ]

    /// Where every role stands in every partition of its input. Joins no group.
    ///
    /// - Parameters:
    ///   - now: milliseconds since the epoch.
    ///   - roles: nil: all of them.
    /// - Throws: `.fixSettings` where a topic or a right is missing, `.retry` where no broker answered.
    public func lag(now: Int64, roles: [String]? = nil) throws(KafkaError) -> [PartitionLag] {
        let admin = try Admin(client)
        try admin.connect()
        var rows: [PartitionLag] = []
        for (role, topic) in Self.inputs where roles?.contains(role) ?? true {
            let partitions = try admin.partitionCount(ofTopic: topics[topic])
            let offsets = try Offsets(client, group: "\(settings.fleet).\(role)")
            rows += try lag(of: role, topics[topic], partitions, offsets, now)
        }
        return rows
    }

    private func lag(
        of role: String, _ topic: String, _ partitions: Int, _ offsets: Offsets, _ now: Int64
    ) throws(KafkaError) -> [PartitionLag] {
        let places = (0..<partitions).map { TopicPartition(topic, $0) }
        let committed = try offsets.committed(places)
        let bounds = try offsets.offsets(of: places)
        let positions = places.compactMap { place -> Position? in
            let here = bounds[place]!
            let from = max(committed[place] ?? here.first, here.first)
            return from < here.committedEnd ? Position(place, from) : nil
        }
        let unread = try offsets.firstRecords(from: positions)
        return places.map { place in
            let here = bounds[place]!
            let oldest = unread[place]
            return PartitionLag(
                role: role, topic: topic, partition: place.partition, first: here.first,
                committed: committed[place], end: here.committedEnd,
                records: oldest.map { max(1, here.committedEnd - $0.offset) } ?? 0,
                seconds: oldest.map { $0.timestamp.map { max(0, Double(now - $0) / 1_000) } } ?? 0)
        }
    }
}
