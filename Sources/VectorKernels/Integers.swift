// Sums and products of small whole numbers: exact, so every width and every order gives the same.
// Compiled for AVX2 alone: no caller needs more.

import CVectors

/// Σ a[i] b[i].
///
/// - Precondition: the sum over any of its terms fits 32 bits.
public func dot(_ a: UnsafePointer<Int8>, _ b: UnsafePointer<Int8>, count: Int) -> Int32 {
    var sums = SIMD8<Int32>(repeating: 0)
    var i = 0
    while i &+ 16 <= count {
        sums &+= cs_products16(cs_widen16(a + i), cs_widen16(b + i))
        i &+= 16
    }
    var sum = sums.wrappedSum()
    while i < count {
        sum &+= Int32(a[i]) &* Int32(b[i])
        i &+= 1
    }
    return sum
}

/// Σ a[i] b[i].
///
/// - Precondition: the sum over any of its terms fits 32 bits.
public func dot(_ a: UnsafePointer<Int16>, _ b: UnsafePointer<Int8>, count: Int) -> Int32 {
    var sums = SIMD8<Int32>(repeating: 0)
    var i = 0
    while i &+ 16 <= count {
        sums &+= cs_products16(sixteen(a + i), cs_widen16(b + i))
        i &+= 16
    }
    var sum = sums.wrappedSum()
    while i < count {
        sum &+= Int32(a[i]) &* Int32(b[i])
        i &+= 1
    }
    return sum
}

/// S · S and S · x for the sum S of rows.
///
/// - Parameters:
///   - rows: `rowCount` rows of `count` numbers.
///   - x: `count` numbers.
///   - sum: `count` numbers, overwritten with S; nil where nobody wants it.
/// - Precondition: numbers of S fit 16 bits, S · S and S · x over any of their terms 32.
@inline(__always)
private func products(
    _ rows: UnsafePointer<UnsafePointer<Int8>>, _ rowCount: Int, _ x: UnsafePointer<Int8>?,
    _ sum: UnsafeMutablePointer<Int16>?, _ count: Int
) -> (squares: Int32, product: Int32) {
    var squares = SIMD8<Int32>(repeating: 0)
    var products = SIMD8<Int32>(repeating: 0)
    var i = 0
    while i &+ 16 <= count {
        var s = cs_widen16(rows[0] + i)
        for r in 1..<max(1, rowCount) { s &+= cs_widen16(rows[r] + i) }
        squares &+= cs_products16(s, s)
        if let x { products &+= cs_products16(s, cs_widen16(x + i)) }
        if let sum { UnsafeMutableRawPointer(sum + i).storeBytes(of: s, as: SIMD16<Int16>.self) }
        i &+= 16
    }
    var (square, product) = (squares.wrappedSum(), products.wrappedSum())
    while i < count {
        var s = Int16(rows[0][i])
        for r in 1..<max(1, rowCount) { s &+= Int16(rows[r][i]) }
        square &+= Int32(s) &* Int32(s)
        if let x { product &+= Int32(s) &* Int32(x[i]) }
        if let sum { sum[i] = s }
        i &+= 1
    }
    return (square, product)
}

/// S · S and S · x for the sum S of rows.
///
/// - Parameters:
///   - rows: `rowCount` ≥ 1 rows of `count` numbers.
///   - x: `count` numbers.
/// - Precondition: numbers of S fit 16 bits, S · S and S · x over any of their terms 32.
public func sumProducts(
    _ rows: UnsafePointer<UnsafePointer<Int8>>, rowCount: Int, _ x: UnsafePointer<Int8>, count: Int
) -> (squares: Int32, product: Int32) {
    products(rows, rowCount, x, nil, count)
}

/// sum = S, the sum of rows; returns S · S.
///
/// - Parameters:
///   - sum: `count` numbers, overwritten.
///   - rows: `rowCount` ≥ 1 rows of `count` numbers.
/// - Precondition: numbers of S fit 16 bits, S · S over any of its terms 32.
public func sumRows(
    _ sum: UnsafeMutablePointer<Int16>, _ rows: UnsafePointer<UnsafePointer<Int8>>, rowCount: Int,
    count: Int
) -> Int32 {
    products(rows, rowCount, nil, sum, count).squares
}

/// y += a - b.
///
/// - Precondition: every y fits 16 bits in the end.
public func exchange(
    _ y: UnsafeMutablePointer<Int16>, _ a: UnsafePointer<Int16>, for b: UnsafePointer<Int16>,
    count: Int
) {
    for i in 0..<count { y[i] = y[i] &+ a[i] &- b[i] }
}

@inline(__always)
private func sixteen(_ p: UnsafePointer<Int16>) -> SIMD16<Int16> {
    UnsafeRawPointer(p).loadUnaligned(as: SIMD16<Int16>.self)
}
