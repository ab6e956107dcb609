// What a worker shows of itself: written by its thread once a turn, read by the HTTP thread.

import JSON
import Synchronization

/// One partition as `/status` shows it.
public struct PartitionStatus: Equatable, Sendable {
    public var partition: Int
    public var ordinal: Int64
    /// Upper bound in records.
    public var lag: Int64

    public init(partition: Int, ordinal: Int64, lag: Int64) {
        self.partition = partition
        self.ordinal = ordinal
        self.lag = lag
    }
}

/// One number of a role, beside those that every worker has.
public struct WorkerMetric: Equatable, Sendable {
    public enum Kind: String, Sendable { case counter, gauge }

    /// The full name; equal names stand together.
    public var name: String
    public var help: String
    public var kind: Kind
    public var value: Double
    /// Of bounded variety.
    public var labels: [String]

    public init(
        _ name: String, _ help: String, _ kind: Kind, _ value: Double,
        labels: [(name: String, value: String)] = []
    ) {
        self.name = name
        self.help = help
        self.kind = kind
        self.value = value
        self.labels = labels.map { "\($0.name)=\"\($0.value)\"" }
    }
}

/// A moment of a worker.
public struct WorkerMoment: Sendable {
    public enum Phase: String, Sendable {
        case starting, recovering, running, draining, stopped
    }

    public var phase = Phase.starting
    public var partitions: [PartitionStatus] = []
    public var counters = LogCounters()
    public var recordsIgnored = 0
    public var recoveries = 0
    public var recordsReplayed: Int64 = 0
    public var lagSeconds: Double = 0
    public var extra: [WorkerMetric] = []

    public init() {}
}

/// The newest moment of a worker, for other threads.
public final class WorkerStatus: Sendable {
    public let fleet: String
    public let worker: String
    public let version: String
    public let library: String
    private let moment = Mutex(WorkerMoment())
    private let started = ContinuousClock.now

    public init(fleet: String, worker: String, version: String, library: String) {
        self.fleet = fleet
        self.worker = worker
        self.version = version
        self.library = library
    }

    public func publish(_ newest: WorkerMoment) { moment.withLock { $0 = newest } }

    public var newest: WorkerMoment { moment.withLock { $0 } }

    /// Recovered, assigned and taking part.
    public var isReady: Bool { newest.phase == .running }

    private func seconds(since instant: ContinuousClock.Instant) -> Double {
        let age = (ContinuousClock.now - instant).components
        return Double(age.seconds) + Double(age.attoseconds) / 1e18
    }

    /// The text of `/status`.
    public var json: String {
        let now = newest
        let commitAge = now.counters.lastCommit.map { JSONValue.number(seconds(since: $0)) }
        return JSONValue.object([
            JSONMember("fleet", .text(fleet)), JSONMember("worker", .text(worker)),
            JSONMember("phase", .text(now.phase.rawValue)),
            JSONMember("version", .text(version)), JSONMember("librdkafka", .text(library)),
            JSONMember("seconds", .number(seconds(since: started))),
            JSONMember("records_in", .integer(now.counters.recordsIn)),
            JSONMember("records_out", .integer(now.counters.recordsOut)),
            JSONMember("commits", .integer(now.counters.commits)),
            JSONMember("last_commit_seconds_ago", commitAge ?? .null),
            JSONMember("lag_records", .integer(now.partitions.reduce(0) { $0 + $1.lag })),
            JSONMember("lag_seconds", .number(now.lagSeconds)),
            JSONMember(
                "partitions",
                .array(
                    now.partitions.map {
                        .object([
                            JSONMember("partition", .integer(Int64($0.partition))),
                            JSONMember("ordinal", .integer($0.ordinal)),
                            JSONMember("lag_records", .integer($0.lag)),
                        ])
                    })),
        ]).canonicalText
    }

    /// The text of `/metrics`, in the format of Prometheus.
    public var metrics: String {
        let now = newest
        let labels = "fleet=\"\(fleet)\",worker=\"\(worker)\""
        var text = ""
        func metric(
            _ name: String, _ kind: String, _ help: String,
            _ values: [(labels: String, value: Double)]
        ) {
            text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind)\n"
            for (more, value) in values {
                let number =
                    value.rounded() == value && abs(value) < 1e15
                    ? "\(Int64(value))" : "\(value)"
                text += "\(name){\(labels)\(more)} \(number)\n"
            }
        }
        func counter(_ name: String, _ help: String, _ value: Int64) {
            metric(name, "counter", help, [("", Double(value))])
        }
        counter(
            "coldstream_records_in_total", "Records taken from the log.", now.counters.recordsIn)
        counter("coldstream_records_out_total", "Records committed.", now.counters.recordsOut)
        counter(
            "coldstream_records_ignored_total", "Records below the expected offset.",
            Int64(now.recordsIgnored))
        counter("coldstream_commits_total", "Transactions committed.", now.counters.commits)
        metric(
            "coldstream_commit_seconds_total", "counter", "Time spent in commits.",
            [("", now.counters.commitSeconds)])
        metric(
            "coldstream_commit_longest_seconds", "gauge", "The longest commit.",
            [("", now.counters.longestCommitSeconds)])
        counter("coldstream_recoveries_total", "Partitions recovered.", Int64(now.recoveries))
        counter(
            "coldstream_records_replayed_total", "Records replayed in recoveries.",
            now.recordsReplayed)
        metric(
            "coldstream_lag_records", "gauge", "Records not processed yet, at most.",
            now.partitions.map { (",partition=\"\($0.partition)\"", Double($0.lag)) })
        metric(
            "coldstream_lag_seconds", "gauge", "Age of the newest processed record while behind.",
            [("", now.lagSeconds)])
        metric(
            "coldstream_ordinal_records", "gauge", "Records processed since the beginning.",
            now.partitions.map { (",partition=\"\($0.partition)\"", Double($0.ordinal)) })
        metric(
            "coldstream_ready", "gauge", "1 when recovered and assigned.", [("", isReady ? 1 : 0)])
        var told: Set<String> = []
        for first in now.extra where told.insert(first.name).inserted {
            metric(
                first.name, first.kind.rawValue, first.help,
                now.extra.filter { $0.name == first.name }
                    .map { ($0.labels.map { ",\($0)" }.joined(), $0.value) })
        }
        return text
    }
}
