// Events per core-second on a real broker, what exactly-once costs, and whether memory stays flat.

import Bytes
import Contracts
import KafkaTransactions
import Simulation

/// Drains one backlog of simulated events through enrich and finetune, and copies of what enrich made
/// of it through other kinds of finetune.
///
/// Six partitions a topic, one worker a role. A worker collects for 100 ms and commits, so a commit
/// comes at the latest every 100 ms of reading and whatever the step then takes; `collectRecords`
/// keeps both together near 100 ms. An event is a record of the worker's input.
public struct Throughput {
    private let around: BenchmarkSurroundings
    private let events: Int
    private let name: String
    private let folder: String

    /// - Parameters:
    ///   - events: of the backlog.
    ///   - name: of the fleets, which get a word of their own behind it.
    ///   - folder: for settings and what workers write.
    public init(
        _ around: BenchmarkSurroundings, events: Int, name: String, folder: String
    ) {
        self.around = around
        self.events = events
        self.name = name
        self.folder = folder
    }

    /// About what a worker steps over in 80 ms.
    private static let collectRecords = ["enrich": 8_000, "head": 15_000, "statistics": 25_000]

    private func makeFleet(_ kind: String) throws -> BenchmarkFleet {
        let simulation = SimulationSettings.benchmark(impressions: events * 3 / 2 + 1_000)
        var changes = [
            // What is remembered for a time is so for a small part of the backlog. Nobody corrects a label
            // behind its attribution window.
            ("duplicate_window_s", "60"), ("domain_defaults.label_window_s", "7"),
            ("domain_defaults.attribution_window_s", "\(simulation.attributionWindowSeconds)"),
            ("domain_defaults.conversion_window_s", "60"),
            ("domain_defaults.correction_horizon_s", "\(simulation.attributionWindowSeconds)"),
        ]
        for role in ["enrich", "finetune"] {
            changes.append(("roles.\(role).collect_max_ms", "100"))
            changes.append(("roles.\(role).collect_min_ms", "100"))
        }
        let finetune = kind == "chain" ? "head" : "statistics"
        changes.append(
            ("roles.enrich.collect_records", "\(Self.collectRecords["enrich"]!)"))
        changes.append(
            ("roles.finetune.collect_records", "\(Self.collectRecords[finetune]!)"))
        return try BenchmarkFleet(
            "\(name).\(kind)", around, folder: folder,
            simulation: simulation, changes: changes)
    }

    public func run() throws -> [Figure] {
        let chain = try makeFleet("chain")
        around.progress("writing \(events) simulated events to six partitions")
        try chain.writeSettingsAndItems()
        let written = try chain.writeEvents(events)
        around.progress("enrich")
        let enrich = try chain.drain(
            chain.start("enrich"), "enrich", records: written, goal: ends(chain, .events))
        let statistics = try makeFleet("statistics")
        let atLeastOnce = try makeFleet("at-least-once")
        around.progress("copying what enrich wrote")
        let (goal, records) = try copy(chain, to: [statistics, atLeastOnce])
        around.progress("finetune with the linear head, \(records) records")
        let head = try chain.drain(
            chain.start("finetune"), "finetune", records: records, goal: goal)
        around.progress("finetune with statistics only")
        let counts = try statistics.drain(
            statistics.start("finetune", ["--statistics"]), "finetune", records: records,
            goal: ends(statistics, .domainLog))
        around.progress("the same without transactions")
        let loose = try atLeastOnce.drain(
            atLeastOnce.start("finetune", ["--statistics", "--at-least-once"]), "finetune",
            records: records, goal: ends(atLeastOnce, .domainLog))
        return figures(enrich: enrich, head: head, statistics: counts, atLeastOnce: loose)
    }

    private func figures(
        enrich: Drain, head: Drain, statistics: Drain, atLeastOnce: Drain
    ) -> [Figure] {
        func detail(_ drain: Drain) -> String {
            "wall \(thousands(drain.recordsPerSecond))/s, \(tenths(drain.commitsPerSecond)) commits/s, "
                + "\(drain.records) records in, \(drain.recordsOut) out"
        }
        let chain = Double(enrich.records) / (enrich.processorSeconds + head.processorSeconds)
        let cost =
            100 * (1 - atLeastOnce.processorSeconds / statistics.processorSeconds)
        return [
            Figure(
                "kafka.finetune_statistics", statistics.recordsPerCoreSecond,
                "events/core-second", detail(statistics),
                others: "Kafka Streams 99 k, Flink 135 k; goal 250 k"),
            Figure(
                "kafka.finetune_head", head.recordsPerCoreSecond, "events/core-second",
                detail(head), others: "goal 180 k"),
            Figure(
                "kafka.enrich", enrich.recordsPerCoreSecond, "events/core-second", detail(enrich)),
            Figure(
                "kafka.chain", chain, "events/core-second",
                "\(enrich.records) events, \(tenths(enrich.processorSeconds)) s in enrich and "
                    + "\(tenths(head.processorSeconds)) s in finetune",
                others: "Kafka Streams 26 k; goal 80 k"),
            Figure(
                "kafka.exactly_once_cost", cost, "%",
                "of finetune's processor time; at-least-once "
                    + "\(thousands(atLeastOnce.recordsPerCoreSecond))/core-second, wall "
                    + "\(thousands(atLeastOnce.recordsPerSecond))/s",
                others: "Kafka Streams 26 %; goal 10 %"),
            Figure(
                "kafka.backlog_enrich", Double(enrich.memory.max() ?? 0) / 0x1p20, "MiB",
                enrich.memoryText, others: "goal: flat"),
            Figure(
                "kafka.backlog_finetune", Double(head.memory.max() ?? 0) / 0x1p20, "MiB",
                head.memoryText, others: "goal: flat"),
        ]
    }

    /// Where a topic that was written without transactions ends.
    private func ends(_ fleet: BenchmarkFleet, _ topic: Topic) throws -> [TopicPartition: Int64] {
        try Offsets(fleet.client, group: "\(name).reader")
            .offsets(of: fleet.partitions(of: topic)).mapValues(\.end).filter { $0.value > 0 }
    }

    /// Copies the domain-log of one fleet to others; returns where its records end, and how many it has.
    private func copy(
        _ source: BenchmarkFleet, to targets: [BenchmarkFleet]
    ) throws -> (goal: [TopicPartition: Int64], records: Int) {
        let producers = try targets.map { target in
            let producer = try BenchmarkFleet.loader(target.client)
            return (producer, try producer.topic(target.fleet.topics[.domainLog]))
        }
        let (name, value) = TopicContract.header(.domainLog)
        var headers = RecordHeaders()
        headers.append(name, value)
        var ends = [Int64](repeating: 0, count: BenchmarkFleet.partitions)
        var records = 0
        try source.forEachRecord(of: .domainLog) { record in
            for (producer, topic) in producers {
                try producer.produce(
                    topic, partition: record.partition, key: record.key, value: record.value,
                    headers: headers, timestampMilliseconds: record.timestamp)
            }
            ends[record.partition] = record.offset + 1
            records += 1
        }
        for (producer, _) in producers { try producer.flush(timeoutMilliseconds: 120_000) }
        var goal: [TopicPartition: Int64] = [:]
        for place in source.partitions(of: .domainLog) where ends[place.partition] > 0 {
            goal[place] = ends[place.partition]
        }
        return (goal, records)
    }
}
