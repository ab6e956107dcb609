// Sums and products of small whole numbers: exact, so every width and every order gives the same.
// Compiled for AVX2 alone: no caller needs more.

import CVectors

/// Σ a[i] b[i].
///
/// - Precondition: every partial sum fits 32 bits.
public func dot(_ a: UnsafePointer<Int8>, _ b: UnsafePointer<Int8>, count: Int) -> Int32 {
    var sum: Int32 = 0
    for i in 0..<count { sum &+= Int32(a[i]) &* Int32(b[i]) }
    return sum
}

/// Σ a[i] b[i].
///
/// - Precondition: every partial sum fits 32 bits.
public func dot(_ a: UnsafePointer<Int16>, _ b: UnsafePointer<Int8>, count: Int) -> Int32 {
    var sum: Int32 = 0
    for i in 0..<count { sum &+= Int32(a[i]) &* Int32(b[i]) }
    return sum
}

/// Σ a[i] b[i].
///
/// - Precondition: every partial sum fits 32 bits.
public func dot(_ a: UnsafePointer<Int16>, _ b: UnsafePointer<Int16>, count: Int) -> Int32 {
    var sum: Int32 = 0
    for i in 0..<count { sum &+= Int32(a[i]) &* Int32(b[i]) }
    return sum
}

/// out[r] = Σ matrix[r][i] x[i].
///
/// - Parameters:
///   - out: (rows), overwritten.
///   - matrix: (rows, count).
///   - x: (count).
/// - Precondition: every partial sum fits 32 bits.
public func dots(
    _ out: UnsafeMutablePointer<Int32>, _ matrix: UnsafePointer<Int16>, rows: Int,
    _ x: UnsafePointer<Int16>, count: Int
) {
    var r = 0
    // Four rows at a time: `x` is loaded once for them.
    while r &+ 4 <= rows && count & 15 == 0 {
        let m = matrix + r &* count
        var s0 = SIMD8<Int32>(repeating: 0)
        var s1 = s0
        var s2 = s0
        var s3 = s0
        var i = 0
        while i < count {
            let v = sixteen(x, i)
            s0 &+= cs_products16(sixteen(m, i), v)
            s1 &+= cs_products16(sixteen(m, count &+ i), v)
            s2 &+= cs_products16(sixteen(m, 2 &* count &+ i), v)
            s3 &+= cs_products16(sixteen(m, 3 &* count &+ i), v)
            i &+= 16
        }
        out[r] = s0.wrappedSum()
        out[r &+ 1] = s1.wrappedSum()
        out[r &+ 2] = s2.wrappedSum()
        out[r &+ 3] = s3.wrappedSum()
        r &+= 4
    }
    while r < rows {
        out[r] = dot(matrix + r &* count, x, count: count)
        r &+= 1
    }
}

@inline(__always)
private func sixteen(_ p: UnsafePointer<Int16>, _ i: Int) -> SIMD16<Int16> {
    UnsafeRawPointer(p + i).loadUnaligned(as: SIMD16<Int16>.self)
}

/// y += x.
///
/// - Precondition: every sum fits 16 bits.
public func add(_ y: UnsafeMutablePointer<Int16>, _ x: UnsafePointer<Int8>, count: Int) {
    for i in 0..<count { y[i] &+= Int16(x[i]) }
}

/// y = x.
public func widen(_ y: UnsafeMutablePointer<Int16>, _ x: UnsafePointer<Int8>, count: Int) {
    for i in 0..<count { y[i] = Int16(x[i]) }
}
