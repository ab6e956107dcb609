// The heart of the design: a role is a pure step over the records of its log.

import Bytes

/// What a worker does to one partition, with everything that could surprise a test taken out.
///
/// A step never blocks, reads a clock, draws an unseeded random number, logs, or touches Kafka.
/// Equal state and equal records give equal outputs: in production, in a test, and in a replay.
public protocol Step: AnyObject {
    associatedtype State: PartitionState

    /// Names the code and the settings that decide bytes. A checkpoint of another version is not
    /// replayed from.
    var stepVersion: String { get }

    /// The state of a partition of which nothing has been read: the same one every time.
    func makeState(partition: Int) -> State

    /// Handles one record and appends what to publish, in order. All mutable state is `state`.
    func step(_ state: State, _ record: Record, into outbox: inout Outbox)
}

/// The state of one partition: tables of plain rows, and whatever can be derived from them.
public protocol PartitionState: AnyObject {
    /// Everything that a checkpoint must hold, always in the same order.
    var tables: [any StateTable] { get }

    /// Rebuilds what is derived from the tables (indexes, queues) after their rows came back.
    func rebuild()
}

/// A part of a partition's state that checkpoints and snapshots can carry: rows by number.
public protocol StateTable: AnyObject {
    /// Unique in its state; part of checkpoint keys.
    var name: String { get }
    /// Bytes of a row, to refuse a checkpoint of another layout.
    var rowBytes: Int { get }
    /// Rows that hold something now.
    var liveRows: Int { get }
    /// Bytes of memory this table has allocated.
    var allocatedBytes: Int { get }
    /// Bytes of memory it takes when every row is in use, names of 40 bytes included.
    var maximumBytes: Int { get }
    /// About how many bytes the next checkpoint will write for this table.
    var changedBytes: Int { get }

    /// Calls `body` once for every row that changed since the last call, and forgets that it changed.
    /// `bytes` is `nil` for a row that is gone.
    func takeChangedRows(_ body: (_ row: UInt32, _ bytes: ByteSlice?) -> Void)

    /// Calls `body` for every live row in row order.
    func forEachRow(_ body: (_ row: UInt32, _ bytes: ByteSlice) -> Void)

    /// Puts a row back as it was written, or removes it. Unchanged afterwards in the sense of a
    /// checkpoint.
    func restoreRow(_ row: UInt32, _ bytes: ByteSlice?) throws(StateError)

    /// A number beside the rows that a checkpoint must bring back with them, such as a next age;
    /// 0 where there is none.
    var sequence: UInt64 { get }

    /// Called once after the last `restoreRow`, with what `sequence` was at the checkpoint. Rows that
    /// `makeState` made and that were not restored are gone then; nothing is marked as changed.
    func finishRestore(sequence: UInt64)

    /// Sum over the rows as the last checkpoint wrote them of the hash of row number and bytes,
    /// modulo 2^64. A checkpoint names it, so that a lost or altered row is seen.
    var savedHash: UInt64 { get }
}

/// A state that could not be restored.
public struct StateError: Error, CustomStringConvertible, Equatable {
    public let description: String
    public init(_ description: String) { self.description = description }
}

/// The hash of one row in `StateTable.savedHash`.
@inlinable
func rowHash(_ row: UInt32, _ bytes: ByteSlice) -> UInt64 {
    Hash128(bytes, seed: UInt64(row) &+ 0x517C_C1B7_2722_0A95).low
}

extension StateTable {
    /// Of a table of fixed size.
    public var maximumBytes: Int { allocatedBytes }
}
