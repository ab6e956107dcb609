// The memory behind a Table: rows of raw bytes, not generic, so that every module gets fast code.

import Bytes

#if canImport(Glibc)
    import Glibc
#endif

/// Rows of `rowBytes` bytes each with a key, an age and a changed mark, found by open addressing.
///
/// Owned by one `Table`, which knows the type of a row and refuses what only a bug can ask for.
@usableFromInline
struct RowStore: ~Copyable {
    /// What a row has beside its own bytes.
    @usableFromInline
    struct Head {
        @usableFromInline var key: Hash128
        /// Sequence number of the last insertion or touch.
        @usableFromInline var age: UInt64
        /// Hash of the row as the last checkpoint wrote it, 0 = not there.
        @usableFromInline var savedHash: UInt64
        @usableFromInline var older: UInt32
        @usableFromInline var newer: UInt32
        @usableFromInline var nameLength: UInt32
        @usableFromInline var isLive: Bool
        @usableFromInline var isChanged: Bool
    }

    @usableFromInline static var none: UInt32 { UInt32.max }

    @usableFromInline let rowBytes: Int
    @usableFromInline let alignment: Int
    @usableFromInline let isNamed: Bool
    @usableFromInline var liveRows = 0
    @usableFromInline var capacity = 0
    @usableFromInline var heads: UnsafeMutablePointer<Head>
    @usableFromInline var rows: UnsafeMutableRawPointer
    @usableFromInline var names: UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>
    @usableFromInline var nameBytes = 0
    @usableFromInline var changed: UnsafeMutablePointer<UInt32>
    @usableFromInline var changedCount = 0
    @usableFromInline var index: UnsafeMutablePointer<UInt32>
    @usableFromInline var indexMask = 0
    @usableFromInline var oldest = RowStore.none
    @usableFromInline var newest = RowStore.none
    @usableFromInline var nextAge: UInt64 = 1
    @usableFromInline var savedHash: UInt64 = 0
    @usableFromInline var free = LowestFreeRow()
    private var encoded = ByteBuffer()

    init(rowBytes: Int, alignment: Int, isNamed: Bool) {
        self.rowBytes = rowBytes
        self.alignment = max(8, alignment)
        self.isNamed = isNamed
        heads = .allocate(capacity: 0)
        rows = .allocate(byteCount: 0, alignment: self.alignment)
        names = .allocate(capacity: 0)
        changed = .allocate(capacity: 0)
        index = .allocate(capacity: 0)
    }

    deinit {
        if isNamed { for row in 0..<capacity { names[row]?.deallocate() } }
        heads.deallocate()
        rows.deallocate()
        names.deallocate()
        changed.deallocate()
        index.deallocate()
    }

    /// What malloc really gives for a name: its length and 8 bytes of its own, in steps of 16.
    @inlinable static func allocated(forName length: Int) -> Int {
        max(32, (length + 8 + 15) & ~15)
    }

    var allocatedBytes: Int {
        let perRow =
            rowBytes + MemoryLayout<Head>.stride + 4
            + (isNamed ? MemoryLayout<UnsafeMutablePointer<UInt8>?>.stride : 0)
        return capacity * perRow + (indexMask + 1) * 4 + free.allocatedBytes + nameBytes
            + encoded.allocatedBytes
    }

    // Growth

    @usableFromInline @inline(never)
    mutating func grow(to rowsWanted: Int) {
        func larger<T>(_ old: UnsafeMutablePointer<T>, _ used: Int) -> UnsafeMutablePointer<T> {
            let new = UnsafeMutablePointer<T>.allocate(capacity: rowsWanted)
            memset(new, 0, rowsWanted * MemoryLayout<T>.stride)
            memcpy(new, old, used * MemoryLayout<T>.stride)
            old.deallocate()
            return new
        }
        heads = larger(heads, capacity)
        changed = larger(changed, changedCount)
        if isNamed { names = larger(names, capacity) }
        let newRows = UnsafeMutableRawPointer.allocate(
            byteCount: rowsWanted * rowBytes, alignment: alignment)
        memset(newRows, 0, rowsWanted * rowBytes)
        memcpy(newRows, rows, capacity * rowBytes)
        rows.deallocate()
        rows = newRows
        free.grow(to: rowsWanted)
        capacity = rowsWanted
        reindex()
    }

    private mutating func reindex() {
        var size = 16
        while size < capacity * 2 { size *= 2 }
        index.deallocate()
        index = .allocate(capacity: size)
        index.initialize(repeating: RowStore.none, count: size)
        indexMask = size - 1
        for row in 0..<capacity where heads[row].isLive { addToIndex(UInt32(row)) }
    }

    @inlinable
    mutating func addToIndex(_ row: UInt32) {
        var place = Int(truncatingIfNeeded: heads[Int(row)].key.low) & indexMask
        while index[place] != RowStore.none { place = (place &+ 1) & indexMask }
        index[place] = row
    }

    @inlinable
    mutating func removeFromIndex(_ row: UInt32) {
        var hole = Int(truncatingIfNeeded: heads[Int(row)].key.low) & indexMask
        while index[hole] != row { hole = (hole &+ 1) & indexMask }
        var place = hole
        while true {
            place = (place &+ 1) & indexMask
            let other = index[place]
            if other == RowStore.none { break }
            let home = Int(truncatingIfNeeded: heads[Int(other)].key.low) & indexMask
            // Move `other` into the hole unless its home lies cyclically in (hole, place].
            if (place &- home) & indexMask >= (place &- hole) & indexMask {
                index[hole] = other
                hole = place
            }
        }
        index[hole] = RowStore.none
    }

    // Finding and changing

    @inlinable
    func find(_ key: Hash128) -> UInt32? {
        var place = Int(truncatingIfNeeded: key.low) & indexMask
        while true {
            let row = index[place]
            if row == RowStore.none { return nil }
            if heads[Int(row)].key == key { return row }
            place = (place &+ 1) & indexMask
        }
    }

    /// A new row; the caller has made sure that one is free.
    @inlinable
    mutating func insert(_ key: Hash128, name: ByteSlice?) -> UInt32 {
        let row = free.take()
        let head = heads + Int(row)
        head.pointee.key = key
        head.pointee.isLive = true
        head.pointee.age = nextAge
        nextAge &+= 1
        liveRows &+= 1
        if isNamed { setName(row, name ?? .empty) }
        link(row)
        addToIndex(row)
        markChanged(row)
        return row
    }

    @inlinable
    mutating func remove(_ row: UInt32) {
        removeFromIndex(row)
        unlink(row)
        markChanged(row)
        clear(row)
        free.give(row)
    }

    @inlinable
    mutating func clear(_ row: UInt32) {
        let head = heads + Int(row)
        head.pointee.isLive = false
        head.pointee.key = .zero
        head.pointee.age = 0
        liveRows &-= 1
        memset(rows + Int(row) &* rowBytes, 0, rowBytes)
        if isNamed { dropName(row) }
    }

    @usableFromInline
    mutating func dropName(_ row: UInt32) {
        guard let old = names[Int(row)] else { return }
        old.deallocate()
        names[Int(row)] = nil
        nameBytes -= RowStore.allocated(forName: Int(heads[Int(row)].nameLength))
        heads[Int(row)].nameLength = 0
    }

    @usableFromInline
    mutating func setName(_ row: UInt32, _ bytes: ByteSlice) {
        dropName(row)
        guard !bytes.isEmpty else { return }
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: bytes.count)
        memcpy(memory, bytes.base, bytes.count)
        nameBytes += RowStore.allocated(forName: bytes.count)
        names[Int(row)] = memory
        heads[Int(row)].nameLength = UInt32(bytes.count)
    }

    func name(_ row: UInt32) -> ByteSlice {
        guard let base = names[Int(row)] else { return .empty }
        return ByteSlice(base, count: Int(heads[Int(row)].nameLength))
    }

    @inlinable @inline(__always)
    mutating func markChanged(_ row: UInt32) {
        let head = heads + Int(row)
        if !head.pointee.isChanged {
            head.pointee.isChanged = true
            changed[changedCount] = row
            changedCount &+= 1
        }
    }

    // Age

    @inlinable
    mutating func touch(_ row: UInt32) {
        guard row != newest else { return }
        unlink(row)
        heads[Int(row)].age = nextAge
        nextAge &+= 1
        link(row)
        markChanged(row)
    }

    @inlinable
    mutating func link(_ row: UInt32) {
        heads[Int(row)].older = newest
        heads[Int(row)].newer = RowStore.none
        if newest == RowStore.none { oldest = row } else { heads[Int(newest)].newer = row }
        newest = row
    }

    @inlinable
    mutating func unlink(_ row: UInt32) {
        let before = heads[Int(row)].older
        let after = heads[Int(row)].newer
        if before == RowStore.none { oldest = after } else { heads[Int(before)].newer = after }
        if after == RowStore.none { newest = before } else { heads[Int(after)].older = before }
    }

    // Checkpoints

    /// In front of the row's own bytes: age, key, length of the name; then the name.
    private static let prefixBytes = 28

    /// How many of a row's bytes are written: all but the words of zeros at its end, as lists in rows leave
    /// them where they are not full.
    private func usedBytes(_ row: UInt32) -> Int {
        let base = UnsafeRawPointer(rows) + Int(row) &* rowBytes
        var used = rowBytes
        while used >= 8, base.loadUnaligned(fromByteOffset: used &- 8, as: UInt64.self) == 0 {
            used &-= 8
        }
        return used
    }

    private mutating func encode(_ row: UInt32) -> ByteSlice {
        let head = heads[Int(row)]
        encoded.removeAll()
        encoded.append(raw: head.age)
        encoded.append(raw: head.key)
        encoded.append(raw: head.nameLength)
        if isNamed { encoded.append(name(row)) }
        encoded.append(
            ByteSlice(
                UnsafeRawBufferPointer(start: rows + Int(row) * rowBytes, count: usedBytes(row))))
        return encoded.slice
    }

    mutating func takeChangedRows(_ body: (UInt32, ByteSlice?) -> Void) {
        for i in 0..<changedCount {
            let row = changed[i]
            let head = heads + Int(row)
            head.pointee.isChanged = false
            let wasSaved = head.pointee.savedHash != 0
            savedHash &-= head.pointee.savedHash
            head.pointee.savedHash = 0
            if head.pointee.isLive {
                let bytes = encode(row)
                head.pointee.savedHash = rowHash(row, bytes)
                savedHash &+= head.pointee.savedHash
                body(row, bytes)
            } else if wasSaved {
                body(row, nil)
            }
        }
        changedCount = 0
    }

    mutating func forEachRow(_ body: (UInt32, ByteSlice) -> Void) {
        for row in 0..<UInt32(capacity) where heads[Int(row)].isLive { body(row, encode(row)) }
    }

    /// Takes what is in `row` away, in the sense of a checkpoint: without a changed mark.
    mutating func forget(_ row: UInt32) {
        guard Int(row) < capacity, heads[Int(row)].isLive else { return }
        savedHash &-= heads[Int(row)].savedHash
        heads[Int(row)].savedHash = 0
        removeFromIndex(row)
        clear(row)
        free.give(row)
    }

    mutating func restore(_ row: UInt32, _ bytes: ByteSlice, table: String) throws(StateError) {
        let prefix = RowStore.prefixBytes
        guard bytes.count >= prefix else {
            throw StateError("row \(row) of table \(table) has \(bytes.count) bytes: it is torn")
        }
        let raw = UnsafeRawPointer(bytes.base)
        let nameLength = Int(raw.loadUnaligned(fromByteOffset: 24, as: UInt32.self))
        let used = bytes.count - prefix - nameLength
        guard 0...rowBytes ~= used, (rowBytes - used) % 8 == 0, isNamed || nameLength == 0,
            used == rowBytes || used < 8
                || raw.loadUnaligned(fromByteOffset: bytes.count - 8, as: UInt64.self) != 0
        else {
            throw StateError(
                "row \(row) of table \(table) has \(bytes.count) bytes with a name of \(nameLength), "
                    + "expected \(prefix) to \(prefix + rowBytes) beside the name: it is torn or of "
                    + "another layout")
        }
        let head = heads + Int(row)
        head.pointee.age = raw.loadUnaligned(as: UInt64.self)
        head.pointee.key = raw.loadUnaligned(fromByteOffset: 8, as: Hash128.self)
        head.pointee.isLive = true
        if isNamed { setName(row, bytes.slice(prefix, prefix + nameLength)) }
        memcpy(rows + Int(row) * rowBytes, raw + prefix + nameLength, used)
        liveRows += 1
        free.take(row)
        addToIndex(row)
        head.pointee.savedHash = rowHash(row, bytes)
        savedHash &+= head.pointee.savedHash
    }

    /// Puts the order of age back, which follows from the rows, and forgets what was there before
    /// and is not among the restored.
    mutating func finishRestore(nextAge: UInt64) {
        for i in 0..<changedCount { heads[Int(changed[i])].isChanged = false }
        changedCount = 0
        var live: [UInt32] = []
        live.reserveCapacity(liveRows)
        for row in 0..<UInt32(capacity) where heads[Int(row)].isLive {
            if heads[Int(row)].savedHash == 0 { forget(row) } else { live.append(row) }
        }
        let heads = heads
        live.sort { heads[Int($0)].age < heads[Int($1)].age }
        oldest = RowStore.none
        newest = RowStore.none
        for row in live { link(row) }
        self.nextAge = nextAge
    }
}
