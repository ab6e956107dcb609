// Quantiles of delays and other positive numbers that span many magnitudes.

import DeterministicMath

/// A histogram with buckets of equal ratio: every quantile within 2 % of its value. Merges exactly.
///
/// Bucket i of 1 … 519 holds values in [γ^(i−1), γ^i) with γ = 1.02 / 0.98, from 1 to 10^9 (in
/// milliseconds: a thousandth of a second to eleven days); its values are told as 2 γ^i / (γ + 1), which
/// is within 2 % of each. Bucket 0 holds what is below 1 and is told as 0; what is above 10^9 is told as
/// 10^9. Counts stop at 2^32 − 1 a bucket.
///
/// Memory: 2,080 bytes.
///
/// - Source: C. Masson, J. E. Rim, H. K. Lee, DDSketch, VLDB 2019.
@frozen
public struct QuantileSketch: Mergeable {
    @usableFromInline var buckets: InlineArray<520, UInt32>

    /// 1 / ln γ.
    @usableFromInline static var inverseLogRatio: Double { 24.996666311036567 }

    @inlinable
    public init() { buckets = InlineArray(repeating: 0) }

    @inlinable @inline(__always)
    public mutating func add(_ value: Double) {
        let bucket = Self.bucket(of: value)
        let (sum, overflow) = buckets[bucket].addingReportingOverflow(1)
        buckets[bucket] = overflow ? .max : sum
    }

    @inlinable @inline(__always)
    static func bucket(of value: Double) -> Int {
        guard value >= 1 else { return 0 }
        guard value < 1e9 else { return 519 }
        return 1 &+ Int(Math.log(value) * inverseLogRatio)
    }

    public mutating func merge(_ other: QuantileSketch) {
        buckets.combine(other.buckets) {
            let (sum, overflow) = $0.addingReportingOverflow($1)
            $0 = overflow ? .max : sum
        }
    }

    /// How many values were added.
    public var count: UInt64 {
        buckets.read { buckets in
            var total: UInt64 = 0
            for i in 0..<520 { total += UInt64(buckets[i]) }
            return total
        }
    }

    /// The value that the share `q` of all values does not exceed, within 2 %; nil without values.
    ///
    /// Of n values it is the one with rank ⌊q (n − 1)⌋ in ascending order, counted from 0.
    public func quantile(_ q: Double) -> Double? {
        let total = count
        guard total > 0 else { return nil }
        let rank = UInt64(min(max(q, 0), 1) * Double(total - 1))
        return buckets.read { buckets in
            var seen: UInt64 = 0
            for i in 0..<520 {
                seen += UInt64(buckets[i])
                if seen > rank { return Self.value(of: i) }
            }
            return Self.value(of: 519)
        }
    }

    private static func value(of bucket: Int) -> Double {
        guard bucket > 0 else { return 0 }
        let ratio = 1.02 / 0.98
        let value = 2 * Math.exp(Double(bucket) / inverseLogRatio) / (ratio + 1)
        return min(value, 1e9)
    }
}
