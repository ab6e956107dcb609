// Half precision against the compiler's own Float16, and on both sides of every boundary.

import Bytes
import Testing

#if arch(x86_64) && os(Linux) || arch(arm64)
    @Suite struct HalfPrecisionTests {
        @Test func `every half has the value that the compiler gives it and comes back`() {
            for bits in UInt16.min...UInt16.max {
                let half = Float16(bitPattern: bits)
                let value = HalfPrecision.value(of: bits)
                if half.isNaN {
                    #expect(value.isNaN)
                    #expect(HalfPrecision.bits(of: value) & 0x7FFF == 0x7E00)
                    continue
                }
                if value.bitPattern != Float(half).bitPattern { Issue.record("value of \(bits)") }
                if HalfPrecision.bits(of: value) != bits {
                    Issue.record("\(bits) comes back changed")
                }
            }
        }

        /// Between each two neighbours: a little before the middle, the middle, a little behind it.
        @Test func `what lies between two halves goes to the nearest, from the middle to the even`()
        {
            for low in UInt16(0)..<0x7C00 {
                let a = Double(HalfPrecision.value(of: low))
                let b = low + 1 == 0x7C00 ? 65_536 : Double(HalfPrecision.value(of: low + 1))
                let middle = Float((a + b) / 2)
                let even = low & 1 == 0 ? low : low + 1
                for (value, expected) in [
                    (middle.nextDown, low), (middle, even), (middle.nextUp, low + 1),
                ] {
                    if HalfPrecision.bits(of: value) != expected
                        || HalfPrecision.bits(of: -value) != expected | 0x8000
                    {
                        Issue.record("\(value) became \(HalfPrecision.bits(of: value))")
                    }
                }
            }
        }

        @Test func `the bits agree with the compiler's rounding for floats of all magnitudes`() {
            // Every exponent, both signs, fractions of a fixed stride.
            for exponent in UInt32(0)...254 {
                for fraction in stride(from: UInt32(0), to: 1 << 23, by: 4_099) {
                    let value = Float(bitPattern: exponent << 23 | fraction)
                    if HalfPrecision.bits(of: value) != Float16(value).bitPattern
                        || HalfPrecision.bits(of: -value) != Float16(-value).bitPattern
                    {
                        Issue.record("\(value)")
                    }
                }
            }
        }

        @Test func `what is too large is infinite`() {
            #expect(HalfPrecision.bits(of: 65_504) == 0x7BFF)
            #expect(HalfPrecision.bits(of: Float(65_520).nextDown) == 0x7BFF)
            #expect(HalfPrecision.bits(of: 65_520) == 0x7C00)
            #expect(HalfPrecision.bits(of: -.infinity) == 0xFC00)
            #expect(HalfPrecision.bits(of: .nan) == 0x7E00)
        }
    }
#endif
