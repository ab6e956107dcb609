// Finetune stepped over a log again by hand: what equal records must give.

import Bytes
import Contracts
import EmbeddedFleet
import Finetune
import FleetSettings
import Streams

/// One partition of a domain-log, stepped over by a new finetune that no log helps.
final class FinetuneAgain {
    let role: FinetuneStep
    let state: FinetuneState
    let partition: Int
    private let keepsOutputs: Bool
    private var outbox = Outbox()
    private(set) var ordinal: Int64 = 0
    /// Key and value of every record by topic; priors by the partition they are for.
    private(set) var outputs: [String: [String]] = [:]

    init(
        _ settings: FleetSettings, layout: FleetLayout, partition: Int, keepsOutputs: Bool = true
    ) {
        self.keepsOutputs = keepsOutputs
        role = FinetuneStep(
            caps: FinetuneCaps(settings), domainLogPartitions: layout.domainLogPartitions,
            hashBits: Int(settings.integer("hash_bits")))
        self.partition = partition
        state = role.makeState(partition: partition)
        state.rebuild()
    }

    /// Steps over one record.
    func step(_ record: Record) {
        var record = record
        record.ordinal = ordinal
        ordinal += 1
        outbox.removeAll()
        role.step(state, record, into: &outbox)
        guard keepsOutputs else { return }
        for entry in outbox.entries {
            let topic = Topic(rawValue: entry.topic)!
            let name =
                topic == .domainLog ? "priors for \(entry.partition ?? -1)" : topic.name
            let text =
                "\(outbox.key(of: entry)?.text ?? "-") \(outbox.value(of: entry)?.text ?? "gone")"
            outputs[name, default: []].append(text)
        }
    }

    /// Steps over a record of which only the value matters; returns the values that it gives.
    func step(_ value: [UInt8], offset: Int64) -> [(topic: Topic, value: [UInt8])] {
        value.lend { value in
            step(
                Record(
                    topic: Topic.domainLog.rawValue, partition: partition, offset: offset,
                    timestamp: 0, key: nil, value: value))
        }
        return outbox.entries.compactMap { entry in
            outbox.value(of: entry).map { (Topic(rawValue: entry.topic)!, $0.copy()) }
        }
    }

    /// Steps over the committed records of a log's partition that have not been, at most up to an
    /// ordinal.
    func run(over log: MemoryLog, upTo last: Int64 = .max) throws {
        var at: Int64 = 0
        try log.read(Topic.domainLog, partition: partition) { record in
            if at >= ordinal, at <= last { step(record) }
            at += 1
        }
    }

    /// Every row of every table, as a checkpoint would write it.
    static func rows(_ state: FinetuneState) -> [String: [String]] {
        var rows: [String: [String]] = [:]
        for table in state.tables {
            var list = ["sequence \(table.sequence)"]
            table.forEachRow { row, bytes in list.append("\(row) \(Hash128(bytes).hex)") }
            rows[table.name] = list
        }
        return rows
    }

    /// Where two states' rows are not the same bytes.
    static func differences(_ expected: FinetuneState, _ found: FinetuneState) -> [String] {
        let (expected, found) = (rows(expected), rows(found))
        return expected.keys.sorted().compactMap {
            difference("table \($0)", expected[$0]!, found[$0] ?? [])
        }
    }
}

/// What the finetune of a partition has left in a fleet's log, in the form of `FinetuneAgain.outputs`.
func outputsOfFinetune(_ log: MemoryLog, partition: Int) throws -> [String: [String]] {
    var outputs: [String: [String]] = [:]
    for topic in [Topic.scores, .domainStatistics, .evaluations, .examples] {
        // Tombstones of scores name no partition; only runs with one of them are asked for those.
        let all = try Leavings.records(log, topic, 0)
        let own =
            log.partitionCount(Topic.domainLog) == 1
            ? all
            : all.filter {
                $0.contains("\"partition\":\(partition),")
                    || $0.hasSuffix("\"partition\":\(partition)}")
            }
        if !own.isEmpty { outputs[topic.name] = own }
    }
    for target in 0..<log.partitionCount(Topic.domainLog) where target != partition {
        let priors = try Leavings.records(log, .domainLog, target).filter {
            $0.contains("\"kind\":\"prior\"") && $0.contains("\"sender\":\(partition),")
        }
        if !priors.isEmpty { outputs["priors for \(target)"] = priors }
    }
    return outputs
}
