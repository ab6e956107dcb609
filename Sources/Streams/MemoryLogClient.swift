// One simulated process's connection to a MemoryLog.

import Bytes

/// A `LogClient` over a `MemoryLog`: a group member and a transactional producer.
public final class MemoryLogClient: LogClient {
    public let log: MemoryLog
    public let group: String
    private let topic: UInt16
    private let transactionalID: String
    private let epoch: Int
    private let member: Int
    private var generation = -1
    private var assigned: [Int] = []
    private var cursors: [Int: MemoryLogPartition.Cursor] = [:]
    private var turnOfPartition = 0

    /// Joins `group` and takes over `transactionalID`: a predecessor in this slot is fenced.
    public init<Topic: RawRepresentable>(
        _ log: MemoryLog, group: String, input: Topic, transactionalID: String
    ) where Topic.RawValue == UInt16 {
        self.log = log
        self.group = group
        self.transactionalID = transactionalID
        topic = input.rawValue
        epoch = log.initTransactions(transactionalID)
        member = log.join(group)
    }

    /// Leaves the group, as a process that ends or whose session times out does.
    public func leave() { log.leave(group, member: member) }

    public func partitionCount<Topic: RawRepresentable>(_ topic: Topic) throws -> Int
    where Topic.RawValue == UInt16 { log.partitionCount(topic) }

    public func collect(limit: Int, into batch: inout [Record]) throws -> Collected {
        let current = log.generation(of: group)
        if generation != current {
            if !assigned.isEmpty {
                defer {
                    assigned = []
                    cursors = [:]
                }
                return .revoked(assigned)
            }
            generation = current
            assigned = log.assignment(group, member: member, topic: topic)
            return .assigned(assigned)
        }
        guard !assigned.isEmpty else { return .records }
        for _ in assigned {
            turnOfPartition = (turnOfPartition + 1) % assigned.count
            let partition = assigned[turnOfPartition]
            guard var cursor = cursors[partition] else { continue }
            try log.fetch(
                topic, partition, &cursor, limit: limit - batch.count, into: &batch)
            cursors[partition] = cursor
            if batch.count >= limit { break }
        }
        if !batch.isEmpty { try log.crash(at: .collect) }
        return .records
    }

    public func start(partition: Int, at offset: Int64) throws {
        cursors[partition] = MemoryLogPartition.Cursor(offset: offset)
    }

    public func commit(_ outbox: borrowing Outbox, positions: [InputPosition]) throws {
        try log.transact(
            transactionalID, epoch: epoch, outbox, group: positions.isEmpty ? nil : group,
            generation: generation, topic: topic, positions: positions)
    }

    public func committedOffset(partition: Int) throws -> Int64? {
        try log.committedOffset(group, topic, partition)
    }

    public func startOffset(partition: Int) throws -> Int64 {
        try log.startOffset(TopicNumber(rawValue: topic), partition: partition)
    }

    public func read<Topic: RawRepresentable>(
        _ topic: Topic, partition: Int, from first: Int64?, upTo end: Int64?,
        _ body: (Record) throws -> Void
    ) throws where Topic.RawValue == UInt16 {
        if try log.lastStableOffset(topic, partition: partition)
            < log.endOffset(topic, partition: partition)
        {
            // Kafka's reader waits here until the transaction timeout has ended what is open.
            log.abortOpenTransactions()
        }
        var count = 0
        try log.read(topic, partition: partition, from: first, upTo: end) { record in
            count += 1
            if count % 16 == 1 { try log.crash(at: .recovery) }
            try body(record)
        }
    }
}
