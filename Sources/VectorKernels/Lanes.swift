// Sixteen floats at a time: loading, storing, the ragged end of a run, and sums in a fixed order.
//
// This folder is compiled twice, for AVX2 (VectorKernels) and for AVX-512 (VectorKernelsWide): the
// source names every rounding, so both give the same bits and only the speed differs.

import CVectors

typealias Lanes = SIMD16<Float>
typealias Pointer = UnsafeMutablePointer<Float>
typealias ConstPointer = UnsafePointer<Float>

@inline(__always)
func load(_ p: ConstPointer, _ i: Int) -> Lanes {
    UnsafeRawPointer(p + i).loadUnaligned(as: Lanes.self)
}

@inline(__always)
func load(_ p: Pointer, _ i: Int) -> Lanes {
    UnsafeRawPointer(p + i).loadUnaligned(as: Lanes.self)
}

@inline(__always)
func store(_ value: Lanes, _ p: Pointer, _ i: Int) {
    UnsafeMutableRawPointer(p + i).storeBytes(of: value, as: Lanes.self)
}

/// The last `n` < 16 numbers, with `fill` in the lanes beyond.
///
/// Reads sixteen: the memory of every run handed to these kernels goes on for 64 bytes after its end
/// (`Block` sees to that); what is there does not matter.
@inline(__always)
func loadTail(_ p: ConstPointer, _ i: Int, _ n: Int, fill: Float = 0) -> Lanes {
    let lane = SIMD16<Int32>(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
    return load(p, i).replacing(
        with: Lanes(repeating: fill),
        where: lane .>= SIMD16(repeating: Int32(truncatingIfNeeded: n)))
}

@inline(__always)
func storeTail(_ value: Lanes, _ p: Pointer, _ i: Int, _ n: Int) {
    for j in 0..<n { p[i &+ j] = value[j] }
}

/// The sum of sixteen lanes by halves, always in the same order.
@inline(__always)
func laneSum(_ v: Lanes) -> Float {
    let a = v.lowHalf + v.highHalf
    let b = a.lowHalf + a.highHalf
    let c = b.lowHalf + b.highHalf
    return c[0] + c[1]
}

/// The larger of two numbers in each lane.
@inline(__always)
func larger(_ a: Lanes, _ b: Lanes) -> Lanes { a.replacing(with: b, where: a .< b) }

@inline(__always)
func laneMaximum(_ v: Lanes) -> Float {
    let a = v.lowHalf.replacing(with: v.highHalf, where: v.lowHalf .< v.highHalf)
    let b = a.lowHalf.replacing(with: a.highHalf, where: a.lowHalf .< a.highHalf)
    let c = b.lowHalf.replacing(with: b.highHalf, where: b.lowHalf .< b.highHalf)
    return c[0] < c[1] ? c[1] : c[0]
}

/// e^x in each lane; below -87.3 the answer is about 1e-38, above 88 about 1e38; error under 2 ulp.
///
/// Range reduction by ln 2 in two parts, then the polynomial of Cephes `expf` (Moshier).
@inline(__always)
func exponential(_ x: Lanes) -> Lanes {
    let low = Lanes(repeating: -87.3)
    let high = Lanes(repeating: 88.0)
    let raised = x.replacing(with: low, where: x .< low)
    let clamped = raised.replacing(with: high, where: raised .> high)
    let magic = Lanes(repeating: 12_582_912)  // 1.5 * 2^23: adding it rounds to a whole number
    let shifted = magic.addingProduct(clamped, Lanes(repeating: 1.442_695_04))
    let whole = shifted - magic
    var r = clamped.addingProduct(whole, Lanes(repeating: -0.693_359_375))
    r = r.addingProduct(whole, Lanes(repeating: 2.121_944_4e-4))
    var p = Lanes(repeating: 1.987_569_15e-4)
    p = Lanes(repeating: 1.398_199_95e-3).addingProduct(p, r)
    p = Lanes(repeating: 8.333_452e-3).addingProduct(p, r)
    p = Lanes(repeating: 4.166_579_6e-2).addingProduct(p, r)
    p = Lanes(repeating: 1.666_666_55e-1).addingProduct(p, r)
    p = Lanes(repeating: 5.000_000_1e-1).addingProduct(p, r)
    let q = (r + 1).addingProduct(p, r * r)
    let bits = unsafeBitCast(shifted, to: SIMD16<UInt32>.self) &<< 23
    let scale = unsafeBitCast(
        bits &+ SIMD16<UInt32>(repeating: 127 << 23), to: Lanes.self)
    return q * scale
}

/// ln x in each lane, for normal positive x; error under 2 ulp.
///
/// Mantissa in [√½, √2) and exponent apart, then the polynomial of Cephes `logf` (Moshier).
@inline(__always)
func logarithm(_ x: Lanes) -> Lanes {
    let bits = unsafeBitCast(x, to: SIMD16<UInt32>.self)
    // Subtracting the bits of √½ makes the exponent field count from there.
    let offset = bits &- SIMD16<UInt32>(repeating: 0x3F35_04F3)
    let exponentBits = unsafeBitCast(offset, to: SIMD16<Int32>.self) &>> 23
    let mantissaBits =
        (offset & SIMD16<UInt32>(repeating: 0x007F_FFFF)) &+ SIMD16<UInt32>(repeating: 0x3F35_04F3)
    let m = unsafeBitCast(mantissaBits, to: Lanes.self) - 1
    // A whole number below 2^22 added to the bits of 1.5 * 2^23 is that number after the subtraction.
    let exponent =
        unsafeBitCast(exponentBits &+ SIMD16<Int32>(repeating: 0x4B40_0000), to: Lanes.self)
        - Lanes(repeating: 12_582_912)
    let square = m * m
    var p = Lanes(repeating: 7.037_683_6e-2)
    p = Lanes(repeating: -1.151_461_03e-1).addingProduct(p, m)
    p = Lanes(repeating: 1.167_699_87e-1).addingProduct(p, m)
    p = Lanes(repeating: -1.242_014_08e-1).addingProduct(p, m)
    p = Lanes(repeating: 1.424_932_28e-1).addingProduct(p, m)
    p = Lanes(repeating: -1.666_805_77e-1).addingProduct(p, m)
    p = Lanes(repeating: 2.000_071_47e-1).addingProduct(p, m)
    p = Lanes(repeating: -2.499_999_4e-1).addingProduct(p, m)
    p = Lanes(repeating: 3.333_333_1e-1).addingProduct(p, m)
    var y = p * m * square
    y = y.addingProduct(exponent, Lanes(repeating: -2.121_944_4e-4))
    y = y.addingProduct(square, Lanes(repeating: -0.5))
    return (m + y).addingProduct(exponent, Lanes(repeating: 0.693_359_375))
}
