// What a worker shows of itself: written by its thread after a turn, read by the HTTP thread.

import Contracts
import JSON
import Synchronization

/// One partition as `/status` shows it.
public struct PartitionStatus: Equatable, Sendable {
    /// The contract's name, not the cluster's.
    public var topic: String
    public var partition: Int
    public var ordinal: Int64
    /// Upper bound in records.
    public var lag: Int64
    /// While behind, the age of the newest record processed; else 0.
    public var lagSeconds: Double
    /// How far the newest event time lies behind the clock; nil where the role knows none.
    public var eventDelaySeconds: Double?

    public init(
        topic: String, partition: Int, ordinal: Int64, lag: Int64, lagSeconds: Double = 0,
        eventDelaySeconds: Double? = nil
    ) {
        self.topic = topic
        self.partition = partition
        self.ordinal = ordinal
        self.lag = lag
        self.lagSeconds = lagSeconds
        self.eventDelaySeconds = eventDelaySeconds
    }
}

/// How far a recovery has come.
public struct RecoveryProgress: Equatable, Sendable {
    /// The cluster's name of what is being read.
    public var topic: String
    public var partition: Int
    public var offset: Int64
    /// Where reading ends.
    public var end: Int64
}

/// What a worker's client of one input has done.
public struct InputMoment: Sendable {
    /// The contract's name of the input.
    public var topic: String
    public var counters = LogCounters()
    public var recordsIgnored: Int64 = 0
    public var recordsSkipped: Int64 = 0

    public init(topic: String, counters: LogCounters = LogCounters()) {
        self.topic = topic
        self.counters = counters
    }
}

/// A moment of a worker.
public struct WorkerMoment: Sendable {
    public enum Phase: String, Sendable {
        case starting, recovering, assigned, draining, stopped, quarantined
    }

    public var phase = Phase.starting
    /// What a recovery stands and waits for.
    public var waitingFor: String?
    public var partitions: [PartitionStatus] = []
    public var inputs: [InputMoment] = []
    /// While recovering; the partition that is being read.
    public var recovery: RecoveryProgress?
    /// Why a partition is refused, once one is.
    public var quarantine: String?
    /// What only some workers have.
    public var more = MetricValues()

    public init() {}

    /// Of all inputs.
    public var counters: LogCounters {
        inputs.dropFirst().reduce(into: inputs.first?.counters ?? LogCounters()) {
            $0.merge($1.counters)
        }
    }
}

/// What is behind an address of `--http`.
public protocol StatusPages: AnyObject, Sendable {
    /// The text of `/metrics`.
    var metrics: String { get }
    /// The text of `/status`.
    var json: String { get }
    /// Why the process should be ended; nil while it lives.
    var deadBecause: String? { get }
    /// Why nothing should be expected of it yet; nil when it is ready.
    var unreadyBecause: String? { get }
}

/// The newest moment of a worker, for other threads.
public final class WorkerStatus: StatusPages {
    /// What a worker is told of itself after it was made.
    public struct Facts: Sendable {
        /// Names the code and the settings that decide bytes.
        public var stepVersion: String?
        /// The class of kernels that decides bytes.
        public var numerics: String?
        /// The broker's release as far as its requests tell.
        public var broker: String?
    }

    public let fleet: String
    public let worker: String
    public let version: String
    public let library: String
    private let moment = Mutex(WorkerMoment())
    private let facts = Mutex(Facts())
    private let watchdog = Mutex<Watchdog?>(nil)
    private let started = ContinuousClock.now
    private let startTime = Double(wallClock()) / 1e3

    /// - Parameter worker: `<fleet>.<role>.<slot>`.
    public init(fleet: String, worker: String, version: String, library: String) {
        self.fleet = fleet
        self.worker = worker
        self.version = version
        self.library = library
    }

    public func publish(_ newest: WorkerMoment) { moment.withLock { $0 = newest } }

    public var newest: WorkerMoment { moment.withLock { $0 } }

    public func describe(_ change: (inout Facts) -> Void) { facts.withLock { change(&$0) } }

    /// Lives as long as this is content.
    public func watch(_ watchdog: Watchdog) { self.watchdog.withLock { $0 = watchdog } }

    public var deadBecause: String? { watchdog.withLock { $0 }?.overdue() }

    /// Ready is who has recovered, is assigned and takes part.
    public var unreadyBecause: String? {
        let phase = newest.phase
        return phase == .assigned ? nil : phase.rawValue
    }

    public var isReady: Bool { unreadyBecause == nil }

    /// The words of `<fleet>.<role>.<slot>` that the fleet's name leaves.
    private var place: (role: String, slot: String) {
        let words = worker.split(separator: ".")
        guard words.count >= 3 else { return (worker, "") }
        return (String(words[words.count - 2]), String(words[words.count - 1]))
    }

    private func seconds(since instant: ContinuousClock.Instant) -> Double {
        (ContinuousClock.now - instant) / .seconds(1)
    }

    public var json: String {
        let now = newest
        let facts = facts.withLock { $0 }
        let counters = now.counters
        func text(_ value: String?) -> JSONValue { value.map { .text($0) } ?? .null }
        func number(_ value: Double?) -> JSONValue { value.map { .number($0) } ?? .null }
        return JSONValue.object([
            JSONMember("fleet", .text(fleet)), JSONMember("worker", .text(worker)),
            JSONMember("role", .text(place.role)), JSONMember("slot", text(place.slot)),
            JSONMember("state", .text(now.phase.rawValue)),
            JSONMember("reason", text(now.quarantine ?? deadBecause)),
            JSONMember("recovery", now.recovery?.json ?? .null),
            JSONMember("waiting_for", text(now.waitingFor)),
            JSONMember("version", .text(version)), JSONMember("librdkafka", .text(library)),
            JSONMember("broker", text(facts.broker)),
            JSONMember("step_version", text(facts.stepVersion)),
            JSONMember("numerics", text(facts.numerics)),
            // There is none until a foundation is trained and released.
            JSONMember("release", .null),
            JSONMember("start_time_s", .number(startTime)),
            JSONMember("uptime_s", .number(seconds(since: started))),
            JSONMember("records_in", .integer(counters.recordsIn)),
            JSONMember("records_out", .integer(counters.recordsOut)),
            JSONMember(
                "commits",
                .object([
                    JSONMember("count", .integer(counters.commits)),
                    JSONMember(
                        "last_time_ms", counters.lastCommitTime.map { .integer($0) } ?? .null),
                    JSONMember("last_age_s", number(counters.lastCommit.map(seconds(since:)))),
                    JSONMember("last_duration_s", number(counters.lastCommitSeconds)),
                    JSONMember("longest_duration_s", .number(counters.longestCommitSeconds)),
                ])),
            JSONMember("lag_records", .integer(now.partitions.reduce(0) { $0 + $1.lag })),
            JSONMember("lag_seconds", .number(now.partitions.map(\.lagSeconds).max() ?? 0)),
            JSONMember("partitions", .array(now.partitions.map(\.json))),
        ]).canonicalText
    }

    public var metrics: String {
        let now = newest
        let facts = facts.withLock { $0 }
        var page = MetricValues(Metric.ofWorkers)
        page.add(
            .buildInfo, 1 as Int64, place.role, place.slot, version, library,
            facts.numerics ?? "", facts.stepVersion ?? "")
        page.addProcess(startTime: startTime)
        page.add(.ready, now.phase == .assigned ? 1 : 0 as Int64)
        page.add(.quarantined, now.quarantine == nil ? 0 : 1 as Int64)
        for input in now.inputs {
            page.add(.recordsIn, input.counters.recordsIn, input.topic)
            page.add(
                .recordsProcessed, input.counters.recordsIn - input.recordsIgnored, input.topic)
            page.add(.recordsIgnored, input.recordsIgnored, input.topic)
            page.add(.recordsSkipped, input.recordsSkipped, input.topic)
        }
        let counters = now.counters
        for topic in Topic.allCases where counters.isWritten(topic.rawValue) {
            page.add(.recordsOut, counters.recordsOut(to: topic.rawValue), topic.name)
        }
        for reason in DeadLetterReason.allCases {
            page.add(.deadLetters, counters.deadLetters(reason), "\(reason.word)")
        }
        page.add(.commitSeconds, counters.commitTimes)
        page.add(.longestCommit, counters.longestCommitSeconds)
        page.add(.committed, counters.commits)
        page.add(.aborted, counters.aborts)
        for place in now.partitions {
            page.add(.lagRecords, place.lag, place.topic, "\(place.partition)")
            page.add(.lagSeconds, place.lagSeconds, place.topic, "\(place.partition)")
            page.add(.position, place.ordinal, place.topic, "\(place.partition)")
            if let delay = place.eventDelaySeconds {
                page.add(.eventDelay, delay, "\(place.partition)")
            }
        }
        page.add(.queueBytes, counters.fetchedBytes, "fetched")
        page.add(.queueBytes, counters.producedBytes, "produced")
        page.add(.connectionsLost, counters.connectionsLost)
        page.append(now.more)
        return page.text(common: [("fleet", fleet), ("worker", worker)])
    }
}

extension PartitionStatus {
    fileprivate var json: JSONValue {
        .object([
            JSONMember("topic", .text(topic)),
            JSONMember("partition", .integer(Int64(partition))),
            JSONMember("ordinal", .integer(ordinal)), JSONMember("lag_records", .integer(lag)),
            JSONMember("lag_seconds", .number(lagSeconds)),
            JSONMember("event_delay_seconds", eventDelaySeconds.map { .number($0) } ?? .null),
        ])
    }
}

extension RecoveryProgress {
    fileprivate var json: JSONValue {
        .object([
            JSONMember("topic", .text(topic)),
            JSONMember("partition", .integer(Int64(partition))),
            JSONMember("offset", .integer(offset)), JSONMember("end", .integer(end)),
        ])
    }
}

extension MetricValues {
    /// What every process shows of the machine.
    mutating func addProcess(startTime: Double) {
        let use = ProcessUse()
        add(.startTime, startTime)
        add(.residentBytes, use.residentBytes)
        add(.peakBytes, use.peakBytes)
        add(.processorSeconds, use.processorSeconds)
    }
}
