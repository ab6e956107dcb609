// Text: where it ends, its escapes resolved in place, its bytes checked to be UTF-8.

import Bytes

#if canImport(Glibc)
    import Glibc
#endif

extension JSONScan {
    /// Where the scan goes on behind a text whose characters end at `close`.
    ///
    /// A text with escapes becomes shorter in place; the bytes left over are marked with 0xFF,
    /// which no UTF-8 holds, up to its closing quote.
    @inline(__always)
    func after(_ close: Bytes) -> Bytes {
        var i = close
        while i.pointee == 0xFF { i += 1 }
        return i + 1
    }

    /// Scans text from behind its opening quote and resolves its escapes; where its characters end,
    /// or nil.
    @inline(__always)
    mutating func text(_ start: Bytes) -> Bytes? {
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

    /// The high bit of every byte that is a quote, a backslash, a control character or not ASCII.
    /// Above the lowest one that is set, others may be set by a borrow.
    @inline(__always)
    func specialBytes(_ word: UInt64) -> UInt64 {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let quote = word ^ (ones &* 0x22)
        let backslash = word ^ (ones &* 0x5C)
        let low = (quote &- ones) | (backslash &- ones) | (word &- (ones &* 0x20))
        return (low | word) & (ones &* 0x80)
    }

    /// Goes on with a text at its first character that is not plain.
    @inline(never)
    mutating func specialText(_ first: Bytes) -> Bytes? {
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
    mutating func escape(_ i: inout Bytes, _ out: inout Bytes) -> Bool {
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

    mutating func unicodeEscape(_ i: inout Bytes, _ out: inout Bytes) -> Bool {
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
    func hexadecimalUnit(_ start: Bytes) -> UInt32? {
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

    /// The length of the well-formed UTF-8 sequence at `i` (Unicode 15, table 3-7), 2 to 4; 0 if it
    /// is not one.
    func utf8Length(_ i: Bytes) -> Int {
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
}
