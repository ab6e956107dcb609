// Counts beyond 2^24, where a Float no longer counts by ones, and numbers that are none.

import Bytes
import DeterministicMath
import Foundation
import Testing

@testable import Finetune

@Suite struct LargeCountTests {
    private var hour: DomainParameters { DomainParameters() }

    @Test func `decayed counts go on counting beyond what a Float can`() {
        var counts = DecayedClicks()
        counts.add(impressions: 0x1p24, clicks: 0x1p24, at: 1_000, hour)
        for _ in 0..<3 { counts.add(impressions: 1, clicks: 0, at: 1_000, hour) }
        counts.add(impressions: 1, clicks: 1, at: 1_000, hour)
        for i in 0..<3 {
            #expect(counts.impressions[i] == 0x1p24 + 4)
            #expect(counts.clicks[i] == 0x1p24 + 1)
        }
        #expect(counts.impressions[3] == 0, "an unused half-life counts nothing")
    }

    /// Labels that come in equal steps are a geometric series.
    @Test(arguments: [10, 25, 40, 60_000]) func `fading is exact at any period of ticks`(
        period: Int64
    ) {
        var counts = DecayedClicks()
        let steps = 200_000
        for i in 0..<steps {
            counts.add(impressions: 1, clicks: 0.25, at: 1_000 + Int64(i) * period, hour)
        }
        for i in 0..<3 {
            let rate = log(2.0) * Double(period) / (Double(hour.halfLives[i]) * 1_000)
            let expected = expm1(-rate * Double(steps)) / expm1(-rate)
            #expect(abs(counts.impressions[i] / expected - 1) < 1e-9, "half-life \(i)")
            #expect(abs(counts.clicks[i] / counts.impressions[i] - 0.25) < 1e-12)
        }
        // And where nothing but ticks comes.
        let before = counts
        for i in 1...1_000 {
            counts.fade(to: before.time + Int64(i) * period, hour)
        }
        for i in 0..<3 {
            let left = exp2(-1_000 * Double(period) / (Double(hour.halfLives[i]) * 1_000))
            #expect(abs(counts.impressions[i] / before.impressions[i] - left) < 1e-12)
        }
    }

    /// Two items of which another partition tells 20 M labels each, and that share a tag.
    private func large() -> FinetuneRun {
        let run = FinetuneRun(partitions: 2, partition: 0)
        run.item("a", tags: ["shared", "old"])
        run.item("b", tags: ["shared"])
        run.prior(
            items: [("a", 20_000_000, 1_000_000), ("b", 20_000_000, 1_000_000)],
            total: (40_000_000, 2_000_000))
        for i in 0..<10 {
            for item in ["a", "b"] {
                run.impression("\(item)\(i)", item: item)
                run.label("\(item)\(i)", i == 0 ? 1 : 0)
            }
        }
        return run
    }

    private func tag(_ run: FinetuneRun, _ tag: String) -> TokenCounts {
        let bucket = Array(tag.utf8).lend { tag in
            Array("tags".utf8).lend { run.role.tokenBucket($0, tag) }
        }
        return run.state.tokens.elements[Int(bucket)]
    }

    @Test func `tokens count by ones beyond what a Float can, and give back what was theirs`() {
        let run = large()
        #expect(tag(run, "shared").impressions == 40_000_020)
        #expect(tag(run, "shared").clicks == 2_000_002)
        #expect(tag(run, "old").impressions == 20_000_010)
        #expect(run.clock.impressions == 40_000_025)
        run.item("a", tags: ["new"])
        #expect(tag(run, "shared").impressions == 20_000_010)
        #expect(tag(run, "shared").clicks == 1_000_001)
        #expect(tag(run, "old").impressions == 0 && tag(run, "old").clicks == 0)
        #expect(tag(run, "new").impressions == 20_000_010)
        run.tick(5_000)
        run.impression("last", item: "b")
        let global = run.clock.globalRate
        let expected = log(1_000_001.0 / 19_000_009) - log(global / (1 - global))
        #expect(abs(Double(run.dense("last")[HeadInput.contentRate]) - expected) < 1e-4)
        #expect(run.shared.allSatisfy(\.isFinite) && run.state.counters.unusableNumbers == 0)
    }

    @Test func `evidence of pairs and blocks counts by ones beyond what a Float can`() {
        var (pair, spread) = (PairEvidence(), PairSpread())
        (pair.surplus, pair.information) = (0x1p24, 0x1p24)
        for _ in 0..<4 { pair.add(1, 0.5, to: &spread) }
        #expect(pair.surplus == 0x1p24 + 2 && pair.information == 0x1p24 + 1)
        var cell = EffectCell()
        (cell.blockSurplus, cell.blockInformation, cell.blockSquares) = (0x1p24, 0x1p24, 0x1p24)
        cell.blockLabels = 1 << 32
        for _ in 0..<4 { cell.addToBlock(1, 0.5) }
        #expect(cell.blockSurplus == 0x1p24 + 2)
        #expect(cell.blockInformation == 0x1p24 + 1 && cell.blockSquares == 0x1p24 + 1)
        #expect(cell.blockLabels == 1 << 32 + 4)
    }

    // Numbers that are none

    @Test func `a shrunken rate has a logit whatever it is given`() {
        for (clicks, impressions) in [
            (-1e9, 10.0), (0, -6), (-2, -6), (.nan, 1), (1, .nan), (.infinity, .infinity),
            (1e300, 0),
        ] {
            let logit = Math.shrunkenLogit(clicks, impressions, strength: 6, towards: 0.2)
            #expect(logit.isFinite, "\(clicks) of \(impressions)")
        }
    }

    @Test func `inputs that are no numbers or beyond all bounds are unusable`() {
        let features = UnsafeMutablePointer<KeptFeatures>.allocate(capacity: 1)
        defer { features.deallocate() }
        for k in 0..<HeadInput.count + HeadInput.crossCount {
            for (value, isUsable) in [
                (0, true), (1e6, true), (-1e6, true), (1.1e6, false), (-1.1e6, false),
                (.nan, false),
                (.infinity, false), (-.infinity, false),
            ] as [(Float, Bool)] {
                features.initialize(to: KeptFeatures())
                if k < HeadInput.count {
                    features.dense[k] = value
                } else {
                    features.cross[k - HeadInput.count] = value
                }
                #expect(features.isUsable == isUsable, "\(value) as input \(k)")
                features.maskInputs()
                #expect(features.isUsable)
            }
        }
    }

    @Test func `what cannot be predicted is not learned from, and what learns stays finite`() {
        let run = FinetuneRun()
        run.impression("before", item: "a", user: 1)
        // As nothing does: a weight that is no number, which every prediction of the user meets.
        let bucket = Int(run.role.bucket(.user, UInt64(7)))
        run.state.hashed.elements[bucket].weight = .nan
        run.impression("i", item: "a", user: 7)
        #expect(run.logit("i") == Float(log(0.25)), "the global rate, 1 of 5")
        #expect(run.state.counters.unusableNumbers == 1)
        let before = (run.shared, run.own(), run.cross, run.biases().own, run.biases().final)
        run.label("i", 1)
        run.tick(5_000)
        #expect(run.state.counters.unusableNumbers == 2 && run.clock.examplesLearned == 0)
        #expect(run.shared == before.0 && run.own() == before.1 && run.cross == before.2)
        #expect(run.biases().own == before.3 && run.biases().final == before.4)
        #expect(run.item(row: "a").evidence.expected.isFinite)
        run.label("before", 0)
        run.tick(6_000)
        #expect(run.clock.examplesLearned == 1, "the others are learned from")
        #expect(run.shared != before.0 && run.shared.allSatisfy(\.isFinite))
        #expect(run.values(.scores).last!["score"]!.double!.isFinite)
    }

    @Test(arguments: [1e15, 1.1e15, 1e300])
    func `a prior with numbers beyond all bounds does not count, and the next one does`(
        number: Double
    ) {
        let isUsable = number <= 1e15
        var numbers = [Double](repeating: 0, count: HeadInput.toldWeights)
        numbers[3] = number
        func check(_ name: String, _ prior: (FinetuneRun) -> Void) {
            let run = FinetuneRun(partitions: 2, partition: 0)
            run.item("a", tags: ["t"])
            prior(run)
            #expect(run.state.counters.unusableNumbers == (isUsable ? 0 : 1), "\(name)")
            if !isUsable { #expect(run.item(row: "a").impressions == 0, "\(name)") }
            let before = run.item(row: "a").impressions
            run.prior(items: [("a", 4, 1)], total: (4, 1))
            #expect(run.item(row: "a").impressions == before + 4, "\(name)")
            run.impression("i", item: "a")
            run.label("i", 1)
            run.tick(9_000)
            #expect(run.shared.allSatisfy(\.isFinite) && run.logit("i").isFinite, "\(name)")
            #expect(run.hashed.allSatisfy { $0.weight.isFinite && $0.accumulator.isFinite })
        }
        check("labels") { $0.prior(items: [("a", number, 1)], total: (4, 1)) }
        check("total") { $0.prior(items: [("a", 4, 1)], total: (number, 1)) }
        for name in ["gradient", "square"] {
            check(name) {
                $0.prior(
                    items: [("a", 4, 1)], total: (4, 1),
                    weights: [
                        ("gradient", name == "gradient" ? numbers : numbers.map { _ in 1 }),
                        ("square", name == "square" ? numbers : numbers.map { _ in 1 }),
                    ], examples: 4)
            }
        }
    }
}
