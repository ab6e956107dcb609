// Sums of fractions that do not depend on the order of their terms, so that a merge is exact and a
// correction takes back precisely what was added.

/// A sum in whole units of 2^−28. 8 bytes; merges exactly and undoes exactly.
///
/// Each term is rounded to 3.7e-9 once, after that everything is integer addition. Terms are held in
/// ±2^20, one that is not a number counts as 0; the sum may reach ±3.4e10.
@frozen
public struct ExactSum: Mergeable, Equatable {
    public var units: Int64

    @inlinable @inline(__always)
    public init() { units = 0 }

    @inlinable @inline(__always)
    static func units(of term: Double) -> Int64 {
        guard term > -1_048_576 else { return term == term ? -1_048_576 &<< 28 : 0 }
        let held = term < 1_048_576 ? term : 1_048_576
        return Int64(held * 0x1p28 + (held < 0 ? -0.5 : 0.5))
    }

    @inlinable @inline(__always)
    public mutating func add(_ term: Double) { units &+= Self.units(of: term) }

    /// Takes back a term that was added.
    @inlinable @inline(__always)
    public mutating func remove(_ term: Double) { units &-= Self.units(of: term) }

    @inlinable @inline(__always)
    public mutating func merge(_ other: ExactSum) { units &+= other.units }

    @inlinable @inline(__always)
    public var value: Double { Double(units) * 0x1p-28 }
}
