// `Math` on `SIMD4<Double>`: operation by operation what `Math+Double.swift` does, so that each lane has the
// bits of the scalar function. Written out, because the optimiser does not reliably make vector code of a
// loop over lanes; a test compares the bits.

extension Math {
    /// e to the power of each `x`.
    @inlinable @inline(__always)
    public static func exp(_ x: SIMD4<Double>) -> SIMD4<Double> {
        let aboveUnderflow = select(x .< -746, SIMD4<Double>(repeating: -746), x)
        let c = select(aboveUnderflow .> 710, SIMD4<Double>(repeating: 710), aboveUnderflow)
        let k = (c * 1.4426950408889634 + 0x1.8p52) - 0x1.8p52
        let high = c - k * 6.93147180369123816490e-01
        let low = k * 1.90821492927058770002e-10
        let y = 1 + (high - (low - expTail(high - low)))
        let z = scaled(y, byTwoTo: k)
        return select(x .!= x, SIMD4<Double>(repeating: .nan), z)
    }

    /// 2 to the power of each `x`.
    @inlinable @inline(__always)
    public static func exp2(_ x: SIMD4<Double>) -> SIMD4<Double> {
        let aboveUnderflow = select(x .< -1080, SIMD4<Double>(repeating: -1080), x)
        let c = select(aboveUnderflow .> 1025, SIMD4<Double>(repeating: 1025), aboveUnderflow)
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
        return select(x .!= x, SIMD4<Double>(repeating: .nan), z)
    }

    /// Natural logarithms.
    @inlinable @inline(__always)
    public static func log(_ x: SIMD4<Double>) -> SIMD4<Double> {
        let isDenormal = x .< 0x1p-1022
        let normal = select(isDenormal, x * 0x1p54, x)
        let (m, e) = mantissaAndExponent(normal)
        let z = logOfProduct(m, select(isDenormal, e - 54, e), correction: .zero)
        return logEdges(x, z)
    }

    /// Natural logarithms of `1 + x`.
    @inlinable @inline(__always)
    public static func log1p(_ x: SIMD4<Double>) -> SIMD4<Double> {
        let u = 1 + x
        let xPart = u - 1
        let error = (1 - (u - xPart)) + (x - xPart)
        let (m, e) = mantissaAndExponent(u)
        let z = logOfProduct(m, e, correction: error / u)
        return select(x .== 0, x, logEdges(u, z))
    }

    /// Probabilities of logits.
    @inlinable @inline(__always)
    public static func sigmoid(_ x: SIMD4<Double>) -> SIMD4<Double> {
        let e = exp(select(x .< 0, x, -x))
        return select(x .< 0, e, SIMD4<Double>(repeating: 1)) / (1 + e)
    }

    /// `log(1 + e^x)`.
    @inlinable @inline(__always)
    public static func softplus(_ x: SIMD4<Double>) -> SIMD4<Double> {
        let tail = log1p(exp(select(x .< 0, x, -x)))
        return select(x .!= x, SIMD4<Double>(repeating: .nan), select(x .< 0, .zero, x) + tail)
    }

    /// Logits of probabilities.
    @inlinable @inline(__always)
    public static func logit(_ p: SIMD4<Double>) -> SIMD4<Double> {
        let isCentral = (p .> 0.25) .& (p .< 0.75)
        let quotient = select(isCentral, 2 * p - 1, p) / (1 - p)
        let u = select(isCentral, 1 + quotient, quotient)
        let rest = u - 1
        let error = select(isCentral, (1 - (u - rest)) + (quotient - rest), .zero)
        let isDenormal = u .< 0x1p-1022
        let normal = select(isDenormal, u * 0x1p54, u)
        let (m, e) = mantissaAndExponent(normal)
        let z = logOfProduct(m, select(isDenormal, e - 54, e), correction: error / u)
        return logEdges(u, z)
    }

    @inlinable @inline(__always)
    static func expTail(_ r: SIMD4<Double>) -> SIMD4<Double> {
        let r2 = r * r
        let r4 = r2 * r2
        let q01 = 0.50000000000000010237 + r * 0.16666666666666667897
        let q23 = 0.041666666666624075462 + r * 0.0083333333333294681497
        let q45 = 0.0013888888917239885825 + r * 0.00019841269865134536803
        let q67 = 0.000024801521255304599598 + r * 2.7557265815638169051e-6
        let q89 = 2.7620107774981507765e-7 + r * 2.5101487577654250353e-8
        return r2 * ((q01 + r2 * q23) + r4 * ((q45 + r2 * q67) + r4 * q89))
    }

    @inlinable @inline(__always)
    static func powerOfTwo(_ k: SIMD4<Double>) -> SIMD4<Double> {
        SIMD4<Double>(bits: ((k + 0x1.8p52).bits &+ 1023) &<< 52)
    }

    @inlinable @inline(__always)
    static func scaled(_ y: SIMD4<Double>, byTwoTo k: SIMD4<Double>) -> SIMD4<Double> {
        let half = (k * 0.5 + 0x1.8p52) - 0x1.8p52
        return y * powerOfTwo(half) * powerOfTwo(k - half)
    }

    @inlinable @inline(__always)
    static func mantissaAndExponent(_ x: SIMD4<Double>) -> (m: SIMD4<Double>, e: SIMD4<Double>) {
        let shifted = x.bits &+ ((0x3FF0_0000 &- 0x3FE6_A09E) &<< 32)
        let m = SIMD4<Double>(bits: (shifted & 0x000F_FFFF_FFFF_FFFF) &+ (0x3FE6_A09E &<< 32))
        // The biased exponent becomes the low bits of 2^52: an integer to a Double without a conversion.
        let e = SIMD4<Double>(bits: (shifted &>> 52) | 0x4330_0000_0000_0000) - (0x1p52 + 1023)
        return (m, e)
    }

    @inlinable @inline(__always)
    static func logOfProduct(_ m: SIMD4<Double>, _ e: SIMD4<Double>, correction: SIMD4<Double>)
        -> SIMD4<Double>
    {
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

    @inlinable @inline(__always)
    static func logEdges(_ x: SIMD4<Double>, _ z: SIMD4<Double>) -> SIMD4<Double> {
        let finite = select(x .< .infinity, z, SIMD4<Double>(repeating: .infinity))
        let nonNegative = select(x .== 0, SIMD4<Double>(repeating: -.infinity), finite)
        return select(x .>= 0, nonNegative, SIMD4<Double>(repeating: .nan))
    }

    /// In each lane `a` where `mask` is true, else `b`.
    @inlinable @inline(__always)
    static func select(
        _ mask: SIMDMask<SIMD4<Int64>>, _ a: SIMD4<Double>, _ b: SIMD4<Double>
    ) -> SIMD4<Double> {
        b.replacing(with: a, where: mask)
    }
}

extension SIMD4<Double> {
    @inlinable @inline(__always)
    var bits: SIMD4<UInt64> { unsafeBitCast(self, to: SIMD4<UInt64>.self) }

    @inlinable @inline(__always)
    init(bits: SIMD4<UInt64>) { self = unsafeBitCast(bits, to: SIMD4<Double>.self) }
}
