// The order of a domain's items by score, kept up to date by merging what changed.

/// Rows by falling score, equal scores by row.
struct Ranking {
    var rows: [UInt32] = []
    private var merged: [UInt32] = []

    mutating func sort(by score: (UInt32) -> Float) {
        rows.sort { a, b in
            let (x, y) = (score(a), score(b))
            return x > y || (x == y && a < b)
        }
    }

    /// Takes `changed` rows out and puts them in again at their new scores.
    ///
    /// - Parameters:
    ///   - changed: reordered by score here.
    ///   - isStale: whether a row no longer stands where it stood: it changed, or is gone.
    ///   - ranked: called with every changed row and its rank from 1.
    mutating func update(
        _ changed: inout [UInt32], isStale: (UInt32) -> Bool, score: (UInt32) -> Float,
        ranked: (UInt32, Int) -> Void
    ) {
        func precedes(_ a: UInt32, _ b: UInt32) -> Bool {
            let (x, y) = (score(a), score(b))
            return x > y || (x == y && a < b)
        }
        changed.sort(by: precedes)
        merged.removeAll(keepingCapacity: true)
        merged.reserveCapacity(rows.count + changed.count)
        var next = 0
        for row in rows where !isStale(row) {
            while next < changed.count, precedes(changed[next], row) {
                merged.append(changed[next])
                ranked(changed[next], merged.count)
                next += 1
            }
            merged.append(row)
        }
        while next < changed.count {
            merged.append(changed[next])
            ranked(changed[next], merged.count)
            next += 1
        }
        swap(&rows, &merged)
    }
}

/// Rows that are put in the order of `Ranking` once.
struct RankedOnce {
    /// Scores are not negative, so their bits order them; inverted, they fall. The row stands behind.
    private var keys: [UInt64] = []

    mutating func removeAll() { keys.removeAll(keepingCapacity: true) }

    mutating func append(_ row: UInt32, score: Float) {
        keys.append(UInt64(~score.bitPattern) << 32 | UInt64(row))
    }

    /// Calls `body` with every row, highest score first.
    mutating func forEachSorted(_ body: (UInt32) -> Void) {
        keys.withUnsafeMutableBufferPointer { keys in
            // So few that insertion is faster.
            guard keys.count <= 64 else { return keys.sort() }
            for i in 1..<max(1, keys.count) {
                let key = keys[i]
                var at = i
                while at > 0, keys[at - 1] > key {
                    keys[at] = keys[at - 1]
                    at -= 1
                }
                keys[at] = key
            }
        }
        for key in keys { body(UInt32(truncatingIfNeeded: key)) }
    }
}

/// The most frequent queries of a domain by decayed count, equally frequent ones by row.
///
/// Weights grow only when a query is seen, so the top can be kept by looking at that query alone; it
/// follows from the weights, whatever the order of the offers.
struct HeadQueries {
    private(set) var rows: [(row: UInt32, weight: Double)] = []

    /// Tells the present weight of a query.
    mutating func offer(_ row: UInt32, weight: Double, limit: Int) {
        func precedes(_ other: (row: UInt32, weight: Double)) -> Bool {
            weight > other.weight || (weight == other.weight && row < other.row)
        }
        if let at = rows.firstIndex(where: { $0.row == row }) {
            rows.remove(at: at)
        } else if rows.count >= limit {
            guard let last = rows.last, precedes(last) else { return }
            rows.removeLast()
        }
        guard limit > 0 else { return }
        rows.insert((row, weight), at: rows.firstIndex { precedes($0) } ?? rows.count)
    }

    /// Takes a query out that is gone; true if another one must be found for its place.
    mutating func remove(_ row: UInt32) -> Bool {
        guard let at = rows.firstIndex(where: { $0.row == row }) else { return false }
        rows.remove(at: at)
        return true
    }

    mutating func removeAll() { rows.removeAll(keepingCapacity: true) }
}
