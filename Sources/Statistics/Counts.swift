// Impressions and clicks, counted for ever or with a memory that fades.

import DeterministicMath

/// Impressions and clicks since the beginning. 16 bytes; merges exactly.
@frozen
public struct Counts: Mergeable, Equatable {
    public var impressions: UInt64
    public var clicks: UInt64

    @inlinable @inline(__always)
    public init() {
        impressions = 0
        clicks = 0
    }

    @inlinable @inline(__always)
    public init(impressions: UInt64, clicks: UInt64) {
        self.impressions = impressions
        self.clicks = clicks
    }

    /// Counts one label: impression and click enter together.
    @inlinable @inline(__always)
    public mutating func add(clicked: Bool) {
        impressions &+= 1
        clicks &+= clicked ? 1 : 0
    }

    /// A label counted as 0 turned out to be 1.
    @inlinable @inline(__always)
    public mutating func correct() { clicks &+= 1 }

    @inlinable @inline(__always)
    public mutating func merge(_ other: Counts) {
        impressions &+= other.impressions
        clicks &+= other.clicks
    }
}

/// Impressions and clicks of which half is forgotten in each half-life. 24 bytes.
///
/// A row is brought to a new time only when it is touched: `n ← n 2^(-elapsed / half-life) + 1`. Times are
/// milliseconds; a time before the row's own counts as the row's own, so nothing is ever undone by a late
/// record. The half-life is a setting and comes with every call: pass the same one to the same row.
///
/// Merging needs the half-life too, so this is not `Mergeable`: it brings both to the newer time and
/// adds. It equals feeding within 1e-12 of the value where the inputs of `other` are not older than this
/// row's newest; older ones are decayed to their age in a merge and counted as of now when fed.
@frozen
public struct DecayedCounts: BitwiseCopyable, Equatable, Sendable {
    /// Impressions as of `time`.
    public var impressions: Double
    /// Clicks as of `time`.
    public var clicks: Double
    /// The newest time seen, in milliseconds.
    public var time: Int64

    @inlinable @inline(__always)
    public init() {
        impressions = 0
        clicks = 0
        time = 0
    }

    /// Brings the row to `newTime`, if that is later than its own.
    @inlinable @inline(__always)
    public mutating func advance(to newTime: Int64, halfLife: HalfLife) {
        guard newTime > time else { return }
        if impressions > 0 || clicks > 0 {
            let remainder = halfLife.remainder(after: newTime &- time)
            impressions *= remainder
            clicks *= remainder
        }
        time = newTime
    }

    /// Counts one label at `newTime`.
    @inlinable @inline(__always)
    public mutating func add(clicked: Bool, at newTime: Int64, halfLife: HalfLife) {
        add(impressions: 1, clicks: clicked ? 1 : 0, at: newTime, halfLife: halfLife)
    }

    /// Counts several impressions and clicks at `newTime`; of a correction: 0 and 1.
    @inlinable @inline(__always)
    public mutating func add(
        impressions moreImpressions: Double, clicks moreClicks: Double, at newTime: Int64,
        halfLife: HalfLife
    ) {
        advance(to: newTime, halfLife: halfLife)
        impressions += moreImpressions
        clicks += moreClicks
    }

    /// The row as it would be at `newTime`; a time before its own gives the row itself.
    @inlinable @inline(__always)
    public func value(at newTime: Int64, halfLife: HalfLife) -> DecayedCounts {
        var copy = self
        copy.advance(to: newTime, halfLife: halfLife)
        return copy
    }

    /// Clicks per impression, shrunken towards `prior`; the more is forgotten, the nearer to it.
    @inlinable
    public func rate(at newTime: Int64, halfLife: HalfLife, prior: BetaPrior) -> Double {
        let now = value(at: newTime, halfLife: halfLife)
        return prior.rate(clicks: now.clicks, impressions: now.impressions)
    }

    /// Joins a row of the same half-life.
    @inlinable
    public mutating func merge(_ other: DecayedCounts, halfLife: HalfLife) {
        let newest = other.time > time ? other.time : time
        advance(to: newest, halfLife: halfLife)
        let theirs = other.value(at: newest, halfLife: halfLife)
        impressions += theirs.impressions
        clicks += theirs.clicks
    }
}
