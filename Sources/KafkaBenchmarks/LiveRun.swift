// Events sent as if they happened now, and scores read as they come; one thread.

import Bytes
import Contracts
import JSON
import KafkaTransactions
import Simulation

/// Lines of a simulation in memory, in order of time, evenly spread.
struct EventLines {
    private struct Line {
        var start: Int
        var keyEnd: Int
        var end: Int
        /// Where the thirteen digits of `time_ms` stand.
        var time: Int
        /// Milliseconds behind the first line, before `pace`.
        var age: Int64
    }

    let simulation: SimulationSettings
    private var bytes: [UInt8] = []
    private var lines: [Line] = []
    /// Factor on ages that makes the lines come as often as they should.
    private let pace: Double

    var count: Int { lines.count }

    /// - Parameters:
    ///   - count: how many events.
    ///   - perSecond: how many of them a second.
    init(count: Int, perSecond: Int) {
        var simulation = SimulationSettings.benchmark(impressions: count)
        simulation.seconds = max(2, count / perSecond)
        simulation.faults = .none
        for i in simulation.domains.indices {
            // Label windows of a second.
            simulation.domains[i].clickDelayMedianSeconds = 1 / DomainPlan.windowOverMedian
            // A domain that opens later would change the load on the way.
            simulation.domains[i].opens = 0
        }
        self.simulation = simulation
        var generator = TrafficGenerator(simulation)
        let reader = EventReader()
        var line = ByteBuffer()
        var truth = ByteBuffer()
        let marker = Array("\"time_ms\":".utf8)
        while lines.count < count, generator.next(line: &line, truth: &truth) {
            truth.removeAll()
            guard (try? reader.read(line.slice)) != nil, let key = reader.event.key,
                let time = Self.find(marker, in: line.slice)
            else { continue }
            let start = bytes.count
            bytes += key.copy()
            let keyEnd = bytes.count
            bytes += line.slice.copy()
            lines.append(
                Line(
                    start: start, keyEnd: keyEnd, end: bytes.count,
                    time: keyEnd + time + marker.count,
                    age: reader.event.time_ms - simulation.startMilliseconds))
        }
        let span = max(1, lines.last?.age ?? 1)
        pace = Double(lines.count) * 1_000 / Double(perSecond) / Double(span)
    }

    private static func find(_ marker: [UInt8], in line: ByteSlice) -> Int? {
        guard line.count > marker.count + 13 else { return nil }
        for i in 0..<line.count - marker.count - 13
        where marker.lend({ line.slice(i, i + marker.count).equals($0) }) { return i }
        return nil
    }

    /// When a line is due, in milliseconds behind the start.
    func age(_ line: Int) -> Double { Double(lines[line].age) * pace }

    /// Lends a line that says it happened at `time`, milliseconds since the epoch.
    mutating func lend(
        _ number: Int, at time: Int64, _ body: (_ key: ByteSlice, _ line: ByteSlice) throws -> Void
    ) rethrows {
        let line = lines[number]
        var rest = time
        for i in stride(from: line.time + 12, through: line.time, by: -1) {
            bytes[i] = UInt8(ascii: "0") + UInt8(rest % 10)
            rest /= 10
        }
        try bytes.withUnsafeBytes {
            try body(
                ByteSlice(UnsafeRawBufferPointer(rebasing: $0[line.start..<line.keyEnd])),
                ByteSlice(UnsafeRawBufferPointer(rebasing: $0[line.keyEnd..<line.end])))
        }
    }
}

/// Sends and reads until everything is sent and nothing comes any more.
final class LiveRun {
    private let fleet: BenchmarkFleet
    private var lines: EventLines
    private let producer: IdempotentProducer
    private let reader: Consumer
    private let parser = JSONParser()

    /// When the first event was due, milliseconds since the epoch.
    private(set) var start = 0.0
    private(set) var scores: [ReadScore] = []
    /// How fast events were really sent.
    private(set) var eventsPerSecond = 0.0

    init(_ fleet: BenchmarkFleet, _ lines: EventLines) throws {
        self.fleet = fleet
        self.lines = lines
        var sending = ProducerSettings(client: fleet.client)
        sending.lingerMilliseconds = 1
        producer = try IdempotentProducer(sending)
        let settings = ConsumerSettings(
            client: fleet.client, group: "\(fleet.fleet.settings.fleet).reader")
        reader = try Consumer(settings)
        try reader.assign(fleet.partitions(of: .scores).map { Position($0, 0) })
    }

    func run(_ workers: [WorkerProcess]) throws {
        let topic = try producer.topic(fleet.fleet.topics[.events])
        try waitForAssignment(workers)
        start = wallMilliseconds() + 100
        var sent = 0
        while sent < lines.count {
            let now = wallMilliseconds()
            while sent < lines.count, start + lines.age(sent) <= now {
                try lines.lend(sent, at: Int64(start + lines.age(sent))) { key, line in
                    try producer.produce(topic, key: key, value: line)
                }
                sent += 1
            }
            try read(waitingMilliseconds: 1)
            if sent & 63 == 0 { try check(workers) }
        }
        try producer.flush()
        eventsPerSecond = Double(sent) * 1_000 / (wallMilliseconds() - start)
        // The last labels fall due by the ticks of quiet partitions.
        let end = wallMilliseconds() + 3_000
        while wallMilliseconds() < end { try read(waitingMilliseconds: 10) }
    }

    private func check(_ workers: [WorkerProcess]) throws {
        try fleet.around.checkStop()
        for worker in workers { try worker.check() }
        _ = producer.takeLog()
    }

    private func waitForAssignment(_ workers: [WorkerProcess]) throws {
        let limit = wallMilliseconds() + 60_000
        while !workers.allSatisfy(\.isAssigned) {
            try check(workers)
            guard wallMilliseconds() < limit else {
                throw BenchmarkError("the workers did not start within a minute")
            }
            try read(waitingMilliseconds: 50)
        }
    }

    private func read(waitingMilliseconds: Int) throws {
        var wait = waitingMilliseconds
        while true {
            guard case .record(let record) = try reader.poll(timeoutMilliseconds: wait) else {
                return
            }
            wait = 0
            note(record.view)
        }
    }

    private func note(_ record: RecordView) {
        guard let value = record.value, let root = try? parser.parse(value) else { return }
        var score = ReadScore(
            partition: 0, ordinal: 0, item: 0, appended: Double(record.timestamp ?? 0),
            read: wallMilliseconds())
        var domain = ByteSlice.empty
        var item = ByteSlice.empty
        for (name, value) in root.members {
            if name.equals("domain") { domain = value.text ?? .empty }
            if name.equals("item_id") { item = value.text ?? .empty }
            if name.equals("partition") { score.partition = Int(value.integer ?? 0) }
            if name.equals("ordinal") { score.ordinal = value.integer ?? 0 }
            if name.equals("query"), !value.isNull { return }
        }
        score.item = key(domain, item)
        scores.append(score)
    }
}
