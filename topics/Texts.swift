// texts and text-vectors: every distinct text once, and its vector once per model.

import Bytes
import JSON

/// One record of `texts` (key: its hash): a text that may need a vector.
@frozen
public struct TextRecord: BitwiseCopyable {
    public var time_ms: Int64 = 0
    public var hash: UInt64 = 0
    public var text: ByteSlice = .empty

    public init() {}

    public func append(to buffer: inout ByteBuffer) {
        buffer.openRecord()
        buffer.member("hash", hash: hash)
        buffer.member("text", text)
        buffer.member("time_ms", time_ms)
        buffer.closeObject()
    }

    /// Writes the record's key: the hash, 16 hexadecimal digits.
    public func appendKey(to buffer: inout ByteBuffer) { buffer.append(hexadecimal: hash) }
}

/// The key of a record of `text-vectors`; its value is fp16, little-endian, one number a dimension.
public enum TextVectorKey {
    /// Writes 32 hexadecimal digits: the hash of text, model and pooling.
    public static func append(
        text: ByteSlice, model: ByteSlice, pooling: ByteSlice, to buffer: inout ByteBuffer
    ) {
        let hash = Hash128(text).combined(with: Hash128(model)).combined(with: Hash128(pooling))
        buffer.append(hexadecimal: hash.high)
        buffer.append(hexadecimal: hash.low)
    }
}
