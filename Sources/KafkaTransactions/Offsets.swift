// Where partitions begin and end, and how far behind a group is, with transactions in mind.

import CRdKafka

/// Where a partition begins and ends.
public struct PartitionOffsets: Equatable, Sendable {
    /// The oldest offset that the log still has.
    public let first: Int64
    /// Where a read-committed reader must stop: before the oldest open transaction.
    public let committedEnd: Int64
    /// Where the next record will be written.
    public let end: Int64

    /// Whether no transaction is open.
    public var isSettled: Bool { committedEnd == end }
}

/// How far a group is behind in a partition.
///
/// Offsets count transaction markers and aborted records, which nobody ever reads; so the difference
/// of offsets is only a bound, and would never reach 0 behind a committed transaction.
public enum Lag: Equatable, Sendable {
    /// Nothing is left to read.
    case none
    /// At least one and at most so many records.
    case atMost(Int64)

    /// The bound, in records.
    public var records: Int64 {
        switch self {
        case .none: 0
        case .atMost(let records): records
        }
    }
}

/// Asks for offsets, without joining any group. Not `Sendable`: one thread.
public final class Offsets {
    /// What librdkafka tells of a partition's end depends on the handle's isolation level.
    let committedReader: Consumer
    let uncommittedReader: Consumer

    /// - Parameter group: whose committed offsets `committed` reads.
    public init(_ properties: ClientProperties, group: String) throws(KafkaError) {
        var settings = ConsumerSettings(client: properties, group: group)
        settings.startPolicy = .earliest
        settings.reportsEnds = true
        settings.queueBytes = 4 << 20
        // A fetch that waits at the end of one partition holds up the next one.
        settings.client.set("fetch.wait.max.ms", "10")
        committedReader = try Consumer(settings)
        settings.isolation = .uncommitted
        uncommittedReader = try Consumer(settings)
    }

    /// Waits until a broker answers.
    ///
    /// - Throws: `.fixSettings` when credentials or certificates are refused, `.retry` when nobody
    ///   answered in time.
    public func connect(timeoutMilliseconds: Int = 10_000) throws(KafkaError) {
        try committedReader.connect(timeoutMilliseconds: timeoutMilliseconds)
        try uncommittedReader.connect(timeoutMilliseconds: timeoutMilliseconds)
    }

    /// Where partitions begin and end; one request per broker and question.
    public func offsets(
        of partitions: [TopicPartition], timeoutMilliseconds: Int = 10_000
    ) throws(KafkaError) -> [TopicPartition: PartitionOffsets] {
        let first = try list(
            uncommittedReader, partitions, RD_KAFKA_OFFSET_BEGINNING, timeoutMilliseconds)
        // The uncommitted end is asked last: it is never below the committed one then.
        let committed = try list(
            committedReader, partitions, RD_KAFKA_OFFSET_END, timeoutMilliseconds)
        let end = try list(uncommittedReader, partitions, RD_KAFKA_OFFSET_END, timeoutMilliseconds)
        var result: [TopicPartition: PartitionOffsets] = [:]
        for partition in partitions {
            guard let first = first[partition], let committed = committed[partition],
                let end = end[partition]
            else {
                throw committedReader.client.error(
                    "ask for the offsets of \(partition)", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
            }
            result[partition] = PartitionOffsets(first: first, committedEnd: committed, end: end)
        }
        return result
    }

    /// Asks until an answer comes: a leader that just moved, or a topic that was just made, passes.
    private func list(
        _ reader: Consumer, _ partitions: [TopicPartition], _ which: Int32,
        _ timeoutMilliseconds: Int
    ) throws(KafkaError) -> [TopicPartition: Int64] {
        guard !partitions.isEmpty else { return [:] }
        let deadline = Deadline(milliseconds: timeoutMilliseconds)
        let patience = Deadline(milliseconds: KafkaError.unknownTopicMilliseconds)
        while true {
            do {
                return try ask(reader, partitions, which, max(1, deadline.remaining))
            } catch {
                guard !deadline.isOver else { throw error }
                if error.isUnknownTopic {
                    // Of a broker that has just come back, or a topic that was just made, librdkafka
                    // remembers for half a minute that it did not know it; to be asked makes it look.
                    let isThere = try reader.hasPartitions(partitions, deadline)
                    guard isThere != false || !patience.isOver else { throw error }
                } else if error.remedy != .retry {
                    throw error
                }
                // Nothing is assigned: this only waits while librdkafka looks for the leader.
                _ = try reader.poll(timeoutMilliseconds: min(50, deadline.remaining))
            }
        }
    }

    /// `rd_kafka_query_watermark_offsets` would be shorter, but it never times out before 2.3.
    private func ask(
        _ reader: Consumer, _ partitions: [TopicPartition], _ which: Int32,
        _ timeoutMilliseconds: Int
    ) throws(KafkaError) -> [TopicPartition: Int64] {
        let list = PartitionList(partitions.map { Position($0, Int64(which)) })
        let code = list.lend {
            rd_kafka_offsets_for_times(reader.client.handle, $0, Int32(timeoutMilliseconds))
        }
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else {
            throw reader.client.error("ask for offsets", code)
        }
        if let (partition, code) = list.firstError {
            throw reader.client.error("ask for the offsets of \(partition)", code)
        }
        return list.offsets
    }

    /// The group's committed offsets; a partition without one is absent.
    public func committed(
        _ partitions: [TopicPartition], timeoutMilliseconds: Int = 10_000
    ) throws(KafkaError) -> [TopicPartition: Int64] {
        try committedReader.committed(partitions, timeoutMilliseconds: timeoutMilliseconds)
    }

    /// The group's committed offsets, whatever open transactions are about to commit.
    public func committedIgnoringPending(
        _ partitions: [TopicPartition], timeoutMilliseconds: Int = 10_000
    ) throws(KafkaError) -> [TopicPartition: Int64] {
        try uncommittedReader.committed(partitions, timeoutMilliseconds: timeoutMilliseconds)
    }

    /// How far a read-committed reader that stands at `positions` is behind.
    ///
    /// Where offsets differ it looks whether there is a record at all between them: markers alone are
    /// no lag.
    public func lag(
        behind positions: [Position], timeoutMilliseconds: Int = 10_000
    ) throws(KafkaError) -> [TopicPartition: Lag] {
        let deadline = Deadline(milliseconds: timeoutMilliseconds)
        let offsets = try self.offsets(
            of: positions.map(\.partition), timeoutMilliseconds: timeoutMilliseconds)
        var result: [TopicPartition: Lag] = [:]
        var unclear: [Position] = []
        for position in positions {
            let here = offsets[position.partition]!
            if here.committedEnd <= position.offset {
                result[position.partition] = Lag.none
            } else {
                let from = max(position.offset, here.first)
                result[position.partition] = .atMost(here.committedEnd - from)
                unclear.append(Position(position.partition, from))
            }
        }
        let records = try firstRecords(from: unclear, deadline)
        for position in unclear where records[position.partition] == nil {
            result[position.partition] = Lag.none
        }
        return result
    }
}
