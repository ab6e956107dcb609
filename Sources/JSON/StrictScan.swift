// One pass over the bytes that closes what json-c leaves open: every token is checked here, json-c only
// has to put them together.
//
// json-c 0.16 in its strict mode still accepts NaN and Infinity, numbers beyond Double, single quotes and
// unquoted control characters; it saturates big integers, replaces lone surrogates, cuts names at NUL
// and keeps the last of two equal members. The pass also counts members: when json-c's objects hold
// fewer, some name stood twice.

import Bytes

#if canImport(Glibc)
    import Glibc
#endif

/// The result of a scan: how many members all objects hold together, or the first fault.
struct StrictScan {
    enum Fault {
        case none, byteOrderMark, tooDeep, invalidUTF8, controlCharacter, unexpectedByte,
            singleQuote, comment
        case notANumber, unknownWord, badNumber, leadingZero, integerTooLarge, numberTooLarge
        case badEscape, loneSurrogate, nulInName, unfinishedText
    }

    private(set) var fault = Fault.none
    /// The byte at which `fault` was seen.
    private(set) var offset = 0
    private(set) var members = 0

    private let bytes: ByteSlice

    init(_ bytes: ByteSlice, maximumDepth: Int) {
        self.bytes = bytes
        run(maximumDepth: maximumDepth)
    }

    private mutating func run(maximumDepth: Int) {
        let base = bytes.base
        let count = bytes.count
        var i = 0
        var depth = 0
        var members = 0
        while i < count {
            switch base[i] {
            case UInt8(ascii: "\""):
                i = text(from: i)
                if i < 0 { return }
            case UInt8(ascii: ":"):
                members &+= 1
                i &+= 1
            case UInt8(ascii: ","), 0x20, 0x0A, 0x0D, 0x09:
                i &+= 1
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth &+= 1
                if depth > maximumDepth { return fail(.tooDeep, at: i) }
                i &+= 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth &-= 1
                i &+= 1
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
                i = number(from: i)
                if i < 0 { return }
            case UInt8(ascii: "t"):
                i = word("true", from: i)
                if i < 0 { return }
            case UInt8(ascii: "f"):
                i = word("false", from: i)
                if i < 0 { return }
            case UInt8(ascii: "n"):
                i = word("null", from: i)
                if i < 0 { return }
            default:
                return failUnexpected(at: i)
            }
        }
        self.members = members
    }

    private mutating func fail(_ fault: Fault, at offset: Int) {
        self.fault = fault
        self.offset = offset
    }

    /// Records the fault; the result tells the caller to stop.
    @inline(never)
    private mutating func stop(_ fault: Fault, at offset: Int) -> Int {
        fail(fault, at: offset)
        return -1
    }

    @inline(never)
    private mutating func failUnexpected(at i: Int) {
        switch bytes[i] {
        case UInt8(ascii: "'"): fail(.singleQuote, at: i)
        case UInt8(ascii: "/"), UInt8(ascii: "#"): fail(.comment, at: i)
        case UInt8(ascii: "N"), UInt8(ascii: "I"): fail(.notANumber, at: i)
        case UInt8(ascii: "+"), UInt8(ascii: "."): fail(.badNumber, at: i)
        case 0xEF where i == 0 && bytes.count >= 3 && bytes[1] == 0xBB && bytes[2] == 0xBF:
            fail(.byteOrderMark, at: i)
        case 0x80...:
            // Outside of text nothing but ASCII may stand; whether it is UTF-8 decides the sentence.
            fail(utf8Length(at: i) > 0 ? .unexpectedByte : .invalidUTF8, at: i)
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"):
            fail(.unknownWord, at: i)
        default: fail(.unexpectedByte, at: i)
        }
    }

    /// Scans the text whose opening quote is at `start`; the byte after its closing quote, or -1.
    @inline(__always)
    private mutating func text(from start: Int) -> Int {
        let base = bytes.base
        let count = bytes.count
        var i = start &+ 1
        while true {
            // Eight bytes at a time, up to the first that is special.
            while i &+ 8 <= count {
                let word = UnsafeRawPointer(base + i).loadUnaligned(as: UInt64.self)
                let special = specialBytes(word)
                if special != 0 {
                    i &+= special.trailingZeroBitCount &>> 3
                    break
                }
                i &+= 8
            }
            guard i < count else { return stop(.unfinishedText, at: count) }
            let byte = base[i]
            if byte == UInt8(ascii: "\"") { return i &+ 1 }
            if byte == UInt8(ascii: "\\") || byte < 0x20 || byte >= 0x80 {
                i = special(byte, at: i, start: start)
                if i < 0 { return -1 }
            } else {
                i &+= 1
            }
        }
    }

    /// The high bit of every byte that is a quote, a backslash, a control character or not ASCII. Above the
    /// lowest one that is set, others may be set by a borrow.
    @inline(__always)
    private func specialBytes(_ word: UInt64) -> UInt64 {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let highs: UInt64 = 0x8080_8080_8080_8080
        let quote = word ^ (ones &* 0x22)
        let backslash = word ^ (ones &* 0x5C)
        let low = (quote &- ones) | (backslash &- ones) | (word &- (ones &* 0x20))
        return (low | word) & highs
    }

    /// Handles an escape, a control character or the first byte of a longer UTF-8 sequence inside text.
    @inline(never)
    private mutating func special(_ byte: UInt8, at i: Int, start: Int) -> Int {
        if byte < 0x20 { return stop(.controlCharacter, at: i) }
        if byte >= 0x80 {
            let length = utf8Length(at: i)
            return length > 0 ? i + length : stop(.invalidUTF8, at: i)
        }
        guard i + 1 < bytes.count else { return stop(.unfinishedText, at: bytes.count) }
        switch bytes[i + 1] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"),
            UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            return i + 2
        case UInt8(ascii: "u"): return unicodeEscape(at: i, start: start)
        default: return stop(.badEscape, at: i)
        }
    }

    private mutating func unicodeEscape(at i: Int, start: Int) -> Int {
        guard let unit = hexadecimalUnit(at: i + 2) else { return stop(.badEscape, at: i) }
        switch unit {
        case 0:
            return isName(textFrom: start) ? stop(.nulInName, at: i) : i + 6
        case 0xD800...0xDBFF:
            guard i + 7 < bytes.count, bytes[i + 6] == UInt8(ascii: "\\"),
                bytes[i + 7] == UInt8(ascii: "u"),
                let low = hexadecimalUnit(at: i + 8), low >= 0xDC00 && low <= 0xDFFF
            else { return stop(.loneSurrogate, at: i) }
            return i + 12
        case 0xDC00...0xDFFF: return stop(.loneSurrogate, at: i)
        default: return i + 6
        }
    }

    private func hexadecimalUnit(at start: Int) -> UInt32? {
        guard start + 4 <= bytes.count else { return nil }
        var unit: UInt32 = 0
        for i in start..<start + 4 {
            switch bytes[i] {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): unit = unit << 4 | UInt32(bytes[i] - 48)
            case UInt8(ascii: "a")...UInt8(ascii: "f"): unit = unit << 4 | UInt32(bytes[i] - 87)
            case UInt8(ascii: "A")...UInt8(ascii: "F"): unit = unit << 4 | UInt32(bytes[i] - 55)
            default: return nil
            }
        }
        return unit
    }

    /// Whether a colon follows the text whose opening quote is at `start`.
    private func isName(textFrom start: Int) -> Bool {
        var i = start + 1
        while i < bytes.count && bytes[i] != UInt8(ascii: "\"") {
            i += bytes[i] == UInt8(ascii: "\\") ? 2 : 1
        }
        i += 1
        while i < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[i]) { i += 1 }
        return i < bytes.count && bytes[i] == UInt8(ascii: ":")
    }

    /// The length of the well-formed UTF-8 sequence at `i` (Unicode 15, table 3-7), 2 to 4; 0 if it is not one.
    private func utf8Length(at i: Int) -> Int {
        func isContinuation(_ index: Int) -> Bool {
            index < bytes.count && bytes[index] & 0xC0 == 0x80
        }
        guard isContinuation(i + 1) else { return 0 }
        let second = bytes[i + 1]
        switch bytes[i] {
        case 0xC2...0xDF: return 2
        case 0xE0: return second >= 0xA0 && isContinuation(i + 2) ? 3 : 0
        case 0xED: return second <= 0x9F && isContinuation(i + 2) ? 3 : 0
        case 0xE1...0xEF: return isContinuation(i + 2) ? 3 : 0
        case 0xF0: return second >= 0x90 && isContinuation(i + 2) && isContinuation(i + 3) ? 4 : 0
        case 0xF4: return second <= 0x8F && isContinuation(i + 2) && isContinuation(i + 3) ? 4 : 0
        case 0xF1...0xF3: return isContinuation(i + 2) && isContinuation(i + 3) ? 4 : 0
        default: return 0
        }
    }

    /// Scans a number by the grammar of RFC 8259; the byte after it, or -1.
    @inline(__always)
    private mutating func number(from start: Int) -> Int {
        let base = bytes.base
        let count = bytes.count
        var i = start
        if base[i] == UInt8(ascii: "-") { i &+= 1 }
        let firstDigit = i
        while i < count, isDigit(base[i]) { i &+= 1 }
        let digits = i &- firstDigit
        if digits == 0 { return stop(isInfinity(at: i) ? .notANumber : .badNumber, at: start) }
        if digits > 1 && base[firstDigit] == UInt8(ascii: "0") {
            return stop(.leadingZero, at: start)
        }
        let isInteger =
            i == count || (base[i] != UInt8(ascii: ".") && base[i] | 0x20 != UInt8(ascii: "e"))
        if isInteger {
            if digits > 18 && !fitsInt64(start, i) { return stop(.integerTooLarge, at: start) }
        } else {
            i = fraction(start, i)
            if i < 0 { return -1 }
        }
        return endsToken(at: i) ? i : stop(.badNumber, at: start)
    }

    /// Scans fraction and exponent of the number that began at `start`, from `position` on.
    private mutating func fraction(_ start: Int, _ position: Int) -> Int {
        let base = bytes.base
        let count = bytes.count
        var i = position
        var mayOverflow = position - start > 300
        if base[i] == UInt8(ascii: ".") {
            i &+= 1
            let first = i
            while i < count, isDigit(base[i]) { i &+= 1 }
            if i == first { return stop(.badNumber, at: start) }
        }
        if i < count, base[i] | 0x20 == UInt8(ascii: "e") {
            i &+= 1
            if i < count, base[i] == UInt8(ascii: "+") || base[i] == UInt8(ascii: "-") { i &+= 1 }
            let first = i
            while i < count, isDigit(base[i]) { i &+= 1 }
            if i == first { return stop(.badNumber, at: start) }
            mayOverflow = true
        }
        if mayOverflow && !isFinite(start, i) { return stop(.numberTooLarge, at: start) }
        return i
    }

    @inline(__always)
    private func isDigit(_ byte: UInt8) -> Bool { byte &- UInt8(ascii: "0") < 10 }

    /// Whether a token may end before `i`: at the end of the bytes, a separator or white space.
    @inline(__always)
    private func endsToken(at i: Int) -> Bool {
        guard i < bytes.count else { return true }
        switch bytes[i] {
        case UInt8(ascii: ","), UInt8(ascii: "}"), UInt8(ascii: "]"), 0x20, 0x0A, 0x0D, 0x09:
            return true
        default: return false
        }
    }

    private func isInfinity(at i: Int) -> Bool {
        i < bytes.count && bytes[i] | 0x20 == UInt8(ascii: "i")
    }

    private func fitsInt64(_ start: Int, _ end: Int) -> Bool {
        Int64(bytes.slice(start, end).text) != nil
    }

    private func isFinite(_ start: Int, _ end: Int) -> Bool {
        strtod(bytes.slice(start, end).text, nil).isFinite
    }

    @inline(__always)
    private mutating func word(_ word: StaticString, from start: Int) -> Int {
        let end = start &+ word.utf8CodeUnitCount
        guard end <= bytes.count,
            memcmp(bytes.base + start, word.utf8Start, word.utf8CodeUnitCount) == 0,
            endsToken(at: end)
        else { return stop(isNan(at: start) ? .notANumber : .unknownWord, at: start) }
        return end
    }

    private func isNan(at i: Int) -> Bool {
        i + 3 <= bytes.count && bytes[i] | 0x20 == UInt8(ascii: "n")
            && bytes[i + 1] | 0x20 == UInt8(ascii: "a")
            && bytes[i + 2] | 0x20 == UInt8(ascii: "n")
    }
}

extension StrictScan.Fault {
    var kind: JSONError.Kind {
        switch self {
        case .tooDeep: .tooDeep
        case .invalidUTF8: .invalidUTF8
        case .integerTooLarge, .numberTooLarge: .numberOutOfRange
        default: .syntax
        }
    }

    func reason(maximumDepth: Int) -> String {
        switch self {
        case .none: "no fault"
        case .byteOrderMark: "a byte order mark stands before the JSON text"
        case .tooDeep: "the JSON nests deeper than \(maximumDepth) levels"
        case .invalidUTF8: "the bytes are not UTF-8"
        case .controlCharacter: "a control character stands in text without an escape"
        case .unexpectedByte: "a character that JSON does not know"
        case .singleQuote: "text stands in single quotes; JSON takes double quotes only"
        case .comment: "a comment; JSON has none"
        case .notANumber: "NaN and Infinity are not JSON"
        case .unknownWord: "a word that is neither true, false nor null"
        case .badNumber: "not a number as JSON writes it"
        case .leadingZero: "a number begins with a needless 0"
        case .integerTooLarge: "an integer does not fit in 64 bits"
        case .numberTooLarge: "a number is too large for a double"
        case .badEscape: "an unknown escape in text"
        case .loneSurrogate: "half of a surrogate pair is escaped without its other half"
        case .nulInName: "a name of a member holds the character NUL"
        case .unfinishedText: "the text is not closed"
        }
    }
}
