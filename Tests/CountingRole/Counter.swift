// The smallest role that can lose or repeat something: it counts the records of each key.

import Bytes
import Contracts
import KafkaTransactions
import Streams
import WorkerRuntime

/// Publishes to `scores`, under the record's key, how many records with this key it has seen, and what
/// it has seen of each partition in all. A record without a key is time going on.
public final class Counter: Step {
    public struct Row: BitwiseCopyable {
        public var count: Int64 = 0
    }

    public struct Totals: BitwiseCopyable {
        public var records: Int64 = 0
        public var ticks: Int64 = 0
        public var newest: Int64 = 0
    }

    public final class State: PartitionState {
        public let counts = Table<Row>("counts", maximumRows: 1 << 20)
        public let totals = Block<Totals>("totals", Totals())
        public var tables: [any StateTable] { [counts, totals] }
        public func rebuild() {}
    }

    /// Records with this key end the process.
    private let fatalKey: [UInt8]?

    public init(crashesOn fatalKey: String? = nil) {
        self.fatalKey = fatalKey.map { Array($0.utf8) }
    }

    public var stepVersion: String { "counter/1" }
    public func makeState(partition: Int) -> State { State() }

    public func step(_ state: State, _ record: Record, into outbox: inout Outbox) {
        state.totals.value.pointee.newest = max(state.totals.value.pointee.newest, record.ordinal)
        guard let key = record.key else {
            state.totals.value.pointee.ticks += 1
            return
        }
        if let fatalKey, fatalKey.lend({ $0.equals(key) }) {
            fatalError("a record that is too much")
        }
        state.totals.value.pointee.records += 1
        let hash = Hash128(key)
        let row = state.counts.find(hash) ?? state.counts.insert(hash)
        state.counts[row].pointee.count += 1
        state.counts.markChanged(row)
        outbox.begin(Topic.scores)
        outbox.bytes.append(key)
        outbox.beginValue()
        outbox.bytes.append("\(state.counts[row].pointee.count)")
        outbox.end(headers: record.headers)
    }
}

/// A worker of this role in a process.
public struct CountingProcess: Sendable {
    public var address: String
    public var fleet: String
    public var slot: Int
    public var guarantee = KafkaLogSettings.Guarantee.exactlyOnce
    public var tickMilliseconds: Int?
    public var http: String?
    public var crashesOn: String?
    public var checkpointSeconds: Int64 = 2
    public var brokerlessMilliseconds: Int?
    public var commitMilliseconds: Int?

    public init(address: String, fleet: String, slot: Int) {
        self.address = address
        self.fleet = fleet
        self.slot = slot
    }

    public var settings: KafkaLogSettings {
        var settings = KafkaLogSettings(
            client: ClientProperties(bootstrapServers: address), fleet: fleet, role: "counter",
            slot: slot)
        settings.guarantee = guarantee
        settings.queueBytes = 32 << 20
        settings.outputs = [.scores, .checkpoints] + (crashesOn == nil ? [] : [.deadLetters])
        settings.hangingMilliseconds = 8_000
        settings.brokerlessMilliseconds =
            brokerlessMilliseconds ?? settings.brokerlessMilliseconds
        settings.commitMilliseconds = commitMilliseconds ?? settings.commitMilliseconds
        return settings
    }

    public var limits: WorkerLimits {
        var limits = WorkerLimits()
        limits.collectRecords = 500
        limits.checkpointRecords = 2_000
        limits.checkpointSeconds = checkpointSeconds
        // What ended it is to be replayed.
        if crashesOn != nil { limits.checkpointRecords = 1_000_000 }
        return limits
    }

    public var ticks: TickRule<Counter.State>? {
        guard let tickMilliseconds else { return nil }
        return TickRule(
            periodMilliseconds: tickMilliseconds, headers: [("coldstream-tick", fleet)],
            waitingSince: { state in
                // Three ticks after the last record are enough.
                let totals = state.totals.value.pointee
                return totals.records > 0 && totals.ticks < 3 ? totals.newest : nil
            }, appendValue: { time, bytes in bytes.append("\(time)") })
    }

    /// Works until `stop`; returns how the process is to end, or ends it.
    public func run(
        until stop: StopSignal, journal: Journal, watchdog: Watchdog = Watchdog(),
        endsProcess: Bool = false
    ) -> ExitCode {
        let status = WorkerStatus(
            fleet: fleet, worker: settings.slotName, version: "test",
            library: "\(LibraryVersion.running)")
        do {
            let server = try http.map { try StatusServer(status, address: $0) }
            defer { withExtendedLifetime(server) {} }
            let log = try KafkaLogClient(settings, input: Topic.events)
            let worker = KafkaWorker(
                role: Counter(crashesOn: crashesOn), log: log, input: Topic.events,
                checkpoints: Topic.checkpoints,
                limits: limits, ticks: ticks, status: status, journal: journal, watchdog: watchdog)
            if endsProcess { worker.runAndExit(until: stop) }
            try worker.run(until: stop)
            return .done
        } catch {
            journal(.error, "end", ("reason", .text("\(error)")))
            return ExitCode(error)
        }
    }
}
