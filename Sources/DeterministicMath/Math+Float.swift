// The functions of `Math` on Float: the same algorithms as on Double with shorter polynomials.

extension Math {
    /// e to the power of `x`.
    @inlinable @inline(__always)
    public static func exp(_ x: Float) -> Float {
        let aboveUnderflow = x < -104 ? -104 : x
        let c = aboveUnderflow > 89 ? 89 : aboveUnderflow
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
        return x != x ? .nan : z
    }

    /// 2 to the power of `x`; exact where `x` is an integer.
    @inlinable @inline(__always)
    public static func exp2(_ x: Float) -> Float {
        let aboveUnderflow = x < -160 ? -160 : x
        let c = aboveUnderflow > 129 ? 129 : aboveUnderflow
        let k = (c + 0x1.8p23) - 0x1.8p23
        let r = c - k
        let r2 = r * r
        let c01 = 0.69314718802712552727 + r * 0.24022650760575891478
        let c23 = 0.055503571099135861889 + r * 0.0096180825535501215752
        let c45 = 0.0013390865661206543296 + r * 0.00015453164933424574975
        let y = 1 + r * ((c01 + r2 * c23) + (r2 * r2) * c45)
        let z = scaled(y, byTwoTo: k)
        return x != x ? .nan : z
    }

    /// The natural logarithm of `x`.
    @inlinable @inline(__always)
    public static func log(_ x: Float) -> Float {
        let isDenormal = x < 0x1p-126
        let normal = isDenormal ? x * 0x1p25 : x
        let (m, e) = mantissaAndExponent(normal)
        let z = logOfProduct(m, isDenormal ? e - 25 : e, correction: 0)
        return logEdges(x, z)
    }

    /// The natural logarithm of `1 + x`, precise near 0.
    @inlinable @inline(__always)
    public static func log1p(_ x: Float) -> Float {
        let u = 1 + x
        let xPart = u - 1
        let error = (1 - (u - xPart)) + (x - xPart)
        let (m, e) = mantissaAndExponent(u)
        let z = logOfProduct(m, e, correction: error / u)
        return x == 0 ? x : logEdges(u, z)
    }

    /// `1 / (1 + e^-x)`, the probability that belongs to the logit `x`.
    @inlinable @inline(__always)
    public static func sigmoid(_ x: Float) -> Float {
        let e = exp(x < 0 ? x : -x)
        return (x < 0 ? e : 1) / (1 + e)
    }

    /// `log(1 + e^x)`: the log loss of a negative predicted with logit `x` (of a positive: of −x).
    @inlinable @inline(__always)
    public static func softplus(_ x: Float) -> Float {
        let tail = log1p(exp(x < 0 ? x : -x))
        return x != x ? .nan : (x < 0 ? 0 : x) + tail
    }

    /// `log(p / (1 - p))`, the logit that belongs to the probability `p`.
    ///
    /// Around one half the quotient is close to 1 and its logarithm close to 0: there it is taken of
    /// `1 + (2p - 1) / (1 - p)`, whose fraction is precise.
    @inlinable @inline(__always)
    public static func logit(_ p: Float) -> Float {
        let isCentral = (p > 0.25 ? p : 1) < 0.75
        let quotient = (isCentral ? 2 * p - 1 : p) / (1 - p)
        let u = isCentral ? 1 + quotient : quotient
        let rest = u - 1
        let error = isCentral ? (1 - (u - rest)) + (quotient - rest) : 0
        let isDenormal = u < 0x1p-126
        let normal = isDenormal ? u * 0x1p25 : u
        let (m, e) = mantissaAndExponent(normal)
        let z = logOfProduct(m, isDenormal ? e - 25 : e, correction: error / u)
        return logEdges(u, z)
    }

    /// 2^k for an integer k in −126 … 127.
    @inlinable @inline(__always)
    static func powerOfTwo(_ k: Float) -> Float {
        Float(bitPattern: ((k + 0x1.8p23).bitPattern &+ 127) &<< 23)
    }

    /// `y` times 2^k for an integer k in −252 … 254, rounded once.
    @inlinable @inline(__always)
    static func scaled(_ y: Float, byTwoTo k: Float) -> Float {
        let half = (k * 0.5 + 0x1.8p23) - 0x1.8p23
        return y * powerOfTwo(half) * powerOfTwo(k - half)
    }

    /// `x = m 2^e` with m in √½ … √2, for positive normal `x`.
    @inlinable @inline(__always)
    static func mantissaAndExponent(_ x: Float) -> (m: Float, e: Float) {
        let shifted = x.bitPattern &+ (0x3F80_0000 &- 0x3F35_04F3)
        let m = Float(bitPattern: (shifted & 0x007F_FFFF) &+ 0x3F35_04F3)
        let e = Float(bitPattern: (shifted &>> 23) | 0x4B00_0000) - (0x1p23 + 127)
        return (m, e)
    }

    /// `log(m 2^e) + correction` with m in √½ … √2.
    @inlinable @inline(__always)
    static func logOfProduct(_ m: Float, _ e: Float, correction: Float) -> Float {
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

    /// Puts the limits of a logarithm's argument `x` around the value `z` inside.
    @inlinable @inline(__always)
    static func logEdges(_ x: Float, _ z: Float) -> Float {
        let finite = x < .infinity ? z : .infinity
        let nonNegative = x == 0 ? -.infinity : finite
        return x >= 0 ? nonNegative : .nan
    }
}
