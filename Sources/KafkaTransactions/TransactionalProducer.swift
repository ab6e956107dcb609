// Outputs and positions that become visible together or not at all.

import Bytes
import CRdKafka

/// What a transactional producer is to do.
public struct TransactionalProducerSettings: Sendable {
    public var producer: ProducerSettings
    /// Stable for a slot: a new process with the same id aborts what the old one left open, and fences
    /// it.
    public var transactionalID: String
    /// How long a transaction may stay open before the broker aborts it. A killed worker holds up every
    /// read-committed reader for so long.
    public var transactionTimeoutMilliseconds = 5_000

    public init(client: ClientProperties, transactionalID: String) {
        producer = ProducerSettings(client: client)
        self.transactionalID = transactionalID
    }
}

/// A producer of transactions, one after the other. Not `Sendable`: one thread.
///
/// Any error of a transaction spends the producer: its next transaction could be ended by the late
/// answer to a lost request (KIP-890 is not in librdkafka), so there is none. A new producer with the
/// same id is safe.
public final class TransactionalProducer {
    let producer: Producer
    let fullQueueMilliseconds: Int
    private var isInitialised = false
    fileprivate(set) var isOpen = false

    /// Whether an error has ended the use of this producer.
    public internal(set) var isSpent = false {
        didSet { if isSpent { producer.client.isAbandoned = true } }
    }

    public init(_ settings: TransactionalProducerSettings) throws(KafkaError) {
        var shared = settings.producer
        let timeout = settings.transactionTimeoutMilliseconds
        guard timeout >= 1_000 else {
            throw KafkaError.settings(
                "create a producer", "a transaction timeout of \(timeout) ms is below 1000 ms")
        }
        shared.messageTimeoutMilliseconds = min(shared.messageTimeoutMilliseconds, timeout - 500)
        producer = try Producer(
            shared,
            [
                "transactional.id": settings.transactionalID,
                "transaction.timeout.ms": "\(timeout)",
            ], reportsEveryDelivery: false)
        fullQueueMilliseconds = timeout
    }

    /// Waits until a broker answers; for the start of a process.
    ///
    /// - Throws: `.fixSettings` when credentials or certificates are refused, `.retry` when nobody
    ///   answered in time.
    public func connect(timeoutMilliseconds: Int = 10_000) throws(KafkaError) {
        try producer.connect(timeoutMilliseconds: timeoutMilliseconds)
    }

    /// Takes the transactional id over: aborts what a predecessor left open and fences it.
    ///
    /// Tries again by itself while that can help, at most so long.
    public func initialise(timeoutMilliseconds: Int = 60_000) throws(KafkaError) {
        let deadline = Deadline(milliseconds: timeoutMilliseconds)
        while true {
            let slice = Int32(max(1, min(1_000, deadline.remaining)))
            guard let object = rd_kafka_init_transactions(producer.client.handle, slice) else {
                break
            }
            let error = KafkaError(
                "take over the transactional id", consuming: object, .harmless,
                producer.client.redaction)
            rd_kafka_poll(producer.client.handle, 0)
            if let refused = producer.client.events.lastError, refused.remedy == .fixSettings {
                throw spent(refused)
            }
            guard error.remedy == .retry else { throw spent(error) }
            guard !deadline.isOver else { throw spent(error) }
            // The call waits by itself where it waits for an answer; where it says no at once, wait here.
            rd_kafka_poll(producer.client.handle, Int32(min(50, deadline.remaining)))
        }
        isInitialised = true
    }

    /// Looks a topic up; the answer is kept, so partitions added later are not seen.
    public func topic(
        _ name: String, timeoutMilliseconds: Int = 10_000
    ) throws(KafkaError) -> ProducerTopic {
        try producer.topic(name, timeoutMilliseconds: timeoutMilliseconds)
    }

    /// Ends what an earlier transaction of this id has left open in `partitions`.
    ///
    /// `initialise` has ended that transaction, but a broker of Kafka 4.0 to 4.3 writes no marker into a
    /// partition that has no leader at that moment, as behind its own restart (KAFKA-20734). Such a
    /// partition stays closed to read-committed readers, and the next marker there, whatever it was meant
    /// for, would decide on what was left. Writes one record a partition (`RecordView.endsRemains`) and
    /// ends it: the marker ends both. Other producers' transactions are left alone.
    ///
    /// - Parameter commits: how the transaction was decided.
    public func endRemains(in partitions: [TopicPartition], commits: Bool) throws(KafkaError) {
        guard !partitions.isEmpty else { return }
        var transaction = try begin()
        for place in partitions {
            try transaction.produce(
                topic(place.topic), partition: place.partition, key: ByteSlice(RecordView.endKey),
                value: nil)
        }
        if commits { return try transaction.commit() }
        // librdkafka 2.0.2 fails to abort what has not reached the broker.
        try transaction.flush(timeoutMilliseconds: fullQueueMilliseconds)
        try transaction.abort()
    }

    /// Starts a transaction.
    ///
    /// Nothing is asked of the broker before the first record: a transaction without any costs nothing
    /// (and librdkafka could not abort it).
    public func begin() throws(KafkaError) -> Transaction {
        precondition(isInitialised, "initialise the producer before its first transaction")
        precondition(!isOpen, "a transaction is open already")
        guard !isSpent else {
            throw KafkaError(
                operation: "begin a transaction", code: RD_KAFKA_RESP_ERR__STATE.rawValue,
                reason: "an earlier transaction of this producer failed", remedy: .restart)
        }
        isOpen = true
        return Transaction(self)
    }

    func spent(_ error: KafkaError) -> KafkaError {
        isSpent = true
        return error
    }

    public var condition: ClientCondition { producer.client.condition }

    /// Lines of librdkafka's log since the last call, at most 256.
    public func takeLog() -> [LogLine] {
        rd_kafka_poll(producer.client.handle, 0)
        return producer.client.takeLog()
    }
}

/// An open transaction: commit it or abort it, once. Dropped without either it spends the producer,
/// and the broker aborts it at its timeout.
public struct Transaction: ~Copyable {
    private let owner: TransactionalProducer
    private let handle: OpaquePointer
    /// Whether librdkafka knows of it.
    private var isBegun = false
    private var isEnded = false

    fileprivate init(_ owner: TransactionalProducer) {
        self.owner = owner
        handle = owner.producer.client.handle
    }

    deinit {
        owner.isOpen = false
        if isBegun, !isEnded { owner.isSpent = true }
    }

    /// Adds a record. Key, value and headers are copied.
    ///
    /// - Parameters:
    ///   - partition: nil: where the key says (`murmur2_random`, as Java clients do).
    ///   - value: nil is a tombstone.
    ///   - timestampMilliseconds: since the epoch; nil is now.
    public mutating func produce(
        _ topic: ProducerTopic, partition: Int? = nil, key: ByteSlice?, value: ByteSlice?,
        timestampMilliseconds: Int64? = nil
    ) throws(KafkaError) {
        try add(topic, partition, key, value, nil, timestampMilliseconds)
    }

    /// Adds a record with headers.
    public mutating func produce(
        _ topic: ProducerTopic, partition: Int? = nil, key: ByteSlice?, value: ByteSlice?,
        headers: borrowing RecordHeaders, timestampMilliseconds: Int64? = nil
    ) throws(KafkaError) {
        try add(
            topic, partition, key, value, headers.count > 0 ? headers.list : nil,
            timestampMilliseconds)
    }

    private mutating func add(
        _ topic: ProducerTopic, _ partition: Int?, _ key: ByteSlice?, _ value: ByteSlice?,
        _ headers: OpaquePointer?, _ timestamp: Int64?
    ) throws(KafkaError) {
        if !isBegun { try beginNow() }
        do {
            try owner.producer.produce(
                topic, partition: partition, key: key, value: value, headers: headers,
                timestampMilliseconds: timestamp, token: 0,
                fullQueueMilliseconds: owner.fullQueueMilliseconds, .harmful)
        } catch { throw owner.spent(error) }
    }

    private mutating func beginNow() throws(KafkaError) {
        try check("begin a transaction", rd_kafka_begin_transaction(handle))
        isBegun = true
    }

    private func check(_ operation: String, _ object: OpaquePointer?) throws(KafkaError) {
        guard let object else { return }
        let client = owner.producer.client
        var error = KafkaError(operation, consuming: object, .harmful, client.redaction)
        // "4 message(s) failed" says less than what became of the first.
        if let first = client.events.firstFailure {
            error = KafkaError(
                operation: error.operation, code: error.code,
                reason: "\(error.reason): \(first.reason)",
                remedy: error.remedy == .restart && first.remedy == .fixSettings
                    ? .fixSettings : error.remedy)
        }
        throw owner.spent(error)
    }

    /// Makes the positions of `consumer`'s group part of the transaction: the next offsets to read, of
    /// what was processed. Takes at most the transaction's timeout.
    public mutating func send(
        _ positions: [Position], of consumer: Consumer
    ) throws(KafkaError) {
        if !isBegun { try beginNow() }
        guard let group = rd_kafka_consumer_group_metadata(consumer.client.handle) else {
            throw owner.spent(
                consumer.client.error("send offsets", RD_KAFKA_RESP_ERR__UNKNOWN_GROUP, .harmful))
        }
        defer { rd_kafka_consumer_group_metadata_destroy(group) }
        let list = PartitionList(positions)
        try check(
            "send offsets",
            list.lend { rd_kafka_send_offsets_to_transaction(handle, $0, group, -1) })
    }

    /// Waits until the records so far have reached the log; an abort drops those that have not.
    public mutating func flush(timeoutMilliseconds: Int = 10_000) throws(KafkaError) {
        let client = owner.producer.client
        let code = rd_kafka_flush(handle, Int32(timeoutMilliseconds))
        if let first = client.events.firstFailure { throw owner.spent(first) }
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else {
            throw owner.spent(client.error("flush", code, .harmful))
        }
    }

    /// Makes everything visible, or nothing. Takes at most the transaction's timeout.
    ///
    /// Where a connection broke meanwhile, the answer is not believed: a broker that has just come back
    /// may call a transaction committed and have left its markers out (KAFKA-20734). The next start
    /// finds out (`TransactionalProducer.endRemains`).
    public consuming func commit() throws(KafkaError) {
        guard isBegun else { return }
        let events = owner.producer.client.events
        rd_kafka_poll(handle, 0)
        let losses = events.connectionsLost
        try check("commit a transaction", rd_kafka_commit_transaction(handle, -1))
        isEnded = true
        rd_kafka_poll(handle, 0)
        guard events.connectionsLost == losses else {
            throw owner.spent(
                KafkaError(
                    operation: "commit a transaction",
                    code: RD_KAFKA_RESP_ERR__TRANSPORT.rawValue,
                    reason: "a connection broke before the answer came", remedy: .restart))
        }
    }

    /// Takes everything back. Takes at most the transaction's timeout.
    public consuming func abort() throws(KafkaError) {
        guard isBegun else { return }
        try check("abort a transaction", rd_kafka_abort_transaction(handle, -1))
        isEnded = true
    }
}
