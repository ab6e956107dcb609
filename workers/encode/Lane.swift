// One input of encode: its place in the log, and what of it waits for vectors.

import Bytes
import Contracts
import Streams

/// A record that waits for its vector, read again from its topic.
struct WaitingRecord {
    var subject: TextVectorSubject
    var offset: Int64
    var partition: Int
    var value: [UInt8]
    /// The vector that it waits for, and of which text.
    var vector: Hash128
    var text: [UInt8]
    /// The partition of domain-log that a text goes to.
    var target: Int
}

/// An input's consumer, with the producer that its transactions go through.
final class Lane<Client: LogClient> {
    let client: Client
    let topic: Topic
    /// The next offset to take, of partitions that are ours.
    var next: [Int: Int64] = [:]
    /// Records before this offset had been delivered before the encoder changed.
    var deliveredBefore: [Int: Int64] = [:]
    /// Nothing was there at the newest look.
    var isIdle = false
    /// Partitions whose mark in `text-vectors` must be written with the next transaction.
    var needsMark: Set<Int> = []
    /// Debts of partitions that are ours, in the order of their offsets; some have been paid since.
    var owed: [Int: [(offset: Int64, subject: TextVectorSubject)]] = [:]
    /// Where in `owed` the ones begin that are not in `waiting` yet.
    var owedStart: [Int: Int] = [:]
    var waiting: [WaitingRecord] = []

    init(_ client: Client, _ topic: Topic) {
        self.client = client
        self.topic = topic
    }

    func subject(_ partition: Int) -> TextVectorSubject {
        topic == .catalog ? .catalog(partition) : .texts(partition)
    }

    /// Whether a partition is read again for a new encoder and has not come to where it was: until then
    /// a newer record of a key may follow, so nothing of it is sent.
    func isReadAgain(_ partition: Int) -> Bool {
        !isIdle && next[partition] ?? 0 < deliveredBefore[partition] ?? 0
    }

    var owesNothing: Bool {
        waiting.isEmpty
            && owed.allSatisfy { partition, list in owedStart[partition, default: 0] >= list.count }
    }

    func owe(_ subject: TextVectorSubject, offset: Int64, partition: Int) {
        owed[partition, default: []].append((offset, subject))
    }

    /// Takes what is not due any more out of a long list of debts.
    ///
    /// - Parameter rows: debts of which there can be no more.
    func forget(_ partition: Int, beyond rows: Int, isGone: (Int64, TextVectorSubject) -> Bool) {
        guard let list = owed[partition], list.count > 2 * rows + 65_536 else { return }
        let left = list[owedStart[partition, default: 0]...]
        owed[partition] = left.filter { !isGone($0.offset, $0.subject) }
        owedStart[partition] = 0
    }

    func revoke() {
        next = [:]
        isIdle = false
        deliveredBefore = [:]
        needsMark = []
        owed = [:]
        owedStart = [:]
        waiting = []
    }

    /// The next debts of a partition that are not being read yet, at most `limit`; those that are not
    /// due any more are left out.
    func takeOwed(
        _ partition: Int, limit: Int, isDue: (Int64, TextVectorSubject) -> Bool
    ) -> [(offset: Int64, subject: TextVectorSubject)] {
        guard let list = owed[partition] else { return [] }
        var taken: [(offset: Int64, subject: TextVectorSubject)] = []
        var end = owedStart[partition, default: 0]
        while end < list.count, taken.count < limit {
            if isDue(list[end].offset, list[end].subject) { taken.append(list[end]) }
            end += 1
        }
        if end == list.count {
            owed[partition] = nil
            owedStart[partition] = nil
        } else if end > 65_536 {
            owed[partition]!.removeFirst(end)
            owedStart[partition] = 0
        } else {
            owedStart[partition] = end
        }
        return taken
    }
}
