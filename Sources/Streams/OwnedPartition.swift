// One partition in a worker's hands: its state and its place in the log.

import Bytes

/// A partition's state with the position that belongs to it.
@usableFromInline
final class OwnedPartition<State: PartitionState> {
    @usableFromInline let state: State
    let tables: [any StateTable]
    @usableFromInline var position: Position
    var ordinalOfCheckpoint: Int64
    /// There is no checkpoint yet, or only one of another step version: the next commit writes one, so
    /// that what is stepped from here on never needs a binary that did not step it.
    var needsCheckpoint: Bool
    /// The record before `position.next`.
    @usableFromInline var last = LastRecord()
    /// Offsets of the records that were skipped instead of stepped over.
    @usableFromInline var skipped: Set<Int64> = []
    /// The record that has ended a process of this group most recently.
    @usableFromInline var crash = CrashNote(offset: -1, count: 0)
    /// The next offset as of the newest checkpoint: recovery never reads the input before it.
    var checkpointNext: Int64?

    init(state: State, position: Position, needsCheckpoint: Bool) {
        self.state = state
        tables = state.tables
        self.position = position
        ordinalOfCheckpoint = position.ordinal
        self.needsCheckpoint = needsCheckpoint
        checkpointNext = needsCheckpoint ? nil : position.next
    }

    /// Whether a recovery would have to read anything of the input.
    var hasMovedSinceCheckpoint: Bool {
        position.ordinal != ordinalOfCheckpoint || position.next != checkpointNext
    }

    func isCheckpointDue(_ limits: WorkerLimits) -> Bool {
        needsCheckpoint || position.ordinal - ordinalOfCheckpoint >= limits.checkpointRecords
            || tables.reduce(0) { $0 + $1.changedBytes } >= limits.checkpointBytes
    }
}
