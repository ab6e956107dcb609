// A log in memory with Kafka's contract: the embedded default, the tests' log and the replay's.

import Bytes

/// Where a simulated process can be made to die.
public enum CrashPoint: Hashable, CaseIterable, Sendable {
    case collect
    /// Nothing of the transaction is in the log yet.
    case beforeCommit
    /// Half of the transaction's records are in the log; it stays open until somebody aborts it.
    case insideCommit
    /// All records are in the log, the transaction is open, offsets are not committed.
    case beforeEndOfCommit
    /// Committed, but the process does not learn of it.
    case afterCommit
    /// In the middle of reading a topic for recovery.
    case recovery
}

/// What a simulated process dies of.
public struct Crash: Error, Equatable, CustomStringConvertible {
    public let point: CrashPoint
    public var description: String { "injected crash at \(point)" }
}

/// What Kafka would answer a client that must not go on.
public enum MemoryLogError: Error, Equatable, CustomStringConvertible {
    case fenced(String)
    case staleGeneration(String)
    case unknownPartition(topic: String, partition: Int)
    case offsetOutOfRange(topic: String, partition: Int, offset: Int64, start: Int64)

    public var description: String {
        switch self {
        case .fenced(let id): "a newer producer with the transactional id \(id) has fenced this one"
        case .staleGeneration(let group):
            "group \(group) has rebalanced since the records were read"
        case .unknownPartition(let topic, let partition):
            "topic \(topic) has no partition \(partition)"
        case .offsetOutOfRange(let topic, let partition, let offset, let start):
            "offset \(offset) of \(topic) [\(partition)] is gone: the log starts at \(start)"
        }
    }
}

/// A topic of a MemoryLog.
public struct MemoryTopic: Sendable {
    public var name: String
    public var partitions: Int
    public var isCompacted: Bool

    public init(name: String, partitions: Int, isCompacted: Bool = false) {
        self.name = name
        self.partitions = partitions
        self.isCompacted = isCompacted
    }
}

/// Topics, partitions, groups and transactions in one process, on one thread.
///
/// Holds Kafka's contract for what we use of it: `murmur2_random` keys, transactions that are seen
/// whole or not at all, markers and aborted records that take offsets, fencing by transactional id,
/// eager rebalances, committed offsets, compaction. Time is what `now` is set to.
public final class MemoryLog {
    public let topics: [MemoryTopic]
    /// The virtual clock: the timestamp of records that name none, milliseconds since the epoch.
    public var now: Int64 = 0
    /// Asked at every crash point; `true` kills the simulated process that stands there.
    public var crashes: ((CrashPoint) -> Bool)?

    private var partitions: [[MemoryLogPartition]]
    private var groups: [String: Group] = [:]
    private var producers: [String: Producer] = [:]
    private var producerNumbers = 0
    private var bytesSinceCompaction: [Int]

    private struct Group {
        var members: [Int] = []
        var generation = 0
        var nextMember = 0
        /// Committed offsets by topic and partition.
        var offsets: [UInt64: Int64] = [:]
    }

    private final class Producer {
        let number: Int
        var epoch = 0
        /// Entries of the open transaction by topic and partition.
        var open: [UInt64: [UnsafeMutableRawPointer]] = [:]

        init(number: Int) { self.number = number }
    }

    /// - Parameter topics: in the order of their numbers.
    public init(topics: [MemoryTopic]) {
        self.topics = topics
        partitions = topics.map { topic in
            precondition(
                topic.partitions > 0, "topic \(topic.name) has \(topic.partitions) partitions")
            return (0..<topic.partitions).map { _ in MemoryLogPartition() }
        }
        bytesSinceCompaction = topics.map { _ in 0 }
    }

    private static func place(_ topic: UInt16, _ partition: Int) -> UInt64 {
        UInt64(topic) << 32 | UInt64(partition)
    }

    private func partition(_ topic: UInt16, _ partition: Int) throws -> MemoryLogPartition {
        guard Int(topic) < topics.count, topics[Int(topic)].partitions > partition, partition >= 0
        else {
            let name = Int(topic) < topics.count ? topics[Int(topic)].name : "\(topic)"
            throw MemoryLogError.unknownPartition(topic: name, partition: partition)
        }
        return partitions[Int(topic)][partition]
    }

    func crash(at point: CrashPoint) throws {
        if let crashes, crashes(point) { throw Crash(point: point) }
    }

    /// Bytes of memory that records take.
    public var allocatedBytes: Int {
        partitions.reduce(0) { $0 + $1.reduce(0) { $0 + $1.allocatedBytes } }
    }

    public func partitionCount<Topic: RawRepresentable>(_ topic: Topic) -> Int
    where Topic.RawValue == UInt16 {
        topics[Int(topic.rawValue)].partitions
    }

    // Producing

    /// Appends one record outside any transaction, as an idempotent producer would.
    @discardableResult
    public func append<Topic: RawRepresentable>(
        _ topic: Topic, partition: Int? = nil, key: ByteSlice?, value: ByteSlice?,
        headers: Headers = Headers(), timestamp: Int64? = nil
    ) throws -> Int where Topic.RawValue == UInt16 {
        let number = try partition ?? self.partition(topic.rawValue, forKey: key)
        _ = try self.partition(topic.rawValue, number).append(
            key: key, value: value, headers: headers.encoded, timestamp: timestamp ?? now,
            producer: nil)
        grew(topic.rawValue, by: (key?.count ?? 0) + (value?.count ?? 0))
        return number
    }

    private func partition(_ topic: UInt16, forKey key: ByteSlice?) throws -> Int {
        guard Int(topic) < topics.count else {
            throw MemoryLogError.unknownPartition(topic: "\(topic)", partition: 0)
        }
        guard let key else { return 0 }
        return Murmur2.partition(key, of: topics[Int(topic)].partitions)
    }

    private func grew(_ topic: UInt16, by bytes: Int) {
        guard topics[Int(topic)].isCompacted else { return }
        bytesSinceCompaction[Int(topic)] += bytes
    }

    /// Makes `id` ours: aborts what a predecessor left open and fences it. Returns the new epoch.
    func initTransactions(_ id: String) -> Int {
        let producer = producers[id] ?? Producer(number: producerNumbers)
        if producers[id] == nil {
            producers[id] = producer
            producerNumbers += 1
        }
        end(producer, commits: false)
        producer.epoch += 1
        return producer.epoch
    }

    private func end(_ producer: Producer, commits: Bool) {
        for place in producer.open.keys.sorted() {
            partitions[Int(place >> 32)][Int(place & 0xFFFF_FFFF)].endTransaction(
                producer.number, producer.open[place]!, commits: commits, now: now)
        }
        producer.open.removeAll(keepingCapacity: true)
    }

    /// What the broker does when transactions time out: every open one is aborted.
    func abortOpenTransactions() {
        for id in producers.keys.sorted() { end(producers[id]!, commits: false) }
    }

    /// One whole transaction of `id`; throws `Crash` where one is injected.
    func transact(
        _ id: String, epoch: Int, _ outbox: borrowing Outbox, group: String?, generation: Int,
        topic: UInt16, positions: [InputPosition]
    ) throws {
        guard let producer = producers[id], producer.epoch == epoch else {
            throw MemoryLogError.fenced(id)
        }
        try crash(at: .beforeCommit)
        let half = outbox.entries.count / 2
        for (i, entry) in outbox.entries.enumerated() {
            if i == half { try crash(at: .insideCommit) }
            let key = outbox.key(of: entry)
            let value = outbox.value(of: entry)
            let number = try entry.partition ?? partition(entry.topic, forKey: key)
            let pointer = try partition(entry.topic, number).append(
                key: key, value: value, headers: outbox.headers(of: entry).encoded,
                timestamp: entry.timestamp ?? now, producer: producer.number)
            producer.open[MemoryLog.place(entry.topic, number), default: []].append(pointer)
            grew(entry.topic, by: (key?.count ?? 0) + (value?.count ?? 0))
        }
        try crash(at: .beforeEndOfCommit)
        if let group {
            guard groups[group]?.generation == generation else {
                throw MemoryLogError.staleGeneration(group)
            }
            for position in positions {
                groups[group]!.offsets[MemoryLog.place(topic, position.partition)] = position.next
            }
        }
        end(producer, commits: true)
        try crash(at: .afterCommit)
    }

    // Groups

    func join(_ group: String) -> Int {
        var joined = groups[group] ?? Group()
        let member = joined.nextMember
        joined.nextMember += 1
        joined.members.append(member)
        joined.generation += 1
        groups[group] = joined
        return member
    }

    /// Takes a member out of its group, as its leaving or its session timeout does.
    func leave(_ group: String, member: Int) {
        guard let at = groups[group]?.members.firstIndex(of: member) else { return }
        groups[group]!.members.remove(at: at)
        groups[group]!.generation += 1
    }

    func generation(of group: String) -> Int { groups[group]?.generation ?? 0 }

    /// The range assignor: consecutive partitions, the first members get one more.
    func assignment(_ group: String, member: Int, topic: UInt16) -> [Int] {
        guard let members = groups[group]?.members.sorted(), let at = members.firstIndex(of: member)
        else {
            return []
        }
        let count = topics[Int(topic)].partitions
        let (each, more) = count.quotientAndRemainder(dividingBy: members.count)
        let first = at * each + min(at, more)
        return Array(first..<first + each + (at < more ? 1 : 0))
    }

    func committedOffset(_ group: String, _ topic: UInt16, _ partition: Int) -> Int64? {
        groups[group]?.offsets[MemoryLog.place(topic, partition)]
    }

    /// Sets a committed offset outside any transaction.
    public func commitOffset<Topic: RawRepresentable>(
        group: String, _ topic: Topic, partition: Int, next: Int64
    ) where Topic.RawValue == UInt16 {
        groups[group, default: Group()].offsets[MemoryLog.place(topic.rawValue, partition)] = next
    }

    // Reading

    public func startOffset<Topic: RawRepresentable>(_ topic: Topic, partition: Int) throws -> Int64
    where Topic.RawValue == UInt16 {
        try self.partition(topic.rawValue, partition).startOffset
    }

    /// The offset behind the last record, open transactions included.
    public func endOffset<Topic: RawRepresentable>(_ topic: Topic, partition: Int) throws -> Int64
    where Topic.RawValue == UInt16 {
        try self.partition(topic.rawValue, partition).endOffset
    }

    /// The offset up to which committed records can be read.
    public func lastStableOffset<Topic: RawRepresentable>(_ topic: Topic, partition: Int) throws
        -> Int64
    where Topic.RawValue == UInt16 {
        try self.partition(topic.rawValue, partition).lastStableOffset
    }

    /// Reads committed records from `first` (or the start) below `end` (or the stable end); returns
    /// where the next read should go on.
    @discardableResult
    public func read<Topic: RawRepresentable>(
        _ topic: Topic, partition: Int, from first: Int64? = nil, upTo end: Int64? = nil,
        _ body: (Record) throws -> Void
    ) throws -> Int64 where Topic.RawValue == UInt16 {
        let log = try self.partition(topic.rawValue, partition)
        if let first, first < log.startOffset {
            throw MemoryLogError.offsetOutOfRange(
                topic: topics[Int(topic.rawValue)].name, partition: partition, offset: first,
                start: log.startOffset)
        }
        var cursor = MemoryLogPartition.Cursor(offset: first ?? log.startOffset)
        let below = min(end ?? Int64.max, log.lastStableOffset)
        while let record = log.next(
            &cursor, below: below, topic: topic.rawValue, partition: partition)
        {
            try body(record)
        }
        return max(cursor.offset, below)
    }

    func fetch(
        _ topic: UInt16, _ number: Int, _ cursor: inout MemoryLogPartition.Cursor, limit: Int,
        into batch: inout [Record]
    ) throws {
        let log = partitions[Int(topic)][number]
        guard cursor.offset >= log.startOffset else {
            throw MemoryLogError.offsetOutOfRange(
                topic: topics[Int(topic)].name, partition: number, offset: cursor.offset,
                start: log.startOffset)
        }
        let end = log.lastStableOffset
        while batch.count < limit,
            let record = log.next(&cursor, below: end, topic: topic, partition: number)
        {
            batch.append(record)
        }
    }

    // Retention

    /// Forgets records below `offset`, as retention or DeleteRecords does.
    public func trim<Topic: RawRepresentable>(_ topic: Topic, partition: Int, before offset: Int64)
        throws
    where Topic.RawValue == UInt16 {
        try self.partition(topic.rawValue, partition).trim(before: offset)
    }

    /// Compacts every compacted topic that has grown by `bytes` since it was last compacted.
    public func compact(after bytes: Int = 0) {
        for topic in topics.indices
        where topics[topic].isCompacted && bytesSinceCompaction[topic] > bytes {
            for partition in partitions[topic] { partition.compact() }
            bytesSinceCompaction[topic] = 0
        }
    }
}
