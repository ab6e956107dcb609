// Rows of plain memory found by a 128-bit key: users, items, open impressions.

import Bytes

/// A table of fixed-size rows in arrays, with a changed mark a row and an order of age.
///
/// Everything about it follows from its contents: a new row takes the lowest free number, age is a
/// sequence number in the row, and the index and the free list can be rebuilt. So a table that went
/// through a checkpoint behaves, byte for byte, like one that never stopped.
///
/// Cost beside `Row` and `tailBytes`: 60 to 68 bytes for each row that there is room for (room doubles
/// up to `maximumRows`), for a named table 8 more and what malloc gives for the name.
public final class Table<Row: BitwiseCopyable>: StateTable {
    public let name: String
    /// Rows never exceed this; the owner evicts (`oldest`) before it inserts into a full table.
    public let maximumRows: Int
    /// Bytes of per-row memory beside `Row`, of a length chosen at run time.
    public let tailBytes: Int
    /// Whether rows keep the bytes they are named by.
    public let isNamed: Bool
    /// Where the tail begins behind the start of a row.
    @usableFromInline let tailOffset: Int
    /// Bytes from a row to the next.
    @usableFromInline let stride: Int
    @usableFromInline let store: UnsafeMutablePointer<RowStore>

    /// - Precondition: `Row` has no padding, because what lies in padding is not determined, and rows
    ///   are compared and hashed as bytes. Put large fields first and fill up with fields of your own.
    public init(
        _ name: String, maximumRows: Int, tailBytes: Int = 0, isNamed: Bool = false,
        initialRows: Int = 64
    ) {
        precondition(
            maximumRows > 0 && maximumRows < Int(UInt32.max), "\(name): \(maximumRows) rows")
        let padding = paddingBytes(Row.self)
        precondition(padding == 0, "\(name): \(Row.self) has \(padding) bytes of padding")
        let alignment = max(8, MemoryLayout<Row>.alignment)
        func aligned(_ bytes: Int) -> Int { (bytes + alignment - 1) / alignment * alignment }
        self.name = name
        self.maximumRows = maximumRows
        self.isNamed = isNamed
        self.tailBytes = aligned(tailBytes)
        tailOffset = tailBytes > 0 ? aligned(MemoryLayout<Row>.stride) : MemoryLayout<Row>.stride
        stride = tailOffset + self.tailBytes
        store = .allocate(capacity: 1)
        store.initialize(to: RowStore(rowBytes: stride, alignment: alignment, isNamed: isNamed))
        store.pointee.grow(to: max(1, min(initialRows, maximumRows)))
    }

    deinit {
        store.deinitialize(count: 1)
        store.deallocate()
    }

    public var maximumBytes: Int { maximumRows * (stride + (isNamed ? 68 + 8 + 48 : 68)) }

    // Finding and changing

    @inlinable public var liveRows: Int { store.pointee.liveRows }

    /// The row of `key`, or `nil`.
    @inlinable
    public func find(_ key: Hash128) -> UInt32? { store.pointee.find(key) }

    @inlinable public var isFull: Bool { store.pointee.liveRows == maximumRows }

    /// A new, zeroed row for `key`, which is now the newest and marked as changed.
    ///
    /// - Precondition: the key is not in the table, and the table is not full.
    @inlinable
    public func insert(_ key: Hash128, name bytes: ByteSlice? = nil) -> UInt32 {
        precondition(!isFull, "\(name) is full with \(maximumRows) rows: evict first")
        assert(find(key) == nil, "\(name) has a row for \(key.hex) already")
        if store.pointee.liveRows == store.pointee.capacity {
            store.pointee.grow(to: min(maximumRows, store.pointee.capacity * 2))
        }
        return store.pointee.insert(key, name: bytes)
    }

    /// Removes a row; its memory is zero again.
    @inlinable
    public func remove(_ row: UInt32) {
        precondition(isLive(row), "\(name): row \(row) is not live")
        store.pointee.remove(row)
    }

    /// The row's memory, to read and to write in place; `markChanged` after a write.
    ///
    /// Valid until the next insertion.
    @inlinable @inline(__always)
    public subscript(_ row: UInt32) -> UnsafeMutablePointer<Row> {
        (store.pointee.rows + Int(row) &* stride).assumingMemoryBound(to: Row.self)
    }

    /// The row's extra memory, `tailBytes` long; valid until the next insertion.
    @inlinable @inline(__always)
    public func tail<Element: BitwiseCopyable>(
        _ row: UInt32, as type: Element.Type
    ) -> UnsafeMutablePointer<Element> {
        (store.pointee.rows + (Int(row) &* stride &+ tailOffset)).assumingMemoryBound(
            to: Element.self)
    }

    @inlinable public func key(_ row: UInt32) -> Hash128 { store.pointee.heads[Int(row)].key }

    @inlinable public func isLive(_ row: UInt32) -> Bool {
        Int(row) < store.pointee.capacity && store.pointee.heads[Int(row)].isLive
    }

    /// The bytes a row is named by; valid until the row is removed.
    public func name(_ row: UInt32) -> ByteSlice {
        precondition(isNamed, "\(name) keeps no names")
        return store.pointee.name(row)
    }

    @inlinable @inline(__always)
    public func markChanged(_ row: UInt32) { store.pointee.markChanged(row) }

    /// One more than the largest row number that can be in use: rows are `0..<rowLimit`, some of them
    /// not live.
    @inlinable public var rowLimit: UInt32 {
        UInt32(truncatingIfNeeded: store.pointee.capacity)
    }

    // Age

    /// The row that has not been inserted or touched for the longest time.
    @inlinable public var oldest: UInt32? {
        store.pointee.oldest == RowStore.none ? nil : store.pointee.oldest
    }

    /// The row touched next after `row`, or `nil` for the newest.
    @inlinable public func newer(than row: UInt32) -> UInt32? {
        let newer = store.pointee.heads[Int(row)].newer
        return newer == RowStore.none ? nil : newer
    }

    /// Makes `row` the newest. Counts as a change.
    @inlinable public func touch(_ row: UInt32) { store.pointee.touch(row) }

    /// A number that grows with every insertion and touch: smaller is older.
    @inlinable public func age(_ row: UInt32) -> UInt64 { store.pointee.heads[Int(row)].age }

    // Checkpoints

    public var rowBytes: Int { stride }
    public var changedBytes: Int { store.pointee.changedCount * (stride + 48) }
    public var allocatedBytes: Int { store.pointee.allocatedBytes }
    public var savedHash: UInt64 { store.pointee.savedHash }
    /// The age that the next insertion or touch gives.
    public var sequence: UInt64 { store.pointee.nextAge }

    public func takeChangedRows(_ body: (UInt32, ByteSlice?) -> Void) {
        store.pointee.takeChangedRows(body)
    }

    public func forEachRow(_ body: (UInt32, ByteSlice) -> Void) { store.pointee.forEachRow(body) }

    public func restoreRow(_ row: UInt32, _ bytes: ByteSlice?) throws(StateError) {
        guard Int(row) < maximumRows else {
            throw StateError(
                "table \(name) has no row \(row): its cap is \(maximumRows); raise the cap to the one "
                    + "the checkpoint was written with")
        }
        if Int(row) >= store.pointee.capacity {
            var wanted = store.pointee.capacity
            while wanted <= Int(row) { wanted *= 2 }
            store.pointee.grow(to: min(wanted, maximumRows))
        }
        store.pointee.forget(row)
        if let bytes { try store.pointee.restore(row, bytes, table: name) }
    }

    public func finishRestore(sequence: UInt64) { store.pointee.finishRestore(nextAge: sequence) }
}
