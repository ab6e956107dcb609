// The kernels, each compiled twice from one source: here the wider registers are taken where the
// processor has them. Both give the same bits.

import COpenBLAS
import VectorKernels
import VectorKernelsWide

/// Arithmetic on runs of floats. Every run lies in a `Block` (kernels read up to 64 bytes past its end).
public enum Kernels {
    /// Batches of at most so many rows are multiplied by our own kernels instead of OpenBLAS.
    public static let fewRows = 4

    @usableFromInline static let isWide = cs_cpu_has_avx512() == 1

    /// y = e^x, in place or not.
    public static func exponential(
        _ y: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, count: Int
    ) {
        if isWide {
            VectorKernelsWide.exponential(y, x, count: count)
        } else {
            VectorKernels.exponential(y, x, count: count)
        }
    }

    /// y = ln x for positive x, in place or not.
    public static func logarithm(
        _ y: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, count: Int
    ) {
        if isWide {
            VectorKernelsWide.logarithm(y, x, count: count)
        } else {
            VectorKernels.logarithm(y, x, count: count)
        }
    }

    /// y += a x.
    public static func addScaled(
        _ y: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ a: Float, count: Int
    ) {
        if isWide {
            VectorKernelsWide.addScaled(y, x, a, count: count)
        } else {
            VectorKernels.addScaled(y, x, a, count: count)
        }
    }

    /// y = a x.
    public static func scale(
        _ y: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ a: Float, count: Int
    ) {
        if isWide {
            VectorKernelsWide.scale(y, x, a, count: count)
        } else {
            VectorKernels.scale(y, x, a, count: count)
        }
    }

    /// y += a * b, lane by lane.
    public static func addProducts(
        _ y: UnsafeMutablePointer<Float>, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>,
        count: Int
    ) {
        if isWide {
            VectorKernelsWide.addProducts(y, a, b, count: count)
        } else {
            VectorKernels.addProducts(y, a, b, count: count)
        }
    }

    /// y = a * b, lane by lane.
    public static func multiply(
        _ y: UnsafeMutablePointer<Float>, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>,
        count: Int
    ) {
        if isWide {
            VectorKernelsWide.multiply(y, a, b, count: count)
        } else {
            VectorKernels.multiply(y, a, b, count: count)
        }
    }

    /// The inner product, in a fixed order.
    public static func dot(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, count: Int)
        -> Float
    {
        if isWide {
            return VectorKernelsWide.dot(a, b, count: count)
        } else {
            return VectorKernels.dot(a, b, count: count)
        }
    }

    /// Adds `bias` to every row.
    public static func addBias(
        _ y: UnsafeMutablePointer<Float>, stride: Int, rows: Int, columns: Int,
        bias: UnsafePointer<Float>
    ) {
        if isWide {
            VectorKernelsWide.addBias(y, stride: stride, rows: rows, columns: columns, bias: bias)
        } else {
            VectorKernels.addBias(y, stride: stride, rows: rows, columns: columns, bias: bias)
        }
    }

    /// y = max(0, y + bias) for every row.
    public static func addBiasRectify(
        _ y: UnsafeMutablePointer<Float>, stride: Int, rows: Int, columns: Int,
        bias: UnsafePointer<Float>
    ) {
        if isWide {
            VectorKernelsWide.addBiasRectify(
                y, stride: stride, rows: rows, columns: columns, bias: bias)
        } else {
            VectorKernels.addBiasRectify(
                y, stride: stride, rows: rows, columns: columns, bias: bias)
        }
    }

    /// dy = 0 where the rectified y is 0.
    public static func rectifyBackward(
        _ dy: UnsafeMutablePointer<Float>, _ y: UnsafePointer<Float>, count: Int
    ) {
        if isWide {
            VectorKernelsWide.rectifyBackward(dy, y, count: count)
        } else {
            VectorKernels.rectifyBackward(dy, y, count: count)
        }
    }

    /// sums[j] += Σ_r x[r, j].
    public static func addColumnSums(
        _ sums: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, stride: Int, rows: Int,
        columns: Int
    ) {
        if isWide {
            VectorKernelsWide.addColumnSums(sums, x, stride: stride, rows: rows, columns: columns)
        } else {
            VectorKernels.addColumnSums(sums, x, stride: stride, rows: rows, columns: columns)
        }
    }

    /// acc += g², w -= rate · g / (√acc + 1e-10).
    public static func adagrad(
        _ w: UnsafeMutablePointer<Float>, _ acc: UnsafeMutablePointer<Float>,
        _ g: UnsafePointer<Float>, rate: Float, count: Int
    ) {
        if isWide {
            VectorKernelsWide.adagrad(w, acc, g, rate: rate, count: count)
        } else {
            VectorKernels.adagrad(w, acc, g, rate: rate, count: count)
        }
    }

    /// Adam and AdamW; see VectorKernels.
    public static func adam(
        _ w: UnsafeMutablePointer<Float>, _ m: UnsafeMutablePointer<Float>,
        _ v: UnsafeMutablePointer<Float>, _ g: UnsafePointer<Float>, rate: Float, root: Float,
        decay: Float, count: Int
    ) {
        if isWide {
            VectorKernelsWide.adam(w, m, v, g, rate: rate, root: root, decay: decay, count: count)
        } else {
            VectorKernels.adam(w, m, v, g, rate: rate, root: root, decay: decay, count: count)
        }
    }

    /// y = gamma (x + bias - mean)/√(var + 1e-5) + beta, row by row.
    public static func layerNorm(
        _ y: UnsafeMutablePointer<Float>, normal: UnsafeMutablePointer<Float>?,
        reciprocal: UnsafeMutablePointer<Float>?, _ x: UnsafePointer<Float>, rows: Int,
        columns: Int, bias: UnsafePointer<Float>?, gamma: UnsafePointer<Float>,
        beta: UnsafePointer<Float>
    ) {
        if isWide {
            VectorKernelsWide.layerNorm(
                y, normal: normal, reciprocal: reciprocal, x, rows: rows, columns: columns,
                bias: bias, gamma: gamma, beta: beta)
        } else {
            VectorKernels.layerNorm(
                y, normal: normal, reciprocal: reciprocal, x, rows: rows, columns: columns,
                bias: bias, gamma: gamma, beta: beta)
        }
    }

    /// y = gelu(y + bias) for every row, with the exact formula x (1 + erf(x/√2)) / 2.
    public static func addBiasGelu(
        _ y: UnsafeMutablePointer<Float>, stride: Int, rows: Int, columns: Int,
        bias: UnsafePointer<Float>
    ) {
        if isWide {
            VectorKernelsWide.addBiasGelu(
                y, stride: stride, rows: rows, columns: columns, bias: bias)
        } else {
            VectorKernels.addBiasGelu(y, stride: stride, rows: rows, columns: columns, bias: bias)
        }
    }

    /// y = layer norm of y + bias + residual; see VectorKernels.
    public static func addResidualNorm(
        _ y: UnsafeMutablePointer<Float>, rows: Int, columns: Int, bias: UnsafePointer<Float>,
        residual: UnsafePointer<Float>, gamma: UnsafePointer<Float>, beta: UnsafePointer<Float>,
        epsilon: Float
    ) {
        if isWide {
            VectorKernelsWide.addResidualNorm(
                y, rows: rows, columns: columns, bias: bias, residual: residual, gamma: gamma,
                beta: beta, epsilon: epsilon)
        } else {
            VectorKernels.addResidualNorm(
                y, rows: rows, columns: columns, bias: bias, residual: residual, gamma: gamma,
                beta: beta, epsilon: epsilon)
        }
    }

    /// The gradient of `layerNorm`: dx is overwritten, dgamma and dbeta accumulate.
    public static func layerNormBackward(
        _ dx: UnsafeMutablePointer<Float>, dgamma: UnsafeMutablePointer<Float>?,
        dbeta: UnsafeMutablePointer<Float>?, _ dy: UnsafePointer<Float>,
        normal: UnsafePointer<Float>, reciprocal: UnsafePointer<Float>, rows: Int, columns: Int,
        gamma: UnsafePointer<Float>
    ) {
        if isWide {
            VectorKernelsWide.layerNormBackward(
                dx, dgamma: dgamma, dbeta: dbeta, dy, normal: normal, reciprocal: reciprocal,
                rows: rows, columns: columns, gamma: gamma)
        } else {
            VectorKernels.layerNormBackward(
                dx, dgamma: dgamma, dbeta: dbeta, dy, normal: normal, reciprocal: reciprocal,
                rows: rows, columns: columns, gamma: gamma)
        }
    }

    /// Softmax of sharpness · (x + bias), row by row.
    public static func softmaxRows(
        _ y: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, rows: Int, columns: Int,
        bias: UnsafePointer<Float>?, sharpness: Float
    ) {
        if isWide {
            VectorKernelsWide.softmaxRows(
                y, x, rows: rows, columns: columns, bias: bias, sharpness: sharpness)
        } else {
            VectorKernels.softmaxRows(
                y, x, rows: rows, columns: columns, bias: bias, sharpness: sharpness)
        }
    }

    /// c = a bᵀ for few rows.
    public static func linearFew(
        _ c: UnsafeMutablePointer<Float>, _ strideC: Int, _ a: UnsafePointer<Float>, _ strideA: Int,
        _ b: UnsafePointer<Float>, _ strideB: Int, rows: Int, columns: Int, depth: Int,
        accumulate: Bool
    ) {
        if isWide {
            VectorKernelsWide.linearFew(
                c, strideC, a, strideA, b, strideB, rows: rows, columns: columns, depth: depth,
                accumulate: accumulate)
        } else {
            VectorKernels.linearFew(
                c, strideC, a, strideA, b, strideB, rows: rows, columns: columns, depth: depth,
                accumulate: accumulate)
        }
    }

    /// c = a b for few rows.
    public static func backFew(
        _ c: UnsafeMutablePointer<Float>, _ strideC: Int, _ a: UnsafePointer<Float>, _ strideA: Int,
        _ b: UnsafePointer<Float>, _ strideB: Int, rows: Int, columns: Int, depth: Int,
        accumulate: Bool
    ) {
        if isWide {
            VectorKernelsWide.backFew(
                c, strideC, a, strideA, b, strideB, rows: rows, columns: columns, depth: depth,
                accumulate: accumulate)
        } else {
            VectorKernels.backFew(
                c, strideC, a, strideA, b, strideB, rows: rows, columns: columns, depth: depth,
                accumulate: accumulate)
        }
    }

    /// c = aᵀ b for few rows of a and b.
    public static func weightsFew(
        _ c: UnsafeMutablePointer<Float>, _ strideC: Int, _ a: UnsafePointer<Float>, _ strideA: Int,
        _ b: UnsafePointer<Float>, _ strideB: Int, batch: Int, rows: Int, columns: Int,
        accumulate: Bool
    ) {
        if isWide {
            VectorKernelsWide.weightsFew(
                c, strideC, a, strideA, b, strideB, batch: batch, rows: rows, columns: columns,
                accumulate: accumulate)
        } else {
            VectorKernels.weightsFew(
                c, strideC, a, strideA, b, strideB, batch: batch, rows: rows, columns: columns,
                accumulate: accumulate)
        }
    }

    /// out[i] = base[rows[i]], rows of `width` floats.
    public static func gatherRows(
        _ out: UnsafeMutablePointer<Float>, _ base: UnsafePointer<Float>,
        rows: UnsafePointer<Int32>, count: Int, width: Int
    ) {
        if isWide {
            VectorKernelsWide.gatherRows(out, base, rows: rows, count: count, width: width)
        } else {
            VectorKernels.gatherRows(out, base, rows: rows, count: count, width: width)
        }
    }

    /// Means of bags; see VectorKernels.
    public static func bagMeans(
        _ out: UnsafeMutablePointer<Float>, stride: Int, _ base: UnsafePointer<Float>, width: Int,
        ids: UnsafePointer<Int32>, offsets: UnsafePointer<Int32>, bags: UnsafePointer<Int32>?,
        lower: Int, upper: Int
    ) {
        if isWide {
            VectorKernelsWide.bagMeans(
                out, stride: stride, base, width: width, ids: ids, offsets: offsets, bags: bags,
                lower: lower, upper: upper)
        } else {
            VectorKernels.bagMeans(
                out, stride: stride, base, width: width, ids: ids, offsets: offsets, bags: bags,
                lower: lower, upper: upper)
        }
    }

    /// out += scale · Σ base[rows[i]]; negative rows are left out.
    public static func addRows(
        _ out: UnsafeMutablePointer<Float>, _ base: UnsafePointer<Float>,
        rows: UnsafePointer<Int32>, count: Int, width: Int, scale: Float
    ) {
        if isWide {
            VectorKernelsWide.addRows(
                out, base, rows: rows, count: count, width: width, scale: scale)
        } else {
            VectorKernels.addRows(out, base, rows: rows, count: count, width: width, scale: scale)
        }
    }

    /// base[rows[i]] += scale · x; negative rows are left out.
    public static func addToRows(
        _ base: UnsafeMutablePointer<Float>, rows: UnsafePointer<Int32>, count: Int, width: Int,
        _ x: UnsafePointer<Float>, scale: Float
    ) {
        if isWide {
            VectorKernelsWide.addToRows(
                base, rows: rows, count: count, width: width, x, scale: scale)
        } else {
            VectorKernels.addToRows(base, rows: rows, count: count, width: width, x, scale: scale)
        }
    }

    /// Adagrad on the touched rows of a table.
    public static func adagradRows(
        _ w: UnsafeMutablePointer<Float>, _ acc: UnsafeMutablePointer<Float>,
        rows: UnsafePointer<Int32>, count: Int, width: Int, _ g: UnsafePointer<Float>, rate: Float,
        remember: Float
    ) {
        if isWide {
            VectorKernelsWide.adagradRows(
                w, acc, rows: rows, count: count, width: width, g, rate: rate, remember: remember)
        } else {
            VectorKernels.adagradRows(
                w, acc, rows: rows, count: count, width: width, g, rate: rate, remember: remember)
        }
    }

    /// out[i] = W texts[rows[i]]; see VectorKernels.
    public static func projectTexts(
        _ out: UnsafeMutablePointer<Float>, packed: UnsafePointer<Float>, outputs: Int,
        _ texts: UnsafePointer<Float>, width: Int, rows: UnsafePointer<Int32>, count: Int
    ) {
        if isWide {
            VectorKernelsWide.projectTexts(
                out, packed: packed, outputs: outputs, texts, width: width, rows: rows, count: count
            )
        } else {
            VectorKernels.projectTexts(
                out, packed: packed, outputs: outputs, texts, width: width, rows: rows, count: count
            )
        }
    }

    /// dw[o] += Σ_i d[i, o] texts[rows[i]]; see VectorKernels.
    public static func addTextGradients(
        _ dw: UnsafeMutablePointer<Float>, _ d: UnsafePointer<Float>, outputs: Int,
        _ texts: UnsafePointer<Float>, width: Int, rows: UnsafePointer<Int32>, count: Int,
        next: Int,
        lower: Int, upper: Int
    ) {
        if isWide {
            VectorKernelsWide.addTextGradients(
                dw, d, outputs: outputs, texts, width: width, rows: rows, count: count, next: next,
                lower: lower, upper: upper)
        } else {
            VectorKernels.addTextGradients(
                dw, d, outputs: outputs, texts, width: width, rows: rows, count: count, next: next,
                lower: lower, upper: upper)
        }
    }

    /// Adagrad from dᵀ x of a few rows; see VectorKernels.
    public static func adagradFew(
        _ w: UnsafeMutablePointer<Float>, _ acc: UnsafeMutablePointer<Float>,
        _ d: UnsafePointer<Float>, _ strideD: Int, _ x: UnsafePointer<Float>, _ strideX: Int,
        batch: Int,
        rows: Int, columns: Int, rate: Float
    ) {
        if isWide {
            VectorKernelsWide.adagradFew(
                w, acc, d, strideD, x, strideX, batch: batch, rows: rows, columns: columns,
                rate: rate)
        } else {
            VectorKernels.adagradFew(
                w, acc, d, strideD, x, strideX, batch: batch, rows: rows, columns: columns,
                rate: rate)
        }
    }
}

/// The two builds of the kernels side by side, so that their bits can be compared.
enum KernelTwins {
    static func run(
        wide: Bool, w: UnsafeMutablePointer<Float>, acc: UnsafeMutablePointer<Float>,
        normal: UnsafeMutablePointer<Float>, y: UnsafeMutablePointer<Float>,
        scale: UnsafeMutablePointer<Float>, x: UnsafePointer<Float>, gamma: UnsafePointer<Float>,
        count: Int
    ) {
        if wide {
            VectorKernelsWide.adagrad(w, acc, x, rate: 0.02, count: count)
            VectorKernelsWide.layerNorm(
                y, normal: normal, reciprocal: scale, x, rows: 1, columns: count, bias: gamma,
                gamma: gamma, beta: x)
            VectorKernelsWide.softmaxRows(
                y, y, rows: 1, columns: count, bias: nil, sharpness: 1.5)
            VectorKernelsWide.addScaled(
                y, w, VectorKernelsWide.dot(x, y, count: count), count: count)
        } else {
            VectorKernels.adagrad(w, acc, x, rate: 0.02, count: count)
            VectorKernels.layerNorm(
                y, normal: normal, reciprocal: scale, x, rows: 1, columns: count, bias: gamma,
                gamma: gamma, beta: x)
            VectorKernels.softmaxRows(y, y, rows: 1, columns: count, bias: nil, sharpness: 1.5)
            VectorKernels.addScaled(y, w, VectorKernels.dot(x, y, count: count), count: count)
        }
    }
}
