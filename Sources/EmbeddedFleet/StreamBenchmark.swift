// `coldstream bench stream`: events per core-second of finetune and of the whole chain on a MemoryLog.

import Bytes
import Contracts
import Encode
import Enrich
import Finetune
import FleetSettings
import Streams

#if canImport(Glibc)
    import Glibc
#endif

/// Feeds the same events through the chain, and the domain-log that comes out of it through finetune
/// alone. Time is the thread's processor time, parsing and writing included.
public enum StreamBenchmark {
    public struct Figure: Sendable {
        public var name: String
        /// Records of the input per core-second.
        public var value: Double
        public var unit = "events/s"
        public var detail: String
    }

    private struct Input {
        var key: [UInt8]?
        var value: [UInt8]
        var time: Int64
    }

    /// - Parameters:
    ///   - events: lines of JSON in order of time; lines that are no events are left out.
    ///   - catalog: lines of the catalog.
    ///   - settings: of the fleet.
    public static func run(
        events: [[UInt8]], catalog: [[UInt8]], settings: FleetSettings
    ) throws -> [Figure] {
        let inputs = read(events)
        let items = try itemRecords(catalog, settings)
        let layout = FleetLayout()
        // The chain: enrich, encode and finetune in turn, as the embedded fleet does.
        let log = MemoryLog(topics: layout.topics)
        let fleet = try EmbeddedFleet(settings, layout: layout, log: log)
        for item in items { try append(item, to: log) }
        try fleet.drain()
        var chain = 0.0
        var domainLog: [Input] = []
        var next = try log.endOffset(Topic.domainLog, partition: 0)
        for start in stride(from: 0, to: inputs.count, by: 1_000) {
            for input in inputs[start..<min(inputs.count, start + 1_000)] {
                log.now = max(log.now, input.time)
                try input.value.lend { value in
                    try input.key!.lend { try log.append(Topic.events, key: $0, value: value) }
                }
            }
            let begin = processorSeconds()
            try fleet.drain()
            chain += processorSeconds() - begin
            next = try log.read(Topic.domainLog, partition: 0, from: next) { record in
                domainLog.append(
                    Input(key: nil, value: record.value!.copy(), time: record.timestamp))
            }
            try fleet.trim()
            for topic in [Topic.examples, .evaluations, .deadLetters] {
                try log.trim(topic, partition: 0, before: log.endOffset(topic, partition: 0))
            }
        }
        let published = fleet.finetune.state(of: 0)?.counters.scoresPublished ?? 0
        let head = try finetune(domainLog, items, settings, usesHead: true)
        let statistics = try finetune(domainLog, items, settings, usesHead: false)
        let records = domainLog.count
        let bytes = domainLog.reduce(0) { $0 + $1.value.count } / max(1, records)
        return [
            Figure(
                name: "stream.finetune_statistics", value: Double(records) / statistics,
                detail: "\(records) records of domain-log, \(bytes) bytes each"),
            Figure(
                name: "stream.finetune_head", value: Double(records) / head,
                detail: "\(records) records of domain-log, \(published) scores published"),
            Figure(
                name: "stream.chain", value: Double(inputs.count) / chain,
                detail: "\(inputs.count) events through enrich, encode and finetune"),
        ]
    }

    private static func read(_ lines: [[UInt8]]) -> [Input] {
        let reader = EventReader()
        return lines.compactMap { line in
            line.lend { bytes in
                guard (try? reader.read(bytes)) != nil, let key = reader.event.key else {
                    return nil
                }
                return Input(key: key.copy(), value: line, time: reader.event.time_ms)
            }
        }
    }

    /// Items of domain-log with their vectors, as encode leaves them.
    private static func itemRecords(
        _ lines: [[UInt8]], _ settings: FleetSettings
    ) throws -> [[UInt8]] {
        let reader = CatalogReader()
        let encoder = try settings.makeEncoder()
        let template = EncodeSettings(settings).template
        var text = ByteBuffer()
        var halves = ByteBuffer()
        return try lines.map { line in
            try line.lend { bytes in
                try reader.read(bytes)
                var item = Item(reader.item)
                if let encoder {
                    template.write(reader.item, to: &text)
                    var vector = [Float](repeating: 0, count: encoder.dimension)
                    try vector.withUnsafeMutableBufferPointer {
                        try encoder.encode([text.slice.copy()], into: $0)
                    }
                    halves.removeAll()
                    vector.withUnsafeBufferPointer { TextVector.append($0, to: &halves) }
                    item.vector = TextVector(
                        halves: halves.slice, encoder: encoder.identity.hash)
                }
                var buffer = ByteBuffer()
                item.append(to: &buffer)
                return buffer.slice.copy()
            }
        }
    }

    private static func append(_ item: [UInt8], to log: MemoryLog) throws {
        try item.lend { value in
            _ = try log.append(Topic.domainLog, partition: 0, key: nil, value: value)
        }
    }

    /// Processor seconds that finetune takes for a domain-log.
    private static func finetune(
        _ records: [Input], _ items: [[UInt8]], _ settings: FleetSettings, usesHead: Bool
    ) throws -> Double {
        let log = MemoryLog(topics: FleetLayout().topics)
        try EmbeddedFleet.appendSettings(settings, FleetLayout(), log)
        for item in items { try append(item, to: log) }
        let worker = StepWorker(
            role: FinetuneStep(
                caps: FinetuneCaps(settings), domainLogPartitions: 1,
                hashBits: Int(settings.integer("hash_bits")), usesHead: usesHead),
            client: MemoryLogClient(
                log, group: "bench", input: Topic.domainLog, transactionalID: "bench"),
            group: "bench", input: Topic.domainLog, checkpoints: Topic.checkpoints,
            limits: WorkerLimits(settings, role: "finetune"))
        var seconds = 0.0
        for _ in 0..<4 { try worker.turn() }
        for start in stride(from: 0, to: records.count, by: 2_000) {
            for input in records[start..<min(records.count, start + 2_000)] {
                log.now = max(log.now, input.time)
                try input.value.lend {
                    _ = try log.append(Topic.domainLog, partition: 0, key: nil, value: $0)
                }
            }
            let begin = processorSeconds()
            while try worker.turn() > 0 {}
            seconds += processorSeconds() - begin
            if let offset = worker.recoveryOffset(of: 0) {
                try log.trim(Topic.domainLog, partition: 0, before: offset)
            }
            for topic in [Topic.examples, .evaluations] {
                try log.trim(topic, partition: 0, before: log.endOffset(topic, partition: 0))
            }
            try log.compact(after: 64 << 20)
        }
        return seconds
    }

    private static func processorSeconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}
