// How much more a place in the list is clicked than another.

import DeterministicMath

/// Impressions and clicks by position. 400 bytes; merges exactly.
///
/// Row 0 is for impressions without a position; positions behind 24 are counted with 24.
@frozen
public struct PositionTable: Mergeable {
    @usableFromInline static let positions = 24

    public var rows: InlineArray<25, Counts>

    @inlinable
    public init() { rows = InlineArray(repeating: Counts()) }

    /// The row of a 1-based position; nil and positions below 1 are unknown: row 0.
    @inlinable @inline(__always)
    public static func row(of position: Int?) -> Int {
        guard let position, position >= 1 else { return 0 }
        return position < 24 ? position : 24
    }

    @inlinable @inline(__always)
    public mutating func add(clicked: Bool, row: Int) { rows[row].add(clicked: clicked) }

    @inlinable @inline(__always)
    public mutating func correct(row: Int) { rows[row].correct() }

    public mutating func merge(_ other: PositionTable) {
        rows.combine(other.rows) { $0.merge($1) }
    }

    /// Impressions and clicks of all rows.
    public var total: Counts {
        rows.read { rows in
            var total = Counts()
            for i in 0..<25 { total.merge(rows[i]) }
            return total
        }
    }

    /// How much more the row is clicked than the average, on the logit, shrunken to 0 by `strength`
    /// impressions: `logit((c + strength p) / (n + strength)) − logit(p)`, with p the rate of all rows.
    ///
    /// A comparison of rates: where better items stand higher it holds their quality too. A head that
    /// knows the items learns its own position weights; this table starts and explains them.
    public func bias(row: Int, strength: Double = 100) -> Double {
        let all = total
        guard all.clicks > 0, all.impressions > 0 else { return 0 }
        let rate = BetaPrior(mean: 0, strength: 1e-9).rate(all)
        let prior = BetaPrior(mean: rate, strength: strength)
        return Math.logit(prior.rate(rows[row])) - Math.logit(rate)
    }
}
