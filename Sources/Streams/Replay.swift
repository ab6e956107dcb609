// Stepping over a past range of a log again: recovery, `replay`, and the proof that both are equal.

import Bytes

/// One partition stepped over again, its outputs hashed and dropped.
///
/// Starts at the beginning of the partition or at a `Snapshot`. Equal records give equal `points`,
/// whichever worker published them first (design §1, §4.3).
public final class Replay<Role: Step> {
    /// The hash of everything a partition had published at a publish point.
    public struct Point: Equatable, Sendable {
        /// Records processed, the publish point's included.
        public var ordinal: Int64
        public var outputHash: Hash128
    }

    public let role: Role
    @usableFromInline let owned: OwnedPartition<Role.State>
    @usableFromInline let outbox: UnsafeMutablePointer<Outbox>
    /// What is published in the place of a record of `owned.skipped`.
    @usableFromInline var skip: (Record, inout Outbox) -> Void = { _, _ in }
    /// One for every record whose step called `Outbox.markPublishPoint`.
    public internal(set) var points: [Point] = []

    init(role: Role, _ owned: OwnedPartition<Role.State>) {
        self.role = role
        self.owned = owned
        outbox = .allocate(capacity: 1)
        outbox.initialize(to: Outbox())
        outbox.pointee.isSuppressed = true
        outbox.pointee.rollingHash = owned.position.rollingHash
    }

    /// A replay from the beginning of a partition.
    ///
    /// - Parameter offset: of the first record to step over.
    public convenience init(role: Role, partition: Int, from offset: Int64 = 0) {
        let state = role.makeState(partition: partition)
        state.rebuild()
        self.init(
            role: role,
            OwnedPartition(
                state: state,
                position: Position(next: offset, ordinal: 0, rollingHash: .zero),
                needsCheckpoint: true))
    }

    deinit {
        outbox.deinitialize(count: 1)
        outbox.deallocate()
    }

    public var state: Role.State { owned.state }
    /// Records processed since the partition's beginning.
    public var ordinal: Int64 { owned.position.ordinal }
    /// The next offset to read.
    public var next: Int64 { owned.position.next }
    /// The hash of everything published since the partition's beginning.
    public var outputHash: Hash128 { owned.position.rollingHash }

    /// Steps over one record; records below `next` must not be given.
    @inlinable
    public func step(_ record: Record) {
        precondition(
            record.offset >= owned.position.next,
            "record \(record.offset) after \(owned.position.next)")
        var record = record
        record.ordinal = owned.position.ordinal
        if !owned.skipped.isEmpty, owned.skipped.contains(record.offset) {
            skip(record, &outbox.pointee)
        } else {
            role.step(owned.state, record, into: &outbox.pointee)
        }
        owned.position.ordinal &+= 1
        owned.position.next = record.offset &+ 1
        owned.position.rollingHash = outbox.pointee.rollingHash
        if outbox.pointee.isAtPublishPoint { notePoint() }
    }

    @usableFromInline
    func notePoint() {
        outbox.pointee.isAtPublishPoint = false
        points.append(Point(ordinal: ordinal, outputHash: outputHash))
    }

    /// Steps over the committed records of `input`'s partition below `end`, or all there are.
    @inlinable
    public func run<Topic: RawRepresentable>(
        over log: MemoryLog, _ input: Topic, partition: Int, upTo end: Int64? = nil
    ) throws where Topic.RawValue == UInt16 {
        try log.read(input, partition: partition, from: next, upTo: end) { step($0) }
    }

    /// Steps over the committed records of `input`'s partition below `end`, or all there are.
    @inlinable
    public func run<Topic: RawRepresentable, Client: LogClient>(
        over client: Client, _ input: Topic, partition: Int, upTo end: Int64? = nil
    ) throws where Topic.RawValue == UInt16 {
        try client.read(input, partition: partition, from: next, upTo: end) { step($0) }
    }
}
