// Tables that grow: an id gets a row of its own once it has been seen often enough, and loses it again.

import Tensors

/// Which row of a table an id has; row 0 is everybody who has none.
///
/// Ids are counted by a count-min sketch before they are admitted, so that ids seen once cost no row.
/// All choices follow from the order of the calls.
public struct GrowingVocabulary: Sendable {
    /// Sightings after which an id gets a row.
    public let admission: UInt16
    /// Milliseconds without a sighting after which a row is given up.
    public let ttl: Int64
    /// Rows at most, row 0 included.
    public let cap: Int

    private var rows: [UInt64: Int32] = [:]
    private var ids: [UInt64] = [0]
    private var seen: [Int64] = [.max]
    private var free: [Int32] = []
    private var sketch: [UInt16]
    private static let depth = 4
    private let sketchMask: Int

    /// What a sighting led to.
    public enum Sighting: Equatable, Sendable {
        /// The id has no row: use row 0.
        case unknown
        case known(Int32)
        /// The id got this row now: it must start as a copy of row 0.
        case born(Int32)
    }

    public init(admission: UInt16, ttl: Int64, cap: Int, sketchBits: Int = 16) {
        precondition(admission >= 1 && cap >= 1, "admission \(admission), cap \(cap)")
        self.admission = admission
        self.ttl = ttl
        self.cap = cap
        sketchMask = (1 << sketchBits) - 1
        sketch = Array(repeating: 0, count: Self.depth << sketchBits)
    }

    /// Rows in use or freed, row 0 included: how long the table must be.
    public var count: Int { ids.count }
    /// Ids that have a row.
    public var admitted: Int { rows.count }

    /// The row of `id`, without counting the sighting.
    public func row(of id: UInt64) -> Int32 { rows[id] ?? 0 }

    /// Counts a sighting of `id` at `time`; where the cap is reached the id that was seen longest ago
    /// (the lowest row among equals) makes room, if that was before `time`.
    public mutating func see(_ id: UInt64, at time: Int64) -> Sighting {
        if let row = rows[id] {
            seen[Int(row)] = max(seen[Int(row)], time)
            return .known(row)
        }
        guard countSighting(id) >= admission else { return .unknown }
        guard let row = takeRow(before: time) else { return .unknown }
        rows[id] = row
        ids[Int(row)] = id
        seen[Int(row)] = time
        return .born(row)
    }

    /// Gives up the rows unseen for `ttl` before `time`; returns them in order. A row whose id was
    /// evicted serves the next one that is born.
    public mutating func evict(at time: Int64) -> [Int32] {
        var evicted: [Int32] = []
        for row in 1..<max(1, ids.count) where seen[row] != .max && time - seen[row] > ttl {
            evicted.append(Int32(row))
        }
        for row in evicted { release(row) }
        free.append(contentsOf: evicted.reversed())
        return evicted
    }

    private mutating func release(_ row: Int32) {
        rows[ids[Int(row)]] = nil
        seen[Int(row)] = .max
    }

    private mutating func takeRow(before time: Int64) -> Int32? {
        if let row = free.popLast() { return row }
        if ids.count < cap {
            ids.append(0)
            seen.append(.max)
            return Int32(ids.count - 1)
        }
        var oldest: Int?
        for row in 1..<max(1, ids.count) where seen[row] < time {
            if oldest.map({ seen[row] < seen[$0] }) ?? true { oldest = row }
        }
        guard let oldest else { return nil }
        release(Int32(oldest))
        return Int32(oldest)
    }

    private mutating func countSighting(_ id: UInt64) -> UInt16 {
        var least = UInt16.max
        var hash = id
        for level in 0..<Self.depth {
            hash = (hash ^ (hash >> 31)) &* 0x9E37_79B9_7F4A_7C15
            let place = level * (sketchMask + 1) + (Int(hash >> 40) & sketchMask)
            if sketch[place] < .max { sketch[place] += 1 }
            least = min(least, sketch[place])
        }
        return least
    }
}

extension EmbeddingTable {
    /// Makes room for `row` and lets it start as the unknown row.
    public func begin(row: Int32) {
        grow(to: Int(row) + 1)
        if row > 0 { self.row(Int(row)).update(from: self.row(0), count: width) }
    }
}
