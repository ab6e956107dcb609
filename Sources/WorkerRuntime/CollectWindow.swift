// When enough has been collected for a commit.

/// Decides when a batch is complete: where the queue is empty, at the earliest `minimum` after its
/// oldest record came; and at the latest `maximum` after its first one was taken.
///
/// Records that wait when a batch begins have come since the queue was last found empty, most of them
/// while the last batch was stepped over and committed: they need not wait for the minimum once more.
struct CollectWindow {
    typealias Instant = ContinuousClock.Instant

    /// How long a transaction's markers may take to be written behind its commit. Whoever begins the next
    /// one earlier is told to wait by the broker, and librdkafka then waits for 20 ms.
    static let markers = Duration.milliseconds(5)

    private let minimum: Duration
    private let maximum: Duration
    /// When the queue was found empty at the end of the last batch.
    private var emptied: Instant?
    private var committed: Instant?
    private var taken: Instant?
    private var oldest: Instant?

    init(minimumMilliseconds: Int, maximumMilliseconds: Int) {
        minimum = .milliseconds(minimumMilliseconds)
        maximum = .milliseconds(maximumMilliseconds)
    }

    /// The batch has its first record. `wasWaiting`: it was there when it was first asked for.
    mutating func began(at now: Instant, wasWaiting: Bool) {
        taken = now
        oldest = wasWaiting ? emptied ?? now : now
        emptied = nil
    }

    /// The queue is empty: how long to wait for more; nil where the batch is complete.
    func wait(at now: Instant) -> Duration? {
        guard let taken, let oldest else { return nil }
        var end = oldest + minimum
        if let committed { end = max(end, committed + min(minimum, Self.markers)) }
        end = min(end, taken + maximum)
        return end > now ? end - now : nil
    }

    /// Whether the batch has been collected for as long as it may be.
    func isOver(at now: Instant) -> Bool { taken.map { now - $0 >= maximum } ?? false }

    mutating func foundEmpty(at now: Instant) { emptied = now }

    mutating func hasCommitted(at now: Instant) { committed = now }

    /// What was collected is discarded.
    mutating func forget() { (emptied, taken, oldest) = (nil, nil, nil) }
}
