// Counting, forgetting and shrinking.

import DeterministicMath
import Statistics
import Testing

@Suite struct CountsTests {
    @Test func `counts merge exactly and a correction adds the click alone`() {
        checkLaw(
            Counts.self, size: 16, inputs: (0..<100).map { $0 % 7 == 0 }, cut: 33,
            feed: { $0.add(clicked: $1) })
        var counts = Counts(impressions: 4, clicks: 1)
        counts.correct()
        #expect(counts == Counts(impressions: 4, clicks: 2))
    }

    @Test func `position rows merge exactly; unknown is row 0 and the far end shares row 24`() {
        checkLaw(
            PositionTable.self, size: 400, inputs: Array(0..<500), cut: 100,
            feed: { $0.add(clicked: $1 % 3 == 0, row: PositionTable.row(of: $1 % 30)) })
        #expect(
            [nil, -1, 0, 1, 23, 24, 25, 1_000].map { PositionTable.row(of: $0) } == [
                0, 0, 0, 1, 23, 24, 24, 24,
            ])
    }

    @Test
    func `a position's bias is shrunken: nothing seen is none, much seen is the log odds ratio`() {
        var table = PositionTable()
        #expect(table.bias(row: 1) == 0)
        table.rows[1] = Counts(impressions: 100_000, clicks: 30_000)
        table.rows[2] = Counts(impressions: 100_000, clicks: 10_000)
        table.rows[3] = Counts(impressions: 10, clicks: 10)
        #expect(table.bias(row: 9) == 0)
        #expect(abs(table.bias(row: 1) - (Math.logit(0.3) - Math.logit(0.2))) < 0.01)
        #expect(abs(table.bias(row: 2) - (Math.logit(0.1) - Math.logit(0.2))) < 0.01)
        #expect(
            table.bias(row: 3) > 0 && table.bias(row: 3) < 0.5, "ten clicks of ten are no proof")
    }
}

@Suite struct DecayedCountsTests {
    let hour = HalfLife(seconds: 3600)

    @Test func `half is forgotten after a half-life`() {
        var row = DecayedCounts()
        row.add(clicked: true, at: 1_700_000_000_000, halfLife: hour)
        row.add(clicked: false, at: 1_700_000_000_000, halfLife: hour)
        let later = row.value(at: 1_700_003_600_000, halfLife: hour)
        #expect(later.impressions == 1 && later.clicks == 0.5)
        #expect(row.impressions == 2, "looking changes nothing")
    }

    @Test func `a late record counts as now and does not move time back`() {
        var row = DecayedCounts()
        row.add(clicked: false, at: 10_000_000, halfLife: hour)
        row.add(clicked: true, at: 3_000_000, halfLife: hour)
        #expect(row.time == 10_000_000 && row.impressions == 2 && row.clicks == 1)
        #expect(row.value(at: 0, halfLife: hour) == row)
    }

    @Test func `a row is plain memory of 24 bytes and zeros are nothing`() {
        #expect(MemoryLayout<DecayedCounts>.stride == 24)
        #expect(bytes(of: DecayedCounts()) == [UInt8](repeating: 0, count: 24))
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func `merging equals feeding within 1e-12 when what is merged is newer`(seed: UInt64) {
        var random = Random(seed: seed)
        var time: Int64 = 1_700_000_000_000
        let inputs = (0..<400).map { _ -> (Int64, Bool) in
            time += Int64(random.below(200_000))
            return (time, random.chance(0.2))
        }
        var whole = DecayedCounts()
        var first = DecayedCounts()
        var second = DecayedCounts()
        for (i, (time, clicked)) in inputs.enumerated() {
            whole.add(clicked: clicked, at: time, halfLife: hour)
            if i < 150 {
                first.add(clicked: clicked, at: time, halfLife: hour)
            } else {
                second.add(clicked: clicked, at: time, halfLife: hour)
            }
        }
        for (a, b) in [(first, second), (second, first)] {
            var merged = a
            merged.merge(b, halfLife: hour)
            #expect(merged.time == whole.time, "seed \(seed)")
            #expect(
                abs(merged.impressions - whole.impressions) <= 1e-12 * whole.impressions,
                "seed \(seed)")
            #expect(abs(merged.clicks - whole.clicks) <= 1e-12 * whole.clicks, "seed \(seed)")
        }
        var direct = 0.0
        for (then, _) in inputs { direct += Math.exp2(-Double(time - then) / 3_600_000) }
        #expect(abs(whole.impressions - direct) < 1e-10 * direct, "seed \(seed)")
    }

    @Test func `what is forgotten falls back to the prior`() {
        var row = DecayedCounts()
        for _ in 0..<50 { row.add(clicked: true, at: 0, halfLife: hour) }
        let prior = BetaPrior(mean: 0.1, strength: 10)
        #expect(row.rate(at: 0, halfLife: hour, prior: prior) > 0.8)
        #expect(abs(row.rate(at: 360_000_000, halfLife: hour, prior: prior) - 0.1) < 1e-9)
    }
}

@Suite struct BetaPriorTests {
    @Test
    func `an unseen item has the prior's rate, a seen one moves to its own, never to certainty`() {
        let prior = BetaPrior(mean: 0.2, strength: 6)
        #expect(abs(prior.rate(Counts()) - 0.2) < 1e-15)
        #expect(prior.rate(Counts(impressions: 6, clicks: 6)) == (6 + 1.2) / 12)
        #expect(prior.rate(Counts(impressions: 1_000_000, clicks: 1_000_000)) == 0.98)
        #expect(BetaPrior(mean: 0, strength: 1).rate(Counts(impressions: 9, clicks: 0)) == 1e-6)
    }

    @Test func `doubt shrinks with impressions, and the delta method agrees where clicks are many`()
    {
        let prior = BetaPrior(mean: 0.1, strength: 6)
        var last = Double.infinity
        for n in [0.0, 1, 10, 100, 1_000, 10_000] {
            let variance = prior.logitVariance(clicks: n / 10, impressions: n)
            #expect(variance < last)
            last = variance
        }
        let exact = prior.logitVariance(clicks: 500, impressions: 5_000)
        let delta = prior.deltaLogitVariance(clicks: 500, impressions: 5_000)
        #expect(abs(exact / delta - 1) < 0.01)
        // What the documentation of logitVariance says.
        #expect(abs(prior.logitVariance(clicks: 0, impressions: 0) - 3.84) < 0.01)
        #expect(abs(prior.deltaLogitVariance(clicks: 0, impressions: 0) - 1.85) < 0.01)
    }

    @Test(arguments: [(0.1, 6.0), (0.05, 20.0), (0.3, 4.0), (0.2, 50.0)])
    func `of items drawn from the prior, nine of ten lie in the interval of 1.645 deviations`(
        mean: Double, strength: Double
    ) {
        var random = Random(seed: 11)
        let prior = BetaPrior(mean: mean, strength: strength)
        for impressions in [0, 3, 30, 300] {
            var inside = 0
            for _ in 0..<4_000 {
                let rate = random.beta(strength * mean, strength * (1 - mean))
                let clicks = Double(random.binomial(impressions, rate))
                let n = Double(impressions)
                let center = Math.logit(prior.rate(clicks: clicks, impressions: n))
                let half = 1.645 * prior.logitVariance(clicks: clicks, impressions: n).squareRoot()
                if abs(Math.logit(max(rate, 1e-300)) - center) <= half { inside += 1 }
            }
            let coverage = Double(inside) / 4_000
            #expect(
                coverage >= 0.85 && coverage <= 0.95,
                "\(impressions) impressions: \(coverage), seed 11")
        }
    }
}
