// The invariants of design §4 that need the whole fleet, one test each.

import Bytes
import Contracts
import EmbeddedFleet
import Finetune
import JSON
import Simulation
import Streams
import Testing

@Suite struct InvariantTests {
    private func simulation(_ seed: UInt64, impressions: Int = 800) -> SimulatedLog {
        SimulatedLog(.tiny(seed: seed, impressions: impressions, domains: 5))
    }

    private func forEachValue(
        _ log: MemoryLog, _ topic: Topic, _ body: (JSONValue) throws -> Void
    ) throws {
        for partition in 0..<log.partitionCount(topic) {
            try log.read(topic, partition: partition) { record in
                if let value = record.value { try body(JSONValue(parsing: value)) }
            }
        }
    }

    @Test(arguments: [(1, 1), (4, 3)])
    func `every input line ends as exactly one thing`(events: Int, domainLog: Int) throws {
        let simulation = simulation(31)
        let input = try TestInput(simulation)
        let fleet = try input.fleet(FleetLayout(events: events, domainLog: domainLog))
        try fleet.run(input.together)
        let summary = RunSummary(fleet)
        #expect(summary.events == Int64(input.lines))
        #expect(
            summary.used + summary.duplicates + summary.orphans + summary.deadLetters
                == Int64(input.lines))
        #expect(summary.duplicates > 0 && summary.orphans > 0 && summary.deadLetters > 0)
        var letters: Int64 = 0
        try forEachValue(fleet.log, .deadLetters) { _ in letters += 1 }
        #expect(letters == summary.deadLetters)
    }

    @Test(arguments: [(1, 1), (4, 3)])
    func `every impression gets exactly one first label per task of its domain`(
        events: Int, domainLog: Int
    ) throws {
        let input = try TestInput(simulation(32)).set([
            "domains.home-feed.tasks": #"["click","conversion"]"#
        ])
        let fleet = try input.fleet(FleetLayout(events: events, domainLog: domainLog))
        try fleet.run(input.together)
        var shown: [String: Int] = [:]
        var labeled: [String: Int] = [:]
        var clicked: [String: Int] = [:]
        var converted: [String: Int] = [:]
        try forEachValue(fleet.log, .domainLog) { record in
            guard let id = record["impression_id"]?.text else { return }
            if record["kind"]!.text == "impression" {
                shown[id, default: 0] += 1
            } else if record["task"]!.text == "click" {
                if record["revision"]!.integer == 0 { labeled[id, default: 0] += 1 }
                if record["value"]!.integer == 1, record["domain"]!.text == "home-feed" {
                    clicked[id, default: 0] += 1
                }
            } else if record["domain"]!.text == "home-feed", record["revision"]!.integer == 0 {
                converted[id, default: 0] += 1
            }
        }
        #expect(shown == labeled)
        #expect(clicked.keys.sorted() == converted.keys.sorted())
        #expect(converted.values.allSatisfy { $0 == 1 })
        #expect(!converted.isEmpty)
    }

    @Test func `replay from the start and from a snapshot gives the same hashes`() throws {
        let input = try TestInput(simulation(33)).set(["roles.finetune.collect_records": "40"])
        let layout = FleetLayout(events: 2, domainLog: 2, linesPerTurn: 60)
        let fleet = try input.fleet(layout)
        let folder = TestFolder()
        let path = "\(folder.path)/made.snapshot"
        var turns = 0
        var made: Snapshot?
        try fleet.run(input.together) {
            turns += 1
            if turns == 4 { made = try fleet.finetune.writeSnapshot(of: 1, to: path) }
        }
        let snapshot = try #require(made)
        let whole = try fleet.finetune.replay(from: nil, partition: 1, upTo: nil)
        let rest = try fleet.finetune.replay(from: path, partition: 1, upTo: nil)
        #expect(whole.outputHash == fleet.finetune.outputHash(of: 1))
        #expect(rest.outputHash == whole.outputHash)
        #expect(rest.ordinal == whole.ordinal && snapshot.ordinal < whole.ordinal)
        #expect(whole.points.count > 10, "finetune says where its publish points are")
        #expect(rest.points == whole.points.filter { $0.ordinal > snapshot.ordinal })
        let found = FinetuneAgain.differences(rest.state, whole.state)
        #expect(found.isEmpty, "\(found)")
    }

    @Test func `a published score is computed again by replay to the ordinal it names`() throws {
        let input = try TestInput(simulation(34))
        let fleet = try input.fleet()
        try fleet.run(input.together)
        let published = try Leavings.records(fleet.log, .scores, 0).filter { !$0.hasSuffix("gone") }
        #expect(published.count > 200)
        for at in stride(from: 7, to: published.count, by: published.count / 6) {
            let text = published[at].drop { $0 != "{" }
            let ordinal = try JSONValue(parsing: String(text))["ordinal"]!.integer!
            let again = FinetuneAgain(input.settings, layout: fleet.layout, partition: 0)
            try again.run(over: fleet.log, upTo: ordinal - 1)
            let before = again.outputs["scores"]?.count ?? 0
            try again.run(over: fleet.log, upTo: ordinal)
            let given = again.outputs["scores"]![before...]
            #expect(given.contains(published[at]), "ordinal \(ordinal)")
        }
    }
}
