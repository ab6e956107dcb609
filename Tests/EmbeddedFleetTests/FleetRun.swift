// What every test of the fleet works with: a simulation in files, a fleet over it, and what it left.

import Bytes
import Contracts
import EmbeddedFleet
import Finetune
import FleetSettings
import Foundation
import Gateway
import LineFiles
import Simulation
import Streams

/// A folder for one test, removed with it.
final class TestFolder {
    let path: String

    init() {
        let parent =
            FileManager.default.isWritableFile(atPath: "/dev/shm")
            ? "/dev/shm" : FileManager.default.temporaryDirectory.path
        path = "\(parent)/coldstream-\(UUID().uuidString)"
        try! FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Writes lines and returns the file's path.
    func write(_ name: String, _ lines: [[UInt8]]) throws -> String {
        var bytes = ByteBuffer()
        for line in lines {
            line.lend { bytes.append($0) }
            bytes.append("\n")
        }
        try LineWriter.write(bytes.slice, to: "\(path)/\(name)")
        return "\(path)/\(name)"
    }

    func contents(_ name: String) -> Data? {
        FileManager.default.contents(atPath: "\(path)/\(name)")
    }
}

/// Events and catalog as files, with the settings that fit them.
final class TestInput {
    let folder = TestFolder()
    let events: String
    let catalog: String
    var settings: FleetSettings
    let lines: Int
    let catalogLines: Int

    init(_ simulation: SimulatedLog) throws {
        events = try folder.write("events.jsonl", simulation.events)
        catalog = try folder.write("catalog.jsonl", simulation.catalog)
        lines = simulation.events.count
        catalogLines = simulation.catalog.count
        settings = try FleetSettings(parsing: simulation.settingsFile, file: "coldstream.json")
        try settings.set("hash_bits", to: "10")
    }

    func set(_ values: KeyValuePairs<String, String>) throws -> TestInput {
        for (path, value) in values { try settings.set(path, to: value) }
        return self
    }

    func fleet(_ layout: FleetLayout = FleetLayout(), log: MemoryLog? = nil) throws -> EmbeddedFleet
    {
        try EmbeddedFleet(settings, layout: layout, log: log ?? MemoryLog(topics: layout.topics))
    }

    /// Both files as one input, catalog lines in their places in time.
    var together: [IngestInput] {
        var input = IngestInput(name: "all", events: events, catalog: catalog)
        input.closes = true
        return [input]
    }

    /// The catalog before the first event.
    var catalogFirst: [IngestInput] {
        var second = IngestInput(name: "events", events: events)
        second.closes = true
        return [IngestInput(name: "catalog", catalog: catalog), second]
    }
}

extension FleetLayout {
    init(events: Int, domainLog: Int, linesPerTurn: Int = 1_000) {
        self.init()
        eventsPartitions = events
        domainLogPartitions = domainLog
        self.linesPerTurn = linesPerTurn
    }
}

extension EmbeddedFleet {
    /// Runs inputs to their ends, one after the other.
    func run(_ inputs: [IngestInput], afterTurn: () throws -> Void = {}) throws {
        for input in inputs {
            try begin(input)
            while try turn() { try afterTurn() }
        }
    }
}

/// What a run left in its log, as text: topic by topic, key and value of every record in order.
struct Leavings {
    static let outputs: [Topic] = [
        .scores, .domainStatistics, .evaluations, .examples, .deadLetters, .texts,
    ]

    var topics: [String: [String]] = [:]

    init(_ log: MemoryLog, _ topics: [Topic] = Leavings.outputs + [.domainLog]) throws {
        for topic in topics {
            for partition in 0..<log.partitionCount(topic) {
                self.topics["\(topic.name)/\(partition)"] = try Leavings.records(
                    log, topic, partition)
            }
        }
    }

    static func records(_ log: MemoryLog, _ topic: Topic, _ partition: Int) throws -> [String] {
        var records: [String] = []
        try log.read(topic, partition: partition) { record in
            records.append("\(record.key?.text ?? "-") \(record.value?.text ?? "gone")")
        }
        return records
    }

    subscript(topic: Topic, partition: Int = 0) -> [String] {
        topics["\(topic.name)/\(partition)"] ?? []
    }

    /// Sentences that say where `found` is not this, byte for byte; empty where it is.
    func differences(_ found: Leavings) -> [String] {
        Set(topics.keys).union(found.topics.keys).sorted().compactMap { name in
            difference(name, topics[name] ?? [], found.topics[name] ?? [])
        }
    }
}

/// Says at which record two sequences part; nil where they are equal.
func difference(_ name: String, _ expected: [String], _ found: [String]) -> String? {
    if expected == found { return nil }
    let at = zip(expected, found).prefix { $0 == $1 }.map { _ in 1 }.count
    func text(_ list: [String]) -> String { at < list.count ? list[at] : "nothing" }
    return """
        \(name): \(expected.count) records expected, \(found.count) found; record \(at) is \
        \(text(found).prefix(400)), expected \(text(expected).prefix(400))
        """
}
