// Bytes that stay where they are: what slices of one record may point to while it is made.

#if canImport(Glibc)
    import Glibc
#endif

/// Memory that is filled, borrowed from and emptied as a whole; it is kept for the next round.
///
/// Unlike a `ByteBuffer` it never moves what it holds, so a slice lives until `removeAll`.
public struct ByteArena: ~Copyable {
    private var chunks: [UnsafeMutableBufferPointer<UInt8>] = []
    /// The chunk that is being filled, and how much of it is used.
    private var current = 0
    private var used = 0
    private let chunkBytes: Int

    /// - Parameter chunkBytes: how much is asked for at a time; longer texts get a chunk of their own.
    public init(chunkBytes: Int = 1 << 14) {
        precondition(chunkBytes > 0, "chunks of \(chunkBytes) bytes")
        self.chunkBytes = chunkBytes
    }

    deinit {
        for chunk in chunks { chunk.deallocate() }
    }

    /// Forgets everything; all slices end here.
    public mutating func removeAll() {
        current = 0
        used = 0
    }

    /// A copy of `bytes` that lives until `removeAll`.
    public mutating func keep(_ bytes: ByteSlice) -> ByteSlice {
        while current < chunks.count, chunks[current].count - used < bytes.count {
            current += 1
            used = 0
        }
        if current == chunks.count {
            chunks.append(.allocate(capacity: max(chunkBytes, bytes.count)))
        }
        let start = chunks[current].baseAddress! + used
        memcpy(start, bytes.base, bytes.count)
        used += bytes.count
        return ByteSlice(start, count: bytes.count)
    }

    /// A copy of the text's UTF-8 bytes that lives until `removeAll`.
    public mutating func keep(_ text: String) -> ByteSlice { text.lend { keep($0) } }
}
