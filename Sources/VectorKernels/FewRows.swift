// Products for batches of a few rows, where packing a matrix would cost more than the product.

/// c = a bᵀ for few rows: each number is an inner product of two rows, sixteen running sums each.
public func linearFew(
    _ c: UnsafeMutablePointer<Float>, _ strideC: Int, _ a: UnsafePointer<Float>, _ strideA: Int,
    _ b: UnsafePointer<Float>, _ strideB: Int, rows: Int, columns: Int, depth: Int,
    accumulate: Bool
) {
    let full = depth & ~15
    let rest = depth &- full
    var o = 0
    while o &+ 4 <= columns {
        let b0 = b + o &* strideB
        let b1 = b0 + strideB
        let b2 = b1 + strideB
        let b3 = b2 + strideB
        for r in 0..<rows {
            let x = a + r &* strideA
            var s0 = Lanes(repeating: 0)
            var s1 = s0
            var s2 = s0
            var s3 = s0
            var k = 0
            while k < full {
                let value = load(x, k)
                s0.addProduct(value, load(b0, k))
                s1.addProduct(value, load(b1, k))
                s2.addProduct(value, load(b2, k))
                s3.addProduct(value, load(b3, k))
                k &+= 16
            }
            if rest > 0 {
                let value = loadTail(x, full, rest)
                s0.addProduct(value, loadTail(b0, full, rest))
                s1.addProduct(value, loadTail(b1, full, rest))
                s2.addProduct(value, loadTail(b2, full, rest))
                s3.addProduct(value, loadTail(b3, full, rest))
            }
            let out = c + (r &* strideC &+ o)
            if accumulate {
                out[0] += laneSum(s0)
                out[1] += laneSum(s1)
                out[2] += laneSum(s2)
                out[3] += laneSum(s3)
            } else {
                out[0] = laneSum(s0)
                out[1] = laneSum(s1)
                out[2] = laneSum(s2)
                out[3] = laneSum(s3)
            }
        }
        o &+= 4
    }
    while o < columns {
        let w = b + o &* strideB
        for r in 0..<rows {
            let value = dot(a + r &* strideA, w, count: depth)
            let out = c + (r &* strideC &+ o)
            if accumulate { out.pointee += value } else { out.pointee = value }
        }
        o &+= 1
    }
}

/// c = a b for few rows; rows of b that meet a zero of a are not read.
public func backFew(
    _ c: UnsafeMutablePointer<Float>, _ strideC: Int, _ a: UnsafePointer<Float>, _ strideA: Int,
    _ b: UnsafePointer<Float>, _ strideB: Int, rows: Int, columns: Int, depth: Int,
    accumulate: Bool
) {
    withUnsafeTemporaryAllocation(of: Int32.self, capacity: depth) { active in
        for r in 0..<rows {
            let out = c + r &* strideC
            if !accumulate { out.update(repeating: 0, count: columns) }
            let weights = a + r &* strideA
            var count = 0
            for k in 0..<depth where weights[k] != 0 {
                active[count] = Int32(truncatingIfNeeded: k)
                count &+= 1
            }
            for i in 0..<count {
                if i &+ 2 < count {
                    prefetch(b + Int(active[i &+ 2]) &* strideB, bytes: columns &* 4)
                }
                let k = Int(active[i])
                addScaled(out, b + k &* strideB, weights[k], count: columns)
            }
        }
    }
}

/// c = aᵀ b for a few rows of a and b.
public func weightsFew(
    _ c: UnsafeMutablePointer<Float>, _ strideC: Int, _ a: UnsafePointer<Float>, _ strideA: Int,
    _ b: UnsafePointer<Float>, _ strideB: Int, batch: Int, rows: Int, columns: Int,
    accumulate: Bool
) {
    for o in 0..<rows {
        let out = c + o &* strideC
        var isFresh = !accumulate
        for r in 0..<batch {
            let weight = a[r &* strideA &+ o]
            if weight == 0 { continue }
            let x = b + r &* strideB
            if isFresh {
                scale(out, x, weight, count: columns)
                isFresh = false
            } else {
                addScaled(out, x, weight, count: columns)
            }
        }
        if isFresh { out.update(repeating: 0, count: columns) }
    }
}

/// Adagrad on a weight matrix straight from what makes up its gradient, dᵀ x of a few rows: rows of w
/// whose unit got no gradient are neither read nor written.
///
/// The gradient is summed over the rows in their order, as `weightsFew` does.
///
/// - Parameters:
///   - w, acc: (rows, columns), contiguous. - d: (batch, rows). - x: (batch, columns).
public func adagradFew(
    _ w: UnsafeMutablePointer<Float>, _ acc: UnsafeMutablePointer<Float>,
    _ d: UnsafePointer<Float>, _ strideD: Int, _ x: UnsafePointer<Float>, _ strideX: Int,
    batch: Int, rows: Int, columns: Int, rate: Float
) {
    let rates = Lanes(repeating: rate)
    let zero = Lanes(repeating: 0)
    withUnsafeTemporaryAllocation(of: Int32.self, capacity: rows) { active in
        var count = 0
        for o in 0..<rows {
            var isQuiet = true
            for r in 0..<batch where d[r &* strideD &+ o] != 0 { isQuiet = false }
            if isQuiet { continue }
            active[count] = Int32(truncatingIfNeeded: o)
            count &+= 1
        }
        for i in 0..<count {
            // Active rows jump about, so the processor does not see the next one coming.
            if i &+ 2 < count {
                let next = Int(active[i &+ 2]) &* columns
                prefetch(w + next, bytes: columns &* 4)
                prefetch(acc + next, bytes: columns &* 4)
            }
            let o = Int(active[i])
            let weights = w + o &* columns
            let squares = acc + o &* columns
            var j = 0
            while j < columns {
                let n = min(16, columns &- j)
                var gradient = zero
                for r in 0..<batch {
                    let scale = Lanes(repeating: d[r &* strideD &+ o])
                    let row = x + r &* strideX
                    gradient.addProduct(n == 16 ? load(row, j) : loadTail(row, j, n), scale)
                }
                if any(gradient .!= zero) {
                    if n == 16 {
                        let sum = load(squares, j).addingProduct(gradient, gradient)
                        store(sum, squares, j)
                        store(load(weights, j) - adagradStep(gradient, sum, rates), weights, j)
                    } else {
                        let sum = loadTail(squares, j, n).addingProduct(gradient, gradient)
                        storeTail(sum, squares, j, n)
                        storeTail(
                            loadTail(weights, j, n) - adagradStep(gradient, sum, rates), weights, j,
                            n)
                    }
                }
                j &+= 16
            }
        }
    }
}
