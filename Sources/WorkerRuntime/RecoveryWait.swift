// What a recovery stands and waits for, so that an operator need not guess.

import KafkaTransactions

/// A wait in a recovery; every one is bounded.
public struct RecoveryWait: Equatable, Sendable, CustomStringConvertible {
    public enum Reason: Equatable, Sendable {
        /// The group's committed offset is part of a transaction that has not ended: of another slot,
        /// which dies or is fenced, and which the broker ends behind the transaction's timeout.
        case pendingOffset
        /// Such a transaction holds back the records from this offset on.
        case openTransaction(offset: Int64)
        /// Nothing holds the records back, and none comes.
        case records(offset: Int64)
    }

    public var partition: TopicPartition
    public var reason: Reason
    public var milliseconds: Int
    /// What is waited at most. A recovery then decides about a pending offset itself
    /// (`KafkaLogClient.settle`), and gives up where records do not come.
    public var limitMilliseconds: Int

    public var description: String {
        let what =
            switch reason {
            case .pendingOffset: "the committed offset of \(partition) is in an open transaction"
            case .openTransaction(let offset):
                "a transaction is open in \(partition) at offset \(offset)"
            case .records(let offset): "no record of \(partition) comes from offset \(offset) on"
            }
        return "\(what); waiting for \(milliseconds) ms, at most \(limitMilliseconds)"
    }
}
