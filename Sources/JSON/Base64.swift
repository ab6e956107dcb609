// Base64 (RFC 4648, padded): how bytes that need not be text travel inside JSON.

import Bytes

public enum Base64 {
    private static let alphabet: StaticString =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

    /// Writes `(bytes.count + 2) / 3 * 4` characters to `out` and returns how many.
    static func encode(_ bytes: ByteSlice, to out: UnsafeMutablePointer<UInt8>) -> Int {
        let letters = alphabet.utf8Start
        var written = 0
        var i = 0
        while i < bytes.count {
            let left = bytes.count - i
            let a = UInt32(bytes[i])
            let b = left > 1 ? UInt32(bytes[i + 1]) : 0
            let c = left > 2 ? UInt32(bytes[i + 2]) : 0
            let word = a << 16 | b << 8 | c
            out[written] = letters[Int(word >> 18)]
            out[written + 1] = letters[Int(word >> 12 & 63)]
            out[written + 2] = left > 1 ? letters[Int(word >> 6 & 63)] : UInt8(ascii: "=")
            out[written + 3] = left > 2 ? letters[Int(word & 63)] : UInt8(ascii: "=")
            written += 4
            i += 3
        }
        return written
    }

    /// The bytes that `text` stands for; nil unless it is base64 as `encode` writes it.
    public static func decode(_ text: ByteSlice) -> [UInt8]? {
        var bytes = ByteBuffer(capacity: text.count / 4 * 3)
        return decode(text, into: &bytes) ? bytes.slice.copy() : nil
    }

    /// Appends the bytes that `text` stands for.
    ///
    /// - Returns: false, with `bytes` as it was, unless `text` is base64 as `encode` writes it.
    public static func decode(_ text: ByteSlice, into bytes: inout ByteBuffer) -> Bool {
        guard text.count % 4 == 0 else { return false }
        let start = bytes.count
        bytes.reserve(text.count / 4 * 3)
        var i = 0
        while i < text.count {
            let isLast = i + 4 == text.count
            let padding =
                !isLast || text[i + 3] != UInt8(ascii: "=")
                ? 0 : text[i + 2] == UInt8(ascii: "=") ? 2 : 1
            var word: UInt32 = 0
            var isValid = true
            for j in 0..<4 {
                let letter = j < 4 - padding ? value(of: text[i + j]) : 0
                isValid = isValid && letter != nil
                word = word << 6 | (letter ?? 0)
            }
            // The bits that padding leaves over must be 0, or two texts would stand for the same
            // bytes.
            if padding == 1 && word & 0xFF != 0 || padding == 2 && word & 0xFFFF != 0 {
                isValid = false
            }
            guard isValid else {
                bytes.truncate(to: start)
                return false
            }
            bytes.append(UInt8(truncatingIfNeeded: word >> 16))
            if padding < 2 { bytes.append(UInt8(truncatingIfNeeded: word >> 8)) }
            if padding < 1 { bytes.append(UInt8(truncatingIfNeeded: word)) }
            i += 4
        }
        return true
    }

    private static func value(of letter: UInt8) -> UInt32? {
        switch letter {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(letter - UInt8(ascii: "A"))
        case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(letter - UInt8(ascii: "a")) + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(letter - UInt8(ascii: "0")) + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
