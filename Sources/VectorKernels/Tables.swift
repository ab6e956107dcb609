// Kernels over rows of tables that lie far apart: gathered, averaged, added to, updated. Rows that come
// soon are asked for early, because most of the time goes into waiting for memory.

import CVectors

/// How many rows ahead memory is asked for.
private let ahead = 8

@inline(__always)
private func add(_ y: Pointer, _ x: ConstPointer, _ a: Float, _ count: Int) {
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

@inline(__always)
private func ask(_ base: ConstPointer, _ row: Int32, _ width: Int) {
    let address = UnsafeRawPointer(base + Int(row) &* width)
    cs_prefetch(address)
    if width > 16 { cs_prefetch(address + 64) }
}

/// out[i] = base[rows[i]], rows of `width` floats.
public func gatherRows(
    _ out: UnsafeMutablePointer<Float>, _ base: UnsafePointer<Float>, rows: UnsafePointer<Int32>,
    count: Int, width: Int
) {
    for i in 0..<count {
        if i &+ ahead < count { ask(base, rows[i &+ ahead], width) }
        let source = base + Int(rows[i]) &* width
        let target = out + i &* width
        var j = 0
        while j &+ 16 <= width {
            store(load(source, j), target, j)
            j &+= 16
        }
        while j < width {
            target[j] = source[j]
            j &+= 1
        }
    }
}

/// Means of bags: row r of `out` becomes the mean of base[ids[offsets[bag]..<offsets[bag + 1]]] with
/// bag = bags[r], or r where `bags` is nil; an empty bag gives zeros.
public func bagMeans(
    _ out: UnsafeMutablePointer<Float>, stride: Int, _ base: UnsafePointer<Float>, width: Int,
    ids: UnsafePointer<Int32>, offsets: UnsafePointer<Int32>, bags: UnsafePointer<Int32>?,
    lower: Int, upper: Int
) {
    for r in lower..<upper {
        if r &+ 4 < upper {
            let next = bags.map { Int($0[r &+ 4]) } ?? r &+ 4
            var j = Int(offsets[next])
            let end = Int(offsets[next &+ 1])
            while j < end {
                ask(base, ids[j], width)
                j &+= 1
            }
        }
        let bag = bags.map { Int($0[r]) } ?? r
        let first = Int(offsets[bag])
        let last = Int(offsets[bag &+ 1])
        let mean = out + r &* stride
        mean.update(repeating: 0, count: width)
        if first == last { continue }
        let share = 1 / Float(last &- first)
        var j = first
        while j < last {
            add(mean, base + Int(ids[j]) &* width, share, width)
            j &+= 1
        }
    }
}

/// out += scale · Σ base[rows[i]]; negative rows are left out.
public func addRows(
    _ out: UnsafeMutablePointer<Float>, _ base: UnsafePointer<Float>, rows: UnsafePointer<Int32>,
    count: Int, width: Int, scale: Float
) {
    for i in 0..<count where rows[i] >= 0 {
        add(out, base + Int(rows[i]) &* width, scale, width)
    }
}

/// base[rows[i]] += scale · x for every i; negative rows are left out.
public func addToRows(
    _ base: UnsafeMutablePointer<Float>, rows: UnsafePointer<Int32>, count: Int, width: Int,
    _ x: UnsafePointer<Float>, scale: Float
) {
    for i in 0..<count where rows[i] >= 0 {
        add(base + Int(rows[i]) &* width, x, scale, width)
    }
}

/// Adagrad on the rows of a table that a step touched; see `adagrad`.
///
/// - Parameters:
///   - g: (count, width), the gradient of each touched row.
///   - remember: what is left of the accumulators of touched rows first; 1 keeps them.
public func adagradRows(
    _ w: UnsafeMutablePointer<Float>, _ acc: UnsafeMutablePointer<Float>,
    rows: UnsafePointer<Int32>, count: Int, width: Int, _ g: UnsafePointer<Float>, rate: Float,
    remember: Float
) {
    let rates = Lanes(repeating: rate)
    let kept = Lanes(repeating: remember)
    for i in 0..<count {
        if i &+ ahead < count {
            ask(w, rows[i &+ ahead], width)
            ask(acc, rows[i &+ ahead], width)
        }
        let weights = w + Int(rows[i]) &* width
        let squares = acc + Int(rows[i]) &* width
        let gradients = g + i &* width
        var j = 0
        while j &+ 16 <= width {
            let gradient = load(gradients, j)
            let sum = (load(squares, j) * kept).addingProduct(gradient, gradient)
            store(sum, squares, j)
            store(load(weights, j) - adagradStep(gradient, sum, rates), weights, j)
            j &+= 16
        }
        if j < width {
            let n = width &- j
            let gradient = loadTail(gradients, j, n)
            let sum = (loadTail(squares, j, n) * kept).addingProduct(gradient, gradient)
            storeTail(loadTail(weights, j, n) - adagradStep(gradient, sum, rates), weights, j, n)
            storeTail(sum, squares, j, n)
        }
    }
}
