// Headers of fetched records in the encoding of Streams, in memory that does not move.

import Bytes
import KafkaTransactions
import Streams

/// Blocks of memory that encoded headers lie in until `removeAll`.
struct HeaderArena: ~Copyable {
    private static let blockBytes = 64 << 10

    private var blocks: [UnsafeMutableRawBufferPointer] = []
    private var block = 0
    private var used = 0
    private var scratch = ByteBuffer()

    init() {}

    deinit { for block in blocks { block.deallocate() } }

    /// Gives all blocks but one back to the next records, and big ones to the system.
    mutating func removeAll() {
        block = 0
        used = 0
    }

    /// The record's headers; valid until `removeAll`. A null value becomes an empty one.
    mutating func encode(_ view: RecordView) -> Headers {
        guard view.hasHeaders else { return Headers() }
        scratch.removeAll()
        view.forEachHeader { name, value in
            Headers.append(name, value ?? .empty, to: &scratch)
        }
        let memory = take(scratch.count)
        memory.copyMemory(from: scratch.slice.raw)
        return Headers(encoded: ByteSlice(UnsafeRawBufferPointer(memory)))
    }

    private mutating func take(_ bytes: Int) -> UnsafeMutableRawBufferPointer {
        while block < blocks.count, used + bytes > blocks[block].count {
            block += 1
            used = 0
        }
        if block == blocks.count {
            blocks.append(
                .allocate(byteCount: max(Self.blockBytes, bytes), alignment: 8))
            used = 0
        }
        let start = used
        used += bytes
        return UnsafeMutableRawBufferPointer(rebasing: blocks[block][start..<start + bytes])
    }
}
