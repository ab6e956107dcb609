// A fleet that lives for one measurement: topics under a name of its own, settings, workers.

import Bytes
import Contracts
import FleetSettings
import KafkaFleet
import KafkaTransactions
import Simulation
import WorkerRuntime

#if canImport(Glibc)
    import Glibc
#endif

/// Where measurements are taken, and who may end them.
public struct BenchmarkSurroundings {
    public var brokers: String
    /// The program that runs one worker when it is called with `bench worker ROLE …`.
    public var program: String
    public var stop: StopSignal
    /// Told what is being done, one line each.
    public var progress: (String) -> Void

    public init(
        brokers: String, program: String, stop: StopSignal, progress: @escaping (String) -> Void
    ) {
        self.brokers = brokers
        self.program = program
        self.stop = stop
        self.progress = progress
    }

    func checkStop() throws {
        if stop.isRaised { throw BenchmarkError("stopped") }
    }
}

/// Topics of six partitions each, made at the start and deleted at the end.
final class BenchmarkFleet {
    static let partitions = 6

    let around: BenchmarkSurroundings
    let fleet: KafkaFleet
    private let folder: String
    private let simulation: SimulationSettings
    private let changes: [(path: String, value: String)]
    private let settingsFile: String
    private var hasTopics = false

    var client: ClientProperties { fleet.client }

    /// - Parameters:
    ///   - name: of the fleet; its topics must not be there yet.
    ///   - changes: settings over those that fit the simulation.
    ///   - appendTimes: topics whose records get the time at which the broker appended them.
    init(
        _ name: String, _ around: BenchmarkSurroundings, folder: String,
        simulation: SimulationSettings, changes: [(path: String, value: String)],
        appendTimes: Set<Topic> = []
    ) throws {
        self.around = around
        self.folder = folder
        self.simulation = simulation
        let changes =
            changes
            + [Topic.events, .domainLog, .checkpoints].map {
                ("topics.\($0.name).partitions", "\(Self.partitions)")
            }
        self.changes = changes
        settingsFile = "\(folder)/\(name).json"
        let text = simulation.fleetSettings
        var settings = try FleetSettings(parsing: Array(text.utf8), file: settingsFile)
        try settings.rename(fleet: name)
        for (path, value) in changes { try settings.set(path, to: value) }
        fleet = try KafkaFleet(settings, brokers: around.brokers)
        guard let file = fopen(settingsFile, "w") else {
            throw BenchmarkError("\(settingsFile) cannot be written")
        }
        fputs(text, file)
        fclose(file)
        let admin = try Admin(fleet.client)
        try admin.connect()
        hasTopics = true
        try admin.create(
            Topic.allCases.map { topic in
                var settings = topic.isCompacted ? ["cleanup.policy": "compact"] : [:]
                if appendTimes.contains(topic) {
                    settings["message.timestamp.type"] = "LogAppendTime"
                }
                return NewTopic(
                    fleet.topics[topic], partitions: Self.partitions, settings: settings)
            })
    }

    deinit {
        guard hasTopics else { return }
        do {
            try Admin(fleet.client).delete(topics: Topic.allCases.map { fleet.topics[$0] })
        } catch {
            around.progress("topics of \(fleet.settings.fleet) are left behind: \(error)")
        }
    }

    func partitions(of topic: Topic) -> [TopicPartition] {
        (0..<Self.partitions).map { TopicPartition(fleet.topics[topic], $0) }
    }

    /// Starts slot 0 of a role.
    ///
    /// - Parameter options: of `bench worker`.
    func start(_ role: String, _ options: [String] = []) throws -> WorkerProcess {
        var words = [around.program, "bench", "worker", role]
        words += ["--brokers", around.brokers, "--config", settingsFile]
        words += ["--fleet", fleet.settings.fleet] + options
        for (path, value) in changes { words += ["--set", "\(path)=\(value)"] }
        return try WorkerProcess("\(fleet.settings.fleet).\(role)", folder: folder, words: words)
    }

    /// The settings and the catalog's items in every partition of domain-log, as the jobs of a fleet put
    /// them there.
    func writeSettingsAndItems() throws {
        try fleet.writeSettings(time: simulation.startMilliseconds)
        let producer = try Self.loader(client)
        let topic = try producer.topic(fleet.topics[.domainLog])
        let reader = CatalogReader()
        var item = ByteBuffer()
        let generator = TrafficGenerator(simulation)
        try generator.forEachCatalogLine { line in
            try reader.read(line)
            item.removeAll()
            Item(reader.item).append(to: &item)
            for partition in 0..<Self.partitions {
                try producer.produce(topic, partition: partition, key: nil, value: item.slice)
            }
        }
        try producer.flush()
    }

    /// A producer that appends much at once.
    static func loader(_ client: ClientProperties) throws -> IdempotentProducer {
        var settings = ProducerSettings(client: client)
        settings.compression = "lz4"
        settings.lingerMilliseconds = 20
        settings.queueBytes = 256 << 20
        return try IdempotentProducer(settings)
    }

    /// Appends the first `count` events of the simulation, lines that are none left out; returns how
    /// many there were.
    func writeEvents(_ count: Int) throws -> Int {
        let producer = try Self.loader(client)
        let topic = try producer.topic(fleet.topics[.events])
        var generator = TrafficGenerator(simulation)
        let reader = EventReader()
        var line = ByteBuffer()
        var truth = ByteBuffer()
        var written = 0
        while written < count, generator.next(line: &line, truth: &truth) {
            truth.removeAll()
            guard (try? reader.read(line.slice)) != nil, let key = reader.event.key else {
                continue
            }
            try producer.produce(topic, key: key, value: line.slice)
            written += 1
            if written & 0x3FFF == 0 { try around.checkStop() }
        }
        try producer.flush(timeoutMilliseconds: 120_000)
        return written
    }

    /// Calls `body` with every committed record of a topic, each partition's in order; an iteration ends
    /// where the partition ended at the beginning.
    func forEachRecord(of topic: Topic, _ body: (RecordView) throws -> Void) throws {
        let places = partitions(of: topic)
        let ends = try Offsets(client, group: "\(fleet.settings.fleet).reader").offsets(of: places)
        var open = Set(places.filter { ends[$0]!.end > ends[$0]!.first })
        var settings = ConsumerSettings(
            client: client, group: "\(fleet.settings.fleet).reader")
        settings.reportsEnds = true
        let consumer = try Consumer(settings)
        try consumer.assign(places.map { Position($0, ends[$0]!.first) })
        var seen = 0
        var quiet = ContinuousClock.now + .seconds(60)
        while !open.isEmpty {
            switch try consumer.poll(timeoutMilliseconds: 100) {
            case .record(let record):
                try body(record.view)
                seen += 1
                if seen & 0xFFFF == 0 {
                    quiet = .now + .seconds(60)
                    try around.checkStop()
                }
            case .end(let position):
                if position.offset >= ends[position.partition]!.end {
                    open.remove(position.partition)
                }
            default:
                guard quiet > .now else {
                    throw BenchmarkError("\(fleet.topics[topic]) could not be read to its end")
                }
            }
        }
    }
}

/// Wall time, milliseconds since the epoch, as a broker on this machine stamps records.
func wallMilliseconds() -> Double {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    return Double(now.tv_sec) * 1_000 + Double(now.tv_nsec) * 1e-6
}
