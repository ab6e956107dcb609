// Draws that follow from a seed, and distributions that have the moments they should.

import DeterministicMath
import Testing

/// Mean and variance of `count` draws.
private func moments(_ count: Int, _ draw: () -> Double) -> (mean: Double, variance: Double) {
    var sum = 0.0
    var squares = 0.0
    for _ in 0..<count {
        let x = draw()
        sum += x
        squares += x * x
    }
    let mean = sum / Double(count)
    return (mean, squares / Double(count) - mean * mean)
}

@Suite struct `Random draws` {
    static let seed: UInt64 = 20_240_917

    @Test func `SplitMix64 gives the published sequence`() {
        var generator = SplitMix64(seed: 1_234_567)
        let expected: [UInt64] = [
            6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
            4_593_380_528_125_082_431, 16_408_922_859_458_223_821,
        ]
        #expect(expected == (0..<5).map { _ in generator.next() })
    }

    @Test func `equal seeds give equal draws and streams of one seed differ`() {
        var a = Random(seed: 9)
        var b = Random(seed: 9)
        #expect((0..<100).map { _ in a.normal() } == (0..<100).map { _ in b.normal() })
        var first = Random(seed: 9, stream: 0)
        var second = Random(seed: 9, stream: 1)
        #expect(first.next() != second.next())
    }

    @Test func `integers below n are equally likely`() {
        var random = Random(seed: Self.seed)
        var counts = [Int](repeating: 0, count: 7)
        for _ in 0..<70_000 { counts[random.below(7)] += 1 }
        // χ² with 6 degrees of freedom exceeds 22.5 once in a thousand seeds.
        let chiSquare = counts.map {
            let d = Double($0 - 10_000); return d * d / 10_000
        }.reduce(0, +)
        #expect(chiSquare < 22.5, "seed \(Self.seed)")
        #expect(random.below(1) == 0)
    }

    @Test func `distributions have their mean and variance`() {
        var random = Random(seed: Self.seed)
        let n = 100_000
        func check(_ name: String, _ draw: () -> Double, mean: Double, variance: Double) {
            let (m, v) = moments(n, draw)
            #expect(
                abs(m - mean) < 5 * (variance / Double(n)).squareRoot(),
                "\(name), seed \(Self.seed)")
            #expect(abs(v - variance) < 0.05 * variance, "\(name), seed \(Self.seed)")
        }
        check("uniform", { random.uniform() }, mean: 0.5, variance: 1.0 / 12)
        check("normal", { random.normal() }, mean: 0, variance: 1)
        check("exponential", { random.exponential() }, mean: 1, variance: 1)
        check("gamma 2.5", { random.gamma(shape: 2.5) }, mean: 2.5, variance: 2.5)
        check("gamma 0.3", { random.gamma(shape: 0.3) }, mean: 0.3, variance: 0.3)
        check("beta", { random.beta(2, 6) }, mean: 0.25, variance: 0.25 * 0.75 / 9)
        check("binomial", { Double(random.binomial(10, 0.3)) }, mean: 3, variance: 2.1)
    }

    @Test func `a shuffle keeps the elements and every order is as likely`() {
        var random = Random(seed: Self.seed)
        var orders: [[Int]: Int] = [:]
        for _ in 0..<60_000 {
            var elements = [1, 2, 3]
            random.shuffle(&elements)
            orders[elements, default: 0] += 1
        }
        #expect(orders.count == 6)
        #expect(orders.values.allSatisfy { abs($0 - 10_000) < 450 }, "seed \(Self.seed)")
    }

    @Test func `a reservoir keeps every value of the stream with the same chance`() {
        var random = Random(seed: Self.seed)
        var kept = [Int](repeating: 0, count: 50)
        for _ in 0..<10_000 {
            var sample = [Int](repeating: 0, count: 5)
            for value in 0..<50 {
                if let slot = random.reservoirSlot(seen: value, capacity: 5) {
                    sample[slot] = value
                }
            }
            for value in sample { kept[value] += 1 }
        }
        #expect(kept.allSatisfy { abs($0 - 1_000) < 150 }, "seed \(Self.seed): \(kept)")
    }

    @Test func `choosing from nothing gives nothing`() {
        var random = Random(seed: 1)
        #expect(random.choose(from: [Int]()) == nil)
        #expect(random.choose(from: [4]) == 4)
    }
}
