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

/// What happened to a partition at recovery.
public struct Recovery: Equatable, Sendable {
    public var partition: Int
    /// Rows that came from the checkpoint.
    public var rows: Int
    /// Records replayed between checkpoint and committed offset.
    public var replayed: Int64
    public var ordinal: Int64
}

/// Why a worker refuses a partition: a sentence that says what differs and what to do.
public struct Quarantine: Error, CustomStringConvertible {
    public let partition: Int
    public let reason: String

    public var description: String {
        "partition \(partition) is quarantined: \(reason)"
    }
}

/// Runs one step role over the partitions that a log client is given.
///
/// One thread. An error from the log ends the worker; recovery builds a new one.
public final class StepWorker<Role: Step, Client: LogClient> {
    /// One partition's state with its place in the log.
    private final class Owned {
        let state: Role.State
        var position: Position
        var ordinalOfCheckpoint: Int64
        var hasCheckpoint: Bool

        init(state: Role.State, position: Position, ordinalOfCheckpoint: Int64, hasCheckpoint: Bool)
        {
            self.state = state
            self.position = position
            self.ordinalOfCheckpoint = ordinalOfCheckpoint
            self.hasCheckpoint = hasCheckpoint
        }
    }

    public let role: Role
    public let client: Client
    public let group: String
    public let limits: WorkerLimits
    private let inputTopic: UInt16
    private let checkpointTopic: TopicNumber
    private var owned: [Int: Owned] = [:]
    private var assigned: Set<Int> = []
    private var batch: [Record] = []
    private var outbox = Outbox()
    private var recoveries: [Recovery] = []
    /// Records below the expected offset or of partitions that are not ours: dropped and counted.
    public private(set) var recordsIgnored = 0
    public private(set) var recordsStepped: Int64 = 0

    /// - Parameters:
    ///   - group: consumer group, first part of checkpoint keys.
    ///   - checkpoints: the compacted topic for checkpoints and positions.
    public init<Topic: RawRepresentable>(
        role: Role, client: Client, group: String, input: Topic, checkpoints: Topic,
        limits: WorkerLimits = WorkerLimits()
    ) where Topic.RawValue == UInt16 {
        self.role = role
        self.client = client
        self.group = group
        self.limits = limits
        inputTopic = input.rawValue
        checkpointTopic = TopicNumber(rawValue: checkpoints.rawValue)
    }

    /// One round: collect what is there, step over it, commit. Returns the number of records stepped.
    ///
    /// A change of assignment is handled first and counts as 0 records; call again.
    @discardableResult
    public func turn() throws -> Int {
        batch.removeAll(keepingCapacity: true)
        switch try client.collect(limit: limits.collectRecords, into: &batch) {
        case .assigned(let partitions):
            for partition in partitions.sorted() { try take(partition) }
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
    public func state(of partition: Int) -> Role.State? {
        assigned.contains(partition) ? owned[partition]?.state : nil
    }

    /// The hash of everything a partition has published since its beginning.
    public func outputHash(of partition: Int) -> Hash128? { owned[partition]?.position.rollingHash }

    /// Recoveries since the last call.
    public func takeRecoveries() -> [Recovery] {
        defer { recoveries = [] }
        return recoveries
    }

    // Stepping

    private func stepAndCommit() throws -> Int {
        outbox.removeAll()
        var touched: [Int] = []
        var stepped = 0
        var current: Owned?
        var currentPartition = -1
        for record in batch {
            if record.partition != currentPartition {
                current?.position.rollingHash = outbox.rollingHash
                currentPartition = record.partition
                current = assigned.contains(currentPartition) ? owned[currentPartition] : nil
                if let current {
                    outbox.rollingHash = current.position.rollingHash
                    if !touched.contains(currentPartition) { touched.append(currentPartition) }
                }
            }
            guard let current, record.offset >= current.position.next else {
                recordsIgnored += 1
                continue
            }
            advance(current, record)
            stepped += 1
        }
        current?.position.rollingHash = outbox.rollingHash
        guard stepped > 0 else { return 0 }
        recordsStepped += Int64(stepped)
        touched.sort()
        for partition in touched where isCheckpointDue(owned[partition]!) {
            appendCheckpoint(partition)
        }
        try commit(touched)
        return stepped
    }

    @inline(__always)
    private func advance(_ owned: Owned, _ record: Record) {
        var record = record
        record.ordinal = owned.position.ordinal
        role.step(owned.state, record, into: &outbox)
        owned.position.ordinal += 1
        owned.position.next = record.offset + 1
    }

    private func commit(_ partitions: [Int]) throws {
        for partition in partitions {
            let prefix = CheckpointKey.prefix(group, partition)
            outbox.begin(checkpointTopic, partition: partition)
            outbox.bytes.append(prefix)
            outbox.bytes.append("position")
            outbox.beginValue()
            owned[partition]!.position.append(to: &outbox.bytes)
            outbox.end()
        }
        try client.commit(
            outbox,
            positions: partitions.map {
                InputPosition(partition: $0, next: owned[$0]!.position.next)
            })
    }

    // Checkpoints

    private func isCheckpointDue(_ owned: Owned) -> Bool {
        if owned.position.ordinal - owned.ordinalOfCheckpoint >= limits.checkpointRecords {
            return true
        }
        return owned.state.tables.reduce(0) { $0 + $1.changedBytes } >= limits.checkpointBytes
    }

    /// Writes a checkpoint of every owned partition now: at SIGTERM, so that nothing is replayed.
    public func checkpointAll() throws {
        outbox.removeAll()
        let partitions = assigned.sorted()
        guard !partitions.isEmpty else { return }
        for partition in partitions { appendCheckpoint(partition) }
        try commit(partitions)
    }

    private func appendCheckpoint(_ partition: Int) {
        let owned = owned[partition]!
        let prefix = CheckpointKey.prefix(group, partition)
        let hash = outbox.rollingHash
        prefix.lend { prefix in
            for table in owned.state.tables {
                table.name.lend { name in
                    table.takeChangedRows { row, bytes in
                        outbox.begin(checkpointTopic, partition: partition)
                        CheckpointKey.appendRow(prefix, name, row, to: &outbox.bytes)
                        outbox.beginValue()
                        if let bytes {
                            outbox.bytes.append(bytes)
                            outbox.end()
                        } else {
                            outbox.endTombstone()
                        }
                    }
                }
            }
            outbox.begin(checkpointTopic, partition: partition)
            outbox.bytes.append(prefix)
            outbox.bytes.append("manifest")
            outbox.beginValue()
            Manifest(
                position: owned.position, stepVersion: role.stepVersion,
                tables: owned.state.tables.map {
                    Manifest.TableSeal(
                        name: $0.name, rowBytes: $0.rowBytes, savedHash: $0.savedHash)
                }
            ).append(to: &outbox.bytes)
            outbox.end()
        }
        outbox.rollingHash = hash
        owned.ordinalOfCheckpoint = owned.position.ordinal
        owned.hasCheckpoint = true
    }

    // Recovery

    private func take(_ partition: Int) throws {
        let committed = try client.committedOffset(partition: partition)
        if let here = owned[partition], here.position.next == committed {
            // It was ours, nobody else committed: the state in memory is the state.
        } else {
            owned[partition] = try recover(partition, committed: committed)
        }
        assigned.insert(partition)
        try client.start(partition: partition, at: owned[partition]!.position.next)
    }

    private func recover(_ partition: Int, committed: Int64?) throws -> Owned {
        func refuse(_ reason: String) -> Quarantine {
            Quarantine(partition: partition, reason: reason)
        }
        let state = role.makeState(partition: partition)
        var tables: [String: any StateTable] = [:]
        for table in state.tables { tables[table.name] = table }
        let prefix = CheckpointKey.prefix(group, partition)
        var position: Position?
        var manifest: Manifest?
        var rows = 0
        do {
            try client.read(checkpointTopic, partition: partition, from: nil, upTo: nil) { record in
                guard let key = record.key, key.count > prefix.utf8.count,
                    prefix.lend({ $0.equals(key.slice(0, $0.count)) })
                else { return }
                let rest = key.slice(prefix.utf8.count, key.count)
                if rest.equals("position") {
                    position = try record.value.map { try Position($0) }
                } else if rest.equals("manifest") {
                    manifest = try record.value.map { try Manifest($0) }
                } else if rest.count > 5, rest.slice(0, 5).equals("rows/") {
                    guard let (name, row) = CheckpointKey.parseRow(rest.slice(5, rest.count)),
                        let table = tables[name.text]
                    else {
                        throw StateError(
                            "the checkpoint has a row \(rest.text) that this binary does not know; start "
                                + "the binary that wrote it once and stop it with SIGTERM")
                    }
                    try table.restoreRow(row, record.value)
                    rows += 1
                } else {
                    throw StateError("the checkpoint has an unknown record \(rest.text)")
                }
            }
        } catch let error as StateError {
            throw refuse(error.description)
        }
        guard position?.next == committed else {
            throw refuse(
                "the group's committed offset is \(committed.map(String.init) ?? "none") but its position "
                    + "record says \(position.map { String($0.next) } ?? "none"); outputs and offsets were "
                    + "not committed together, or somebody reset the group. Restore a snapshot or reset "
                    + "both")
        }
        var at = Position(
            next: try client.startOffset(partition: partition), ordinal: 0, rollingHash: .zero)
        if let manifest {
            try check(manifest, state, refuse)
            at = manifest.position
        } else if rows > 0 {
            throw refuse("the checkpoint has \(rows) rows but no manifest")
        }
        guard let position else {
            state.rebuild()
            return Owned(state: state, position: at, ordinalOfCheckpoint: 0, hasCheckpoint: false)
        }
        for table in state.tables { table.finishRestore() }
        state.rebuild()
        let recovered = Owned(
            state: state, position: at, ordinalOfCheckpoint: at.ordinal,
            hasCheckpoint: manifest != nil)
        if recovered.position.next < position.next, let written = manifest?.stepVersion,
            written != role.stepVersion
        {
            throw refuse(
                "the checkpoint was written by step version \(written), this worker is "
                    + "\(role.stepVersion), and there are records to replay; start the former once and "
                    + "stop it with SIGTERM, which leaves nothing to replay")
        }
        try replay(recovered, to: position, partition, rows: rows, refuse)
        return recovered
    }

    private func check(
        _ manifest: Manifest, _ state: Role.State, _ refuse: (String) -> Quarantine
    ) throws {
        let expected = manifest.tables
        let found = state.tables
        guard expected.map(\.name) == found.map(\.name),
            expected.map(\.rowBytes) == found.map(\.rowBytes)
        else {
            throw refuse(
                "the checkpoint's tables are \(expected.map { "\($0.name) (\($0.rowBytes) bytes)" }), this "
                    + "binary's are \(found.map { "\($0.name) (\($0.rowBytes) bytes)" }); start the binary "
                    + "that wrote it once and stop it with SIGTERM")
        }
        for (seal, table) in zip(expected, found) where seal.savedHash != table.savedHash {
            throw refuse(
                "table \(seal.name) of the checkpoint hashes to \(hexadecimal(table.savedHash)), its "
                    + "manifest says \(hexadecimal(seal.savedHash)): rows were lost or altered; restore a "
                    + "snapshot")
        }
    }

    /// Steps over what was committed since the checkpoint, outputs hashed but not published.
    private func replay(
        _ recovered: Owned, to position: Position, _ partition: Int, rows: Int,
        _ refuse: (String) -> Quarantine
    ) throws {
        let first = recovered.position
        guard first.next <= position.next else {
            throw refuse(
                "the checkpoint is at offset \(first.next), behind it the committed offset "
                    + "\(position.next); the group was reset to an earlier offset")
        }
        if first.next < position.next {
            guard try client.startOffset(partition: partition) <= first.next else {
                throw refuse(
                    "the log begins at offset \(try client.startOffset(partition: partition)), the "
                        + "checkpoint is at \(first.next): retention has passed it; restore a snapshot"
                )
            }
            try replayRecords(recovered, to: position, partition)
        }
        guard recovered.position.ordinal == position.ordinal,
            recovered.position.rollingHash == position.rollingHash
        else {
            throw refuse(
                "replay from ordinal \(first.ordinal) to \(recovered.position.ordinal) gives the output "
                    + "hash \(recovered.position.rollingHash.hex), the position record says ordinal "
                    + "\(position.ordinal) and \(position.rollingHash.hex); the step is not the one that "
                    + "wrote them (\(role.stepVersion)), or it is not deterministic")
        }
        recovered.position.next = position.next
        recoveries.append(
            Recovery(
                partition: partition, rows: rows, replayed: position.ordinal - first.ordinal,
                ordinal: position.ordinal))
    }

    private func replayRecords(
        _ recovered: Owned, to position: Position, _ partition: Int
    ) throws {
        outbox.removeAll()
        outbox.isSuppressed = true
        defer { outbox.isSuppressed = false }
        outbox.rollingHash = recovered.position.rollingHash
        try client.read(
            TopicNumber(rawValue: inputTopic), partition: partition, from: recovered.position.next,
            upTo: position.next
        ) { record in
            advance(recovered, record)
        }
        recovered.position.rollingHash = outbox.rollingHash
    }
}

/// A topic by its number, where the role's own enumeration is not known.
struct TopicNumber: RawRepresentable {
    var rawValue: UInt16
}
