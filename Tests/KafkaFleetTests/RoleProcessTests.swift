import Contracts
import DeterministicMath
import Foundation
import Gateway
import JSON
import KafkaFleet
import KafkaTestBroker
import KafkaTransactions
import Streams
import Testing
import WorkerRuntime

/// The real roles as processes that a user would start, killed and stopped on a real broker.
@Suite(.serialized, .enabled(if: RealBroker.isAvailable, Comment(rawValue: RealBroker.absence)))
struct RoleProcessTests {
    let broker: RealBroker

    init() throws { broker = try RealBroker.shared() }

    /// One process of every role.
    private func startAll(_ under: FleetUnderTest, slots: Int = 1) throws {
        try under.start("encode")
        for slot in 0..<slots {
            try under.start("enrich", slot: slot)
            try under.start("finetune", slot: slot)
        }
    }

    @Test(arguments: [(partitions: 1, slots: 1), (partitions: 3, slots: 2)])
    func `enrich and finetune killed in mid-flight lose and repeat nothing`(
        partitions: Int, slots: Int
    ) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SplitMix64(seed: seed)
        // Checkpoints by time as well, in one of the cases: they may leave nothing to replay.
        let under = try FleetUnderTest(
            broker, events: 3, domainLog: partitions, checkpointRecords: 2_000,
            checkpointSeconds: slots == 1 ? 600 : 2)
        var input = try under.writeInput(4_000)
        input.closes = true
        try under.appendBadEvent()
        let ingest = try under.fleet.ingest(input)
        try startAll(under, slots: slots)
        var goesOn = true
        while goesOn {
            for (role, topic) in [("enrich", Topic.events), ("finetune", .domainLog)] {
                let before = try under.progress(role, topic)
                // More than can be done before the kill comes.
                if goesOn { goesOn = try ingest.turn() }
                try under.until(120, "progress of \(role), seed \(seed)") {
                    try under.progress(role, topic) > before
                }
                let slot = Int.random(in: 0..<slots, using: &random)
                under.processes.signal("\(role).\(slot)", SIGKILL)
            }
        }
        try under.drain()
        #expect(under.stopAll().allSatisfy { $0 == 0 }, "seed \(seed): \(under.newestLines)")
        let kills = under.processes.exits.filter { $0.code == -SIGKILL }
        #expect(kills.count >= 6, "seed \(seed): \(under.processes.exits)")
        #expect(Set(kills.map { $0.name.prefix(6) }) == ["enrich", "finetu"])
        #expect(slots > 1 || under.replays().contains { $0 > 0 }, "some recovery had to replay")
        let verifier = try Verifier(reading: under)
        try expectNone(verifier.differences(), "seed \(seed)")
        #expect(verifier.records[.deadLetters]!.joined().count == 1, "the event with a wrong key")
        let summary = try under.fleet.summary(heldBack: 0)
        #expect(summary.impressions == 4_000 && summary.labels == 4_000)
        print(
            "kills \(kills.count), replayed \(under.replays().reduce(0, +)) records, seed \(seed)")
    }

    @Test func `SIGTERM drains, and the next start replays nothing`() throws {
        let under = try FleetUnderTest(broker, events: 2, domainLog: 2)
        try startAll(under)
        try under.append(try under.writeInput(800))
        try under.until(60, "progress") { try under.progress("finetune", .domainLog) > 300 }
        #expect(under.stopAll().allSatisfy { $0 == 0 }, "in the middle of its work")
        let lines = under.journal.count
        try startAll(under)
        var rest = try under.writeInput(400, from: 800)
        rest.closes = true
        try under.append(rest)
        try under.drain()
        #expect(under.stopAll().allSatisfy { $0 == 0 })
        let replays = under.replays(after: lines)
        #expect(replays.count >= 3 && replays.allSatisfy { $0 == 0 }, "\(replays)")
        try expectNone(Verifier(reading: under).differences())
        // What this process was started with, as by LD_LIBRARY_PATH, counts for the workers too.
        let libraries = Set(
            under.journal.filter { $0["event"]?.text == "start" }
                .compactMap { $0["librdkafka"]?.text })
        #expect(libraries == ["\(LibraryVersion.running)"])
        print("real broker: \(RealBroker.home ?? ""), librdkafka of the workers: \(libraries)")
    }

    /// Runs all roles over 300 impressions in two pieces and ends them by a signal.
    private func worked(_ under: FleetUnderTest, endWith number: Int32 = SIGTERM) throws {
        try startAll(under)
        for first in [0, 200] {
            try under.append(try under.writeInput(first == 0 ? 200 : 100, from: first))
            try under.drain()
        }
        for name in under.processes.names {
            under.processes.signal(name, number)
            _ = under.processes.wait(name)
        }
    }

    private func deleteRecords(_ under: FleetUnderTest, _ topic: Topic, _ end: Int64? = nil) throws
    {
        let place = TopicPartition(under.fleet.topics[topic], 0)
        let last = try Offsets(under.fleet.client, group: "judge").offsets(of: [place])[place]!.end
        try Admin(under.fleet.client).deleteRecords(before: [Position(place, end ?? last)])
    }

    @Test func `records that retention took before they were processed are named, not skipped`()
        throws
    {
        let under = try FleetUnderTest(broker, events: 1, domainLog: 1)
        try worked(under)
        let committed = try under.progress("enrich", .events)
        try under.append(try under.writeInput(100, from: 300))
        try deleteRecords(under, .events, committed + 20)
        try under.start("enrich")
        #expect(under.processes.wait("enrich.0") == ExitCode.badData.rawValue)
        #expect(
            under.newestLines.contains(
                "the records at offsets \(committed) to \(committed + 19) were deleted"),
            "\(under.newestLines)")
        #expect(try under.progress("enrich", .events) == committed, "nothing went on")
    }

    @Test func `a log that begins behind the checkpoint is refused after a kill`() throws {
        let under = try FleetUnderTest(
            broker, events: 1, domainLog: 1, checkpointRecords: 1_000_000)
        try worked(under, endWith: SIGKILL)
        for (role, topic) in [("enrich", Topic.events), ("finetune", .domainLog)] {
            try deleteRecords(under, topic)
            try under.start(role)
            #expect(under.processes.wait("\(role).0") == ExitCode.badData.rawValue)
            #expect(
                under.newestLines.contains("retention has passed it, and offsets"),
                "\(under.newestLines)")
        }
    }

    /// Offsets that both step roles have committed, and where their logs end.
    private func committedAndEnd(_ under: FleetUnderTest) throws -> [[Int64]] {
        try [("enrich", Topic.events), ("finetune", .domainLog)].map { role, topic in
            let place = TopicPartition(under.fleet.topics[topic], 0)
            let offsets = try Offsets(under.fleet.client, group: "judge")
            return [try under.progress(role, topic), try offsets.offsets(of: [place])[place]!.end]
        }
    }

    @Test(arguments: [SIGTERM, SIGKILL])
    func `a fleet that was quiet until retention had emptied its logs goes on where it stood`(
        number: Int32
    ) throws {
        // Without ticks the last thing in both logs is the end of a transaction, which is no record.
        let under = try FleetUnderTest(
            broker, events: 1, domainLog: 1, checkpointRecords: 1_000_000,
            checkpointSeconds: number == SIGKILL ? 1 : 600)
        let more = ["--set", "tick_period_ms=0"]
        func start() throws {
            try under.start("encode")
            for role in ["enrich", "finetune"] { try under.start(role, more) }
        }
        try start()
        try under.append(try under.writeInput(200))
        try under.drain()
        if number == SIGKILL {
            try under.until(30, "position behind the last transactions") {
                try committedAndEnd(under).allSatisfy { $0[0] == $0[1] }
            }
        }
        for name in under.processes.names {
            under.processes.signal(name, number)
            _ = under.processes.wait(name)
        }
        for topic in [Topic.events, .domainLog] { try deleteRecords(under, topic) }
        let lines = under.journal.count
        try start()
        var rest = try under.writeInput(100, from: 200)
        rest.closes = true
        try under.append(rest)
        try under.drain()
        #expect(under.stopAll().allSatisfy { $0 == 0 }, "\(under.newestLines)")
        let replays = under.replays(after: lines)
        #expect(replays.count == 2 && replays.allSatisfy { $0 == 0 }, "\(replays)")
        #expect(try under.fleet.summary(heldBack: 0).labels == 300)
    }

    @Test(arguments: [Topic.events, .domainLog])
    func `another number of partitions is refused, and by up and topics apply as well`(
        topic: Topic
    ) throws {
        let under = try FleetUnderTest(broker, events: 2, domainLog: 2)
        try worked(under)
        let before = try Verifier(reading: under).records
        try Admin(under.fleet.client).grow(topic: under.fleet.topics[topic], to: 5)
        // Finetune has no right to look at events, and does not depend on them.
        for role in topic == .events ? ["enrich"] : ["enrich", "finetune"] {
            try under.start(role)
            #expect(under.processes.wait("\(role).0") == ExitCode.settings.rawValue)
            #expect(
                under.newestLines.contains("\(under.fleet.topics[topic]) has 5 partitions, not 2"),
                "\(under.newestLines)")
        }
        let up = try under.run(["up"])
        #expect(up.code == ExitCode.settings.rawValue, "\(up.lines)")
        // Whoever says that it has always been so is told that it has not.
        let told = try under.run(
            ["up", "--set", "topics.\(topic.name).partitions=5"]
                + ["--set", "topics.checkpoints.partitions=\(under.partitions(of: .checkpoints))"])
        #expect(told.code == ExitCode.settings.rawValue)
        #expect(told.lines.contains { $0.contains("the fleet began with 2") }, "\(told.lines)")
        let after = try Verifier(reading: under).records
        for output in [Topic.scores, .checkpoints, .texts] {
            #expect(after[output] == before[output], "nothing was written to \(output.name)")
        }
    }

    @Test(arguments: [("enrich", Topic.events), ("finetune", .domainLog)])
    func `a topic that was deleted and made again is refused with a sentence`(
        role: String, topic: Topic
    ) throws {
        let under = try FleetUnderTest(broker, events: 1, domainLog: 1)
        try worked(under)
        let admin = try Admin(under.fleet.client)
        let name = under.fleet.topics[topic]
        try admin.delete(topics: [name])
        try under.fleet.applyTopics { _ in }
        // Kafka forgets the group's offsets some time after their topic; before that the worker is told
        // that they are out of range, and is to be started again.
        var code: Int32? = ExitCode.restart.rawValue
        for _ in 0..<10 where code == ExitCode.restart.rawValue {
            try under.start(role)
            code = under.processes.wait("\(role).0")
        }
        #expect(code == ExitCode.badData.rawValue, "\(under.newestLines)")
        #expect(under.newestLines.contains("deleted and made again"), "\(under.newestLines)")
    }

    @Test func `up runs the fleet to its end, and again without doing anything twice`() throws {
        let under = try FleetUnderTest(broker, events: 2, domainLog: 1)
        var input = try under.writeInput(600)
        input.closes = true
        try FileManager.default.moveItem(
            atPath: input.events!, toPath: "\(under.folder)/events.jsonl")
        var outputs: [[String: Data]] = []
        for run in ["first", "second"] {
            let folder = "\(under.folder)/\(run)"
            let up = try under.run([
                "up", "--input", under.folder, "--output", folder, "--slots", "enrich=2",
            ])
            #expect(up.code == 0, "\(up.lines.suffix(20))")
            let summary = try JSONValue(
                parsing: try String(contentsOfFile: "\(folder)/summary.json", encoding: .utf8))
            #expect(summary["impressions"]?.integer == 600)
            #expect(summary["labels"]?.integer == 600)
            let files = try FileManager.default.contentsOfDirectory(atPath: folder)
                .filter { $0.hasSuffix(".jsonl") }
            #expect(files.count == 6)
            outputs.append(
                try files.reduce(into: [:]) {
                    $0[$1] = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\($1)"))
                })
        }
        #expect(outputs[0] == outputs[1])
        try expectNone(Verifier(reading: under).differences())
    }
}
