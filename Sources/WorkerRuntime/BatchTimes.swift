// How old records are when they are stepped over, and how long they wait for scores that reflect them.

import Streams

/// Where a partition's state stands between two publish points.
public struct Publication: Equatable, Sendable {
    /// Publish points since the partition's beginning.
    public var points: Int64
    /// Records since the last of them.
    public var recordsSince: Int64

    public init(points: Int64, recordsSince: Int64) {
        self.points = points
        self.recordsSince = recordsSince
    }
}

/// Append times of what a worker steps over, by partition.
///
/// For every committed publish point it measures the wait of the oldest record that no earlier one
/// reflects: from its append to the end of the commit.
struct BatchTimes {
    private(set) var freshness = Histogram()
    /// By partition: when the newest record stepped over was appended.
    private(set) var newest: [Int: Int64] = [:]
    /// Publish points known of each partition; nil for a role that has none.
    private var points: [Int: Int64?] = [:]
    /// When the oldest record was appended that no committed publish point reflects.
    private var oldest: [Int: Int64] = [:]

    /// Partitions that have begun and were not forgotten.
    var partitions: [Int] { points.keys.sorted() }

    /// Takes a partition up as it is after its recovery; since when records wait is not known then.
    mutating func begin(_ partition: Int, _ now: Publication?) {
        points.updateValue(now?.points, forKey: partition)
    }

    mutating func forget(_ partition: Int) {
        points[partition] = nil
        oldest[partition] = nil
        newest[partition] = nil
    }

    /// After the commit of a batch.
    ///
    /// - Parameters:
    ///   - batch: what was stepped over, each partition's records in their order.
    ///   - time: when the commit returned, milliseconds since the epoch.
    mutating func committed(
        _ batch: [Record], at time: Int64, _ publication: (_ partition: Int) -> Publication?
    ) {
        var start = 0
        while start < batch.count {
            let partition = batch[start].partition
            var end = start + 1
            while end < batch.count, batch[end].partition == partition { end += 1 }
            newest[partition] = batch[end - 1].timestamp
            if oldest[partition] == nil { oldest[partition] = batch[start].timestamp }
            start = end
        }
        for (partition, known) in points {
            guard let known, let now = publication(partition), now.points != known else { continue }
            points.updateValue(now.points, forKey: partition)
            guard let first = oldest.removeValue(forKey: partition) else { continue }
            freshness.add(max(0, Double(time - first) / 1e3))
            oldest[partition] = timestamp(of: partition, now.recordsSince, fromTheEndOf: batch)
        }
    }

    /// Of the `count`-th record of a partition from the end of a batch; nil where that is none.
    private func timestamp(
        of partition: Int, _ count: Int64, fromTheEndOf batch: [Record]
    ) -> Int64? {
        var left = count
        var found: Int64?
        for record in batch.reversed() where record.partition == partition && left > 0 {
            found = record.timestamp
            left -= 1
        }
        return found
    }
}
