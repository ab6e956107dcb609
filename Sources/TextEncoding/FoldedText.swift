// A text, lower-cased, without accents and control characters, and cut into words: what both the
// tokenizer of uncased BERT and the hashed n-grams begin with.

import Bytes

/// One folded text at a time, in memory that is used again for the next.
///
/// The same characters, words and order as BertNormalizer (clean text, spaces around CJK, accents
/// stripped after canonical decomposition, lower case) followed by BertPreTokenizer.
struct FoldedText {
    struct Word {
        /// Place of its first byte, and of the first one after it, in `bytes`.
        var start: Int
        var end: Int
        var characters: Int
        /// Punctuation or a CJK character, which is always one word.
        var isIsolated: Bool
    }

    /// UTF-8 of all words, one directly after the other.
    private(set) var bytes: [UInt8] = []
    private(set) var words: [Word] = []

    private let folds = UnicodeFolds.shared
    /// Marks that wait for their order: combining class and scalar.
    private var waiting: [(order: UInt32, scalar: UInt32)] = []
    private var isInside = false

    /// Replaces what was here by the words of `text`. Bytes that are no UTF-8 are left out, as U+FFFD is.
    mutating func fold(_ text: UnsafeBufferPointer<UInt8>) {
        bytes.removeAll(keepingCapacity: true)
        words.removeAll(keepingCapacity: true)
        isInside = false
        var i = 0
        while i < text.count {
            let (scalar, length) = Self.scalar(text, at: i)
            i += length
            if let scalar { take(scalar) }
        }
        settleMarks()
    }

    private mutating func take(_ scalar: UInt32) {
        if scalar >= 0xAC00, scalar <= 0xD7A3 {
            let s = scalar - 0xAC00
            letter(0x1100 + s / 588)
            letter(0x1161 + s % 588 / 28)
            if s % 28 != 0 { letter(0x11A7 + s % 28) }
            return
        }
        let fate = folds[scalar]
        switch fate.kind {
        case .letter: letter(fate.value)
        case .isolated:
            settleMarks()
            begin(isIsolated: true)
            append(fate.value)
            isInside = false
        case .space:
            settleMarks()
            isInside = false
        case .dropped, .accent: break
        case .fixedAccent: settleMarks()
        case .mark: wait(scalar, order: fate.value)
        case .several:
            var place = Int(fate.value)
            while folds.sequences[place] != 0 {
                let part = folds.sequences[place]
                let own = folds[part]
                if own.kind == .mark { wait(part, order: own.value) } else { letter(part) }
                place += 1
            }
        }
    }

    @inline(__always)
    private mutating func letter(_ scalar: UInt32) {
        if !waiting.isEmpty { settleMarks() }
        if !isInside {
            begin(isIsolated: false)
            isInside = true
        }
        append(scalar)
    }

    /// Marks go by their class, equal ones as they came.
    private mutating func wait(_ scalar: UInt32, order: UInt32) {
        var place = waiting.count
        while place > 0, waiting[place - 1].order > order { place -= 1 }
        waiting.insert((order, scalar), at: place)
    }

    private mutating func settleMarks() {
        if waiting.isEmpty { return }
        let marks = waiting
        waiting.removeAll(keepingCapacity: true)
        for mark in marks { letter(mark.scalar) }
    }

    private mutating func begin(isIsolated: Bool) {
        words.append(
            Word(start: bytes.count, end: bytes.count, characters: 0, isIsolated: isIsolated))
    }

    private mutating func append(_ scalar: UInt32) {
        if scalar < 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: scalar))
        } else {
            func tail(_ shift: UInt32) -> UInt8 {
                UInt8(truncatingIfNeeded: 0x80 | scalar >> shift & 0x3F)
            }
            if scalar < 0x800 {
                bytes.append(UInt8(truncatingIfNeeded: 0xC0 | scalar >> 6))
            } else {
                if scalar < 0x10000 {
                    bytes.append(UInt8(truncatingIfNeeded: 0xE0 | scalar >> 12))
                } else {
                    bytes.append(UInt8(truncatingIfNeeded: 0xF0 | scalar >> 18))
                    bytes.append(tail(12))
                }
                bytes.append(tail(6))
            }
            bytes.append(tail(0))
        }
        words[words.count - 1].end = bytes.count
        words[words.count - 1].characters += 1
    }

    /// The scalar at `i` and its bytes; nil and one byte where there is none.
    @inline(__always)
    private static func scalar(_ text: UnsafeBufferPointer<UInt8>, at i: Int) -> (UInt32?, Int) {
        let first = UInt32(text[i])
        if first < 0x80 { return (first, 1) }
        let length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2
        if first < 0xC2 || first > 0xF4 || i + length > text.count { return (nil, 1) }
        var value = first & (0x7F >> UInt32(length))
        for j in 1..<length {
            let next = UInt32(text[i + j])
            if next & 0xC0 != 0x80 { return (nil, 1) }
            value = value << 6 | next & 0x3F
        }
        let least: UInt32 = length == 4 ? 0x10000 : length == 3 ? 0x800 : 0x80
        if value < least || value > 0x10FFFF || value & 0xFFFF_F800 == 0xD800 { return (nil, 1) }
        return (value, length)
    }
}
