// What a worker's log client counts, once a batch where it can.

import Streams

/// Counters of one worker since its start.
public struct LogCounters: Sendable {
    public private(set) var recordsIn: Int64 = 0
    /// Timestamp of the newest record taken in, milliseconds since the epoch.
    public private(set) var newestTimestamp: Int64?
    public private(set) var recordsOut: Int64 = 0
    public private(set) var commits: Int64 = 0
    public private(set) var commitSeconds: Double = 0
    public private(set) var longestCommitSeconds: Double = 0
    public private(set) var lastCommit: ContinuousClock.Instant?
    /// By partition: the next offset to process.
    public private(set) var next: [Int: Int64] = [:]
    /// By partition: where the log ended when its end was last reached.
    private var ends: [Int: Int64] = [:]

    mutating func assigned(_ starts: [Int: Int64]) {
        next = starts
        ends = [:]
    }

    @inline(__always)
    mutating func received(_ timestamp: Int64?) {
        recordsIn += 1
        newestTimestamp = timestamp
    }

    /// Markers behind the last record are no lag: where the end was reached, what counts is what the
    /// log has grown by since.
    func lags(_ knownEnd: (Int) -> Int64?) -> [Int: Int64] {
        var result: [Int: Int64] = [:]
        for (partition, next) in next {
            let processed = max(next, ends[partition] ?? next)
            result[partition] = knownEnd(partition).map { max(0, $0 - processed) } ?? 0
        }
        return result
    }

    mutating func reached(end: Int64, partition: Int) { ends[partition] = end }

    /// What was read of these partitions may have been discarded.
    mutating func forgetEnds() { ends = [:] }

    /// Where the log ended when its end was last reached since the assignment.
    func endReached(partition: Int) -> Int64? { ends[partition] }

    mutating func committed(_ records: Int, _ positions: [InputPosition], taking time: Duration) {
        let seconds =
            Double(time.components.seconds) + Double(time.components.attoseconds) / 1e18
        recordsOut += Int64(records)
        commits += 1
        commitSeconds += seconds
        longestCommitSeconds = max(longestCommitSeconds, seconds)
        lastCommit = ContinuousClock.now
        for position in positions { next[position.partition] = position.next }
    }
}
