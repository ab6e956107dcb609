// Whether predicted probabilities are as large as what then happens, and how surprising that was.

import DeterministicMath

/// Sums for calibration, log loss and normalised entropy. 32 bytes; merges and corrects exactly.
///
/// Logits are held in −32 … 32 here (a loss of at most 32), NaN counts as 0.
@frozen
public struct Calibration: Mergeable, Equatable {
    /// Sum of the predicted probabilities.
    public var predictions: ExactSum
    /// Sum of −log of the probability that was given to what happened.
    public var loss: ExactSum
    public var examples: UInt64
    public var positives: UInt64

    @inlinable
    public init() {
        predictions = ExactSum()
        loss = ExactSum()
        examples = 0
        positives = 0
    }

    @inlinable @inline(__always)
    static func held(_ logit: Double) -> Double {
        guard logit > -32 else { return logit == logit ? -32 : 0 }
        return logit < 32 ? logit : 32
    }

    /// Counts one example by the logit predicted for it.
    @inlinable @inline(__always)
    public mutating func add(logit: Double, clicked: Bool) {
        let logit = Self.held(logit)
        let negativeLoss = Math.softplus(logit)
        predictions.add(Math.sigmoid(logit))
        loss.add(clicked ? negativeLoss - logit : negativeLoss)
        examples &+= 1
        positives &+= clicked ? 1 : 0
    }

    /// An example counted as negative turned out to be positive.
    @inlinable @inline(__always)
    public mutating func correct(logit: Double) {
        let logit = Self.held(logit)
        let negativeLoss = Math.softplus(logit)
        loss.remove(negativeLoss)
        loss.add(negativeLoss - logit)
        positives &+= 1
    }

    @inlinable
    public mutating func merge(_ other: Calibration) {
        predictions.merge(other.predictions)
        loss.merge(other.loss)
        examples &+= other.examples
        positives &+= other.positives
    }

    /// Mean predicted probability; nil without examples.
    public var meanPrediction: Double? {
        examples > 0 ? predictions.value / Double(examples) : nil
    }

    /// Share of positives; nil without examples.
    public var observedRate: Double? {
        examples > 0 ? Double(positives) / Double(examples) : nil
    }

    /// Mean prediction over observed rate: 1 is perfect, above it too high; nil without a positive.
    public var ratio: Double? {
        positives > 0 ? predictions.value / Double(positives) : nil
    }

    /// Mean loss in nats; nil without examples.
    public var logLoss: Double? { examples > 0 ? loss.value / Double(examples) : nil }

    /// Log loss over that of always predicting the observed rate: below 1 something was learned; nil while
    /// one class is missing.
    ///
    /// - Source: X. He et al., Practical lessons from predicting clicks on ads at Facebook, ADKDD 2014.
    public var normalizedEntropy: Double? {
        guard let logLoss, positives > 0, positives < examples else { return nil }
        let p = Double(positives) / Double(examples)
        return logLoss / -(p * Math.log(p) + (1 - p) * Math.log1p(-p))
    }
}
