// What goes with every record that a worker writes.

import Bytes
import Contracts
import KafkaTransactions
import Streams

/// Headers for records of one topic, kept as long as they are the same: they mostly are.
final class OutgoingHeaders {
    var list = RecordHeaders()
    /// The encoded form of what is in the list.
    private var encoded: [UInt8] = []
    private let schema: [UInt8]

    init(_ topic: Topic?) {
        var schema = ByteBuffer()
        if let topic {
            let (name, value) = TopicContract.header(topic)
            Headers.append(name, value, to: &schema)
        }
        self.schema = schema.slice.copy()
    }

    func take(_ own: Headers) {
        if own.isEmpty {
            guard encoded != schema else { return }
            encoded = schema
        } else {
            guard !encoded.lend({ $0.equals(own.encoded) }) else { return }
            encoded = own.encoded.copy()
        }
        list.removeAll()
        append(to: &list)
    }

    /// Copies them into another list.
    func append(to list: inout RecordHeaders) {
        encoded.lend { Headers(encoded: $0).forEach { list.append($0, $1) } }
    }
}
