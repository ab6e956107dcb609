// What both producers share: topics, the queue, delivery reports.

import Bytes
import CRdKafka

/// A topic that a producer has looked up; valid as long as that producer.
public struct ProducerTopic {
    let handle: OpaquePointer
    public let name: String
    public let partitionCount: Int
}

/// What became of a record.
public struct Delivery: Equatable, Sendable {
    /// The number given when it was produced.
    public let token: Int
    public let partition: Int
    /// nil where it was not written, or may or may not have been.
    public let offset: Int64?
    public let error: KafkaError?
}

/// What a producer is to do; the defaults are those of exactly-once.
public struct ProducerSettings: Sendable {
    public var client: ClientProperties
    /// How long a record may try to be written. A transactional producer stays below its transaction's
    /// timeout.
    public var messageTimeoutMilliseconds = 30_000
    /// Bytes of produced records that may wait to be written.
    public var queueBytes = 64 << 20
    /// Whether `condition` is to tell how many bytes wait.
    public var reportsQueues = false
    /// How long to wait for more records before a request is sent; commit and flush do not wait.
    public var lingerMilliseconds = 5
    /// none, gzip, snappy, lz4 or zstd.
    public var compression = "none"

    public init(client: ClientProperties) { self.client = client }
}

/// The part of a producer that knows nothing of transactions.
final class Producer {
    let client: Client
    private var topics: [String: ProducerTopic] = [:]

    init(
        _ settings: ProducerSettings, _ decided: [String: String], reportsEveryDelivery: Bool
    ) throws(KafkaError) {
        var decided = decided
        decided["message.timeout.ms"] = "\(settings.messageTimeoutMilliseconds)"
        decided["enable.idempotence"] = "true"
        decided["acks"] = "all"
        decided["partitioner"] = "murmur2_random"  // as Java clients do
        decided["delivery.report.only.error"] = reportsEveryDelivery ? "false" : "true"
        decided["queue.buffering.max.messages"] = "10000000"
        decided["queue.buffering.max.kbytes"] =
            "\(min(max(1, settings.queueBytes / 1024), 2_147_483_647))"
        decided["linger.ms"] = "\(settings.lingerMilliseconds)"
        client = try Client(
            .producer, settings.client, decided: decided,
            preferred: [
                "compression.type": settings.compression,
                // A transaction that begins while the markers of the last one are written is told to come
                // again, and would wait for 100 ms.
                "retry.backoff.ms": "10",
            ].merging(settings.reportsQueues ? Client.reportingQueues : [:]) { $1 }
        ) { conf in rd_kafka_conf_set_dr_msg_cb(conf, keepDelivery) }
    }

    deinit { for topic in topics.values { rd_kafka_topic_destroy(topic.handle) } }

    func connect(timeoutMilliseconds: Int) throws(KafkaError) {
        let handle = client.handle
        try client.connect(timeoutMilliseconds: timeoutMilliseconds) { rd_kafka_poll(handle, 0) }
    }

    /// Looks a topic up and waits for its partitions: without that the first record of a topic is up
    /// to a second late (before 2.10.1). Asks again for some seconds where the topic is unknown.
    func topic(
        _ name: String, timeoutMilliseconds: Int
    ) throws(KafkaError) -> ProducerTopic {
        if let known = topics[name] { return known }
        guard let handle = rd_kafka_topic_new(client.handle, name, nil) else {
            throw client.error("look topic \(name) up", rd_kafka_last_error())
        }
        do {
            let count = try askWithPatience(handle, name, timeoutMilliseconds)
            let topic = ProducerTopic(handle: handle, name: name, partitionCount: count)
            topics[name] = topic
            return topic
        } catch {
            rd_kafka_topic_destroy(handle)
            throw error
        }
    }

    private func askWithPatience(
        _ topic: OpaquePointer, _ name: String, _ timeoutMilliseconds: Int
    ) throws(KafkaError) -> Int {
        let deadline = Deadline(milliseconds: timeoutMilliseconds)
        let patience = Deadline(
            milliseconds: min(timeoutMilliseconds, KafkaError.unknownTopicMilliseconds))
        while true {
            do {
                return try client.partitionCount(topic, name, max(1, deadline.remaining))
            } catch {
                let passes = error.isUnknownTopic ? !patience.isOver : error.remedy == .retry
                guard passes, !deadline.isOver else { throw error }
                rd_kafka_poll(client.handle, 100)
            }
        }
    }

    /// Queues one record; waits where the queue is full, at most so long.
    func produce(
        _ topic: ProducerTopic, partition: Int?, key: ByteSlice?, value: ByteSlice?,
        headers: OpaquePointer?, timestampMilliseconds: Int64?, token: Int,
        fullQueueMilliseconds: Int, _ repetition: Repetition
    ) throws(KafkaError) {
        if let partition, partition < 0 || partition >= topic.partitionCount {
            throw KafkaError(
                operation: "produce to \(topic.name)",
                code: RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION.rawValue,
                reason: "partition \(partition) of \(topic.partitionCount)", remedy: .fixSettings)
        }
        var deadline: Deadline?
        while true {
            let code = crdkafka_produce(
                client.handle, topic.handle, partition.map { Int32($0) } ?? RD_KAFKA_PARTITION_UA,
                key?.base, key?.count ?? 0, value?.base, value?.count ?? 0,
                timestampMilliseconds ?? 0, headers, UnsafeMutableRawPointer(bitPattern: token))
            if code == RD_KAFKA_RESP_ERR_NO_ERROR { return }
            if code == RD_KAFKA_RESP_ERR__FATAL,
                let fatal = client.fatalError("produce to \(topic.name)")
            {
                throw fatal
            }
            let limit = deadline ?? Deadline(milliseconds: fullQueueMilliseconds)
            guard code == RD_KAFKA_RESP_ERR__QUEUE_FULL, !limit.isOver else {
                throw client.error("produce to \(topic.name)", code, repetition)
            }
            deadline = limit
            rd_kafka_poll(client.handle, Int32(min(100, limit.remaining)))
        }
    }
}

private func keepDelivery(
    _ client: OpaquePointer?, _ message: UnsafePointer<rd_kafka_message_t>?,
    _ opaque: UnsafeMutableRawPointer?
) {
    guard let message = message?.pointee else { return }
    let events = ClientEvents.of(opaque)
    var error: KafkaError?
    if message.err != RD_KAFKA_RESP_ERR_NO_ERROR {
        let topic = message.rkt.map { String(cString: rd_kafka_topic_name($0)) } ?? "a topic"
        error = KafkaError(
            "deliver a record to \(topic)/\(message.partition)", message.err, .harmless,
            events.redaction)
        events.failedDeliveries += 1
        if events.firstFailure == nil { events.firstFailure = error }
    }
    guard events.reportsDeliveries else { return }
    events.deliveries.append(
        Delivery(
            token: Int(bitPattern: message._private), partition: Int(message.partition),
            offset: error == nil ? message.offset : nil, error: error))
}
