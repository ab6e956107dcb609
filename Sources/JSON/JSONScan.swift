// The strict scan: one pass over the bytes that accepts RFC 8259 and nothing else, and writes down where
// every value is. Hot readers read this tape; json-c builds trees only from what the scan has accepted.
//
// json-c 0.16 in its strict mode still accepts NaN and Infinity, numbers beyond Double, single quotes and
// unquoted control characters; it saturates big integers, replaces lone surrogates, cuts names at NUL and
// keeps the last of two equal members. A look at every byte closes these holes, and is most of a parser.

import Bytes
import CJSONC

#if canImport(Glibc)
    import Glibc
#endif

/// One value, or one name of a member, on the tape.
///
/// An object is followed by its members, name and value in turn, an array by its elements.
@frozen
@usableFromInline
struct JSONToken: BitwiseCopyable {
    /// The bits of an integer, a number or a truth value; the address of a text; how many members or
    /// elements a container has.
    @usableFromInline var payload: UInt64
    /// The bytes of a text; for a container, the tokens that it takes up with all that is inside.
    @usableFromInline var extent: UInt32
    @usableFromInline var kind: JSONKind

    @inlinable @inline(__always)
    init(_ kind: JSONKind, payload: UInt64, extent: UInt32 = 1) {
        self.payload = payload
        self.extent = extent
        self.kind = kind
    }
}

enum JSONFault {
    case byteOrderMark, tooDeep, invalidUTF8, controlCharacter, unexpectedByte, singleQuote, comment
    case notANumber, unknownWord, badNumber, leadingZero, integerTooLarge, numberTooLarge
    case badEscape, loneSurrogate, nulInName, unfinishedText
    case blank, incomplete, nameMissing, colonMissing, commaMissing, trailing, duplicateMember
}

/// Scans a copy of a text that ends in at least eight NUL bytes, resolving escapes where they stand.
struct JSONScan {
    typealias Bytes = UnsafeMutablePointer<UInt8>

    /// A container that is still open.
    struct Level {
        var token: UnsafeMutablePointer<JSONToken>
        var count: UInt64
        /// A bit for each hash of a name so far: where it is not set, the name is new.
        var names: UInt64
    }

    /// Objects with more members look for equal names when they close, by sorting.
    static let membersComparedSingly: UInt64 = 64

    private let base: Bytes
    private let end: Bytes
    private let levels: UnsafeMutablePointer<Level>
    private let maximumDepth: Int
    private(set) var fault: JSONFault?
    /// The byte at which `fault` was seen.
    private(set) var offset = 0

    /// Scans `count` bytes at `base` into `tokens`, which has room for `count` of them.
    ///
    /// - Parameter levels: room for `maximumDepth` containers.
    init(
        _ base: Bytes, count: Int, into tokens: UnsafeMutablePointer<JSONToken>,
        levels: UnsafeMutablePointer<Level>, maximumDepth: Int
    ) {
        self.base = base
        end = base + count
        self.levels = levels
        self.maximumDepth = maximumDepth
        run(tokens)
    }

    private mutating func run(_ tokens: UnsafeMutablePointer<JSONToken>) {
        var i = base
        var token = tokens
        var depth = 0
        var level = Level(token: tokens, count: 0, names: 0)
        var inObject = false

        value: while true {
            skipSpace(&i)
            switch i.pointee {
            case UInt8(ascii: "\""):
                let start = i + 1
                guard let close = text(start) else { return }
                token.pointee = JSONToken(
                    .text, payload: address(start), extent: length(start, close))
                token += 1
                i = after(close)
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
                guard let next = number(i, token) else { return }
                token += 1
                i = next
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                guard depth < maximumDepth else { return fail(.tooDeep, at: i) }
                levels[depth] = level
                depth &+= 1
                inObject = i.pointee == UInt8(ascii: "{")
                level = Level(token: token, count: 0, names: 0)
                token.pointee = JSONToken(inObject ? .object : .array, payload: 0)
                token += 1
                i += 1
                skipSpace(&i)
                if inObject {
                    guard i.pointee != UInt8(ascii: "}") else { break }
                    guard name(&i, &token, &level) else { return }
                    continue value
                }
                guard i.pointee == UInt8(ascii: "]") else { continue value }
            case UInt8(ascii: "t"):
                guard word("true", i) else { return }
                token.pointee = JSONToken(.boolean, payload: 1)
                token += 1
                i += 4
            case UInt8(ascii: "f"):
                guard word("false", i) else { return }
                token.pointee = JSONToken(.boolean, payload: 0)
                token += 1
                i += 5
            case UInt8(ascii: "n"):
                guard word("null", i) else { return }
                token.pointee = JSONToken(.null, payload: 0)
                token += 1
                i += 4
            default: return failAtValue(i)
            }

            // After a value, or inside an empty container.
            while true {
                skipSpace(&i)
                guard depth > 0 else {
                    if i != end { fail(.trailing, at: i) }
                    return
                }
                let byte = i.pointee
                if byte == UInt8(ascii: ",") {
                    i += 1
                    level.count &+= 1
                    guard inObject else { continue value }
                    skipSpace(&i)
                    guard name(&i, &token, &level) else { return }
                    continue value
                }
                guard byte == (inObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) else {
                    return failAfterValue(i)
                }
                i += 1
                let isEmpty = token == level.token + 1
                level.token.pointee.payload = isEmpty ? 0 : level.count &+ 1
                level.token.pointee.extent = UInt32(truncatingIfNeeded: token - level.token)
                if level.count >= JSONScan.membersComparedSingly && inObject {
                    guard namesDiffer(level, end: token) else { return }
                }
                depth &-= 1
                level = levels[depth]
                inObject = depth > 0 && level.token.pointee.kind == .object
            }
        }
    }

    // MARK: Names

    /// Scans a member's name and its colon.
    @inline(__always)
    private mutating func name(
        _ i: inout Bytes, _ token: inout UnsafeMutablePointer<JSONToken>, _ level: inout Level
    ) -> Bool {
        guard i.pointee == UInt8(ascii: "\"") else { return failAtName(i) }
        let start = i + 1
        guard let close = text(start) else { return false }
        let length = length(start, close)
        i = after(close)
        // Escapes are rare in names; the closing quote has moved if there were any.
        if i != close + 1, memchr(start, 0, Int(length)) != nil {
            return refuse(.nulInName, at: start - 1)
        }
        skipSpace(&i)
        guard i.pointee == UInt8(ascii: ":") else { return failAtColon(i) }
        i += 1
        // The first eight bytes, those behind the name cut off: there are eight NUL bytes at the end.
        var word = UnsafeRawPointer(start).loadUnaligned(as: UInt64.self)
        if length < 8 { word &= (1 &<< (UInt64(length) &* 8)) &- 1 }
        let bit: UInt64 = 1 &<< (((word ^ (UInt64(length) &<< 56)) &* 0x9E37_79B9_7F4A_7C15) &>> 58)
        if level.names & bit != 0, level.count < JSONScan.membersComparedSingly,
            !nameDiffers(start, length, level, end: token)
        {
            return refuse(.duplicateMember, at: start - 1)
        }
        level.names |= bit
        token.pointee = JSONToken(.text, payload: address(start), extent: length)
        token += 1
        return true
    }

    /// Whether no earlier member of the object has this name.
    @inline(never)
    private func nameDiffers(
        _ start: Bytes, _ length: UInt32, _ level: Level, end: UnsafeMutablePointer<JSONToken>
    ) -> Bool {
        var token = level.token + 1
        while token < end {
            if token.pointee.extent == length, memcmp(token.pointee.text, start, Int(length)) == 0 {
                return false
            }
            token += 1
            token += token.pointee.tokens
        }
        return true
    }

    /// Whether the names of a closed object all differ; for large objects.
    @inline(never)
    private mutating func namesDiffer(_ level: Level, end: UnsafeMutablePointer<JSONToken>) -> Bool
    {
        var names: [ByteSlice] = []
        var token = level.token + 1
        while token < end {
            names.append(ByteSlice(token.pointee.text, count: Int(token.pointee.extent)))
            token += 1
            token += token.pointee.tokens
        }
        names.sort { $0.precedes($1) }
        for (a, b) in zip(names, names.dropFirst()) where a.equals(b) {
            return refuse(
                .duplicateMember, at: UnsafeMutablePointer(mutating: max(a.base, b.base)) - 1)
        }
        return true
    }

    // MARK: Text

    /// Where the scan goes on behind a text whose characters end at `close`.
    ///
    /// A text with escapes becomes shorter in place; the bytes left over are marked with 0xFF, which no
    /// UTF-8 holds, up to its closing quote.
    @inline(__always)
    private func after(_ close: Bytes) -> Bytes {
        var i = close
        while i.pointee == 0xFF { i += 1 }
        return i + 1
    }

    /// Scans text from behind its opening quote and resolves its escapes; where its characters end, or nil.
    @inline(__always)
    private mutating func text(_ start: Bytes) -> Bytes? {
        var i = start
        while true {
            // Eight bytes at a time, up to the first that is special; the NUL bytes at the end are.
            let special = specialBytes(UnsafeRawPointer(i).loadUnaligned(as: UInt64.self))
            guard special != 0 else {
                i += 8
                continue
            }
            i += special.trailingZeroBitCount &>> 3
            if i.pointee == UInt8(ascii: "\"") { return i }
            return specialText(i)
        }
    }

    /// The high bit of every byte that is a quote, a backslash, a control character or not ASCII. Above the
    /// lowest one that is set, others may be set by a borrow.
    @inline(__always)
    private func specialBytes(_ word: UInt64) -> UInt64 {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let quote = word ^ (ones &* 0x22)
        let backslash = word ^ (ones &* 0x5C)
        let low = (quote &- ones) | (backslash &- ones) | (word &- (ones &* 0x20))
        return (low | word) & (ones &* 0x80)
    }

    /// Goes on with a text at its first character that is not plain.
    @inline(never)
    private mutating func specialText(_ first: Bytes) -> Bytes? {
        var i = first
        var out = first
        while true {
            let byte = i.pointee
            switch byte {
            case UInt8(ascii: "\""):
                memset(out, 0xFF, i - out)
                return out
            case UInt8(ascii: "\\"):
                guard escape(&i, &out) else { return nil }
            case 0x80...:
                let length = utf8Length(i)
                guard length > 0 else {
                    fail(.invalidUTF8, at: i)
                    return nil
                }
                for _ in 0..<length {
                    out.pointee = i.pointee
                    out += 1
                    i += 1
                }
            case ..<0x20:
                fail(i >= end ? .unfinishedText : .controlCharacter, at: min(i, end))
                return nil
            default:
                out.pointee = byte
                out += 1
                i += 1
            }
        }
    }

    /// Resolves the escape at `i`.
    private mutating func escape(_ i: inout Bytes, _ out: inout Bytes) -> Bool {
        let plain: UInt8
        switch i[1] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): plain = i[1]
        case UInt8(ascii: "b"): plain = 0x08
        case UInt8(ascii: "f"): plain = 0x0C
        case UInt8(ascii: "n"): plain = 0x0A
        case UInt8(ascii: "r"): plain = 0x0D
        case UInt8(ascii: "t"): plain = 0x09
        case UInt8(ascii: "u"): return unicodeEscape(&i, &out)
        default: return refuse(i + 1 >= end ? .unfinishedText : .badEscape, at: i)
        }
        out.pointee = plain
        out += 1
        i += 2
        return true
    }

    private mutating func unicodeEscape(_ i: inout Bytes, _ out: inout Bytes) -> Bool {
        guard let unit = hexadecimalUnit(i + 2) else { return refuse(.badEscape, at: i) }
        var scalar = unit
        var length = 6
        switch unit {
        case 0xD800...0xDBFF:
            guard i[6] == UInt8(ascii: "\\"), i[7] == UInt8(ascii: "u"),
                let low = hexadecimalUnit(i + 8),
                low >= 0xDC00 && low <= 0xDFFF
            else { return refuse(.loneSurrogate, at: i) }
            scalar = 0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00)
            length = 12
        case 0xDC00...0xDFFF: return refuse(.loneSurrogate, at: i)
        default: break
        }
        i += length
        for byte in UTF8.encode(Unicode.Scalar(scalar)!)! {
            out.pointee = byte
            out += 1
        }
        return true
    }

    /// The value of four hexadecimal digits; stops at the first byte that is none.
    private func hexadecimalUnit(_ start: Bytes) -> UInt32? {
        var unit: UInt32 = 0
        for i in 0..<4 {
            let byte = start[i]
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): unit = unit << 4 | UInt32(byte - 48)
            case UInt8(ascii: "a")...UInt8(ascii: "f"): unit = unit << 4 | UInt32(byte - 87)
            case UInt8(ascii: "A")...UInt8(ascii: "F"): unit = unit << 4 | UInt32(byte - 55)
            default: return nil
            }
        }
        return unit
    }

    /// The length of the well-formed UTF-8 sequence at `i` (Unicode 15, table 3-7), 2 to 4; 0 if it is not one.
    private func utf8Length(_ i: Bytes) -> Int {
        func isContinuation(_ byte: UInt8) -> Bool { byte & 0xC0 == 0x80 }
        let second = i[1]
        guard isContinuation(second) else { return 0 }
        switch i.pointee {
        case 0xC2...0xDF: return 2
        case 0xE0: return second >= 0xA0 && isContinuation(i[2]) ? 3 : 0
        case 0xED: return second <= 0x9F && isContinuation(i[2]) ? 3 : 0
        case 0xE1...0xEF: return isContinuation(i[2]) ? 3 : 0
        case 0xF0: return second >= 0x90 && isContinuation(i[2]) && isContinuation(i[3]) ? 4 : 0
        case 0xF4: return second <= 0x8F && isContinuation(i[2]) && isContinuation(i[3]) ? 4 : 0
        case 0xF1...0xF3: return isContinuation(i[2]) && isContinuation(i[3]) ? 4 : 0
        default: return 0
        }
    }

    // MARK: Numbers

    /// Scans a number by the grammar of RFC 8259 into `token`; the byte after it, or nil.
    @inline(__always)
    private mutating func number(_ start: Bytes, _ token: UnsafeMutablePointer<JSONToken>) -> Bytes?
    {
        var i = start
        let isNegative = i.pointee == UInt8(ascii: "-")
        if isNegative { i += 1 }
        let firstDigit = i
        var magnitude: UInt64 = 0
        while true {
            let digit = i.pointee &- UInt8(ascii: "0")
            guard digit < 10 else { break }
            magnitude = magnitude &* 10 &+ UInt64(digit)
            i += 1
        }
        let digits = i - firstDigit
        if digits == 0 || (digits > 1 && firstDigit.pointee == UInt8(ascii: "0")) {
            return failAtNumber(start, i, digits)
        }
        if i.pointee == UInt8(ascii: ".") || i.pointee | 0x20 == UInt8(ascii: "e") {
            return decimal(start, i, magnitude, digits, token)
        }
        // 19 digits fit in 64 bits without a sign, so that what does not fit in Int64 can be seen.
        if digits > 18 {
            let limit = UInt64(Int64.max) + (isNegative ? 1 : 0)
            guard digits == 19 && magnitude <= limit else {
                fail(.integerTooLarge, at: start)
                return nil
            }
        }
        token.pointee = JSONToken(.integer, payload: isNegative ? 0 &- magnitude : magnitude)
        return i
    }

    /// Goes on with a number at its point or exponent.
    private mutating func decimal(
        _ start: Bytes, _ pointOrExponent: Bytes, _ integerPart: UInt64, _ integerDigits: Int,
        _ token: UnsafeMutablePointer<JSONToken>
    ) -> Bytes? {
        var i = pointOrExponent
        var mantissa = integerPart
        var digits = integerDigits
        var exponent = 0
        if i.pointee == UInt8(ascii: ".") {
            i += 1
            let first = i
            while true {
                let digit = i.pointee &- UInt8(ascii: "0")
                guard digit < 10 else { break }
                mantissa = mantissa &* 10 &+ UInt64(digit)
                i += 1
            }
            guard i != first else { return failAtNumber(start, i, 0) }
            digits += i - first
            exponent = first - i
        }
        if i.pointee | 0x20 == UInt8(ascii: "e") {
            i += 1
            let isNegative = i.pointee == UInt8(ascii: "-")
            if isNegative || i.pointee == UInt8(ascii: "+") { i += 1 }
            let first = i
            var power = 0
            while true {
                let digit = i.pointee &- UInt8(ascii: "0")
                guard digit < 10 else { break }
                power = min(power &* 10 &+ Int(digit), 1_000_000)
                i += 1
            }
            guard i != first else { return failAtNumber(start, i, 0) }
            exponent += isNegative ? -power : power
        }
        let value = JSONScan.double(start, mantissa, digits: digits, exponent: exponent)
        guard value.isFinite else {
            fail(.numberTooLarge, at: start)
            return nil
        }
        token.pointee = JSONToken(.number, payload: value.bitPattern)
        return i
    }

    /// The double nearest to the number at `start`.
    @inline(__always)
    private static func double(_ start: Bytes, _ mantissa: UInt64, digits: Int, exponent: Int)
        -> Double
    {
        // Both factors are exact, so one rounding is all there is (Clinger 1990).
        if digits <= 19 && mantissa <= 1 << 53 && exponent >= -22 && exponent <= 22 {
            let magnitude = Double(mantissa)
            let value =
                exponent < 0
                ? magnitude / powersOfTen[-exponent] : magnitude * powersOfTen[exponent]
            return start.pointee == UInt8(ascii: "-") ? -value : value
        }
        return UnsafeRawPointer(start).withMemoryRebound(to: CChar.self, capacity: 1) {
            strtod_l($0, nil, plainLocale)
        }
    }

    // MARK: Words, white space and what went wrong

    @inline(__always)
    private func skipSpace(_ i: inout Bytes) {
        while i.pointee <= 0x20 {
            switch i.pointee {
            case 0x20, 0x0A, 0x0D, 0x09: i += 1
            default: return
            }
        }
    }

    @inline(__always)
    private mutating func word(_ word: StaticString, _ i: Bytes) -> Bool {
        if memcmp(i, word.utf8Start, word.utf8CodeUnitCount) == 0 { return true }
        failAtValue(i)
        return false
    }

    @inline(__always)
    private func address(_ bytes: Bytes) -> UInt64 { UInt64(UInt(bitPattern: bytes)) }

    @inline(__always)
    private func length(_ start: Bytes, _ close: Bytes) -> UInt32 {
        UInt32(truncatingIfNeeded: close - start)
    }

    private mutating func fail(_ fault: JSONFault, at i: Bytes) {
        self.fault = fault
        offset = i - base
    }

    /// As `fail`, for those who answer whether the scan goes on.
    private mutating func refuse(_ fault: JSONFault, at i: Bytes) -> Bool {
        fail(fault, at: i)
        return false
    }

    @inline(never)
    private mutating func failAtNumber(_ start: Bytes, _ i: Bytes, _ digits: Int) -> Bytes? {
        if digits > 1 {
            fail(.leadingZero, at: start)
        } else {
            fail(i.pointee | 0x20 == UInt8(ascii: "i") ? .notANumber : .badNumber, at: start)
        }
        return nil
    }

    @inline(never)
    private mutating func failAtValue(_ i: Bytes) {
        guard i != end else {
            // Nothing but white space, or an end where a value is due.
            var first = base
            skipSpace(&first)
            return fail(first == end ? .blank : .incomplete, at: i)
        }
        switch i.pointee {
        case UInt8(ascii: "'"): fail(.singleQuote, at: i)
        case UInt8(ascii: "/"), UInt8(ascii: "#"): fail(.comment, at: i)
        case UInt8(ascii: "N") where i[1] | 0x20 == UInt8(ascii: "a"), UInt8(ascii: "I"):
            fail(.notANumber, at: i)
        case UInt8(ascii: "n") where i[1] | 0x20 == UInt8(ascii: "a"): fail(.notANumber, at: i)
        case UInt8(ascii: "+"), UInt8(ascii: "."): fail(.badNumber, at: i)
        case 0xEF where i == base && i[1] == 0xBB && i[2] == 0xBF: fail(.byteOrderMark, at: i)
        case 0x80...: fail(utf8Length(i) > 0 ? .unexpectedByte : .invalidUTF8, at: i)
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"):
            fail(end - i < 5 && isBeginningOfWord(i) ? .incomplete : .unknownWord, at: i)
        default: fail(.unexpectedByte, at: i)
        }
    }

    /// Whether the text ends inside `true`, `false` or `null`.
    private func isBeginningOfWord(_ i: Bytes) -> Bool {
        let rest = ByteSlice(i, count: end - i).text
        return ["true", "false", "null"].contains { $0.hasPrefix(rest) }
    }

    @inline(never)
    private mutating func failAtName(_ i: Bytes) -> Bool {
        switch i.pointee {
        case UInt8(ascii: "'"): fail(.singleQuote, at: i)
        case UInt8(ascii: "/"): fail(.comment, at: i)
        default: fail(i == end ? .incomplete : .nameMissing, at: i)
        }
        return false
    }

    @inline(never)
    private mutating func failAtColon(_ i: Bytes) -> Bool {
        fail(i == end ? .incomplete : .colonMissing, at: i)
        return false
    }

    @inline(never)
    private mutating func failAfterValue(_ i: Bytes) {
        switch i.pointee {
        case UInt8(ascii: "/"): fail(.comment, at: i)
        default: fail(i == end ? .incomplete : .commaMissing, at: i)
        }
    }
}

extension JSONToken {
    /// The characters of a text.
    @inlinable @inline(__always)
    var text: UnsafePointer<UInt8> {
        UnsafePointer(bitPattern: UInt(truncatingIfNeeded: payload)).unsafelyUnwrapped
    }

    /// How many tokens the value takes up.
    @inlinable @inline(__always)
    var tokens: Int { kind == .array || kind == .object ? Int(extent) : 1 }
}

/// 10⁰ to 10²², which doubles hold exactly.
private let powersOfTen: [Double] = [
    1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17,
    1e18,
    1e19, 1e20, 1e21, 1e22,
]

/// Numbers are read with a point, whatever the process's locale says.
nonisolated(unsafe) private let plainLocale = newlocale(1 << LC_NUMERIC, "C", nil)!

extension JSONFault {
    var kind: JSONError.Kind {
        switch self {
        case .blank: .empty
        case .tooDeep: .tooDeep
        case .invalidUTF8: .invalidUTF8
        case .integerTooLarge, .numberTooLarge: .numberOutOfRange
        case .duplicateMember: .duplicateMember
        default: .syntax
        }
    }

    func reason(maximumDepth: Int) -> String {
        switch self {
        case .byteOrderMark: "a byte order mark stands before the JSON text"
        case .tooDeep: "the JSON nests deeper than \(maximumDepth) levels"
        case .invalidUTF8: "the bytes are not UTF-8"
        case .controlCharacter: "a control character stands in text without an escape"
        case .unexpectedByte: "a character that begins no value"
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
        case .blank: "there is nothing but white space"
        case .incomplete: "the JSON text is not complete"
        case .nameMissing: "a name in double quotes is missing in an object"
        case .colonMissing: "a colon is missing after a name"
        case .commaMissing: "a comma or the closing bracket is missing after a value"
        case .trailing: "something follows the JSON text"
        case .duplicateMember: "the member is named twice"
        }
    }
}
