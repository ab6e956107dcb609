// The item effect: how much better an item does in a domain than its content says, with its variance.
// Score and uncertainty come from this one model.

import DeterministicMath

/// Evidence about an item: decayed sums over its labels, of all domains or of one.
struct Evidence: BitwiseCopyable {
    var labels: Double = 0
    var clicks: Double = 0
    /// Σ of the content part's predictions.
    var expected: Double = 0
    /// Σ of the item's content part of those logits.
    var content: Double = 0

    /// What a label leaves of the evidence before it.
    static let remainder = 1 - 1.0 / 300

    static func - (a: Evidence, b: Evidence) -> Evidence {
        Evidence(
            labels: a.labels - b.labels, clicks: a.clicks - b.clicks,
            expected: a.expected - b.expected,
            content: a.content - b.content)
    }

    static func + (a: Evidence, b: Evidence) -> Evidence {
        Evidence(
            labels: a.labels + b.labels, clicks: a.clicks + b.clicks,
            expected: a.expected + b.expected,
            content: a.content + b.content)
    }

    mutating func fade(by factor: Double) {
        labels *= factor
        clicks *= factor
        expected *= factor
        content *= factor
    }

    /// The mean content logit of the evidence, restated to what content knows of the item now: content
    /// learns from the same labels, and nothing must count twice.
    func offset(_ contentNow: Double) -> Double {
        let rate = min(HeadConstant.largestRate, max(1e-4, expected / labels))
        return Math.log(rate / (1 - rate)) + contentNow - content / labels
    }
}

/// An item's evidence in one domain, with the blocks that measure how far effects spread and how wide
/// intervals must be. The evidence is in `Evidence`; `labels` of the row are never decayed.
struct EffectCell: BitwiseCopyable {
    var evidence = Evidence()
    /// First block: Σ (y − p), Σ p (1 − p), Σ (y − p)² over the first labels; `firstLabels` −1 = closed.
    var firstSurplus: Float = 0
    var firstInformation: Float = 0
    var firstSquares: Float = 0
    var firstLabels: Int32 = 0
    /// Current block: the effect and variance it began with, and the same sums around it. A block holds
    /// half as many labels as came before it.
    var blockEffect: Float = 0
    var blockVariance: Float = 0
    var blockSurplus: Double = 0
    var blockInformation: Double = 0
    var blockSquares: Double = 0
    /// One more than the labels in the block; 0 = none open.
    var blockLabels: Int64 = 0
    var blockBin: Int32 = 0
    var padding: UInt32 = 0

    static let firstBlock: Int32 = 8
}

/// How far items' effects spread: τ² between items and between domains, and how much wider than
/// the posterior intervals must be, all learned from the stream.
struct EffectSpread: BitwiseCopyable {
    var totalSum: Double = 0
    var totalWeight: Double = 0
    var itemSum: Double = 0
    var itemWeight: Double = 0
    /// By bin of labels: Σ of what held-out blocks missed by, and of what was claimed.
    var missed: InlineArray<4, Double> = InlineArray(repeating: 0)
    var claimed: InlineArray<4, Double> = InlineArray(repeating: 0)

    private static let priorWeight = 20.0

    /// Variance of an item's effect between items, and of its deviations between domains.
    var variances: (item: Double, domain: Double) {
        let total = max(
            0.01,
            (totalSum + EffectSpread.priorWeight * 0.2) / (totalWeight + EffectSpread.priorWeight))
        let item =
            (itemSum + EffectSpread.priorWeight * 0.12) / (itemWeight + EffectSpread.priorWeight)
        let held = max(0.1 * total, min(item, 0.9 * total))
        return (held, total - held)
    }

    /// How much larger than the posterior's the variance has to be, at least 1.
    func widening(_ bin: Int) -> Double {
        max(1, min(4, (missed[bin] + 30) / (claimed[bin] + 30)))
    }

    /// Labels 0, 1–9, 10–99, ≥ 100.
    static func bin(_ labels: Int64) -> Int {
        labels < 1 ? 0 : labels < 10 ? 1 : labels < 100 ? 2 : 3
    }

    /// Takes the closed first block of an item in a domain.
    ///
    /// `S² − Σr²` counts pairs of different labels: unlike `S² − Σp(1−p)` it is not biased by what
    /// differs between users.
    mutating func add(first block: EffectCell) {
        let information = Double(block.firstInformation)
        let g = information + 0.2 * information * information
        let weight = 1 / (g * g)
        let surplus = Double(block.firstSurplus)
        totalSum +=
            weight * information * information * (surplus * surplus - Double(block.firstSquares))
        totalWeight += weight * information * information * information * information
    }

    /// Takes the first blocks of one item in two domains.
    mutating func add(first a: EffectCell, _ b: EffectCell) {
        let (v, w) = (Double(a.firstInformation), Double(b.firstInformation))
        let weight = 1 / ((v + 0.2 * v * v) * (w + 0.2 * w * w))
        itemSum += weight * v * w * Double(a.firstSurplus) * Double(b.firstSurplus)
        itemWeight += weight * v * v * w * w
    }
}

/// Posterior mean and variance of an item's effect in a domain.
struct ItemEffect {
    var mean: Double
    var variance: Double

    /// - Parameters:
    ///   - own: evidence in the domain.
    ///   - elsewhere: evidence in all other domains, of other partitions too.
    ///   - content: what content says of the item now, in logits.
    ///   - globalRate: p0.
    ///
    /// Evidence from elsewhere moves the prior mean as far as items differ more than domains do; the
    /// domain's own then updates it: twice the mode of a logistic posterior by four Newton steps. The
    /// logit of a mean probability lies above the mean logit by `(1 − 2 p0) / 2 · variance`.
    init(
        own: Evidence, elsewhere: Evidence, content: Double,
        variances: (item: Double, domain: Double), globalRate: Double
    ) {
        let lift = (1 - 2 * globalRate) / 2
        let total = variances.item + variances.domain
        var center = -lift * total
        var spread = total
        if elsewhere.labels > 0.5 {
            let wide = variances.item + 0.6 * variances.domain
            let start = -lift * wide
            let mode = ItemEffect.mode(
                elsewhere, elsewhere.offset(content), around: start, precision: 1 / wide)
            let information = max(mode.information, 1e-6)
            // Without the shrinkage: a measurement of the effect elsewhere.
            let measured = (mode.effect - start) * (information + 1 / wide) / information
            let trust =
                variances.item / (variances.item + 1 / information + 0.6 * variances.domain)
            center += trust * measured
            spread = variances.item * (1 - trust) + variances.domain
        }
        if own.labels > 0.5 {
            let mode = ItemEffect.mode(
                own, own.offset(content), around: center, precision: 1 / spread)
            mean = mode.effect
            variance = 1 / (mode.information + 1 / spread)
        } else {
            mean = center
            variance = spread
        }
        mean += lift * variance
    }

    private static func mode(
        _ evidence: Evidence, _ offset: Double, around center: Double, precision: Double
    ) -> (effect: Double, information: Double) {
        var effect = center
        for _ in 0..<4 {
            let p = Math.sigmoid(offset + effect)
            let slope = evidence.clicks - evidence.labels * p - precision * (effect - center)
            let step = slope / (evidence.labels * p * (1 - p) + precision)
            effect += max(-1, min(1, step))
        }
        let p = Math.sigmoid(offset + effect)
        return (effect, evidence.labels * p * (1 - p))
    }
}

/// What an item's labels for one query say beyond everything else that is known.
struct PairEvidence: BitwiseCopyable {
    /// Σ (y − q) and Σ q (1 − q) over its labels, q predicted without the pair's own effect.
    var surplus: Double = 0
    var information: Double = 0
    /// The first label's residual and q (1 − q), until the second is there; `firstLabels` 2 = both were.
    var firstResidual: Float = 0
    var firstInformation: Float = 0
    var firstLabels: Int32 = 0
    var padding: UInt32 = 0

    mutating func add(_ y: Float, _ q: Float, to spread: inout PairSpread) {
        let (residual, information) = (y - q, q * (1 - q))
        surplus += Double(residual)
        self.information += Double(information)
        if firstLabels == 0 {
            firstResidual = residual
            firstInformation = information
        } else if firstLabels == 1 {
            spread.add(
                residuals: Double(firstResidual * residual),
                information: Double(firstInformation * information))
        }
        firstLabels = min(2, firstLabels + 1)
    }

    /// Posterior mean and variance of the pair's effect under N(0, `spread`).
    func effect(_ spread: Double) -> (mean: Float, variance: Float) {
        let precision = 1 / spread + information
        return (Float(max(-3, min(3, surplus / precision))), Float(1 / precision))
    }
}

/// How far pairs of query and item differ in a domain: from the products of their first two residuals,
/// whose expectation is the variance times both their q (1 − q).
struct PairSpread: BitwiseCopyable {
    private var sum: Double = 0
    private var weight: Double = 0

    mutating func add(residuals: Double, information: Double) {
        sum += residuals * information
        weight += information * information
    }

    /// Variance between pairs; begins at .2, as sure as 20 informative pairs.
    var variance: Double { max(0.01, min(4, (sum + 0.2 * 0.8) / (weight + 0.8))) }
}

/// How much a domain's calibration wanders from block to block of 500 labels.
struct CalibrationWander: BitwiseCopyable {
    private var surplus: Double = 0
    private var information: Double = 0
    private var labels: Double = 0
    private var blocks: Double = 0
    /// Variance of the logit that calibration adds; may be below 0 by chance.
    private(set) var variance: Double = 0

    mutating func add(label: Double, prediction: Double) {
        surplus += label - prediction
        information += prediction * (1 - prediction)
        labels += 1
        guard labels >= 500 else { return }
        let found = (surplus * surplus - information) / (information * information)
        variance += max(0.1, 1 / (blocks + 1)) * (found - variance)
        blocks += 1
        surplus = 0
        information = 0
        labels = 0
    }
}
