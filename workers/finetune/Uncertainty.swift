// How sure a score is: the standard deviation of its logit.

import DeterministicMath
import Statistics

/// What a domain's items have shown about how far an item can be from what the head says of it.
struct Uncertainty {
    private let prior: LearnedPrior

    init(_ state: FinetuneState, _ domain: UInt32) {
        prior = state.domains[domain].pointee.rates.learnedPrior()
    }

    /// Standard deviation of a score's logit.
    func standardDeviation(
        labels: Double, _ residual: ItemResidual, score: Float, item: UInt32
    ) -> Float {
        let variance = prior.logitVariance(clicks: Double(score) * labels, impressions: labels)
        return Float(variance.squareRoot())
    }
}
