// Records as large as they may be, and larger, through a whole fleet on a real broker.

import Bytes
import Contracts
import Foundation
import Gateway
import JSON
import KafkaFleet
import KafkaTestBroker
import KafkaTransactions
import Streams
import Testing

@Suite(.serialized, .enabled(if: RealBroker.isAvailable, Comment(rawValue: RealBroker.absence)))
struct SizesOnKafkaTests {
    private let start = FleetUnderTest.startMilliseconds

    private func padding(_ bytes: Int) -> String { String(repeating: "x", count: bytes) }

    /// A line of exactly so many bytes.
    private func line(_ fields: String, bytes: Int) -> String {
        let frame = "{\(fields),\"description\":\"\"}"
        return "{\(fields),\"description\":\"\(padding(bytes - frame.utf8.count))\"}"
    }

    private func event(_ id: String, _ second: Int, item: String = "i1", more: String = "")
        -> String
    {
        """
        {"id":"\(id)","type":"impression","time_ms":\(start + Int64(second) * 1_000),"domain":"home",\
        "user_id":"u\(second % 3)","item_id":"\(item)"\(more)}
        """
    }

    /// As a stranger would write it, with whatever key and headers.
    private func produce(
        _ under: FleetUnderTest, _ topic: Topic, partition: Int? = nil, key: String, value: String,
        headers: [(String, String)] = []
    ) throws {
        let producer = try IdempotentProducer(ProducerSettings(client: under.fleet.client))
        let place = try producer.topic(under.fleet.topics[topic])
        var all = RecordHeaders()
        for (name, value) in headers { all.append(name, value) }
        try key.lend { key in
            try value.lend {
                try producer.produce(place, partition: partition, key: key, value: $0, headers: all)
            }
        }
        try producer.flush()
    }

    private func headers(_ record: CommittedRecord) -> [String: [String]] {
        var found: [String: [String]] = [:]
        record.headers.lend {
            Headers(encoded: $0).forEach { found[$0.text, default: []].append($1.text) }
        }
        return found
    }

    @Test
    func `the largest records go through, larger ones are dead letters, and the fleet goes on`()
        throws
    {
        let under = try FleetUnderTest(try RealBroker.shared(), events: 2, domainLog: 1)
        let limit = Limit.recordBytes
        let catalog = [
            line(#""item_id":"i1","time_ms":\#(start),"title":"at the limit""#, bytes: limit),
            line(#""item_id":"i2","time_ms":\#(start),"title":"above it""#, bytes: limit + 1),
            // Below it, but not when its numbers are written out.
            """
            {"item_id":"i3","time_ms":\(start),"title":"numbers","attributes":{"a":[\
            \(Array(repeating: "9e15", count: 150_000).joined(separator: ","))]}}
            """,
        ]
        let scalars = (0..<16).map { #""a\#($0)":"\#(padding(1_020))""# }.joined(separator: ",")
        let items = (1...60).map { #"{"item_id":"i\#($0)"}"# }.joined(separator: ",")
        let many = (1...100).map { #"{"item_id":"i\#($0)"}"# }.joined(separator: ",")
        func slate(_ items: String) -> String {
            event("s\(items.count)", 3, more: #","items":[\#(items)],"context":{\#(scalars)}"#)
                .replacingOccurrences(of: #""item_id":"i1","items""#, with: #""items""#)
        }
        let events = [
            line(event("e1", 1).dropFirst().dropLast().description, bytes: limit),
            line(event("e2", 1).dropFirst().dropLast().description, bytes: limit + 1),
            event("e3", 2, more: #","context":{\#(scalars)},"user":{\#(scalars)}"#),
            slate(items),
            slate(many),
            event("e4", 4, more: #","context":{"a":"\#(padding(1_025))"}"#),
            event("last", 90),
        ]
        let (file, things) = ("\(under.folder)/events.jsonl", "\(under.folder)/catalog.jsonl")
        try (events.joined(separator: "\n") + "\n").write(
            toFile: file, atomically: true, encoding: .utf8)
        try (catalog.joined(separator: "\n") + "\n").write(
            toFile: things, atomically: true, encoding: .utf8)
        var input = IngestInput(name: "sizes", events: file, catalog: things)
        input.closes = true

        // What strangers write: too large for us, not for the topic; a key and headers beyond reason.
        let foreign = (1 << 20) + (1 << 19)
        try produce(
            under, .events, key: "u1", value: line(#""type":"click""#, bytes: foreign))
        try produce(
            under, .events, key: padding(500_000), value: event("k", 1),
            headers: [("traceparent", "00-1"), ("large", padding(500_000))])
        try produce(
            under, .domainLog, partition: 0, key: "home", value: "{",
            headers: [("traceparent", "00-2"), ("coldstream-schema", "domain-log/1")])
        try under.append(input)
        for role in ["enrich", "finetune", "encode"] { try under.start(role) }
        try under.drain()
        #expect(under.processes.exits.isEmpty, "\(under.newestLines)")
        #expect(under.stopAll().allSatisfy { $0 == 0 })

        let verifier = try Verifier(reading: under)
        let all = verifier.records
        let letters = try all[.deadLetters]!.joined().map { try JSONValue(parsing: $0.value!) }
        let reasons = letters.map { "\($0["topic"]!.text!) \($0["reason"]!.text!)" }.sorted()
        #expect(
            reasons == [
                "catalog too_large", "catalog too_large", "domain-log invalid_json",
                "events key_mismatch", "events out_of_range", "events too_large",
                "events too_large", "events too_large",
            ])
        for record in all[.deadLetters]!.joined() { #expect(record.value!.count < 128 << 10) }

        let summary = try under.fleet.summary(heldBack: 0)
        #expect(summary.impressions == 63, "e1, e3, 60 of a slate, last")
        let itemRecord = all[.domainLog]![0].first { $0.value!.count > limit - 1_000 }
        #expect(itemRecord != nil, "the largest item has arrived, with its vector")
        #expect(!all[.scores]!.joined().isEmpty)

        try expectContractHeaders(all)
        let ofFinetune = all[.deadLetters]!.joined().filter { $0.key == Array("domain-log/0".utf8) }
        #expect(ofFinetune.count == 1)
        let found = headers(ofFinetune[0])
        #expect(
            found["traceparent"] == ["00-2"], "read for the letter, though not for every record")
        #expect(found["coldstream-worker"] == ["\(under.name).finetune"])
        #expect(found["coldstream-slot"] == ["0"])
        #expect(found["coldstream-version"] == [WriterIdentity.version])
        #expect(found["coldstream-offset"] != nil && found["coldstream-timestamp"] != nil)
    }

    /// Everything that the fleet has written says by which contract, once, tombstones too; for a
    /// checkpoint's rows its position and manifest say it.
    private func expectContractHeaders(_ all: [Topic: [[CommittedRecord]]]) throws {
        for topic in Topic.allCases where topic != .heads && topic != .releases {
            let records = all[topic]!.joined()
            #expect(!records.isEmpty || topic == .texts, "\(topic.name)")
            var without = 0
            for record in records {
                let key = String(decoding: record.key ?? [], as: UTF8.self)
                let isRow = topic == .checkpoints && key.contains("/rows/")
                let schema = headers(record)["coldstream-schema"]
                if isRow {
                    #expect(record.headers.isEmpty)
                } else if schema != [TopicContract.header(topic).value] {
                    without += 1
                }
            }
            #expect(without == (topic == .events ? 2 : 0), "\(topic.name): strangers' two events")
        }
    }

    @Test func `topics and producers take what the contracts allow`() throws {
        let under = try FleetUnderTest(try RealBroker.shared(), events: 1, domainLog: 1)
        #expect(under.fleet.client["message.max.bytes"] == "\(Limit.messageBytes)")
        let admin = try Admin(under.fleet.client)
        let name = under.fleet.topics[.events]
        for (value, differences) in [
            (Limit.messageBytes - 1, 1), (Limit.messageBytes, 0), (Limit.messageBytes + 1, 0),
        ] {
            try admin.alter(topic: name, settings: ["max.message.bytes": "\(value)"])
            let found = under.fleet.differences(
                from: try admin.describe(topics: under.fleet.wantedTopics.map(\.name)))
            #expect(found.count == differences)
        }
        try admin.alter(topic: name, settings: ["max.message.bytes": "1048588"])
        var report: [String] = []
        try under.fleet.applyTopics { report.append($0) }
        #expect(report == ["alter \(name): max.message.bytes=2097152, was 1048588"])
    }
}
