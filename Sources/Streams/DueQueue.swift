// What falls due when: label windows, attribution windows, waiting clicks.

/// Rows by the time at which they fall due, ties in the order in which they were pushed.
///
/// A derived index: it is rebuilt from the rows after a restore. An entry whose row has been removed
/// or given another due time is stale; `popDue` hands it out all the same, and the owner, who keeps
/// due time and sequence in the row, skips it. That an entry was handed out must stand in the row
/// too, or a restored queue would hand it out again.
///
/// Keep it in a `let`: its memory lies behind a pointer, so that a use checks nothing.
public final class DueQueue {
    @frozen
    public struct Entry: Equatable, BitwiseCopyable {
        public var due: Int64
        public var sequence: UInt64
        public var row: UInt32

        @inlinable
        public init(due: Int64, sequence: UInt64, row: UInt32) {
            self.due = due
            self.sequence = sequence
            self.row = row
        }

        @inlinable @inline(__always)
        func precedes(_ other: Entry) -> Bool {
            due < other.due || (due == other.due && sequence < other.sequence)
        }
    }

    /// A heap in `entries[0..<count]`.
    @usableFromInline
    struct Heap {
        @usableFromInline var entries: UnsafeMutablePointer<Entry>
        @usableFromInline var capacity: Int
        @usableFromInline var count = 0
    }

    @usableFromInline let heap: UnsafeMutablePointer<Heap>

    public init() {
        heap = .allocate(capacity: 1)
        heap.initialize(to: Heap(entries: .allocate(capacity: 64), capacity: 64))
    }

    deinit {
        heap.pointee.entries.deallocate()
        heap.deallocate()
    }

    @inlinable public var count: Int { heap.pointee.count }
    @inlinable public var isEmpty: Bool { heap.pointee.count == 0 }
    /// Bytes of memory the queue has allocated.
    public var allocatedBytes: Int { heap.pointee.capacity * MemoryLayout<Entry>.stride }

    /// When the first entry falls due.
    @inlinable public var firstDue: Int64? {
        heap.pointee.count == 0 ? nil : heap.pointee.entries[0].due
    }

    public func removeAll() { heap.pointee.count = 0 }

    /// Four children a node: half the levels of a binary heap, and siblings lie side by side.
    @inlinable static var width: Int { 4 }

    @inlinable
    public func push(_ entry: Entry) {
        if heap.pointee.count == heap.pointee.capacity { grow() }
        let entries = heap.pointee.entries
        var child = heap.pointee.count
        heap.pointee.count = child &+ 1
        while child > 0 {
            let parent = (child &- 1) / DueQueue.width
            guard entry.precedes(entries[parent]) else { break }
            entries[child] = entries[parent]
            child = parent
        }
        entries[child] = entry
    }

    /// Removes and returns the first entry if it is due at `time` or before.
    @inlinable
    public func popDue(at time: Int64) -> Entry? {
        let entries = heap.pointee.entries
        guard heap.pointee.count > 0, entries[0].due <= time else { return nil }
        let first = entries[0]
        let count = heap.pointee.count &- 1
        heap.pointee.count = count
        let last = entries[count]
        var parent = 0
        while true {
            let firstChild = parent &* DueQueue.width &+ 1
            guard firstChild < count else { break }
            var least = firstChild
            var child = firstChild &+ 1
            let end = min(firstChild &+ DueQueue.width, count)
            while child < end {
                if entries[child].precedes(entries[least]) { least = child }
                child &+= 1
            }
            guard entries[least].precedes(last) else { break }
            entries[parent] = entries[least]
            parent = least
        }
        entries[parent] = last
        return first
    }

    @usableFromInline @inline(never)
    func grow() {
        let old = heap.pointee.entries
        heap.pointee.capacity *= 2
        heap.pointee.entries = .allocate(capacity: heap.pointee.capacity)
        heap.pointee.entries.update(from: old, count: heap.pointee.count)
        old.deallocate()
    }
}
