// No feature contains its own outcome, or anything that stands later in its log (design §4.4).

import Bytes
import Contracts
import DeterministicMath
import EmbeddedFleet
import Foundation
import JSON
import Simulation
import Streams
import Testing

@testable import Finetune

@Suite struct PointInTimeTests {
    private static let names = [
        "user_rate", "user_log", "history_rate", "content_rate", "taste", "match",
        "history x text", "query x text", "item x user", "item x history", "in_history",
    ]

    /// Where the dense features of `examples` are not those of an independent pass, as sentences.
    private func violations(
        _ features: [String: [Double]], _ examples: [JSONValue]
    ) -> (checked: Int, nonzero: [Int], found: [String]) {
        var checked = 0
        var nonzero = [Int](repeating: 0, count: Self.names.count)
        var found: [String] = []
        for batch in examples {
            for example in batch["examples"]!.array! {
                let id = example["impression_id"]!.text!
                let dense = example["dense"]!.array!.prefix(Self.names.count).map { $0.double! }
                guard let expected = features[id], expected.count == dense.count else {
                    found.append("\(id) has no features of \(dense.count) numbers")
                    continue
                }
                checked += 1
                for (k, (a, b)) in zip(dense, expected).enumerated() {
                    if b != 0 { nonzero[k] += 1 }
                    if abs(a - b) > 1e-4 * max(1, abs(b)) {
                        found.append("\(id): \(Self.names[k]) is \(a), from what stood before \(b)")
                    }
                }
            }
        }
        return (checked, nonzero, found)
    }

    /// The record with a vector that its words give: a few numbers for each.
    private func withVector(
        _ record: JSONValue, of text: String, _ random: inout SplitMix64
    ) -> JSONValue {
        let draw = random.next() % 12
        var numbers = [Float](repeating: 0, count: draw == 0 ? 47 : 48)
        for word in text.lowercased().split(separator: " ") {
            var word = Random(seed: Array(word.utf8).lend { Hash128($0).low })
            for _ in 0..<4 { numbers[Int(word.next() % 47)] += Float(word.normal()) }
        }
        let halves = numbers.flatMap { number -> [UInt8] in
            let half = HalfPrecision.bits(of: number)
            return [UInt8(half & 255), UInt8(half >> 8)]
        }
        return .object(
            record.members! + [
                JSONMember("encoder", .text(draw == 1 ? "00000000000000ff" : "0000000000000001")),
                JSONMember("vector", .text(Data(halves).base64EncodedString())),
            ])
    }

    private func values(_ log: MemoryLog, _ topic: Topic, _ partition: Int) throws -> [JSONValue] {
        var values: [JSONValue] = []
        try log.read(topic, partition: partition) { record in
            if let value = record.value { values.append(try JSONValue(parsing: value)) }
        }
        return values
    }

    @Test(arguments: [(1, 1), (3, 3)])
    func `an independent second pass finds every feature as it was`(
        events: Int, domainLog: Int
    ) throws {
        let simulation = SimulatedLog(.tiny(seed: 6, impressions: 2_500, domains: 5))
        let input = try TestInput(simulation).set(["hash_bits": "16"])
        let fleet = try input.fleet(
            FleetLayout(events: events, domainLog: domainLog, linesPerTurn: 100))
        try fleet.run(input.together)
        let examples = try values(fleet.log, .examples, 0)
        let role = fleet.finetune.role
        func bucket(_ field: String, _ value: String) -> UInt32 {
            Array(field.utf8).lend { field in
                Array(value.utf8).lend { role.tokenBucket(field, $0) }
            }
        }
        for partition in 0..<domainLog {
            let records = try values(fleet.log, .domainLog, partition)
            let own = examples.filter { $0["partition"]!.integer == Int64(partition) }
            guard !own.isEmpty else { continue }
            var pass = NaivePass(partition: partition, bucket: bucket)
            pass.run(over: records)
            let (checked, nonzero, found) = violations(pass.features, own)
            #expect(found.isEmpty, "\(found.count) violations: \(found.prefix(3))")
            #expect(checked > 100)
            if domainLog == 1 {
                #expect(
                    nonzero.allSatisfy { $0 > 20 },
                    "a feature that is always 0 shows nothing: \(nonzero)")
            }

            var leaking = NaivePass(partition: partition, leak: .ownLabel, bucket: bucket)
            leaking.run(over: records)
            let control = violations(leaking.features, own)
            #expect(
                control.found.count > checked / 2,
                "the checker must see features that know their own label")
        }
    }

    @Test(arguments: [6, 7])
    func `vectors that come late are masked before, and as they were after`(seed: UInt64) throws {
        let simulation = SimulatedLog(.tiny(seed: seed, impressions: 2_500, domains: 5))
        let input = try TestInput(simulation).set([
            "hash_bits": "20", "text.encoder": "none", "text.dimension": "48",
        ])
        let fleet = try input.fleet(FleetLayout(events: 1, domainLog: 1, linesPerTurn: 100))
        try fleet.run(input.together)
        // Records of items and texts come again, a while later, with vectors: most of one encoder, a
        // few of another or of another length, some never.
        var random = SplitMix64(seed: seed &+ 70)
        var records: [JSONValue] = []
        var waiting: [(at: Int, record: JSONValue)] = []
        for record in try values(fleet.log, .domainLog, 0) {
            records.append(record)
            while let first = waiting.firstIndex(where: { $0.at <= records.count }) {
                records.append(waiting.remove(at: first).record)
            }
            let kind = record["kind"]!.text!
            guard kind == "item" || kind == "text", random.next() % 8 > 0 else { continue }
            let text = (record["title"] ?? record["text"])?.text ?? ""
            waiting.append(
                (
                    records.count + Int(random.next() % 2_000),
                    withVector(record, of: text, &random)
                ))
        }
        let settings = try input.set(["text.encoder": "ngrams"]).settings
        let again = FinetuneAgain(settings, layout: fleet.layout, partition: 0)
        var examples: [JSONValue] = []
        for (i, record) in records.enumerated() {
            for (topic, value) in again.step(record.canonicalBytes, offset: Int64(i))
            where topic == .examples {
                examples.append(try JSONValue(parsing: value))
            }
        }
        let role = again.role
        var pass = NaivePass(dimension: 48) { field, value in
            Array(field.utf8).lend { field in
                Array(value.utf8).lend { role.tokenBucket(field, $0) }
            }
        }
        pass.run(over: records)
        let (checked, nonzero, found) = violations(pass.features, examples)
        #expect(found.isEmpty, "\(found.count) violations: \(found.prefix(3))")
        #expect(checked > 1_000)
        #expect(nonzero.allSatisfy { $0 > 20 }, "\(nonzero)")
        #expect(again.state.counters.vectorsMasked > 0)
    }
}
