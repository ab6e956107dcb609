// What falls due when: label windows, attribution windows, waiting clicks.

/// Rows by the time at which they fall due, ties in the order in which they were pushed.
///
/// A derived index: it is rebuilt from the rows after a restore. An entry whose row has been removed
/// or given another due time is stale; `popDue` hands it out all the same, and the owner, who keeps
/// due time and sequence in the row, skips it.
@frozen
public struct DueQueue {
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

        @inlinable func precedes(_ other: Entry) -> Bool {
            due < other.due || (due == other.due && sequence < other.sequence)
        }
    }

    @usableFromInline var heap: [Entry] = []

    public init() {}

    public var count: Int { heap.count }
    @inlinable public var isEmpty: Bool { heap.isEmpty }
    /// Bytes of memory the queue has allocated.
    public var allocatedBytes: Int { heap.capacity * MemoryLayout<Entry>.stride }

    /// When the first entry falls due.
    @inlinable public var firstDue: Int64? { heap.first?.due }

    public mutating func removeAll() { heap.removeAll(keepingCapacity: true) }

    /// Four children a node: half the levels of a binary heap, and siblings lie side by side.
    @usableFromInline static var width: Int { 4 }

    @inlinable
    public mutating func push(_ entry: Entry) {
        heap.append(entry)
        var child = heap.count &- 1
        heap.withUnsafeMutableBufferPointer { heap in
            while child > 0 {
                let parent = (child &- 1) / DueQueue.width
                guard entry.precedes(heap[parent]) else { break }
                heap[child] = heap[parent]
                child = parent
            }
            heap[child] = entry
        }
    }

    /// Removes and returns the first entry if it is due at `time` or before.
    @inlinable
    public mutating func popDue(at time: Int64) -> Entry? {
        guard let first = heap.first, first.due <= time else { return nil }
        let last = heap.removeLast()
        if heap.isEmpty { return first }
        heap.withUnsafeMutableBufferPointer { heap in
            let count = heap.count
            var parent = 0
            while true {
                let firstChild = parent &* DueQueue.width &+ 1
                guard firstChild < count else { break }
                var least = firstChild
                for child in firstChild &+ 1..<min(firstChild &+ DueQueue.width, count)
                where heap[child].precedes(heap[least]) {
                    least = child
                }
                guard heap[least].precedes(last) else { break }
                heap[parent] = heap[least]
                parent = least
            }
            heap[parent] = last
        }
        return first
    }
}
