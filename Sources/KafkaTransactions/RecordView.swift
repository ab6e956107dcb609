// A fetched record: borrowed where it lies in librdkafka's buffer, owned by exactly one value.

import Bytes
import CRdKafka

/// A fetched record, borrowed. Valid as long as the `FetchedRecord` or `RecordBatch` it came from.
///
/// Nothing is copied: the slices point into the buffer that the fetch response arrived in.
public struct RecordView {
    let message: UnsafeMutablePointer<rd_kafka_message_t>

    /// nil where the record has no key; an empty key is a key.
    public var key: ByteSlice? {
        message.pointee.key.map {
            ByteSlice($0.assumingMemoryBound(to: UInt8.self), count: message.pointee.key_len)
        }
    }

    /// nil is a tombstone; an empty value is a value.
    public var value: ByteSlice? {
        message.pointee.payload.map {
            ByteSlice($0.assumingMemoryBound(to: UInt8.self), count: message.pointee.len)
        }
    }

    static let endKey: StaticString = "coldstream.transaction-end"

    /// Whether this says nothing and was only written so that a marker follows it
    /// (`TransactionalProducer.endRemains`): a tombstone of a key that no record has.
    public var endsRemains: Bool {
        value == nil && key.map { $0.equals(Self.endKey) } ?? false
    }

    public var partition: Int { Int(message.pointee.partition) }
    public var offset: Int64 { message.pointee.offset }

    /// The topic's name, borrowed like the rest.
    public var topicName: ByteSlice {
        let name = rd_kafka_topic_name(message.pointee.rkt)!
        return ByteSlice(
            UnsafeRawBufferPointer(start: name, count: Self.length(of: name)))
    }

    private static func length(of text: UnsafePointer<CChar>) -> Int {
        var length = 0
        while text[length] != 0 { length += 1 }
        return length
    }

    /// Milliseconds since the epoch, as the producer or (`log.append.time` topics) the broker said.
    public var timestamp: Int64? {
        var kind = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE
        let timestamp = rd_kafka_message_timestamp(message, &kind)
        return kind == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? nil : timestamp
    }

    /// Calls `body` with every header, in the order in which they were written; a header's value may
    /// be null.
    public func forEachHeader(_ body: (_ name: ByteSlice, _ value: ByteSlice?) throws -> Void)
        rethrows
    {
        var headers: OpaquePointer?
        guard rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR else {
            return
        }
        var index = 0
        var name: UnsafePointer<CChar>?
        var value: UnsafeRawPointer?
        var size = 0
        while rd_kafka_header_get_all(headers, index, &name, &value, &size)
            == RD_KAFKA_RESP_ERR_NO_ERROR
        {
            let text = name!
            try body(
                ByteSlice(UnsafeRawBufferPointer(start: text, count: Self.length(of: text))),
                value.map { ByteSlice(UnsafeRawBufferPointer(start: $0, count: size)) })
            index += 1
        }
    }

    public var hasHeaders: Bool {
        var headers: OpaquePointer?
        return rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR
    }
}

/// A fetched record with exactly one owner; its memory goes back when the value ends.
///
/// It keeps its client alive: `rd_kafka_destroy` waits for ever for a record that is still held.
public struct FetchedRecord: ~Copyable {
    private var message: UnsafeMutablePointer<rd_kafka_message_t>?
    private let client: Client

    init(owning message: UnsafeMutablePointer<rd_kafka_message_t>, of client: Client) {
        self.message = message
        self.client = client
    }

    deinit {
        // Before the client is let go.
        if let message { rd_kafka_message_destroy(message) }
    }

    /// The record; do not use it after this value has ended.
    public var view: RecordView { RecordView(message: message!) }

    /// Hands the record over, with the client that must outlive it.
    consuming func release() -> (UnsafeMutablePointer<rd_kafka_message_t>, Client) {
        var this = consume self
        let message = this.message!
        this.message = nil
        return (message, this.client)
    }
}

/// Fetched records that are kept together until their outputs are committed. They keep their client
/// alive, as `FetchedRecord` does.
public struct RecordBatch: ~Copyable {
    private var messages: [UnsafeMutablePointer<rd_kafka_message_t>] = []
    private var client: Client?

    /// Bytes of all keys and values.
    public private(set) var bytes = 0

    public init() {}

    deinit { for message in messages { rd_kafka_message_destroy(message) } }

    public var count: Int { messages.count }
    public var isEmpty: Bool { messages.isEmpty }

    public mutating func append(_ record: consuming FetchedRecord) {
        let (message, client) = record.release()
        precondition(
            self.client === nil || self.client === client, "records of two consumers in one batch")
        self.client = client
        bytes += message.pointee.len + message.pointee.key_len
        messages.append(message)
    }

    /// The record at `index`; valid until `removeAll` or the end of the batch.
    public subscript(_ index: Int) -> RecordView { RecordView(message: messages[index]) }

    /// Gives the records' memory back and keeps the batch's own.
    public mutating func removeAll() {
        for message in messages { rd_kafka_message_destroy(message) }
        messages.removeAll(keepingCapacity: true)
        client = nil
        bytes = 0
    }
}
