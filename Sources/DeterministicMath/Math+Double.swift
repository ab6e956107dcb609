// The functions of `Math` on Double, without branches so that loops over them become vector code.

extension Math {
    /// e to the power of `x`.
    ///
    /// `x = k ln 2 + r` with |r| ≤ ln 2 / 2; `e^r = 1 + r + r² q(r)` with q of degree 9, relative error
    /// of the polynomial below 1.3e-17; scaled by 2^k in two steps so that denormals round once.
    @inlinable @inline(__always)
    public static func exp(_ x: Double) -> Double {
        let aboveUnderflow = x < -746 ? -746 : x
        let c = aboveUnderflow > 710 ? 710 : aboveUnderflow
        let k = (c * 1.4426950408889634 + 0x1.8p52) - 0x1.8p52
        let high = c - k * 6.93147180369123816490e-01
        let low = k * 1.90821492927058770002e-10
        let y = 1 + (high - (low - expTail(high - low)))
        let z = scaled(y, byTwoTo: k)
        return x != x ? .nan : z
    }

    /// e to the power of `x`, minus 1, precise near 0.
    @inlinable @inline(__always)
    public static func expm1(_ x: Double) -> Double {
        let aboveMinusOne = x < -50 ? -50 : x
        let c = aboveMinusOne > 710 ? 710 : aboveMinusOne
        let k = (c * 1.4426950408889634 + 0x1.8p52) - 0x1.8p52
        let high = c - k * 6.93147180369123816490e-01
        let low = k * 1.90821492927058770002e-10
        let p = high - (low - expTail(high - low))
        let y = (1 - powerOfTwo(-k)) + p
        let z = k == 0 ? p : scaled(y, byTwoTo: k)
        return x != x ? .nan : (x == 0 ? x : z)
    }

    /// 2 to the power of `x`; exact where `x` is an integer.
    @inlinable @inline(__always)
    public static func exp2(_ x: Double) -> Double {
        let aboveUnderflow = x < -1080 ? -1080 : x
        let c = aboveUnderflow > 1025 ? 1025 : aboveUnderflow
        let k = (c + 0x1.8p52) - 0x1.8p52
        let r = c - k
        let r2 = r * r
        let r4 = r2 * r2
        let c01 = 0.69314718055994530925 + r * 0.24022650695910071233
        let c23 = 0.055504108664821627049 + r * 0.0096181291076284794932
        let c45 = 0.001333355814640646718 + r * 0.0001540353039337073167
        let c67 = 0.000015252733841561274819 + r * 1.321548680870779128e-6
        let c89 = 1.0178057085418509001e-7 + r * 7.0548973030094219429e-9
        let cab = 4.4558183199667442344e-10 + r * 2.5729326214820691413e-11
        let low = (c01 + r2 * c23) + r4 * (c45 + r2 * c67)
        let y = 1 + r * (low + (r4 * r4) * (c89 + r2 * cab))
        let z = scaled(y, byTwoTo: k)
        return x != x ? .nan : z
    }

    /// The natural logarithm of `x`.
    ///
    /// `x = 2^k (1 + f)` with 1 + f in √½ … √2; `log(1 + f)` from an odd polynomial in f / (2 + f).
    @inlinable @inline(__always)
    public static func log(_ x: Double) -> Double {
        let isDenormal = x < 0x1p-1022
        let normal = isDenormal ? x * 0x1p54 : x
        let (m, e) = mantissaAndExponent(normal)
        let z = logOfProduct(m, isDenormal ? e - 54 : e, correction: 0)
        return logEdges(x, z)
    }

    /// The natural logarithm of `1 + x`, precise near 0.
    ///
    /// The rounding error of `1 + x` is found exactly (Knuth's two-sum) and enters to first order.
    @inlinable @inline(__always)
    public static func log1p(_ x: Double) -> Double {
        let u = 1 + x
        let xPart = u - 1
        let error = (1 - (u - xPart)) + (x - xPart)
        let (m, e) = mantissaAndExponent(u)
        let z = logOfProduct(m, e, correction: error / u)
        return x == 0 ? x : logEdges(u, z)
    }

    /// `1 / (1 + e^-x)`, the probability that belongs to the logit `x`.
    @inlinable @inline(__always)
    public static func sigmoid(_ x: Double) -> Double {
        let e = exp(x < 0 ? x : -x)
        return (x < 0 ? e : 1) / (1 + e)
    }

    /// `log(1 + e^x)`: the log loss of a negative predicted with logit `x` (of a positive: of −x).
    @inlinable @inline(__always)
    public static func softplus(_ x: Double) -> Double {
        let tail = log1p(exp(x < 0 ? x : -x))
        return x != x ? .nan : (x < 0 ? 0 : x) + tail
    }

    /// `log(p / (1 - p))`, the logit that belongs to the probability `p`.
    ///
    /// Around one half the quotient is close to 1 and its logarithm close to 0: there it is taken of
    /// `1 + (2p - 1) / (1 - p)`, whose fraction is precise.
    @inlinable @inline(__always)
    public static func logit(_ p: Double) -> Double {
        let isCentral = (p > 0.25 ? p : 1) < 0.75
        let quotient = (isCentral ? 2 * p - 1 : p) / (1 - p)
        let u = isCentral ? 1 + quotient : quotient
        let rest = u - 1
        let error = isCentral ? (1 - (u - rest)) + (quotient - rest) : 0
        let isDenormal = u < 0x1p-1022
        let normal = isDenormal ? u * 0x1p54 : u
        let (m, e) = mantissaAndExponent(normal)
        let z = logOfProduct(m, isDenormal ? e - 54 : e, correction: error / u)
        return logEdges(u, z)
    }

    /// `r² q(r)` with `e^r = 1 + r + r² q(r)`, for |r| ≤ ln 2 / 2.
    @inlinable @inline(__always)
    static func expTail(_ r: Double) -> Double {
        let r2 = r * r
        let r4 = r2 * r2
        let q01 = 0.50000000000000010237 + r * 0.16666666666666667897
        let q23 = 0.041666666666624075462 + r * 0.0083333333333294681497
        let q45 = 0.0013888888917239885825 + r * 0.00019841269865134536803
        let q67 = 0.000024801521255304599598 + r * 2.7557265815638169051e-6
        let q89 = 2.7620107774981507765e-7 + r * 2.5101487577654250353e-8
        return r2 * ((q01 + r2 * q23) + r4 * ((q45 + r2 * q67) + r4 * q89))
    }

    /// 2^k for an integer k in −1022 … 1023.
    @inlinable @inline(__always)
    static func powerOfTwo(_ k: Double) -> Double {
        Double(bitPattern: ((k + 0x1.8p52).bitPattern &+ 1023) &<< 52)
    }

    /// `y` times 2^k for an integer k in −2044 … 2046, rounded once.
    @inlinable @inline(__always)
    static func scaled(_ y: Double, byTwoTo k: Double) -> Double {
        let half = (k * 0.5 + 0x1.8p52) - 0x1.8p52
        return y * powerOfTwo(half) * powerOfTwo(k - half)
    }

    /// `x = m 2^e` with m in √½ … √2, for positive normal `x`.
    @inlinable @inline(__always)
    static func mantissaAndExponent(_ x: Double) -> (m: Double, e: Double) {
        let shifted = x.bitPattern &+ ((0x3FF0_0000 &- 0x3FE6_A09E) &<< 32)
        let m = Double(bitPattern: (shifted & 0x000F_FFFF_FFFF_FFFF) &+ (0x3FE6_A09E &<< 32))
        // The biased exponent becomes the low bits of 2^52: an integer to a Double without a conversion.
        let e = Double(bitPattern: (shifted &>> 52) | 0x4330_0000_0000_0000) - (0x1p52 + 1023)
        return (m, e)
    }

    /// `log(m 2^e) + correction` with m in √½ … √2.
    @inlinable @inline(__always)
    static func logOfProduct(_ m: Double, _ e: Double, correction: Double) -> Double {
        let f = m - 1
        let s = f / (2 + f)
        let z = s * s
        let w = z * z
        let even =
            w
            * (3.999999999940941908e-01 + w
                * (2.222219843214978396e-01 + w * 1.531383769920937332e-01))
        let odd =
            z
            * (6.666666666666735130e-01 + w
                * (2.857142874366239149e-01 + w
                    * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)))
        let halfSquare = 0.5 * f * f
        let low = s * (halfSquare + (odd + even)) + (e * 1.90821492927058770002e-10 + correction)
        return ((low - halfSquare) + f) + e * 6.93147180369123816490e-01
    }

    /// Puts the limits of a logarithm's argument `x` around the value `z` inside.
    @inlinable @inline(__always)
    static func logEdges(_ x: Double, _ z: Double) -> Double {
        let finite = x < .infinity ? z : .infinity
        let nonNegative = x == 0 ? -.infinity : finite
        return x >= 0 ? nonNegative : .nan
    }
}
