// What a worker needs of a log, whether it is in memory or Kafka.

import Bytes

/// What `collect` found.
public enum Collected: Equatable, Sendable {
    /// Records were appended to the batch; it may be empty.
    case records
    /// These partitions are ours now; the batch is empty. Recover them, then say where to start
    /// (`start(partition:at:)`).
    case assigned([Int])
    /// These partitions are no longer ours; what was collected is discarded.
    case revoked([Int])
}

/// One process's place in the log: a consumer of one topic in a group, with the transactional
/// producer that belongs to it.
///
/// Used from one thread. Any error it throws ends the process or, in memory, the simulated process:
/// the client is never used again (reliability.md §1.5).
public protocol LogClient: AnyObject {
    /// How many partitions a topic has.
    func partitionCount<Topic: RawRepresentable>(_ topic: Topic) throws -> Int
    where Topic.RawValue == UInt16

    /// Appends up to `limit` records of the assigned partitions to `batch`, or reports a change of
    /// assignment. What it appended stays valid until the next call.
    func collect(limit: Int, into batch: inout [Record]) throws -> Collected

    /// Where the group's consumer goes on in a newly assigned partition.
    func start(partition: Int, at offset: Int64) throws

    /// Publishes `outbox` and the positions in one transaction: all or nothing.
    func commit(_ outbox: borrowing Outbox, positions: [InputPosition]) throws

    /// The group's committed offset of an input partition.
    func committedOffset(partition: Int) throws -> Int64?

    /// Told what a partition's position record says, which was committed together with its offset.
    /// Returns the committed offset that counts now.
    ///
    /// Only differs from `committed` where the log knows that the offset's half of a transaction is
    /// still undecided.
    func settle(partition: Int, committed: Int64?, position: Int64?) throws -> Int64?

    /// Where the input partition ended when `collect` reached its end last: from the record that was
    /// handed out last up to there stand no records, only the ends of transactions. nil: not known.
    func endReached(partition: Int) -> Int64?

    /// The first offset that the input partition still has.
    func startOffset(partition: Int) throws -> Int64

    /// Reads committed records of a partition, from `first` (or its start) up to `end`, or up to
    /// where the log ended, open transactions included, when the call was made.
    func read<Topic: RawRepresentable>(
        _ topic: Topic, partition: Int, from first: Int64?, upTo end: Int64?,
        _ body: (Record) throws -> Void
    ) throws where Topic.RawValue == UInt16
}

extension LogClient {
    public func settle(partition: Int, committed: Int64?, position: Int64?) throws -> Int64? {
        committed
    }

    public func endReached(partition: Int) -> Int64? { nil }
}

/// The next offset to read of one input partition.
public struct InputPosition: Equatable, Sendable {
    public var partition: Int
    public var next: Int64

    public init(partition: Int, next: Int64) {
        self.partition = partition
        self.next = next
    }
}
