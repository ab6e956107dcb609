import Bytes
import Contracts
import EmbeddedFleet
import Foundation
import JSON
import KafkaFleet
import KafkaTestBroker
import KafkaTransactions
import Testing

/// What people read of a fleet on Kafka by the command line.
@Suite(.serialized, .enabled(if: RealBroker.isAvailable, Comment(rawValue: RealBroker.absence)))
struct PublishedTests {
    let under: FleetUnderTest

    init() throws {
        under = try FleetUnderTest(
            try RealBroker.shared(), events: 2, domainLog: 2, searches: true)
    }

    /// The places to look at: the files of a folder, or the fleet's topics.
    func read(_ words: [String], folder: String? = nil) throws -> (code: Int32?, lines: [String]) {
        let output = WorkerProcesses(errors: "\(under.folder)/\(UUID().uuidString).out")
        let place =
            folder.map { ["--from", $0] }
            ?? ["--brokers", under.broker.address, "--fleet", under.name]
        try output.start("once", [FleetUnderTest.program] + words + place)
        return (output.wait("once"), output.lines)
    }

    @Test func `what a fleet has committed reads the same from its topics as from its files`()
        throws
    {
        for role in ["encode", "enrich", "finetune"] { try under.start(role) }
        try under.appendBadEvent()
        try under.append(try under.writeInput(400))
        try rest()
        let folder = "\(under.folder)/output"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try OutputFiles(under.fleet.outputs(), folder: folder).finish()
        let found = try read(["scores", "top", "find", "--format", "json"])
        let best = try JSONValue(parsing: found.lines[0]).array![0]
        let (query, item) = (try #require(best["query"]?.text), best["item_id"]!.text!)
        for words in [
            ["scores", "top", "home"], ["scores", "top", "find", "--query", query, "-n", "3"],
            ["scores", "get", "videos/click/-/i2"], ["stats", "cards"], ["dead-letters", "ls"],
            ["dead-letters", "show", "--reason", "key_mismatch"],
        ] {
            for format in ["table", "json"] {
                let fromFiles = try read(words + ["--format", format], folder: folder)
                let fromTopics = try read(words + ["--format", format])
                #expect(fromFiles.code == 0 && fromTopics.code == 0, "\(words): \(fromTopics)")
                #expect(fromFiles.lines == fromTopics.lines, "\(words)")
                #expect(!fromTopics.lines.isEmpty, "\(words)")
            }
        }
        let digits = String(query.lend { TextHash.of($0) }, radix: 16)
        let hash = String(repeating: "0", count: 16 - digits.count) + digits
        for folder in [nil, folder] {
            let one = try read(["scores", "get", "find/click/\(hash)/\(item)"], folder: folder)
            #expect(one.code == 0)
            #expect(try JSONValue(parsing: one.lines[0])["query"]?.text == query)
            #expect(try read(["scores", "get", "find/click/-/\(item)"], folder: folder).code == 1)
            let unknown = try read(["stats", "card"], folder: folder)
            #expect(unknown.code == 65 && unknown.lines[0].hasSuffix("did you mean cards?"))
        }
        try tail()
        #expect(under.stopAll().allSatisfy { $0 == 0 })
    }

    /// Waits until nothing moves any more: windows are open, and ticks come four times a second.
    private func rest() throws {
        func ends() throws -> [Int64] {
            let places = Topic.allCases.flatMap { topic in
                (0..<under.partitions(of: topic)).map {
                    TopicPartition(under.fleet.topics[topic], $0)
                }
            }
            let offsets = try Offsets(under.fleet.client, group: "judge").offsets(of: places)
            return places.map { offsets[$0]!.end }
        }
        try under.drain()
        var seen = try ends()
        var since = ContinuousClock.now
        try under.until(120, "rest") {
            let now = try ends()
            if now != seen { (seen, since) = (now, .now) }
            return ContinuousClock.now - since > .seconds(3)
        }
    }

    /// Scores that are committed while somebody looks.
    private func tail() throws {
        let output = WorkerProcesses(errors: "\(under.folder)/tail.out")
        try output.start(
            "tail",
            [
                FleetUnderTest.program, "scores", "tail", "--domain", "cards", "-n", "2",
                "--brokers", under.broker.address, "--fleet", under.name,
            ])
        try under.until(60, "start of scores tail") {
            output.lines.contains { $0.contains("waiting for scores") }
        }
        var rest = try under.writeInput(200, from: 400)
        rest.closes = true
        try under.append(rest)
        #expect(output.wait("tail") == 0)
        let scores = output.lines.filter { $0.hasPrefix("cards\t-\ti") }
        #expect(scores.count == 2, "\(output.lines)")
        #expect(scores.allSatisfy { $0.split(separator: "\t").count == 6 })
    }

    /// A letter as a worker writes it.
    private func letter(
        _ topic: String, _ value: String, bytes: Int? = nil, input: String? = nil
    ) throws -> [UInt8] {
        var buffer = ByteBuffer()
        topic.lend { topic in
            value.lend { value in
                "u7".lend { key in
                    "A test.".lend { message in
                        var letter = DeadLetter(
                            .crashed, message: message, topic: topic, key: key, value: value)
                        if let bytes { letter.value_bytes = bytes }
                        if let input {
                            input.lend {
                                letter.input = $0
                                letter.append(to: &buffer)
                            }
                        } else {
                            letter.append(to: &buffer)
                        }
                    }
                }
            }
        }
        return buffer.slice.copy()
    }

    @Test func `a replayed letter is appended byte for byte, and a dry run appends nothing`() throws
    {
        let event = #"{"id":"again","type":"impression","user_id":"u7","item_id":"i1"}"#
        let letters = [
            try letter("events", event), try letter("events", event, bytes: 70_000),
            try letter("events", event, input: "events.jsonl"), try letter("domain-log", event),
        ]
        let producer = try IdempotentProducer(ProducerSettings(client: under.fleet.client))
        let topic = try producer.topic(under.fleet.topics[.deadLetters])
        for letter in letters {
            try letter.lend { try producer.produce(topic, partition: 1, key: nil, value: $0) }
        }
        try producer.flush()
        let reader = try TopicReader(under.fleet)
        func events() throws -> [String] {
            var found: [String] = []
            try reader.read(.events) { record in
                var from: String?
                record.forEachHeader { name, value in
                    if name.equals("coldstream-resent") { from = value?.text }
                }
                #expect(record.partition == "u7".lend { Murmur2.partition($0, of: 2) })
                found.append(
                    "\(record.key?.text ?? "") \(record.value?.text ?? "") \(from ?? "nobody")")
                return true
            }
            return found
        }
        let rest =
            "1 to events; left out 1 longer than what was kept, 1 lines that never were a record, "
            + "1 of internal topics"
        let dry = try read(["dead-letters", "replay", "--dry-run"])
        #expect(dry.code == 0 && dry.lines == ["4 letters; would append \(rest)"])
        #expect(try events() == [])
        let none = try read(["dead-letters", "replay", "--reason", "too_large"])
        #expect(none.code == 0 && none.lines == ["0 letters; appended none"])
        let real = try read(["dead-letters", "replay", "--reason", "crashed"])
        #expect(real.code == 0 && real.lines == ["4 letters; appended \(rest)"])
        #expect(try events() == ["u7 \(event) 1/0"])
        #expect(try read(["dead-letters", "replay", "--reason", "crash"]).code == 64)
    }

    @Test func `a reader that has seen enough stops, and one of an empty topic has seen all`()
        throws
    {
        let reader = try TopicReader(under.fleet)
        try reader.read(.examples) { _ in
            Issue.record("nothing was written")
            return true
        }
        #expect(try reader.newest(of: .scores, key: Array("home/click/-/i1".utf8)) == nil)
        let producer = try IdempotentProducer(ProducerSettings(client: under.fleet.client))
        let topic = try producer.topic(under.fleet.topics[.examples])
        for i in 0..<100 {
            try "\(i)".lend { try producer.produce(topic, partition: i % 2, key: nil, value: $0) }
        }
        try producer.flush()
        var seen = 0
        try reader.read(.examples) { _ in
            seen += 1
            return seen < 7
        }
        #expect(seen == 7)
        seen = 0
        try reader.read(.examples) { _ in
            seen += 1
            return true
        }
        #expect(seen == 100, "the next one begins anew")
    }
}
