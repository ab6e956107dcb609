// What is believed of a click rate before and after its item was shown.

import DeterministicMath

/// A belief about click rates: a beta distribution by its mean and by how many impressions it weighs.
///
/// An item of which nothing is known has the rate `mean`; each impression moves it, and after `strength`
/// impressions data and belief weigh the same: `rate(c, n) = (c + strength · mean) / (n + strength)`,
/// the mean of the posterior Beta(strength · mean + c, strength · (1 − mean) + n − c). 16 bytes.
///
/// - Source: the posterior is conjugate (e.g. Gelman et al., Bayesian Data Analysis, §2.4); formulas of
///   the features are those of the foundation's wide part.
@frozen
public struct BetaPrior: BitwiseCopyable, Equatable, Sendable {
    /// The rate of an item of which nothing is known, in 0 … 1.
    public var mean: Double
    /// How many impressions the belief weighs, above 0.
    public var strength: Double

    /// Rates stay at or below this, so that few lucky clicks cannot make a certainty.
    public static let largestRate = 0.98
    /// Rates stay at or above this, so that every rate has a logit.
    public static let smallestRate = 1e-6

    @inlinable @inline(__always)
    public init(mean: Double, strength: Double) {
        self.mean = mean
        self.strength = strength
    }

    /// Where learning begins without any data: one click of five, worth six impressions.
    public static let start = BetaPrior(mean: 0.2, strength: 6)

    /// The posterior mean, within `smallestRate` … `largestRate`.
    @inlinable @inline(__always)
    public func rate(clicks: Double, impressions: Double) -> Double {
        let rate = (clicks + strength * mean) / (impressions + strength)
        let atMost = rate > 0.98 ? 0.98 : rate
        return atMost > 1e-6 ? atMost : 1e-6
    }

    /// The posterior mean of exact counts.
    @inlinable @inline(__always)
    public func rate(_ counts: Counts) -> Double {
        rate(clicks: Double(counts.clicks), impressions: Double(counts.impressions))
    }

    /// The variance of the rate: `p (1 − p) / (n + strength + 1)`.
    @inlinable
    public func variance(clicks: Double, impressions: Double) -> Double {
        let p = rate(clicks: clicks, impressions: impressions)
        return p * (1 - p) / (impressions + strength + 1)
    }

    /// The variance of the rate's logit by the delta method: `1 / ((n + strength) p (1 − p))`.
    ///
    /// Right once some clicks are there; with fewer than about two (pseudo-)clicks the logit's
    /// distribution has a long lower tail and this is too small: see `logitVariance`.
    @inlinable
    public func deltaLogitVariance(clicks: Double, impressions: Double) -> Double {
        let p = rate(clicks: clicks, impressions: impressions)
        return 1 / ((impressions + strength) * p * (1 - p))
    }

    /// The variance of the logit of a beta-distributed rate, exactly: `ψ′(a) + ψ′(b)`, with the
    /// posterior's a and b.
    ///
    /// At Beta(0.6, 5.4), an item without impressions where one of ten is clicked, it is 3.8 and the delta
    /// method's 1.9: intervals of ± 1.645 standard deviations around the logit of the mean then hold 88 %
    /// and 79 %.
    public func logitVariance(clicks: Double, impressions: Double) -> Double {
        let a = clicks + strength * mean
        let misses = impressions > clicks ? impressions - clicks : 0
        let b = misses + strength * (1 - mean)
        return Math.trigamma(a > 1e-3 ? a : 1e-3) + Math.trigamma(b > 1e-3 ? b : 1e-3)
    }
}
