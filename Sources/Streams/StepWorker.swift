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

    public init() {}
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
    var recoveries: [Recovery] = []
    /// Records below the expected offset or of partitions that are not ours: dropped and counted.
    public internal(set) var recordsIgnored = 0
    public internal(set) var recordsStepped: Int64 = 0

    /// - Parameters:
    ///   - group: consumer group, first part of checkpoint keys.
    ///   - checkpoints: the compacted topic for checkpoints and positions, with at least as many
    ///     partitions as `input`.
    public init<Topic: RawRepresentable>(
        role: Role, client: Client, group: String, input: Topic, checkpoints: Topic,
        limits: WorkerLimits = WorkerLimits()
    ) where Topic.RawValue == UInt16 {
        self.role = role
        self.client = client
        self.group = group
        self.limits = limits
        inputTopic = TopicNumber(rawValue: input.rawValue)
        checkpointTopic = TopicNumber(rawValue: checkpoints.rawValue)
        outbox = .allocate(capacity: 1)
        outbox.initialize(to: Outbox())
    }

    deinit {
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
        for i in records.startIndex..<records.endIndex where records.base[i].offset >= position.next
        {
            var record = records.base[i]
            record.ordinal = position.ordinal
            role.step(state, record, into: &outbox.pointee)
            position.ordinal &+= 1
            position.next = record.offset &+ 1
        }
        position.rollingHash = outbox.pointee.rollingHash
        owned.position = position
        return Int(position.ordinal &- first)
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
            owned[partition]!.position.append(to: &outbox.pointee.bytes)
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
        outbox.pointee.removeAll()
        let partitions = assigned.sorted()
        guard !partitions.isEmpty else { return }
        for partition in partitions { appendCheckpoint(partition) }
        try commit(partitions)
    }

    private func appendCheckpoint(_ partition: Int) {
        outbox.pointee.isHashed = false
        defer { outbox.pointee.isHashed = true }
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

/// A topic by its number, where the role's own enumeration is not known.
struct TopicNumber: RawRepresentable {
    var rawValue: UInt16
}
