// Rows of plain memory found by a 128-bit key: users, items, open impressions.

import Bytes

#if canImport(Glibc)
    import Glibc
#endif

/// A table of fixed-size rows in arrays, with a changed mark a row and an order of age.
///
/// Everything about it follows from its contents: a new row takes the lowest free number, age is a
/// sequence number in the row, and the index and the free list can be rebuilt. So a table that went
/// through a checkpoint behaves, byte for byte, like one that never stopped.
///
/// Cost: 45 bytes a row beside `Row`, `tailBytes` and the name.
public final class Table<Row: BitwiseCopyable>: StateTable {
    public let name: String
    /// Rows never exceed this; the owner evicts (`oldest`) before it inserts into a full table.
    public let maximumRows: Int
    /// Bytes of per-row memory beside `Row`, of a length chosen at run time.
    public let tailBytes: Int
    /// Whether rows keep the bytes they are named by.
    public let isNamed: Bool

    public private(set) var liveRows = 0
    @usableFromInline var capacity = 0
    @usableFromInline var keys: UnsafeMutablePointer<Hash128>
    @usableFromInline var rows: UnsafeMutablePointer<Row>
    @usableFromInline var tails: UnsafeMutableRawPointer
    private var names: UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>
    private var nameLengths: UnsafeMutablePointer<UInt32>
    private var nameBytes = 0
    @usableFromInline var marks: UnsafeMutablePointer<UInt8>
    private var ages: UnsafeMutablePointer<UInt64>
    private var older: UnsafeMutablePointer<UInt32>
    private var newer: UnsafeMutablePointer<UInt32>
    private var savedHashes: UnsafeMutablePointer<UInt64>
    private var oldestRow = Table.none
    private var newestRow = Table.none
    private var nextAge: UInt64 = 1
    private var free = LowestFreeRow()
    @usableFromInline var index: UnsafeMutablePointer<UInt32>
    @usableFromInline var indexMask = 0
    @usableFromInline var changed: [UInt32] = []
    public private(set) var savedHash: UInt64 = 0
    private var scratch = ByteBuffer()

    @usableFromInline static var none: UInt32 { UInt32.max }
    @usableFromInline static var liveMark: UInt8 { 1 }
    @usableFromInline static var changedMark: UInt8 { 2 }

    public init(
        _ name: String, maximumRows: Int, tailBytes: Int = 0, isNamed: Bool = false,
        initialRows: Int = 64
    ) {
        precondition(
            maximumRows > 0 && maximumRows < Int(UInt32.max), "\(name): \(maximumRows) rows")
        self.name = name
        self.maximumRows = maximumRows
        self.tailBytes = (tailBytes + 7) & ~7
        self.isNamed = isNamed
        keys = .allocate(capacity: 0)
        rows = .allocate(capacity: 0)
        tails = .allocate(byteCount: 0, alignment: 8)
        names = .allocate(capacity: 0)
        nameLengths = .allocate(capacity: 0)
        marks = .allocate(capacity: 0)
        ages = .allocate(capacity: 0)
        older = .allocate(capacity: 0)
        newer = .allocate(capacity: 0)
        savedHashes = .allocate(capacity: 0)
        index = .allocate(capacity: 0)
        grow(to: min(initialRows, maximumRows))
    }

    deinit {
        if isNamed { for row in 0..<capacity { names[row]?.deallocate() } }
        keys.deallocate()
        rows.deallocate()
        tails.deallocate()
        names.deallocate()
        nameLengths.deallocate()
        marks.deallocate()
        ages.deallocate()
        older.deallocate()
        newer.deallocate()
        savedHashes.deallocate()
        index.deallocate()
    }

    // Growth

    private func grow(to rowsWanted: Int) {
        func larger<T>(_ old: UnsafeMutablePointer<T>) -> UnsafeMutablePointer<T> {
            let new = UnsafeMutablePointer<T>.allocate(capacity: rowsWanted)
            memset(new, 0, rowsWanted * MemoryLayout<T>.stride)
            memcpy(new, old, capacity * MemoryLayout<T>.stride)
            old.deallocate()
            return new
        }
        keys = larger(keys)
        rows = larger(rows)
        let newTails = UnsafeMutableRawPointer.allocate(
            byteCount: rowsWanted * tailBytes, alignment: 8)
        memset(newTails, 0, rowsWanted * tailBytes)
        memcpy(newTails, tails, capacity * tailBytes)
        tails.deallocate()
        tails = newTails
        if isNamed {
            names = larger(names)
            nameLengths = larger(nameLengths)
        }
        marks = larger(marks)
        ages = larger(ages)
        older = larger(older)
        newer = larger(newer)
        savedHashes = larger(savedHashes)
        free.grow(to: rowsWanted)
        capacity = rowsWanted
        reindex()
    }

    private func reindex() {
        var size = 16
        while size < capacity * 2 { size *= 2 }
        index.deallocate()
        index = .allocate(capacity: size)
        index.initialize(repeating: Table.none, count: size)
        indexMask = size - 1
        for row in 0..<capacity where marks[row] & Table.liveMark != 0 { addToIndex(UInt32(row)) }
    }

    private func addToIndex(_ row: UInt32) {
        var place = Int(truncatingIfNeeded: keys[Int(row)].low) & indexMask
        while index[place] != Table.none { place = (place &+ 1) & indexMask }
        index[place] = row
    }

    private func removeFromIndex(_ row: UInt32) {
        var hole = Int(truncatingIfNeeded: keys[Int(row)].low) & indexMask
        while index[hole] != row { hole = (hole &+ 1) & indexMask }
        var place = hole
        while true {
            place = (place &+ 1) & indexMask
            let other = index[place]
            if other == Table.none { break }
            let home = Int(truncatingIfNeeded: keys[Int(other)].low) & indexMask
            // Move `other` into the hole unless its home lies cyclically in (hole, place].
            if (place &- home) & indexMask >= (place &- hole) & indexMask {
                index[hole] = other
                hole = place
            }
        }
        index[hole] = Table.none
    }

    // Finding and changing

    /// The row of `key`, or `nil`.
    @inlinable
    public func find(_ key: Hash128) -> UInt32? {
        var place = Int(truncatingIfNeeded: key.low) & indexMask
        while true {
            let row = index[place]
            if row == Table.none { return nil }
            if keys[Int(row)] == key { return row }
            place = (place &+ 1) & indexMask
        }
    }

    public var isFull: Bool { liveRows == maximumRows }

    /// A new, zeroed row for `key`, which is now the newest and marked as changed.
    ///
    /// - Precondition: the key is not in the table, and the table is not full.
    public func insert(_ key: Hash128, name bytes: ByteSlice? = nil) -> UInt32 {
        precondition(!isFull, "\(name) is full with \(maximumRows) rows: evict first")
        if liveRows == capacity { grow(to: min(maximumRows, capacity * 2)) }
        let row = free.take()
        let at = Int(row)
        keys[at] = key
        marks[at] |= Table.liveMark
        liveRows += 1
        if isNamed { setName(row, bytes ?? .empty) }
        ages[at] = nextAge
        nextAge += 1
        link(row)
        addToIndex(row)
        markChanged(row)
        return row
    }

    /// Removes a row; its memory is zero again.
    public func remove(_ row: UInt32) {
        precondition(isLive(row), "\(name): row \(row) is not live")
        removeFromIndex(row)
        unlink(row)
        markChanged(row)
        clear(row)
        free.give(row)
    }

    private func clear(_ row: UInt32) {
        let at = Int(row)
        marks[at] &= ~Table.liveMark
        liveRows -= 1
        keys[at] = .zero
        ages[at] = 0
        memset(rows + at, 0, MemoryLayout<Row>.stride)
        memset(tails + at * tailBytes, 0, tailBytes)
        if isNamed, let old = names[at] {
            old.deallocate()
            names[at] = nil
            nameBytes -= Int(nameLengths[at])
            nameLengths[at] = 0
        }
    }

    /// The row's memory, to read and to write in place; `markChanged` after a write.
    @inlinable @inline(__always)
    public subscript(_ row: UInt32) -> UnsafeMutablePointer<Row> { rows + Int(row) }

    /// The row's extra memory, `tailBytes` long.
    @inlinable @inline(__always)
    public func tail<Element: BitwiseCopyable>(
        _ row: UInt32, as type: Element.Type
    ) -> UnsafeMutablePointer<Element> {
        (tails + Int(row) * tailBytes).assumingMemoryBound(to: Element.self)
    }

    @inlinable public func key(_ row: UInt32) -> Hash128 { keys[Int(row)] }

    @inlinable public func isLive(_ row: UInt32) -> Bool {
        Int(row) < capacity && marks[Int(row)] & Table.liveMark != 0
    }

    /// The bytes a row is named by; valid until the row is removed or renamed.
    public func name(_ row: UInt32) -> ByteSlice {
        precondition(isNamed, "\(name) keeps no names")
        guard let base = names[Int(row)] else { return .empty }
        return ByteSlice(base, count: Int(nameLengths[Int(row)]))
    }

    private func setName(_ row: UInt32, _ bytes: ByteSlice) {
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: max(1, bytes.count))
        memcpy(memory, bytes.base, bytes.count)
        names[Int(row)]?.deallocate()
        nameBytes += bytes.count - Int(nameLengths[Int(row)])
        names[Int(row)] = memory
        nameLengths[Int(row)] = UInt32(bytes.count)
    }

    @inlinable @inline(__always)
    public func markChanged(_ row: UInt32) {
        let mark = marks[Int(row)]
        if mark & Table.changedMark == 0 {
            marks[Int(row)] = mark | Table.changedMark
            changed.append(row)
        }
    }

    /// One more than the largest row number ever used: rows are `0..<rowLimit`, some of them not live.
    public var rowLimit: UInt32 { UInt32(capacity) }

    // Age

    /// The row that has not been inserted or touched for the longest time.
    public var oldest: UInt32? { oldestRow == Table.none ? nil : oldestRow }

    /// The row touched next after `row`, or `nil` for the newest.
    public func newer(than row: UInt32) -> UInt32? {
        newer[Int(row)] == Table.none ? nil : newer[Int(row)]
    }

    /// Makes `row` the newest. Counts as a change.
    public func touch(_ row: UInt32) {
        guard row != newestRow else { return }
        unlink(row)
        ages[Int(row)] = nextAge
        nextAge += 1
        link(row)
        markChanged(row)
    }

    /// A number that grows with every insertion and touch: smaller is older.
    public func age(_ row: UInt32) -> UInt64 { ages[Int(row)] }

    private func link(_ row: UInt32) {
        older[Int(row)] = newestRow
        newer[Int(row)] = Table.none
        if newestRow == Table.none { oldestRow = row } else { newer[Int(newestRow)] = row }
        newestRow = row
    }

    private func unlink(_ row: UInt32) {
        let before = older[Int(row)]
        let after = newer[Int(row)]
        if before == Table.none { oldestRow = after } else { newer[Int(before)] = after }
        if after == Table.none { newestRow = before } else { older[Int(after)] = before }
    }

    // Checkpoints

    public var rowBytes: Int { MemoryLayout<Row>.stride + tailBytes }
    public var changedBytes: Int { changed.count * (rowBytes + 48) }

    public var allocatedBytes: Int {
        let fixed = 16 + 1 + 8 + 4 + 4 + 8 + (isNamed ? 12 : 0)
        return capacity * (rowBytes + fixed) + (indexMask + 1) * 4 + nameBytes
    }

    /// Row on the wire: age, key, name length and name, `Row`, tail.
    private func encode(_ row: UInt32) {
        let at = Int(row)
        scratch.removeAll()
        scratch.append(raw: ages[at])
        scratch.append(raw: keys[at])
        scratch.append(raw: isNamed ? nameLengths[at] : 0)
        if isNamed { scratch.append(name(row)) }
        scratch.append(
            ByteSlice(UnsafeRawBufferPointer(start: rows + at, count: MemoryLayout<Row>.stride)))
        scratch.append(
            ByteSlice(UnsafeRawBufferPointer(start: tails + at * tailBytes, count: tailBytes)))
    }

    public func takeChangedRows(_ body: (UInt32, ByteSlice?) -> Void) {
        for row in changed {
            let at = Int(row)
            marks[at] &= ~Table.changedMark
            savedHash &-= savedHashes[at]
            savedHashes[at] = 0
            if marks[at] & Table.liveMark != 0 {
                encode(row)
                savedHashes[at] = rowHash(row, scratch.slice)
                savedHash &+= savedHashes[at]
                body(row, scratch.slice)
            } else {
                body(row, nil)
            }
        }
        changed.removeAll(keepingCapacity: true)
    }

    public func forEachRow(_ body: (UInt32, ByteSlice) -> Void) {
        for row in 0..<UInt32(capacity) where isLive(row) {
            encode(row)
            body(row, scratch.slice)
        }
    }

    public func restoreRow(_ row: UInt32, _ bytes: ByteSlice?) throws(StateError) {
        guard Int(row) < maximumRows else {
            throw StateError(
                "table \(name) has no row \(row): its cap is \(maximumRows); raise the cap to the one "
                    + "the checkpoint was written with")
        }
        if Int(row) >= capacity {
            var wanted = max(16, capacity)
            while wanted <= Int(row) { wanted *= 2 }
            grow(to: min(wanted, maximumRows))
        }
        let at = Int(row)
        if isLive(row) {
            savedHash &-= savedHashes[at]
            savedHashes[at] = 0
            removeFromIndex(row)
            clear(row)
            free.give(row)
        }
        guard let bytes else { return }
        let raw = UnsafeRawPointer(bytes.base)
        guard bytes.count >= 28 else {
            throw StateError("row \(row) of table \(name) has \(bytes.count) bytes: it is torn")
        }
        let nameLength = Int(raw.loadUnaligned(fromByteOffset: 24, as: UInt32.self))
        guard bytes.count == 28 + nameLength + rowBytes else {
            throw StateError(
                "row \(row) of table \(name) has \(bytes.count) bytes, expected "
                    + "\(28 + nameLength + rowBytes): it is torn or of another layout")
        }
        ages[at] = raw.loadUnaligned(as: UInt64.self)
        keys[at] = raw.loadUnaligned(fromByteOffset: 8, as: Hash128.self)
        if isNamed { setName(row, bytes.slice(28, 28 + nameLength)) }
        memcpy(rows + at, raw + 28 + nameLength, MemoryLayout<Row>.stride)
        memcpy(tails + at * tailBytes, raw + 28 + nameLength + MemoryLayout<Row>.stride, tailBytes)
        marks[at] |= Table.liveMark
        liveRows += 1
        free.take(row)
        addToIndex(row)
        savedHashes[at] = rowHash(row, bytes)
        savedHash &+= savedHashes[at]
    }

    public func finishRestore() {
        var live: [UInt32] = []
        for row in 0..<UInt32(capacity) where isLive(row) { live.append(row) }
        live.sort { ages[Int($0)] < ages[Int($1)] }
        oldestRow = Table.none
        newestRow = Table.none
        for row in live { link(row) }
        nextAge = (live.last.map { ages[Int($0)] } ?? 0) + 1
    }
}
