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
/// eager rebalances, committed offsets, compaction. Time is what `now` is set to. With a folder
/// (`init(topics:folder:)`) it survives its process.
public final class MemoryLog {
    public let topics: [MemoryTopic]
    /// The virtual clock: the timestamp of records that name none, milliseconds since the epoch.
    public var now: Int64 {
        get { clock.pointee }
        set { clock.pointee = newValue }
    }
    /// Behind a pointer, because it is read once a record.
    private let clock: UnsafeMutablePointer<Int64>
    /// Asked at every crash point; `true` kills the simulated process that stands there.
    public var crashes: ((CrashPoint) -> Bool)?

    /// All partitions, topic by topic.
    let partitions: UnsafeMutablePointer<MemoryLogPartition>
    let partitionCount: Int
    /// Where a topic's partitions begin in `partitions`.
    private let firstOfTopic: [Int]
    var groups: [String: Group] = [:]
    var producers: [String: Producer] = [:]
    var folder: LogFolder?

    struct Group {
        var members: [Int] = []
        var generation = 0
        var nextMember = 0
        /// Committed offsets by place (`place(_:_:)`).
        var offsets: [Int: Int64] = [:]
    }

    final class Producer {
        let number: Int32
        var epoch = 0
        /// The open transaction: the places it has records in, and all of its records.
        var places: [Int] = []
        let entries = EntryList()

        init(number: Int32) { self.number = number }
    }

    /// - Parameter topics: in the order of their numbers.
    public init(topics: [MemoryTopic]) {
        self.topics = topics
        var first: [Int] = []
        var count = 0
        for topic in topics {
            precondition(
                topic.partitions > 0, "topic \(topic.name) has \(topic.partitions) partitions")
            first.append(count)
            count += topic.partitions
        }
        firstOfTopic = first
        partitionCount = count
        clock = .allocate(capacity: 1)
        clock.initialize(to: 0)
        partitions = .allocate(capacity: count)
        for place in 0..<count { (partitions + place).initialize(to: MemoryLogPartition()) }
    }

    deinit {
        partitions.deinitialize(count: partitionCount)
        partitions.deallocate()
        clock.deallocate()
    }

    /// The index in `partitions` of a topic's partition.
    func place(_ topic: UInt16, _ partition: Int) throws -> Int {
        guard Int(topic) < topics.count, topics[Int(topic)].partitions > partition, partition >= 0
        else {
            let name = Int(topic) < topics.count ? topics[Int(topic)].name : "number \(topic)"
            throw MemoryLogError.unknownPartition(topic: name, partition: partition)
        }
        return firstOfTopic[Int(topic)] + partition
    }

    private func place(_ topic: UInt16, _ partition: Int?, key: ByteSlice?) throws -> Int {
        if let partition { return try place(topic, partition) }
        guard Int(topic) < topics.count, let key else { return try place(topic, 0) }
        return firstOfTopic[Int(topic)]
            + Murmur2.partition(key, of: topics[Int(topic)].partitions)
    }

    func crash(at point: CrashPoint) throws {
        if let crashes, crashes(point) { throw Crash(point: point) }
    }

    /// Bytes of memory that records take.
    public var allocatedBytes: Int {
        (0..<partitionCount).reduce(0) { $0 + partitions[$1].allocatedBytes }
    }

    public func partitionCount<Topic: RawRepresentable>(_ topic: Topic) -> Int
    where Topic.RawValue == UInt16 {
        topics[Int(topic.rawValue)].partitions
    }

    // Producing

    /// Appends one record outside any transaction, as an idempotent producer would; returns its
    /// partition. In a log with a folder it is on disk with the next commit or `flush`.
    @discardableResult
    public func append<Topic: RawRepresentable>(
        _ topic: Topic, partition: Int? = nil, key: ByteSlice?, value: ByteSlice?,
        headers: Headers = Headers(), timestamp: Int64? = nil
    ) throws -> Int where Topic.RawValue == UInt16 {
        let place = try place(topic.rawValue, partition, key: key)
        _ = partitions[place].append(
            key: key, value: value, headers: headers.encoded, timestamp: timestamp ?? now,
            producer: -1, status: .committed)
        return place - firstOfTopic[Int(topic.rawValue)]
    }

    /// Makes `id` ours: aborts what a predecessor left open and fences it. Returns the new epoch.
    func initTransactions(_ id: String) -> Int {
        let producer = producers[id] ?? Producer(number: Int32(producers.count))
        producers[id] = producer
        end(producer, commits: false)
        producer.epoch += 1
        folder?.changedProducers.insert(id)
        return producer.epoch
    }

    private func end(_ producer: Producer, commits: Bool) {
        producer.entries.takeAll {
            MemoryLogPartition.setStatus($0, commits ? .committed : .aborted)
        }
        for place in producer.places.sorted() {
            partitions[place].end(producer.number, commits: commits, now: now)
        }
        producer.places.removeAll(keepingCapacity: true)
    }

    /// What the broker does when transactions time out: every open one is aborted, and its producer
    /// is fenced.
    func abortOpenTransactions() {
        for id in producers.keys.sorted() where !producers[id]!.places.isEmpty {
            _ = initTransactions(id)
        }
    }

    /// One whole transaction of `id`; throws `Crash` where one is injected.
    func transact(
        _ id: String, epoch: Int, _ outbox: borrowing Outbox, group: String?, generation: Int,
        topic: UInt16, positions: [InputPosition]
    ) throws {
        try folder?.checkUsable()
        try crash(at: .beforeCommit)
        let producer = try unfenced(id, epoch)
        try append(outbox, of: producer, id, epoch)
        try crash(at: .beforeEndOfCommit)
        _ = try unfenced(id, epoch)
        if let group {
            guard groups[group]?.generation == generation else {
                throw MemoryLogError.staleGeneration(group)
            }
            for position in positions {
                setOffset(group, try place(topic, position.partition), position.next)
            }
        }
        end(producer, commits: true)
        try write()
        try crash(at: .afterCommit)
    }

    private func unfenced(_ id: String, _ epoch: Int) throws -> Producer {
        guard let producer = producers[id], producer.epoch == epoch else {
            throw MemoryLogError.fenced(id)
        }
        return producer
    }

    private func append(
        _ outbox: borrowing Outbox, of producer: Producer, _ id: String, _ epoch: Int
    ) throws {
        let count = outbox.entries.count
        let number = producer.number
        let partitions = partitions
        for i in 0..<count {
            if i == count / 2 {
                try crash(at: .insideCommit)
                _ = try unfenced(id, epoch)
            }
            let entry = outbox.entries[i]
            let key = outbox.key(of: entry)
            let place = try place(entry.topic, entry.partition, key: key)
            if !partitions[place].begin(number) { producer.places.append(place) }
            producer.entries.append(
                partitions[place].append(
                    key: key, value: outbox.value(of: entry),
                    headers: outbox.headers(of: entry).encoded, timestamp: entry.timestamp ?? now,
                    producer: number, status: .open))
        }
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

    func committedOffset(_ group: String, _ topic: UInt16, _ partition: Int) throws -> Int64? {
        groups[group]?.offsets[try place(topic, partition)]
    }

    private func setOffset(_ group: String, _ place: Int, _ next: Int64) {
        groups[group, default: Group()].offsets[place] = next
        folder?.changedOffsets.append((group, place))
    }

    /// Sets a committed offset outside any transaction.
    public func commitOffset<Topic: RawRepresentable>(
        group: String, _ topic: Topic, partition: Int, next: Int64
    ) where Topic.RawValue == UInt16 {
        guard let place = try? place(topic.rawValue, partition) else {
            preconditionFailure("topic \(topic) has no partition \(partition)")
        }
        setOffset(group, place, next)
    }

    // Reading

    public func startOffset<Topic: RawRepresentable>(_ topic: Topic, partition: Int) throws -> Int64
    where Topic.RawValue == UInt16 {
        partitions[try place(topic.rawValue, partition)].startOffset
    }

    /// The offset behind the last record, open transactions included.
    public func endOffset<Topic: RawRepresentable>(_ topic: Topic, partition: Int) throws -> Int64
    where Topic.RawValue == UInt16 {
        partitions[try place(topic.rawValue, partition)].endOffset
    }

    /// The offset up to which committed records can be read.
    public func lastStableOffset<Topic: RawRepresentable>(_ topic: Topic, partition: Int) throws
        -> Int64
    where Topic.RawValue == UInt16 {
        partitions[try place(topic.rawValue, partition)].lastStableOffset
    }

    /// Reads committed records from `first` (or the start) below `end` (or the stable end); returns
    /// where the next read should go on.
    ///
    /// `body` may append to the log, but not trim or compact it.
    @discardableResult
    public func read<Topic: RawRepresentable>(
        _ topic: Topic, partition: Int, from first: Int64? = nil, upTo end: Int64? = nil,
        _ body: (Record) throws -> Void
    ) throws -> Int64 where Topic.RawValue == UInt16 {
        let place = try place(topic.rawValue, partition)
        var cursor = MemoryLogPartition.Cursor(offset: first ?? partitions[place].startOffset)
        let below = min(end ?? Int64.max, partitions[place].lastStableOffset)
        var batch: [Record] = []
        while cursor.offset < below {
            batch.removeAll(keepingCapacity: true)
            try fetch(topic.rawValue, partition, &cursor, below: below, limit: 256, into: &batch)
            if batch.isEmpty { break }
            for record in batch { try body(record) }
        }
        return max(cursor.offset, below)
    }

    func fetch(
        _ topic: UInt16, _ partition: Int, _ cursor: inout MemoryLogPartition.Cursor,
        below end: Int64? = nil, limit: Int, into batch: inout [Record]
    ) throws {
        let log = partitions + (try place(topic, partition))
        guard cursor.offset >= log.pointee.startOffset else {
            throw MemoryLogError.offsetOutOfRange(
                topic: topics[Int(topic)].name, partition: partition, offset: cursor.offset,
                start: log.pointee.startOffset)
        }
        log.pointee.fetch(
            &cursor, below: end ?? log.pointee.lastStableOffset, limit: limit, topic: topic,
            partition: partition, into: &batch)
    }

    // Retention

    /// Forgets records below `offset`, as retention or DeleteRecords does; memory and segment files
    /// go in whole chunks. No reader may hold records of the partition meanwhile.
    public func trim<Topic: RawRepresentable>(_ topic: Topic, partition: Int, before offset: Int64)
        throws
    where Topic.RawValue == UInt16 {
        let place = try place(topic.rawValue, partition)
        try drop([place: partitions[place].trim(before: offset)])
    }

    /// Compacts every partition of a compacted topic that has grown by more than `bytes`, and by half
    /// of what it held after its last compaction unless `bytes` is 0. No reader may hold records of
    /// compacted topics meanwhile.
    ///
    /// A partition with an open transaction waits until the next call.
    public func compact(after bytes: Int = 0) throws {
        var gone: [Int: [MemoryLogPartition.Chunk]] = [:]
        for (topic, first) in zip(topics, firstOfTopic) where topic.isCompacted {
            for place in first..<first + topic.partitions {
                let grown = partitions[place].bytesSinceCompaction
                let enough =
                    bytes == 0 ? 0 : max(bytes, partitions[place].bytesAfterCompaction / 2)
                if grown > enough, let replaced = partitions[place].compact() {
                    gone[place] = replaced
                }
            }
        }
        try drop(gone)
    }
}

/// Entries of an open transaction, in memory of its own: one is added a record.
final class EntryList {
    private struct List {
        var base: UnsafeMutablePointer<UnsafeMutableRawPointer>
        var capacity: Int
        var count = 0
    }

    private let list: UnsafeMutablePointer<List>

    init() {
        list = .allocate(capacity: 1)
        list.initialize(to: List(base: .allocate(capacity: 16), capacity: 16))
    }

    deinit {
        list.pointee.base.deallocate()
        list.deallocate()
    }

    func append(_ entry: UnsafeMutableRawPointer) {
        if list.pointee.count == list.pointee.capacity {
            let old = list.pointee.base
            list.pointee.capacity *= 2
            list.pointee.base = .allocate(capacity: list.pointee.capacity)
            list.pointee.base.update(from: old, count: list.pointee.count)
            old.deallocate()
        }
        list.pointee.base[list.pointee.count] = entry
        list.pointee.count += 1
    }

    /// Calls `body` with every entry and forgets them.
    func takeAll(_ body: (UnsafeMutableRawPointer) -> Void) {
        for i in 0..<list.pointee.count { body(list.pointee.base[i]) }
        list.pointee.count = 0
    }
}
