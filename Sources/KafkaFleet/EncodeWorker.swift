// The job of encode in one slot on Kafka, with what an operator sees around it.

import Contracts
import Encode
import JSON
import KafkaTransactions
import WorkerRuntime

#if canImport(Glibc)
    import Glibc
#endif

/// Runs encode until it is asked to stop, or dies of an error (`ExitCode`).
public final class EncodeWorker {
    public let job: Encode<KafkaLogClient>
    private let maker: (any VectorMaker)?
    private let around: KafkaFleet.Surroundings
    private var moment = WorkerMoment()
    private var published = ContinuousClock.now
    private var told = ContinuousClock.now
    private var toldTexts: Int64 = 0
    /// When a failing encoder was told of last; nil while it works.
    private var toldFailure: ContinuousClock.Instant?
    /// Seconds that a turn may take. A commit is bounded by the transaction's timeout.
    private let turnSeconds = 60
    /// Seconds between two lines about progress.
    private let progressSeconds = 10

    init(
        _ job: Encode<KafkaLogClient>, _ maker: (any VectorMaker)?,
        _ around: KafkaFleet.Surroundings
    ) {
        self.job = job
        self.maker = maker
        self.around = around
        around.status.watch(around.watchdog)
        for log in logs {
            log.watchdog = around.watchdog
            log.recoveryProgress = { [around, turnSeconds] topic, partition, _, _ in
                around.watchdog.expect(
                    within: turnSeconds, "reading \(topic)/\(partition) stands still")
            }
        }
    }

    private var logs: [KafkaLogClient] { [job.client] + (job.textsClient.map { [$0] } ?? []) }

    /// Works until `stop` is raised. Nothing uncommitted exists between turns.
    public func run(until stop: StopSignal) throws {
        around.journal(
            .notice, "start", ("librdkafka", .text("\(LibraryVersion.running)")),
            ("encoder", .text(maker?.identity.name ?? "none")))
        around.watchdog.start()
        while !stop.isRaised {
            around.watchdog.expect(within: turnSeconds, "a turn took too long")
            try job.turn()
            afterTurn()
        }
        around.watchdog.rest()
        publish(.stopped)
        around.journal(
            .notice, "stop", ("items", .integer(job.counts.items)),
            ("owed", .integer(Int64(job.owed))))
    }

    /// Works until `stop` is raised, writes how it ended, and ends the process then and there.
    public func runAndExit(until stop: StopSignal) -> Never {
        do {
            try run(until: stop)
            _exit(ExitCode.done.rawValue)
        } catch {
            around.journal(.error, "end", ("reason", .text("\(error)")))
            _exit(ExitCode(error).rawValue)
        }
    }

    private func afterTurn() {
        for log in logs {
            for line in log.takeLog() where line.level <= 4 {
                around.journal(
                    .debug, "librdkafka", ("subject", .text(line.subject)),
                    ("text", .text(line.text)))
            }
        }
        tellOfEncoder()
        let phase: WorkerMoment.Phase =
            logs.allSatisfy(\.hasAssignment) ? .assigned : .starting
        guard phase != moment.phase || ContinuousClock.now - published > .milliseconds(250) else {
            return
        }
        publish(phase)
    }

    /// A line when the encoder fails, every minute while it does, and when it is back; and one about
    /// progress now and then while texts are encoded.
    private func tellOfEncoder() {
        guard let maker else { return }
        let counts = maker.counts
        if let error = counts.lastError {
            if toldFailure.map({ ContinuousClock.now - $0 > .seconds(60) }) ?? true {
                toldFailure = ContinuousClock.now
                around.journal(
                    .warning, "encoder_failed", ("reason", .text(error)),
                    ("owed", .integer(Int64(job.owed))))
            }
        } else if toldFailure != nil {
            toldFailure = nil
            around.journal(.notice, "encoder_back", ("owed", .integer(Int64(job.owed))))
        }
        let age = (ContinuousClock.now - told).components.seconds
        guard age >= progressSeconds else { return }
        if counts.texts > toldTexts {
            around.journal(
                .notice, "encoding", ("texts", .integer(counts.texts)),
                ("texts_per_second", .number(Double(counts.texts - toldTexts) / Double(age))),
                ("owed", .integer(Int64(job.owed))))
        }
        told = ContinuousClock.now
        toldTexts = counts.texts
    }

    private func publish(_ phase: WorkerMoment.Phase) {
        published = ContinuousClock.now
        moment.phase = phase
        moment.inputs = logs.map { $0.inputMoment() }
        moment.partitions = logs.flatMap { $0.partitionStatuses() }
        moment.more = MetricValues(encode: job.counts, maker?.counts ?? MakerCounts())
        moment.more.add(.owedTexts, Int64(job.owed))
        moment.more.add(.keptVectors, Int64(job.vectors))
        around.status.publish(moment)
    }
}
