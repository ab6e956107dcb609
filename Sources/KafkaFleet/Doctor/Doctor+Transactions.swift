// Whether a transaction stays open and holds up every read-committed reader.

import Contracts
import KafkaTransactions

extension Doctor {
    /// Looks again and again at partitions with an open transaction, until all of them have moved on or
    /// they have been open for too long.
    func transactions(_ topics: TopicsFound) throws -> Finding {
        let offsets = try Offsets(fleet.client, group: doctorGroup)
        let places = Topic.allCases.flatMap { topic in
            (0..<topics.partitions[topic]!).map { TopicPartition(fleet.topics[topic], $0) }
        }
        var open = try offsets.offsets(of: places).filter { !$0.value.isSettled }
        let opened = open.count
        let start = around.clock()
        while !open.isEmpty, around.clock() - start < Int64(around.openTransactionMilliseconds) {
            around.pause(200)
            let now = try offsets.offsets(of: open.keys.sorted())
            open = open.filter {
                let next = now[$0.key]!
                return !next.isSettled && next.committedEnd == $0.value.committedEnd
            }
        }
        guard open.isEmpty else {
            let list = open.sorted { $0.key < $1.key }.map {
                "\($0.key) since offset \($0.value.committedEnd)"
            }
            return Finding(
                "transactions", .failed,
                "open for more than \(around.openTransactionMilliseconds / 1_000) s: "
                    + Finding.list(list),
                "readers wait behind it: start the slot that left it again (it aborts it), or find and "
                    + "abort it with Kafka's kafka-transactions find-hanging and abort")
        }
        return Finding(
            "transactions", .ok,
            opened == 0
                ? "none is open in \(places.count) partitions"
                : "\(opened) of \(places.count) partitions had one open, and all moved on")
    }
}
