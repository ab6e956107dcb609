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
    private let metrics: RoleMetrics<Role.State>

    private var moment = WorkerMoment()
    private var published = ContinuousClock.now
    private var recoveries = 0
    private var recordsReplayed: Int64 = 0
    private var times = BatchTimes()
    /// When the states are read for metrics again. They are read at intervals so long that it takes a
    /// hundredth of the time at most, however many domains there are.
    private var nextReading = ContinuousClock.now
    private var checkpointed = ContinuousClock.now
    /// Seconds that a turn may take. A commit is bounded by the transaction's timeout.
    private let turnSeconds = 60

    /// - Parameters:
    ///   - checkpoints: the compacted topic for checkpoints and positions.
    ///   - ticks: nil for roles that own no time.
    public init<Topic: RawRepresentable>(
        role: Role, log: KafkaLogClient, input: Topic, checkpoints: Topic,
        limits: WorkerLimits = WorkerLimits(), ticks: TickRule<Role.State>? = nil,
        metrics: RoleMetrics<Role.State> = RoleMetrics(), status: WorkerStatus, journal: Journal,
        watchdog: Watchdog = Watchdog()
    ) where Topic.RawValue == UInt16 {
        self.log = log
        self.status = status
        self.journal = journal
        self.watchdog = watchdog
        self.metrics = metrics
        let letters = DeadLetterWriter(log.settings.identity)
        worker = StepWorker(
            role: role, client: log, group: log.settings.group, input: input,
            checkpoints: checkpoints, limits: limits,
            skip: { record, outbox in
                DeadLetter.appendSkipped(
                    record, headers: log.headers(of: record), by: letters, to: &outbox)
            })
        checkpointsName = log.settings.topics[number: checkpoints.rawValue]
        self.ticks = ticks.map { TickDriver($0, log.settings, input: input) }
        let start = ContinuousClock.now
        worker.seconds = { (ContinuousClock.now - start) / .seconds(1) }
        status.describe { $0.stepVersion = role.stepVersion }
        status.watch(watchdog)
        log.watchdog = watchdog
        log.recoveryProgress = { [weak self] topic, partition, at, end in
            self?.recovering(topic, partition, at, end)
        }
        log.recoveryWaits = { [weak self] in self?.waiting($0) }
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
            let stepped = try notingErrors { try worker.turn() }
            try afterTurn(stepped)
        }
        try notingErrors { try drain() }
    }

    /// A failed commit has one line a partition, with the offset that it was to reach; a partition that
    /// is refused stands in the status.
    private func notingErrors<Result>(_ body: () throws -> Result) throws -> Result {
        do { return try body() } catch {
            if let quarantine = error as? Quarantine {
                moment.quarantine = quarantine.description
                publish(.quarantined)
            }
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
        noteProgress(stepped)
        let phase: WorkerMoment.Phase = log.hasAssignment ? .assigned : .starting
        if phase != moment.phase {
            journal(
                .notice, phase == .assigned ? "assigned" : "revoked",
                ("partitions", .array(worker.ordinals.map { .integer(Int64($0.partition)) })))
        }
        for line in log.takeLog() where line.level <= 4 {
            journal(
                .debug, "librdkafka", ("subject", .text(line.subject)), ("text", .text(line.text)))
        }
        if phase == .assigned, let ticks {
            try ticks.tick(
                worker.ordinals.compactMap { partition, ordinal in
                    worker.state(of: partition).map { (partition, ordinal, $0) }
                })
        }
        if phase == .assigned,
            ContinuousClock.now - checkpointed > .seconds(worker.limits.checkpointSeconds)
        {
            checkpointed = ContinuousClock.now
            try notingErrors { try worker.checkpointWhatMoved() }
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
            times.forget(recovery.partition)
            recoveries += 1
            recordsReplayed += recovery.replayed
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
        moment.recovery = RecoveryProgress(topic: topic, partition: partition, offset: at, end: end)
        publish(.recovering)
    }

    /// Once a batch: how old what was stepped over is, and how long it waited for what it led to.
    private func noteProgress(_ stepped: Int) {
        let owned = worker.ordinals.map(\.partition)
        for partition in times.partitions where !owned.contains(partition) {
            times.forget(partition)
        }
        for partition in owned where !times.partitions.contains(partition) {
            times.begin(partition, publication(of: partition))
        }
        guard stepped > 0 else { return }
        times.committed(worker.collected, at: wallClock(), publication)
    }

    private func publication(of partition: Int) -> Publication? {
        guard let publication = metrics.publication else { return nil }
        return worker.state(of: partition).map(publication)
    }

    private func waiting(_ wait: RecoveryWait) {
        watchdog.expect(
            within: max(turnSeconds, wait.limitMilliseconds / 1_000 + 30),
            "recovery of \(wait.partition) stands still")
        journal(.notice, "waiting", ("for", .text("\(wait)")))
        publish(.recovering, waitingFor: "\(wait)")
    }

    private func publish(_ phase: WorkerMoment.Phase, waitingFor: String? = nil) {
        published = ContinuousClock.now
        moment.waitingFor = waitingFor
        let (lags, now) = (log.lags, wallClock())
        if phase != .recovering { moment.recovery = nil }
        // Reading many states takes time that the worker lacks: all at the end of a phase, else now and
        // then.
        let isDue = published >= nextReading || phase != moment.phase
        moment.phase = phase
        log.readQueues()
        var input = InputMoment(topic: log.inputTopic, counters: log.counters)
        input.recordsIgnored = Int64(worker.recordsIgnored)
        input.recordsSkipped = worker.recordsSkipped
        moment.inputs = [input]
        moment.partitions = worker.ordinals.map { partition, ordinal in
            let lag = lags[partition] ?? 0
            func age(_ time: Int64?) -> Double? { time.map { max(0, Double(now - $0) / 1e3) } }
            return PartitionStatus(
                topic: input.topic, partition: partition, ordinal: ordinal, lag: lag,
                lagSeconds: lag > 0 ? age(times.newest[partition]) ?? 0 : 0,
                eventDelaySeconds: age(worker.state(of: partition).flatMap(metrics.eventTime)))
        }
        if isDue, phase != .recovering { readStates() }
        status.publish(moment)
    }

    private func readStates() {
        let states = worker.ordinals.compactMap { partition, _ in
            worker.state(of: partition).map { (partition: partition, state: $0) }
        }
        moment.more = metrics.values(
            of: states, worker.checkpoints, recoveries: recoveries, replayed: recordsReplayed,
            recoverySeconds: log.counters.recoverySeconds, freshness: times.freshness)
        let took = ContinuousClock.now - published
        nextReading = published + max(.seconds(1), took * 100)
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
            var headers = RecordHeaders()
            let (name, schema) = TopicContract.header(.checkpoints)
            headers.append(name, schema)
            try producer.produce(
                producer.topic(topic), partition: partition, key: key, value: value.slice,
                headers: headers)
        }
        try producer.flush(timeoutMilliseconds: Int(CrashNotes.patienceMilliseconds))
    }
}
