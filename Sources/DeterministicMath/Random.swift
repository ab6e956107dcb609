// Random numbers that follow from a seed alone, on every machine: state of eight bytes that can lie in a
// checkpoint, and distributions made of `Math`.

/// The generator SplitMix64: one word of state, 2^64 values before it repeats.
///
/// - Source: G. Steele, D. Lea, C. Flood, Fast splittable pseudorandom number generators, OOPSLA 2014.
@frozen
public struct SplitMix64: RandomNumberGenerator, BitwiseCopyable, Equatable, Sendable {
    public var state: UInt64

    @inlinable @inline(__always)
    public init(seed: UInt64) { state = seed }

    @inlinable @inline(__always)
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        return SplitMix64.mix(state)
    }

    /// The generator's output function: a bijection of 64 bits in which every bit depends on every bit.
    @inlinable @inline(__always)
    public static func mix(_ x: UInt64) -> UInt64 {
        var z = x
        z = (z ^ (z &>> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z &>> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z &>> 31)
    }
}

/// Draws from distributions; equal seeds give equal draws on every machine.
///
/// Eight bytes. As a `RandomNumberGenerator` it also serves the standard library, but what
/// `randomElement`, `shuffled` and `Double.random` make of it may change with Swift: where bytes depend
/// on a draw, use the methods here.
@frozen
public struct Random: RandomNumberGenerator, BitwiseCopyable, Equatable, Sendable {
    public var generator: SplitMix64

    @inlinable @inline(__always)
    public init(seed: UInt64) { generator = SplitMix64(seed: seed) }

    /// A generator for one `stream` of several that share a seed.
    @inlinable @inline(__always)
    public init(seed: UInt64, stream: UInt64) {
        let spread = SplitMix64.mix(stream &+ 0x9E37_79B9_7F4A_7C15)
        generator = SplitMix64(seed: SplitMix64.mix(seed ^ spread))
    }

    /// 64 random bits.
    @inlinable @inline(__always)
    public mutating func next() -> UInt64 { generator.next() }

    /// A multiple of 2^−53 in 0 ..< 1, each equally likely.
    @inlinable @inline(__always)
    public mutating func uniform() -> Double { Double(next() &>> 11) * 0x1p-53 }

    /// An odd multiple of 2^−54 strictly between 0 and 1, for logarithms and quantiles.
    @inlinable @inline(__always)
    public mutating func openUniform() -> Double { (Double(next() &>> 12) + 0.5) * 0x1p-52 }

    /// A number in `range`, uniform.
    @inlinable
    public mutating func uniform(in range: Range<Double>) -> Double {
        range.lowerBound + (range.upperBound - range.lowerBound) * uniform()
    }

    /// An integer in 0 ..< n, each exactly equally likely.
    ///
    /// - Source: D. Lemire, Fast random integer generation in an interval, TOMACS 2019.
    @inlinable
    public mutating func below(_ n: Int) -> Int {
        precondition(n > 0, "there is no integer in 0 ..< \(n)")
        let bound = UInt64(n)
        var product = next().multipliedFullWidth(by: bound)
        if product.low < bound {
            let threshold = (0 &- bound) % bound
            while product.low < threshold { product = next().multipliedFullWidth(by: bound) }
        }
        return Int(product.high)
    }

    /// True with chance `p`.
    @inlinable
    public mutating func chance(_ p: Double) -> Bool { uniform() < p }

    /// A standard normal value, by the quantile of one uniform draw (|value| below 8.3).
    public mutating func normal() -> Double { Math.normalQuantile(openUniform()) }

    /// A value with density e^−x.
    public mutating func exponential() -> Double { -Math.log(openUniform()) }

    /// A value with the gamma distribution of `shape` > 0 and scale 1.
    ///
    /// - Source: G. Marsaglia, W. W. Tsang, A simple method for generating gamma variables, TOMS 2000.
    public mutating func gamma(shape: Double) -> Double {
        precondition(shape > 0, "a gamma distribution has a positive shape, not \(shape)")
        if shape < 1 {
            let boost = Math.exp(Math.log(openUniform()) / shape)
            return gamma(shape: shape + 1) * boost
        }
        let d = shape - 1.0 / 3
        let c = 1 / Math.sqrt(9 * d)
        while true {
            let x = normal()
            let root = 1 + c * x
            guard root > 0 else { continue }
            let v = root * root * root
            if Math.log(openUniform()) < 0.5 * x * x + d * (1 - v + Math.log(v)) { return d * v }
        }
    }

    /// A value with the beta distribution, of mean a / (a + b).
    public mutating func beta(_ a: Double, _ b: Double) -> Double {
        let x = gamma(shape: a)
        let y = gamma(shape: b)
        return x + y > 0 ? x / (x + y) : 0.5
    }

    /// How many of `n` tries of chance `p` succeed.
    public mutating func binomial(_ n: Int, _ p: Double) -> Int {
        var successes = 0
        for _ in 0..<n where chance(p) { successes += 1 }
        return successes
    }

    /// Puts the elements into random order, each of the orders equally likely (Fisher and Yates).
    public mutating func shuffle<Element>(_ elements: inout [Element]) {
        var remaining = elements.count
        while remaining > 1 {
            let i = below(remaining)
            remaining -= 1
            elements.swapAt(i, remaining)
        }
    }

    /// An element, each equally likely; nil of an empty array.
    public mutating func choose<Element>(from elements: [Element]) -> Element? {
        elements.isEmpty ? nil : elements[below(elements.count)]
    }

    /// The slot that the next value of a stream takes in a uniform sample, or nil where it is left out.
    ///
    /// - Parameters:
    ///   - seen: how many values came before.
    ///   - capacity: slots of the sample.
    /// - Source: J. S. Vitter, Random sampling with a reservoir, TOMS 1985, algorithm R.
    public mutating func reservoirSlot(seen: Int, capacity: Int) -> Int? {
        if seen < capacity { return seen }
        let i = below(seen + 1)
        return i < capacity ? i : nil
    }
}
