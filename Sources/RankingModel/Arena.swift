// The memory of a step: taken piece by piece, given back all at once, allocated once.

import Tensors

/// Scratch memory that is reused from step to step.
///
/// The first steps find out how much is needed; from then on nothing is allocated. Every piece starts
/// at a multiple of 64 bytes and is followed by at least 64 more.
final class Arena {
    private var blocks: [UnsafeMutableRawPointer] = []
    private var sizes: [Int] = []
    private var used = 0
    private var total = 0

    deinit { for block in blocks { block.deallocate() } }

    /// Gives everything back; pieces taken before are invalid.
    func reset() {
        if blocks.count > 1 {
            for block in blocks { block.deallocate() }
            blocks.removeAll()
            sizes.removeAll()
            addBlock(total + total / 8)
        }
        used = 0
        total = 0
    }

    private func addBlock(_ bytes: Int) {
        blocks.append(.allocate(byteCount: bytes, alignment: 64))
        sizes.append(bytes)
        used = 0
    }

    /// Room for `count` values, not initialised.
    @inline(__always)
    func take<Value: BitwiseCopyable>(_ type: Value.Type, _ count: Int) -> UnsafeMutablePointer<
        Value
    > {
        let bytes = (count &* MemoryLayout<Value>.stride &+ 127) & ~63
        total &+= bytes
        if blocks.isEmpty || used &+ bytes > sizes[sizes.count - 1] {
            addBlock(max(bytes, 1 << 20))
        }
        let address = blocks[blocks.count - 1] + used
        used &+= bytes
        return address.bindMemory(to: Value.self, capacity: max(1, count))
    }

    func floats(_ count: Int) -> UnsafeMutablePointer<Float> { take(Float.self, count) }

    func zeros(_ count: Int) -> UnsafeMutablePointer<Float> {
        let p = take(Float.self, count)
        p.update(repeating: 0, count: count)
        return p
    }

    func indices(_ count: Int) -> UnsafeMutablePointer<Int32> { take(Int32.self, count) }
}

/// The distinct ones of the ids that are shown to it, in order of first appearance.
///
/// A sparse set: a slot counts only if the list says so, so nothing is cleared between steps.
final class DistinctRows {
    private var slots: UnsafeMutablePointer<UInt32>
    private var capacity: Int
    private(set) var ids: UnsafeMutablePointer<Int32>
    private var listCapacity = 1024
    private(set) var count = 0

    init() {
        capacity = 1024
        slots = .allocate(capacity: capacity)
        slots.initialize(repeating: 0, count: capacity)
        ids = .allocate(capacity: listCapacity)
    }

    deinit {
        slots.deallocate()
        ids.deallocate()
    }

    /// Empties the set and makes room for ids below `rows`, at most `occurrences` of them.
    func begin(rows: Int, occurrences: Int) {
        count = 0
        if rows > capacity {
            slots.deallocate()
            capacity = rows + rows / 2
            slots = .allocate(capacity: capacity)
            slots.initialize(repeating: 0, count: capacity)
        }
        if min(rows, occurrences) > listCapacity {
            ids.deallocate()
            listCapacity = min(rows, occurrences) * 3 / 2
            ids = .allocate(capacity: listCapacity)
        }
    }

    /// The place of `id` in the list; new ids go to its end.
    @inline(__always)
    func place(of id: Int32) -> Int32 {
        let slot = Int(slots[Int(id)])
        if slot < count, ids[slot] == id { return Int32(truncatingIfNeeded: slot) }
        ids[count] = id
        slots[Int(id)] = UInt32(truncatingIfNeeded: count)
        count &+= 1
        return Int32(truncatingIfNeeded: count &- 1)
    }
}
