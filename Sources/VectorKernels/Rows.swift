// Kernels that look at one row at a time: normalisation, softmax, gathers. What a row becomes never
// depends on the rows beside it.

import CVectors

/// y = gamma (x - mean) / √(var + 1e-5) + beta for each row; biased variance over the row.
///
/// - Parameters:
///   - y: (rows, columns), overwritten; may not be `normal`.
///   - normal: (rows, columns) or nil, overwritten with (x - mean)/√…, which `backward` needs.
///   - reciprocal: (rows) or nil, overwritten with 1/√….
public func layerNorm(
    _ y: UnsafeMutablePointer<Float>, normal: UnsafeMutablePointer<Float>?,
    reciprocal: UnsafeMutablePointer<Float>?, _ x: UnsafePointer<Float>, rows: Int, columns: Int,
    bias: UnsafePointer<Float>?,
    gamma: UnsafePointer<Float>, beta: UnsafePointer<Float>
) {
    let full = columns & ~15
    let rest = columns &- full
    for r in 0..<rows {
        let input = x + r &* columns
        let output = y + r &* columns
        var total = Lanes(repeating: 0)
        if let bias {
            var i = 0
            while i < full {
                let value = load(input, i) + load(bias, i)
                store(value, output, i)
                total += value
                i &+= 16
            }
            if rest > 0 {
                let value = loadTail(input, full, rest) + loadTail(bias, full, rest)
                storeTail(value, output, full, rest)
                total += value
            }
        } else {
            var i = 0
            while i < full {
                let value = load(input, i)
                store(value, output, i)
                total += value
                i &+= 16
            }
            if rest > 0 {
                let value = loadTail(input, full, rest)
                storeTail(value, output, full, rest)
                total += value
            }
        }
        let mean = laneSum(total) / Float(columns)
        var squares = Lanes(repeating: 0)
        var i = 0
        while i < full {
            let centred = load(output, i) - mean
            squares.addProduct(centred, centred)
            i &+= 16
        }
        if rest > 0 {
            let centred = loadTail(output, full, rest, fill: mean) - mean
            squares.addProduct(centred, centred)
        }
        let scale = 1 / (laneSum(squares) / Float(columns) + 1e-5).squareRoot()
        i = 0
        while i < full {
            let value = (load(output, i) - mean) * scale
            if let normal { store(value, normal + r &* columns, i) }
            store(load(beta, i).addingProduct(value, load(gamma, i)), output, i)
            i &+= 16
        }
        while i < columns {
            let value = (output[i] - mean) * scale
            if let normal { normal[r &* columns &+ i] = value }
            output[i] = beta[i].addingProduct(value, gamma[i])
            i &+= 1
        }
        if let reciprocal { reciprocal[r] = scale }
    }
}

/// The gradient of `layerNorm`.
///
/// - Parameters:
///   - dx: (rows, columns), overwritten; may be `dy`.
///   - dgamma, dbeta: (columns), accumulated; nil where they are frozen.
///   - dy: (rows, columns); `normal`, `reciprocal`: what the forward pass kept.
public func layerNormBackward(
    _ dx: UnsafeMutablePointer<Float>, dgamma: UnsafeMutablePointer<Float>?,
    dbeta: UnsafeMutablePointer<Float>?, _ dy: UnsafePointer<Float>,
    normal: UnsafePointer<Float>, reciprocal: UnsafePointer<Float>, rows: Int, columns: Int,
    gamma: UnsafePointer<Float>
) {
    let full = columns & ~15
    let rest = columns &- full
    let share = 1 / Float(columns)
    for r in 0..<rows {
        let d = dy + r &* columns
        let n = normal + r &* columns
        let out = dx + r &* columns
        var sum = Lanes(repeating: 0)
        var product = Lanes(repeating: 0)
        var i = 0
        while i < full {
            let gradient = load(d, i)
            let value = load(n, i)
            if let dgamma {
                store(load(dgamma, i).addingProduct(gradient, value), dgamma, i)
            }
            if let dbeta { store(load(dbeta, i) + gradient, dbeta, i) }
            let scaled = gradient * load(gamma, i)
            sum += scaled
            product.addProduct(scaled, value)
            i &+= 16
        }
        if rest > 0 {
            let gradient = loadTail(d, full, rest)
            let value = loadTail(n, full, rest)
            if let dgamma {
                storeTail(
                    loadTail(dgamma, full, rest).addingProduct(gradient, value), dgamma, full, rest)
            }
            if let dbeta { storeTail(loadTail(dbeta, full, rest) + gradient, dbeta, full, rest) }
            let scaled = gradient * loadTail(gamma, full, rest)
            sum += scaled
            product.addProduct(scaled, value)
        }
        let meanGradient = laneSum(sum) * share
        let meanProduct = laneSum(product) * share
        let scale = reciprocal[r]
        i = 0
        while i < full {
            let scaled = load(d, i) * load(gamma, i) - meanGradient
            store((scaled - load(n, i) * meanProduct) * scale, out, i)
            i &+= 16
        }
        while i < columns {
            out[i] = (d[i] * gamma[i] - meanGradient - n[i] * meanProduct) * scale
            i &+= 1
        }
    }
}

/// Softmax of each row of x + bias, times `sharpness` inside the exponent.
public func softmaxRows(
    _ y: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, rows: Int, columns: Int,
    bias: UnsafePointer<Float>?, sharpness: Float
) {
    let full = columns & ~15
    let rest = columns &- full
    let lowest = -Float.greatestFiniteMagnitude
    for r in 0..<rows {
        let input = x + r &* columns
        let output = y + r &* columns
        var largest = Lanes(repeating: lowest)
        var i = 0
        while i < full {
            var value = load(input, i) * sharpness
            if let bias { value += load(bias, i) * sharpness }
            store(value, output, i)
            largest = larger(largest, value)
            i &+= 16
        }
        if rest > 0 {
            var value = loadTail(input, full, rest) * sharpness
            if let bias { value += loadTail(bias, full, rest) * sharpness }
            storeTail(value, output, full, rest)
            largest = larger(largest, loadTail(output, full, rest, fill: lowest))
        }
        let top = laneMaximum(largest)
        var total = Lanes(repeating: 0)
        i = 0
        while i < full {
            let value = exponential(load(output, i) - top)
            store(value, output, i)
            total += value
            i &+= 16
        }
        if rest > 0 {
            let value = exponential(loadTail(output, full, rest, fill: top) - top)
            storeTail(value, output, full, rest)
            total += loadTail(output, full, rest)
        }
        let scale = 1 / laneSum(total)
        i = 0
        while i < full {
            store(load(output, i) * scale, output, i)
            i &+= 16
        }
        while i < columns {
            output[i] *= scale
            i &+= 1
        }
    }
}
