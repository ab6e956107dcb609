// Numbers by the grammar of RFC 8259: integers exactly, others to the nearest double.

import Bytes
import CJSONC

#if canImport(Glibc)
    import Glibc
#endif

extension JSONScan {
    /// Scans a number by the grammar of RFC 8259 into `token`; the byte after it, or nil.
    @inline(__always)
    mutating func number(_ start: Bytes, _ token: UnsafeMutablePointer<JSONToken>) -> Bytes? {
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
    mutating func decimal(
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
    static func double(_ start: Bytes, _ mantissa: UInt64, digits: Int, exponent: Int)
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
}

/// 10⁰ to 10²², which doubles hold exactly.
private let powersOfTen: [Double] = [
    1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17,
    1e18,
    1e19, 1e20, 1e21, 1e22,
]

/// Numbers are read with a point, whatever the process's locale says.
nonisolated(unsafe) private let plainLocale = newlocale(1 << LC_NUMERIC, "C", nil)!
