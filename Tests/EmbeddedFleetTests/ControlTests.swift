// The checker of the crash tests must see what it is there for: two faults that exactly-once forbids.

import Bytes
import Contracts
import DeterministicMath
import EmbeddedFleet
import Enrich
import Simulation
import Streams
import Testing

@testable import Finetune

/// A client of the log that breaks a rule.
final class FaultyClient: LogClient {
    enum Fault: CaseIterable { case none, offsetsApart, recoveryWithoutReplay }

    let base: MemoryLogClient
    let fault: Fault
    private let input: Topic

    init(_ base: MemoryLogClient, _ fault: Fault, input: Topic) {
        self.base = base
        self.fault = fault
        self.input = input
    }

    func partitionCount<T: RawRepresentable>(_ topic: T) throws -> Int
    where T.RawValue == UInt16 { try base.partitionCount(topic) }

    func collect(limit: Int, into batch: inout [Record]) throws -> Collected {
        try base.collect(limit: limit, into: &batch)
    }

    func start(partition: Int, at offset: Int64) throws {
        try base.start(partition: partition, at: offset)
    }

    /// Offsets apart: the outputs are committed, and the offsets a moment later, if there is one.
    func commit(_ outbox: borrowing Outbox, positions: [InputPosition]) throws {
        guard fault == .offsetsApart else {
            try base.commit(outbox, positions: positions)
            return
        }
        try base.commit(outbox, positions: [])
        for position in positions {
            base.log.commitOffset(
                group: base.group, input, partition: position.partition, next: position.next)
        }
    }

    func committedOffset(partition: Int) throws -> Int64? {
        try base.committedOffset(partition: partition)
    }

    func startOffset(partition: Int) throws -> Int64 { try base.startOffset(partition: partition) }

    /// Without replay: what was committed since the checkpoint is not read again.
    func read<T: RawRepresentable>(
        _ topic: T, partition: Int, from first: Int64?, upTo end: Int64?,
        _ body: (Record) throws -> Void
    ) throws where T.RawValue == UInt16 {
        if fault == .recoveryWithoutReplay, topic.rawValue == input.rawValue { return }
        try base.read(topic, partition: partition, from: first, upTo: end, body)
    }
}

/// A worker that has no position record to look at: it believes its checkpoint and the group's offset.
///
/// What it keeps as a checkpoint is the ordinal; its state there is found by stepping from the start.
private final class TrustingFinetune {
    let log: MemoryLog
    let fault: FaultyClient.Fault
    let make: () -> FinetuneStep
    private(set) var role: FinetuneStep
    private(set) var state: FinetuneState
    private var client: FaultyClient
    private var ordinal: Int64 = 0
    private var checkpoint: Int64 = 0
    private var outbox = Outbox()

    init(_ log: MemoryLog, _ fault: FaultyClient.Fault, _ make: @escaping () -> FinetuneStep) {
        (self.log, self.fault, self.make) = (log, fault, make)
        role = make()
        state = role.makeState(partition: 0)
        state.rebuild()
        client = TrustingFinetune.client(log, fault)
    }

    private static func client(_ log: MemoryLog, _ fault: FaultyClient.Fault) -> FaultyClient {
        FaultyClient(
            MemoryLogClient(
                log, group: "trusting", input: Topic.domainLog, transactionalID: "trusting.0"),
            fault, input: .domainLog)
    }

    /// Dies and comes back.
    func restart() throws {
        client.base.leave()
        client = TrustingFinetune.client(log, fault)
        role = make()
        state = role.makeState(partition: 0)
        state.rebuild()
        let committed = try client.committedOffset(partition: 0) ?? 0
        ordinal = 0
        var steps = Outbox()
        steps.isSuppressed = true
        try log.read(Topic.domainLog, partition: 0, upTo: committed) { record in
            if fault != .recoveryWithoutReplay || ordinal < checkpoint {
                var record = record
                record.ordinal = ordinal
                role.step(state, record, into: &steps)
            }
            ordinal += 1
        }
    }

    /// False: there was nothing to do.
    func turn() throws -> Bool {
        var batch: [Record] = []
        switch try client.collect(limit: 7, into: &batch) {
        case .assigned(let partitions):
            for partition in partitions {
                let next = try client.committedOffset(partition: partition) ?? 0
                try client.start(partition: partition, at: next)
            }
            return true
        case .revoked: return true
        case .records:
            guard let last = batch.last else { return false }
            outbox.removeAll()
            var next = ordinal
            for var record in batch {
                record.ordinal = next
                next += 1
                role.step(state, record, into: &outbox)
            }
            try client.commit(
                outbox, positions: [InputPosition(partition: 0, next: last.offset + 1)])
            ordinal = next
            if ordinal - checkpoint > 40 { checkpoint = ordinal }
            return true
        }
    }
}

@Suite struct ControlTests {
    /// A domain-log without faults, and what finetune makes of it.
    private func domainLog() throws -> (EmbeddedFleet, [[UInt8]]) {
        let input = try TestInput(
            SimulatedLog(.tiny(seed: 3, impressions: 120, domains: 3)))
        let fleet = try input.fleet()
        try fleet.run(input.catalogFirst)
        var records: [[UInt8]] = []
        try fleet.log.read(Topic.domainLog, partition: 0) { records.append($0.value!.copy()) }
        return (fleet, records)
    }

    private func log(_ records: [[UInt8]], like fleet: EmbeddedFleet) throws -> MemoryLog {
        let log = MemoryLog(topics: fleet.layout.topics)
        for record in records {
            try record.lend {
                _ = try log.append(Topic.domainLog, partition: 0, key: nil, value: $0)
            }
        }
        return log
    }

    /// What the checker finds in a run that dies after every few commits.
    private func found(_ fault: FaultyClient.Fault, seed: UInt64) throws -> [String] {
        let (fleet, records) = try domainLog()
        let log = try log(records, like: fleet)
        let caps = FinetuneCaps(fleet.settings)
        let worker = TrustingFinetune(log, fault) {
            FinetuneStep(caps: caps, domainLogPartitions: 1, hashBits: 10)
        }
        var random = SplitMix64(seed: seed)
        var crashes = 0
        var commits = 0
        log.crashes = { point in
            if point == .afterCommit { commits += 1 }
            // One of them is sure to come between a commit and its acknowledgement.
            let isSure = point == .afterCommit && commits == 9
            guard isSure || crashes < 12 && point != .recovery && random.next() % 12 == 0 else {
                return false
            }
            crashes += 1
            return true
        }
        var goesOn = true
        while goesOn {
            do { goesOn = try worker.turn() } catch is Crash { try worker.restart() }
        }
        #expect(crashes > 3)
        let again = FinetuneAgain(fleet.settings, layout: fleet.layout, partition: 0)
        try again.run(over: log)
        let left = try outputsOfFinetune(log, partition: 0)
        return again.outputs.keys.sorted().compactMap {
            difference($0, again.outputs[$0]!, left[$0] ?? [])
        } + FinetuneAgain.differences(again.state, worker.state)
    }

    @Test func `a worker that keeps the rules is not flagged`() throws {
        for seed in 1...4 as ClosedRange<UInt64> {
            let found = try found(.none, seed: seed)
            #expect(found.isEmpty, "seed \(seed): \(found.joined(separator: "\n"))")
        }
    }

    @Test(arguments: [FaultyClient.Fault.offsetsApart, .recoveryWithoutReplay])
    func `offsets committed apart and recovery without replay are flagged by their bytes`(
        fault: FaultyClient.Fault
    ) throws {
        // A crash between two commits that published nothing does no harm, and shows nowhere.
        var flagged = 0
        for seed in 1...8 as ClosedRange<UInt64> {
            if try !found(fault, seed: seed).isEmpty { flagged += 1 }
        }
        #expect(flagged >= 4, "\(flagged) of 8 seeds")
    }

    @Test(arguments: [FaultyClient.Fault.offsetsApart, .recoveryWithoutReplay])
    func `the real worker refuses to go on after either`(fault: FaultyClient.Fault) throws {
        let (fleet, records) = try domainLog()
        let log = try log(records, like: fleet)
        let caps = FinetuneCaps(fleet.settings)
        var limits = WorkerLimits()
        limits.collectRecords = 10
        limits.checkpointRecords = 35
        func worker() -> StepWorker<FinetuneStep, FaultyClient> {
            StepWorker(
                role: FinetuneStep(caps: caps, domainLogPartitions: 1, hashBits: 10),
                client: FaultyClient(
                    MemoryLogClient(
                        log, group: "f", input: Topic.domainLog, transactionalID: "f.0"), fault,
                    input: .domainLog),
                group: "f", input: Topic.domainLog, checkpoints: Topic.checkpoints, limits: limits)
        }
        let first = worker()
        var commits = 0
        log.crashes = { point in
            guard point == .afterCommit else { return false }
            commits += 1
            return commits == 6
        }
        #expect(throws: Crash.self) { while try first.turn() >= 0 {} }
        first.client.base.leave()
        let second = worker()
        #expect(throws: Quarantine.self) { while try second.turn() >= 0 {} }
    }

    @Test func `storms strike at every crash point, and recoveries replay in both roles`() throws {
        var points: [CrashPoint: Int] = [:]
        var replayed: (enrich: Int64, finetune: Int64) = (0, 0)
        for seed in 301...312 as ClosedRange<UInt64> {
            let input = try TestInput(
                SimulatedLog(.tiny(seed: seed, impressions: 120, domains: 3))
            ).set([
                "roles.enrich.collect_records": "9", "roles.finetune.collect_records": "9",
                "roles.enrich.checkpoint_records": "40", "roles.finetune.checkpoint_records": "40",
            ])
            let storm = Storm(seed: seed)
            try storm.run(
                input.fleet(FleetLayout(events: 1, domainLog: 1, linesPerTurn: 15)),
                input.catalogFirst)
            points.merge(storm.points, uniquingKeysWith: +)
            replayed.enrich += storm.replayed.enrich
            replayed.finetune += storm.replayed.finetune
        }
        for point in CrashPoint.allCases { #expect(points[point, default: 0] >= 3, "\(point)") }
        #expect(replayed.enrich > 100 && replayed.finetune > 100)
    }
}
