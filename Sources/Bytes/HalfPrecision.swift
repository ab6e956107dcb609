// Half precision: numbers of 16 bits, as vectors travel and lie in topics.

/// Conversion between `Float` and IEEE 754 binary16, in whole-number arithmetic: the same bits on
/// every machine.
public enum HalfPrecision {
    /// The largest finite value.
    public static let greatest: Float = 65_504

    /// The half nearest to `value`, of two equally near ones the even one.
    ///
    /// What rounds to 65,520 or more is infinite; a NaN becomes the quiet NaN 0x7E00 with its sign.
    @inlinable
    public static func bits(of value: Float) -> UInt16 {
        let bits = value.bitPattern
        let sign = UInt16(truncatingIfNeeded: bits &>> 16) & 0x8000
        let magnitude = bits & 0x7FFF_FFFF
        // Infinite, NaN, or halfway and more to what comes after the greatest.
        if magnitude >= 0x477F_F000 { return sign | (magnitude > 0x7F80_0000 ? 0x7E00 : 0x7C00) }
        // Normal halves: the exponent's bias changes by 112, 13 bits of the fraction go.
        if magnitude >= 0x3880_0000 {
            let rounded = magnitude &+ 0xFFF &+ (magnitude &>> 13 & 1)
            return sign | UInt16(truncatingIfNeeded: rounded &>> 13 &- 112 &<< 10)
        }
        // Half of the least subnormal, 2^-25, rounds to the even 0.
        if magnitude <= 0x3300_0000 { return sign }
        let fraction = magnitude & 0x7F_FFFF | 0x80_0000
        let shift = 126 &- magnitude &>> 23
        let kept = fraction &>> shift
        let rest = fraction & (1 &<< shift &- 1)
        let half: UInt32 = 1 &<< (shift &- 1)
        let isUp = rest > half || rest == half && kept & 1 == 1
        return sign | UInt16(truncatingIfNeeded: kept &+ (isUp ? 1 : 0))
    }

    /// The value of a half; exact.
    @inlinable
    public static func value(of bits: UInt16) -> Float {
        let sign = UInt32(bits & 0x8000) &<< 16
        let exponent = UInt32(bits &>> 10) & 31
        let fraction = UInt32(bits) & 0x3FF
        if exponent == 31 { return Float(bitPattern: sign | 0x7F80_0000 | fraction &<< 13) }
        if exponent == 0 {
            // Of subnormals the unit is 2^-24.
            let magnitude = Float(fraction) * 0x1p-24
            return sign == 0 ? magnitude : -magnitude
        }
        return Float(bitPattern: sign | (exponent &+ 112) &<< 23 | fraction &<< 13)
    }
}
