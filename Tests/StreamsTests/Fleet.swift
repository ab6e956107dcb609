// Workers that join, leave, crash and come back over one log, from a seed; and what is left of it.

import Bytes

@testable import Streams

/// What must not depend on crashes.
struct Outcome: Equatable {
    /// Published records by source partition, topic and partition, in order.
    var outputs: [String: [[UInt8]]] = [:]
    /// Rows by input partition and table.
    var rows: [String: [UInt32: [UInt8]]] = [:]
    var ages: [String: UInt64] = [:]
    var outputHashes: [Hash128] = []
    var ordinals: [Int64] = []
}

struct Fleet {
    typealias Worker = StepWorker<CounterRole, TamperingClient>

    static let group = "counter"
    static let topics = [
        MemoryTopic(name: "input", partitions: 4), MemoryTopic(name: "output", partitions: 3),
        MemoryTopic(name: "checkpoints", partitions: 4, isCompacted: true),
        MemoryTopic(name: "other", partitions: 1),
    ]

    let log: MemoryLog
    let fault: TamperingClient.Fault
    let nonDeterminism: Int64
    var slots: [Worker?] = [nil, nil, nil]
    /// Members whose process is dead but whose session has not timed out.
    var dead: [MemoryLogClient] = []
    var recoveries: [Recovery] = []
    var crashes: [CrashPoint: Int] = [:]

    init(
        log: MemoryLog = MemoryLog(topics: Fleet.topics), fault: TamperingClient.Fault = .none,
        nonDeterminism: Int64 = 0
    ) {
        self.log = log
        self.fault = fault
        self.nonDeterminism = nonDeterminism
    }

    static func limits(collect: Int = 10, checkpoint: Int64 = 7) -> WorkerLimits {
        var limits = WorkerLimits()
        limits.collectRecords = collect
        limits.checkpointRecords = checkpoint
        return limits
    }

    func makeWorker(
        slot: Int, limits: WorkerLimits, role: CounterRole? = nil
    ) -> Worker {
        let client = MemoryLogClient(
            log, group: Fleet.group, input: TestTopic.input,
            transactionalID: "\(Fleet.group).\(slot)")
        return Worker(
            role: role ?? CounterRole(nonDeterminism: nonDeterminism),
            client: TamperingClient(client, fault), group: Fleet.group, input: TestTopic.input,
            checkpoints: TestTopic.checkpoints, limits: limits)
    }

    /// Record `i` of the input: the same for every run.
    static func append(_ i: Int, to log: MemoryLog) throws {
        var random = SplitMix64(seed: UInt64(i) &* 77)
        let time = i / 3
        switch random.below(20) {
        case 0:
            _ = try "\(time + 3)".lend {
                try log.append(TestTopic.input, partition: i % 4, key: nil, value: $0)
            }
        case 1:
            try "key \(random.below(25))".lend {
                _ = try log.append(TestTopic.input, key: $0, value: nil)
            }
        default:
            try "key \(random.below(25))".lend { key in
                try "\(time) \(random.below(100))".lend {
                    _ = try log.append(TestTopic.input, key: key, value: $0)
                }
            }
        }
    }

    // Running

    /// What one process without a crash leaves.
    static func undisturbed(records: Int) throws -> Outcome {
        let fleet = Fleet()
        for i in 0..<records { try append(i, to: fleet.log) }
        let worker = fleet.makeWorker(slot: 0, limits: WorkerLimits())
        try fleet.drain(worker)
        return try fleet.outcome(worker)
    }

    func drain(_ worker: Worker) throws {
        for _ in 0..<100_000 {
            if try worker.turn() == 0, worker.ordinals.count == 4,
                try (0..<4).allSatisfy({
                    try log.committedOffset(Fleet.group, TestTopic.input.rawValue, $0)
                        ?? log.startOffset(TestTopic.input, partition: $0)
                        >= log.endOffset(TestTopic.input, partition: $0)
                })
            {
                return
            }
        }
        throw StateError("the worker does not come to an end")
    }

    /// Runs workers over a growing input under injected crashes, then lets one fresh worker finish.
    mutating func run(seed: UInt64, records: Int) throws -> Outcome {
        var random = SplitMix64(seed: seed)
        var appended = 0
        var last: CrashPoint?
        let crashRandom = Chance(seed: seed ^ 0xABCD)
        log.crashes = { point in
            guard crashRandom.happens(oneIn: point == .recovery ? 6 : 14) else { return false }
            last = point
            return true
        }
        for _ in 0..<4_000 where appended < records || random.below(40) != 0 {
            for _ in 0..<random.below(8) where appended < records {
                try Fleet.append(appended, to: log)
                appended += 1
            }
            let slot = random.below(slots.count)
            do {
                guard let worker = slots[slot] else {
                    if random.below(3) == 0 {
                        slots[slot] = makeWorker(
                            slot: slot,
                            limits: Fleet.limits(
                                collect: 1 + random.below(20),
                                checkpoint: Int64(1 + random.below(12))))
                    }
                    continue
                }
                switch random.below(30) {
                case 0:
                    try worker.checkpointAll()
                    worker.client.inner.leave()
                    slots[slot] = nil
                case 1:
                    worker.client.inner.leave()
                    slots[slot] = nil
                case 2: try log.compact()
                case 3: if let gone = dead.popLast() { gone.leave() }
                default: try worker.turn()
                }
                recoveries += worker.takeRecoveries()
            } catch is Crash {
                crashes[last!, default: 0] += 1
                dead.append(slots[slot]!.client.inner)
                slots[slot] = nil
            } catch is MemoryLogError {
                dead.append(slots[slot]!.client.inner)
                slots[slot] = nil
            }
        }
        while appended < records {
            try Fleet.append(appended, to: log)
            appended += 1
        }
        log.crashes = nil
        for client in dead { client.leave() }
        for worker in slots { worker?.client.inner.leave() }
        let last_ = makeWorker(slot: 0, limits: Fleet.limits())
        try drain(last_)
        return try outcome(last_)
    }

    // What is left

    func outcome(_ worker: Worker) throws -> Outcome {
        var outcome = Outcome()
        for topic in [TestTopic.output, .other] {
            for partition in 0..<log.partitionCount(topic) {
                var tombstones = 0
                try log.read(topic, partition: partition) { record in
                    guard let value = record.value else {
                        tombstones += 1
                        return
                    }
                    let source = value.text.split(separator: " ")[0]
                    let bytes = (record.key?.copy() ?? []) + [0] + value.copy()
                    outcome.outputs["\(source) > \(topic) \(partition)", default: []].append(bytes)
                }
                outcome.outputs["tombstones > \(topic) \(partition)"] = [[UInt8]](
                    repeating: [], count: tombstones)
            }
        }
        for partition in 0..<4 {
            guard let state = worker.state(of: partition) else { continue }
            for table in state.tables {
                var rows: [UInt32: [UInt8]] = [:]
                table.forEachRow { rows[$0] = $1.copy() }
                outcome.rows["\(partition) \(table.name)"] = rows
                outcome.ages["\(partition) \(table.name)"] = table.sequence
            }
            outcome.outputHashes.append(worker.outputHash(of: partition)!)
        }
        outcome.ordinals = worker.ordinals.map(\.ordinal)
        return outcome
    }
}

/// Randomness for a closure.
private final class Chance {
    private var random: SplitMix64

    init(seed: UInt64) { random = SplitMix64(seed: seed) }

    func happens(oneIn n: Int) -> Bool { random.below(n) == 0 }
}
