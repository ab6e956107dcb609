// What the label rules are worth on heavy-tailed delays, and whether the published uncertainty is true.

import Bytes
import Contracts
import EmbeddedFleet
import FleetSettings
import Foundation
import JSON
import Simulation
import Streams
import Testing

/// One standard simulation that has run through a fleet; the tests below look at it.
private final class StandardRun: @unchecked Sendable {
    let simulation: SimulatedLog
    let fleet: EmbeddedFleet
    let prequential: Prequential
    let settings: FleetSettings

    #if DEBUG
        static let impressions = 20_000
    #else
        static let impressions = 200_000
    #endif

    static let seed1 = Result { try StandardRun(seed: 1) }

    init(seed: UInt64) throws {
        var plan = SimulationSettings()
        plan.seed = seed
        plan.impressions = Self.impressions
        if Self.impressions < 100_000 {
            plan.users = 3_000
            plan.items = 600
        }
        simulation = SimulatedLog(plan)
        let input = try TestInput(simulation).set(["hash_bits": "18"])
        let fleet = try input.fleet()
        var prequential = Prequential()
        try fleet.run(input.together) {
            try prequential.drain(fleet.log, keepsLog: false)
            try fleet.log.compact(after: 32 << 20)
        }
        try prequential.drain(fleet.log, keepsLog: false)
        self.fleet = fleet
        self.prequential = prequential
        settings = input.settings
    }

    /// The domain-log as it would be if clicks became labels when they come, and only silence waited.
    func positivesAtOnce() throws -> [[UInt8]] {
        struct Click {
            var time: Int64
            var label: Int
            var impression: Hash128
        }
        var records: [[UInt8]] = []
        var clicks: [Click] = []
        /// By record: of an impression its id, and its time.
        var shows: [(id: Hash128, time: Int64)?] = []
        let reader = DomainLogReader()
        try fleet.log.read(Topic.domainLog, partition: 0) { record in
            let bytes = record.value!
            switch try reader.read(bytes) {
            case .impression:
                shows.append((Hash128(reader.impression.impression_id), reader.impression.time_ms))
            case .label:
                let label = reader.label
                if label.value == 1, label.revision == 0, label.task == .click,
                    let time = label.click_time_ms
                {
                    clicks.append(
                        Click(
                            time: time, label: records.count,
                            impression: Hash128(label.impression_id)))
                }
                shows.append(nil)
            default: shows.append(nil)
            }
            records.append(bytes.copy())
        }
        clicks.sort { ($0.time, $0.label) < ($1.time, $1.label) }
        var shown: Set<Hash128> = []
        var moved: Set<Int> = []
        var next = 0
        var now: Int64 = 0
        var log: [[UInt8]] = []
        for i in records.indices {
            if let show = shows[i] {
                shown.insert(show.id)
                now = max(now, show.time)
            }
            if !moved.contains(i) { log.append(records[i]) }
            while next < clicks.count, clicks[next].time <= now {
                // A click whose impression came late, or that was labeled already, stays where it is.
                if clicks[next].label > i, shown.contains(clicks[next].impression) {
                    moved.insert(clicks[next].label)
                    log.append(records[clicks[next].label])
                }
                next += 1
            }
        }
        return log
    }
}

@Suite(.serialized) struct LabelRuleTests {
    @Test
    func `the first fifth of a new domain is calibrated, and is not where positives come at once`()
        throws
    {
        let run = try StandardRun.seed1.get()
        let domain = "new-cards"
        let ours = Prequential.calibration(Prequential.firstFifth(run.prequential.of(domain)))

        let again = FinetuneAgain(
            run.settings, layout: run.fleet.layout, partition: 0, keepsOutputs: false)
        var atOnce = Prequential()
        for (i, bytes) in try run.positivesAtOnce().enumerated() {
            for (topic, value) in again.step(bytes, offset: Int64(i)) where topic == .examples {
                atOnce.take(try JSONValue(parsing: value))
            }
        }
        let theirs = Prequential.calibration(Prequential.firstFifth(atOnce.of(domain)))
        print(
            """
            first fifth of \(domain) (\(run.prequential.of(domain).count / 5) impressions): mean \
            prediction over click rate \(ours) with both classes labeled when the window closes, \
            \(theirs) with positives at once; over all \
            \(Prequential.calibration(run.prequential.predictions)) and \
            \(Prequential.calibration(atOnce.predictions)), AUC \
            \(Prequential.auc(run.prequential.predictions)) and \(Prequential.auc(atOnce.predictions))
            """)
        #if !DEBUG
            #expect((0.9...1.1).contains(ours))
            #expect(abs(theirs - 1) > abs(ours - 1))
        #endif
    }

    @Test func `90 percent intervals cover the truth with few labels and with many`() throws {
        let run = try StandardRun.seed1.get()
        var published: [String: (score: Double, std: Double, labels: Int64)] = [:]
        try run.fleet.log.read(Topic.scores, partition: 0) { record in
            guard let bytes = record.value else {
                published[record.key!.text] = nil
                return
            }
            let value = try JSONValue(parsing: bytes)
            guard value["query"]!.text == nil else { return }
            published["\(value["domain"]!.text!)/click/-/\(value["item_id"]!.text!)"] = (
                value["score"]!.double!, value["score_std"]!.double!, value["labels"]!.integer!
            )
        }
        func lo(_ p: Double) -> Double { log(p / (1 - p)) }
        var table: [String: (covered: Int, count: Int, std: Double, miss: Double)] = [:]
        let names = ["0", "1-9", "10-99", "100+"]
        for line in run.simulation.truthItems {
            let truth = try line.lend { try JSONValue(parsing: $0) }
            guard truth["query"]!.text == nil else { continue }
            let domain = truth["domain"]!.text!
            guard let score = published["\(domain)/click/-/\(truth["item_id"]!.text!)"] else {
                continue
            }
            let bin = score.labels == 0 ? 0 : score.labels < 10 ? 1 : score.labels < 100 ? 2 : 3
            let miss = lo(score.score) - lo(truth["probability"]!.double!)
            for key in ["all \(names[bin])", "\(domain) \(names[bin])"] {
                var row = table[key] ?? (0, 0, 0, 0)
                row.count += 1
                if abs(miss) <= 1.645 * score.std { row.covered += 1 }
                row.std += score.std * score.std
                row.miss += miss * miss
                table[key] = row
            }
        }
        for key in table.keys.sorted() {
            let row = table[key]!
            let n = Double(row.count)
            print(
                "coverage of 90 % intervals, \(key) labels: \(Double(row.covered) / n) of \(row.count) items, "
                    + "std \((row.std / n).squareRoot()), misses by \((row.miss / n).squareRoot())")
        }
        #if !DEBUG
            for name in names {
                let row = try #require(table["all \(name)"])
                let share = Double(row.covered) / Double(row.count)
                #expect((0.85...0.95).contains(share), "\(name) labels: \(share) of \(row.count)")
            }
        #endif
    }
}
