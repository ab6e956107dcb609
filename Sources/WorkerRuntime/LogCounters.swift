// What a worker's log client counts, once a batch where it can.

import Bytes
import Contracts
import Streams

/// Counters of one client of a log since its start.
public struct LogCounters: Sendable {
    public private(set) var recordsIn: Int64 = 0
    /// Timestamp of the newest record taken in, milliseconds since the epoch.
    public private(set) var newestTimestamp: Int64?
    public private(set) var recordsOut: Int64 = 0
    public private(set) var commits: Int64 = 0
    public private(set) var commitTimes = Histogram()
    public private(set) var longestCommitSeconds: Double = 0
    public private(set) var lastCommit: ContinuousClock.Instant?
    /// Milliseconds since the epoch.
    public private(set) var lastCommitTime: Int64?
    public private(set) var lastCommitSeconds: Double?
    /// Transactions that ended what a dead process of the slot had left open.
    public internal(set) var aborts: Int64 = 0
    /// Between assignments and the end of the recoveries that they called for.
    public internal(set) var recoverySeconds: Double = 0
    /// Bytes that wait in librdkafka, and connections lost, as it told last.
    public internal(set) var fetchedBytes: Int64 = 0
    public internal(set) var producedBytes: Int64 = 0
    public internal(set) var connectionsLost: Int64 = 0
    /// By partition: the next offset to process.
    public private(set) var next: [Int: Int64] = [:]
    /// By partition: where the log ended when its end was last reached.
    private var ends: [Int: Int64] = [:]
    /// By number of topic; nil: this client does not write there.
    private var written: [Int64?] = []
    private var letters = [Int64](repeating: 0, count: DeadLetterReason.allCases.count)

    public init() {}

    public var commitSeconds: Double { commitTimes.sum }

    /// Says where this client writes, so that a topic without a record yet counts as 0.
    mutating func writes(to topic: UInt16) {
        while written.count <= Int(topic) { written.append(nil) }
        if written[Int(topic)] == nil { written[Int(topic)] = 0 }
    }

    func isWritten(_ topic: UInt16) -> Bool {
        written.indices.contains(Int(topic)) && written[Int(topic)] != nil
    }

    public func recordsOut(to topic: UInt16) -> Int64 {
        written.indices.contains(Int(topic)) ? written[Int(topic)] ?? 0 : 0
    }

    public func deadLetters(_ reason: DeadLetterReason) -> Int64 { letters[Int(reason.rawValue)] }

    /// Sums, and the newest of what has no sum.
    mutating func merge(_ other: LogCounters) {
        recordsIn += other.recordsIn
        newestTimestamp = [newestTimestamp, other.newestTimestamp].compactMap { $0 }.max()
        recordsOut += other.recordsOut
        commits += other.commits
        commitTimes.merge(other.commitTimes)
        longestCommitSeconds = max(longestCommitSeconds, other.longestCommitSeconds)
        if let theirs = other.lastCommit, lastCommit.map({ $0 < theirs }) ?? true {
            lastCommit = theirs
            lastCommitTime = other.lastCommitTime
            lastCommitSeconds = other.lastCommitSeconds
        }
        aborts += other.aborts
        recoverySeconds += other.recoverySeconds
        fetchedBytes += other.fetchedBytes
        producedBytes += other.producedBytes
        connectionsLost += other.connectionsLost
        for (topic, count) in other.written.enumerated() {
            guard let count else { continue }
            writes(to: UInt16(topic))
            written[topic]! += count
        }
        for i in letters.indices { letters[i] += other.letters[i] }
    }

    mutating func assigned(_ starts: [Int: Int64]) {
        next = starts
        ends = [:]
    }

    @inline(__always)
    mutating func received(_ timestamp: Int64?) {
        recordsIn += 1
        newestTimestamp = timestamp
    }

    /// Records that a rebalance has taken back before anybody saw them.
    mutating func discarded(_ records: Int) { recordsIn -= Int64(records) }

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

    /// A transaction is committed: everything that is in its outbox has been written.
    mutating func committed(
        _ outbox: borrowing Outbox, _ positions: [InputPosition], taking time: Duration
    ) {
        for entry in outbox.entries {
            if !isWritten(entry.topic) { writes(to: entry.topic) }
            written[Int(entry.topic)]! += 1
            guard entry.topic == Topic.deadLetters.rawValue else { continue }
            if let value = outbox.value(of: entry), let reason = DeadLetter.reason(of: value) {
                letters[Int(reason.rawValue)] += 1
            }
        }
        committed(outbox.entries.count, positions, taking: time)
    }

    mutating func committed(_ records: Int, _ positions: [InputPosition], taking time: Duration) {
        let seconds = time / .seconds(1)
        recordsOut += Int64(records)
        commits += 1
        commitTimes.add(seconds)
        longestCommitSeconds = max(longestCommitSeconds, seconds)
        lastCommit = ContinuousClock.now
        lastCommitTime = wallClock()
        lastCommitSeconds = seconds
        for position in positions { next[position.partition] = position.next }
    }
}

extension DeadLetter {
    /// The reason in a record that was written by `append`, without reading the rest; nil where none
    /// of the known ones stands there.
    static func reason(of value: ByteSlice) -> DeadLetterReason? {
        // What comes before are names and quoted texts, in which a quote has a backslash before it.
        let name: StaticString = "\"reason\":\""
        let count = name.utf8CodeUnitCount
        var at = 0
        while at + count < value.count {
            if value.slice(at, at + count).equals(name) {
                let start = at + count
                var end = start
                while end < value.count, value[end] != UInt8(ascii: "\"") { end += 1 }
                return DeadLetterReason(value.slice(start, end))
            }
            at += 1
        }
        return nil
    }
}
