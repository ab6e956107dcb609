// One partition of a MemoryLog: records in chunks that never move, with Kafka's offsets.

import Bytes

#if canImport(Glibc)
    import Glibc
#endif

/// An append-only run of records with transactions' marks; owned by `MemoryLog`.
///
/// Offsets are Kafka's: aborted records and transaction markers have one and are never read.
final class MemoryLogPartition {
    enum Status: UInt8 { case open, committed, aborted, marker }

    /// In front of key, value and headers of every record; 40 bytes, entries begin at multiples of 8.
    struct Head {
        var offset: Int64
        var timestamp: Int64
        /// -1: null.
        var keyBytes: Int32
        /// -1: tombstone.
        var valueBytes: Int32
        var headerBytes: Int32
        var entryBytes: Int32
        var status: Status
    }

    final class Chunk {
        let base: UnsafeMutableRawPointer
        let capacity: Int
        var used = 0
        let firstOffset: Int64

        init(capacity: Int, firstOffset: Int64) {
            self.capacity = capacity
            self.firstOffset = firstOffset
            base = .allocate(byteCount: capacity, alignment: 8)
        }

        deinit { base.deallocate() }
    }

    /// Where a reader stands; survives appends and trims.
    struct Cursor {
        var offset: Int64
        fileprivate var chunk: Int64 = -1
        fileprivate var position = 0

        init(offset: Int64) { self.offset = offset }
    }

    static let headBytes = 40
    static let chunkBytes = 1 << 20

    private var chunks: [Chunk] = []
    private var numberOfFirstChunk: Int64 = 0
    private(set) var startOffset: Int64 = 0
    /// The offset that the next record gets: the uncommitted end.
    private(set) var endOffset: Int64 = 0
    /// First offset of each open transaction, by producer.
    private var openTransactions: [Int: Int64] = [:]

    /// Readers of committed records see offsets below this one.
    var lastStableOffset: Int64 { openTransactions.values.min() ?? endOffset }

    var allocatedBytes: Int { chunks.reduce(0) { $0 + $1.capacity } }

    /// Appends a record; an open one belongs to `producer`'s transaction.
    func append(
        key: ByteSlice?, value: ByteSlice?, headers: ByteSlice, timestamp: Int64, producer: Int?
    ) -> UnsafeMutableRawPointer {
        let payload = (key?.count ?? 0) + (value?.count ?? 0) + headers.count
        let size = (MemoryLogPartition.headBytes + payload + 7) & ~7
        if chunks.last.map({ $0.used + size > $0.capacity }) ?? true {
            chunks.append(
                Chunk(capacity: max(size, MemoryLogPartition.chunkBytes), firstOffset: endOffset))
        }
        let chunk = chunks[chunks.count - 1]
        let entry = chunk.base + chunk.used
        chunk.used += size
        entry.storeBytes(
            of: Head(
                offset: endOffset, timestamp: timestamp,
                keyBytes: key.map { Int32($0.count) } ?? -1,
                valueBytes: value.map { Int32($0.count) } ?? -1, headerBytes: Int32(headers.count),
                entryBytes: Int32(size), status: producer == nil ? .committed : .open),
            as: Head.self)
        var place = entry + MemoryLogPartition.headBytes
        for part in [key, value, headers] {
            guard let part else { continue }
            memcpy(place, part.base, part.count)
            place += part.count
        }
        if let producer, openTransactions[producer] == nil {
            openTransactions[producer] = endOffset
        }
        endOffset += 1
        return entry
    }

    /// Ends `producer`'s transaction here: its records become visible or never will, and a marker
    /// takes an offset, as in Kafka.
    func endTransaction(
        _ producer: Int, _ entries: [UnsafeMutableRawPointer], commits: Bool, now: Int64
    ) {
        for entry in entries {
            var head = entry.load(as: Head.self)
            head.status = commits ? .committed : .aborted
            entry.storeBytes(of: head, as: Head.self)
        }
        openTransactions[producer] = nil
        let marker = append(key: nil, value: nil, headers: .empty, timestamp: now, producer: nil)
        var head = marker.load(as: Head.self)
        head.status = .marker
        marker.storeBytes(of: head, as: Head.self)
    }

    /// Moves `cursor` to the next committed record below `end` and returns it.
    func next(_ cursor: inout Cursor, below end: Int64, topic: UInt16, partition: Int) -> Record? {
        if cursor.offset < startOffset { cursor = Cursor(offset: startOffset) }
        guard cursor.offset < end, seek(&cursor) else { return nil }
        while true {
            let at = Int(cursor.chunk - numberOfFirstChunk)
            guard at < chunks.count else { return nil }
            let chunk = chunks[at]
            guard cursor.position < chunk.used else {
                guard at + 1 < chunks.count else { return nil }
                cursor.chunk += 1
                cursor.position = 0
                continue
            }
            let entry = chunk.base + cursor.position
            let head = entry.load(as: Head.self)
            if head.offset >= end { return nil }
            cursor.position += Int(head.entryBytes)
            cursor.offset = head.offset + 1
            if head.status == .committed {
                return record(entry, head, topic: topic, partition: partition)
            }
        }
    }

    private func record(
        _ entry: UnsafeMutableRawPointer, _ head: Head, topic: UInt16, partition: Int
    ) -> Record {
        let bytes = (entry + MemoryLogPartition.headBytes).assumingMemoryBound(to: UInt8.self)
        let keyBytes = max(0, Int(head.keyBytes))
        let valueBytes = max(0, Int(head.valueBytes))
        return Record(
            topic: topic, partition: partition, offset: head.offset, timestamp: head.timestamp,
            key: head.keyBytes < 0 ? nil : ByteSlice(bytes, count: keyBytes),
            value: head.valueBytes < 0 ? nil : ByteSlice(bytes + keyBytes, count: valueBytes),
            headers: Headers(
                encoded: ByteSlice(bytes + keyBytes + valueBytes, count: Int(head.headerBytes))))
    }

    /// Points the cursor into its chunk, at the first record at or behind its offset.
    private func seek(_ cursor: inout Cursor) -> Bool {
        if cursor.chunk >= numberOfFirstChunk { return true }
        guard !chunks.isEmpty else { return false }
        var low = 0
        var high = chunks.count - 1
        while low < high {
            let middle = (low + high + 1) / 2
            if chunks[middle].firstOffset <= cursor.offset {
                low = middle
            } else {
                high = middle - 1
            }
        }
        cursor.chunk = numberOfFirstChunk + Int64(low)
        cursor.position = 0
        while cursor.position < chunks[low].used {
            let head = (chunks[low].base + cursor.position).load(as: Head.self)
            if head.offset >= cursor.offset { break }
            cursor.position += Int(head.entryBytes)
        }
        return true
    }

    /// Forgets what lies below `offset`, in whole chunks; readers never go back before it.
    func trim(before offset: Int64) {
        guard offset > startOffset else { return }
        startOffset = min(offset, lastStableOffset)
        while chunks.count > 1, chunks[1].firstOffset <= startOffset {
            chunks.removeFirst()
            numberOfFirstChunk += 1
        }
        if chunks.count == 1, startOffset == endOffset {
            chunks.removeAll()
            numberOfFirstChunk += 1
        }
    }

    /// Keeps the newest record of every key, tombstones not at all; offsets stay.
    ///
    /// Records from the last stable offset on are left as they are.
    func compact() {
        guard openTransactions.isEmpty else { return }
        var newest: [Hash128: Int64] = [:]
        var cursor = Cursor(offset: startOffset)
        while let record = next(&cursor, below: endOffset, topic: 0, partition: 0) {
            if let key = record.key { newest[Hash128(key)] = record.offset }
        }
        let old = chunks
        chunks = []
        numberOfFirstChunk += Int64(old.count)
        let end = endOffset
        for chunk in old {
            var position = 0
            while position < chunk.used {
                let entry = chunk.base + position
                let head = entry.load(as: Head.self)
                position += Int(head.entryBytes)
                guard head.status == .committed, head.valueBytes >= 0 else { continue }
                let record = record(entry, head, topic: 0, partition: 0)
                if let key = record.key, newest[Hash128(key)] != head.offset { continue }
                endOffset = head.offset
                _ = append(
                    key: record.key, value: record.value, headers: record.headers.encoded,
                    timestamp: head.timestamp, producer: nil)
            }
        }
        endOffset = end
    }
}
