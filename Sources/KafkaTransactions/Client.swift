// What consumers, producers and admin clients share: the handle, its callbacks, its log.

import CRdKafka

#if canImport(Glibc)
    import Glibc
#endif

/// A line that librdkafka wrote, with secrets taken out.
public struct LogLine: Equatable, Sendable {
    /// As in syslog: 3 error, 4 warning, 5 notice, 6 info, 7 debug.
    public let level: Int

    /// librdkafka's word for what it is about, as in "FAIL" or "SESSTMOUT".
    public let subject: String
    public let text: String
}

/// How a client fares.
public struct ClientCondition: Equatable, Sendable {
    /// Bytes of records that wait to be polled, or to be written; as of the newest statistics
    /// (every 5 s), 0 where they were not asked for.
    public let queueBytes: Int64
    /// How often a connection to a broker broke, or none was left.
    public let connectionsLost: Int64
    /// Brokers that are connected, as of the newest statistics; nil where there are none yet. The
    /// connection to a group's coordinator does not count: nothing can be fetched over it.
    public let brokersConnected: Int?
}

/// What callbacks leave behind until the polling thread takes it.
///
/// Every callback of librdkafka runs inside a call that the client's one thread makes (`log.queue`
/// keeps even the log from librdkafka's own threads), so nothing here is locked.
final class ClientEvents {
    static let linesKept = 256

    let redaction: Redaction
    var lines: [LogLine] = []
    var linesDropped = 0

    /// The newest error that concerns the client as a whole, such as a refused connection.
    var lastError: KafkaError?

    /// How often a broker's connection broke, or none was left.
    var connectionsLost = 0

    /// Bytes that wait in the client, of its newest statistics.
    var queueBytes = 0
    /// Brokers that were connected then.
    var brokersConnected: Int?

    /// Rebalances that `poll` has not returned yet, oldest first.
    var rebalances: [Rebalance] = []

    /// A closing consumer gives everything back at once.
    var isClosing = false

    /// Whether somebody will take `deliveries`.
    var reportsDeliveries = false
    var deliveries: [Delivery] = []
    var failedDeliveries = 0
    var firstFailure: KafkaError?

    /// What a refused log-in may come from, other than a wrong password.
    var authenticationHint: String?

    init(_ redaction: Redaction) { self.redaction = redaction }

    static func of(_ opaque: UnsafeMutableRawPointer?) -> ClientEvents {
        Unmanaged<ClientEvents>.fromOpaque(opaque!).takeUnretainedValue()
    }
}

/// A handle of librdkafka with exactly one owner. Not `Sendable`: a client lives on one thread.
final class Client {
    enum Kind { case consumer, producer }

    let handle: OpaquePointer
    let events: ClientEvents
    private let kind: Kind

    /// Set where an error inside a transaction has ended the use of the client: it is left to the end of
    /// the process then. Destroying it hangs, or trips an assertion of librdkafka 2.0.2 while requests
    /// are on their way.
    var isAbandoned = false

    var redaction: Redaction { events.redaction }

    /// - Parameters:
    ///   - decided: what the client sets, whatever `properties` say.
    ///   - preferred: what the client sets where `properties` say nothing.
    ///   - ifKnown: settings of newer versions.
    init(
        _ kind: Kind, _ properties: ClientProperties, decided: [String: String],
        preferred: [String: String] = [:], ifKnown: [String: String] = [:],
        callbacks: (OpaquePointer) -> Void = { _ in }
    ) throws(KafkaError) {
        if let refusal = LibraryVersion.running.refusal {
            throw KafkaError.settings("use this library", refusal)
        }
        let events = ClientEvents(properties.redaction)
        if properties.usesSCRAM { events.authenticationHint = LibraryVersion.running.scramLimit }
        let configuration = Configuration()
        try configuration.set(preferred, events.redaction)
        try configuration.set(properties.settings, events.redaction)
        try configuration.set(decided, events.redaction)
        try configuration.set(Self.always, events.redaction)
        for (key, value) in ifKnown.sorted(by: { $0.key < $1.key })
        where properties.settings[key] == nil {
            configuration.setIfKnown(key, value)
        }
        configuration.lend { conf in
            rd_kafka_conf_set_opaque(conf, Unmanaged.passUnretained(events).toOpaque())
            rd_kafka_conf_set_log_cb(conf, keepLogLine)
            rd_kafka_conf_set_error_cb(conf, keepError)
            rd_kafka_conf_set_stats_cb(conf, keepStatistics)
            callbacks(conf)
        }
        handle = try configuration.makeClient(
            kind == .consumer ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER, events.redaction)
        self.events = events
        self.kind = kind
        rd_kafka_set_log_queue(handle, nil)  // to the queue that `poll` serves
    }

    /// Destroys without leaving the group: `Consumer.close` does that; a crash must not wait for it.
    deinit {
        guard !isAbandoned else {
            _ = Unmanaged.passRetained(events)  // callbacks may still come
            return
        }
        rd_kafka_destroy_flags(
            handle, kind == .consumer ? Int32(RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE) : 0)
    }

    /// How often librdkafka says how much waits in it.
    static let reportingQueues = ["statistics.interval.ms": "5000"]

    private static let always = [
        "log.queue": "true",
        "socket.nagle.disable": "true",
    ]

    /// Waits until a broker answers, and tells apart who cannot be reached and who says no.
    ///
    /// - Throws: `.fixSettings` when credentials or certificates are refused, `.retry` when nobody
    ///   answered in time.
    func connect(
        timeoutMilliseconds: Int, serve: () -> Void
    ) throws(KafkaError) {
        let deadline = Deadline(milliseconds: timeoutMilliseconds)
        while true {
            var metadata: UnsafePointer<rd_kafka_metadata>?
            let slice = Int32(min(500, deadline.remaining))
            let code = rd_kafka_metadata(handle, 0, nil, &metadata, slice)
            if code == RD_KAFKA_RESP_ERR_NO_ERROR {
                rd_kafka_metadata_destroy(metadata)
                return
            }
            serve()
            if let error = events.lastError, error.remedy == .fixSettings { throw error }
            if deadline.isOver {
                let last = events.lastError.map { ": " + $0.reason } ?? ""
                throw error(
                    "connect", RD_KAFKA_RESP_ERR__TRANSPORT,
                    reason: "no broker answered in \(timeoutMilliseconds) ms\(last)")
            }
        }
    }

    /// Asks a broker how many partitions a topic has.
    func partitionCount(
        _ topic: OpaquePointer, _ name: String, _ timeoutMilliseconds: Int
    ) throws(KafkaError) -> Int {
        var metadata: UnsafePointer<rd_kafka_metadata>?
        let code = rd_kafka_metadata(handle, 0, topic, &metadata, Int32(timeoutMilliseconds))
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR, let metadata else {
            throw error("look topic \(name) up", code)
        }
        defer { rd_kafka_metadata_destroy(metadata) }
        guard metadata.pointee.topic_cnt == 1, let found = metadata.pointee.topics else {
            throw error("look topic \(name) up", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        }
        guard found.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR else {
            throw error("look topic \(name) up", found.pointee.err)
        }
        return Int(found.pointee.partition_cnt)
    }

    var condition: ClientCondition {
        ClientCondition(
            queueBytes: Int64(events.queueBytes),
            connectionsLost: Int64(events.connectionsLost),
            brokersConnected: events.brokersConnected)
    }

    func takeLog() -> [LogLine] {
        var lines = events.lines
        if events.linesDropped > 0 {
            lines.append(
                LogLine(level: 4, subject: "LOG", text: "\(events.linesDropped) lines dropped"))
        }
        events.lines = []
        events.linesDropped = 0
        return lines
    }

    func error(
        _ operation: String, _ code: rd_kafka_resp_err_t, reason: String? = nil,
        _ repetition: Repetition = .harmless
    ) -> KafkaError {
        KafkaError(operation, code, reason: reason, repetition, redaction)
    }

    /// The error behind `_FATAL`, if the client has raised one.
    func fatalError(_ operation: String) -> KafkaError? {
        let (code, reason) = withErrorText { rd_kafka_fatal_error(handle, $0, $1) }
        guard code != RD_KAFKA_RESP_ERR_NO_ERROR else { return nil }
        return KafkaError(operation, code, reason: reason, .harmful, isFatal: true, redaction)
    }
}

// Callbacks are free functions: a closure written in a place bound to an actor, called on another
// thread by C, stops the process.

private func keepLogLine(
    _ client: OpaquePointer?, _ level: Int32, _ subject: UnsafePointer<CChar>?,
    _ text: UnsafePointer<CChar>?
) {
    guard let opaque = rd_kafka_opaque(client) else { return }
    let events = ClientEvents.of(opaque)
    guard events.lines.count < ClientEvents.linesKept else {
        events.linesDropped += 1
        return
    }
    events.lines.append(
        LogLine(
            level: Int(level), subject: subject.map { String(cString: $0) } ?? "",
            text: events.redaction(text.map { String(cString: $0) } ?? "")))
}

private func keepError(
    _ client: OpaquePointer?, _ code: Int32, _ reason: UnsafePointer<CChar>?,
    _ opaque: UnsafeMutableRawPointer?
) {
    let events = ClientEvents.of(opaque)
    var reason = reason.map { String(cString: $0) }
    if code == RD_KAFKA_RESP_ERR__AUTHENTICATION.rawValue, let hint = events.authenticationHint {
        reason = (reason.map { $0 + "; " } ?? "") + hint
    }
    let error = KafkaError(
        "talk to the cluster", rd_kafka_resp_err_t(code), reason: reason, .harmless,
        events.redaction)
    if code == RD_KAFKA_RESP_ERR__TRANSPORT.rawValue
        || code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN.rawValue
    {
        events.connectionsLost += 1
    }
    // "All brokers are down" says less than the refusal that led to it.
    if code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN.rawValue, events.lastError != nil { return }
    events.lastError = error
}

private func keepStatistics(
    _ client: OpaquePointer?, _ json: UnsafeMutablePointer<CChar>?, _ count: Int,
    _ opaque: UnsafeMutableRawPointer?
) -> Int32 {
    guard let json else { return 0 }
    let text = UnsafeRawBufferPointer(start: json, count: count)
    ClientEvents.of(opaque).queueBytes = ClientStatistics.queueBytes(text)
    ClientEvents.of(opaque).brokersConnected = ClientStatistics.brokersConnected(text)
    return 0  // librdkafka frees the text
}

/// A few values of librdkafka's statistics, a document of many kilobytes: it is searched and not parsed.
///
/// Source: librdkafka's STATISTICS.md: `msg_size` at the top, `fetchq_size` of every partition; `source`
/// and, behind it, `state` of every broker.
enum ClientStatistics {
    /// Brokers that are up, those left out that stand for something else, such as a coordinator.
    static func brokersConnected(_ json: UnsafeRawBufferPointer) -> Int {
        let sources = words(after: "\"source\":", in: json)
        let states = words(after: "\"state\":", in: json)
        return sources.count { source in
            guard
                source.word.elementsEqual("learned".utf8)
                    || source.word.elementsEqual("configured".utf8)
            else { return false }
            let state = states.first { $0.offset > source.offset }
            return state?.word.elementsEqual("UP".utf8) == true
        }
    }

    private static func words(
        after name: StaticString, in json: UnsafeRawBufferPointer
    ) -> [(offset: Int, word: Slice<UnsafeRawBufferPointer>)] {
        offsets(behind: name, in: json).compactMap { offset in
            let rest = json[offset...].drop { $0 == UInt8(ascii: " ") }
            guard rest.first == UInt8(ascii: "\"") else { return nil }
            return (offset, rest.dropFirst().prefix { $0 != UInt8(ascii: "\"") })
        }
    }

    /// Where each occurrence of a name ends.
    private static func offsets(
        behind name: StaticString, in json: UnsafeRawBufferPointer
    ) -> [Int] {
        var found: [Int] = []
        var at = 0
        let count = name.utf8CodeUnitCount
        while at + count <= json.count {
            if memcmp(json.baseAddress! + at, name.utf8Start, count) == 0 {
                at += count
                found.append(at)
            } else {
                at += 1
            }
        }
        return found
    }

    /// Bytes that wait.
    static func queueBytes(_ json: UnsafeRawBufferPointer) -> Int {
        numbers(after: "\"msg_size\":", in: json).prefix(1).reduce(0, +)
            + numbers(after: "\"fetchq_size\":", in: json).reduce(0, +)
    }

    private static func numbers(after name: StaticString, in json: UnsafeRawBufferPointer) -> [Int]
    {
        offsets(behind: name, in: json).map { offset in
            var at = offset
            while at < json.count, json[at] == UInt8(ascii: " ") { at += 1 }
            var value = 0
            while at < json.count, json[at] >= 48, json[at] <= 57, value < Int.max / 16 {
                value = value * 10 + Int(json[at] - 48)
                at += 1
            }
            return value
        }
    }
}
