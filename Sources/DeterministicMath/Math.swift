// Elementary functions whose bits are the same on every x86-64 processor, under every kernel class and
// in every build: a step may use these where it must not use libm, which differs between versions.

// Only so that libm is linked: a square root that is not one instruction is a call to it, equally exact.
import Glibc

/// Elementary functions made of IEEE `+ - * /` and bit operations alone.
///
/// Each of those operations is correctly rounded and has one possible result, no fused multiply-add is
/// ever used, and every function is one fixed sequence of them without a data-dependent branch. So a
/// call gives the same bits on every machine, and the forms on `SIMD4<Double>`, `SIMD8<Float>` and
/// arrays, which do the same in each lane, give the same bits as the scalar one.
///
/// Every result that is not a number is the one positive quiet NaN, so that NaN has one bit pattern too.
///
/// Errors are in ulp (units in the last place of the result), the worst of the tests' samples against
/// a reference of twice the precision:
///
/// | function | Double | Float | at the edges |
/// |---|---|---|---|
/// | `exp` | 1 | 1 | −∞ → 0, underflows through the denormals, overflow → ∞ |
/// | `exp2` | 1.5 | 1.5 | the same |
/// | `expm1` | 2 | – | −∞ → −1 |
/// | `log` | 1 | 1 | 0 → −∞, negative → NaN, denormals as precise as others |
/// | `log1p` | 2 | 2 | −1 → −∞, below → NaN, ±0 → ±0 |
/// | `sigmoid` | 2 | 2 | 0 or 1 at ∓∞ |
/// | `softplus` | 2 | 2 | 0 or ∞ at ∓∞ |
/// | `logit` | 3 | 3 | 0 → −∞, 1 → ∞, outside NaN |
/// | `sqrt` | ½ | ½ | IEEE 754 |
///
/// - Source: reduction and kernels of `log`, `log1p` follow FDLIBM (Sun Microsystems, 1993, freely
///   granted); the polynomials of `exp`, `exp2`, `expm1` are interpolations at Chebyshev nodes computed
///   with 200 bits.
public enum Math {

    /// The square root, correctly rounded by definition of IEEE 754.
    @inlinable @inline(__always)
    public static func sqrt(_ x: Double) -> Double { x.squareRoot() }

    /// The square root, correctly rounded by definition of IEEE 754.
    @inlinable @inline(__always)
    public static func sqrt(_ x: Float) -> Float { x.squareRoot() }
}
