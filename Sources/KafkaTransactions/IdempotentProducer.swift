// Records outside transactions: each written once and in order, visible at once.

import Bytes
import CRdKafka

/// A producer without transactions. Not `Sendable`: one thread.
public final class IdempotentProducer {
    private let producer: Producer
    private let messageTimeoutMilliseconds: Int
    private let reportsDeliveries: Bool

    /// - Parameter reportsDeliveries: whether `deliveries` is to report every record; otherwise only
    ///   failures are counted.
    public init(
        _ settings: ProducerSettings, reportsDeliveries: Bool = false
    ) throws(KafkaError) {
        producer = try Producer(settings, [:], reportsEveryDelivery: reportsDeliveries)
        producer.client.events.reportsDeliveries = reportsDeliveries
        self.reportsDeliveries = reportsDeliveries
        messageTimeoutMilliseconds = settings.messageTimeoutMilliseconds
    }

    /// Waits until a broker answers; for the start of a process.
    public func connect(timeoutMilliseconds: Int = 10_000) throws(KafkaError) {
        try producer.connect(timeoutMilliseconds: timeoutMilliseconds)
    }

    /// Looks a topic up; the answer is kept, so partitions added later are not seen.
    public func topic(
        _ name: String, timeoutMilliseconds: Int = 10_000
    ) throws(KafkaError) -> ProducerTopic {
        try producer.topic(name, timeoutMilliseconds: timeoutMilliseconds)
    }

    /// Queues a record. Key, value and headers are copied; parameters as in `Transaction.produce`.
    ///
    /// - Parameter token: comes back in `Delivery`.
    public func produce(
        _ topic: ProducerTopic, partition: Int? = nil, key: ByteSlice?, value: ByteSlice?,
        timestampMilliseconds: Int64? = nil, token: Int = 0
    ) throws(KafkaError) {
        try producer.produce(
            topic, partition: partition, key: key, value: value, headers: nil,
            timestampMilliseconds: timestampMilliseconds, token: token,
            fullQueueMilliseconds: messageTimeoutMilliseconds, .harmless)
    }

    /// Queues a record with headers.
    public func produce(
        _ topic: ProducerTopic, partition: Int? = nil, key: ByteSlice?, value: ByteSlice?,
        headers: borrowing RecordHeaders, timestampMilliseconds: Int64? = nil, token: Int = 0
    ) throws(KafkaError) {
        try producer.produce(
            topic, partition: partition, key: key, value: value,
            headers: headers.count > 0 ? headers.list : nil,
            timestampMilliseconds: timestampMilliseconds, token: token,
            fullQueueMilliseconds: messageTimeoutMilliseconds, .harmless)
    }

    /// Waits until every queued record is written.
    ///
    /// - Throws: what became of the first record that was not written since the last call.
    public func flush(timeoutMilliseconds: Int = 30_000) throws(KafkaError) {
        let code = rd_kafka_flush(producer.client.handle, Int32(timeoutMilliseconds))
        let events = producer.client.events
        defer {
            events.firstFailure = nil
            events.failedDeliveries = 0
        }
        if let fatal = producer.client.fatalError("write records") { throw fatal }
        if let first = events.firstFailure { throw first }
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else {
            throw producer.client.error("write records", code)
        }
    }

    /// What became of records since the last call; waits for the first one, at most so long.
    public func deliveries(waitingMilliseconds: Int = 0) -> [Delivery] {
        precondition(reportsDeliveries, "this producer was made without delivery reports")
        let events = producer.client.events
        rd_kafka_poll(
            producer.client.handle, events.deliveries.isEmpty ? Int32(waitingMilliseconds) : 0)
        defer { events.deliveries.removeAll(keepingCapacity: true) }
        return events.deliveries
    }

    /// Records queued or on their way, reports not yet taken included.
    public var pending: Int { Int(rd_kafka_outq_len(producer.client.handle)) }

    public var condition: ClientCondition { producer.client.condition }

    /// Lines of librdkafka's log since the last call, at most 256.
    public func takeLog() -> [LogLine] {
        rd_kafka_poll(producer.client.handle, 0)
        return producer.client.takeLog()
    }
}
