import Bytes
import Testing

@testable import KafkaTransactions

/// How much waits in a client, and whether it is connected, as librdkafka tells.
@Suite(.serialized) struct ClientStatisticsTests {
    private func bytes(_ json: String) -> Int {
        var text = json
        return text.withUTF8 { ClientStatistics.queueBytes(UnsafeRawBufferPointer($0)) }
    }

    @Test func `waiting bytes are the producer's and those fetched of every partition`() {
        #expect(
            bytes(
                #"{"name":"x","msg_cnt":3,"msg_size":120,"msg_size_max":999,"topics":{"t":{"partitions":{"0":{"msgq_bytes":7,"fetchq_size":1000},"1":{"fetchq_size": 24}}}},"msg_size":5}"#
            ) == 120 + 1_024)
        #expect(bytes("{}") == 0)
        #expect(bytes("") == 0)
        #expect(bytes(#"{"msg_size":"#) == 0)
        #expect(bytes(#"{"fetchq_size":-1}"#) == 0)
    }

    @Test(arguments: [
        ("", 0), ("{}", 0), (#"{"brokers":{}}"#, 0),
        (#"{"brokers":{"a:1/1":{"name":"a:1/1","source":"learned","state":"UP"}}}"#, 1),
        (#"{"brokers":{"a:1/1":{"source": "configured", "stateage":1, "state": "UP"}}}"#, 1),
        (
            #"{"brokers":{"a:1/1":{"source":"learned","state":"DOWN"},"b":{"source":"learned","state":"UP"}}}"#,
            1
        ),
        (#"{"brokers":{"GroupCoordinator":{"source":"logical","state":"UP"}}}"#, 0),
        (
            #"{"brokers":{"a":{"source":"learned","state":"TRY_CONNECT"},"GroupCoordinator":{"source":"logical","state":"UP"}},"cgrp":{"state":"up"}}"#,
            0
        ),
        (#"{"brokers":{"a":{"source":"learned""#, 0),
    ])
    func `connected brokers are those that are up and stand for themselves`(
        json: String, count: Int
    ) {
        var text = json
        #expect(
            text.withUTF8 { ClientStatistics.brokersConnected(UnsafeRawBufferPointer($0)) } == count
        )
    }

    @Test
    func `a producer tells what it has not written yet, and a consumer what waits to be polled`()
        throws
    {
        let mock = MockCluster()
        mock.create("t", partitions: 1)
        var properties = mock.properties
        properties.set("statistics.interval.ms", "20")
        var settings = ProducerSettings(client: properties)
        settings.reportsQueues = true
        settings.lingerMilliseconds = 20_000
        let producer = try IdempotentProducer(settings)
        let topic = try producer.topic("t")
        let value = [UInt8](repeating: 7, count: 1_000)
        for _ in 0..<50 { try value.lend { try producer.produce(topic, key: nil, value: $0) } }
        let deadline = Deadline(milliseconds: 20_000)
        while producer.condition.queueBytes < 50_000, !deadline.isOver { _ = producer.takeLog() }
        #expect((50_000..<60_000).contains(producer.condition.queueBytes))
        try producer.flush()
        while producer.condition.queueBytes > 0, !deadline.isOver { _ = producer.takeLog() }
        #expect(
            producer.condition
                == ClientCondition(queueBytes: 0, connectionsLost: 0, brokersConnected: 1))

        var reading = ConsumerSettings(client: properties, group: "g")
        reading.reportsQueues = true
        let consumer = try Consumer(reading)
        try consumer.assign([Position("t", 0, 0)])
        var most: Int64 = 0
        var records = 0
        while records < 50, !deadline.isOver {
            if case .record = try consumer.poll(timeoutMilliseconds: 50) { records += 1 }
            let wait = Deadline(milliseconds: 25)
            while !wait.isOver {}
            most = max(most, consumer.condition.queueBytes)
        }
        #expect(records == 50 && (1_000..<100_000).contains(most), "\(most)")
    }
}
