// How often a key came at most, without remembering keys: who deserves a row of a bounded table.

import DeterministicMath

/// Upper bounds of counts in four rows of `cells` / 4 counters.
///
/// A key has one counter in each row and its estimate is the smallest of the four, which is never below
/// the true count. With total count W a key is overestimated by more than e · W / (cells / 4) with a
/// chance below e^−4 = 1.8 %. The update is conservative: only counters below the new estimate move, which
/// makes overestimates several times smaller on skewed streams.
///
/// Merging adds the counters. It is not the same as feeding, since a conservative update depends on what
/// came before; what holds after it is that no estimate is below the truth.
///
/// `cells` is a power of two, at least 16. Memory: 4 bytes a cell. Counts stop at 2^32 − 1.
///
/// - Source: G. Cormode, S. Muthukrishnan, An improved data stream summary: the count-min sketch, 2005;
///   conservative update: C. Estan, G. Varghese, SIGCOMM 2002.
@frozen
public struct CountMinSketch<let cells: Int>: Mergeable {
    @usableFromInline var counters: InlineArray<cells, UInt32>

    @inlinable
    public init() {
        precondition(
            cells >= 16 && cells & (cells - 1) == 0,
            "a sketch has a power of two cells, not \(cells)")
        counters = InlineArray(repeating: 0)
    }

    /// The key's counter in each row: two halves of one hash give four (Kirsch and Mitzenmacher, 2008).
    @inlinable @inline(__always)
    static func places(_ hash: UInt64) -> (Int, Int, Int, Int) {
        let width = cells / 4
        let mask = UInt64(truncatingIfNeeded: width &- 1)
        let first = SplitMix64.mix(hash)
        let second = SplitMix64.mix(first) | 1
        let third = first &+ second &+ second
        return (
            Int(truncatingIfNeeded: (first &>> 16) & mask),
            Int(truncatingIfNeeded: ((first &+ second) &>> 16) & mask) &+ width,
            Int(truncatingIfNeeded: (third &>> 16) & mask) &+ 2 &* width,
            Int(truncatingIfNeeded: ((third &+ second) &>> 16) & mask) &+ 3 &* width
        )
    }

    /// Adds `count` to the key behind `hash` and gives its new estimate.
    @inlinable @discardableResult
    public mutating func add(_ hash: UInt64, count: UInt32 = 1) -> UInt32 {
        let (a, b, c, d) = Self.places(hash)
        let low = min(min(counters[a], counters[b]), min(counters[c], counters[d]))
        let (sum, overflow) = low.addingReportingOverflow(count)
        let raised = overflow ? .max : sum
        if counters[a] < raised { counters[a] = raised }
        if counters[b] < raised { counters[b] = raised }
        if counters[c] < raised { counters[c] = raised }
        if counters[d] < raised { counters[d] = raised }
        return raised
    }

    /// At least how often the key behind `hash` was added. May copy the sketch: on a hot path use what `add`
    /// gives.
    public func estimate(_ hash: UInt64) -> UInt32 {
        let (a, b, c, d) = Self.places(hash)
        return counters.read { min(min($0[a], $0[b]), min($0[c], $0[d])) }
    }

    /// Forgets half of every count, rounded down.
    @inlinable
    public mutating func halve() {
        for i in 0..<cells { counters[i] &>>= 1 }
    }

    public mutating func merge(_ other: CountMinSketch<cells>) {
        counters.combine(other.counters) {
            let (sum, overflow) = $0.addingReportingOverflow($1)
            $0 = overflow ? .max : sum
        }
    }
}
