// Exponential forgetting: how much of a count is left after some time.

/// Forgetting by half in a fixed time; eight bytes.
@frozen
public struct HalfLife: BitwiseCopyable, Equatable, Sendable {
    public let milliseconds: Double

    @inlinable @inline(__always)
    public init(milliseconds: Double) {
        precondition(milliseconds > 0, "a half-life is positive, not \(milliseconds) ms")
        self.milliseconds = milliseconds
    }

    @inlinable @inline(__always)
    public init(seconds: Double) { self.init(milliseconds: seconds * 1000) }

    /// What is left of 1 after `elapsed` milliseconds: `2^(-elapsed / half-life)`, exact after whole
    /// half-lives; 1 where `elapsed` is 0 or below.
    @inlinable @inline(__always)
    public func remainder(after elapsed: Int64) -> Double {
        elapsed <= 0 ? 1 : Math.exp2(-(Double(elapsed) / milliseconds))
    }
}

/// What is left of 1 after 0, 1, 2, … steps of time, looked up instead of computed: for loops over many
/// rows whose ages are counted in the same steps. 8 bytes a step.
public struct DecayTable: Sendable {
    /// Milliseconds per step.
    public let step: Int64
    public let remainders: [Double]
    private let halfLife: HalfLife

    public init(_ halfLife: HalfLife, step: Int64, steps: Int) {
        precondition(step > 0 && steps > 0, "a table has steps above 0, not \(steps) of \(step) ms")
        self.step = step
        self.halfLife = halfLife
        remainders = (0..<steps).map { halfLife.remainder(after: Int64($0) * step) }
    }

    /// What is left after `elapsed` milliseconds, rounded down to whole steps.
    public func remainder(after elapsed: Int64) -> Double {
        guard elapsed > 0 else { return 1 }
        let i = Int(elapsed / step)
        return i < remainders.count ? remainders[i] : halfLife.remainder(after: Int64(i) * step)
    }
}
