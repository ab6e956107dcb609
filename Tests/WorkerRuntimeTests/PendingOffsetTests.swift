import Contracts
import CountingRole
import Foundation
import KafkaTestBroker
import KafkaTransactions
import Streams
import Testing

@testable import WorkerRuntime

/// A group's offset in a transaction that nobody ends: who waits for it, how long, and what is decided.
@Suite(.serialized, .enabled(if: RealBroker.isAvailable, Comment(rawValue: RealBroker.absence)))
struct PendingOffsetTests {
    let fleet: Fleet
    let settings: KafkaLogSettings
    let place: TopicPartition

    init() throws {
        let broker = try RealBroker.shared()
        fleet = try Fleet(broker)
        var settings =
            CountingProcess(address: broker.address, fleet: fleet.name, slot: 0).settings
        settings.hangingMilliseconds = 4_500
        self.settings = settings
        place = TopicPartition(fleet.topics[.events], 0)
    }

    /// Commits an offset by another slot's producer, or leaves it pending for as long as that lives.
    func sendOffset(_ next: Int64, by producer: TransactionalProducer, commits: Bool) throws {
        let member = try Consumer(
            ConsumerSettings(client: fleet.client, group: settings.group))
        var transaction = try producer.begin()
        try transaction.send([Position(place, next)], of: member)
        if commits { try transaction.commit() }
    }

    func otherSlot() throws -> TransactionalProducer {
        var other = TransactionalProducerSettings(
            client: fleet.client, transactionalID: "\(fleet.name).other")
        other.transactionTimeoutMilliseconds = 300_000
        let producer = try TransactionalProducer(other)
        try producer.initialise()
        return producer
    }

    /// What the group has committed; waits for `wanted`, since a commit's markers follow its answer.
    func committedIgnoringPending(_ wanted: Int64?) throws -> Int64? {
        let offsets = try Offsets(fleet.client, group: settings.group)
        let deadline = ContinuousClock.now + .seconds(30)
        while true {
            let found = try offsets.committedIgnoringPending([place])[place]
            if found == wanted || ContinuousClock.now > deadline { return found }
        }
    }

    /// A client that has waited for the pending offset 7 behind the committed one, with what it said.
    func waited(committed: Int64?) throws -> (
        log: KafkaLogClient, other: TransactionalProducer, waits: [RecoveryWait]
    ) {
        let other = try otherSlot()
        if let committed { try sendOffset(committed, by: other, commits: true) }
        try sendOffset(7, by: other, commits: false)
        let log = try KafkaLogClient(settings, input: Topic.events)
        var waits: [RecoveryWait] = []
        log.recoveryWaits = { waits.append($0) }
        let start = ContinuousClock.now
        #expect(try log.committedOffset(partition: 0) == committed)
        let took = ContinuousClock.now - start
        #expect(took >= .milliseconds(4_000), "\(took): a transaction may live so long")
        return (log, other, waits)
    }

    @Test func `what waits for a pending offset says so, and waits no longer than it says`() throws
    {
        let (log, other, waits) = try waited(committed: 3)
        #expect(!waits.isEmpty)
        #expect(waits.allSatisfy { $0.reason == .pendingOffset && $0.partition == place })
        #expect(waits.allSatisfy { $0.limitMilliseconds <= 4_500 })
        #expect(
            waits.first?.description.hasPrefix(
                "the committed offset of \(fleet.topics[.events])/0 is in an open transaction; waiting"
            ) == true, "\(waits)")
        // Nobody waits where nothing is pending.
        #expect(try log.committedOffset(partition: 1) == nil)
        withExtendedLifetime(other) {}
    }

    @Test func `a pending offset whose position record is visible is committed`() throws {
        let (log, other, _) = try waited(committed: 3)
        #expect(try log.settle(partition: 0, committed: 3, position: 7) == 7)
        #expect(try committedIgnoringPending(7) == 7)
        #expect(try log.settle(partition: 0, committed: 7, position: 9) == 7, "it is settled")
        #expect(try committedIgnoringPending(7) == 7)
        withExtendedLifetime(other) {}
    }

    @Test func `a pending offset whose position record is not visible is taken back`() throws {
        let (log, other, _) = try waited(committed: 3)
        #expect(try log.settle(partition: 0, committed: 3, position: 3) == 3)
        #expect(try committedIgnoringPending(3) == 3)
        withExtendedLifetime(other) {}
    }

    @Test func `the first offset of a group is settled as well, on both sides`() throws {
        let (log, other, _) = try waited(committed: nil)
        #expect(try log.settle(partition: 0, committed: nil, position: nil) == nil)
        #expect(try committedIgnoringPending(nil) == nil)
        #expect(try log.committedOffset(partition: 0) == nil)
        #expect(try log.settle(partition: 0, committed: nil, position: 7) == 7)
        #expect(try committedIgnoringPending(7) == 7)
        withExtendedLifetime(other) {}
    }

    @Test func `a pending offset that its slot ends in time is waited for`() throws {
        let other = try otherSlot()
        try sendOffset(3, by: other, commits: true)
        try sendOffset(7, by: other, commits: false)
        var settings = settings
        settings.hangingMilliseconds = 60_000
        let log = try KafkaLogClient(settings, input: Topic.events)
        var successor: TransactionalProducer?
        var failure: (any Error)?
        log.recoveryWaits = { _ in
            guard successor == nil else { return }
            do { successor = try otherSlot() } catch { failure = error }
        }
        #expect(try log.committedOffset(partition: 0) == 3)
        #expect(failure == nil && successor != nil)
        #expect(try log.settle(partition: 0, committed: 3, position: 9) == 3, "nothing is pending")
        withExtendedLifetime(other) {}
    }
}
