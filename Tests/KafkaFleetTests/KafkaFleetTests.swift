import Contracts
import Encode
import FleetSettings
import Foundation
import Gateway
import KafkaTestBroker
import KafkaTransactions
import Streams
import Synchronization
import Testing
import WorkerRuntime

@testable import KafkaFleet

/// The real roles in this process, on a real broker.
@Suite(.serialized, .enabled(if: RealBroker.isAvailable, Comment(rawValue: RealBroker.absence)))
struct KafkaFleetTests {
    let under: FleetUnderTest

    init() throws { under = try FleetUnderTest(try RealBroker.shared()) }

    static func around(
        _ fleet: KafkaFleet, _ role: String, _ lines: Mutexed<[String]>
    ) -> KafkaFleet.Surroundings {
        KafkaFleet.Surroundings(
            status: WorkerStatus(
                fleet: fleet.settings.fleet, worker: role, version: "test",
                library: "\(LibraryVersion.running)"),
            journal: Journal(worker: role) { line in lines.change { $0.append(line) } },
            watchdog: Watchdog { _ in })
    }

    /// Runs all roles in threads over inputs, one after the other, until nothing is left to do.
    func run(_ inputs: [IngestInput]) throws {
        let stop = Mutexed(false)
        let lines = Mutexed<[String]>([])
        let errors = Mutexed<[String]>([])
        let ended = DispatchGroup()
        let fleet = under.fleet
        func thread(_ role: String, _ body: @escaping @Sendable () throws -> Void) {
            ended.enter()
            Thread {
                do { try body() } catch { errors.change { $0.append("\(role): \(error)") } }
                ended.leave()
            }.start()
        }
        let signal = StopSignal { stop.value }
        thread("enrich") {
            try fleet.enrich(slot: 0, Self.around(fleet, "enrich", lines)).run(until: signal)
        }
        thread("finetune") {
            try fleet.finetune(slot: 0, Self.around(fleet, "finetune", lines)).run(until: signal)
        }
        thread("encode") {
            try fleet.encode(slot: 0, Self.around(fleet, "encode", lines)).run(until: signal)
        }
        for input in inputs {
            try under.append(input)
            try under.drain()
        }
        stop.change { $0 = true }
        #expect(ended.wait(timeout: .now() + 60) == .success)
        #expect(errors.value == [])
    }

    @Test
    func
        `the whole fleet on Kafka publishes what its steps publish, and the judge sees planted faults`()
        throws
    {
        #expect(
            try under.fleet.writeSettings(time: FleetUnderTest.startMilliseconds) == [],
            "they are the newest already")
        // The catalog is known before the events, however slow encode is: what is not known in time is
        // not scored.
        let catalog = try under.writeInput(1)
        var input = try under.writeInput(1_199, from: 1)
        input.closes = true
        try run([catalog, input])

        let verifier = try Verifier(reading: under)
        try expectNone(verifier.differences())
        let scores = verifier.records[.scores]!.joined()
        #expect(Set(scores.compactMap(\.key)).count >= 40, "20 items in four domains")
        #expect(verifier.records[.texts]!.joined().count >= 7, "seven queries")
        #expect(verifier.records[.deadLetters]!.joined().isEmpty)

        for (topic, fault) in faults {
            var faulty = verifier
            let partition = faulty.records[topic]!.firstIndex { $0.count > 3 }!
            fault(&faulty.records[topic]![partition])
            #expect(try !faulty.differences().isEmpty, "a fault in \(topic.name) must be seen")
        }

        // What a user reads afterwards.
        let summary = try under.fleet.summary(heldBack: 0)
        #expect(summary.impressions == 1_200)
        #expect(summary.labels == 1_200)
        #expect(summary.corrections > 50)
        #expect(summary.domains.map(\.name) == ["cards", "find", "home", "videos"])
    }

    /// Lost, doubled, altered, swapped.
    private var faults: [(Topic, (inout [CommittedRecord]) -> Void)] {
        [
            (.scores, { $0.remove(at: 2) }),
            (.examples, { $0.insert($0[1], at: 1) }),
            (.domainLog, { $0[$0.count - 1].value?[10] ^= 1 }),
            (.evaluations, { $0.swapAt(0, 1) }),
            (.events, { $0.removeLast() }),
        ]
    }
}

/// A value that several threads see.
final class Mutexed<Value: Sendable>: Sendable {
    private let storage: Mutex<Value>
    init(_ value: Value) { storage = Mutex(value) }
    var value: Value { storage.withLock { $0 } }
    func change(_ body: (inout Value) -> Void) { storage.withLock { body(&$0) } }
}
