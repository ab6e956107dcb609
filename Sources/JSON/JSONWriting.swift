// Canonical JSON, written straight into a reused byte buffer: one value has one spelling.
//
// Rules: members in byte order of their names (whoever writes a record writes them so), no white
// space, integers as integers, other numbers in the shortest form that reads back as the same bits,
// text with the fewest escapes. Commas need no state: a value never ends in "{" or "[", so the last
// byte tells.

import Bytes

#if canImport(Glibc)
    import Glibc
#endif

extension ByteBuffer {
    /// Starts an object that stands by itself, whatever the buffer held before.
    @inlinable public mutating func openRecord() { append(UInt8(ascii: "{")) }

    /// Starts an object, as the next element or member value.
    @inlinable public mutating func openObject() {
        separate()
        append(UInt8(ascii: "{"))
    }

    @inlinable public mutating func closeObject() { append(UInt8(ascii: "}")) }

    /// Starts an array, as the next element or member value.
    @inlinable public mutating func openArray() {
        separate()
        append(UInt8(ascii: "["))
    }

    @inlinable public mutating func closeArray() { append(UInt8(ascii: "]")) }

    /// Writes the comma before a further member or element; nothing at the beginning and after a
    /// name.
    @inlinable mutating func separate() {
        guard let last = lastByte else { return }
        switch last {
        case UInt8(ascii: "{"), UInt8(ascii: "["), UInt8(ascii: ":"): return
        default: append(UInt8(ascii: ","))
        }
    }

    /// Writes a member's name; its value must follow. `name` must need no escape.
    @inlinable public mutating func name(_ name: StaticString) {
        separate()
        let length = name.utf8CodeUnitCount
        appendUninitialized(length + 3) { out in
            out[0] = UInt8(ascii: "\"")
            memcpy(out + 1, name.utf8Start, length)
            out[length + 1] = UInt8(ascii: "\"")
            out[length + 2] = UInt8(ascii: ":")
            return length + 3
        }
    }

    /// Writes a member's name that comes from data; its value must follow.
    @inlinable public mutating func name(_ name: ByteSlice) {
        separate()
        appendJSONText(name)
        append(UInt8(ascii: ":"))
    }

    @inlinable public mutating func element(_ text: ByteSlice) {
        separate()
        appendJSONText(text)
    }

    @inlinable public mutating func element(_ integer: Int64) {
        separate()
        appendJSON(integer)
    }

    @inlinable public mutating func element(_ integer: Int) { element(Int64(integer)) }

    /// - Precondition: `number` is finite.
    @inlinable public mutating func element(_ number: Double) {
        separate()
        appendJSON(number)
    }

    @inlinable public mutating func element(_ truth: Bool) {
        separate()
        append(truth ? "true" : "false")
    }

    @inlinable public mutating func elementNull() {
        separate()
        append("null" as StaticString)
    }

    /// Writes 16 hexadecimal digits as text: how hashes travel.
    @inlinable public mutating func element(hash: UInt64) {
        separate()
        appendUninitialized(18) { out in
            out[0] = UInt8(ascii: "\"")
            for i in 0..<16 {
                let digit = UInt8(truncatingIfNeeded: hash &>> UInt64(60 &- 4 &* i)) & 15
                out[i + 1] =
                    digit < 10 ? digit &+ UInt8(ascii: "0") : digit &+ (UInt8(ascii: "a") &- 10)
            }
            out[17] = UInt8(ascii: "\"")
            return 18
        }
    }

    /// Writes bytes as base64 text (RFC 4648, padded).
    public mutating func element(base64 bytes: ByteSlice) {
        separate()
        append(UInt8(ascii: "\""))
        appendUninitialized((bytes.count + 2) / 3 * 4) { Base64.encode(bytes, to: $0) }
        append(UInt8(ascii: "\""))
    }

    @inlinable public mutating func member(_ name: StaticString, _ text: ByteSlice) {
        self.name(name)
        appendJSONText(text)
    }

    @inlinable public mutating func member(_ name: StaticString, _ text: StaticString) {
        self.name(name)
        appendJSONText(ByteSlice(text.utf8Start, count: text.utf8CodeUnitCount))
    }

    @inlinable public mutating func member(_ name: StaticString, _ integer: Int64) {
        self.name(name)
        appendJSON(integer)
    }

    @inlinable public mutating func member(_ name: StaticString, _ integer: Int) {
        self.name(name)
        appendJSON(Int64(integer))
    }

    /// - Precondition: `number` is finite.
    @inlinable public mutating func member(_ name: StaticString, _ number: Double) {
        self.name(name)
        appendJSON(number)
    }

    @inlinable public mutating func member(_ name: StaticString, _ truth: Bool) {
        self.name(name)
        append(truth ? "true" : "false")
    }

    @inlinable public mutating func member(_ name: StaticString, hash: UInt64) {
        self.name(name)
        element(hash: hash)
    }

    @inlinable public mutating func memberNull(_ name: StaticString) {
        self.name(name)
        append("null" as StaticString)
    }

    // An absent value writes nothing.

    @inlinable public mutating func member(_ name: StaticString, _ text: ByteSlice?) {
        if let text { member(name, text) }
    }

    @inlinable public mutating func member(_ name: StaticString, _ integer: Int64?) {
        if let integer { member(name, integer) }
    }

    @inlinable public mutating func member(_ name: StaticString, _ integer: Int?) {
        if let integer { member(name, integer) }
    }

    @inlinable public mutating func member(_ name: StaticString, _ number: Double?) {
        if let number { member(name, number) }
    }

    @inlinable public mutating func member(_ name: StaticString, hash: UInt64?) {
        if let hash { member(name, hash: hash) }
    }

    // An absent value writes null: for fields that are always there.

    @inlinable public mutating func member(_ name: StaticString, orNull text: ByteSlice?) {
        if let text { member(name, text) } else { memberNull(name) }
    }

    @inlinable public mutating func member(_ name: StaticString, orNull number: Double?) {
        if let number { member(name, number) } else { memberNull(name) }
    }
}

extension ByteBuffer {
    /// Appends a decimal integer.
    public mutating func appendJSON(_ integer: Int64) {
        reserve(20)
        appendUninitialized(20) { out in
            var start = 0
            if integer < 0 {
                out[0] = UInt8(ascii: "-")
                start = 1
            }
            var rest = integer.magnitude
            let length = start + decimalDigits(rest)
            var end = length
            while rest >= 100 {
                let pair = Int(truncatingIfNeeded: rest % 100)
                rest /= 100
                end &-= 2
                out[end] = UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: pair / 10)
                out[end &+ 1] = UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: pair % 10)
            }
            if rest >= 10 {
                out[start] = UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: rest / 10)
                out[start + 1] = UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: rest % 10)
            } else {
                out[start] = UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: rest)
            }
            return length
        }
    }

    /// Appends a number: integral values up to 2^53 as integers (minus zero as 0), others in the
    /// shortest form that reads back as the same value.
    ///
    /// - Precondition: `number` is finite; JSON has no word for the rest.
    public mutating func appendJSON(_ number: Double) {
        precondition(number.isFinite, "\(number) cannot be written as JSON")
        if number.magnitude <= 0x1p53 {
            let integer = Int64(number)
            if Double(integer) == number {
                appendJSON(integer)
                return
            }
        }
        if appendShortDecimal(number) { return }
        appendUninitialized(32) { out in
            var stream = ShortestDigits(out: out)
            number.write(to: &stream)
            return stream.count
        }
    }

    /// Appends a number that is no integer and has at most ten decimal places and 15 digits; false where
    /// it is another.
    ///
    /// Two decimals of at most 15 digits never read back as the same number, so the one that reads back as
    /// `number` is the shortest.
    private mutating func appendShortDecimal(_ number: Double) -> Bool {
        let magnitude = number.magnitude
        guard magnitude >= 1e-4, magnitude < 1e5 else { return false }
        let scaled = (magnitude * 1e10).rounded()
        guard scaled / 1e10 == magnitude else { return false }
        let digits = UInt64(scaled)
        if number < 0 { append(UInt8(ascii: "-")) }
        appendJSON(Int64(digits / 10_000_000_000))
        appendUninitialized(11) { out in
            var rest = digits % 10_000_000_000
            out[0] = UInt8(ascii: ".")
            for place in stride(from: 10, through: 1, by: -1) {
                out[place] = UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: rest % 10)
                rest /= 10
            }
            var length = 11
            while out[length &- 1] == UInt8(ascii: "0") { length &-= 1 }
            return length
        }
        return true
    }

    /// Appends text in quotes with the fewest escapes: quote, backslash and control characters.
    public mutating func appendJSONText(_ text: ByteSlice) {
        reserve(text.count + 2)
        append(UInt8(ascii: "\""))
        var clean = 0
        var i = 0
        let count = text.count
        let raw = UnsafeRawPointer(text.base)
        while i < count {
            if i &+ 8 <= count,
                !mayNeedEscape(raw.loadUnaligned(fromByteOffset: i, as: UInt64.self))
            {
                i &+= 8
                continue
            }
            let byte = text.base[i]
            if byte >= 0x20 && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\") {
                i &+= 1
                continue
            }
            append(ByteSlice(text.base + clean, count: i - clean))
            appendEscape(byte)
            i &+= 1
            clean = i
        }
        append(ByteSlice(text.base + clean, count: count - clean))
        append(UInt8(ascii: "\""))
    }

    private mutating func appendEscape(_ byte: UInt8) {
        append(UInt8(ascii: "\\"))
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): append(byte)
        case 0x08: append(UInt8(ascii: "b"))
        case 0x09: append(UInt8(ascii: "t"))
        case 0x0A: append(UInt8(ascii: "n"))
        case 0x0C: append(UInt8(ascii: "f"))
        case 0x0D: append(UInt8(ascii: "r"))
        default:
            append("u00" as StaticString)
            append(byte < 0x10 ? UInt8(ascii: "0") : UInt8(ascii: "1"))
            let low = byte & 15
            append(low < 10 ? UInt8(ascii: "0") + low : UInt8(ascii: "a") + (low - 10))
        }
    }
}

/// Whether any of eight bytes is a quote, a backslash or below 0x20 (it may also say so of a byte
/// above 0x7F that borrows; the caller then looks byte by byte).
@inline(__always)
private func mayNeedEscape(_ word: UInt64) -> Bool {
    let ones: UInt64 = 0x0101_0101_0101_0101
    let highs: UInt64 = 0x8080_8080_8080_8080
    let quote = word ^ (ones &* 0x22)
    let backslash = word ^ (ones &* 0x5C)
    let control = (word &- ones &* 0x20) & ~word
    return (((quote &- ones) & ~quote) | ((backslash &- ones) & ~backslash) | control) & highs != 0
}

/// How many decimal digits `value` has; 1 for 0.
@inline(__always)
private func decimalDigits(_ value: UInt64) -> Int {
    var digits = 1
    var limit: UInt64 = 10
    while digits < 20 && value >= limit {
        digits &+= 1
        if digits == 20 { break }
        limit = limit &* 10
    }
    return digits
}

/// Catches what `Double.write(to:)` says, as bytes.
private struct ShortestDigits: TextOutputStream {
    let out: UnsafeMutablePointer<UInt8>
    var count = 0

    /// The standard library hands number digits over through this; `write` is what it falls back
    /// to.
    mutating func _writeASCII(_ buffer: UnsafeBufferPointer<UInt8>) {
        memcpy(out + count, buffer.baseAddress!, buffer.count)
        count += buffer.count
    }

    mutating func write(_ string: String) {
        for byte in string.utf8 {
            out[count] = byte
            count += 1
        }
    }
}
