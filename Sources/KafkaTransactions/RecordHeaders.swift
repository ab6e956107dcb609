// Headers of a record that is to be produced.

import Bytes
import CRdKafka

/// Headers with exactly one owner, in order; used for one record or for many.
public struct RecordHeaders: ~Copyable {
    var list: OpaquePointer
    public private(set) var count = 0

    public init() { list = rd_kafka_headers_new(4) }

    deinit { rd_kafka_headers_destroy(list) }

    /// Copies a header in; `value` nil is a null value.
    public mutating func append(_ name: ByteSlice, _ value: ByteSlice?) {
        // An empty value must have an address, or it would be a null value.
        _ = name.base.withMemoryRebound(to: CChar.self, capacity: max(1, name.count)) {
            rd_kafka_header_add(list, $0, name.count, value?.base, value?.count ?? 0)
        }
        count += 1
    }

    public mutating func append(_ name: String, _ value: String?) {
        name.lend { name in
            if let value { value.lend { append(name, $0) } } else { append(name, nil) }
        }
    }

    public mutating func removeAll() {
        guard count > 0 else { return }
        rd_kafka_headers_destroy(list)
        list = rd_kafka_headers_new(4)
        count = 0
    }
}
