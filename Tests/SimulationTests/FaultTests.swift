// What a bad logging pipeline does to the log, and what it leaves alone.

import Bytes
import Contracts
import Testing

@testable import Simulation

@Suite struct FaultTests {
    func settings(_ faults: FaultPlan) -> SimulationSettings {
        .tiny(seed: 4, impressions: 3_000, domains: 5, faults: faults)
    }

    @Test func `faults change the log, never what happened`() {
        let clean = SimulatedLog(settings(.none))
        let faulty = SimulatedLog(settings(.harsh))
        let cleanLines = Set(clean.events)
        let good = faulty.events.filter { cleanLines.contains($0) }
        #expect(good.count == faulty.events.count - faulty.tally.broken)
        #expect(faulty.tally.impressions + faulty.tally.lost == clean.tally.impressions)
        #expect(Set(faulty.truth).isSubset(of: clean.truth))
        #expect(faulty.truth.count == faulty.tally.impressions)
        #expect(faulty.truthItems == clean.truthItems)
        #expect(
            good.count - Set(good).count == faulty.tally.duplicates, "duplicates are equal bytes")
        #expect(faulty.tally.orphans > 0)
        #expect(
            faulty.tally.clicksByWindow.reduce(0, +) + faulty.tally.orphans
                >= faulty.tally.clicks)
    }

    @Test func `each fault comes at about its rate`() {
        let log = SimulatedLog(settings(.harsh))
        let plan = FaultPlan.harsh
        let lines = Double(log.tally.impressionLines + log.tally.clicks + log.tally.conversions)
        func isNear(_ count: Int, _ rate: Double) -> Bool {
            abs(Double(count) - rate * lines) < 5 * (rate * lines).squareRoot()
        }
        #expect(isNear(log.tally.duplicates, plan.duplicates))
        #expect(isNear(log.tally.reordered, plan.reordered))
        #expect(isNear(log.tally.late, plan.late))
        #expect(isNear(log.tally.broken, plan.broken))
    }

    @Test func `reordered lines stay within the lateness and late ones do not`() throws {
        var faults = FaultPlan.none
        faults.reordered = 0.2
        let reordered = try read(SimulatedLog(settings(faults)).events)
        var newest = Int64.min
        var outOfOrder = 0
        for event in reordered {
            newest = max(newest, event.time)
            outOfOrder += event.time < newest ? 1 : 0
            #expect(newest - event.time < 2_000)
        }
        #expect(outOfOrder > 20)
        faults.late = 0.1
        newest = .min
        var late = 0
        for event in try read(SimulatedLog(settings(faults)).events) {
            newest = max(newest, event.time)
            late += newest - event.time > 2_000 ? 1 : 0
        }
        #expect(late > 20)
    }

    /// Kinds that only somebody with a clock, or with the record's headers, can tell from good ones.
    static let readable: Set<BrokenKind> = [.time_far_ahead, .foreign_tick]

    @Test(arguments: BrokenKind.allCases)
    func `a broken record is refused by the reader`(kind: BrokenKind) throws {
        let log = SimulatedLog(settings(.none))
        let reader = EventReader()
        for line in log.events.prefix(400) {
            let broken = kind.break(line)
            #expect(broken != line)
            #expect(!broken.contains(UInt8(ascii: "\n")), "it must stay one line")
            let isRefused = broken.lend { bytes in
                do throws(ContractError) {
                    try reader.read(bytes)
                    return false
                } catch { return true }
            }
            #expect(
                isRefused != Self.readable.contains(kind),
                "\(String(decoding: broken, as: UTF8.self))")
        }
    }
}
