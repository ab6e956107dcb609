import Bytes
import CRdKafka
import Testing

@testable import KafkaTransactions

/// How errors on the wire become remedies, on librdkafka's mock broker.
@Suite(.serialized) struct WireTests {
    let mock = MockCluster()
    let topic = "t"

    init() { mock.create(topic, partitions: 2) }

    func commitOne(_ producer: TransactionalProducer) -> KafkaError? {
        failure { try producer.write(topic, ["v"]) }
    }

    @Test func `records, null keys, tombstones and headers survive the wire`() throws {
        let producer = try IdempotentProducer(
            ProducerSettings(client: mock.properties), reportsDeliveries: true)
        let topic = try producer.topic(topic)
        #expect(topic.partitionCount == 2)
        var headers = RecordHeaders()
        headers.append("h", "1")
        headers.append("h", nil)
        headers.append("", "")
        try "k".lend { try producer.produce(topic, partition: 1, key: $0, value: nil, token: 7) }
        try "v".lend {
            try producer.produce(
                topic, partition: 1, key: nil, value: $0, headers: headers, token: 8)
        }
        try producer.produce(topic, partition: 1, key: .empty, value: .empty, token: 9)
        try producer.flush()
        let deliveries = producer.deliveries()
        #expect(deliveries.map(\.token) == [7, 8, 9])
        #expect(deliveries.map(\.offset) == [0, 1, 2])
        let read = try mock.properties.read(self.topic, partitions: 1..<2)
        #expect(read.map(\.key) == ["k", nil, ""])
        #expect(read.map(\.value) == [nil, "v", ""])
        #expect(
            read[1].headers == [
                .init(name: "h", value: "1"), .init(name: "h", value: nil),
                .init(name: "", value: ""),
            ])
    }

    @Test func `a coordinator that is not ready yet is waited for`() throws {
        mock.answer(
            MockCluster.initProducerID, with: RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
            RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
            RD_KAFKA_RESP_ERR__TRANSPORT)
        let producer = try TransactionalProducer.ready(mock.properties, "id")
        #expect(commitOne(producer) == nil)
    }

    @Test func `a transactional id without rights is for a person to fix`() {
        mock.answer(
            MockCluster.initProducerID,
            with: RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
        let error = failure { _ = try TransactionalProducer.ready(mock.properties, "id") }
        #expect(error?.remedy == .fixSettings)
        #expect(error?.name == "TRANSACTIONAL_ID_AUTHORIZATION_FAILED")
    }

    @Test(arguments: [
        RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
    ])
    func `a producer that was replaced stands back and is spent`(
        code: rd_kafka_resp_err_t
    ) throws {
        let producer = try TransactionalProducer.ready(mock.properties, "id")
        #expect(commitOne(producer) == nil)
        mock.answer(MockCluster.endTxn, with: code)
        #expect(commitOne(producer)?.remedy == .standBack)
        #expect(producer.isSpent)
        #expect(commitOne(producer)?.remedy == .restart, "no second transaction after an error")
    }

    @Test(arguments: [
        RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
    ])
    func `offsets of a group that moved on end in a restart`(code: rd_kafka_resp_err_t) throws {
        let consumer = try Consumer(ConsumerSettings(client: mock.properties, group: "g"))
        let producer = try TransactionalProducer.ready(mock.properties, "id")
        mock.answer(MockCluster.txnOffsetCommit, with: code)
        var transaction = try producer.begin()
        let error = failure { try transaction.send([Position(topic, 0, 1)], of: consumer) }
        #expect(error?.remedy == .restart)
        #expect(producer.isSpent)
    }

    @Test func `a record that the broker refuses says so at the commit`() throws {
        let producer = try TransactionalProducer.ready(mock.properties, "id")
        mock.answer(MockCluster.produce, with: RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        let error = commitOne(producer)
        #expect(error?.remedy == .fixSettings)
        #expect(error?.reason.contains("Topic authorization failed") == true)
    }

    @Test func `a commit that nobody answers ends within the transaction's time`() throws {
        let producer = try TransactionalProducer.ready(
            mock.properties, "id", timeoutMilliseconds: 1_000)
        let topic = try producer.topic(topic)
        var transaction = try producer.begin()
        try transaction.add(topic, value: "v")
        mock.setDown()
        let start = ContinuousClock.now
        var error: KafkaError?
        do { try transaction.commit() } catch let caught { error = caught }
        let time = milliseconds(since: start)
        #expect(error?.remedy == .restart)
        #expect(time < 5_000, "\(time) ms")
    }

    @Test func `passing errors of a transaction's requests are retried inside librdkafka`() throws {
        let producer = try TransactionalProducer.ready(mock.properties, "id")
        mock.answer(
            MockCluster.addPartitionsToTxn, with: RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS,
            RD_KAFKA_RESP_ERR_NOT_COORDINATOR)
        mock.answer(MockCluster.endTxn, with: RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS)
        #expect(commitOne(producer) == nil)
    }

    @Test func `an empty transaction asks nothing of the broker`() throws {
        let producer = try TransactionalProducer.ready(mock.properties, "id")
        mock.setDown()
        try producer.begin().commit()
        try producer.begin().abort()
        #expect(!producer.isSpent)
    }

    @Test func `a transaction that is dropped spends its producer`() throws {
        let producer = try TransactionalProducer.ready(mock.properties, "id")
        let topic = try producer.topic(topic)
        do {
            var transaction = try producer.begin()
            try transaction.add(topic, value: "v")
        }
        #expect(producer.isSpent)
    }

    @Test func `a partition that does not exist is refused, with its headers freed once`() throws {
        let producer = try TransactionalProducer.ready(mock.properties, "id")
        let topic = try producer.topic(topic)
        var headers = RecordHeaders()
        headers.append("h", "1")
        var transaction = try producer.begin()
        let error = failure {
            try transaction.produce(topic, partition: 2, key: nil, value: .empty, headers: headers)
        }
        #expect(error?.remedy == .fixSettings)
        #expect(error?.reason == "partition 2 of 2")
        // Past our own check, straight into librdkafka.
        let code = crdkafka_produce(
            producer.producer.client.handle, topic.handle, 99, nil, 0, nil, 0, 0, headers.list, nil)
        #expect(code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION)
    }

    @Test func `a full queue is waited for, and not for ever`() throws {
        var settings = ProducerSettings(client: mock.properties)
        settings.queueBytes = 1 << 20
        settings.messageTimeoutMilliseconds = 1_000
        let producer = try IdempotentProducer(settings)
        let topic = try producer.topic(topic)
        mock.setDown()
        let value = [UInt8](repeating: 1, count: 400_000)
        let start = ContinuousClock.now
        var error: KafkaError?
        for _ in 0..<8 where error == nil {
            error = failure { try value.lend { try producer.produce(topic, key: nil, value: $0) } }
        }
        let time = milliseconds(since: start)
        let flushed = failure { try producer.flush(timeoutMilliseconds: 5_000) }
        #expect(time < 10_000, "\(time) ms")
        #expect((error ?? flushed)?.remedy == .retry)
    }

    @Test func `nobody at the address is told apart from settings`() throws {
        let admin = try Admin(ClientProperties(bootstrapServers: "127.0.0.1:1"))
        let start = ContinuousClock.now
        let error = failure { try admin.connect(timeoutMilliseconds: 700) }
        let time = milliseconds(since: start)
        #expect(error?.remedy == .retry)
        #expect(error?.reason.contains("no broker answered in 700 ms") == true)
        #expect(time < 3_000, "\(time) ms")
    }

    @Test func `a consumer says which topic does not exist`() throws {
        let consumer = try Consumer(ConsumerSettings(client: mock.properties, group: "g"))
        mock.create("known")
        rd_kafka_mock_topic_set_error(
            mock.cluster, "known", RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        try consumer.subscribe(to: ["known"])
        let error = failure {
            for _ in 0..<100 { _ = try consumer.poll(timeoutMilliseconds: 100) }
        }
        #expect(error?.remedy == .fixSettings)
        #expect(error?.operation == "read from known")
    }

    @Test func `a batch keeps its records until it is emptied`() throws {
        let producer = try IdempotentProducer(ProducerSettings(client: mock.properties))
        let topic = try producer.topic(topic)
        for i in 0..<100 {
            try "\(i)".lend { try producer.produce(topic, partition: 0, key: $0, value: $0) }
        }
        try producer.flush()
        let consumer = try Consumer(ConsumerSettings(client: mock.properties, group: "g"))
        try consumer.assign([Position(self.topic, 0, 0)])
        var batch = RecordBatch()
        while batch.count < 100 {
            if case .record(let record) = try consumer.poll(timeoutMilliseconds: 1_000) {
                batch.append(record)
            }
        }
        #expect((0..<100).map { batch[$0].value?.text } == (0..<100).map { "\($0)" })
        #expect(batch[0].topicName.text == self.topic)
        #expect(batch.bytes == 2 * (10 + 180))
        batch.removeAll()
        #expect(batch.isEmpty && batch.bytes == 0)
    }

    @Test(.timeLimit(.minutes(1)))
    func `records that outlive their consumer do not hang its end`() throws {
        let producer = try IdempotentProducer(ProducerSettings(client: mock.properties))
        let topic = try producer.topic(topic)
        for text in ["a", "b", "c"] {
            try text.lend { try producer.produce(topic, partition: 0, key: nil, value: $0) }
        }
        try producer.flush()
        var batch = RecordBatch()
        do {
            let consumer = try Consumer(ConsumerSettings(client: mock.properties, group: "g"))
            try consumer.assign([Position(self.topic, 0, 0)])
            while batch.count < 2 {
                if case .record(let record) = try consumer.poll(timeoutMilliseconds: 1_000) {
                    batch.append(record)
                }
            }
        }
        #expect(batch[1].value?.text == "b", "the consumer's variable is gone, its buffers are not")
        batch.removeAll()
    }

    @Test(.timeLimit(.minutes(1)))
    func `a consumer that ends with a rebalance unanswered does not hang`() throws {
        let consumer = try Consumer(ConsumerSettings(client: mock.properties, group: "g"))
        try consumer.subscribe(to: [topic])
        try consumer.pollEvent { polled in
            guard case .assigned = polled else { return false }
            return true
        }
    }

    @Test func `sending offsets to a coordinator that has gone ends with the transaction's time`()
        throws
    {
        let producer = try TransactionalProducer.ready(
            mock.properties, "id", timeoutMilliseconds: 2_000)
        let member = try Consumer(ConsumerSettings(client: mock.properties, group: "g"))
        rd_kafka_mock_broker_set_down(mock.cluster, 1)
        let ended = Found()
        ended.look {
            var transaction = try producer.begin()
            let error = failure { try transaction.send([Position("t", 0, 1)], of: member) }
            return error?.remedy == .restart ? 1 : 0
        }
        #expect(ended.wait() == 1)
    }
}
