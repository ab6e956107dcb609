// Two runs without faults leave the same files.

import Contracts
import EmbeddedFleet
import Foundation
import Simulation
import Testing

@Suite struct SameBytesTests {
    /// Runs a simulation into a folder.
    private func run(_ input: TestInput, _ layout: FleetLayout) throws -> TestFolder {
        let folder = TestFolder()
        let fleet = try input.fleet(layout)
        let files = try OutputFiles(fleet.log, folder: folder.path, keepsLog: false)
        try fleet.run(input.together) {
            try files.drain()
            try fleet.trim()
        }
        try files.finish()
        return folder
    }

    @Test(arguments: [(1, 1), (4, 3)])
    func `two runs leave the same files`(events: Int, domainLog: Int) throws {
        let simulation = SimulatedLog(.tiny(seed: 11, impressions: 1_500, domains: 5))
        let layout = FleetLayout(events: events, domainLog: domainLog, linesPerTurn: 200)
        let input = try TestInput(simulation)
        let one = try run(input, layout)
        let two = try run(TestInput(simulation), layout)
        for topic in OutputFiles.topics {
            let name = "\(topic.name).jsonl"
            let contents = one.contents(name)
            #expect(contents != nil && !contents!.isEmpty, "\(name) is empty")
            #expect(contents == two.contents(name), "\(name) differs")
        }
    }

    @Test func `how often commits happen changes nothing with one partition`() throws {
        let simulation = SimulatedLog(.tiny(seed: 12, impressions: 600, domains: 4))
        let input = try TestInput(simulation)
        let small = try TestInput(simulation).set([
            "roles.enrich.collect_records": "7", "roles.finetune.collect_records": "3",
            "roles.finetune.checkpoint_records": "11",
        ])
        let one = try input.fleet()
        try one.run(input.catalogFirst)
        let two = try small.fleet()
        try two.run(small.catalogFirst)
        let found = try Leavings(one.log).differences(Leavings(two.log))
        #expect(found.isEmpty, "\(found.joined(separator: "\n"))")
    }
}
