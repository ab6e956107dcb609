import Bytes
import Contracts
import CountingRole
import Foundation
import KafkaTestBroker
import KafkaTransactions
import Streams
import Testing

@testable import WorkerRuntime

@Suite struct TransactionMarkTests {
    @Test func `position records and the first record in every partition of an output are marked`()
    {
        var outbox = Outbox()
        func append(_ topic: Topic, _ partition: Int?, _ key: String, to outbox: inout Outbox) {
            outbox.begin(topic, partition: partition)
            outbox.bytes.append(key)
            outbox.beginValue()
            outbox.end()
        }
        let places: [(Topic, Int?, String)] = [
            (.scores, 0, "a"), (.scores, 0, "b"), (.scores, 1, "c"), (.scores, nil, "a"),
            (.examples, 1, "a"), (.checkpoints, 0, "f.r/0/rows/counts/00000000"),
            (.checkpoints, 0, "f.r/0/position"), (.checkpoints, 1, "f.r/1/position"),
        ]
        for (topic, partition, key) in places { append(topic, partition, key, to: &outbox) }
        var mark = TransactionMark(slot: "f.r.0")
        let wanted = [true, false, true, false, true, false, true, true]
        let first = taken(by: &mark, of: outbox, hasPositions: true)
        #expect(first == wanted)
        let second = taken(by: &mark, of: outbox, hasPositions: true)
        #expect(second == wanted, "of every transaction")
        let all = [true, false, true, false, true, true, true, true]
        let third = taken(by: &mark, of: outbox, hasPositions: false)
        #expect(third == all)
    }

    private func taken(
        by mark: inout TransactionMark, of outbox: borrowing Outbox, hasPositions: Bool
    ) -> [Bool] {
        mark.begin()
        let own = OutgoingHeaders(.scores)
        var taken: [Bool] = []
        for entry in outbox.entries {
            let key = outbox.key(of: entry)
            let isTaken = mark.takes(
                topic: entry.topic, partition: entry.partition ?? Murmur2.partition(key!, of: 2),
                key: key, hasPositions: hasPositions, besides: own)
            taken.append(isTaken)
        }
        return taken
    }
}

/// What a slot's start makes of a transaction that a killed broker has ended in a part of its partitions.
@Suite(.serialized, .enabled(if: RealBroker.isAvailable, Comment(rawValue: RealBroker.absence)))
struct TornTransactionTests {
    /// Where the transaction got its marker before the broker forgot the others.
    enum Marked: CaseIterable {
        case offsets, checkpoint, both, output, checkpointAsAborted, outputAsAborted, nothing

        /// How it must be everywhere.
        var isCommitted: Bool {
            switch self {
            case .offsets, .checkpoint, .both, .output: true
            case .checkpointAsAborted, .outputAsAborted, .nothing: false
            }
        }
    }

    /// A slot with one commit that everybody has seen, and a second one that nobody has.
    final class Slot {
        let fleet: Fleet
        let settings: KafkaLogSettings

        init(_ broker: RealBroker) throws {
            fleet = try Fleet(broker)
            var settings =
                CountingProcess(address: broker.address, fleet: fleet.name, slot: 0).settings
            // Nobody else is at work here.
            settings.hangingMilliseconds = 1_500
            self.settings = settings
        }

        var checkpoint: TopicPartition { TopicPartition(fleet.topics[.checkpoints], 0) }

        var score: TopicPartition { TopicPartition(fleet.topics[.scores], 1) }

        var positionKey: String { "\(settings.group)/0/position" }

        /// A position record of nothing but `next`.
        func position(_ next: Int64) -> [UInt8] {
            var value = ByteBuffer()
            value.append(raw: next)
            value.append(raw: next)
            value.append(raw: Hash128.zero)
            value.append(raw: Hash128.zero)
            value.append(raw: Int64(-1))
            return value.slice.copy()
        }

        /// The slot's next start; again where the coordinator is still at work on the last one's transaction.
        func start() throws -> KafkaLogClient {
            let deadline = ContinuousClock.now + .seconds(90)
            while true {
                do {
                    return try KafkaLogClient(settings, input: Topic.events)
                } catch let error as KafkaError
                    where error.remedy == .retry && ContinuousClock.now < deadline
                {}
            }
        }

        /// Commits one record to every partition of scores, and the input offset `next`.
        func commit(_ key: String, next: Int64) throws {
            let log = try start()
            var outbox = Outbox()
            for partition in 0..<3 {
                outbox.begin(Topic.scores, partition: partition)
                outbox.bytes.append(key)
                outbox.beginValue()
                outbox.end()
            }
            outbox.begin(Topic.checkpoints, partition: 0)
            outbox.bytes.append(positionKey)
            outbox.beginValue()
            position(next).lend { outbox.bytes.append($0) }
            outbox.end()
            try log.commit(outbox, positions: [InputPosition(partition: 0, next: next)])
        }

        /// Whether markers are missing that the coordinator has done with: it answers a start only then.
        func hangs() throws -> Bool {
            let producer = try TransactionalProducer(
                TransactionalProducerSettings(
                    client: fleet.client, transactionalID: settings.slotName))
            try producer.initialise(timeoutMilliseconds: 60_000)
            return try fleet.hasOpenTransactions(.checkpoints, 1)
        }

        /// Writes the markers that came in time, and only these.
        func mark(_ marked: Marked) throws {
            let producer = try TransactionalProducer(
                TransactionalProducerSettings(
                    client: fleet.client, transactionalID: settings.slotName))
            try producer.initialise(timeoutMilliseconds: 60_000)
            if marked == .offsets || marked == .both {
                // Of another partition of the same group: one marker is for all of them.
                let member = try Consumer(
                    ConsumerSettings(client: fleet.client, group: settings.group))
                var transaction = try producer.begin()
                try transaction.send([Position(fleet.topics[.events], 1, 0)], of: member)
                try transaction.commit()
            }
            switch marked {
            case .checkpoint, .both: try producer.endRemains(in: [checkpoint], commits: true)
            case .checkpointAsAborted: try producer.endRemains(in: [checkpoint], commits: false)
            case .output: try producer.endRemains(in: [score], commits: true)
            case .outputAsAborted: try producer.endRemains(in: [score], commits: false)
            case .offsets, .nothing: break
            }
        }

        /// The group's offset and the position record that a recovery finds.
        func recovered(_ log: KafkaLogClient) throws -> (committed: Int64?, position: Int64?) {
            let committed = try log.committedOffset(partition: 0)
            var position: Int64?
            try log.read(Topic.checkpoints, partition: 0, from: nil, upTo: nil) { record in
                if let key = record.key {
                    position = try CheckpointNote(key: key, value: record.value)?.next
                }
            }
            return (
                try log.settle(partition: 0, committed: committed, position: position), position
            )
        }
    }

    /// The coordinator decides on transactions that it cannot write the markers of, and is killed.
    private func killAtMarkers(_ broker: RealBroker, _ slots: [Slot]) throws {
        for slot in slots {
            try slot.commit("seen", next: 10)
            try slot.fleet.settle()
        }
        broker.kill()
        try broker.restart(settings: listeners(broker.port, advertised: nobody))
        for slot in slots { try slot.commit("due", next: 20) }
        broker.kill()
        try broker.restart()
    }

    private let inner = RealBroker.freePort()
    private let nobody = RealBroker.freePort()

    /// Markers go through a door of their own, which may lead nowhere.
    private func listeners(_ port: Int, advertised: Int) -> [String: String] {
        [
            "listeners":
                "PLAINTEXT://127.0.0.1:\(port),INNER://127.0.0.1:\(inner),"
                + "CONTROLLER://127.0.0.1:\(port + 1)",
            "advertised.listeners":
                "PLAINTEXT://127.0.0.1:\(port),INNER://127.0.0.1:\(advertised)",
            "inter.broker.listener.name": "INNER",
            "listener.security.protocol.map":
                "PLAINTEXT:PLAINTEXT,INNER:PLAINTEXT,CONTROLLER:PLAINTEXT",
            // Would go through the same door.
            "transaction.partition.verification.enable": "false",
        ]
    }

    /// Kafka 4.0 to 4.3 forgets the markers where it tries again to send them in the milliseconds in which
    /// it loses its leaderships of before (KAFKA-20734); one time in five or so, and others never do.
    @Test func `a transaction that has its marker in one place is ended likewise everywhere`()
        throws
    {
        let port = RealBroker.freePort()
        let broker = try RealBroker(port: port, settings: listeners(port, advertised: inner))
        defer { broker.end() }
        var due = Marked.allCases
        for _ in 0..<3 where !due.isEmpty {
            let slots = try (0..<8).map { _ in try Slot(broker) }
            try killAtMarkers(broker, slots)
            // What is not forgotten is written at once.
            let deadline = ContinuousClock.now + .seconds(3)
            var open = slots
            while !open.isEmpty, ContinuousClock.now < deadline {
                open = try open.filter { try $0.fleet.hasOpenTransactions(.checkpoints, 1) }
            }
            print("decided transactions whose markers were forgotten: \(open.count) of 8")
            for slot in slots {
                var marked: Marked?
                // A marker may have been late and not forgotten.
                if open.contains(where: { $0 === slot }), try slot.hangs() {
                    guard !due.isEmpty else { continue }
                    marked = due.removeFirst()
                    try slot.mark(marked!)
                }
                try check(slot, marked)
            }
        }
        print("never seen to be forgotten: \(due)")
    }

    private func check(_ slot: Slot, _ marked: Marked?) throws {
        let isCommitted = marked?.isCommitted ?? true
        let name = marked.map { "\($0)" } ?? "whole"
        let log = try slot.start()
        let (committed, position) = try slot.recovered(log)
        #expect(committed == (isCommitted ? 20 : 10), "\(name)")
        #expect(position == committed, "\(name)")
        try slot.fleet.settle()
        for partition in 0..<3 {
            let keys = try slot.fleet.read(.scores, partition).map(\.key)
            #expect(
                keys == (isCommitted ? ["seen", "due"] : ["seen"]), "\(name)")
        }
    }
}

/// The question alone, with partitions that stay open for certain: brokers forget markers when they like.
@Suite(.serialized, .enabled(if: RealBroker.isAvailable, Comment(rawValue: RealBroker.absence)))
struct RemainsTests {
    typealias Marked = TornTransactionTests.Marked

    @Test(arguments: Marked.allCases)
    func `how a transaction was decided is found out from any part that has its marker`(
        marked: Marked
    ) throws {
        let slot = try TornTransactionTests.Slot(RealBroker.shared())
        try slot.commit("seen", next: 10)
        try slot.fleet.settle()
        if marked == .offsets || marked == .both {
            let member = try Consumer(
                ConsumerSettings(client: slot.fleet.client, group: slot.settings.group))
            try member.commit([Position(slot.fleet.topics[.events], 0, 20)])
        }
        let isSettled: (checkpoint: Bool, score: Bool) = (
            [.checkpoint, .both, .checkpointAsAborted].contains(marked),
            [.output, .outputAsAborted].contains(marked)
        )
        let settled = try producer(slot, "settled")
        var ended = try settled.begin()
        try write(slot, isSettled, settled, in: &ended)
        if marked.isCommitted {
            try ended.commit()
        } else {
            try ended.flush()
            try ended.abort()
        }
        // Only what hangs is open then. Another role has written a checkpoint meanwhile.
        try slot.fleet.settle()
        try writeCheckpoint(slot, rows: 3_000)
        let open = try producer(slot, "open")
        var hanging = try open.begin()
        try write(slot, (!isSettled.checkpoint, !isSettled.score), open, in: &hanging)
        try hanging.flush()

        let remains = Remains(
            settings: slot.settings, input: slot.fleet.topics[.events],
            offsets: try Offsets(slot.fleet.client, group: slot.settings.group))
        let places = [slot.checkpoint] + (0..<3).map { TopicPartition(slot.score.topic, $0) }
        let found = try remains.find(in: places)
        let wanted = [
            isSettled.checkpoint ? nil : slot.checkpoint, isSettled.score ? nil : slot.score,
        ].compactMap { $0 }
        #expect(found == wanted)
        let wasCommitted = try remains.wasCommitted(among: places)
        #expect(wasCommitted == marked.isCommitted)

        // The slot's next start writes an end of that kind wherever it found something open.
        _ = try KafkaLogClient(slot.settings, input: Topic.events)
        try hanging.abort()
        try slot.fleet.settle()
        for place in [slot.checkpoint, slot.score] {
            let isEnded = wanted.contains(place) && marked.isCommitted
            #expect(try visibleEnds(slot, place) == (isEnded ? 1 : 0), "\(place)")
        }
    }

    private func writeCheckpoint(_ slot: TornTransactionTests.Slot, rows: Int) throws {
        let other = try IdempotentProducer(ProducerSettings(client: slot.fleet.client))
        let topic = try other.topic(slot.checkpoint.topic)
        for row in 0..<rows {
            try "f.other/0/rows/counts/\(row)".lend {
                try other.produce(topic, partition: 0, key: $0, value: .empty)
            }
        }
        try other.flush()
    }

    private func visibleEnds(
        _ slot: TornTransactionTests.Slot, _ place: TopicPartition
    ) throws -> Int {
        let offsets = try Offsets(slot.fleet.client, group: "judge")
        var count = 0
        try offsets.forEachRecord(
            of: place, from: 0, upTo: try offsets.offsets(of: [place])[place]!.end
        ) { count += $0.endsRemains ? 1 : 0 }
        return count
    }

    private func producer(
        _ slot: TornTransactionTests.Slot, _ name: String
    ) throws -> TransactionalProducer {
        var settings = TransactionalProducerSettings(
            client: slot.fleet.client, transactionalID: "\(slot.fleet.name).\(name)")
        settings.transactionTimeoutMilliseconds = 300_000
        let producer = try TransactionalProducer(settings)
        try producer.initialise(timeoutMilliseconds: 60_000)
        return producer
    }

    /// Parts of the slot's newest transaction, marked as it marks them.
    private func write(
        _ slot: TornTransactionTests.Slot, _ parts: (checkpoint: Bool, score: Bool),
        _ producer: TransactionalProducer, in transaction: inout Transaction
    ) throws {
        var headers = RecordHeaders()
        headers.append("coldstream-transaction", "\(slot.settings.slotName) \(Int64.max)")
        let records: [(isWritten: Bool, TopicPartition, key: String, value: [UInt8])] = [
            (parts.checkpoint, slot.checkpoint, slot.positionKey, slot.position(20)),
            (parts.score, slot.score, "due", []),
        ]
        for (isWritten, place, key, value) in records where isWritten {
            let topic = try producer.topic(place.topic)
            try key.lend { key in
                try value.lend { value in
                    try transaction.produce(
                        topic, partition: place.partition, key: key, value: value,
                        headers: headers)
                }
            }
        }
    }
}
