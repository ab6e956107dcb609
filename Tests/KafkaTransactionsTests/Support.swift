// What several suites need: topics of their own, records as values, a mock broker.

import Bytes
import CRdKafka
import Foundation
import KafkaTestBroker
import Testing

@testable import KafkaTransactions

/// A record by value, to be compared.
struct Sighting: Equatable {
    var partition = 0
    var offset: Int64 = 0
    var key: String?
    var value: String?
    var headers: [Header] = []
    var timestamp: Int64?

    struct Header: Equatable {
        var name: String
        var value: String?
    }

    init(_ view: RecordView) {
        partition = view.partition
        offset = view.offset
        key = view.key?.text
        value = view.value?.text
        var headers: [Header] = []
        view.forEachHeader { headers.append(Header(name: $0.text, value: $1?.text)) }
        self.headers = headers
        timestamp = view.timestamp
    }
}

func milliseconds(since start: ContinuousClock.Instant) -> Double {
    let taken = ContinuousClock.now - start
    return Double(taken.components.seconds) * 1e3 + Double(taken.components.attoseconds) / 1e15
}

/// The error that `body` throws.
func failure(_ body: () throws -> Void) -> KafkaError? {
    do {
        try body()
        return nil
    } catch { return error as? KafkaError }
}

func uniqueName(_ prefix: String = "t") -> String {
    "\(prefix)-\(UUID().uuidString.lowercased().prefix(12))"
}

extension TransactionalProducer {
    /// An initialised producer.
    static func ready(
        _ client: ClientProperties, _ id: String, timeoutMilliseconds: Int = 60_000
    ) throws -> TransactionalProducer {
        var settings = TransactionalProducerSettings(client: client, transactionalID: id)
        settings.transactionTimeoutMilliseconds = timeoutMilliseconds
        let producer = try TransactionalProducer(settings)
        try producer.initialise(timeoutMilliseconds: 20_000)
        return producer
    }

    /// One committed transaction.
    func write(
        _ topic: String, _ values: [String], key: String? = nil, partition: Int? = 0
    ) throws {
        let topic = try self.topic(topic)
        var transaction = try begin()
        for value in values {
            try transaction.add(topic, key: key, value: value, partition: partition)
        }
        try transaction.commit()
    }
}

extension Transaction {
    mutating func add(
        _ topic: ProducerTopic, key: String? = nil, value: String?, partition: Int? = nil
    ) throws {
        let key = key.map { Array($0.utf8) }
        let value = value.map { Array($0.utf8) }
        try Transaction.lend(key) { key in
            try Transaction.lend(value) { value in
                try produce(topic, partition: partition, key: key, value: value)
            }
        }
    }

    static func lend(_ bytes: [UInt8]?, _ body: (ByteSlice?) throws -> Void) rethrows {
        if let bytes { try bytes.lend { try body($0) } } else { try body(nil) }
    }
}

extension ClientProperties {
    /// Waits until no transaction is open: a commit returns when the decision is written, and its
    /// markers follow.
    func waitUntilSettled(_ topic: String, partitions: Range<Int> = 0..<1) throws {
        let offsets = try Offsets(self, group: "reader")
        let places = partitions.map { TopicPartition(topic, $0) }
        let deadline = Deadline(milliseconds: 20_000)
        while !deadline.isOver {
            if try offsets.offsets(of: places).values.allSatisfy(\.isSettled) { return }
        }
        Issue.record("a transaction stays open in \(topic)")
    }

    /// Everything in the given partitions, as a reader of this isolation sees it when no transaction is
    /// open any more.
    func readSettled(_ topic: String, partitions: Range<Int> = 0..<1) throws -> [Sighting] {
        try waitUntilSettled(topic, partitions: partitions)
        return try read(topic, partitions: partitions)
    }

    /// Everything in the given partitions, as a reader of this isolation sees it now.
    func read(
        _ topic: String, partitions: Range<Int> = 0..<1,
        _ isolation: ConsumerSettings.Isolation = .committed, from offset: Int64 = 0
    ) throws -> [Sighting] {
        var settings = ConsumerSettings(client: self, group: "reader")
        settings.isolation = isolation
        settings.reportsEnds = true
        let consumer = try Consumer(settings)
        try consumer.assign(partitions.map { Position(topic, $0, offset) })
        var open = Set(partitions)
        var result: [Sighting] = []
        let deadline = Deadline(milliseconds: 20_000)
        while !open.isEmpty, !deadline.isOver {
            switch try consumer.poll(timeoutMilliseconds: 200) {
            case .record(let record): result.append(Sighting(record.view))
            case .end(let position): open.remove(position.partition.partition)
            default: break
            }
        }
        #expect(open.isEmpty, "the end of \(topic) was not reached")
        return result
    }
}

extension Consumer {
    /// Polls until `body` is content with something other than a record, or time is over.
    func pollEvent(
        within milliseconds: Int = 20_000, _ body: (consuming Polled) throws -> Bool
    ) throws {
        let deadline = Deadline(milliseconds: milliseconds)
        while !deadline.isOver {
            let polled = try poll(timeoutMilliseconds: 100)
            if try body(polled) { return }
        }
        Issue.record("nothing of what was waited for in \(milliseconds) ms")
    }

    /// Waits for an assignment and starts each partition at `offset` (or the committed one).
    func takeAssignment(at offset: Int64? = 0) throws -> [TopicPartition] {
        var taken: [TopicPartition] = []
        try pollEvent { polled in
            switch polled {
            case .assigned(let partitions):
                taken = partitions
                return true
            case .revoked: try unassign()
            default: break
            }
            return false
        }
        if let offset {
            try assign(taken.map { Position($0, offset) })
        } else {
            try assign(taken)
        }
        return taken
    }

    /// The next `count` records.
    func take(_ count: Int, within milliseconds: Int = 20_000) throws -> [Sighting] {
        var result: [Sighting] = []
        let deadline = Deadline(milliseconds: milliseconds)
        while result.count < count, !deadline.isOver {
            if case .record(let record) = try poll(timeoutMilliseconds: 100) {
                result.append(Sighting(record.view))
            }
        }
        return result
    }
}

/// A number that another thread finds out.
final class Found: @unchecked Sendable {
    private let ended = DispatchSemaphore(value: 0)
    private var number: Int?

    func look(_ body: @escaping () throws -> Int) {
        nonisolated(unsafe) let body = body
        Thread.detachNewThread { [self] in
            number = try? body()
            ended.signal()
        }
    }

    func wait() -> Int? {
        ended.wait(timeout: .now() + 30) == .success ? number : nil
    }
}

/// librdkafka's own mock broker: speaks the protocol, but holds no transaction together. For wire
/// tests only.
final class MockCluster {
    private let client: OpaquePointer
    let cluster: OpaquePointer

    init(brokers: Int32 = 1) {
        let quiet = rd_kafka_conf_new()
        rd_kafka_conf_set_log_cb(quiet, nil)
        client = withErrorText { rd_kafka_new(RD_KAFKA_PRODUCER, quiet, $0, $1) }.0!
        cluster = rd_kafka_mock_cluster_new(client, brokers)!
    }

    deinit {
        rd_kafka_mock_cluster_destroy(cluster)
        rd_kafka_destroy(client)
    }

    var properties: ClientProperties {
        ClientProperties(
            bootstrapServers: String(cString: rd_kafka_mock_cluster_bootstraps(cluster)))
    }

    func create(_ topic: String, partitions: Int32 = 1) {
        rd_kafka_mock_topic_create(cluster, topic, partitions, 1)
    }

    /// The next answers to requests of this kind, of any client.
    func answer(_ api: Int16, with codes: rd_kafka_resp_err_t...) {
        var codes = codes
        rd_kafka_mock_push_request_errors_array(cluster, api, codes.count, &codes)
    }

    func setDown() { rd_kafka_mock_broker_set_down(cluster, 1) }

    /// Kafka's request numbers. Source: the Kafka protocol guide.
    static let produce: Int16 = 0
    static let fetch: Int16 = 1
    static let initProducerID: Int16 = 22
    static let addPartitionsToTxn: Int16 = 24
    static let endTxn: Int16 = 26
    static let txnOffsetCommit: Int16 = 28
}
