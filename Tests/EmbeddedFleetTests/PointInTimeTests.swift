// No feature contains its own outcome, or anything that stands later in its log (design §4.4).

import Bytes
import Contracts
import EmbeddedFleet
import JSON
import Simulation
import Streams
import Testing

@testable import Finetune

@Suite struct PointInTimeTests {
    private static let names = [
        "user_rate", "user_log", "history_rate", "content_rate", "taste", "match", "item x user",
        "item x history", "in_history",
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
                    zip(nonzero, Self.names).allSatisfy { $0.0 > 20 },
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
}
