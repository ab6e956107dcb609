// The one way back after any stop: checkpoint, replay, and the proof that nothing differs.

import Bytes

/// What happened to a partition at recovery.
public struct Recovery: Equatable, Sendable {
    public var partition: Int
    /// Row records of the checkpoint that were read, superseded ones included.
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

/// What the checkpoint topic says about one partition.
private struct CheckpointFound {
    var position: Position?
    var last = LastRecord()
    var crash = CrashNote(offset: -1, count: 0)
    var skipped: Set<Int64> = []
    var manifest: Manifest?
    var rows = 0
}

extension StepWorker {
    /// Recovers what is new among `partitions` and gives up what is not among them.
    @usableFromInline
    func takeOver(_ partitions: [Int]) throws {
        // Its memory belongs to whoever owns the partition now.
        owned = owned.filter { partitions.contains($0.key) }
        for partition in partitions.sorted() { try take(partition) }
    }

    private func take(_ partition: Int) throws {
        let committed = try client.committedOffset(partition: partition)
        if let here = owned[partition], here.position.next == committed {
            // It was ours, nobody else committed: the state in memory is the state.
        } else {
            owned[partition] = nil
            owned[partition] = try recover(partition, committed: committed)
        }
        let next = owned[partition]!.position.next
        try refuseGap(partition, before: next)
        assigned.insert(partition)
        try client.start(partition: partition, at: next)
    }

    /// Nothing is skipped silently: what retention took before it was processed is a person's business.
    private func refuseGap(_ partition: Int, before next: Int64) throws {
        let start = try client.startOffset(partition: partition)
        guard start > next else { return }
        throw Quarantine(
            partition: partition,
            reason:
                "the log begins at offset \(start), and the group has processed it up to \(next): "
                + "the records at offsets \(next) to \(start - 1) were deleted before anybody read them. "
                + "Append them again, or go on without them under another fleet's name, whose state "
                + "begins anew")
    }

    private func recover(_ partition: Int, committed: Int64?) throws -> OwnedPartition<Role.State> {
        do {
            let state = role.makeState(partition: partition)
            let found = try readCheckpoint(of: partition, into: state.tables)
            let committed = try client.settle(
                partition: partition, committed: committed, position: found.position?.next)
            guard found.position?.next == committed else {
                throw StateError(
                    "the group's committed offset is \(committed.map(String.init) ?? "none") but its "
                        + "position record says \(found.position.map { String($0.next) } ?? "none"); "
                        + "outputs and offsets were not committed together, the topic was deleted and "
                        + "made again, or somebody reset the group. Restore a snapshot or reset both"
                )
            }
            guard let position = found.position else {
                guard found.manifest == nil, found.rows == 0 else {
                    throw StateError("the checkpoint has rows or a manifest but no position record")
                }
                state.rebuild()
                let start = try client.startOffset(partition: partition)
                let new = OwnedPartition(
                    state: state, position: Position(next: start, ordinal: 0, rollingHash: .zero),
                    needsCheckpoint: true)
                new.crash = found.crash
                return new
            }
            try checkIdentity(of: partition, at: position, found.last)
            guard let manifest = found.manifest else {
                throw StateError(
                    "there is a position record at offset \(position.next) but no manifest; the first "
                        + "commit writes both, so the checkpoint topic has lost records. Restore a snapshot"
                )
            }
            try manifest.finishRestore(of: state.tables)
            state.rebuild()
            let recovered = OwnedPartition(
                state: state, position: manifest.position,
                needsCheckpoint: manifest.stepVersion != role.stepVersion)
            recovered.last = found.last
            recovered.crash = found.crash
            recovered.skipped = found.skipped
            try replay(recovered, of: manifest, to: position, partition)
            recoveries.append(
                Recovery(
                    partition: partition, rows: found.rows,
                    replayed: position.ordinal - manifest.position.ordinal,
                    ordinal: position.ordinal))
            return recovered
        } catch let error as StateError {
            throw Quarantine(partition: partition, reason: error.description)
        }
    }

    private func readCheckpoint(
        of partition: Int, into tables: [any StateTable]
    ) throws -> CheckpointFound {
        var byName: [String: any StateTable] = [:]
        for table in tables { byName[table.name] = table }
        let prefix = Array(CheckpointKey.prefix(group, partition).utf8)
        var found = CheckpointFound()
        try client.read(checkpointTopic, partition: partition, from: nil, upTo: nil) { record in
            guard let key = record.key, key.count > prefix.count,
                prefix.lend({ $0.equals(key.slice(0, $0.count)) })
            else { return }
            let rest = key.slice(prefix.count, key.count)
            if rest.equals("position") {
                let record = try record.value.map { try PositionRecord($0) }
                (found.position, found.last) = (record?.position, record?.last ?? LastRecord())
            } else if rest.equals("manifest") {
                found.manifest = try record.value.map { try Manifest($0) }
            } else if rest.count > 5, rest.slice(0, 5).equals("rows/") {
                guard let (name, row) = CheckpointKey.parseRow(rest.slice(5, rest.count)),
                    let table = byName[name.text]
                else {
                    throw StateError(
                        "the checkpoint has a row \(rest.text) that this binary does not know; start "
                            + "the binary that wrote it once and stop it with SIGTERM")
                }
                try table.restoreRow(row, record.value)
                found.rows += 1
            } else if rest.equals("crashes") {
                if let value = record.value { found.crash = try CrashNote(value) }
            } else if rest.count == 24, rest.slice(0, 8).equals("skipped/"),
                let offset = Int64(rest.slice(8, 24).text, radix: 16)
            {
                found.skipped.insert(offset)
            } else {
                throw StateError("the checkpoint has an unknown record \(rest.text)")
            }
        }
        return found
    }

    /// Looks again at the record that was processed last, where the log still has it: a topic that was
    /// deleted and made again may be longer than the committed offset by now.
    private func checkIdentity(
        of partition: Int, at position: Position, _ last: LastRecord
    ) throws {
        guard last.identity != .zero,
            try client.startOffset(partition: partition) <= last.offset
        else { return }
        var found: Hash128?
        try client.read(
            inputTopic, partition: partition, from: last.offset, upTo: position.next
        ) { if $0.offset == last.offset { found = LastRecord($0).identity } }
        guard found == last.identity else {
            throw StateError(
                "the record at offset \(last.offset), the last before the committed offset "
                    + "\(position.next), "
                    + (found == nil ? "is gone" : "is not the one that was processed")
                    + ": the topic was deleted and made again, or its log was cut and written anew. "
                    + "Restore a snapshot, or reset the group and its checkpoints")
        }
    }

    /// Steps over what was committed since the checkpoint, outputs hashed but not published.
    private func replay(
        _ recovered: OwnedPartition<Role.State>, of manifest: Manifest, to position: Position,
        _ partition: Int
    ) throws {
        let first = manifest.position
        guard first.next <= position.next else {
            throw StateError(
                "the checkpoint is at offset \(first.next), behind it the committed offset "
                    + "\(position.next); the group was reset to an earlier offset")
        }
        if first.next < position.next {
            guard manifest.stepVersion == role.stepVersion else {
                throw StateError(
                    "the checkpoint was written by step version \(manifest.stepVersion), this worker is "
                        + "\(role.stepVersion), and there are records to replay; start the former once "
                        + "and stop it with SIGTERM, which leaves nothing to replay")
            }
            let start = try client.startOffset(partition: partition)
            guard start <= first.next else {
                throw StateError(
                    "the log begins at offset \(start), the checkpoint is at \(first.next): retention "
                        + "has passed it, and offsets \(first.next) to \(min(start, position.next) - 1) "
                        + "cannot be replayed; restore a snapshot")
            }
            let replay = Replay(role: role, recovered)
            replay.skip = skip
            try replay.run(over: client, inputTopic, partition: partition, upTo: position.next)
        }
        guard recovered.position.ordinal == position.ordinal,
            recovered.position.rollingHash == position.rollingHash
        else {
            throw StateError(
                "replay from ordinal \(first.ordinal) to \(recovered.position.ordinal) gives the output "
                    + "hash \(recovered.position.rollingHash.hex), the position record says ordinal "
                    + "\(position.ordinal) and \(position.rollingHash.hex); the step is not the one that "
                    + "wrote them (\(role.stepVersion)), or it is not deterministic")
        }
        recovered.position.next = position.next
    }
}

extension Manifest {
    /// Checks that the restored rows are the ones that were sealed, and finishes their restoration.
    func finishRestore(of found: [any StateTable]) throws(StateError) {
        guard tables.map(\.name) == found.map(\.name),
            tables.map(\.rowBytes) == found.map(\.rowBytes)
        else {
            throw StateError(
                "the tables were \(tables.map { "\($0.name) (\($0.rowBytes) bytes)" }), this binary's "
                    + "are \(found.map { "\($0.name) (\($0.rowBytes) bytes)" }); start the binary that "
                    + "wrote them once and stop it with SIGTERM")
        }
        for (seal, table) in zip(tables, found) where seal.savedHash != table.savedHash {
            throw StateError(
                "table \(seal.name) hashes to \(hexadecimal(table.savedHash)), its manifest says "
                    + "\(hexadecimal(seal.savedHash)): rows were lost or altered; restore a snapshot"
            )
        }
        for (seal, table) in zip(tables, found) { table.finishRestore(sequence: seal.sequence) }
    }
}
