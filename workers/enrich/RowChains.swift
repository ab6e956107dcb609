// Which rows share a value: request and item, slate and item, the impression a click waits for.

#if canImport(Glibc)
    import Glibc
#endif

/// Finds numbered nodes by a 64-bit value that several of them can have, oldest first.
///
/// A derived index: it is rebuilt from the rows after a restore, in the order in which they came.
/// Every operation takes a few steps, however many nodes share a value.
final class RowChains {
    @exclusivity(unchecked) private var values: UnsafeMutablePointer<UInt64>
    @exclusivity(unchecked) private var next: UnsafeMutablePointer<UInt32>
    /// Of the first node of a chain: its last one.
    @exclusivity(unchecked) private var previous: UnsafeMutablePointer<UInt32>
    @exclusivity(unchecked) private var capacity = 0
    /// First nodes, open addressing by value.
    @exclusivity(unchecked) private var slots: UnsafeMutablePointer<UInt32>
    @exclusivity(unchecked) private var mask = 0

    private static let none = UInt32.max

    init() {
        values = .allocate(capacity: 0)
        next = .allocate(capacity: 0)
        previous = .allocate(capacity: 0)
        slots = .allocate(capacity: 0)
        grow(to: 64)
    }

    deinit {
        values.deallocate()
        next.deallocate()
        previous.deallocate()
        slots.deallocate()
    }

    var allocatedBytes: Int { capacity * 16 + (mask + 1) * 4 }

    func removeAll() {
        memset(values, 0, capacity * 8)
        slots.update(repeating: RowChains.none, count: mask + 1)
    }

    /// Appends `node` to the chain of `value`.
    ///
    /// - Precondition: the node is in no chain, and `value` is not 0.
    func append(_ node: UInt32, value: UInt64) {
        if Int(node) >= capacity { grow(to: max(Int(node) + 1, capacity * 2)) }
        precondition(value != 0 && values[Int(node)] == 0, "node \(node) is in a chain already")
        values[Int(node)] = value
        next[Int(node)] = RowChains.none
        let slot = slot(of: value)
        let first = slots[slot]
        if first == RowChains.none {
            slots[slot] = node
            previous[Int(node)] = node
        } else {
            let last = previous[Int(first)]
            next[Int(last)] = node
            previous[Int(node)] = last
            previous[Int(first)] = node
        }
    }

    /// Takes `node` out of its chain, if it is in one.
    func remove(_ node: UInt32) {
        guard Int(node) < capacity, values[Int(node)] != 0 else { return }
        let slot = slot(of: values[Int(node)])
        let first = slots[slot]
        let after = next[Int(node)]
        if first == node {
            if after == RowChains.none {
                empty(slot)
            } else {
                slots[slot] = after
                previous[Int(after)] = previous[Int(node)]
            }
        } else {
            let before = previous[Int(node)]
            next[Int(before)] = after
            previous[Int(after == RowChains.none ? first : after)] = before
        }
        values[Int(node)] = 0
    }

    /// The oldest node with `value`.
    func first(_ value: UInt64) -> UInt32? {
        let node = slots[slot(of: value)]
        return node == RowChains.none ? nil : node
    }

    /// Where `value` is, or the empty slot where it would be.
    private func slot(of value: UInt64) -> Int {
        var place = Int(truncatingIfNeeded: value) & mask
        while slots[place] != RowChains.none, values[Int(slots[place])] != value {
            place = (place &+ 1) & mask
        }
        return place
    }

    /// Empties a slot and moves what followed it, so that searches still find it.
    private func empty(_ slot: Int) {
        var hole = slot
        var place = slot
        while true {
            place = (place &+ 1) & mask
            let node = slots[place]
            if node == RowChains.none { break }
            let home = Int(truncatingIfNeeded: values[Int(node)]) & mask
            if (place &- home) & mask >= (place &- hole) & mask {
                slots[hole] = node
                hole = place
            }
        }
        slots[hole] = RowChains.none
    }

    private func grow(to nodes: Int) {
        func larger<T>(_ old: UnsafeMutablePointer<T>) -> UnsafeMutablePointer<T> {
            let new = UnsafeMutablePointer<T>.allocate(capacity: nodes)
            memset(new, 0, nodes * MemoryLayout<T>.stride)
            memcpy(new, old, capacity * MemoryLayout<T>.stride)
            old.deallocate()
            return new
        }
        values = larger(values)
        next = larger(next)
        previous = larger(previous)
        var size = 16
        while size < nodes * 2 { size *= 2 }
        let old = slots
        let oldSize = capacity == 0 ? 0 : mask + 1
        slots = .allocate(capacity: size)
        slots.initialize(repeating: RowChains.none, count: size)
        mask = size - 1
        capacity = nodes
        for place in 0..<oldSize where old[place] != RowChains.none {
            slots[slot(of: values[Int(old[place])])] = old[place]
        }
        old.deallocate()
    }
}
