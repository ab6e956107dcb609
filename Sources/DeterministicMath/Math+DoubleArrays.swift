// `Math` on arrays of Double, 4 lanes at a time: a value's result does not depend on where it stands.

extension Math {
    /// `out[i] = exp(x[i])` for i below `count`; see `map`.
    @inlinable
    public static func exp(
        _ x: UnsafePointer<Double>, count: Int, into out: UnsafeMutablePointer<Double>
    ) {
        map(x, count: count, into: out) { (lanes: SIMD4<Double>) in exp(lanes) }
    }

    /// `out[i] = exp2(x[i])` for i below `count`; see `map`.
    @inlinable
    public static func exp2(
        _ x: UnsafePointer<Double>, count: Int, into out: UnsafeMutablePointer<Double>
    ) {
        map(x, count: count, into: out) { (lanes: SIMD4<Double>) in exp2(lanes) }
    }

    /// `out[i] = log(x[i])` for i below `count`; see `map`.
    @inlinable
    public static func log(
        _ x: UnsafePointer<Double>, count: Int, into out: UnsafeMutablePointer<Double>
    ) {
        map(x, count: count, into: out) { (lanes: SIMD4<Double>) in log(lanes) }
    }

    /// `out[i] = log1p(x[i])` for i below `count`; see `map`.
    @inlinable
    public static func log1p(
        _ x: UnsafePointer<Double>, count: Int, into out: UnsafeMutablePointer<Double>
    ) {
        map(x, count: count, into: out) { (lanes: SIMD4<Double>) in log1p(lanes) }
    }

    /// `out[i] = sigmoid(x[i])` for i below `count`; see `map`.
    @inlinable
    public static func sigmoid(
        _ x: UnsafePointer<Double>, count: Int, into out: UnsafeMutablePointer<Double>
    ) {
        map(x, count: count, into: out) { (lanes: SIMD4<Double>) in sigmoid(lanes) }
    }

    /// `out[i] = softplus(x[i])` for i below `count`; see `map`.
    @inlinable
    public static func softplus(
        _ x: UnsafePointer<Double>, count: Int, into out: UnsafeMutablePointer<Double>
    ) {
        map(x, count: count, into: out) { (lanes: SIMD4<Double>) in softplus(lanes) }
    }

    /// `out[i] = logit(x[i])` for i below `count`; see `map`.
    @inlinable
    public static func logit(
        _ x: UnsafePointer<Double>, count: Int, into out: UnsafeMutablePointer<Double>
    ) {
        map(x, count: count, into: out) { (lanes: SIMD4<Double>) in logit(lanes) }
    }

    /// Applies `f` to 4 values at a time; the last group is filled up with zeros.
    ///
    /// - Parameters:
    ///   - x: (count), read.
    ///   - out: (count), overwritten; may be `x` itself, but must not overlap it otherwise.
    @inlinable @inline(__always)
    public static func map(
        _ x: UnsafePointer<Double>, count: Int, into out: UnsafeMutablePointer<Double>,
        _ f: (SIMD4<Double>) -> SIMD4<Double>
    ) {
        var i = 0
        while i &+ 4 <= count {
            let lanes = UnsafeRawPointer(x + i).loadUnaligned(as: SIMD4<Double>.self)
            UnsafeMutableRawPointer(out + i).storeBytes(of: f(lanes), as: SIMD4<Double>.self)
            i &+= 4
        }
        guard i < count else { return }
        var rest = SIMD4<Double>()
        for j in 0..<(count &- i) { rest[j] = x[i &+ j] }
        rest = f(rest)
        for j in 0..<(count &- i) { out[i &+ j] = rest[j] }
    }

    /// The sum of `count` values in a fixed order: 4 running sums, of the values whose index leaves the
    /// same rest when divided by 4, added pairwise at the end.
    ///
    /// The order is part of the contract: it is the same for every caller and machine.
    @inlinable
    public static func sum(_ x: UnsafePointer<Double>, count: Int) -> Double {
        var sums = SIMD4<Double>()
        var i = 0
        while i &+ 4 <= count {
            sums += UnsafeRawPointer(x + i).loadUnaligned(as: SIMD4<Double>.self)
            i &+= 4
        }
        for j in 0..<(count &- i) { sums[j] += x[i &+ j] }
        return sum(sums)
    }

    /// The sum of 4 lanes, halves added to halves.
    @inlinable @inline(__always)
    public static func sum(_ x: SIMD4<Double>) -> Double {
        let two = x.lowHalf + x.highHalf
        return two[0] + two[1]
    }

    /// `sum` of an array.
    @inlinable
    public static func sum(_ x: [Double]) -> Double {
        x.withUnsafeBufferPointer { $0.isEmpty ? 0 : sum($0.baseAddress!, count: $0.count) }
    }
}
