// What a supervisor shows of the processes that it keeps running.

import JSON
import Synchronization

/// One process as a supervisor sees it.
public struct ProcessMoment: Equatable, Sendable {
    public enum State: String, Sendable { case waiting, running, finished }

    public var name: String
    public var state = State.waiting
    /// nil while none runs.
    public var id: Int32?
    /// Where it serves its own pages; nil: nowhere.
    public var http: String?
    public var starts: Int64 = 0
    /// Seconds since the epoch.
    public var startTime: Double?
    /// Ends by exit code; who is ended by a signal counts as 75.
    public var exits: [Int32: Int64] = [:]

    public init(name: String) { self.name = name }

    public var isUp: Bool { state == .running }
}

extension Metric {
    static let processUp = Metric(
        "coldstream_running_processes", .gauge, "1 while the process runs, else 0.",
        labels: ["process"])
    static let processStart = Metric(
        "coldstream_process_start_time_seconds", .gauge,
        "When the process was started last, in seconds since the epoch.", labels: ["process"])
    static let processStarts = Metric(
        "coldstream_process_starts_total", .counter, "How often the process was started.",
        labels: ["process"])
    static let processExits = Metric(
        "coldstream_process_exits_total", .counter,
        "How often the process ended, by exit code; one that a signal ended counts as 75 (start again).",
        labels: ["process", "code"])

    /// Of `up --brokers`.
    public static let ofSupervisors =
        ofProcesses + [processUp, processStart, processStarts, processExits]
}

/// The newest moment of a supervisor, for other threads.
public final class SupervisorStatus: StatusPages {
    private struct Moment {
        var processes: [ProcessMoment] = []
        var isDraining = false
        /// When the loop came by last; nil before the first time.
        var seen: ContinuousClock.Instant?
    }

    /// The loop looks at its processes many times a second; a look at the cluster may hold it up.
    public static let silenceSeconds = 90

    private let fleet: String
    private let worker: String
    private let version: String
    private let library: String
    private let moment = Mutex(Moment())
    private let startTime = Double(wallClock()) / 1e3

    /// - Parameter worker: the name in the label of all metrics, `<fleet>.up`.
    public init(fleet: String, worker: String, version: String, library: String) {
        self.fleet = fleet
        self.worker = worker
        self.version = version
        self.library = library
    }

    func publish(_ processes: [ProcessMoment], isDraining: Bool) {
        moment.withLock {
            $0 = Moment(processes: processes, isDraining: isDraining, seen: .now)
        }
    }

    public var processes: [ProcessMoment] { moment.withLock { $0.processes } }

    public var deadBecause: String? { deadBecause(at: .now) }

    func deadBecause(at now: ContinuousClock.Instant) -> String? {
        moment.withLock { moment in
            guard let seen = moment.seen, now - seen > .seconds(Self.silenceSeconds) else {
                return nil
            }
            return "the supervisor has not looked at its processes for \(Self.silenceSeconds) s"
        }
    }

    /// Ready is who has every process running, or through with its work. What each of them does, its own
    /// page says.
    public var unreadyBecause: String? {
        moment.withLock { moment in
            if moment.isDraining { return "draining" }
            guard moment.seen != nil else { return "starting" }
            let missing = moment.processes.filter { $0.state == .waiting }.map(\.name)
            return missing.isEmpty ? nil : "waiting for \(missing.joined(separator: ", "))"
        }
    }

    public var json: String {
        let now = moment.withLock { $0 }
        let reason = deadBecause ?? unreadyBecause
        return JSONValue.object([
            JSONMember("fleet", .text(fleet)), JSONMember("worker", .text(worker)),
            JSONMember("role", .text("up")),
            JSONMember(
                "state",
                .text(now.isDraining ? "draining" : reason == nil ? "assigned" : "starting")),
            JSONMember("reason", reason.map { .text($0) } ?? .null),
            JSONMember("version", .text(version)), JSONMember("librdkafka", .text(library)),
            JSONMember("start_time_s", .number(startTime)),
            JSONMember("uptime_s", .number(Double(wallClock()) / 1e3 - startTime)),
            JSONMember("processes", .array(now.processes.map(\.json))),
        ]).canonicalText
    }

    public var metrics: String {
        var page = MetricValues(Metric.ofSupervisors)
        page.add(.buildInfo, 1 as Int64, "up", "", version, library, "", "")
        page.addProcess(startTime: startTime)
        page.add(.ready, unreadyBecause == nil ? 1 : 0 as Int64)
        for process in processes {
            page.add(.processUp, process.isUp ? 1 : 0 as Int64, process.name)
            if let time = process.startTime { page.add(.processStart, time, process.name) }
            page.add(.processStarts, process.starts, process.name)
            for (code, count) in process.exits.sorted(by: { $0.key < $1.key }) {
                page.add(.processExits, count, process.name, "\(code)")
            }
        }
        return page.text(common: [("fleet", fleet), ("worker", worker)])
    }
}

extension ProcessMoment {
    fileprivate var json: JSONValue {
        .object([
            JSONMember("name", .text(name)), JSONMember("state", .text(state.rawValue)),
            JSONMember("pid", id.map { .integer(Int64($0)) } ?? .null),
            JSONMember("http", http.map { .text($0) } ?? .null),
            JSONMember("starts", .integer(starts)),
            JSONMember("start_time_s", startTime.map { .number($0) } ?? .null),
            JSONMember(
                "exits",
                .object(
                    exits.map { ("\($0)", $1) }.sorted { $0.0 < $1.0 }
                        .map { JSONMember($0, .integer($1)) })),
        ])
    }
}
