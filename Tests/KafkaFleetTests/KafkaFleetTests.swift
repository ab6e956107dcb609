import Bytes
import Contracts
import EmbeddedFleet
import Encode
import Enrich
import Finetune
import FleetSettings
import Foundation
import Gateway
import JSON
import KafkaTestBroker
import KafkaTransactions
import Streams
import Synchronization
import Testing
import WorkerRuntime

@testable import KafkaFleet

/// The real roles on a real broker.
@Suite(.serialized, .enabled(if: RealBroker.isAvailable, Comment(rawValue: RealBroker.absence)))
struct KafkaFleetTests {
    let broker: RealBroker
    let fleet: KafkaFleet
    let folder: String
    let eventsPartitions = 3

    init() throws {
        broker = try RealBroker.shared()
        let name = "fleet-\(UUID().uuidString.lowercased().prefix(8))"
        let settings = try FleetSettings(
            parsing: Array(
                """
                {"version": 1, "fleet": "\(name)", "roles": {"finetune": {"users_max": 10000,
                 "items_max": 10000, "open_impressions_max": 10000, "checkpoint_records": 500}},
                 "domain_defaults": {"label_window_s": 2, "attribution_window_s": 5}}
                """.utf8), file: "test.json")
        fleet = try KafkaFleet(settings, brokers: broker.address)
        folder = NSTemporaryDirectory() + name
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true)
        try Admin(fleet.client).create(
            Topic.allCases.map { topic in
                NewTopic(
                    fleet.topics[topic],
                    partitions: topic == .events || topic == .checkpoints ? eventsPartitions : 1,
                    settings: topic.isCompacted ? ["cleanup.policy": "compact"] : [:])
            })
    }

    /// Impressions of 20 items by 50 users in two domains, every fourth clicked a second later.
    func writeInput(_ count: Int) throws -> IngestInput {
        var catalog = ""
        for item in 0..<20 {
            catalog +=
                "{\"item_id\":\"i\(item)\",\"time_ms\":\(start),\"title\":\"item \(item)\"}\n"
        }
        var lines: [(time: Int64, text: String)] = []
        for n in 0..<count {
            let time = start + Int64(n) * 10
            let domain = n % 3 == 0 ? "home" : "search"
            let user = "u\(n * 7 % 50)"
            let item = "i\(n * 13 % 20)"
            let common = "\"domain\":\"\(domain)\",\"user_id\":\"\(user)\",\"item_id\":\"\(item)\""
            lines.append(
                (
                    time,
                    "{\"id\":\"e\(n)\",\"type\":\"impression\",\"time_ms\":\(time),\"request_id\":\"r\(n)\",\"position\":\(n % 5 + 1),\(common)}"
                ))
            if n % 4 == 0 {
                lines.append(
                    (
                        time + 1_000,
                        "{\"id\":\"c\(n)\",\"type\":\"click\",\"time_ms\":\(time + 1_000),\"impression_id\":\"e\(n)\",\(common)}"
                    ))
            }
        }
        lines.sort { $0.time < $1.time }
        let events = lines.map(\.text).joined(separator: "\n") + "\n"
        try catalog.write(toFile: "\(folder)/catalog.jsonl", atomically: true, encoding: .utf8)
        try events.write(toFile: "\(folder)/events.jsonl", atomically: true, encoding: .utf8)
        var input = IngestInput(
            name: "test", events: "\(folder)/events.jsonl", catalog: "\(folder)/catalog.jsonl")
        input.closes = true
        return input
    }

    let start: Int64 = 1_700_000_000_000

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

    @Test func `the whole fleet on Kafka publishes what its steps publish on a MemoryLog`() throws {
        #expect(try fleet.writeSettings(time: start) == [0])
        #expect(try fleet.writeSettings(time: start) == [], "they are the newest already")

        let stop = Mutexed(false)
        let lines = Mutexed<[String]>([])
        let errors = Mutexed<[String]>([])
        let ended = DispatchGroup()
        let fleet = fleet
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
        let ingest = try fleet.ingest(try writeInput(2_000))
        while try ingest.turn() {}
        #expect(ingest.progress.eventsAppended == 2_500)
        try waitUntilQuiet(errors)
        stop.change { $0 = true }
        #expect(ended.wait(timeout: .now() + 60) == .success)
        #expect(errors.value == [])

        let counts = try recomputeEnrich()
        #expect(counts == 2_500)
        try recomputeFinetune()
        let scores = try read(.scores, 0)
        #expect(Set(scores.compactMap(\.key)).count >= 40, "20 items in two domains")
        #expect(try read(.evaluations, 0).count >= 2)
        #expect(try read(.deadLetters, 0).count == 0)
    }

    /// Waits until every group has read everything.
    func waitUntilQuiet(_ errors: Mutexed<[String]>) throws {
        let deadline = ContinuousClock.now + .seconds(60)
        var quiet = 0
        while ContinuousClock.now < deadline, errors.value.isEmpty, quiet < 3 {
            var isQuiet = true
            for (role, topic) in [
                ("encode", Topic.catalog), ("encode-texts", .texts), ("enrich", .events),
                ("finetune", .domainLog),
            ] {
                let offsets = try Offsets(fleet.client, group: "\(fleet.settings.fleet).\(role)")
                let places = (0..<(topic == .events ? eventsPartitions : 1)).map {
                    TopicPartition(fleet.topics[topic], $0)
                }
                let committed = try offsets.committed(places)
                let lag = try offsets.lag(behind: places.map { Position($0, committed[$0] ?? 0) })
                isQuiet = isQuiet && lag.values.allSatisfy { $0 == .none }
            }
            quiet = isQuiet ? quiet + 1 : 0
        }
        #expect(quiet >= 3, "the fleet has not come to rest")
    }

    // The judge

    struct Read {
        var key: [UInt8]?
        var value: [UInt8]?
        var headers: [(name: [UInt8], value: [UInt8])] = []
        var timestamp: Int64
    }

    func read(_ topic: Topic, _ partition: Int) throws -> [Read] {
        let place = TopicPartition(fleet.topics[topic], partition)
        let end = try Offsets(fleet.client, group: "judge").offsets(of: [place])[place]!.end
        var settings = ConsumerSettings(client: fleet.client, group: "judge")
        settings.reportsEnds = true
        let consumer = try Consumer(settings)
        try consumer.assign([Position(place, 0)])
        var result: [Read] = []
        for _ in 0..<1_000_000 {
            switch try consumer.poll(timeoutMilliseconds: 200) {
            case .record(let record):
                let view = record.view
                var read = Read(
                    key: view.key?.copy(), value: view.value?.copy(), timestamp: view.timestamp ?? 0
                )
                var headers: [(name: [UInt8], value: [UInt8])] = []
                view.forEachHeader { headers.append(($0.copy(), $1?.copy() ?? [])) }
                read.headers = headers
                result.append(read)
            case .end(let position): if position.offset >= end { return result }
            default: break
            }
        }
        Issue.record("\(place) could not be read")
        return result
    }

    /// Ordinal and output hash that a worker has written with its last commit.
    func position(_ role: String, _ partition: Int) throws -> (ordinal: Int64, hash: Hash128)? {
        let key = Array("\(fleet.settings.fleet).\(role)/\(partition)/position".utf8)
        return try read(.checkpoints, partition).last { $0.key == key }?.value?.withUnsafeBytes {
            (
                $0.loadUnaligned(fromByteOffset: 8, as: Int64.self),
                $0.loadUnaligned(fromByteOffset: 16, as: Hash128.self)
            )
        }
    }

    func memoryLog(_ topic: Topic, _ partitions: [[Read]]) throws -> MemoryLog {
        let log = MemoryLog(
            topics: Topic.allCases.map {
                MemoryTopic(
                    name: $0.name,
                    partitions: $0 == .events || $0 == .checkpoints ? eventsPartitions : 1,
                    isCompacted: $0.isCompacted)
            })
        for (partition, records) in partitions.enumerated() {
            for record in records {
                var encoded = ByteBuffer()
                for (name, value) in record.headers {
                    name.lend { name in value.lend { Headers.append(name, $0, to: &encoded) } }
                }
                try lend(record.key) { key in
                    try lend(record.value) { value in
                        _ = try log.append(
                            topic, partition: partition, key: key, value: value,
                            headers: Headers(encoded: encoded.slice), timestamp: record.timestamp)
                    }
                }
            }
        }
        return log
    }

    func lend(_ bytes: [UInt8]?, _ body: (ByteSlice?) throws -> Void) rethrows {
        if let bytes { try bytes.lend { try body($0) } } else { try body(nil) }
    }

    /// Compares per source partition; returns how many lines of input there were.
    func recomputeEnrich() throws -> Int {
        let inputs = try (0..<eventsPartitions).map { try read(.events, $0) }
        let log = try memoryLog(.events, inputs)
        let group = "\(fleet.settings.fleet).enrich"
        let worker = StepWorker(
            role: Enrich(EnrichSettings(fleet.settings, domainLogPartitions: 1)),
            client: MemoryLogClient(log, group: group, input: Topic.events, transactionalID: "t"),
            group: group, input: Topic.events, checkpoints: Topic.checkpoints)
        try worker.turn()
        while try worker.turn() > 0 {}
        for partition in 0..<eventsPartitions {
            let there = try #require(try position("enrich", partition))
            #expect(there.ordinal == Int64(inputs[partition].count))
            #expect(there.hash == worker.outputHash(of: partition), "enrich \(partition)")
        }
        return inputs.joined().filter { $0.key != nil }.count
    }

    func recomputeFinetune() throws {
        let input = try read(.domainLog, 0)
        let log = try memoryLog(.domainLog, [input])
        let group = "\(fleet.settings.fleet).finetune"
        let worker = StepWorker(
            role: FinetuneStep(
                caps: FinetuneCaps(fleet.settings), domainLogPartitions: 1,
                hashBits: Int(fleet.settings.integer("hash_bits")),
                numerics: fleet.settings.text("numerics") ?? "haswell"),
            client: MemoryLogClient(
                log, group: group, input: Topic.domainLog, transactionalID: "t"),
            group: group, input: Topic.domainLog, checkpoints: Topic.checkpoints)
        try worker.turn()
        while try worker.turn() > 0 {}
        let there = try #require(try position("finetune", 0))
        #expect(there.ordinal == Int64(input.count))
        #expect(there.hash == worker.outputHash(of: 0), "finetune")
    }
}

/// A value that several threads see.
final class Mutexed<Value: Sendable>: Sendable {
    private let storage: Mutex<Value>
    init(_ value: Value) { storage = Mutex(value) }
    var value: Value { storage.withLock { $0 } }
    func change(_ body: (inout Value) -> Void) { storage.withLock { body(&$0) } }
}
