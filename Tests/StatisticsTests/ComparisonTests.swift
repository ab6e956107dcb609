// Drift between two times and differences between two arms.

import DeterministicMath
import Statistics
import Testing

@Suite struct PredictionDriftTests {
    let day = HalfLife(seconds: 86_400)

    @Test func `the same traffic stays below what sampling makes, shifted traffic is seen`() {
        var drift = PredictionDrift()
        #expect(drift.stabilityIndex == nil)
        for example in traffic(20_000, seed: 1) {
            drift.add(logit: example.logit, at: 0, halfLife: day)
        }
        drift.keepAsReference()
        #expect(drift.stabilityIndex == 0)

        // A hundred half-lives later what was recent is gone, so only new traffic is compared.
        let later: Int64 = 8_640_000_000
        var same = drift
        for example in traffic(5_000, seed: 2) {
            same.add(logit: example.logit, at: later, halfLife: day)
        }
        #expect(same.stabilityIndex! < 3 * same.expectedWithoutDrift!, "seed 2")
        #expect(same.stabilityIndex! < 0.1)

        var shifted = drift
        for example in traffic(5_000, seed: 3, center: -1.5) {
            shifted.add(logit: example.logit, at: later, halfLife: day)
        }
        #expect(shifted.stabilityIndex! > 0.5, "seed 3")
    }

    @Test func `the index is the sum over cells of share differences times log ratios`() {
        var drift = PredictionDrift()
        for _ in 0..<30 { drift.add(logit: -0.25, at: 5, halfLife: day) }
        for _ in 0..<10 { drift.add(logit: 0.25, at: 5, halfLife: day) }
        drift.keepAsReference()
        for _ in 0..<40 { drift.add(logit: 0.25, at: 5, halfLife: day) }
        let (p, q) = (30.5 / 56, 30.5 / 96)
        let (r, s) = (10.5 / 56, 50.5 / 96)
        let expected = (q - p) * Math.log(q / p) + (s - r) * Math.log(s / r)
        #expect(abs(drift.stabilityIndex! - expected) < 1e-12)
    }

    @Test func `it is plain memory, and merging joins both sides within 1e-12`() {
        #expect(MemoryLayout<PredictionDrift>.stride == 520)
        #expect(bytes(of: PredictionDrift()).allSatisfy { $0 == 0 })
        var whole = PredictionDrift()
        var parts = (PredictionDrift(), PredictionDrift())
        for (i, example) in traffic(1_000, seed: 4).enumerated() {
            let time = Int64(i) * 60_000
            whole.add(logit: example.logit, at: time, halfLife: day)
            if i < 400 {
                parts.0.add(logit: example.logit, at: time, halfLife: day)
            } else {
                parts.1.add(logit: example.logit, at: time, halfLife: day)
            }
        }
        for part in [(parts.0, parts.1), (parts.1, parts.0)] {
            var merged = part.0
            merged.merge(part.1, halfLife: day)
            var (a, b) = (merged, whole)
            a.keepAsReference()
            b.keepAsReference()
            for example in traffic(100, seed: 5) {
                a.add(logit: example.logit, at: whole.time, halfLife: day)
                b.add(logit: example.logit, at: whole.time, halfLife: day)
            }
            #expect(abs(a.stabilityIndex! - b.stabilityIndex!) < 1e-12)
        }
    }
}

@Suite struct ConfidenceSequenceTests {
    /// Differences between two arms' clicks on the same impressions.
    static func difference(_ random: inout Random, gain: Double) -> Double {
        (random.chance(0.1 + gain) ? 1 : 0) - (random.chance(0.1) ? 1.0 : 0)
    }

    @Test func `in 400 runs looked at after every value, at most 5 % ever miss the truth`() {
        var misses = 0
        for seed in 1...400 as ClosedRange<UInt64> {
            var random = Random(seed: seed)
            var sequence = ConfidenceSequence()
            for _ in 0..<600 {
                sequence.add(Self.difference(&random, gain: 0.02))
                if !sequence.interval().contains(0.02) {
                    misses += 1
                    break
                }
            }
        }
        #expect(misses <= 20, "\(misses) of 400")
    }

    @Test func `a difference is found in time, and none is not found`() {
        var found = 0
        for seed in 1...20 as ClosedRange<UInt64> {
            var random = Random(seed: seed)
            var sequence = ConfidenceSequence()
            for _ in 0..<20_000 { sequence.add(Self.difference(&random, gain: 0.03)) }
            let interval = sequence.interval()
            if interval.lowerBound > 0 { found += 1 }
            #expect(interval.upperBound - interval.lowerBound < 0.03, "seed \(seed)")
        }
        #expect(found >= 19, "\(found) of 20")
    }

    @Test func `it is narrower where values vary less, and for a larger alpha`() {
        var random = Random(seed: 2)
        var calm = ConfidenceSequence()
        var wild = ConfidenceSequence()
        for _ in 0..<2_000 {
            let sign = random.chance(0.5) ? 1.0 : -1
            calm.add(0.1 * sign)
            wild.add(sign)
        }
        let width = { (interval: ClosedRange<Double>) in interval.upperBound - interval.lowerBound }
        #expect(width(calm.interval()) < 0.3 * width(wild.interval()))
        #expect(width(wild.interval(alpha: 0.2)) < width(wild.interval(alpha: 0.01)))
        #expect(ConfidenceSequence().interval() == -1...1 && ConfidenceSequence().mean == nil)
    }

    @Test func `two merged halves hold the truth too, in at most 5 % of 300 runs not`() {
        var misses = 0
        for seed in 1...300 as ClosedRange<UInt64> {
            var random = Random(seed: seed)
            var parts = (ConfidenceSequence(), ConfidenceSequence())
            for _ in 0..<400 {
                parts.0.add(Self.difference(&random, gain: 0.05))
                parts.1.add(Self.difference(&random, gain: 0.05))
            }
            parts.0.merge(parts.1)
            #expect(parts.0.count == 800)
            if !parts.0.interval().contains(0.05) { misses += 1 }
        }
        #expect(misses <= 15, "\(misses) of 300")
    }

    @Test func `it is plain memory and takes values from outside`() {
        #expect(MemoryLayout<ConfidenceSequence>.stride == 48)
        #expect(bytes(of: ConfidenceSequence()).allSatisfy { $0 == 0 })
        var sequence = ConfidenceSequence()
        for value in [5, -5, .nan, Double.infinity, -Double.infinity] { sequence.add(value) }
        #expect(sequence.mean == 0 && sequence.interval().contains(0))
    }
}
