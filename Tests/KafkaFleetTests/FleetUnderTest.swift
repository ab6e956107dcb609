// A fleet with topics, input and processes of its own on a real broker.

import Bytes
import Contracts
import FleetSettings
import Foundation
import Gateway
import JSON
import KafkaFleet
import KafkaTestBroker
import KafkaTransactions
import Streams
import Testing

final class FleetUnderTest {
    let broker: RealBroker
    let fleet: KafkaFleet
    let folder: String
    let processes: WorkerProcesses
    let settingsFile: String
    static let startMilliseconds: Int64 = 1_700_000_000_000

    var name: String { fleet.settings.fleet }
    func partitions(of topic: Topic) -> Int { fleet.settings.topicPartitions[topic.name]! }

    /// - Parameter searches: whether the domain find publishes scores by query.
    init(
        _ broker: RealBroker, events: Int = 3, domainLog: Int = 1, checkpointRecords: Int = 400,
        checkpointSeconds: Int = 600, searches: Bool = false
    ) throws {
        self.broker = broker
        let name = "fleet-\(UUID().uuidString.lowercased().prefix(8))"
        folder = NSTemporaryDirectory() + name
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let topics = Topic.allCases.map { topic in
            let count =
                switch topic {
                case .events: events
                case .domainLog: domainLog
                case .checkpoints: max(events, domainLog)
                default: 2
                }
            return "\"\(topic.name)\": {\"partitions\": \(count)}"
        }
        let caps =
            "\"items_max\": 10000, \"open_impressions_max\": 10000, \"checkpoint_s\": \(checkpointSeconds)"
        let text = """
            {"version": 1, "fleet": "\(name)", "topics": {\(topics.joined(separator: ", "))},
             "roles": {"enrich": {\(caps), "users_max": 10000, "duplicates_max": 20000,
                                  "queries_max": 1000, "checkpoint_records": \(checkpointRecords)},
                       "finetune": {\(caps), "queries_max": 1000, "corrections_max": 10000,
                                    "checkpoint_records": \(checkpointRecords)}},
             "domains": {"find": {"surface": "\(searches ? "search" : "recommendation")"}},
             "domain_defaults": {"label_window_s": 2, "attribution_window_s": 5}}
            """
        settingsFile = "\(folder)/coldstream.json"
        try text.write(toFile: settingsFile, atomically: true, encoding: .utf8)
        fleet = try KafkaFleet(
            FleetSettings(parsing: Array(text.utf8), file: settingsFile), brokers: broker.address)
        processes = WorkerProcesses(errors: "\(folder)/workers.err")
        try fleet.applyTopics { _ in }
        try fleet.writeSettings(time: Self.startMilliseconds)
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    // Input

    /// Impressions of 20 items by 50 users in four domains, one of them a search; every fourth is clicked
    /// a second later, every ninth so late that its label is out.
    func writeInput(_ count: Int, from first: Int = 0) throws -> IngestInput {
        let start = Self.startMilliseconds
        var catalog = ""
        for item in 0..<20 {
            catalog +=
                "{\"item_id\":\"i\(item)\",\"time_ms\":\(start),\"title\":\"item \(item)\"}\n"
        }
        let domains = ["home", "find", "videos", "cards"]
        var lines: [(time: Int64, text: String)] = []
        for n in first..<first + count {
            let time = start + Int64(n) * 10
            let domain = domains[n % 4]
            let common =
                "\"domain\":\"\(domain)\",\"user_id\":\"u\(n * 7 % 50)\",\"item_id\":\"i\(n * 13 % 20)\""
            let query = domain == "find" ? ",\"query\":\"query \(n % 7)\"" : ""
            lines.append(
                (
                    time,
                    "{\"id\":\"e\(n)\",\"type\":\"impression\",\"time_ms\":\(time),\"request_id\":\"r\(n)\",\"position\":\(n % 5 + 1)\(query),\(common)}"
                ))
            let delay: Int64? = n % 4 == 1 || n % 7 == 0 ? 1_000 : n % 9 == 0 ? 4_500 : nil
            if let delay {
                lines.append(
                    (
                        time + delay,
                        "{\"id\":\"c\(n)\",\"type\":\"click\",\"time_ms\":\(time + delay),\"impression_id\":\"e\(n)\",\(common)}"
                    ))
            }
        }
        lines.sort { $0.time < $1.time }
        let events = lines.map(\.text).joined(separator: "\n") + "\n"
        let (file, items) = ("\(folder)/events-\(first).jsonl", "\(folder)/catalog.jsonl")
        try catalog.write(toFile: items, atomically: true, encoding: .utf8)
        try events.write(toFile: file, atomically: true, encoding: .utf8)
        return IngestInput(name: "input \(first)", events: file, catalog: first == 0 ? items : nil)
    }

    /// Appends everything at once.
    func append(_ input: IngestInput) throws {
        let ingest = try fleet.ingest(input)
        while try ingest.turn() {}
    }

    /// An event whose key is not its user: a dead letter of enrich.
    func appendBadEvent() throws {
        let producer = try IdempotentProducer(ProducerSettings(client: fleet.client))
        let topic = try producer.topic(fleet.topics[.events])
        let time = Self.startMilliseconds
        let value =
            "{\"id\":\"b\",\"type\":\"click\",\"time_ms\":\(time),\"domain\":\"home\",\"user_id\":\"u1\",\"impression_id\":\"e0\"}"
        try "nobody".lend { key in
            try value.lend { try producer.produce(topic, key: key, value: $0) }
        }
        try producer.flush()
    }

    // Processes

    static let program = URL(fileURLWithPath: CommandLine.arguments[0])
        .deletingLastPathComponent().appendingPathComponent("coldstream").path

    /// Starts a slot of a role as a user would: `coldstream worker`.
    func start(_ role: String, slot: Int = 0, _ more: [String] = []) throws {
        try processes.start(
            "\(role).\(slot)",
            [
                Self.program, "worker", role, "--slot", "\(slot)", "--config", settingsFile,
                "--brokers", broker.address,
            ] + more)
    }

    /// Runs `coldstream WORDS…` to its end; its exit code and what it wrote.
    func run(_ words: [String]) throws -> (code: Int32?, lines: [String]) {
        let one = WorkerProcesses(errors: "\(folder)/\(UUID().uuidString).err")
        try one.start(
            "once",
            [Self.program] + words + ["--config", settingsFile, "--brokers", broker.address])
        return (one.wait("once"), one.lines)
    }

    /// SIGTERM to every process; their exit codes.
    func stopAll() -> [Int32?] { processes.names.map { processes.stop($0) } }

    /// Lines of the workers' journals.
    var journal: [JSONValue] { processes.lines.compactMap { try? JSONValue(parsing: $0) } }

    /// Records that each recovery since a line had to replay.
    func replays(after line: Int = 0) -> [Int64] {
        journal.dropFirst(line).filter { $0["event"]?.text == "restored" }
            .compactMap { $0["replayed"]?.integer }
    }

    var newestLines: String { processes.lines.suffix(15).joined(separator: "\n") }

    // Progress

    /// Offsets that a role's group has committed, summed up.
    func progress(_ role: String, _ topic: Topic) throws -> Int64 {
        let places = (0..<partitions(of: topic)).map { TopicPartition(fleet.topics[topic], $0) }
        return try Offsets(fleet.client, group: "\(name).\(role)")
            .committed(places, timeoutMilliseconds: 30_000).values.reduce(0, +)
    }

    /// Tends the processes until something holds; records an issue when it does not in time.
    func until(_ seconds: Int, _ what: String, _ condition: () throws -> Bool) throws {
        let deadline = ContinuousClock.now + .seconds(seconds)
        var last: (any Error)?
        while ContinuousClock.now < deadline {
            try processes.tend()
            do {
                if try condition() { return }
            } catch let error as KafkaError where error.remedy == .retry { last = error }
        }
        Issue.record(
            "no \(what) in \(seconds) s; \(last.map { "\($0)" } ?? "no error"); \(processes.exits); \(newestLines)"
        )
    }

    /// Waits until nothing is left to do for any role.
    func drain(within seconds: Int = 180) throws {
        let check = try DrainCheck(fleet)
        try until(seconds, "rest") { try check.isDrained(timeoutMilliseconds: 10_000) }
    }
}
