// Caps of a hundredth of the load: the run finishes, evictions are counted, memory stays flat.

import Contracts
import EmbeddedFleet
import Finetune
import Simulation
import Streams
import Testing

@Suite struct CapTests {
    #if DEBUG
        private static let impressions = 4_000
    #else
        private static let impressions = 100_000
    #endif

    @Test func `at small caps the run finishes, evictions are counted and memory stays flat`()
        throws
    {
        var plan = SimulationSettings()
        plan.impressions = Self.impressions
        plan.users = Self.impressions / 5
        plan.items = max(1_500, Self.impressions / 20)
        plan.queries = 1_000
        let simulation = SimulatedLog(plan)
        let input = try TestInput(simulation)
        for cap in [
            "users_max", "items_max", "open_impressions_max", "queries_max", "duplicates_max",
            "waiting_clicks_max",
        ] { _ = try input.set(["roles.enrich.\(cap)": "1000"]) }
        for cap in ["items_max", "open_impressions_max", "queries_max", "corrections_max"] {
            _ = try input.set(["roles.finetune.\(cap)": "1000"])
        }
        _ = try input.set(["roles.finetune.checkpoint_records": "5000"])
        let layout = FleetLayout(events: 1, domainLog: 1, linesPerTurn: 500)
        let fleet = try input.fleet(layout)
        let folder = TestFolder()
        let files = try OutputFiles(fleet.log, folder: folder.path, keepsLog: false)
        var samples: [(log: Int, enrich: Int, finetune: Int)] = []
        try fleet.run(input.together) {
            try files.drain()
            try fleet.trim()
            samples.append(
                (
                    fleet.log.allocatedBytes, fleet.enrich.state(of: 0)!.allocatedBytes,
                    fleet.finetune.state(of: 0)!.tables.reduce(0) { $0 + $1.allocatedBytes }
                ))
        }
        try files.finish()
        let summary = RunSummary(fleet)
        #expect(
            summary.used + summary.duplicates + summary.orphans + summary.deadLetters
                == Int64(input.lines))
        #expect(summary.evictions > Int64(Self.impressions / 100))
        #expect(fleet.finetune.state(of: 0)!.counters.evictions > 0)
        let half = samples.count / 2
        let (first, second) = (samples[..<half], samples[half...])
        print(
            """
            caps of 1,000 rows, \(Self.impressions) impressions: \(summary.evictions) evictions; bytes at \
            most in the first and second half: enrich \(first.map(\.enrich).max()!), \
            \(second.map(\.enrich).max()!), finetune \(first.map(\.finetune).max()!), \
            \(second.map(\.finetune).max()!), log \(first.map(\.log).max()!), \(second.map(\.log).max()!)
            """)
        func isFlat(_ bytes: ((log: Int, enrich: Int, finetune: Int)) -> Int) -> Bool {
            Double(second.map(bytes).max()!) <= 1.1 * Double(first.map(bytes).max()!)
        }
        #if !DEBUG
            #expect(isFlat { $0.enrich })
            #expect(isFlat { $0.finetune })
            #expect(second.map(\.log).max()! < 200 << 20)
        #endif
    }
}
