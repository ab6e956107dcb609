// Encode as a process on a real broker: killed while it works, without its encoder, with another one.

import Bytes
import Contracts
import EmbeddedFleet
import Encode
import FleetSettings
import Foundation
import KafkaTestBroker
import KafkaTransactions
import Streams
import TextEncoding
import Testing

@testable import KafkaFleet

@Suite(.serialized, .enabled(if: RealBroker.isAvailable, Comment(rawValue: RealBroker.absence)))
final class EncodeOnKafkaTests {
    private let broker: RealBroker
    private let name = "encode-\(UUID().uuidString.lowercased().prefix(8))"
    private let folder: String
    private let domainLogPartitions = 3
    private let inputPartitions = 2
    private let producer: IdempotentProducer
    private let fleet: KafkaFleet
    private var worker: Process?
    /// The newest version of each item: time and title.
    private var items: [String: (time: Int64, title: String)] = [:]
    private var asked: [String: Set<Int>] = [:]
    private var time: Int64 = 1_700_000_000_000

    init() throws {
        broker = try RealBroker.shared()
        folder = NSTemporaryDirectory() + name
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        fleet = try KafkaFleet(
            FleetSettings(parsing: Array("{\"fleet\":\"\(name)\"}".utf8), file: "test.json"),
            brokers: broker.address)
        producer = try IdempotentProducer(ProducerSettings(client: fleet.client))
        try producer.connect()
        try Admin(fleet.client).create(
            Topic.allCases.map { topic in
                let partitions =
                    switch topic {
                    case .domainLog: domainLogPartitions
                    case .catalog, .texts, .textVectors: inputPartitions
                    default: 1
                    }
                return NewTopic(
                    fleet.topics[topic], partitions: partitions,
                    settings: topic.isCompacted ? ["cleanup.policy": "compact"] : [:])
            })
    }

    deinit {
        if let worker, worker.isRunning {
            kill(worker.processIdentifier, SIGKILL)
            worker.waitUntilExit()
        }
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// Starts `coldstream worker encode`.
    private func start(_ text: String) throws {
        let path = "\(folder)/settings.json"
        try """
        {"version": 1, "fleet": "\(name)", "text": {"dimension": 16, \(text)},
         "roles": {"encode": {"collect_min_ms": 0, "collect_max_ms": 5, "collect_records": 20}}}
        """.write(toFile: path, atomically: true, encoding: .utf8)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: CommandLine.arguments[0])
            .deletingLastPathComponent().appendingPathComponent("coldstream")
        process.arguments = [
            "worker", "encode", "--brokers", broker.address, "--config", path, "--slot", "0",
        ]
        process.standardError = FileHandle(forWritingAtPath: "/dev/null")
        try process.run()
        worker = process
    }

    /// Ends the worker with a signal; returns its exit code.
    @discardableResult
    private func end(_ signal: Int32) throws -> Int32 {
        let worker = try #require(self.worker)
        kill(worker.processIdentifier, signal)
        worker.waitUntilExit()
        self.worker = nil
        return worker.terminationStatus
    }

    private func produce(items count: Int, texts: Int, seed: Int) throws {
        let catalog = try producer.topic(fleet.topics[.catalog])
        let texts_ = try producer.topic(fleet.topics[.texts])
        for i in 0..<count {
            time += 1
            let id = "i\((i * 7 + seed * 13) % 300)"
            let title = "title \((i * 11 + seed) % 90) of things"
            items[id] = (time, title)
            let value = #"{"item_id":"\#(id)","time_ms":\#(time),"title":"\#(title)"}"#
            try id.lend { key in
                try value.lend { try producer.produce(catalog, key: key, value: $0) }
            }
        }
        for i in 0..<texts {
            time += 1
            let text = "query \((i * 5 + seed * 3) % 60)"
            let domain = ["a", "b", "c", "d"][(i + seed) % 4]
            asked[text, default: []].insert(
                domain.lend { Murmur2.partition($0, of: domainLogPartitions) })
            var key = ByteBuffer()
            var value = ByteBuffer()
            text.lend { text in
                domain.lend { domain in
                    var record = TextRecord()
                    record.time_ms = time
                    record.hash = TextHash.of(text)
                    record.text = text
                    record.domain = domain
                    record.appendKey(to: &key)
                    record.append(to: &value)
                }
            }
            try producer.produce(texts_, key: key.slice, value: value.slice)
        }
        try producer.flush()
    }

    /// What the groups have committed, over all partitions.
    private func committed() throws -> Int64 {
        var total: Int64 = 0
        for (group, topic) in [("encode", Topic.catalog), ("encode-texts", .texts)] {
            let offsets = try Offsets(fleet.client, group: "\(name).\(group)")
            let places = (0..<inputPartitions).map { TopicPartition(fleet.topics[topic], $0) }
            total += try offsets.committed(places).values.reduce(0, +)
        }
        return total
    }

    private func wait(seconds: Int = 90, until body: () throws -> Bool) throws -> Bool {
        let deadline = ContinuousClock.now + .seconds(seconds)
        while ContinuousClock.now < deadline {
            if worker?.isRunning == false { return false }
            if try body() { return true }
        }
        return false
    }

    private struct Seen: Hashable {
        var kind: String
        var name: String
        var time: Int64
        var encoder: UInt64?
        var halves: [UInt8]
    }

    private func seen(_ partition: Int) throws -> [Seen] {
        let reader = DomainLogReader()
        return try records(partition).compactMap { value in
            try value.lend { value in
                switch try reader.read(value) {
                case .item:
                    let item = reader.item
                    return Seen(
                        kind: "item", name: item.record.item_id.text, time: item.record.time_ms,
                        encoder: item.vector?.encoder, halves: item.vector?.halves.copy() ?? [])
                case .text:
                    let text = reader.text
                    return Seen(
                        kind: "text", name: text.text.text, time: 0,
                        encoder: text.vector?.encoder, halves: text.vector?.halves.copy() ?? [])
                default: return nil
                }
            }
        }
    }

    private func records(_ partition: Int) throws -> [[UInt8]] {
        let place = TopicPartition(fleet.topics[.domainLog], partition)
        let end = try Offsets(fleet.client, group: "judge").offsets(of: [place])[place]!.end
        var settings = ConsumerSettings(client: fleet.client, group: "judge")
        settings.reportsEnds = true
        let consumer = try Consumer(settings)
        try consumer.assign([Position(place, 0)])
        var result: [[UInt8]] = []
        for _ in 0..<1_000_000 {
            switch try consumer.poll(timeoutMilliseconds: 200) {
            case .record(let record): result.append(record.view.value!.copy())
            case .end(let position): if position.offset >= end { return result }
            default: break
            }
        }
        Issue.record("\(place) could not be read")
        return result
    }

    private func halves(_ encoder: HashedNGrams, _ text: String) -> [UInt8] {
        var values = [Float](repeating: 0, count: encoder.dimension)
        values.withUnsafeMutableBufferPointer { encoder.encode([Array(text.utf8)], into: $0) }
        var buffer = ByteBuffer()
        values.withUnsafeBufferPointer { TextVector.append($0, to: &buffer) }
        return buffer.slice.copy()
    }

    /// Whether every partition has everything, as its newest.
    private func isComplete(_ encoder: HashedNGrams) throws -> Bool {
        try (0..<domainLogPartitions).allSatisfy { partition in
            let seen = try seen(partition)
            var newest: [String: Seen] = [:]
            for item in seen where item.kind == "item" { newest[item.name] = item }
            let texts = Set(
                seen.filter { $0.kind == "text" && $0.encoder == encoder.identity.hash }
                    .map(\.name))
            return items.allSatisfy {
                newest[$0.key]?.time == $0.value.time
                    && newest[$0.key]?.encoder == encoder.identity.hash
            } && asked.allSatisfy { !$0.value.contains(partition) || texts.contains($0.key) }
        }
    }

    @Test
    func `killed again and again it loses nothing, doubles nothing and owes nothing in the end`()
        throws
    {
        // Nobody listens there: items go out without vectors, and everything is owed.
        try start(#""encoder": "http", "url": "http://127.0.0.1:9", "model": "nobody""#)
        try produce(items: 200, texts: 40, seed: 0)
        let wentWithout = try wait {
            try seen(0).filter { $0.kind == "item" }.count >= 200
        }
        #expect(wentWithout, "the catalog waits for nobody")
        #expect(try seen(0).allSatisfy { $0.encoder == nil })
        let vectors = try OwedVectors(fleet)
        let ways = asked.values.reduce(0) { $0 + $1.count }
        #expect(try wait { try vectors.count() == items.count + ways }, "everything is owed")
        try end(SIGKILL)

        // Another encoder, killed where it stands, seven times, while records come.
        for round in 1...7 {
            try start(#""encoder": "ngrams""#)
            try produce(items: 150, texts: 60, seed: round)
            let before = try committed()
            _ = try wait(seconds: 30) { try committed() >= before + Int64(round * 12) }
            try end(SIGKILL)
        }
        try start(#""encoder": "ngrams""#)
        let encoder = HashedNGrams(dimension: 16)
        #expect(try wait { try isComplete(encoder) }, "not everything came")
        #expect(try end(SIGTERM) == 0)
        #expect(try vectors.count() == 0)

        for partition in 0..<domainLogPartitions {
            let seen = try seen(partition)
            var counts: [Seen: Int] = [:]
            for record in seen { counts[record, default: 0] += 1 }
            for (record, count) in counts where count > 1 {
                Issue.record("\(record.kind) \(record.name) at \(record.time) came \(count) times")
            }
            for record in seen where record.encoder == encoder.identity.hash {
                guard record.kind == "text" || record.time == items[record.name]!.time else {
                    continue
                }
                let text = record.kind == "text" ? record.name : items[record.name]!.title
                #expect(record.halves == halves(encoder, text), "\(record.name)")
            }
            let texts = seen.filter { $0.kind == "text" }.map(\.name)
            #expect(
                texts.sorted()
                    == asked.filter { $0.value.contains(partition) }.map(\.key).sorted())
        }
    }
}
