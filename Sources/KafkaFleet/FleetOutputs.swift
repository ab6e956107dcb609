// What a fleet on Kafka has come to, read from its topics alone: its states and its outputs.

import Contracts
import EmbeddedFleet
import Enrich
import Finetune
import KafkaTransactions
import Streams
import WorkerRuntime

extension KafkaFleet {
    /// The counts and qualities of a fleet whose workers have stopped.
    ///
    /// Every partition is recovered as a worker would: from its checkpoint, by replay of what came
    /// behind it, with the proof that the outputs were those of the step.
    ///
    /// - Parameter heldBack: dead letters of what was to be an event and was never appended.
    public func summary(heldBack: Int64) throws -> RunSummary {
        let domainLogPartitions = try reader(of: "finetune", .domainLog).log.partitionCount(
            Topic.domainLog)
        return RunSummary(
            enrich: try states(
                "enrich", .events, enrichRole(domainLogPartitions: domainLogPartitions)),
            finetune: try states(
                "finetune", .domainLog, finetuneRole(domainLogPartitions: domainLogPartitions)),
            heldBack: heldBack)
    }

    private func states<Role: Step>(
        _ name: String, _ input: Topic, _ role: Role
    ) throws -> [Role.State] {
        let client = try reader(of: name, input)
        let worker = StepWorker(
            role: role, client: client, group: client.log.settings.group, input: input,
            checkpoints: Topic.checkpoints)
        try worker.turn()
        return try (0..<client.log.partitionCount(input)).compactMap { worker.state(of: $0) }
    }

    /// A place of its own, so that no worker is fenced.
    private func reader(of role: String, _ input: Topic) throws -> RecoveryLog {
        var place = place(role: role, slot: 0)
        place.slotName = "\(settings.fleet).report.0"
        return RecoveryLog(try KafkaLogClient(place, input: input), input: input)
    }

    /// The committed records of the fleet's output topics.
    public func outputs() throws -> any OutputSource {
        var place = place(role: "report", slot: 0)
        place.readsHeaders = false
        return KafkaOutputs(log: try KafkaLogClient(place, input: Topic.domainLog))
    }
}

private struct KafkaOutputs: OutputSource {
    let log: KafkaLogClient

    func partitionCount(_ topic: Topic) throws -> Int { try log.partitionCount(topic) }

    func read(
        _ topic: Topic, partition: Int, from first: Int64, _ body: (Record) throws -> Void
    ) throws -> Int64 {
        var next = first
        try log.read(topic, partition: partition, from: first > 0 ? first : nil, upTo: nil) {
            try body($0)
            next = $0.offset + 1
        }
        return next
    }

    /// Retention does it.
    func forget(_ topic: Topic, partition: Int, before end: Int64) {}
}

/// A log that gives a worker every partition to recover, and then nothing to do.
private final class RecoveryLog: LogClient {
    let log: KafkaLogClient
    private let partitions: () throws -> Int
    private var isAssigned = false

    init(_ log: KafkaLogClient, input: Topic) {
        self.log = log
        partitions = { try log.partitionCount(input) }
    }

    func partitionCount<Topic: RawRepresentable>(_ topic: Topic) throws -> Int
    where Topic.RawValue == UInt16 { try log.partitionCount(topic) }

    func collect(limit: Int, into batch: inout [Record]) throws -> Collected {
        guard !isAssigned else { return .records }
        isAssigned = true
        return .assigned(Array(0..<(try partitions())))
    }

    func start(partition: Int, at offset: Int64) {}

    func commit(_ outbox: borrowing Outbox, positions: [InputPosition]) {
        preconditionFailure("a log that is only read was given \(positions) to commit")
    }

    func committedOffset(partition: Int) throws -> Int64? {
        try log.committedOffset(partition: partition)
    }

    func startOffset(partition: Int) throws -> Int64 { try log.startOffset(partition: partition) }

    func read<Topic: RawRepresentable>(
        _ topic: Topic, partition: Int, from first: Int64?, upTo end: Int64?,
        _ body: (Record) throws -> Void
    ) throws where Topic.RawValue == UInt16 {
        try log.read(topic, partition: partition, from: first, upTo: end, body)
    }
}
