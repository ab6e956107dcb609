// How good the predictions were that production made, each scored before it was learned from.

/// What `PrequentialQuality` comes to, by the names of the evaluations topic.
public struct QualityReport: Equatable, Sendable {
    public var examples: UInt64
    public var positives: UInt64
    public var corrections: UInt64
    /// From the histogram: within 0.0005 of the exact one.
    public var auc: Double?
    public var gauc: Double?
    public var logLoss: Double?
    public var normalizedEntropy: Double?
    /// Mean prediction over observed rate.
    public var calibration: Double?
    /// Over 15 bins of equal mass.
    public var calibrationError: Double?
}

/// Quality of one domain's (or slice's) predictions. 16,456 bytes; merges exactly.
///
/// `correct(logit: z)` after `add(logit: z, clicked: false)` leaves the bytes of
/// `add(logit: z, clicked: true)`, but for the count of corrections.
@frozen
public struct PrequentialQuality: Mergeable {
    public var ranking: RankingHistogram
    public var calibration: Calibration
    public var groups: GroupedAUC
    public var corrections: UInt64

    @inlinable
    public init() {
        ranking = RankingHistogram()
        calibration = Calibration()
        groups = GroupedAUC()
        corrections = 0
    }

    /// Scores one label against the logit that was predicted before it was known.
    @inlinable
    public mutating func add(logit: Double, clicked: Bool) {
        ranking.add(logit: logit, clicked: clicked)
        calibration.add(logit: logit, clicked: clicked)
    }

    /// A label scored as 0 turned out to be 1 (revision 1); its group is exchanged by
    /// `groups.remove` and `groups.add`.
    @inlinable
    public mutating func correct(logit: Double) {
        ranking.correct(logit: logit)
        calibration.correct(logit: logit)
        corrections &+= 1
    }

    public mutating func merge(_ other: PrequentialQuality) {
        ranking.merge(other.ranking)
        calibration.merge(other.calibration)
        groups.merge(other.groups)
        corrections &+= other.corrections
    }

    public var report: QualityReport {
        QualityReport(
            examples: calibration.examples, positives: calibration.positives,
            corrections: corrections, auc: ranking.auc, gauc: groups.value,
            logLoss: calibration.logLoss, normalizedEntropy: calibration.normalizedEntropy,
            calibration: calibration.ratio, calibrationError: ranking.calibrationError())
    }
}
