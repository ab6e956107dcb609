// A bound on waiting, by the monotonic clock.

/// A moment until which something may take.
struct Deadline {
    private let end: ContinuousClock.Instant

    init(milliseconds: Int) { end = ContinuousClock.now + .milliseconds(milliseconds) }

    /// Milliseconds left, at least 0.
    var remaining: Int {
        let left = end - ContinuousClock.now
        return max(
            0,
            Int(left.components.seconds) * 1000
                + Int(left.components.attoseconds / 1_000_000_000_000_000))
    }

    var isOver: Bool { remaining == 0 }
}
