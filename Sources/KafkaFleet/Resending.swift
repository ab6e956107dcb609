// Sends dead letters again, once what kept them out has been mended.

import Bytes
import Contracts
import KafkaTransactions
import WorkerRuntime

/// A dead letter's original record.
public struct OriginalRecord: Sendable {
    /// The fleet's topic that it was read from.
    public var topic: Topic
    public var key: [UInt8]?
    public var value: [UInt8]?
    /// Where the letter lies: `3/17`.
    public var letter: String

    public init(topic: Topic, key: [UInt8]?, value: [UInt8]?, letter: String) {
        self.topic = topic
        self.key = key
        self.value = value
        self.letter = letter
    }
}

/// Appends original records, byte for byte, with their keys: what was used before is dropped as a
/// duplicate by enrich. Not `Sendable`: one thread.
public final class Resending {
    private let producer: IdempotentProducer
    private let topics: TopicNames

    /// - Throws: `.fixSettings` where credentials are refused, `.retry` where no broker answered.
    public init(_ fleet: KafkaFleet) throws(KafkaError) {
        producer = try IdempotentProducer(ProducerSettings(client: fleet.client))
        topics = fleet.topics
        try producer.connect()
    }

    /// Queues a record under the header `coldstream-resent`, which says of which letter it is.
    public func send(_ record: OriginalRecord) throws {
        let topic = try producer.topic(topics[record.topic])
        var headers = RecordHeaders()
        let (name, schema) = TopicContract.header(record.topic)
        headers.append(name, schema)
        headers.append("coldstream-resent", record.letter)
        let (key, value) = (record.key ?? [], record.value ?? [])
        try key.lend { keyBytes in
            try value.lend { valueBytes in
                try producer.produce(
                    topic, key: record.key == nil ? nil : keyBytes,
                    value: record.value == nil ? nil : valueBytes, headers: headers)
            }
        }
    }

    /// Waits until every record is written.
    public func finish() throws(KafkaError) { try producer.flush() }
}
