// What uncased BERT makes of each character, from a table that was asked of the reference tokenizer.
//
// unicode/folds.txt, written by Tests/TextEncodingTests/golden/folds.py, which explains its lines. A table
// of our own, because the Unicode version of a runtime drifts and ids must not.

/// The fate of every Unicode scalar: lower-cased, stripped of accents, dropped, or a word of its own.
struct UnicodeFolds: Sendable {
    enum Kind: UInt8 {
        /// Becomes `value`, which is part of a word.
        case letter
        /// Becomes `value`, a word of its own.
        case isolated
        case space
        /// Dropped before accents are looked at.
        case dropped
        /// An accent, dropped.
        case accent
        /// An accent, dropped after other marks were put in order around it.
        case fixedAccent
        /// A mark that stays; `value` is its combining class.
        case mark
        /// Becomes several; `value` is a place in `sequences`.
        case several
    }

    /// Of one scalar: three bits of kind, 21 bits of value.
    struct Fate: Equatable {
        let bits: UInt32
        var kind: Kind { Kind(rawValue: UInt8(bits >> 24))! }
        var value: UInt32 { bits & 0xFF_FFFF }
    }

    /// Pages of 256 fates, most of which are shared: `pages[scalar >> 8]` is the start of one.
    private let pages: [Int32]
    private let fates: [UInt32]
    /// Runs of scalars, each ended by 0.
    let sequences: [UInt32]

    static let shared = UnicodeFolds(PackageResources.folds_txt)

    @inline(__always)
    subscript(scalar: UInt32) -> Fate {
        Fate(bits: fates[Int(pages[Int(scalar >> 8)]) &+ Int(scalar & 255)])
    }

    /// - Precondition: `text` is what folds.py writes; the table is part of the program.
    init(_ text: [UInt8]) {
        var all = [UInt32](unsafeUninitializedCapacity: 0x110000) { buffer, count in
            for scalar in 0..<0x110000 { buffer[scalar] = UInt32(scalar) }
            count = 0x110000
        }
        var sequences: [UInt32] = []
        func bits(_ kind: Kind, _ value: UInt32) -> UInt32 { UInt32(kind.rawValue) << 24 | value }
        var isolated: [ClosedRange<Int>] = []
        for line in text.split(separator: UInt8(ascii: "\n")) {
            let fields = line.split(separator: UInt8(ascii: " ")).map {
                String(decoding: $0, as: UTF8.self)
            }
            let numbers = fields.dropFirst().map { Int($0, radix: 16)! }
            let range = numbers[0]...(fields[0] == "=" ? numbers[0] : numbers[1])
            let kind: Kind? =
                switch fields[0] {
                case "-": .dropped
                case "m": .accent
                case "b": .fixedAccent
                case "s": .space
                case "c": .mark
                default: nil
                }
            switch fields[0] {
            case "i": isolated.append(range)
            case "+": for scalar in range { all[scalar] = UInt32(scalar + numbers[2]) }
            case "=":
                all[range.lowerBound] = bits(.several, UInt32(sequences.count))
                sequences += numbers.dropFirst().map { UInt32($0) } + [0]
            default:
                let value = kind == .mark ? UInt32(numbers[2]) : 0
                for scalar in range { all[scalar] = bits(kind!, value) }
            }
        }
        // What a character becomes is a word of its own exactly where that character is one.
        var isAlone = [Bool](repeating: false, count: 0x110000)
        for range in isolated { for scalar in range { isAlone[scalar] = true } }
        for scalar in all.indices where all[scalar] < 0x110000 && isAlone[Int(all[scalar])] {
            all[scalar] |= bits(.isolated, 0)
        }
        var pages: [Int32] = []
        var fates: [UInt32] = []
        var known: [[UInt32]: Int32] = [:]
        for first in stride(from: 0, to: all.count, by: 256) {
            let page = Array(all[first..<first + 256])
            if let place = known[page] {
                pages.append(place)
            } else {
                known[page] = Int32(fates.count)
                pages.append(Int32(fates.count))
                fates += page
            }
        }
        self.pages = pages
        self.fates = fates
        self.sequences = sequences
    }
}
