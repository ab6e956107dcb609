// One partition of a MemoryLog: records in chunks that never move, with Kafka's offsets.

import Bytes

#if canImport(Glibc)
    import Glibc
#endif

/// An append-only run of records with transactions' marks; owned by `MemoryLog`.
///
/// Offsets are Kafka's: aborted records and transaction markers have one and are never read.
struct MemoryLogPartition: ~Copyable {
    enum Status: UInt8 { case open, committed, aborted, commitMarker, abortMarker }

    /// In front of key, value and headers of every record; 40 bytes, entries begin at multiples of 8.
    /// The same bytes stand in a segment file.
    struct Head: BitwiseCopyable {
        var offset: Int64
        var timestamp: Int64
        /// -1: null.
        var keyBytes: Int32
        /// -1: tombstone.
        var valueBytes: Int32
        var headerBytes: Int32
        var entryBytes: Int32
        /// Number of the producer whose transaction it belongs to, -1 outside transactions.
        var producer: Int32
        var status: UInt32

        var state: Status { Status(rawValue: UInt8(truncatingIfNeeded: status))! }
    }

    /// A run of entries in memory, and the segment file it is kept in where the log has a folder.
    struct Chunk {
        let base: UnsafeMutableRawPointer
        let capacity: Int
        var used = 0
        let firstOffset: Int64
        /// Unique in the partition: names the segment file.
        let number: UInt32
        /// How much of it is on disk, and the checksum of that.
        var durable = 0
        var checksum: UInt32 = 0

        init(capacity: Int, firstOffset: Int64, number: UInt32) {
            self.capacity = capacity
            self.firstOffset = firstOffset
            self.number = number
            base = .allocate(byteCount: capacity, alignment: 8)
        }
    }

    /// Where a reader stands; survives appends, trims and compaction.
    struct Cursor {
        var offset: Int64
        fileprivate var chunk: Int64 = -1
        fileprivate var position = 0

        init(offset: Int64) { self.offset = offset }
    }

    struct OpenTransaction {
        var producer: Int32
        var first: Int64
    }

    static let headBytes = MemoryLayout<Head>.size
    /// A chunk is as large as what was appended before it, within these bounds.
    static let smallestChunk = 1 << 16
    static let largestChunk = 1 << 20

    private(set) var chunks: [Chunk] = []
    private var numberOfFirstChunk: Int64 = 0
    /// Where the next entry goes in the last chunk, and where that chunk ends.
    private var tail: UnsafeMutableRawPointer
    private var tailEnd: UnsafeMutableRawPointer
    var nextChunkNumber: UInt32 = 0
    private(set) var startOffset: Int64 = 0
    /// The offset that the next record gets: the uncommitted end.
    private(set) var endOffset: Int64 = 0
    private(set) var open: [OpenTransaction] = []
    /// Bytes of entries appended since the last compaction, and what that one left.
    private(set) var bytesSinceCompaction = 0
    private(set) var bytesAfterCompaction = 0
    /// What the folder's journal says, so that a change is seen.
    var durableStart: Int64 = 0
    var durableEnd: Int64 = 0

    init() {
        tail = UnsafeMutableRawPointer(bitPattern: 8)!
        tailEnd = tail
    }

    deinit { for chunk in chunks { chunk.base.deallocate() } }

    /// Readers of committed records see offsets below this one.
    var lastStableOffset: Int64 { open.isEmpty ? endOffset : open.map(\.first).min()! }

    var allocatedBytes: Int { chunks.reduce(0) { $0 + $1.capacity } }

    /// Sets `used` of the last chunk, which `append` leaves to `tail`.
    private mutating func settle() {
        guard !chunks.isEmpty else { return }
        chunks[chunks.count - 1].used = tail - chunks[chunks.count - 1].base
    }

    private mutating func addChunk(atLeast size: Int) {
        settle()
        let usual = min(
            MemoryLogPartition.largestChunk,
            max(MemoryLogPartition.smallestChunk, bytesSinceCompaction + bytesAfterCompaction))
        let chunk = Chunk(
            capacity: max(size, usual), firstOffset: endOffset, number: nextChunkNumber)
        nextChunkNumber += 1
        chunks.append(chunk)
        tail = chunk.base
        tailEnd = tail + chunk.capacity
    }

    /// Appends a record; an open one belongs to `producer`'s transaction.
    mutating func append(
        key: ByteSlice?, value: ByteSlice?, headers: ByteSlice, timestamp: Int64, producer: Int32,
        status: Status
    ) -> UnsafeMutableRawPointer {
        let keyBytes = key?.count ?? 0
        let valueBytes = value?.count ?? 0
        let payload = keyBytes + valueBytes + headers.count
        let size = (MemoryLogPartition.headBytes + payload + 7) & ~7
        if tailEnd - tail < size { addChunk(atLeast: size) }
        let entry = tail
        tail += size
        bytesSinceCompaction &+= size
        // The bytes that fill up to a multiple of 8.
        (tail - 8).storeBytes(of: 0, as: UInt64.self)
        entry.storeBytes(
            of: Head(
                offset: endOffset, timestamp: timestamp,
                keyBytes: key == nil ? -1 : Int32(keyBytes),
                valueBytes: value == nil ? -1 : Int32(valueBytes),
                headerBytes: Int32(headers.count), entryBytes: Int32(size), producer: producer,
                status: UInt32(status.rawValue)),
            as: Head.self)
        let place = entry + MemoryLogPartition.headBytes
        if let key { memcpy(place, key.base, keyBytes) }
        if let value { memcpy(place + keyBytes, value.base, valueBytes) }
        if !headers.isEmpty { memcpy(place + keyBytes + valueBytes, headers.base, headers.count) }
        endOffset &+= 1
        return entry
    }

    /// Whether `producer` has a transaction open here; begins one if not.
    mutating func begin(_ producer: Int32) -> Bool {
        for transaction in open where transaction.producer == producer { return true }
        open.append(OpenTransaction(producer: producer, first: endOffset))
        return false
    }

    /// Ends `producer`'s transaction here: a marker takes an offset, as in Kafka. The caller has set
    /// the status of its records.
    mutating func end(_ producer: Int32, commits: Bool, now: Int64) {
        open.removeAll { $0.producer == producer }
        _ = append(
            key: nil, value: nil, headers: .empty, timestamp: now, producer: producer,
            status: commits ? .commitMarker : .abortMarker)
    }

    static func setStatus(_ entry: UnsafeMutableRawPointer, _ status: Status) {
        let offset = MemoryLayout<Head>.offset(of: \.status)!
        entry.storeBytes(
            of: UInt32(status.rawValue), toByteOffset: offset, as: UInt32.self)
    }

    // Reading

    private func used(_ at: Int) -> Int {
        at == chunks.count - 1 ? tail - chunks[at].base : chunks[at].used
    }

    /// Appends up to `limit` committed records from `cursor` on below `end` to `batch`.
    func fetch(
        _ cursor: inout Cursor, below end: Int64, limit: Int, topic: UInt16, partition: Int,
        into batch: inout [Record]
    ) {
        if cursor.offset < startOffset { cursor = Cursor(offset: startOffset) }
        guard cursor.offset < end, seek(&cursor) else { return }
        var left = limit
        var at = Int(cursor.chunk - numberOfFirstChunk)
        while left > 0, at < chunks.count {
            let base = chunks[at].base
            let used = used(at)
            var position = cursor.position
            while position < used, left > 0 {
                let entry = base + position
                let head = entry.load(as: Head.self)
                guard head.offset < end else {
                    left = 0
                    break
                }
                position += Int(head.entryBytes)
                cursor.offset = head.offset + 1
                guard head.status == UInt32(Status.committed.rawValue) else { continue }
                batch.append(
                    MemoryLogPartition.record(entry, head, topic: topic, partition: partition))
                left -= 1
            }
            cursor.position = position
            guard position >= used, at + 1 < chunks.count else { return }
            at += 1
            cursor.chunk += 1
            cursor.position = 0
        }
    }

    @inline(__always)
    private static func record(
        _ entry: UnsafeMutableRawPointer, _ head: Head, topic: UInt16, partition: Int
    ) -> Record {
        let bytes = UnsafePointer(
            (entry + headBytes).assumingMemoryBound(to: UInt8.self))
        let keyBytes = max(0, Int(head.keyBytes))
        let valueBytes = max(0, Int(head.valueBytes))
        return Record(
            topic: topic, partition: partition, offset: head.offset, timestamp: head.timestamp,
            key: head.keyBytes < 0 ? nil : ByteSlice(bytes, count: keyBytes),
            value: head.valueBytes < 0 ? nil : ByteSlice(bytes + keyBytes, count: valueBytes),
            headers: Headers(
                encoded: ByteSlice(bytes + keyBytes + valueBytes, count: Int(head.headerBytes))))
    }

    /// Points the cursor into its chunk, at the first entry at or behind its offset.
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
        let used = used(low)
        while cursor.position < used {
            let head = (chunks[low].base + cursor.position).load(as: Head.self)
            if head.offset >= cursor.offset { break }
            cursor.position += Int(head.entryBytes)
        }
        return true
    }

    // Retention

    /// Forgets what lies below `offset`, memory in whole chunks; readers never go back before it.
    /// Returns the chunks that are gone.
    mutating func trim(before offset: Int64) -> [Chunk] {
        guard offset > startOffset else { return [] }
        settle()
        startOffset = max(startOffset, min(offset, lastStableOffset))
        var gone = 0
        while gone + 1 < chunks.count, chunks[gone + 1].firstOffset <= startOffset { gone += 1 }
        if gone + 1 == chunks.count, startOffset == endOffset { gone += 1 }
        let removed = Array(chunks[..<gone])
        chunks.removeFirst(gone)
        numberOfFirstChunk += Int64(gone)
        for chunk in removed { chunk.base.deallocate() }
        if chunks.isEmpty { tailEnd = tail }
        return removed
    }

    /// Keeps the newest record of every key, tombstones not at all; offsets stay. Returns the chunks
    /// that were replaced, or `nil` while a transaction is open here: then nothing is done.
    mutating func compact() -> [Chunk]? {
        guard open.isEmpty else { return nil }
        settle()
        // The row of a key is the offset of its newest record.
        let newest = Table<Int64>("newest", maximumRows: Int(UInt32.max) - 1)
        forEachCommitted { record in
            guard let key = record.key else { return }
            let hash = Hash128(key)
            newest[newest.find(hash) ?? newest.insert(hash)].pointee = record.offset
        }
        let old = chunks
        let end = endOffset
        chunks = []
        numberOfFirstChunk += Int64(old.count)
        tailEnd = tail
        bytesSinceCompaction = 0
        bytesAfterCompaction = 0
        for chunk in old {
            var position = 0
            while position < chunk.used {
                let entry = chunk.base + position
                let head = entry.load(as: Head.self)
                position += Int(head.entryBytes)
                guard head.state == .committed, head.valueBytes >= 0, head.offset >= startOffset
                else { continue }
                let record = MemoryLogPartition.record(entry, head, topic: 0, partition: 0)
                if let key = record.key,
                    newest[newest.find(Hash128(key))!].pointee != head.offset
                {
                    continue
                }
                endOffset = head.offset
                _ = append(
                    key: record.key, value: record.value, headers: record.headers.encoded,
                    timestamp: head.timestamp, producer: -1, status: .committed)
            }
        }
        endOffset = end
        settle()
        bytesAfterCompaction = bytesSinceCompaction
        bytesSinceCompaction = 0
        for chunk in old { chunk.base.deallocate() }
        return old
    }

    private func forEachCommitted(_ body: (Record) -> Void) {
        for at in chunks.indices {
            var position = 0
            let used = used(at)
            while position < used {
                let entry = chunks[at].base + position
                let head = entry.load(as: Head.self)
                position += Int(head.entryBytes)
                guard head.state == .committed, head.offset >= startOffset else { continue }
                body(MemoryLogPartition.record(entry, head, topic: 0, partition: 0))
            }
        }
    }

    // Disk

    /// Calls `body` with every chunk that has bytes which are not on disk yet.
    mutating func forEachUnwritten(_ body: (inout Chunk) throws -> Void) rethrows {
        settle()
        var first = chunks.count
        while first > 0, chunks[first - 1].durable < chunks[first - 1].used { first -= 1 }
        for at in first..<chunks.count { try body(&chunks[at]) }
    }

    /// Whether the journal does not know all of this partition.
    var isUnwritten: Bool {
        durableStart != startOffset || durableEnd != endOffset
            || chunks.last.map { $0.durable < used(chunks.count - 1) } ?? false
    }

    /// Takes over a chunk as it was read from disk, behind all others.
    ///
    /// Records of a transaction get their status from its marker, which may stand in a later chunk:
    /// `pending` holds, by producer, the ones whose marker has not come yet. Returns false if the
    /// entries are not ones that `append` could have written.
    mutating func restore(
        _ chunk: consuming Chunk, pending: inout [Int32: [UnsafeMutableRawPointer]]
    ) -> Bool {
        var position = 0
        var last = chunk.firstOffset - 1
        while position < chunk.used {
            guard chunk.used - position >= MemoryLogPartition.headBytes else { return false }
            let entry = chunk.base + position
            let head = entry.load(as: Head.self)
            let payload =
                max(0, Int(head.keyBytes)) + max(0, Int(head.valueBytes)) + Int(head.headerBytes)
            guard head.offset > last, head.headerBytes >= 0, head.status <= 4,
                Int(head.entryBytes) == (MemoryLogPartition.headBytes + payload + 7) & ~7,
                Int(head.entryBytes) <= chunk.used - position
            else { return false }
            switch head.state {
            case .open: pending[head.producer, default: []].append(entry)
            case .commitMarker, .abortMarker:
                for record in pending.removeValue(forKey: head.producer) ?? [] {
                    MemoryLogPartition.setStatus(
                        record, head.state == .commitMarker ? .committed : .aborted)
                }
            case .committed, .aborted: break
            }
            last = head.offset
            position += Int(head.entryBytes)
        }
        endOffset = last + 1
        nextChunkNumber = max(nextChunkNumber, chunk.number + 1)
        bytesAfterCompaction += chunk.used
        tail = chunk.base + chunk.used
        tailEnd = chunk.base + chunk.capacity
        chunks.append(chunk)
        return true
    }

    /// Ends what `restore` began: the offsets that the journal names, and the end of transactions that
    /// nobody will end any more.
    mutating func finishRestore(
        start: Int64, end: Int64, pending: [Int32: [UnsafeMutableRawPointer]], now: Int64
    ) -> Bool {
        guard start <= end, endOffset <= end else { return false }
        startOffset = start
        endOffset = end
        durableStart = start
        durableEnd = end
        for producer in pending.keys.sorted() {
            for record in pending[producer]! { MemoryLogPartition.setStatus(record, .aborted) }
            self.end(producer, commits: false, now: now)
        }
        return true
    }
}
