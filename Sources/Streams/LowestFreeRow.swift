// Which row a table uses next: always the lowest free one, so that it follows from the contents.

/// A set of free row numbers that gives the lowest in a few steps: a tree of 64-bit words.
struct LowestFreeRow {
    /// `levels[0]` has a bit a row (1 = free); `levels[k]` has a bit a word of `levels[k-1]`
    /// (1 = not zero).
    private var levels: [[UInt64]] = [[]]
    private(set) var count = 0

    /// Adds the rows from the present size up to `rows` as free.
    mutating func grow(to rows: Int) {
        let old = count
        count = rows
        var size = (rows + 63) / 64
        var level = 0
        while true {
            if level == levels.count { levels.append([]) }
            while levels[level].count < size { levels[level].append(0) }
            if size <= 1 { break }
            size = (size + 63) / 64
            level += 1
        }
        // A new top level must know what is below it.
        for level in 1..<max(1, levels.count) {
            for word in levels[level - 1].indices where levels[level - 1][word] != 0 {
                levels[level][word / 64] |= 1 << UInt64(word % 64)
            }
        }
        for row in old..<rows { give(UInt32(row)) }
    }

    /// Removes and returns the lowest free row.
    mutating func take() -> UInt32 {
        var at = 0
        for level in stride(from: levels.count - 1, through: 0, by: -1) {
            let word = levels[level][at]
            precondition(word != 0, "no free row")
            at = at * 64 + word.trailingZeroBitCount
        }
        take(UInt32(at))
        return UInt32(at)
    }

    /// Removes one given row.
    mutating func take(_ row: UInt32) {
        var at = Int(row)
        for level in levels.indices {
            levels[level][at / 64] &= ~(1 << UInt64(at % 64))
            if levels[level][at / 64] != 0 { return }
            at /= 64
        }
    }

    mutating func give(_ row: UInt32) {
        var at = Int(row)
        for level in levels.indices {
            levels[level][at / 64] |= 1 << UInt64(at % 64)
            at /= 64
        }
    }
}
