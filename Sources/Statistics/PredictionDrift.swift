// Whether what is predicted now is spread as it was when the model was trained.

import DeterministicMath

/// Compares a kept histogram of predictions with a fading one of recent predictions. 520 bytes.
///
/// Both have 32 cells of width 0.5 on the logit over −8 … 8 (outside: the ends; NaN: the lower). The
/// population stability index is `Σ (q − p) ln(q / p)` over the cells' shares, each count with half an
/// example added, cells empty in both left out; it is symmetric, 0 when equal. Readers take below 0.1
/// for stable and above 0.25 for a shift that needs a look; `expectedWithoutDrift` says what sampling
/// alone makes.
///
/// The half-life comes with every call, and times before the newest count as it (see `DecayedCounts`,
/// also for what merging keeps: within 1e-12 where the other's inputs are not older).
///
/// - Source: S. Kullback's symmetric divergence (1959); B. Yurdakul, Statistical properties of population
///   stability index, thesis 2018, for its expectation (B − 1)(1/n + 1/m).
@frozen
public struct PredictionDrift: BitwiseCopyable, Sendable {
    @usableFromInline var reference: InlineArray<32, Double>
    @usableFromInline var recent: InlineArray<32, Double>
    /// The newest time seen, in milliseconds.
    public var time: Int64

    @inlinable
    public init() {
        reference = InlineArray(repeating: 0)
        recent = InlineArray(repeating: 0)
        time = 0
    }

    @inlinable @inline(__always)
    static func cell(_ logit: Double) -> Int {
        guard logit > -8 else { return 0 }
        guard logit < 8 else { return 31 }
        return Int((logit + 8) * 2)
    }

    /// Counts a prediction made at `newTime`.
    @inlinable
    public mutating func add(logit: Double, at newTime: Int64, halfLife: HalfLife) {
        advance(to: newTime, halfLife: halfLife)
        recent[Self.cell(logit)] += 1
    }

    @inlinable
    mutating func advance(to newTime: Int64, halfLife: HalfLife) {
        guard newTime > time else { return }
        let remainder = halfLife.remainder(after: newTime &- time)
        for i in 0..<32 { recent[i] *= remainder }
        time = newTime
    }

    /// Makes what is recent now the reference, as when a model is released.
    public mutating func keepAsReference() { reference = recent }

    /// The population stability index; nil while one side has no example.
    public var stabilityIndex: Double? {
        let (n, m, _) = sizes
        guard n > 0, m > 0 else { return nil }
        return read { reference, recent in
            var index = 0.0
            for i in 0..<32 where reference[i] > 0 || recent[i] > 0 {
                let p = (reference[i] + 0.5) / (n + 16)
                let q = (recent[i] + 0.5) / (m + 16)
                index += (q - p) * Math.log(q / p)
            }
            return index
        }
    }

    /// The index that two samples of one population of these sizes have on average; nil without examples.
    public var expectedWithoutDrift: Double? {
        let (n, m, cells) = sizes
        guard n > 0, m > 0 else { return nil }
        return Double(cells - 1) * (1 / n + 1 / m)
    }

    private var sizes: (reference: Double, recent: Double, cells: Int) {
        read { reference, recent in
            var (n, m, cells) = (0.0, 0.0, 0)
            for i in 0..<32 {
                n += reference[i]
                m += recent[i]
                if reference[i] > 0 || recent[i] > 0 { cells += 1 }
            }
            return (n, m, cells)
        }
    }

    private func read<Result>(
        _ body: (_ reference: UnsafePointer<Double>, _ recent: UnsafePointer<Double>) -> Result
    ) -> Result {
        reference.read { reference in recent.read { body(reference, $0) } }
    }

    /// Joins a row of the same half-life; references add.
    public mutating func merge(_ other: PredictionDrift, halfLife: HalfLife) {
        var other = other
        let newest = max(time, other.time)
        advance(to: newest, halfLife: halfLife)
        other.advance(to: newest, halfLife: halfLife)
        reference.combine(other.reference) { $0 += $1 }
        recent.combine(other.recent) { $0 += $1 }
    }
}
