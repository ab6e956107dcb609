// Headers that a role puts on all its records of a topic, encoded once.

import Bytes

/// A run of headers with an owner; `headers` lives as long as this does.
public final class OwnedHeaders {
    public let headers: Headers
    private let memory: UnsafeMutablePointer<UInt8>

    public init(_ all: [(name: String, value: String)]) {
        var encoded = ByteBuffer()
        for (name, value) in all { Headers.append(name, value, to: &encoded) }
        memory = .allocate(capacity: encoded.count)
        memory.update(from: encoded.slice.base, count: encoded.count)
        headers = Headers(encoded: ByteSlice(memory, count: encoded.count))
    }

    deinit { memory.deallocate() }
}

extension Headers {
    /// Appends one header to an encoded run.
    public static func append(_ name: String, _ value: String, to buffer: inout ByteBuffer) {
        name.lend { name in value.lend { append(name, $0, to: &buffer) } }
    }
}
