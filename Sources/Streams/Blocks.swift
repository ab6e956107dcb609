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

    public init(_ name: String, _ initial: Value) {
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

    public func finishRestore() {}
}

/// A long array of numbers, checkpointed by pages with a changed mark each: weights and sketches.
public final class Pages<Element: BitwiseCopyable>: StateTable {
    public let name: String
    public let count: Int
    /// The array, to read and to write in place; `markChanged` after a write.
    public let elements: UnsafeMutablePointer<Element>
    @usableFromInline let pageShift: Int
    @usableFromInline let marks: UnsafeMutablePointer<UInt8>
    @usableFromInline var changed: [UInt32] = []
    private let pages: Int
    private var savedHashes: [UInt64]
    public private(set) var savedHash: UInt64 = 0

    /// - Parameter elementsPerPage: a power of two.
    public init(_ name: String, count: Int, elementsPerPage: Int, initial: Element) {
        precondition(elementsPerPage > 0 && elementsPerPage & (elementsPerPage - 1) == 0)
        self.name = name
        self.count = count
        pageShift = elementsPerPage.trailingZeroBitCount
        pages = (count + elementsPerPage - 1) / elementsPerPage
        elements = .allocate(capacity: pages * elementsPerPage)
        memset(elements, 0, pages * elementsPerPage * MemoryLayout<Element>.stride)
        elements.update(repeating: initial, count: pages * elementsPerPage)
        marks = .allocate(capacity: pages)
        memset(marks, 0, pages)
        savedHashes = [UInt64](repeating: 0, count: pages)
    }

    deinit {
        elements.deallocate()
        marks.deallocate()
    }

    /// Marks the page of element `index` for the next checkpoint.
    @inlinable @inline(__always)
    public func markChanged(_ index: Int) {
        let page = index >> pageShift
        if marks[page] == 0 {
            marks[page] = 1
            changed.append(UInt32(page))
        }
    }

    public func markAllChanged() {
        for page in 0..<pages { markChanged(page << pageShift) }
    }

    public var rowBytes: Int { MemoryLayout<Element>.stride << pageShift }
    /// Pages that were ever changed.
    public var liveRows: Int { savedHashes.reduce(0) { $0 + ($1 == 0 ? 0 : 1) } }
    public var allocatedBytes: Int { pages * (rowBytes + 9) }
    public var changedBytes: Int { changed.count * (rowBytes + 48) }

    private func bytes(_ page: UInt32) -> ByteSlice {
        ByteSlice(
            UnsafeRawBufferPointer(start: elements + Int(page) << pageShift, count: rowBytes))
    }

    public func takeChangedRows(_ body: (UInt32, ByteSlice?) -> Void) {
        for page in changed {
            marks[Int(page)] = 0
            savedHash &-= savedHashes[Int(page)]
            savedHashes[Int(page)] = rowHash(page, bytes(page))
            savedHash &+= savedHashes[Int(page)]
            body(page, bytes(page))
        }
        changed.removeAll(keepingCapacity: true)
    }

    public func forEachRow(_ body: (UInt32, ByteSlice) -> Void) {
        for page in 0..<UInt32(pages) where savedHashes[Int(page)] != 0 || marks[Int(page)] != 0 {
            body(page, bytes(page))
        }
    }

    public func restoreRow(_ row: UInt32, _ bytes: ByteSlice?) throws(StateError) {
        guard Int(row) < pages, let bytes, bytes.count == rowBytes else {
            throw StateError(
                "page \(row) of \(name) has \(bytes?.count ?? 0) bytes, expected one of \(pages) pages "
                    + "with \(rowBytes): it is torn or of another layout")
        }
        memcpy(elements + Int(row) << pageShift, bytes.base, rowBytes)
        savedHash &-= savedHashes[Int(row)]
        savedHashes[Int(row)] = rowHash(row, bytes)
        savedHash &+= savedHashes[Int(row)]
    }

    public func finishRestore() {}
}
