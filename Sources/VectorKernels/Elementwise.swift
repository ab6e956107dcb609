// Kernels that look at each number once: activations, sums of columns, optimizers.

import CVectors

/// y = e^x, `count` numbers; may be done in place.
public func exponential(
    _ y: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, count: Int
) {
    var i = 0
    while i &+ 16 <= count {
        store(exponential(load(x, i)), y, i)
        i &+= 16
    }
    if i < count { storeTail(exponential(loadTail(x, i, count &- i)), y, i, count &- i) }
}

/// y = ln x, `count` numbers, x normal and positive; may be done in place.
public func logarithm(
    _ y: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, count: Int
) {
    var i = 0
    while i &+ 16 <= count {
        store(logarithm(load(x, i)), y, i)
        i &+= 16
    }
    if i < count { storeTail(logarithm(loadTail(x, i, count &- i, fill: 1)), y, i, count &- i) }
}

/// y += a x.
public func addScaled(
    _ y: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ a: Float, count: Int
) {
    let scale = Lanes(repeating: a)
    var i = 0
    while i &+ 16 <= count {
        store(load(y, i).addingProduct(load(x, i), scale), y, i)
        i &+= 16
    }
    while i < count {
        y[i].addProduct(x[i], a)
        i &+= 1
    }
}

/// y = a x.
public func scale(
    _ y: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ a: Float, count: Int
) {
    let factor = Lanes(repeating: a)
    var i = 0
    while i &+ 16 <= count {
        store(load(x, i) * factor, y, i)
        i &+= 16
    }
    while i < count {
        y[i] = x[i] * a
        i &+= 1
    }
}

/// y += a * b, lane by lane.
public func addProducts(
    _ y: UnsafeMutablePointer<Float>, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>,
    count: Int
) {
    var i = 0
    while i &+ 16 <= count {
        store(load(y, i).addingProduct(load(a, i), load(b, i)), y, i)
        i &+= 16
    }
    while i < count {
        y[i].addProduct(a[i], b[i])
        i &+= 1
    }
}

/// y = a * b, lane by lane.
public func multiply(
    _ y: UnsafeMutablePointer<Float>, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>,
    count: Int
) {
    var i = 0
    while i &+ 16 <= count {
        store(load(a, i) * load(b, i), y, i)
        i &+= 16
    }
    while i < count {
        y[i] = a[i] * b[i]
        i &+= 1
    }
}

/// The inner product of `a` and `b`: sixteen running sums, added by halves.
public func dot(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, count: Int) -> Float {
    var sum = Lanes(repeating: 0)
    var i = 0
    while i &+ 16 <= count {
        sum.addProduct(load(a, i), load(b, i))
        i &+= 16
    }
    if i < count { sum.addProduct(loadTail(a, i, count &- i), loadTail(b, i, count &- i)) }
    return laneSum(sum)
}

/// Adds `bias` to every row of y (rows, columns).
public func addBias(
    _ y: UnsafeMutablePointer<Float>, stride: Int, rows: Int, columns: Int,
    bias: UnsafePointer<Float>
) {
    for r in 0..<rows {
        let row = y + r &* stride
        var i = 0
        while i &+ 16 <= columns {
            store(load(row, i) + load(bias, i), row, i)
            i &+= 16
        }
        while i < columns {
            row[i] += bias[i]
            i &+= 1
        }
    }
}

/// y = max(0, y + bias), rows of `columns` numbers, `stride` apart.
public func addBiasRectify(
    _ y: UnsafeMutablePointer<Float>, stride: Int, rows: Int, columns: Int,
    bias: UnsafePointer<Float>
) {
    let zero = Lanes(repeating: 0)
    for r in 0..<rows {
        let row = y + r &* stride
        var i = 0
        while i &+ 16 <= columns {
            let value = load(row, i) + load(bias, i)
            store(value.replacing(with: zero, where: value .< zero), row, i)
            i &+= 16
        }
        while i < columns {
            row[i] = max(0, row[i] + bias[i])
            i &+= 1
        }
    }
}

/// dy = 0 where y = 0: the gradient through `max(0, ·)`, given its output y.
public func rectifyBackward(
    _ dy: UnsafeMutablePointer<Float>, _ y: UnsafePointer<Float>, count: Int
) {
    let zero = Lanes(repeating: 0)
    var i = 0
    while i &+ 16 <= count {
        let value = load(dy, i)
        store(value.replacing(with: zero, where: load(y, i) .<= zero), dy, i)
        i &+= 16
    }
    while i < count {
        if y[i] <= 0 { dy[i] = 0 }
        i &+= 1
    }
}

/// sums[j] += Σ_r x[r, j].
public func addColumnSums(
    _ sums: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, stride: Int, rows: Int,
    columns: Int
) {
    var i = 0
    while i &+ 16 <= columns {
        var sum = load(sums, i)
        var p = x + i
        for _ in 0..<rows {
            sum += load(p, 0)
            p += stride
        }
        store(sum, sums, i)
        i &+= 16
    }
    while i < columns {
        var sum = sums[i]
        for r in 0..<rows { sum += x[r &* stride &+ i] }
        sums[i] = sum
        i &+= 1
    }
}

/// 1/√x in each lane for normal x: a first guess from the bits, then Newton's rule three times; error
/// under 2 ulp. Half the time of a root and a division, and of the same bits on every processor, unlike
/// the processors' own estimates.
@inline(__always)
func reciprocalRoot(_ x: Lanes) -> Lanes {
    let half = x * Lanes(repeating: -0.5)
    let bits =
        SIMD16<UInt32>(repeating: 0x5F37_59DF) &- unsafeBitCast(x, to: SIMD16<UInt32>.self) &>> 1
    var y = unsafeBitCast(bits, to: Lanes.self)
    let threeHalves = Lanes(repeating: 1.5)
    y *= threeHalves.addingProduct(half, y * y)
    y *= threeHalves.addingProduct(half, y * y)
    y *= threeHalves.addingProduct(half, y * y)
    return y
}

/// What Adagrad takes off a weight: rate · g / (√acc + 1e-10).
///
/// With r = 1/√acc this is rate · g · r / (1 + 1e-10 r); the last factor is 1 - t + t² to 1e-6 where
/// acc is 1e-16 or more. Below that, which hardly occurs, root and division are computed as they are.
@inline(__always)
func adagradStep(_ gradient: Lanes, _ sum: Lanes, _ rates: Lanes) -> Lanes {
    let one = Lanes(repeating: 1)
    let used = sum.replacing(with: one, where: gradient .== Lanes(repeating: 0))
    if any(used .< Lanes(repeating: 1e-16)) {
        return rates * gradient / (cs_sqrt16(sum) + Lanes(repeating: 1e-10))
    }
    // 1e-30 keeps lanes without any gradient finite and changes no other.
    let r = reciprocalRoot(sum + Lanes(repeating: 1e-30))
    let t = r * Lanes(repeating: 1e-10)
    return (rates * gradient * r) * (one - t).addingProduct(t, t)
}

/// Adagrad: acc += g², w -= rate · g / (√acc + 1e-10). Runs of sixteen zero gradients are skipped,
/// which changes nothing.
public func adagrad(
    _ w: UnsafeMutablePointer<Float>, _ acc: UnsafeMutablePointer<Float>,
    _ g: UnsafePointer<Float>, rate: Float, count: Int
) {
    let rates = Lanes(repeating: rate)
    let zero = Lanes(repeating: 0)
    var i = 0
    while i &+ 16 <= count {
        let gradient = load(g, i)
        if any(gradient .!= zero) {
            let sum = load(acc, i).addingProduct(gradient, gradient)
            store(sum, acc, i)
            store(load(w, i) - adagradStep(gradient, sum, rates), w, i)
        }
        i &+= 16
    }
    if i < count {
        let n = count &- i
        let gradient = loadTail(g, i, n)
        let sum = loadTail(acc, i, n).addingProduct(gradient, gradient)
        storeTail(loadTail(w, i, n) - adagradStep(gradient, sum, rates), w, i, n)
        storeTail(sum, acc, i, n)
    }
}

/// Adam and AdamW: m and v move, then w -= rate · m / (√v · root + 1e-8) + decay · w.
///
/// - Parameters:
///   - rate: the learning rate over 1 - 0.9^t.
///   - root: 1 / √(1 - 0.999^t).
///   - decay: learning rate times weight decay; 0 for Adam.
public func adam(
    _ w: UnsafeMutablePointer<Float>, _ m: UnsafeMutablePointer<Float>,
    _ v: UnsafeMutablePointer<Float>, _ g: UnsafePointer<Float>, rate: Float, root: Float,
    decay: Float, count: Int
) {
    var i = 0
    while i < count {
        let n = min(16, count &- i)
        let gradient = loadTail(g, i, n)
        let first = Lanes(repeating: 0.9) * loadTail(m, i, n) + Lanes(repeating: 0.1) * gradient
        let second =
            Lanes(repeating: 0.999) * loadTail(v, i, n)
            + Lanes(repeating: 0.001) * gradient * gradient
        let step =
            Lanes(repeating: rate) * first
            / (cs_sqrt16(second) * Lanes(repeating: root) + Lanes(repeating: 1e-8))
        let weight = loadTail(w, i, n)
        storeTail(weight - step - Lanes(repeating: decay) * weight, w, i, n)
        storeTail(first, m, i, n)
        storeTail(second, v, i, n)
        i &+= 16
    }
}

/// Asks the cache for `bytes` bytes from `address` on.
@inline(__always)
public func prefetch(_ address: UnsafeRawPointer, bytes: Int) {
    var i = 0
    while i < bytes {
        cs_prefetch(address + i)
        i &+= 64
    }
}
