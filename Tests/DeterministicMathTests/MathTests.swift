// How far the functions of `Math` are from the truth, which Float80 of libm knows to 64 bits, and what
// they do at the edges.

import DeterministicMath
import Glibc
import Testing

/// Distance between a result and the truth in units of the last place of a Double.
private func ulps(_ value: Double, _ truth: Float80) -> Double {
    let rounded = Double(truth)
    if value == rounded || (value.isNaN && rounded.isNaN) { return 0 }
    let unit = max(Float80(rounded.ulp), Float80(Double.leastNonzeroMagnitude))
    return abs(Double((Float80(value) - truth) / unit))
}

private func ulps(_ value: Float, _ truth: Double) -> Double {
    let rounded = Float(truth)
    if value == rounded || (value.isNaN && rounded.isNaN) { return 0 }
    let unit = max(Double(rounded.ulp), Double(Float.leastNonzeroMagnitude))
    return abs((Double(value) - truth) / unit)
}

/// Samples that reach every scale: uniform in a range, and with uniform logarithm of the magnitude.
private func samples(_ range: ClosedRange<Double>, smallest: Double, seed: UInt64) -> [Double] {
    var random = Random(seed: seed)
    var values = [0, range.lowerBound, range.upperBound, smallest]
    let width = range.upperBound - range.lowerBound
    for _ in 0..<20_000 { values.append(range.lowerBound + width * random.uniform()) }
    let low = log(smallest)
    for sign in [-1.0, 1] {
        let limit = sign < 0 ? -range.lowerBound : range.upperBound
        guard limit > smallest else { continue }
        for _ in 0..<20_000 {
            values.append(sign * exp(low + (log(limit) - low) * random.uniform()))
        }
    }
    return values.filter { range.contains($0) }
}

private func worst(
    _ range: ClosedRange<Double>, smallest: Double = 1e-12, seed: UInt64 = 1,
    _ function: (Double) -> Double, _ truth: (Float80) -> Float80
) -> Double {
    samples(range, smallest: smallest, seed: seed)
        .map { ulps(function($0), truth(Float80($0))) }.max()!
}

private func worst(
    _ range: ClosedRange<Double>, smallest: Double = 1e-6, seed: UInt64 = 1,
    _ function: (Float) -> Float, _ truth: (Double) -> Double
) -> Double {
    samples(range, smallest: smallest, seed: seed)
        .map { ulps(function(Float($0)), truth(Double(Float($0)))) }.max()!
}

@Suite struct `Math on Double` {
    @Test func `exp is within 1 ulp from the smallest denormal to the largest number`() {
        #expect(
            worst(-745.5...709.78, { (x: Double) in Math.exp(x) }, { (x: Float80) in exp(x) }) <= 1)
    }

    @Test func `exp2 is within 1.5 ulp and exact at integers`() {
        #expect(
            worst(-1075.5...1023.99, { (x: Double) in Math.exp2(x) }, { (x: Float80) in exp2(x) })
                <= 1.5)
        for k in -1074...1023 { #expect(Math.exp2(Double(k)) == scalbn(1.0, k)) }
    }

    @Test func `expm1 is within 2 ulp, near zero too`() {
        #expect(
            worst(
                -60...709, smallest: 1e-300, { (x: Double) in Math.expm1(x) },
                { (x: Float80) in expm1(x) }) <= 2)
        #expect(
            worst(
                -2...2, smallest: 1e-300, { (x: Double) in Math.expm1(x) },
                { (x: Float80) in expm1(x) }) <= 2)
    }

    @Test func `log is within 1 ulp at every scale, denormals too`() {
        #expect(
            worst(
                0...1e308, smallest: .leastNonzeroMagnitude, { (x: Double) in Math.log(x) },
                { (x: Float80) in log(x) }) <= 1)
        #expect(worst(0.25...4, { (x: Double) in Math.log(x) }, { (x: Float80) in log(x) }) <= 1)
    }

    @Test func `log1p is within 2 ulp, near zero and near minus one too`() {
        #expect(
            worst(
                -1...1e300, smallest: 1e-300, { (x: Double) in Math.log1p(x) },
                { (x: Float80) in log1p(x) }) <= 2)
        #expect(
            worst(
                -0.999999...2, smallest: 1e-20, { (x: Double) in Math.log1p(x) },
                { (x: Float80) in log1p(x) }) <= 2)
    }

    @Test func `sigmoid and softplus are within 2 ulp, logit within 3`() {
        #expect(
            worst(
                -740...40, { (x: Double) in Math.sigmoid(x) }, { (x: Float80) in 1 / (1 + exp(-x)) }
            ) <= 2)
        #expect(
            worst(
                -740...740, { (x: Double) in Math.softplus(x) },
                { (x: Float80) in x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)) }) <= 2)
        let truth = { (p: Float80) in
            p > 0.25 && p < 0.75 ? log1p((2 * p - 1) / (1 - p)) : log(p / (1 - p))
        }
        #expect(worst(0...1, smallest: 1e-300, { (p: Double) in Math.logit(p) }, truth) <= 3)
        #expect(worst(0.2...0.8, { (p: Double) in Math.logit(p) }, truth) <= 3)
    }

    @Test func `logit undoes sigmoid`() {
        for x in samples(-30...4, smallest: 1e-9, seed: 3) {
            #expect(abs(Math.logit(Math.sigmoid(x)) - x) <= 1e-14 * (1 + abs(x)))
        }
    }

    @Test func `edges are those of IEEE 754`() {
        let (zero, one, infinity) = (0.0, 1.0, Double.infinity)
        let least = Double.leastNonzeroMagnitude
        let edges: [(name: String, value: Double, expected: Double)] = [
            ("exp", Math.exp(-infinity), zero), ("exp", Math.exp(infinity), infinity),
            ("exp", Math.exp(zero), one), ("exp", Math.exp(-zero), one),
            ("exp", Math.exp(709.79), infinity), ("exp", Math.exp(-745.14), zero),
            ("exp", Math.exp(-745.13), least),
            ("exp2", Math.exp2(1024.0), infinity), ("exp2", Math.exp2(-1076.0), zero),
            ("expm1", Math.expm1(-infinity), -one), ("expm1", Math.expm1(infinity), infinity),
            ("expm1", Math.expm1(-zero), -zero), ("expm1", Math.expm1(zero), zero),
            ("log", Math.log(zero), -infinity), ("log", Math.log(-zero), -infinity),
            ("log", Math.log(one), zero), ("log", Math.log(infinity), infinity),
            ("log1p", Math.log1p(-one), -infinity), ("log1p", Math.log1p(infinity), infinity),
            ("log1p", Math.log1p(-zero), -zero), ("log1p", Math.log1p(least), least),
            ("sigmoid", Math.sigmoid(infinity), one), ("sigmoid", Math.sigmoid(-infinity), zero),
            ("softplus", Math.softplus(infinity), infinity),
            ("softplus", Math.softplus(-infinity), zero),
            ("logit", Math.logit(zero), -infinity), ("logit", Math.logit(one), infinity),
            ("logit", Math.logit(0.5), zero),
        ]
        for (i, edge) in edges.enumerated() {
            #expect(edge.value.bitPattern == edge.expected.bitPattern, "\(edge.name), edge \(i)")
        }
        #expect(Math.exp(709.78) < infinity)
    }

    @Test func `every NaN is the same NaN`() {
        let infinity = Double.infinity
        let results: [Double] = [
            Math.exp(Double.nan), Math.exp(-Double.nan), Math.exp2(Double.signalingNaN),
            Math.expm1(-Double.nan),
            Math.log(-1), Math.log(-infinity), Math.log(-Double.nan), Math.log1p(-1.5),
            Math.log1p(-Double.nan), Math.sigmoid(-Double.nan), Math.softplus(-Double.nan),
            Math.logit(-0.1), Math.logit(1.1), Math.logit(-Double.nan),
            Math.logit(infinity), Math.logit(-infinity),
        ]
        for (i, result) in results.enumerated() {
            #expect(result.bitPattern == Double.nan.bitPattern, "result \(i) is \(result)")
        }
    }

    @Test func `known inputs have known bits`() {
        // Golden: any machine, build or compiler that differs here would break replay.
        var digest: UInt64 = 0
        for x in samples(-740...700, smallest: 1e-9, seed: 7) {
            digest = SplitMix64.mix(digest ^ Math.exp(x).bitPattern)
            digest = SplitMix64.mix(digest ^ Math.log(abs(x)).bitPattern)
            digest = SplitMix64.mix(digest ^ Math.log1p(abs(x)).bitPattern)
            digest = SplitMix64.mix(digest ^ Math.sigmoid(x).bitPattern)
            digest = SplitMix64.mix(digest ^ Math.softplus(x).bitPattern)
            digest = SplitMix64.mix(digest ^ Math.exp2(x).bitPattern)
            digest = SplitMix64.mix(digest ^ Math.logit(Math.sigmoid(x)).bitPattern)
            digest = SplitMix64.mix(digest ^ UInt64(Math.exp(Float(x)).bitPattern))
            digest = SplitMix64.mix(digest ^ UInt64(Math.log(abs(Float(x))).bitPattern))
        }
        #expect(digest == 188_348_942_146_361_612)
    }
}

@Suite struct `Math on Float` {
    @Test func `exp and log are within 1 ulp, exp2 within 1.5, denormals too`() {
        #expect(worst(-104...88.7, { (x: Float) in Math.exp(x) }, { (x: Double) in exp(x) }) <= 1)
        #expect(
            worst(-150...127.9, { (x: Float) in Math.exp2(x) }, { (x: Double) in exp2(x) }) <= 1.5)
        #expect(
            worst(
                0...3e38, smallest: 1.5e-45, { (x: Float) in Math.log(x) },
                { (x: Double) in log(x) }) <= 1)
        #expect(worst(0.25...4, { (x: Float) in Math.log(x) }, { (x: Double) in log(x) }) <= 1)
    }

    @Test func `log1p, sigmoid and softplus are within 2 ulp, logit within 3`() {
        #expect(
            worst(
                -1...1e30, smallest: 1e-30, { (x: Float) in Math.log1p(x) },
                { (x: Double) in log1p(x) }) <= 2)
        #expect(
            worst(
                -100...20, { (x: Float) in Math.sigmoid(x) }, { (x: Double) in 1 / (1 + exp(-x)) })
                <= 2)
        #expect(
            worst(-100...100, { (x: Float) in Math.softplus(x) }, { (x: Double) in log1p(exp(x)) })
                <= 2)
        #expect(
            worst(
                0...1, smallest: 1e-30, { (x: Float) in Math.logit(x) },
                { (x: Double) in log(x / (1 - x)) }) <= 3)
    }

    @Test func `edges are those of IEEE 754`() {
        let (zero, one, infinity) = (Float(0), Float(1), Float.infinity)
        let edges: [(name: String, value: Float, expected: Float)] = [
            ("exp", Math.exp(-infinity), zero), ("exp", Math.exp(infinity), infinity),
            ("exp", Math.exp(Float(88.73)), infinity), ("exp", Math.exp(Float(-104)), zero),
            ("exp2", Math.exp2(Float(128)), infinity), ("exp2", Math.exp2(Float(-151)), zero),
            ("log", Math.log(zero), -infinity), ("log", Math.log(infinity), infinity),
            ("log1p", Math.log1p(-one), -infinity), ("log1p", Math.log1p(-zero), -zero),
            ("sigmoid", Math.sigmoid(infinity), one), ("sigmoid", Math.sigmoid(-infinity), zero),
            ("softplus", Math.softplus(infinity), infinity),
            ("softplus", Math.softplus(-infinity), zero),
            ("logit", Math.logit(zero), -infinity), ("logit", Math.logit(one), infinity),
            ("NaN", Math.exp(-Float.nan), .nan), ("NaN", Math.log(-one), .nan),
            ("NaN", Math.softplus(-Float.nan), .nan), ("NaN", Math.logit(Float(1.5)), .nan),
        ]
        for (i, edge) in edges.enumerated() {
            #expect(edge.value.bitPattern == edge.expected.bitPattern, "\(edge.name), edge \(i)")
        }
        #expect(Math.exp(Float(88.72)) < infinity)
    }
}

@Suite struct `Math on vectors and arrays` {
    let specials: [Double] = [
        0, -0.0, 1, -1, .infinity, -.infinity, .nan, .leastNonzeroMagnitude, 0x1p-1030, -0x1p-1030,
        709.7827, 800, -745.1,
        -800,
        1e300, 0.25, 0.5, 0.75, 1e-45, 88.72, 88.73, -103.9,
    ]

    @Test(arguments: [0, 1, 3, 4, 7, 8, 9, 31, 200])
    func `arrays have the bits of the scalar function, whatever their length`(count: Int) {
        var random = Random(seed: UInt64(count))
        let doubles = (0..<count).map { i in
            i % 3 == 0 ? specials[random.below(specials.count)] : random.normal() * 20
        }
        let floats = doubles.map { Float($0) }
        typealias Form<T> = (
            name: String, scalar: (T) -> T,
            array: (UnsafePointer<T>, Int, UnsafeMutablePointer<T>) -> Void
        )
        let onDouble: [Form<Double>] = [
            ("exp", { Math.exp($0) }, { Math.exp($0, count: $1, into: $2) }),
            ("exp2", { Math.exp2($0) }, { Math.exp2($0, count: $1, into: $2) }),
            ("log", { Math.log($0) }, { Math.log($0, count: $1, into: $2) }),
            ("log1p", { Math.log1p($0) }, { Math.log1p($0, count: $1, into: $2) }),
            ("sigmoid", { Math.sigmoid($0) }, { Math.sigmoid($0, count: $1, into: $2) }),
            ("softplus", { Math.softplus($0) }, { Math.softplus($0, count: $1, into: $2) }),
            ("logit", { Math.logit($0) }, { Math.logit($0, count: $1, into: $2) }),
        ]
        for form in onDouble {
            var out = doubles
            out.withUnsafeMutableBufferPointer {
                if let base = $0.baseAddress { form.array(base, count, base) }
            }
            #expect(
                out.map(\.bitPattern) == doubles.map { form.scalar($0).bitPattern }, "\(form.name)")
        }
        let onFloat: [Form<Float>] = [
            ("exp", { Math.exp($0) }, { Math.exp($0, count: $1, into: $2) }),
            ("exp2", { Math.exp2($0) }, { Math.exp2($0, count: $1, into: $2) }),
            ("log", { Math.log($0) }, { Math.log($0, count: $1, into: $2) }),
            ("log1p", { Math.log1p($0) }, { Math.log1p($0, count: $1, into: $2) }),
            ("sigmoid", { Math.sigmoid($0) }, { Math.sigmoid($0, count: $1, into: $2) }),
            ("softplus", { Math.softplus($0) }, { Math.softplus($0, count: $1, into: $2) }),
            ("logit", { Math.logit($0) }, { Math.logit($0, count: $1, into: $2) }),
        ]
        for form in onFloat {
            var out = [Float](repeating: -1, count: count)
            out.withUnsafeMutableBufferPointer { out in
                floats.withUnsafeBufferPointer {
                    if let base = $0.baseAddress { form.array(base, count, out.baseAddress!) }
                }
            }
            #expect(
                out.map(\.bitPattern) == floats.map { form.scalar($0).bitPattern }, "\(form.name)")
        }
    }

    @Test func `a sum is added in the documented order`() {
        var random = Random(seed: 5)
        let values = (0..<103).map { _ in random.normal() * 1e8 }
        var lanes = [0.0, 0, 0, 0]
        for (i, value) in values.enumerated() { lanes[i % 4] += value }
        #expect(Math.sum(values) == (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]))

        var eight = [Float](repeating: 0, count: 8)
        let floats = values.map { Float($0) }
        for (i, value) in floats.enumerated() { eight[i % 8] += value }
        let halves = (0..<4).map { eight[$0] + eight[$0 + 4] }
        #expect(Math.sum(floats) == (halves[0] + halves[2]) + (halves[1] + halves[3]))
        #expect(Math.sum([Double]()) == 0)
    }
}

@Suite struct `Forgetting` {
    @Test func `a half-life halves, two halve twice, and time that runs back changes nothing`() {
        let hour = HalfLife(seconds: 3600)
        #expect(hour.remainder(after: 3_600_000) == 0.5)
        #expect(hour.remainder(after: 7_200_000) == 0.25)
        #expect(hour.remainder(after: 0) == 1 && hour.remainder(after: -5) == 1)
        #expect(hour.remainder(after: .max) == 0)
    }

    @Test func `a table holds the same remainders and goes on behind its end`() {
        let halfLife = HalfLife(seconds: 2)
        let table = DecayTable(halfLife, step: 250, steps: 16)
        for step in 0..<40 {
            let elapsed = Int64(step) * 250
            #expect(table.remainder(after: elapsed) == halfLife.remainder(after: elapsed))
            #expect(table.remainder(after: elapsed + 249) == halfLife.remainder(after: elapsed))
        }
        #expect(table.remainder(after: -1) == 1)
    }
}
