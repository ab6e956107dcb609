// Strict JSON from bytes to a view, with memory that is used again and again: the hot readers'
// door.

import Bytes

#if canImport(Glibc)
    import Glibc
#endif

/// Scans one text after the other; lives on one thread and allocates only for a text longer than
/// any before.
///
/// Accepts RFC 8259 and nothing else: no NaN, no comments, no single quotes, no equal names, no
/// trailing bytes, no byte order mark, integers within 64 bits, numbers within Double, UTF-8
/// without lone surrogates.
public final class JSONParser {
    /// Deeper nesting is refused; 1 is a flat object.
    public let maximumDepth: Int
    /// Longer texts are refused.
    public let maximumBytes: Int

    private let memory: UnsafeMutablePointer<JSONMemory>

    public init(maximumDepth: Int = 16, maximumBytes: Int = 1 << 20) {
        precondition(maximumDepth >= 1 && maximumDepth <= 1_000, "depth \(maximumDepth)")
        precondition(maximumBytes >= 1 && maximumBytes < Int32.max, "bytes \(maximumBytes)")
        self.maximumDepth = maximumDepth
        self.maximumBytes = maximumBytes
        memory = .allocate(capacity: 1)
        memory.initialize(to: JSONMemory(maximumDepth: maximumDepth))
    }

    deinit {
        memory.deinitialize(count: 1)
        memory.deallocate()
    }

    /// Parses one JSON text. The view lives until the next call, and no longer than the parser;
    /// `bytes` are not needed any longer.
    public func parse(_ bytes: ByteSlice) throws(JSONError) -> JSONView {
        guard bytes.count > 0 && bytes.count <= maximumBytes else { throw refusal(of: bytes) }
        let scan = memory.pointee.scan(bytes, maximumDepth: maximumDepth)
        if let fault = scan.fault { throw error(fault, at: scan.offset, bytes) }
        return JSONView(memory.pointee.tokens)
    }

    @inline(never)
    private func refusal(of bytes: ByteSlice) -> JSONError {
        bytes.isEmpty
            ? JSONError(.empty, path: "", offset: 0, "there are no bytes")
            : JSONError(
                .tooLarge, path: "", offset: maximumBytes,
                "\(bytes.count) bytes are more than the \(maximumBytes) allowed")
    }

    @inline(never)
    private func error(_ fault: JSONFault, at offset: Int, _ bytes: ByteSlice) -> JSONError {
        // The name that stands twice belongs to the path; anything else is looked for up to its
        // place.
        let end = fault == .duplicateMember ? PathFinder.endOfText(bytes, at: offset) : offset
        return JSONError(
            fault.kind, path: PathFinder.path(in: bytes, at: end), offset: offset,
            fault.reason(maximumDepth: maximumDepth))
    }
}

/// The reused memory of a `JSONParser`: a copy of the text, the tape, and the containers that are
/// open.
private struct JSONMemory: ~Copyable {
    var bytes: UnsafeMutablePointer<UInt8>
    var tokens: UnsafeMutablePointer<JSONToken>
    let levels: UnsafeMutablePointer<JSONScan.Level>
    var capacity: Int

    init(maximumDepth: Int, capacity: Int = 4096) {
        bytes = .allocate(capacity: capacity + 8)
        tokens = .allocate(capacity: capacity)
        levels = .allocate(capacity: maximumDepth + 1)
        self.capacity = capacity
    }

    deinit {
        bytes.deallocate()
        tokens.deallocate()
        levels.deallocate()
    }

    mutating func scan(_ text: ByteSlice, maximumDepth: Int) -> JSONScan {
        if text.count > capacity { grow(to: max(text.count, capacity * 2)) }
        memcpy(bytes, text.base, text.count)
        UnsafeMutableRawPointer(bytes + text.count).storeBytes(of: 0, as: UInt64.self)
        return JSONScan(
            bytes, count: text.count, into: tokens, levels: levels, maximumDepth: maximumDepth)
    }

    private mutating func grow(to wanted: Int) {
        bytes.deallocate()
        tokens.deallocate()
        capacity = wanted
        bytes = .allocate(capacity: capacity + 8)
        // No value takes less than a byte.
        tokens = .allocate(capacity: capacity)
    }
}
