// The wide part: a small online logistic regression on live statistics beside the network.

import DeterministicMath

/// What a score knows besides the network: point-in-time statistics, position and domain.
public struct WideInput: Sendable, Equatable {
    /// Logit of the item's and the user's shrunken rate, minus the global rate's.
    public var itemRate = 0.0
    public var userRate = 0.0
    /// ln(1 + n) / 3 of the item's and the user's impressions.
    public var itemCount = 0.0
    public var userCount = 0.0
    /// The item's rate in this domain minus that over all domains, on the logit.
    public var deviation = 0.0
    /// The network's logit; 0 where there is none.
    public var network = 0.0
    public var position = 0
    public var domain = 0

    public init() {}

    /// The statistics of counts, as logits against the running global rate.
    ///
    /// - Parameter kappa: how many impressions the global rate counts for.
    /// - Source: specification, section 12: (c + kappa p0)/(n + kappa), at most .98.
    public static func rate(
        clicks: Double, impressions: Double, global p0: Double, kappa: Double = 6
    ) -> Double {
        let rate = min(0.98, (clicks + kappa * p0) / (impressions + kappa))
        return Math.logit(rate) - Math.logit(p0)
    }
}

/// logit = w_z z + (w + w_domain) · statistics + b_position + b_domain, learned online by Adagrad.
public struct WidePart: Sendable, Equatable {
    /// Weights of one set: item rate, user rate, item count, user count, deviation, network.
    public static let features = 6

    public let positions: Int
    public let domains: Int
    /// Shared set, a set for each domain (where `ownWeights`), positions, domains.
    public var weights: [Double]
    /// Sums of squared gradients, from 1e-10 on.
    public var squares: [Double]
    /// Σ p(1 - p) x² over the labels seen: what the data say about each weight.
    public var precision: [Double]
    public var rate = 0.05
    public let ownWeights: Bool
    /// Variance of the domains' biases, the uncertainty of a domain without labels.
    public var domainVariance = 0.09
    /// Prior precision of a weight.
    public var prior = 1.0

    /// A wide part that knows nothing yet.
    ///
    /// - Parameter network: whether there is a network to lean on: its weight starts at 1 and the
    ///   rates' at 0; without one the rates' weights start at 1.
    public init(positions: Int, domains: Int, network: Bool, ownWeights: Bool = true) {
        self.positions = positions
        self.domains = domains
        self.ownWeights = ownWeights
        let sets = ownWeights ? domains + 1 : 1
        let count = sets * Self.features + positions + domains
        weights = Array(repeating: 0, count: count)
        squares = Array(repeating: 1e-10, count: count)
        precision = Array(repeating: 0, count: count)
        if network {
            weights[5] = 1
        } else {
            weights[0] = 1
            weights[1] = 1
        }
    }

    private var firstPosition: Int { (ownWeights ? domains + 1 : 1) * Self.features }
    private func ownSet(_ domain: Int) -> Int { (domain + 1) * Self.features }

    private static func values(_ x: WideInput) -> SIMD8<Double> {
        SIMD8(
            x.itemRate, x.userRate, x.itemCount, x.userCount, x.deviation, x.network, 0, 0)
    }

    /// The logit of `x`.
    public func logit(_ x: WideInput) -> Double {
        let values = Self.values(x)
        var z = weights[firstPosition + x.position] + weights[firstPosition + positions + x.domain]
        for j in 0..<Self.features { z += weights[j] * values[j] }
        if ownWeights {
            let own = ownSet(x.domain)
            for j in 0..<Self.features { z += weights[own + j] * values[j] }
        }
        return z
    }

    /// Adds `scale` · ∂logit/∂weights to `gradient`.
    private func addSlope(_ x: WideInput, _ scale: Double, to gradient: inout [Double]) {
        let values = Self.values(x)
        for j in 0..<Self.features { gradient[j] += scale * values[j] }
        if ownWeights {
            let own = ownSet(x.domain)
            for j in 0..<Self.features { gradient[own + j] += scale * values[j] }
        }
        gradient[firstPosition + x.position] += scale
        gradient[firstPosition + positions + x.domain] += scale
    }

    /// The gradient of the micro-batch's mean log loss.
    public func gradient(_ batch: [(WideInput, label: Double)]) -> [Double] {
        var gradient = [Double](repeating: 0, count: weights.count)
        for (x, label) in batch {
            addSlope(
                x, (Math.sigmoid(logit(x)) - label) / Double(batch.count), to: &gradient)
        }
        return gradient
    }

    /// One Adagrad step on a micro-batch of labels.
    public mutating func learn(_ batch: [(WideInput, label: Double)]) {
        let gradient = gradient(batch)
        for (x, _) in batch {
            let p = Math.sigmoid(logit(x))
            let values = Self.values(x)
            let weight = p * (1 - p)
            for j in 0..<Self.features { precision[j] += weight * values[j] * values[j] }
            precision[firstPosition + x.position] += weight
            precision[firstPosition + positions + x.domain] += weight
        }
        for i in weights.indices where gradient[i] != 0 {
            squares[i] += gradient[i] * gradient[i]
            weights[i] -= rate * gradient[i] / squares[i].squareRoot()
        }
    }

    /// A click that came after its impression had been learned as a 0: the difference of the two
    /// gradients is -∂logit/∂w; accumulators stay, no coordinate moves by more than `rate`.
    ///
    /// - Parameter batch: examples of a micro-batch; the correction weighs like one of them.
    public mutating func correct(_ x: WideInput, batch: Int) {
        var slope = [Double](repeating: 0, count: weights.count)
        addSlope(x, 1 / Double(batch), to: &slope)
        for i in weights.indices where slope[i] != 0 {
            let step = rate * slope[i] / squares[i].squareRoot()
            weights[i] += max(-rate, min(rate, step))
        }
    }

    /// The standard deviation of the logit: of the item's rate (Beta, by the delta method), of the
    /// weights (diagonal Laplace), and of the bias of a domain without labels.
    ///
    /// - Source: specification, section 12.
    public func deviation(
        _ x: WideInput, itemRate p: Double, itemImpressions: Double, kappa: Double = 6,
        isNewDomain: Bool = false
    ) -> Double {
        let w = weights[0] + (ownWeights ? weights[ownSet(x.domain)] : 0)
        var variance = w * w / ((itemImpressions + kappa) * max(1e-6, p * (1 - p)))
        let values = Self.values(x)
        for j in 0..<Self.features {
            variance += values[j] * values[j] / (prior + precision[j])
        }
        variance += 1 / (prior + precision[firstPosition + x.position])
        variance +=
            isNewDomain
            ? domainVariance
            : 1 / (1 / domainVariance + precision[firstPosition + positions + x.domain])
        return variance.squareRoot()
    }
}
