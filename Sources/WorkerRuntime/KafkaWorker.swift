// One role in one slot on Kafka: the loop of the design, with what an operator sees around it.

import Bytes
import Contracts
import JSON
import KafkaTransactions
import Streams

#if canImport(Glibc)
    import Glibc
#endif

/// Runs a step role until it is asked to stop, or dies of an error (`ExitCode`).
///
/// One thread. Collect, step, commit; recover what is assigned; tick quiet partitions; on SIGTERM write
/// a checkpoint, so that an upgrade replays nothing.
public final class KafkaWorker<Role: Step> {
    public let worker: StepWorker<Role, KafkaLogClient>
    private let log: KafkaLogClient
    private let checkpointsName: String
    private let status: WorkerStatus
    private let journal: Journal
    private let watchdog: Watchdog
    private let ticks: TickDriver<Role.State>?

    private var moment = WorkerMoment()
    private var published = ContinuousClock.now
    private var checkpointed = ContinuousClock.now
    /// Seconds that a turn may take. A commit is bounded by the transaction's timeout.
    private let turnSeconds = 60

    /// - Parameters:
    ///   - checkpoints: the compacted topic for checkpoints and positions.
    ///   - ticks: nil for roles that own no time.
    public init<Topic: RawRepresentable>(
        role: Role, log: KafkaLogClient, input: Topic, checkpoints: Topic,
        limits: WorkerLimits = WorkerLimits(), ticks: TickRule<Role.State>? = nil,
        status: WorkerStatus, journal: Journal, watchdog: Watchdog = Watchdog()
    ) where Topic.RawValue == UInt16 {
        self.log = log
        self.status = status
        self.journal = journal
        self.watchdog = watchdog
        worker = StepWorker(
            role: role, client: log, group: log.settings.group, input: input,
            checkpoints: checkpoints, limits: limits, skip: DeadLetter.appendSkipped)
        checkpointsName = log.settings.topics[number: checkpoints.rawValue]
        self.ticks = ticks.map { TickDriver($0, log.settings, input: input) }
        log.recoveryProgress = { [weak self] topic, partition, at, end in
            self?.recovering(topic, partition, at, end)
        }
    }

    /// Works until `stop` is raised, then drains.
    public func run(until stop: StopSignal) throws {
        journal(.notice, "start", ("librdkafka", .text("\(LibraryVersion.running)")))
        watchdog.start()
        while !stop.isRaised {
            // A turn may recover partitions, and says so while it does.
            watchdog.expect(
                within: max(turnSeconds, 2 * log.settings.recoveryStallMilliseconds / 1_000),
                "a turn took too long")
            let stepped = try notingFailedCommits { try worker.turn() }
            try afterTurn(stepped)
        }
        try notingFailedCommits { try drain() }
    }

    /// One line a partition, with the offset that it was to reach.
    private func notingFailedCommits<Result>(_ body: () throws -> Result) throws -> Result {
        do { return try body() } catch {
            for position in log.uncommitted {
                journal(
                    .error, "commit failed", ("partition", .integer(Int64(position.partition))),
                    ("offset", .integer(position.next)), ("reason", .text("\(error)")))
            }
            throw error
        }
    }

    /// Works until `stop` is raised, writes how it ended, and ends the process then and there:
    /// crash-only, nothing is destroyed, so nothing can hang in it.
    public func runAndExit(until stop: StopSignal) -> Never {
        let group = log.settings.group
        let client = log.settings.client
        let (journal, name) = (journal, checkpointsName)
        CrashNotes(worker.cursor) { partition, note, signal in
            journal(
                .error, "crashed", ("partition", .integer(Int64(partition))),
                ("offset", .integer(note.offset)), ("times", .integer(note.count)),
                ("signal", .integer(Int64(signal))))
            do {
                try note.write(to: name, partition: partition, group: group, client)
            } catch { journal(.error, "crash not noted", ("reason", .text("\(error)"))) }
        }.install()
        do {
            try run(until: stop)
            _exit(ExitCode.done.rawValue)
        } catch {
            journal(.error, "end", ("reason", .text("\(error)")))
            _exit(ExitCode(error).rawValue)
        }
    }

    private func afterTurn(_ stepped: Int) throws {
        noteRecoveries()
        let phase: WorkerMoment.Phase = log.hasAssignment ? .running : .starting
        if phase != moment.phase {
            journal(
                .notice, phase == .running ? "assigned" : "revoked",
                ("partitions", .array(worker.ordinals.map { .integer(Int64($0.partition)) })))
        }
        for line in log.takeLog() where line.level <= 4 {
            journal(
                .debug, "librdkafka", ("subject", .text(line.subject)), ("text", .text(line.text)))
        }
        if phase == .running, let ticks {
            try ticks.tick(
                worker.ordinals.compactMap { partition, ordinal in
                    worker.state(of: partition).map { (partition, ordinal, $0) }
                })
        }
        if phase == .running,
            ContinuousClock.now - checkpointed > .seconds(worker.limits.checkpointSeconds)
        {
            checkpointed = ContinuousClock.now
            try notingFailedCommits { try worker.checkpointWhatMoved() }
        }
        guard phase != moment.phase || ContinuousClock.now - published > .milliseconds(250) else {
            return
        }
        publish(phase)
    }

    private func noteRecoveries() {
        for skip in worker.takeSkips() {
            journal(
                .error, "skipped", ("partition", .integer(Int64(skip.partition))),
                ("offset", .integer(skip.offset)), ("ordinal", .integer(skip.ordinal)))
        }
        for recovery in worker.takeRecoveries() {
            moment.recoveries += 1
            moment.recordsReplayed += recovery.replayed
            journal(
                .notice, "restored", ("partition", .integer(Int64(recovery.partition))),
                ("rows", .integer(Int64(recovery.rows))), ("replayed", .integer(recovery.replayed)),
                ("ordinal", .integer(recovery.ordinal)))
        }
    }

    private func recovering(_ topic: String, _ partition: Int, _ at: Int64, _ end: Int64) {
        watchdog.expect(within: turnSeconds, "recovery of \(topic)/\(partition) stands still")
        guard ContinuousClock.now - published > .seconds(2) else { return }
        journal(
            .notice, "recovering", ("topic", .text(topic)),
            ("partition", .integer(Int64(partition))),
            ("offset", .integer(at)), ("end", .integer(end)))
        publish(.recovering)
    }

    private func publish(_ phase: WorkerMoment.Phase) {
        published = ContinuousClock.now
        let lags = log.lags
        moment.phase = phase
        moment.counters = log.counters
        moment.recordsIgnored = worker.recordsIgnored
        moment.partitions = worker.ordinals.map {
            PartitionStatus(
                partition: $0.partition, ordinal: $0.ordinal, lag: lags[$0.partition] ?? 0)
        }
        let isBehind = moment.partitions.contains { $0.lag > 0 }
        moment.lagSeconds =
            isBehind
            ? log.counters.newestTimestamp.map { max(0, Double(wallClock() - $0) / 1e3) } ?? 0 : 0
        status.publish(moment)
    }

    /// Nothing uncommitted exists between turns: a checkpoint makes the next start replay nothing. The
    /// membership is kept: the successor in this slot gets the partitions without a rebalance.
    private func drain() throws {
        publish(.draining)
        watchdog.expect(within: turnSeconds, "the last checkpoint took too long")
        try worker.checkpointAll()
        watchdog.rest()
        publish(.stopped)
        journal(.notice, "stop", ("records_in", .integer(log.counters.recordsIn)))
    }
}

extension CrashNote {
    /// Writes the note outside of any transaction, by a client of its own: the worker's stand still.
    func write(
        to topic: String, partition: Int, group: String, _ client: ClientProperties
    ) throws {
        var settings = ProducerSettings(client: client)
        settings.lingerMilliseconds = 0
        settings.queueBytes = 1 << 20
        let producer = try IdempotentProducer(settings)
        var value = ByteBuffer()
        append(to: &value)
        try CrashNote.key(group: group, partition: partition).lend { key in
            try producer.produce(
                producer.topic(topic), partition: partition, key: key, value: value.slice)
        }
        try producer.flush(timeoutMilliseconds: Int(CrashNotes.patienceMilliseconds))
    }
}
