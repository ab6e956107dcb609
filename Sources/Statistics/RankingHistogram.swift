// How well predictions rank clicks before the rest, and how true they are, of a stream of any length.

import DeterministicMath

/// Positives and negatives by the logit that was predicted. 16,384 bytes; merges and corrects exactly.
///
/// 2,048 cells of width 1/128 over −8 … 8; logits outside count at the ends, NaN at the lower one. Counts
/// stop at 2^32 − 1 a cell.
///
/// From it come AUC and calibration error, and both at any cut of the stream by merging.
@frozen
public struct RankingHistogram: Mergeable {
    @usableFromInline var negatives: InlineArray<2048, UInt32>
    @usableFromInline var positives: InlineArray<2048, UInt32>

    @inlinable
    public init() {
        negatives = InlineArray(repeating: 0)
        positives = InlineArray(repeating: 0)
    }

    @inlinable @inline(__always)
    static func cell(_ logit: Double) -> Int {
        guard logit > -8 else { return 0 }
        guard logit < 8 else { return 2047 }
        return Int((logit + 8) * 128)
    }

    /// Counts one example by the logit predicted for it.
    @inlinable @inline(__always)
    public mutating func add(logit: Double, clicked: Bool) {
        let cell = Self.cell(logit)
        if clicked {
            positives[cell] = Self.sum(positives[cell], 1)
        } else {
            negatives[cell] = Self.sum(negatives[cell], 1)
        }
    }

    @inlinable @inline(__always)
    static func sum(_ a: UInt32, _ b: UInt32) -> UInt32 {
        let (sum, overflow) = a.addingReportingOverflow(b)
        return overflow ? .max : sum
    }

    /// An example counted as negative turned out to be positive.
    @inlinable @inline(__always)
    public mutating func correct(logit: Double) {
        let cell = Self.cell(logit)
        guard negatives[cell] > 0 else { return }
        negatives[cell] &-= 1
        positives[cell] = Self.sum(positives[cell], 1)
    }

    public mutating func merge(_ other: RankingHistogram) {
        negatives.combine(other.negatives) { $0 = Self.sum($0, $1) }
        positives.combine(other.positives) { $0 = Self.sum($0, $1) }
    }

    /// The chance that a random positive was predicted above a random negative, equals half; nil while one
    /// class is missing.
    ///
    /// Pairs in one cell count as equal. Against the exact AUC of the same predictions the error is below
    /// 0.0005 for logits that spread by 0.5 or more, and it shrinks with the spread.
    public var auc: Double? {
        read { negatives, positives in
            var wins = 0.0
            var below = 0.0
            var positiveCount = 0.0
            for i in 0..<2048 {
                let (n, p) = (Double(negatives[i]), Double(positives[i]))
                wins += p * (below + 0.5 * n)
                below += n
                positiveCount += p
            }
            return below > 0 && positiveCount > 0 ? wins / (below * positiveCount) : nil
        }
    }

    /// The expected calibration error: mean distance between predicted and observed rate over `bins` bins
    /// of equal mass, by mass; nil without examples.
    ///
    /// Bins hold whole cells, each ending with the cell in which its share of the examples is reached. A
    /// cell's predictions are taken to be its middle: at most 0.001 off, and 0.0001 on average.
    ///
    /// - Source: M. P. Naeini, G. F. Cooper, M. Hauskrecht, Obtaining well calibrated probabilities using
    ///   Bayesian binning, AAAI 2015; equal mass: K. Nguyen, B. O'Connor, EMNLP 2015.
    public func calibrationError(bins: Int = 15) -> Double? {
        read { negatives, positives in
            var total: UInt64 = 0
            for i in 0..<2048 { total += UInt64(negatives[i]) + UInt64(positives[i]) }
            guard total > 0 else { return nil }
            var distance = 0.0
            var (seen, bin) = (UInt64(0), UInt64(1))
            var (predicted, observed) = (0.0, 0.0)
            for i in 0..<2048 {
                let count = UInt64(negatives[i]) + UInt64(positives[i])
                guard count > 0 else { continue }
                predicted += Double(count) * Math.sigmoid((Double(i) + 0.5) / 128 - 8)
                observed += Double(positives[i])
                seen += count
                if seen * UInt64(bins) >= bin * total {
                    distance += abs(predicted - observed)
                    (predicted, observed) = (0, 0)
                    while seen * UInt64(bins) >= bin * total && bin <= UInt64(bins) { bin += 1 }
                }
            }
            return distance / Double(total)
        }
    }

    private func read<Result>(
        _ body: (_ negatives: UnsafePointer<UInt32>, _ positives: UnsafePointer<UInt32>) -> Result
    ) -> Result {
        negatives.read { negatives in positives.read { body(negatives, $0) } }
    }
}
