// The loop of a step role: collect, step, commit; and the one way back after any stop.

import Bytes

/// When a worker writes a checkpoint, and how much it takes at once.
public struct WorkerLimits: Sendable {
    /// Records collected for one commit, at most.
    public var collectRecords = 10_000
    /// Records after which a checkpoint is due.
    public var checkpointRecords: Int64 = 50_000
    /// Changed bytes after which a checkpoint is due.
    public var checkpointBytes = 4 << 20
    /// Seconds after which whoever runs the worker lets it write what moved, were it little
    /// (`checkpointWhatMoved`); a worker has no clock.
    public var checkpointSeconds: Int64 = 600
    /// A record that has ended the process so many times is skipped.
    public var crashesBeforeSkip: Int64 = 3

    public init() {}
}

/// Which record is being stepped over, and how often it has ended the process before; for whoever takes
/// note of a crash.
public struct StepCursor {
    public var partition = -1
    /// -1 outside of steps.
    public var offset: Int64 = -1
    @usableFromInline var crash = CrashNote(offset: -1, count: 0)

    /// What is to be noted if the process ends now; nil where no record is to blame.
    public var crashNote: CrashNote? {
        guard offset >= 0 else { return nil }
        return CrashNote(offset: offset, count: (crash.offset == offset ? crash.count : 0) + 1)
    }
}

/// Runs one step role over the partitions that a log client is given.
///
/// One thread. An error from the log ends the worker; recovery builds a new one.
public final class StepWorker<Role: Step, Client: LogClient> {
    public let role: Role
    public let client: Client
    public let group: String
    public let limits: WorkerLimits
    let inputTopic: TopicNumber
    let checkpointTopic: TopicNumber
    @usableFromInline var owned: [Int: OwnedPartition<Role.State>] = [:]
    @usableFromInline var assigned: Set<Int> = []
    @usableFromInline var batch: [Record] = []
    /// Behind a pointer, so that lending it to a step checks nothing a record.
    @usableFromInline let outbox: UnsafeMutablePointer<Outbox>
    /// Valid as long as this worker.
    public let cursor: UnsafeMutablePointer<StepCursor>
    /// Appends what is published in the place of a record that is skipped; decides by the record alone.
    @usableFromInline let skip: (Record, inout Outbox) -> Void
    var recoveries: [Recovery] = []
    @usableFromInline var skips: [SkippedRecord] = []
    /// Records below the expected offset or of partitions that are not ours: dropped and counted.
    public internal(set) var recordsIgnored = 0
    public internal(set) var recordsStepped: Int64 = 0
    public private(set) var recordsSkipped: Int64 = 0
    public private(set) var checkpoints = CheckpointCounts()
    /// Seconds of any clock, to count how long checkpoints take; a worker has none of its own.
    public var seconds: () -> Double = { 0 }

    /// - Parameters:
    ///   - group: consumer group, first part of checkpoint keys.
    ///   - checkpoints: the compacted topic for checkpoints and positions, with at least as many
    ///     partitions as `input`.
    ///   - skip: appends what is published in the place of a record that is skipped because it has
    ///     ended the process again and again. Equal records must give equal outputs.
    public init<Topic: RawRepresentable>(
        role: Role, client: Client, group: String, input: Topic, checkpoints: Topic,
        limits: WorkerLimits = WorkerLimits(),
        skip: @escaping (Record, inout Outbox) -> Void = { _, _ in }
    ) where Topic.RawValue == UInt16 {
        self.role = role
        self.client = client
        self.group = group
        self.limits = limits
        inputTopic = TopicNumber(rawValue: input.rawValue)
        checkpointTopic = TopicNumber(rawValue: checkpoints.rawValue)
        outbox = .allocate(capacity: 1)
        outbox.initialize(to: Outbox())
        cursor = .allocate(capacity: 1)
        cursor.initialize(to: StepCursor())
        self.skip = skip
    }

    deinit {
        cursor.deallocate()
        outbox.deinitialize(count: 1)
        outbox.deallocate()
    }

    /// One round: collect what is there, step over it, commit. Returns the number of records stepped.
    ///
    /// A change of assignment is handled first and counts as 0 records; call again.
    @inlinable
    @discardableResult
    public func turn() throws -> Int {
        batch.removeAll(keepingCapacity: true)
        switch try client.collect(limit: limits.collectRecords, into: &batch) {
        case .assigned(let partitions):
            try takeOver(partitions)
            return 0
        case .revoked(let partitions):
            // Nothing uncommitted exists: state stays until the next assignment says who owns it.
            for partition in partitions { assigned.remove(partition) }
            return 0
        case .records:
            return batch.isEmpty ? 0 : try stepAndCommit()
        }
    }

    /// Partitions this worker owns now, with the ordinal each has reached.
    public var ordinals: [(partition: Int, ordinal: Int64)] {
        assigned.sorted().map { ($0, owned[$0]!.position.ordinal) }
    }

    /// Lends the state of an owned partition, for reports and tests.
    public func state(of partition: Int) -> Role.State? { current(partition)?.state }

    /// The input offset from which a recovery would replay; nil where there is no checkpoint yet. What
    /// lies before it may be forgotten.
    public func recoveryOffset(of partition: Int) -> Int64? { current(partition)?.checkpointNext }

    /// The hash of everything a partition has published since its beginning.
    public func outputHash(of partition: Int) -> Hash128? {
        current(partition)?.position.rollingHash
    }

    /// What was collected last, each partition's records in their order; borrowed until the next turn.
    public var collected: [Record] { batch }

    /// Records skipped since the last call.
    public func takeSkips() -> [SkippedRecord] {
        defer { skips = [] }
        return skips
    }

    /// Recoveries since the last call.
    public func takeRecoveries() -> [Recovery] {
        defer { recoveries = [] }
        return recoveries
    }

    @usableFromInline
    func current(_ partition: Int) -> OwnedPartition<Role.State>? {
        assigned.contains(partition) ? owned[partition] : nil
    }

    // Stepping

    @inlinable
    func stepAndCommit() throws -> Int {
        outbox.pointee.removeAll()
        var touched: Set<Int> = []
        var stepped = 0
        let batch = batch
        try batch.withUnsafeBufferPointer { records in
            var start = 0
            while start < records.count {
                let partition = records[start].partition
                var end = start + 1
                while end < records.count, records[end].partition == partition { end += 1 }
                if let owned = current(partition) {
                    let count = step(owned, records[start..<end])
                    if count > 0 { touched.insert(partition) }
                    stepped += count
                }
                start = end
            }
            try commitSteps(touched.sorted(), stepped: stepped, collected: records.count)
        }
        return stepped
    }

    /// Steps over one partition's records; returns how many were not below the expected offset.
    @inlinable
    func step(
        _ owned: OwnedPartition<Role.State>, _ records: Slice<UnsafeBufferPointer<Record>>
    ) -> Int {
        let outbox = outbox
        let state = owned.state
        let role = role
        var position = owned.position
        let first = position.ordinal
        outbox.pointee.rollingHash = position.rollingHash
        cursor.pointee.partition = partition(of: records)
        cursor.pointee.crash = owned.crash
        let poison = owned.crash.count >= limits.crashesBeforeSkip ? owned.crash.offset : -1
        var last = -1
        for i in records.startIndex..<records.endIndex where records.base[i].offset >= position.next
        {
            var record = records.base[i]
            record.ordinal = position.ordinal
            if record.offset == poison {
                skipForGood(record, owned)
            } else {
                cursor.pointee.offset = record.offset
                role.step(state, record, into: &outbox.pointee)
            }
            position.ordinal &+= 1
            position.next = record.offset &+ 1
            last = i
        }
        cursor.pointee.offset = -1
        position.rollingHash = outbox.pointee.rollingHash
        if last >= 0 { owned.last = LastRecord(records.base[last]) }
        owned.position = position
        return Int(position.ordinal &- first)
    }

    @inlinable
    func partition(of records: Slice<UnsafeBufferPointer<Record>>) -> Int {
        records.base[records.startIndex].partition
    }

    /// That it was skipped is part of the same transaction as what is published in its place, so that
    /// every replay skips it too.
    @usableFromInline
    func skipForGood(_ record: Record, _ owned: OwnedPartition<Role.State>) {
        skip(record, &outbox.pointee)
        recordsSkipped += 1
        owned.skipped.insert(record.offset)
        skips.append(
            SkippedRecord(
                partition: record.partition, offset: record.offset, ordinal: record.ordinal))
        outbox.pointee.isHashed = false
        defer { outbox.pointee.isHashed = true }
        outbox.pointee.begin(checkpointTopic, partition: record.partition)
        CheckpointKey.prefix(group, record.partition).lend {
            CheckpointKey.appendSkipped($0, record.offset, to: &outbox.pointee.bytes)
        }
        outbox.pointee.beginValue()
        outbox.pointee.bytes.append(raw: record.ordinal)
        outbox.pointee.end()
    }

    @usableFromInline
    func commitSteps(_ partitions: [Int], stepped: Int, collected: Int) throws {
        recordsIgnored += collected - stepped
        guard stepped > 0 else { return }
        recordsStepped += Int64(stepped)
        for partition in partitions where owned[partition]!.isCheckpointDue(limits) {
            appendCheckpoint(partition)
        }
        try commit(partitions)
    }

    private func commit(_ partitions: [Int]) throws {
        outbox.pointee.isHashed = false
        defer { outbox.pointee.isHashed = true }
        for partition in partitions {
            outbox.pointee.begin(checkpointTopic, partition: partition)
            outbox.pointee.bytes.append(CheckpointKey.prefix(group, partition))
            outbox.pointee.bytes.append("position")
            outbox.pointee.beginValue()
            PositionRecord(owned[partition]!.position, last: owned[partition]!.last)
                .append(to: &outbox.pointee.bytes)
            outbox.pointee.end()
        }
        try client.commit(
            outbox.pointee,
            positions: partitions.map {
                InputPosition(partition: $0, next: owned[$0]!.position.next)
            })
    }

    // Checkpoints

    /// Writes a checkpoint of every owned partition now: at SIGTERM, so that nothing is replayed.
    public func checkpointAll() throws {
        passEnds()
        try checkpoint(assigned.sorted())
    }

    /// The same for partitions where a recovery would have to read the input: now and then, so that
    /// retention does not pass a checkpoint of a partition with little traffic, or none.
    public func checkpointWhatMoved() throws {
        passEnds()
        try checkpoint(assigned.sorted().filter { owned[$0]!.hasMovedSinceCheckpoint })
    }

    private func checkpoint(_ partitions: [Int]) throws {
        guard !partitions.isEmpty else { return }
        outbox.pointee.removeAll()
        for partition in partitions { appendCheckpoint(partition) }
        try commit(partitions)
    }

    /// The ends of transactions behind the last record count as read: when retention has taken them too,
    /// nobody could tell them from records that were lost.
    private func passEnds() {
        for partition in assigned {
            guard let end = client.endReached(partition: partition) else { continue }
            let owned = owned[partition]!
            owned.position.next = max(owned.position.next, end)
        }
    }

    private func appendCheckpoint(_ partition: Int) {
        outbox.pointee.isHashed = false
        defer { outbox.pointee.isHashed = true }
        let (bytes, started) = (outbox.pointee.bytes.count, seconds())
        let owned = owned[partition]!
        let prefix = CheckpointKey.prefix(group, partition)
        prefix.lend { prefix in
            for table in owned.tables { appendChangedRows(of: table, prefix, partition) }
            outbox.pointee.begin(checkpointTopic, partition: partition)
            outbox.pointee.bytes.append(prefix)
            outbox.pointee.bytes.append("manifest")
            outbox.pointee.beginValue()
            Manifest(
                position: owned.position, stepVersion: role.stepVersion,
                tables: owned.tables.map { Manifest.TableSeal($0) }
            ).append(to: &outbox.pointee.bytes)
            outbox.pointee.end()
        }
        owned.ordinalOfCheckpoint = owned.position.ordinal
        owned.needsCheckpoint = false
        owned.checkpointNext = owned.position.next
        checkpoints.count += 1
        checkpoints.bytes += Int64(outbox.pointee.bytes.count - bytes)
        checkpoints.seconds += seconds() - started
    }

    private func appendChangedRows(
        of table: any StateTable, _ prefix: ByteSlice, _ partition: Int
    ) {
        let outbox = outbox
        table.name.lend { name in
            table.takeChangedRows { row, bytes in
                outbox.pointee.begin(checkpointTopic, partition: partition)
                CheckpointKey.appendRow(prefix, name, row, to: &outbox.pointee.bytes)
                outbox.pointee.beginValue()
                if let bytes {
                    outbox.pointee.bytes.append(bytes)
                    outbox.pointee.end()
                } else {
                    outbox.pointee.endTombstone()
                }
            }
        }
    }
}

/// What a worker has written of its states.
public struct CheckpointCounts: Equatable, Sendable {
    /// Of partitions.
    public var count: Int64 = 0
    public var bytes: Int64 = 0
    /// Time in which they were gathered.
    public var seconds: Double = 0

    public init() {}
}

/// A record that has ended the process too often.
public struct SkippedRecord: Equatable, Sendable {
    public var partition: Int
    public var offset: Int64
    public var ordinal: Int64

    @usableFromInline
    init(partition: Int, offset: Int64, ordinal: Int64) {
        self.partition = partition
        self.offset = offset
        self.ordinal = ordinal
    }
}

/// A topic by its number, where the role's own enumeration is not known.
struct TopicNumber: RawRepresentable {
    var rawValue: UInt16
}
