// Which row a table uses next: always the lowest free one, so that it follows from the contents.

/// A set of free row numbers that gives the lowest in a few steps: a tree of 64-bit words.
@usableFromInline
struct LowestFreeRow: ~Copyable {
    /// Six levels of 64-way words reach every UInt32.
    @usableFromInline static var maximumLevels: Int { 6 }

    /// All levels, one behind the other, level 0 first. Level 0 has a bit a row (1 = free); level k
    /// has a bit a word of level k-1 (1 = not zero).
    @usableFromInline var words: UnsafeMutablePointer<UInt64>
    /// Where each level begins in `words`.
    @usableFromInline let starts: UnsafeMutablePointer<Int>
    @usableFromInline var levels = 1
    @usableFromInline var size = 1
    /// How many rows there are, free or not.
    private(set) var count = 0

    init() {
        words = .allocate(capacity: 1)
        words[0] = 0
        starts = .allocate(capacity: LowestFreeRow.maximumLevels)
        starts.initialize(repeating: 0, count: LowestFreeRow.maximumLevels)
    }

    // Inlinable, or the optimiser of Swift 6.3.1 stops where a store's field is set in a release build.
    @inlinable deinit {
        words.deallocate()
        starts.deallocate()
    }

    var allocatedBytes: Int { size * 8 + LowestFreeRow.maximumLevels * 8 }

    /// Adds the rows from the present count up to `rows` as free.
    mutating func grow(to rows: Int) {
        precondition(rows >= count, "grow from \(count) rows to \(rows)")
        let old = words
        let oldWords = (count + 63) / 64
        levels = 0
        size = 0
        var wordsOfLevel = max(1, (rows + 63) / 64)
        while true {
            starts[levels] = size
            size += wordsOfLevel
            levels += 1
            if wordsOfLevel == 1 { break }
            wordsOfLevel = (wordsOfLevel + 63) / 64
        }
        words = .allocate(capacity: size)
        words.initialize(repeating: 0, count: size)
        for word in 0..<oldWords { words[word] = old[word] }
        old.deallocate()
        for row in count..<rows { words[row / 64] |= 1 << UInt64(row % 64) }
        for level in 1..<max(1, levels) {
            for word in 0..<starts[level] - starts[level - 1]
            where words[starts[level - 1] + word] != 0 {
                words[starts[level] + word / 64] |= 1 << UInt64(word % 64)
            }
        }
        count = rows
    }

    /// Removes and returns the lowest free row.
    @inlinable
    mutating func take() -> UInt32 {
        var at = 0
        var level = levels &- 1
        while level >= 0 {
            let word = words[starts[level] &+ at]
            precondition(word != 0, "no free row")
            at = at &* 64 &+ word.trailingZeroBitCount
            level &-= 1
        }
        take(UInt32(truncatingIfNeeded: at))
        return UInt32(truncatingIfNeeded: at)
    }

    /// Removes one given row.
    @inlinable
    mutating func take(_ row: UInt32) {
        var at = Int(row)
        for level in 0..<levels {
            let word = words + (starts[level] &+ at &>> 6)
            word.pointee &= ~(1 &<< UInt64(at & 63))
            if word.pointee != 0 { return }
            at &>>= 6
        }
    }

    @inlinable
    mutating func give(_ row: UInt32) {
        var at = Int(row)
        for level in 0..<levels {
            let word = words + (starts[level] &+ at &>> 6)
            let wasEmpty = word.pointee == 0
            word.pointee |= 1 &<< UInt64(at & 63)
            if !wasEmpty { return }
            at &>>= 6
        }
    }
}
