// State that is not rows by key: one struct of totals, or a long array of numbers in pages.

import Bytes

#if canImport(Glibc)
    import Glibc
#endif

/// One plain value, such as a partition's clock and totals.
///
/// Whether it changed is found by comparing, so it is written to freely.
public final class Block<Value: BitwiseCopyable>: StateTable {
    public let name: String
    /// The value, to read and to write in place.
    public let value: UnsafeMutablePointer<Value>
    public private(set) var savedHash: UInt64 = 0

    /// - Precondition: `Value` has no padding (see `Table`).
    public init(_ name: String, _ initial: Value) {
        let padding = paddingBytes(Value.self)
        precondition(padding == 0, "\(name): \(Value.self) has \(padding) bytes of padding")
        self.name = name
        value = .allocate(capacity: 1)
        memset(value, 0, MemoryLayout<Value>.stride)
        value.pointee = initial
    }

    deinit { value.deallocate() }

    public var rowBytes: Int { MemoryLayout<Value>.stride }
    public var liveRows: Int { 1 }
    public var allocatedBytes: Int { rowBytes }
    public var changedBytes: Int { rowBytes }

    private var bytes: ByteSlice {
        ByteSlice(UnsafeRawBufferPointer(start: value, count: rowBytes))
    }

    public func takeChangedRows(_ body: (UInt32, ByteSlice?) -> Void) {
        let hash = rowHash(0, bytes)
        guard hash != savedHash else { return }
        savedHash = hash
        body(0, bytes)
    }

    public func forEachRow(_ body: (UInt32, ByteSlice) -> Void) { body(0, bytes) }

    public func restoreRow(_ row: UInt32, _ bytes: ByteSlice?) throws(StateError) {
        guard row == 0, let bytes, bytes.count == rowBytes else {
            throw StateError(
                "block \(name) has row \(row) with \(bytes?.count ?? 0) bytes, expected row 0 with "
                    + "\(rowBytes): it is torn or of another layout")
        }
        memcpy(value, bytes.base, rowBytes)
        savedHash = rowHash(0, bytes)
    }

    public var sequence: UInt64 { 0 }
    public func finishRestore(sequence: UInt64) {}
}

/// A long array of numbers, checkpointed by pages with a changed mark each: weights and sketches.
public final class Pages<Element: BitwiseCopyable>: StateTable {
    public let name: String
    public let count: Int
    /// The array, to read and to write in place; `markChanged` after a write.
    public let elements: UnsafeMutablePointer<Element>
    @usableFromInline let pageShift: Int
    @usableFromInline let marks: PageMarks
    private let pages: Int
    private let savedHashes: UnsafeMutablePointer<UInt64>
    public private(set) var savedHash: UInt64 = 0

    /// - Parameter elementsPerPage: a power of two.
    /// - Precondition: `Element` has no padding (see `Table`).
    public init(_ name: String, count: Int, elementsPerPage: Int, initial: Element) {
        precondition(elementsPerPage > 0 && elementsPerPage & (elementsPerPage - 1) == 0)
        let padding = paddingBytes(Element.self)
        precondition(padding == 0, "\(name): \(Element.self) has \(padding) bytes of padding")
        self.name = name
        self.count = count
        pageShift = elementsPerPage.trailingZeroBitCount
        pages = (count + elementsPerPage - 1) / elementsPerPage
        elements = .allocate(capacity: pages * elementsPerPage)
        elements.initialize(repeating: initial, count: pages * elementsPerPage)
        marks = PageMarks(pages: pages)
        savedHashes = .allocate(capacity: pages)
        savedHashes.initialize(repeating: 0, count: pages)
    }

    deinit {
        elements.deallocate()
        marks.deallocate()
        savedHashes.deallocate()
    }

    /// Marks the page of element `index` for the next checkpoint.
    @inlinable @inline(__always)
    public func markChanged(_ index: Int) { marks.mark(index &>> pageShift) }

    public func markAllChanged() {
        for page in 0..<pages { marks.mark(page) }
    }

    public var rowBytes: Int { MemoryLayout<Element>.stride << pageShift }
    /// Pages that were ever changed.
    public var liveRows: Int { (0..<pages).reduce(0) { $0 + (isLive($1) ? 1 : 0) } }
    public var allocatedBytes: Int { pages * (rowBytes + 8 + 1 + 4) }
    public var changedBytes: Int { marks.changedCount * (rowBytes + 48) }
    public var sequence: UInt64 { 0 }

    private func isLive(_ page: Int) -> Bool { savedHashes[page] != 0 || marks.isMarked(page) }

    private func bytes(_ page: UInt32) -> ByteSlice {
        ByteSlice(
            UnsafeRawBufferPointer(start: elements + Int(page) << pageShift, count: rowBytes))
    }

    private func save(_ page: UInt32, _ hash: UInt64) {
        savedHash = savedHash &- savedHashes[Int(page)] &+ hash
        savedHashes[Int(page)] = hash
    }

    public func takeChangedRows(_ body: (UInt32, ByteSlice?) -> Void) {
        marks.takeAll { page in
            save(page, rowHash(page, bytes(page)))
            body(page, bytes(page))
        }
    }

    public func forEachRow(_ body: (UInt32, ByteSlice) -> Void) {
        for page in 0..<pages where isLive(page) { body(UInt32(page), bytes(UInt32(page))) }
    }

    public func restoreRow(_ row: UInt32, _ bytes: ByteSlice?) throws(StateError) {
        guard Int(row) < pages, let bytes, bytes.count == rowBytes else {
            throw StateError(
                "page \(row) of \(name) has \(bytes?.count ?? 0) bytes, expected one of \(pages) pages "
                    + "with \(rowBytes): it is torn or of another layout")
        }
        memcpy(elements + Int(row) << pageShift, bytes.base, rowBytes)
        save(row, rowHash(row, bytes))
    }

    public func finishRestore(sequence: UInt64) { marks.takeAll { _ in } }
}

/// Which pages changed: a byte a page and a list, in memory that its owner frees.
@usableFromInline
struct PageMarks {
    @usableFromInline let marks: UnsafeMutablePointer<UInt8>
    /// The marked pages in the order of marking; the count stands at the end.
    @usableFromInline let list: UnsafeMutablePointer<UInt32>
    @usableFromInline let pages: Int

    init(pages: Int) {
        self.pages = pages
        marks = .allocate(capacity: pages)
        marks.initialize(repeating: 0, count: pages)
        list = .allocate(capacity: pages + 1)
        list.initialize(repeating: 0, count: pages + 1)
    }

    func deallocate() {
        marks.deallocate()
        list.deallocate()
    }

    var changedCount: Int { Int(list[pages]) }

    func isMarked(_ page: Int) -> Bool { marks[page] != 0 }

    @inlinable @inline(__always)
    func mark(_ page: Int) {
        precondition(page >= 0 && page < pages, "page out of range")
        if marks[page] == 0 {
            marks[page] = 1
            list[Int(list[pages])] = UInt32(truncatingIfNeeded: page)
            list[pages] &+= 1
        }
    }

    func takeAll(_ body: (UInt32) -> Void) {
        for i in 0..<changedCount {
            marks[Int(list[i])] = 0
            body(list[i])
        }
        list[pages] = 0
    }
}
