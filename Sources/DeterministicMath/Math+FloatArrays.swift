// `Math` on arrays of Float, 8 lanes at a time: a value's result does not depend on where it stands.

extension Math {
    /// `out[i] = exp(x[i])` for i below `count`; see `map`.
    @inlinable
    public static func exp(
        _ x: UnsafePointer<Float>, count: Int, into out: UnsafeMutablePointer<Float>
    ) {
        map(x, count: count, into: out) { (lanes: SIMD8<Float>) in exp(lanes) }
    }

    /// `out[i] = exp2(x[i])` for i below `count`; see `map`.
    @inlinable
    public static func exp2(
        _ x: UnsafePointer<Float>, count: Int, into out: UnsafeMutablePointer<Float>
    ) {
        map(x, count: count, into: out) { (lanes: SIMD8<Float>) in exp2(lanes) }
    }

    /// `out[i] = log(x[i])` for i below `count`; see `map`.
    @inlinable
    public static func log(
        _ x: UnsafePointer<Float>, count: Int, into out: UnsafeMutablePointer<Float>
    ) {
        map(x, count: count, into: out) { (lanes: SIMD8<Float>) in log(lanes) }
    }

    /// `out[i] = log1p(x[i])` for i below `count`; see `map`.
    @inlinable
    public static func log1p(
        _ x: UnsafePointer<Float>, count: Int, into out: UnsafeMutablePointer<Float>
    ) {
        map(x, count: count, into: out) { (lanes: SIMD8<Float>) in log1p(lanes) }
    }

    /// `out[i] = sigmoid(x[i])` for i below `count`; see `map`.
    @inlinable
    public static func sigmoid(
        _ x: UnsafePointer<Float>, count: Int, into out: UnsafeMutablePointer<Float>
    ) {
        map(x, count: count, into: out) { (lanes: SIMD8<Float>) in sigmoid(lanes) }
    }

    /// `out[i] = softplus(x[i])` for i below `count`; see `map`.
    @inlinable
    public static func softplus(
        _ x: UnsafePointer<Float>, count: Int, into out: UnsafeMutablePointer<Float>
    ) {
        map(x, count: count, into: out) { (lanes: SIMD8<Float>) in softplus(lanes) }
    }

    /// `out[i] = logit(x[i])` for i below `count`; see `map`.
    @inlinable
    public static func logit(
        _ x: UnsafePointer<Float>, count: Int, into out: UnsafeMutablePointer<Float>
    ) {
        map(x, count: count, into: out) { (lanes: SIMD8<Float>) in logit(lanes) }
    }

    /// Applies `f` to 8 values at a time; the last group is filled up with zeros.
    ///
    /// - Parameters:
    ///   - x: (count), read.
    ///   - out: (count), overwritten; may be `x` itself, but must not overlap it otherwise.
    @inlinable @inline(__always)
    public static func map(
        _ x: UnsafePointer<Float>, count: Int, into out: UnsafeMutablePointer<Float>,
        _ f: (SIMD8<Float>) -> SIMD8<Float>
    ) {
        var i = 0
        while i &+ 8 <= count {
            let lanes = UnsafeRawPointer(x + i).loadUnaligned(as: SIMD8<Float>.self)
            UnsafeMutableRawPointer(out + i).storeBytes(of: f(lanes), as: SIMD8<Float>.self)
            i &+= 8
        }
        guard i < count else { return }
        var rest = SIMD8<Float>()
        for j in 0..<(count &- i) { rest[j] = x[i &+ j] }
        rest = f(rest)
        for j in 0..<(count &- i) { out[i &+ j] = rest[j] }
    }

    /// The sum of `count` values in a fixed order: 8 running sums, of the values whose index leaves the
    /// same rest when divided by 8, added pairwise at the end.
    ///
    /// The order is part of the contract: it is the same for every caller and machine.
    @inlinable
    public static func sum(_ x: UnsafePointer<Float>, count: Int) -> Float {
        var sums = SIMD8<Float>()
        var i = 0
        while i &+ 8 <= count {
            sums += UnsafeRawPointer(x + i).loadUnaligned(as: SIMD8<Float>.self)
            i &+= 8
        }
        for j in 0..<(count &- i) { sums[j] += x[i &+ j] }
        return sum(sums)
    }

    /// The sum of 8 lanes, halves added to halves.
    @inlinable @inline(__always)
    public static func sum(_ x: SIMD8<Float>) -> Float {
        let four = x.lowHalf + x.highHalf
        let two = four.lowHalf + four.highHalf
        return two[0] + two[1]
    }

    /// `sum` of an array.
    @inlinable
    public static func sum(_ x: [Float]) -> Float {
        x.withUnsafeBufferPointer { $0.isEmpty ? 0 : sum($0.baseAddress!, count: $0.count) }
    }
}
