// Injected crashes: a fleet that dies again and again at the places a seed chooses, and comes back.

import DeterministicMath
import EmbeddedFleet
import Gateway
import Streams

/// Kills simulated processes at the log's crash points and starts them anew.
final class Storm {
    private var random: SplitMix64
    /// Crashes are injected until there were so many.
    private let limit: Int
    private var asked = 0
    private(set) var points: [CrashPoint: Int] = [:]
    /// Records that enrich and finetune stepped over again when they came back.
    private(set) var replayed: (enrich: Int64, finetune: Int64) = (0, 0)

    var crashes: Int { points.values.reduce(0, +) }

    init(seed: UInt64, limit: Int = 25) {
        random = SplitMix64(seed: seed &* 0x9E37)
        self.limit = limit
    }

    /// Asked by the log at every crash point.
    func strikes(_ point: CrashPoint) -> Bool {
        guard crashes < limit else { return false }
        // Recoveries pass their point once for every 16 records that they read.
        let chance: UInt64 = point == .recovery ? 4 : 60
        asked += 1
        // The first one comes soon, whatever the dice say.
        guard random.next() % 1_000 < chance || crashes == 0 && asked > 40 else { return false }
        points[point, default: 0] += 1
        return true
    }

    /// Runs inputs to their ends through the storm.
    func run(_ fleet: EmbeddedFleet, _ inputs: [IngestInput]) throws {
        fleet.log.crashes = { [unowned self] in strikes($0) }
        defer { fleet.log.crashes = nil }
        for input in inputs {
            try survive(fleet) { try fleet.begin(input) }
            var goesOn = true
            while goesOn {
                goesOn = true
                try survive(fleet) { goesOn = try fleet.turn() }
            }
        }
        note(fleet)
    }

    /// After a crash everything starts anew and drains before the input goes on: the order in which
    /// the roles have their turns stays that of a run without crashes.
    private func survive(_ fleet: EmbeddedFleet, _ body: () throws -> Void) throws {
        do {
            try body()
        } catch is Crash {
            while true {
                note(fleet)
                do {
                    try fleet.restart()
                    try fleet.drain()
                    return
                } catch is Crash {}
            }
        }
    }

    private func note(_ fleet: EmbeddedFleet) {
        for recovery in fleet.enrich.takeRecoveries() { replayed.enrich += recovery.replayed }
        for recovery in fleet.finetune.takeRecoveries() { replayed.finetune += recovery.replayed }
    }
}
