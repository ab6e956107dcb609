// What a step sees of a log: one record, borrowed.

import Bytes

/// One committed record of an input partition.
///
/// Key, value and headers are borrowed from the log and live until the worker's commit returns;
/// whoever keeps bytes longer copies them.
public struct Record {
    /// Index of the topic in the fleet's list (`Topic` of the contracts).
    public let topic: UInt16
    public let partition: Int
    /// The log's own number. Aborted records and transaction markers shift it, so nothing that is
    /// published may depend on it; `ordinal` is what may.
    public let offset: Int64
    /// The record's own timestamp, milliseconds since the epoch.
    public let timestamp: Int64
    /// How many committed records this worker's group had processed in the partition before this one.
    public var ordinal: Int64
    public let key: ByteSlice?
    /// `nil` is a tombstone.
    public let value: ByteSlice?
    public let headers: Headers

    public init(
        topic: UInt16, partition: Int, offset: Int64, timestamp: Int64, ordinal: Int64 = 0,
        key: ByteSlice?, value: ByteSlice?, headers: Headers = Headers()
    ) {
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.timestamp = timestamp
        self.ordinal = ordinal
        self.key = key
        self.value = value
        self.headers = headers
    }
}

/// A record's headers, in the order in which they were written, as one borrowed run of bytes.
///
/// Encoding: per header, key length and value length (UInt32 each, little-endian), key, value.
public struct Headers {
    public let encoded: ByteSlice

    public init(encoded: ByteSlice = .empty) { self.encoded = encoded }

    /// Appends one header to an encoded run.
    public static func append(_ key: ByteSlice, _ value: ByteSlice, to buffer: inout ByteBuffer) {
        buffer.append(raw: UInt32(key.count))
        buffer.append(raw: UInt32(value.count))
        buffer.append(key)
        buffer.append(value)
    }

    /// Calls `body` with every header; stops quietly at a torn end.
    public func forEach(_ body: (_ key: ByteSlice, _ value: ByteSlice) -> Void) {
        let raw = UnsafeRawPointer(encoded.base)
        var position = 0
        while position + 8 <= encoded.count {
            let key = Int(raw.loadUnaligned(fromByteOffset: position, as: UInt32.self))
            let value = Int(raw.loadUnaligned(fromByteOffset: position + 4, as: UInt32.self))
            guard position + 8 + key + value <= encoded.count else { return }
            body(
                encoded.slice(position + 8, position + 8 + key),
                encoded.slice(position + 8 + key, position + 8 + key + value))
            position += 8 + key + value
        }
    }

    /// The value of the first header called `name`.
    public func first(_ name: StaticString) -> ByteSlice? {
        var found: ByteSlice?
        forEach { key, value in if found == nil, key.equals(name) { found = value } }
        return found
    }

    public var isEmpty: Bool { encoded.isEmpty }
}
