// `Math` on `SIMD8<Float>`: operation by operation what `Math+Float.swift` does, so that each lane has the
// bits of the scalar function. Written out, because the optimiser does not reliably make vector code of a
// loop over lanes; a test compares the bits.

extension Math {
    /// e to the power of each `x`.
    @inlinable @inline(__always)
    public static func exp(_ x: SIMD8<Float>) -> SIMD8<Float> {
        let aboveUnderflow = select(x .< -104, SIMD8<Float>(repeating: -104), x)
        let c = select(aboveUnderflow .> 89, SIMD8<Float>(repeating: 89), aboveUnderflow)
        let k = (c * 1.44269504 + 0x1.8p23) - 0x1.8p23
        let high = c - k * 0.693359375
        let low = k * -2.12194440e-4
        let r = high - low
        let r2 = r * r
        let q01 = 0.5000000013478402864 + r * 0.16666666683736410823
        let q23 = 0.041666464799503123763 + r * 0.0083333099799119137928
        let q45 = 0.0013933663953558519675 + r * 0.00019891781524010625206
        let tail = r2 * ((q01 + r2 * q23) + (r2 * r2) * q45)
        let z = scaled(1 + (high - (low - tail)), byTwoTo: k)
        return select(x .!= x, SIMD8<Float>(repeating: .nan), z)
    }

    /// 2 to the power of each `x`.
    @inlinable @inline(__always)
    public static func exp2(_ x: SIMD8<Float>) -> SIMD8<Float> {
        let aboveUnderflow = select(x .< -160, SIMD8<Float>(repeating: -160), x)
        let c = select(aboveUnderflow .> 129, SIMD8<Float>(repeating: 129), aboveUnderflow)
        let k = (c + 0x1.8p23) - 0x1.8p23
        let r = c - k
        let r2 = r * r
        let c01 = 0.69314718802712552727 + r * 0.24022650760575891478
        let c23 = 0.055503571099135861889 + r * 0.0096180825535501215752
        let c45 = 0.0013390865661206543296 + r * 0.00015453164933424574975
        let y = 1 + r * ((c01 + r2 * c23) + (r2 * r2) * c45)
        let z = scaled(y, byTwoTo: k)
        return select(x .!= x, SIMD8<Float>(repeating: .nan), z)
    }

    /// Natural logarithms.
    @inlinable @inline(__always)
    public static func log(_ x: SIMD8<Float>) -> SIMD8<Float> {
        let isDenormal = x .< 0x1p-126
        let normal = select(isDenormal, x * 0x1p25, x)
        let (m, e) = mantissaAndExponent(normal)
        let z = logOfProduct(m, select(isDenormal, e - 25, e), correction: .zero)
        return logEdges(x, z)
    }

    /// Natural logarithms of `1 + x`.
    @inlinable @inline(__always)
    public static func log1p(_ x: SIMD8<Float>) -> SIMD8<Float> {
        let u = 1 + x
        let xPart = u - 1
        let error = (1 - (u - xPart)) + (x - xPart)
        let (m, e) = mantissaAndExponent(u)
        let z = logOfProduct(m, e, correction: error / u)
        return select(x .== 0, x, logEdges(u, z))
    }

    /// Probabilities of logits.
    @inlinable @inline(__always)
    public static func sigmoid(_ x: SIMD8<Float>) -> SIMD8<Float> {
        let e = exp(select(x .< 0, x, -x))
        return select(x .< 0, e, SIMD8<Float>(repeating: 1)) / (1 + e)
    }

    /// `log(1 + e^x)`.
    @inlinable @inline(__always)
    public static func softplus(_ x: SIMD8<Float>) -> SIMD8<Float> {
        let tail = log1p(exp(select(x .< 0, x, -x)))
        return select(x .!= x, SIMD8<Float>(repeating: .nan), select(x .< 0, .zero, x) + tail)
    }

    /// Logits of probabilities.
    @inlinable @inline(__always)
    public static func logit(_ p: SIMD8<Float>) -> SIMD8<Float> {
        let isCentral = (p .> 0.25) .& (p .< 0.75)
        let quotient = select(isCentral, 2 * p - 1, p) / (1 - p)
        let u = select(isCentral, 1 + quotient, quotient)
        let rest = u - 1
        let error = select(isCentral, (1 - (u - rest)) + (quotient - rest), .zero)
        let isDenormal = u .< 0x1p-126
        let normal = select(isDenormal, u * 0x1p25, u)
        let (m, e) = mantissaAndExponent(normal)
        let z = logOfProduct(m, select(isDenormal, e - 25, e), correction: error / u)
        return logEdges(u, z)
    }

    @inlinable @inline(__always)
    static func powerOfTwo(_ k: SIMD8<Float>) -> SIMD8<Float> {
        SIMD8<Float>(bits: ((k + 0x1.8p23).bits &+ 127) &<< 23)
    }

    @inlinable @inline(__always)
    static func scaled(_ y: SIMD8<Float>, byTwoTo k: SIMD8<Float>) -> SIMD8<Float> {
        let half = (k * 0.5 + 0x1.8p23) - 0x1.8p23
        return y * powerOfTwo(half) * powerOfTwo(k - half)
    }

    @inlinable @inline(__always)
    static func mantissaAndExponent(_ x: SIMD8<Float>) -> (m: SIMD8<Float>, e: SIMD8<Float>) {
        let shifted = x.bits &+ (0x3F80_0000 &- 0x3F35_04F3)
        let m = SIMD8<Float>(bits: (shifted & 0x007F_FFFF) &+ 0x3F35_04F3)
        let e = SIMD8<Float>(bits: (shifted &>> 23) | 0x4B00_0000) - (0x1p23 + 127)
        return (m, e)
    }

    @inlinable @inline(__always)
    static func logOfProduct(_ m: SIMD8<Float>, _ e: SIMD8<Float>, correction: SIMD8<Float>)
        -> SIMD8<Float>
    {
        let f = m - 1
        let s = f / (2 + f)
        let z = s * s
        let w = z * z
        let even = w * (0.40000972152 + w * 0.24279078841)
        let odd = z * (0.66666662693 + w * 0.28498786688)
        let halfSquare = 0.5 * f * f
        let low = s * (halfSquare + (odd + even)) + (e * 9.0580006145e-06 + correction)
        return ((low - halfSquare) + f) + e * 6.9313812256e-01
    }

    @inlinable @inline(__always)
    static func logEdges(_ x: SIMD8<Float>, _ z: SIMD8<Float>) -> SIMD8<Float> {
        let finite = select(x .< .infinity, z, SIMD8<Float>(repeating: .infinity))
        let nonNegative = select(x .== 0, SIMD8<Float>(repeating: -.infinity), finite)
        return select(x .>= 0, nonNegative, SIMD8<Float>(repeating: .nan))
    }

    /// In each lane `a` where `mask` is true, else `b`.
    @inlinable @inline(__always)
    static func select(
        _ mask: SIMDMask<SIMD8<Int32>>, _ a: SIMD8<Float>, _ b: SIMD8<Float>
    ) -> SIMD8<Float> {
        b.replacing(with: a, where: mask)
    }
}

extension SIMD8<Float> {
    @inlinable @inline(__always)
    var bits: SIMD8<UInt32> { unsafeBitCast(self, to: SIMD8<UInt32>.self) }

    @inlinable @inline(__always)
    init(bits: SIMD8<UInt32>) { self = unsafeBitCast(bits, to: SIMD8<Float>.self) }
}
