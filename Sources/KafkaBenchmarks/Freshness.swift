// How long it takes until what has become known can be read in a score.

import Bytes
import Contracts
import JSON
import KafkaTransactions
import Simulation
import Statistics

/// Sends simulated events at a steady pace through enrich and finetune, reads the scores, and tells for
/// every label the time from the append of the event that made it known to the moment at which a
/// read-committed consumer had the score that it changed.
///
/// Which event that was, the label itself says: `source` and `ordinal` name the record that moved the
/// watermark past its due time, or the late click that corrects it. Which score, its `ordinal` says: the
/// first publish point of the label's partition at or behind the label. Labels whose score did not move
/// enough to be published there are counted, not timed.
public struct Freshness {
    private let around: BenchmarkSurroundings
    private let seconds: Int
    private let eventsPerSecond: Int
    private let name: String
    private let folder: String

    /// Seconds at the beginning that are not measured: a new fleet finds its way.
    private static let warmUpSeconds = 5

    /// - Parameters:
    ///   - seconds: that are measured.
    public init(
        _ around: BenchmarkSurroundings, seconds: Int, eventsPerSecond: Int, name: String,
        folder: String
    ) {
        self.around = around
        self.seconds = seconds
        self.eventsPerSecond = eventsPerSecond
        self.name = name
        self.folder = folder
    }

    public func run() throws -> [Figure] {
        let lines = EventLines(
            count: eventsPerSecond * (seconds + Self.warmUpSeconds), perSecond: eventsPerSecond)
        let fleet = try BenchmarkFleet(
            name, around, folder: folder, simulation: lines.simulation,
            changes: [
                ("tick_period_ms", "40"), ("publish_period_ms", "40"), ("lateness_s", "0"),
            ], appendTimes: [.events, .domainLog, .scores])
        try fleet.writeSettingsAndItems()
        let workers = [try fleet.start("enrich"), try fleet.start("finetune")]
        around.progress(
            "\(eventsPerSecond) events a second for \(Self.warmUpSeconds) + \(seconds) seconds")
        let live = try LiveRun(fleet, lines)
        try live.run(workers)
        let reports = try workers.map { try $0.stop() }
        around.progress("joining labels and scores")
        let measuredFrom = live.start + Double(Self.warmUpSeconds * 1_000)
        return figures(try joined(fleet, live, from: measuredFrom), live, reports)
    }

    /// Milliseconds, of every label that was published.
    private struct Delays {
        /// From the event to the score.
        var whole = QuantileSketch()
        /// From the event to its label in domain-log, to the score in its topic, to the reader.
        var parts = [QuantileSketch](repeating: QuantileSketch(), count: 3)
        var labels = 0
        var unpublished = 0
    }

    private func figures(
        _ delays: Delays, _ live: LiveRun, _ reports: [WorkerReport]
    ) -> [Figure] {
        func text(_ sketch: QuantileSketch) -> String {
            [0.5, 0.99].map { "\(Int(sketch.quantile($0) ?? 0))" }.joined(separator: "/")
        }
        let parts = zip(["enrich", "finetune", "reader"], delays.parts).map {
            "\($0) \(text($1))"
        }.joined(separator: ", ")
        let detail = [
            "\(delays.whole.count) labels of \(delays.labels), "
                + "\(Int(live.eventsPerSecond)) events/s for \(seconds) s",
            "p50/p99 by part: \(parts); \(live.scores.count) scores read",
            zip(["enrich", "finetune"], reports).map { "\($0): \($1.commitText)" }
                .joined(separator: "; "),
        ]
        return zip(
            [
                ("p50", 0.5, "63 ms"), ("p99", 0.99, "130 ms; goal 130 ms"),
                ("p999", 0.999, "200 ms"),
            ],
            detail
        ).map { quantile, detail in
            Figure(
                "kafka.freshness_\(quantile.0)", delays.whole.quantile(quantile.1) ?? 0, "ms",
                detail, others: "Kafka Streams \(quantile.2)")
        }
    }

    private func joined(
        _ fleet: BenchmarkFleet, _ live: LiveRun, from start: Double
    ) throws -> Delays {
        // events: the time of every record, by partition and ordinal.
        var appended = [[Int64]](repeating: [], count: BenchmarkFleet.partitions)
        try fleet.forEachRecord(of: .events) {
            appended[$0.partition].append($0.timestamp ?? 0)
        }
        let scores = ScoreIndex(live.scores)
        var delays = Delays()
        var ordinals = [Int64](repeating: 0, count: BenchmarkFleet.partitions)
        var items: [UInt64: UInt64] = [:]
        let reader = DomainLogReader()
        try fleet.forEachRecord(of: .domainLog) { record in
            let partition = record.partition
            let ordinal = ordinals[partition]
            ordinals[partition] += 1
            guard let value = record.value, let kind = try? reader.read(value) else { return }
            if kind == .impression {
                let impression = reader.impression
                items[key(impression.domain, impression.impression_id)] =
                    key(impression.domain, impression.item_id)
            }
            guard kind == .label else { return }
            let label = reader.label
            guard label.source < appended.count, label.ordinal < appended[label.source].count,
                let item = items[key(label.domain, label.impression_id)]
            else { return }
            let known = Double(appended[label.source][Int(label.ordinal)])
            guard known >= start else { return }
            delays.labels += 1
            guard let score = scores.find(partition: partition, from: ordinal, item: item) else {
                delays.unpublished += 1
                return
            }
            let labelAppended = Double(record.timestamp ?? 0)
            delays.whole.add(score.read - known)
            delays.parts[0].add(labelAppended - known)
            delays.parts[1].add(score.appended - labelAppended)
            delays.parts[2].add(score.read - score.appended)
        }
        guard delays.whole.count > 0 else {
            throw BenchmarkError("none of \(delays.labels) labels led to a score")
        }
        return delays
    }
}

func key(_ domain: ByteSlice, _ name: ByteSlice) -> UInt64 {
    Hash128(name, seed: Hash128(domain).low).low
}

/// A score as it was read.
struct ReadScore {
    var partition: Int
    /// Of the publish point.
    var ordinal: Int64
    /// `key` of domain and item.
    var item: UInt64
    /// When the broker appended it, and when it was read: milliseconds since the epoch.
    var appended: Double
    var read: Double
}

/// Finds the score of an item at a publish point.
private struct ScoreIndex {
    private struct Place: Hashable {
        var partition: Int
        var ordinal: Int64
        var item: UInt64
    }

    /// Ordinals of the publish points by partition, ascending.
    private let points: [[Int64]]
    private var scores: [Place: ReadScore] = [:]

    init(_ read: [ReadScore]) {
        var points = [Set<Int64>](repeating: [], count: BenchmarkFleet.partitions)
        scores.reserveCapacity(read.count)
        for score in read {
            points[score.partition].insert(score.ordinal)
            scores[
                Place(partition: score.partition, ordinal: score.ordinal, item: score.item)] = score
        }
        self.points = points.map { $0.sorted() }
    }

    /// The score that was published at the first publish point at or behind `ordinal`.
    func find(partition: Int, from ordinal: Int64, item: UInt64) -> ReadScore? {
        let points = points[partition]
        var (low, high) = (0, points.count)
        while low < high {
            let middle = (low + high) / 2
            if points[middle] < ordinal { low = middle + 1 } else { high = middle }
        }
        guard low < points.count else { return nil }
        return scores[Place(partition: partition, ordinal: points[low], item: item)]
    }
}
