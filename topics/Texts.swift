// texts: every text that somebody asked a vector for, once per asker.

import Bytes
import JSON

/// One record of `texts` (key: hash/domain): a text that may need a vector, and who asks for it.
@frozen
public struct TextRecord: BitwiseCopyable {
    public var time_ms: Int64 = 0
    public var hash: UInt64 = 0
    public var text: ByteSlice = .empty
    /// The domain in which it was seen first; nil asks for every partition of domain-log.
    public var domain: ByteSlice?
    /// Whoever got the vector before may have forgotten it: it is sent again.
    public var again = false

    public init() {}

    public func append(to buffer: inout ByteBuffer) {
        buffer.openRecord()
        if again { buffer.member("again", true) }
        buffer.member("domain", domain)
        buffer.member("hash", hash: hash)
        buffer.member("text", text)
        buffer.member("time_ms", time_ms)
        buffer.closeObject()
    }

    /// Writes the record's key: the hash, 16 hexadecimal digits, and behind a slash the domain, so
    /// that compaction keeps every asker.
    public func appendKey(to buffer: inout ByteBuffer) {
        buffer.append(hexadecimal: hash)
        guard let domain else { return }
        buffer.append(UInt8(ascii: "/"))
        buffer.append(domain)
    }
}
