// What every test of enrich works with: events from a few words, a MemoryLog, outputs as short lines.

import Bytes
import Contracts
import JSON
import Streams

@testable import Enrich

/// An event in the making.
struct TestEvent {
    var fields: [(name: String, value: JSONValue)]
    /// What the record's key is; nil for none.
    var key: String?
    var headers: [(String, String)] = []
    /// The record's own timestamp; nil = the log's clock.
    var timestamp: Int64?
    /// Bytes to send instead of the fields.
    var raw: String?

    init(_ type: String, _ time: Int64, _ domain: String, user: String) {
        fields = [
            ("type", .text(type)), ("time_ms", .integer(time)), ("domain", .text(domain)),
            ("user_id", .text(user)),
        ]
        key = user
    }

    static func impression(
        _ id: String, _ time: Int64, item: String = "a", user: String = "u", domain: String = "d",
        request: String? = nil
    ) -> TestEvent {
        var event = TestEvent("impression", time, domain, user: user)
        event["impression_id"] = .text(id)
        event["item_id"] = .text(item)
        event["request_id"] = request.map { .text($0) }
        return event
    }

    static func slate(
        _ id: String, _ time: Int64, items: [String], user: String = "u", domain: String = "d"
    ) -> TestEvent {
        var event = TestEvent("impression", time, domain, user: user)
        event["impression_id"] = .text(id)
        event["items"] = .array(items.map { .object([JSONMember("item_id", .text($0))]) })
        return event
    }

    static func click(
        _ id: String, _ time: Int64, user: String = "u", domain: String = "d", item: String? = nil
    ) -> TestEvent {
        var event = TestEvent("click", time, domain, user: user)
        event["impression_id"] = .text(id)
        event["item_id"] = item.map { .text($0) }
        return event
    }

    static func click(
        request: String, item: String, _ time: Int64, id: String? = nil, user: String = "u"
    ) -> TestEvent {
        var event = TestEvent("click", time, "d", user: user)
        event["id"] = id.map { .text($0) }
        event["request_id"] = .text(request)
        event["item_id"] = .text(item)
        return event
    }

    static func conversion(
        _ id: String, _ time: Int64, user: String = "u", domain: String = "d"
    ) -> TestEvent {
        var event = TestEvent("conversion", time, domain, user: user)
        event["impression_id"] = .text(id)
        return event
    }

    static func judgment(query: String, item: String, grade: Double, _ time: Int64) -> TestEvent {
        var event = TestEvent("judgment", time, "d", user: "u")
        event["query"] = .text(query)
        event["item_id"] = .text(item)
        event["grade"] = .number(grade)
        return event
    }

    static func raw(_ text: String, key: String? = "u") -> TestEvent {
        var event = TestEvent("", 0, "", user: "")
        event.raw = text
        event.key = key
        return event
    }

    /// A tick as the fleet's own driver writes it.
    static func tick(_ time: Int64, close: Bool = false, fleet: String = "coldstream") -> TestEvent
    {
        var event = TestEvent("tick", time, "d", user: "u")
        event.fields.removeAll { $0.name == "domain" || $0.name == "user_id" }
        if close { event["close"] = .boolean(true) }
        event.key = nil
        event.headers = [("coldstream-tick", fleet)]
        return event
    }

    subscript(_ name: String) -> JSONValue? {
        get { fields.first { $0.name == name }?.value }
        set {
            fields.removeAll { $0.name == name }
            if let newValue { fields.append((name, newValue)) }
        }
    }

    func with(_ name: String, _ value: JSONValue?) -> TestEvent {
        var copy = self
        copy[name] = value
        return copy
    }

    var bytes: [UInt8] {
        if let raw { return Array(raw.utf8) }
        return JSONValue.object(
            fields.sorted { $0.name < $1.name }.map { JSONMember($0.name, $0.value) }
        ).canonicalBytes
    }

    func append(to log: MemoryLog, partition: Int? = nil) throws {
        var encoded = ByteBuffer()
        for (name, value) in headers {
            name.lend { name in value.lend { Headers.append(name, $0, to: &encoded) } }
        }
        let headers = Headers(encoded: encoded.slice)
        try bytes.lend { bytes in
            if let key {
                _ = try key.lend {
                    try log.append(
                        Topic.events, partition: partition, key: $0, value: bytes,
                        headers: headers, timestamp: timestamp)
                }
            } else {
                try log.append(
                    Topic.events, partition: partition ?? 0, key: nil, value: bytes,
                    headers: headers, timestamp: timestamp)
            }
        }
    }
}

extension EnrichSettings {
    /// Round numbers: labels after 30 s, corrections up to 100 s, conversions up to 1,000 s, 2 s late.
    static var test: EnrichSettings {
        var settings = EnrichSettings()
        settings.domainDefaults.labelWindowMilliseconds = 30_000
        settings.domainDefaults.attributionWindowMilliseconds = 100_000
        settings.domainDefaults.conversionWindowMilliseconds = 1_000_000
        settings.history = 3
        return settings
    }

    func with(_ change: (inout EnrichSettings) -> Void) -> EnrichSettings {
        var copy = self
        change(&copy)
        return copy
    }
}

/// The topics of a fleet on a MemoryLog.
func makeLog(events: Int = 1, domainLog: Int = 1) -> MemoryLog {
    let log = MemoryLog(
        topics: Topic.allCases.map { topic in
            let partitions =
                topic == .domainLog
                ? domainLog : topic == .events || topic == .checkpoints ? events : 1
            return MemoryTopic(
                name: topic.name, partitions: partitions, isCompacted: topic.isCompacted)
        })
    log.now = 1_000_000_000_000
    return log
}

func makeWorker(
    _ settings: EnrichSettings, _ log: MemoryLog, limits: WorkerLimits = WorkerLimits(),
    slot: Int = 0
) -> StepWorker<Enrich, MemoryLogClient> {
    StepWorker(
        role: Enrich(settings),
        client: MemoryLogClient(
            log, group: "enrich", input: Topic.events, transactionalID: "enrich.\(slot)"),
        group: "enrich", input: Topic.events, checkpoints: Topic.checkpoints, limits: limits)
}

/// Enrich over a log with one partition a topic; every call gives what came out since the last.
struct EnrichRun {
    let log: MemoryLog
    let worker: StepWorker<Enrich, MemoryLogClient>
    private var seen: [String: Int64] = [:]

    init(_ settings: EnrichSettings = .test, domainLog: Int = 1) throws {
        log = makeLog(domainLog: domainLog)
        worker = makeWorker(settings.with { $0.domainLogPartitions = domainLog }, log)
        _ = try worker.turn()
    }

    var state: EnrichState { worker.state(of: 0)! }
    var counts: EnrichCounts { state.counts }

    mutating func send(_ events: [TestEvent]) throws {
        for event in events { try event.append(to: log) }
        while try worker.turn() > 0 {}
    }

    /// New records of a topic.
    mutating func records(_ topic: Topic = .domainLog, partition: Int = 0) throws -> [JSONValue] {
        var records: [JSONValue] = []
        let key = "\(topic)/\(partition)"
        seen[key] = try log.read(topic, partition: partition, from: seen[key]) { record in
            records.append(try JSONValue(parsing: record.value!))
        }
        return records
    }

    /// New records of domain-log as short lines, without ticks.
    mutating func after(_ events: TestEvent...) throws -> [String] {
        try send(events)
        return try records().map(line).filter { !$0.hasPrefix("tick") }
    }

    mutating func ticks(after events: TestEvent..., partition: Int = 0) throws -> [String] {
        try send(events)
        return try records(.domainLog, partition: partition).map(line).filter {
            $0.hasPrefix("tick")
        }
    }

    mutating func impressions(after events: TestEvent...) throws -> [JSONValue] {
        try send(events)
        return try records().filter { $0["kind"]!.text == "impression" }
    }

    mutating func deadLetters(after events: TestEvent...) throws -> [String] {
        try send(events)
        return try records(.deadLetters).map { $0["reason"]!.text! }
    }
}

/// `impression i1 a`, `label i1 click 1 r1 @40000`, `judgment a .5`, `text shoes`, `tick 1000`.
private func line(_ record: JSONValue) -> String {
    let kind = record["kind"]!.text!
    func text(_ name: String) -> String { record[name]?.text ?? "-" }
    func number(_ name: String) -> String { record[name].map(\.canonicalText) ?? "-" }
    switch kind {
    case "impression": return "impression \(text("impression_id")) \(text("item_id"))"
    case "label":
        let click = record["click_time_ms"].map { " clicked \($0.canonicalText)" } ?? ""
        return """
            label \(text("impression_id")) \(text("task")) \(number("value")) \
            r\(number("revision")) @\(number("time_ms"))\(click)
            """
    case "judgment": return "judgment \(text("item_id")) \(number("grade"))"
    case "text": return "text \(text("text"))"
    case "tick":
        let close = record["close"] == nil ? "" : " close"
        let domains = record["domains"].map { " \($0.canonicalText)" } ?? ""
        return "tick \(number("time_ms"))\(close)\(domains)"
    default: return kind
    }
}
