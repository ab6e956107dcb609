// Sketches: how far from the truth they may be, and that halves of a stream join.

import DeterministicMath
import Statistics
import Testing

@Suite struct HyperLogLogTests {
    @Test func `registers merge exactly`() {
        var random = Random(seed: 1)
        checkLaw(
            HyperLogLog.self, size: 2_048, inputs: (0..<5_000).map { _ in random.next() },
            cut: 2_000,
            feed: { $0.add($1) })
    }

    @Test func `nothing is 0, one is 1, and adding again changes nothing`() {
        var sketch = HyperLogLog()
        #expect(sketch.estimate == 0)
        sketch.add(7)
        #expect(abs(sketch.estimate - 1) < 0.01)
        let once = bytes(of: sketch)
        sketch.add(7)
        #expect(bytes(of: sketch) == once)
    }

    @Test func `the error is 2.3 % at every size, without bias`() {
        for size in [10, 100, 1_000, 4_000, 10_000, 50_000] {
            var squares = 0.0
            var sum = 0.0
            let runs = 40
            for run in 0..<runs {
                var sketch = HyperLogLog()
                // Sequential ids: the worst that a caller may bring.
                for i in 0..<size { sketch.add(UInt64(run) << 40 + UInt64(i)) }
                let error = sketch.estimate / Double(size) - 1
                sum += error
                squares += error * error
            }
            let deviation = (squares / Double(runs)).squareRoot()
            #expect(deviation < 0.03, "\(size) different: \(deviation)")
            #expect(
                abs(sum / Double(runs)) < 0.012, "\(size) different: bias \(sum / Double(runs))")
        }
    }
}

@Suite struct HeavyHittersTests {
    /// Keys with weights like 1 / rank.
    static func stream(_ count: Int, keys: Int, seed: UInt64) -> [UInt64] {
        var random = Random(seed: seed)
        let limit = Math.log(Double(keys))
        return (0..<count).map { _ in UInt64(Math.exp(random.uniform() * limit)) }
    }

    @Test func `while every key has a counter it counts exactly and merges exactly`() {
        let stream = Self.stream(2_000, keys: 60, seed: 1)
        var truth: [UInt64: Double] = [:]
        var whole = HeavyHitters<64>()
        var halves = [HeavyHitters<64>(), HeavyHitters<64>()]
        for (i, key) in stream.enumerated() {
            truth[key, default: 0] += 1
            whole.add(key)
            halves[i % 2].add(key)
        }
        var merged = halves[0]
        merged.merge(halves[1])
        for (key, weight) in truth {
            let exact = HeavyHitter(key: key, weight: weight, error: 0)
            #expect(whole.find(key) == exact && merged.find(key) == exact)
        }
        #expect(whole.top(64) == merged.top(64) && merged.totalWeight == 2_000)
        #expect(bytes(of: HeavyHitters<64>()).allSatisfy { $0 == 0 })
        #expect(MemoryLayout<HeavyHitters<64>>.size == 64 * 24 + 8)
    }

    @Test(arguments: 1...10 as ClosedRange<UInt64>)
    func `bounds hold for every key, fed or merged, and no heavy key is missed`(seed: UInt64) {
        let stream = Self.stream(20_000, keys: 50_000, seed: seed)
        var truth: [UInt64: Double] = [:]
        var fed = HeavyHitters<64>()
        var parts = [HeavyHitters<64>(), HeavyHitters<64>(), HeavyHitters<64>()]
        for (i, key) in stream.enumerated() {
            truth[key, default: 0] += 1
            fed.add(key)
            parts[i % 3].add(key)
        }
        var merged = parts[0]
        merged.merge(parts[1])
        merged.merge(parts[2])
        for (name, sketch) in [("fed", fed), ("merged", merged)] {
            #expect(sketch.totalWeight == 20_000)
            let bound = 20_000.0 / 64
            for hitter in sketch.top(64) {
                let weight = truth[hitter.key] ?? 0
                #expect(weight <= hitter.weight, "\(name), seed \(seed)")
                #expect(weight >= hitter.weight - hitter.error, "\(name), seed \(seed)")
                #expect(hitter.error <= bound, "\(name), seed \(seed)")
            }
            for (key, weight) in truth {
                if sketch.find(key) == nil {
                    #expect(weight <= sketch.lightestWeight, "\(name) missed \(key), seed \(seed)")
                }
            }
            let ten = truth.sorted { $0.value != $1.value ? $0.value > $1.value : $0.key < $1.key }
                .prefix(5)
            #expect(sketch.top(5).map(\.key) == ten.map(\.key), "\(name), seed \(seed)")
        }
    }

    @Test func `a new key takes over the lightest counter and owns its weight as an error`() {
        var sketch = HeavyHitters<4>()
        for key in [9, 9, 3, 3, 7, 7, 5] as [UInt64] { sketch.add(key) }
        sketch.add(1)
        #expect(sketch.find(5) == nil)
        #expect(sketch.find(1) == HeavyHitter(key: 1, weight: 2, error: 1))
        sketch.add(0, weight: 2.5)
        #expect(sketch.top(1) == [HeavyHitter(key: 0, weight: 4.5, error: 2)])
    }

    @Test func `key 0 and heavy additions keep the order`() {
        var random = Random(seed: 12)
        var sketch = HeavyHitters<16>()
        var truth: [UInt64: Double] = [:]
        for _ in 0..<500 {
            let key = UInt64(random.below(16))
            let weight = Double(1 + random.below(50))
            sketch.add(key, weight: weight)
            truth[key, default: 0] += weight
        }
        #expect(truth.allSatisfy { sketch.find($0) == HeavyHitter(key: $0, weight: $1, error: 0) })
        #expect(sketch.lightestWeight == truth.values.min())
    }

    @Test func `faded weights let a new favourite pass an old one`() {
        var sketch = HeavyHitters<8>()
        for _ in 0..<100 { sketch.add(1) }
        for _ in 0..<10 { sketch.fade(by: 0.5) }
        for _ in 0..<3 { sketch.add(2) }
        #expect(sketch.top(2).map(\.key) == [2, 1])
        sketch.add(3, weight: 0)
        sketch.add(3, weight: .nan)
        #expect(sketch.find(3) == nil)
    }
}

@Suite struct QuantileSketchTests {
    @Test func `buckets merge exactly`() {
        var random = Random(seed: 2)
        checkLaw(
            QuantileSketch.self, size: 2_080,
            inputs: (0..<3_000).map { _ in random.exponential() * 1e4 },
            cut: 1_234, feed: { $0.add($1) })
    }

    @Test(arguments: 1...5 as ClosedRange<UInt64>)
    func `every quantile is within 2 % of the true one`(seed: UInt64) {
        var random = Random(seed: seed)
        var sketch = QuantileSketch()
        // Delays with a heavy tail: from a millisecond to days.
        let values = (0..<10_000).map { _ in max(1, min(9.9e8, Math.exp(7 + 2.5 * random.normal())))
        }
        for value in values { sketch.add(value) }
        let sorted = values.sorted()
        for q in [0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1] {
            let truth = sorted[Int(q * 9_999)]
            #expect(abs(sketch.quantile(q)! / truth - 1) <= 0.0201, "quantile \(q), seed \(seed)")
        }
        #expect(sketch.count == 10_000)
    }

    @Test func `the smallest and the largest values have buckets of their own`() {
        var sketch = QuantileSketch()
        #expect(sketch.quantile(0.5) == nil)
        for value in [0, -5, 0.99, .nan, 1e12, .infinity] { sketch.add(value) }
        #expect(sketch.quantile(0) == 0 && sketch.quantile(0.5) == 0 && sketch.quantile(1) == 1e9)
        var one = QuantileSketch()
        one.add(1)
        #expect(abs(one.quantile(0.5)! - 1) <= 0.0201)
    }
}

@Suite struct CountMinSketchTests {
    @Test(arguments: 1...5 as ClosedRange<UInt64>)
    func `no estimate is below the truth, fed or merged, and few are far above`(seed: UInt64) {
        let stream = HeavyHittersTests.stream(50_000, keys: 20_000, seed: seed)
        var truth: [UInt64: UInt32] = [:]
        var fed = CountMinSketch<4096>()
        var parts = (CountMinSketch<4096>(), CountMinSketch<4096>())
        for (i, key) in stream.enumerated() {
            truth[key, default: 0] += 1
            fed.add(key)
            if i % 2 == 0 { parts.0.add(key) } else { parts.1.add(key) }
        }
        parts.0.merge(parts.1)
        let bound = UInt32(2.718281828 * 50_000 / 1_024)
        var far = 0
        for (key, count) in truth {
            #expect(fed.estimate(key) >= count, "seed \(seed)")
            #expect(parts.0.estimate(key) >= count, "seed \(seed)")
            if fed.estimate(key) > count + bound { far += 1 }
        }
        #expect(
            Double(far) <= 0.0183 * Double(truth.count), "\(far) of \(truth.count), seed \(seed)")
        #expect(MemoryLayout<CountMinSketch<4096>>.size == 16_384)
    }

    @Test func `a key seen once is 1, and halving forgets it`() {
        var sketch = CountMinSketch<1024>()
        #expect(bytes(of: sketch).allSatisfy { $0 == 0 })
        #expect(sketch.estimate(5) == 0)
        #expect(sketch.add(5) == 1)
        #expect(sketch.add(5, count: 4) == 5)
        sketch.halve()
        #expect(sketch.estimate(5) == 2)
        sketch.add(6, count: .max)
        #expect(sketch.add(6) == .max)
    }
}

@Suite struct ReservoirTests {
    @Test func `a choice depends on seed and number alone`() {
        let choose = { (seen: UInt64, seed: UInt64) in
            Reservoir.uniformSlot(seen: seen, capacity: 64, seed: seed)
        }
        #expect((0..<64).allSatisfy { choose($0, 5) == Int($0) })
        #expect((64..<500).map { choose($0, 5) } == (64..<500).map { choose($0, 5) })
        #expect((64..<500).map { choose($0, 5) } != (64..<500).map { choose($0, 6) })
    }

    @Test func `a uniform sample keeps early and late values alike`() {
        var kept = [Int](repeating: 0, count: 40)
        for seed in 0..<5_000 as Range<UInt64> {
            var sample = [Int](repeating: 0, count: 4)
            for value in 0..<40 {
                if let slot = Reservoir.uniformSlot(seen: UInt64(value), capacity: 4, seed: seed) {
                    sample[slot] = value
                }
            }
            for value in sample { kept[value] += 1 }
        }
        #expect(kept.allSatisfy { abs($0 - 500) < 110 }, "\(kept)")
    }

    @Test func `a recent sample has the mean age it was asked for`() {
        var ageSum = 0.0
        for seed in 0..<200 as Range<UInt64> {
            var sample = [Int](repeating: 0, count: 16)
            for value in 0..<2_000 {
                if let slot = Reservoir.recentSlot(
                    seen: UInt64(value), capacity: 16, memory: 100, seed: seed)
                {
                    sample[slot] = value
                }
            }
            for value in sample { ageSum += Double(1_999 - value) }
        }
        let meanAge = ageSum / (200 * 16)
        #expect(abs(meanAge - 99) < 8, "mean age \(meanAge)")
    }
}
