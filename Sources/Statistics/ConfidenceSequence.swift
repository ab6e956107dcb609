// How sure a comparison is, valid however often one looks and whenever one stops.

import DeterministicMath

/// An interval for the mean of values in −1 … 1, such as differences between two arms, that holds at all
/// times at once. 48 bytes.
///
/// With chance 1 − α the true mean lies in *every* interval from the first value to the last, so one may
/// look after each and stop when 0 is out. On x = (value + 1) / 2 it is the predictable plug-in empirical
/// Bernstein sequence: `Σλx / Σλ ± (log(2/α) + Σ 4 (x − μ̂)² ψ(λ)) / Σλ` with ψ(λ) = (−log(1 − λ) − λ) / 4,
/// μ̂ and λ from the values before. Its width approaches that of a normal interval times about
/// √(log t) for the right to look always. λ is tuned for α = 0.05; any α may be asked.
///
/// Values may depend on the past, as long as each has the same mean given it. Values outside are held at
/// the ends, NaN counts as 0.
///
/// Merging adds the sums: valid for streams independent of each other with one mean (the product of their
/// martingales is one), though not the numbers of feeding, since weights depend on what came before.
///
/// - Source: I. Waudby-Smith, A. Ramdas, Estimating means of bounded random variables by betting, JRSS B
///   2023, theorem 2; S. R. Howard et al., Time-uniform, nonparametric, nonasymptotic confidence
///   sequences, Annals of Statistics 2021.
@frozen
public struct ConfidenceSequence: Mergeable, Equatable {
    public var count: UInt64
    @usableFromInline var sum: Double
    @usableFromInline var squares: Double
    @usableFromInline var weight: Double
    @usableFromInline var weightedSum: Double
    @usableFromInline var variation: Double

    @inlinable
    public init() {
        count = 0
        sum = 0
        squares = 0
        weight = 0
        weightedSum = 0
        variation = 0
    }

    /// Adds a value in −1 … 1.
    @inlinable
    public mutating func add(_ value: Double) {
        let held = value > -1 ? (value < 1 ? value : 1) : (value == value ? -1 : 0)
        let x = (held + 1) / 2
        let t = Double(count) + 1
        // Mean and variance of the values before, with one pseudo-value of mean ½ and variance ¼.
        let mean = (0.5 + sum) / t
        let variance = (0.25 + squares) / t
        let logTwoOverAlpha = 3.6888794541139363  // at α = 0.05
        let tuned = Math.sqrt(2 * logTwoOverAlpha / (variance * t * Math.log1p(t)))
        let lambda = tuned < 0.5 ? tuned : 0.5
        let deviation = x - mean
        weight += lambda
        weightedSum += lambda * x
        variation += deviation * deviation * (-Math.log1p(-lambda) - lambda)
        sum += x
        count &+= 1
        let meanAfter = (0.5 + sum) / (t + 1)
        squares += (x - meanAfter) * (x - meanAfter)
    }

    @inlinable
    public mutating func merge(_ other: ConfidenceSequence) {
        count &+= other.count
        sum += other.sum
        squares += other.squares
        weight += other.weight
        weightedSum += other.weightedSum
        variation += other.variation
    }

    /// The mean of all values; nil without values.
    public var mean: Double? { count > 0 ? 2 * sum / Double(count) - 1 : nil }

    /// The interval of this moment; all intervals together hold the mean with chance 1 − `alpha`.
    public func interval(alpha: Double = 0.05) -> ClosedRange<Double> {
        precondition(alpha > 0 && alpha < 1, "alpha lies between 0 and 1, not at \(alpha)")
        guard weight > 0 else { return -1...1 }
        let center = weightedSum / weight
        let half = (Math.log(2 / alpha) + variation) / weight
        return max(2 * (center - half) - 1, -1)...min(2 * (center + half) - 1, 1)
    }
}
