// What a worker needs to know to find its place on a cluster.

import Contracts
import KafkaTransactions

/// The names of a fleet's topics on its cluster, by their number in `Topic`.
public struct TopicNames: Sendable {
    private let names: [String]

    /// `<fleet>.<topic>`, except for topics that `mapping` names.
    public init(fleet: String, mapping: [Topic: String] = [:]) {
        names = Topic.allCases.map { mapping[$0] ?? "\(fleet).\($0.name)" }
    }

    public subscript(_ topic: Topic) -> String { names[Int(topic.rawValue)] }

    subscript(number number: UInt16) -> String { names[Int(number)] }
}

/// One slot of one role of a fleet, and how it talks to its cluster.
public struct KafkaLogSettings: Sendable {
    /// What happens to outputs and positions when a worker dies.
    public enum Guarantee: Sendable {
        /// Both are visible or neither is.
        case exactlyOnce
        /// Outputs first, positions after: outputs can appear twice. For comparison.
        case atLeastOnce
    }

    public var client: ClientProperties
    public var topics: TopicNames
    /// `<fleet>.<role>`: the consumer group, and the first part of checkpoint keys.
    public var group: String
    /// `<fleet>.<role>.<slot>`: transactional id and group instance id. Stable: a process that takes the
    /// slot over ends what the last one left open, and gets its partitions without a rebalance.
    public var slotName: String
    public var slot: Int
    /// What the slot writes to, checkpoints included: where a start looks for what the last process has
    /// left open.
    public var outputs: [Topic] = []
    public var guarantee = Guarantee.exactlyOnce
    /// Records are collected until the fetch queue is empty, at the earliest so long after the oldest of
    /// them came and at the latest so long after the first was taken (`CollectWindow`).
    public var collectMinimumMilliseconds = 20
    public var collectMaximumMilliseconds = 100
    /// How long `collect` waits for a first record.
    public var idleMilliseconds = 50
    public var sessionTimeoutMilliseconds = 6_000
    public var transactionTimeoutMilliseconds = 5_000
    /// A commit that takes longer hangs: no part of one takes longer than the transaction's timeout, unless
    /// librdkafka has lost sight of a request.
    public var commitMilliseconds = 20_000
    /// After so long the transaction that a group's offset waits for counts as one that nobody will
    /// end: longer than the transaction's timeout and a broker's search for such transactions (10 s).
    public var hangingMilliseconds = 20_000
    /// A start takes what is open in an output for hanging where it has not been ended after so long:
    /// longer than most transactions of slots at work.
    public var remainsMilliseconds = 300
    /// How long a recovery may go without a record before it is given up: longer than a dead worker's
    /// transaction stays open.
    public var recoveryStallMilliseconds = 60_000
    /// After so long without a record a recovery goes on with a new reader: one that has silently
    /// stopped looks like one that waits for an open transaction.
    public var recoveryRereadMilliseconds = 5_000
    /// A worker that has partitions and no connection to any broker for so long is to be started again:
    /// librdkafka from 2.10 on can forget all its brokers for good (its issue 5301). Statistics that say
    /// so come every five seconds.
    public var brokerlessMilliseconds = 30_000
    /// How long recoveries may take in all before the group expels the worker.
    public var recoveryMilliseconds = 900_000
    /// Bytes of fetched records, and of produced ones, that may wait.
    public var queueBytes = 128 << 20
    public var compression = "lz4"
    /// Whether steps look at headers; reading them costs three allocations a record that has some.
    public var readsHeaders = true

    /// Which worker this is, for the headers of what it writes.
    public var identity: WriterIdentity { WriterIdentity(worker: group, slot: slot) }

    public init(
        client: ClientProperties, fleet: String, role: String, slot: Int, topics: TopicNames? = nil
    ) {
        self.client = client
        self.topics = topics ?? TopicNames(fleet: fleet)
        group = "\(fleet).\(role)"
        slotName = "\(fleet).\(role).\(slot)"
        self.slot = slot
    }
}
