// An immutable full copy of a partition's state on disk: where the replay of a past range begins.

import Bytes

#if canImport(Glibc)
    import Glibc
#endif

/// What a snapshot file says about itself.
///
/// A snapshot holds every row of every table with the position it belongs to. Its file is written
/// beside its place, synced and renamed, so it is there whole or not at all, and it ends with the
/// SHA-256 of all that stands before: what is torn or altered is refused with a sentence.
///
/// Make one with `StepWorker.writeSnapshot`, look at one with `Snapshot(readingFrom:)`, and step on
/// from one with `Replay(role:snapshot:)` or `StepWorker.replay`.
public struct Snapshot: Equatable, Sendable {
    public struct TableSummary: Equatable, Sendable {
        public var name: String
        public var rowBytes: Int
        public var rows: Int
        var sequence: UInt64
    }

    public var group: String
    public var partition: Int
    /// Records processed so far, and the hash of everything published with them.
    public var ordinal: Int64
    public var outputHash: Hash128
    /// The next offset to read, in the log that the snapshot was made from.
    public var next: Int64
    public var stepVersion: String
    public var tables: [TableSummary]
    /// 64 hexadecimal digits: names the contents.
    public var sha256: String
    public var bytes: Int

    /// A file name that sorts by partition and ordinal: `<group>-<partition>-<ordinal>.snapshot`.
    public static func fileName(group: String, partition: Int, ordinal: Int64) -> String {
        let digits = String(ordinal)
        return "\(group)-\(partition)-"
            + String(repeating: "0", count: max(0, 20 - digits.count)) + digits + ".snapshot"
    }
}

extension Snapshot {
    /// Checks a whole file and tells what is in it.
    public init(readingFrom path: String) throws(StateError) {
        self = try SnapshotFile(path).snapshot
    }
}

extension StepWorker {
    /// Writes a snapshot of an owned partition as it is after the last commit.
    ///
    /// - Parameter path: of the file to make; one that is there is replaced as a whole.
    /// - Throws: `StateError` when the disk refuses; nothing is left behind then.
    public func writeSnapshot(of partition: Int, to path: String) throws -> Snapshot {
        guard let owned = current(partition) else {
            throw StateError(
                "partition \(partition) is not owned by this worker: no snapshot of it")
        }
        return try SnapshotFile.write(
            owned.tables, at: owned.position, group: group, partition: partition,
            stepVersion: role.stepVersion, to: path)
    }

    /// Steps over the committed input from a snapshot, or from the first record, up to offset `end`;
    /// what it publishes is hashed and dropped. Changes nothing in this worker or the log.
    ///
    /// - Throws: `StateError` when the snapshot is refused.
    public func replay(
        from snapshot: String?, partition: Int, upTo end: Int64?
    ) throws -> Replay<Role> {
        let replay: Replay<Role>
        if let snapshot {
            replay = try Replay(role: role, snapshot: snapshot)
            let made = try Snapshot(readingFrom: snapshot)
            guard made.group == group, made.partition == partition else {
                throw StateError(
                    "\(snapshot) is of \(made.group), partition \(made.partition), not of \(group), "
                        + "partition \(partition)")
            }
        } else {
            replay = Replay(
                role: role, partition: partition, from: try client.startOffset(partition: partition)
            )
        }
        try replay.run(over: client, inputTopic, partition: partition, upTo: end)
        return replay
    }
}

extension Replay {
    /// A replay that goes on from a snapshot.
    ///
    /// - Parameter offset: of the first record to step over, where it is another one than in the log
    ///   that the snapshot was made from.
    /// - Throws: `StateError` when the file is torn, altered, or of other tables or another step
    ///   version than `role`'s.
    public convenience init(
        role: Role, snapshot path: String, from offset: Int64? = nil
    ) throws(StateError) {
        let file = try SnapshotFile(path)
        let snapshot = file.snapshot
        guard snapshot.stepVersion == role.stepVersion else {
            throw StateError(
                "\(path) was made by step version \(snapshot.stepVersion), this binary with these "
                    + "settings is \(role.stepVersion); replay it with the one that made it")
        }
        let state = role.makeState(partition: snapshot.partition)
        try file.restore(state.tables)
        state.rebuild()
        self.init(
            role: role,
            OwnedPartition(
                state: state,
                position: Position(
                    next: offset ?? snapshot.next, ordinal: snapshot.ordinal,
                    rollingHash: snapshot.outputHash),
                needsCheckpoint: true))
    }
}
