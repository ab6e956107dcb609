// What a transformer does between its products: each kernel is one pass over rows, bias included.

import CVectors

/// erf(x) in each lane; error under 3e-7.
///
/// A rational function of odd numerator and even denominator, constant beyond ±4 where erf is ±1 to the
/// last bit. - Source: coefficients of Eigen's `generic_fast_erf_float` (MPL 2.0 text, numbers only).
@inline(__always)
func errorFunction(_ x: Lanes) -> Lanes {
    let four = Lanes(repeating: 4)
    let raised = x.replacing(with: -four, where: x .< -four)
    let z = raised.replacing(with: four, where: raised .> four)
    let s = z * z
    var p = Lanes(repeating: -2.726_142_3e-10)
    p = Lanes(repeating: 2.770_681_4e-8).addingProduct(p, s)
    p = Lanes(repeating: -2.101_024e-6).addingProduct(p, s)
    p = Lanes(repeating: -5.692_506_4e-5).addingProduct(p, s)
    p = Lanes(repeating: -7.349_906_3e-4).addingProduct(p, s)
    p = Lanes(repeating: -2.954_598_1e-3).addingProduct(p, s)
    p = Lanes(repeating: -1.609_603_3e-2).addingProduct(p, s)
    var q = Lanes(repeating: -1.456_607_2e-5)
    q = Lanes(repeating: -2.133_740_6e-4).addingProduct(q, s)
    q = Lanes(repeating: -1.682_826_9e-3).addingProduct(q, s)
    q = Lanes(repeating: -7.373_329_3e-3).addingProduct(q, s)
    q = Lanes(repeating: -1.426_473_9e-2).addingProduct(q, s)
    return z * p / q
}

/// y = gelu(y + bias) for every row, gelu(x) = x (1 + erf(x/√2)) / 2; absolute error under 2e-6.
public func addBiasGelu(
    _ y: UnsafeMutablePointer<Float>, stride: Int, rows: Int, columns: Int,
    bias: UnsafePointer<Float>
) {
    let half = Lanes(repeating: 0.5)
    let root = Lanes(repeating: 0.707_106_77)
    for r in 0..<rows {
        let row = y + r &* stride
        var i = 0
        while i < columns {
            let n = columns &- i
            if n >= 16 {
                let x = load(row, i) + load(bias, i)
                let h = x * half
                store(h.addingProduct(h, errorFunction(x * root)), row, i)
            } else {
                let x = loadTail(row, i, n) + loadTail(bias, i, n)
                let h = x * half
                storeTail(h.addingProduct(h, errorFunction(x * root)), row, i, n)
            }
            i &+= 16
        }
    }
}

/// y = gamma (x - mean)/√(var + epsilon) + beta with x = y + bias + residual, row by row.
///
/// - Parameters:
///   - y: (rows, columns), what the layer's product gave; overwritten.
///   - residual: (rows, columns), what the layer saw; may not be `y`.
public func addResidualNorm(
    _ y: UnsafeMutablePointer<Float>, rows: Int, columns: Int, bias: UnsafePointer<Float>,
    residual: UnsafePointer<Float>, gamma: UnsafePointer<Float>, beta: UnsafePointer<Float>,
    epsilon: Float
) {
    let full = columns & ~15
    let rest = columns &- full
    for r in 0..<rows {
        let row = y + r &* columns
        let old = residual + r &* columns
        var total = Lanes(repeating: 0)
        var i = 0
        while i < full {
            let value = load(row, i) + load(bias, i) + load(old, i)
            store(value, row, i)
            total += value
            i &+= 16
        }
        if rest > 0 {
            let value = loadTail(row, i, rest) + loadTail(bias, i, rest) + loadTail(old, i, rest)
            storeTail(value, row, i, rest)
            total += value
        }
        let mean = laneSum(total) / Float(columns)
        var squares = Lanes(repeating: 0)
        i = 0
        while i < full {
            let centred = load(row, i) - mean
            squares.addProduct(centred, centred)
            i &+= 16
        }
        if rest > 0 {
            let centred = loadTail(row, i, rest, fill: mean) - mean
            squares.addProduct(centred, centred)
        }
        let scale = 1 / (laneSum(squares) / Float(columns) + epsilon).squareRoot()
        i = 0
        while i < full {
            let value = (load(row, i) - mean) * scale
            store(load(beta, i).addingProduct(value, load(gamma, i)), row, i)
            i &+= 16
        }
        while i < columns {
            row[i] = beta[i].addingProduct((row[i] - mean) * scale, gamma[i])
            i &+= 1
        }
    }
}
