// The domain adaptive layer: each domain's own map into the space that all experts share.

import Tensors

/// What the input layer keeps of a batch.
struct InputPass {
    /// (B, H) each: normalised values, and h.
    var normal = UnsafeMutablePointer<Float>(bitPattern: 64)!
    var h = UnsafeMutablePointer<Float>(bitPattern: 64)!
    var reciprocal = UnsafeMutablePointer<Float>(bitPattern: 64)!
    /// (B, H): h before a domain's own scale and shift, where there is one.
    var common = UnsafeMutablePointer<Float>(bitPattern: 64)!
    /// (B, low_rank): x in the low-rank correction's space.
    var low = UnsafeMutablePointer<Float>(bitPattern: 64)!
    /// (B, H) and (B, X): the gradients of h and x.
    var dh = UnsafeMutablePointer<Float>(bitPattern: 64)!
    var dx = Matrix(UnsafeMutablePointer<Float>(bitPattern: 64)!, 0, 0)
}

extension Network {
    /// h = LN(W_m x + b_m + U d_m), or LN(W x + b) where the layer is not adaptive.
    ///
    /// - Source: specification, section 3.
    func inputForward() {
        let c = configuration
        let H = c.H
        let p = parameters.places
        adapted = InputPass()
        let raw = arena.floats(B * H)
        adapted.h = arena.floats(B * H)
        if mode == .train {
            adapted.normal = arena.floats(B * H)
            adapted.reciprocal = arena.floats(B)
        }
        if c.domain_norm { adapted.common = arena.floats(B * H) }
        if c.low_rank > 0 { adapted.low = arena.floats(B * c.low_rank) }
        let correction = arena.floats(c.low_rank > 0 ? B * H : 0)
        let biases = arena.floats(c.M * H)
        if c.da {
            for segment in segments {
                let bias = biases + segment.domain * H
                let embedding = weight(p.domain) + segment.domain * c.d
                bias.update(from: weight(p.daBias) + segment.domain * H, count: H)
                for o in 0..<H {
                    bias[o] += Kernels.dot(weight(p.daU) + o * c.d, embedding, count: c.d)
                }
            }
        }
        let pass = adapted
        let keep = mode == .train
        splitSegments { m, lower, upper in
            let n = upper - lower
            let rows = x.rows(lower, upper)
            let out = Matrix(raw + lower * H, n, H)
            var bias = weight(p.input.bias)
            if c.da {
                linear(out, rows, Matrix(weight(p.daWeight) + m * H * c.X, H, c.X))
                bias = biases + m * H
                if c.low_rank > 0 {
                    let K = c.low_rank
                    let low = Matrix(pass.low + lower * K, n, K)
                    linear(low, rows, Matrix(weight(p.lowA) + m * K * c.X, K, c.X))
                    let extra = Matrix(correction + lower * H, n, H)
                    linear(extra, low, Matrix(weight(p.lowB) + m * H * K, H, K))
                    Kernels.addScaled(out.base, extra.base, 1, count: n * H)
                }
            } else {
                linear(out, rows, Matrix(weight(p.input.weight), H, c.X))
            }
            let target = c.domain_norm ? pass.common : pass.h
            Kernels.layerNorm(
                target + lower * H, normal: keep ? pass.normal + lower * H : nil,
                reciprocal: keep ? pass.reciprocal + lower : nil, out.base, rows: n, columns: H,
                bias: bias, gamma: weight(p.input.gamma), beta: weight(p.input.beta))
            if c.domain_norm {
                for r in lower..<upper {
                    let h = pass.h + r * H
                    h.update(from: weight(p.normBeta) + m * H, count: H)
                    Kernels.addProducts(
                        h, pass.common + r * H, weight(p.normGamma) + m * H, count: H)
                }
            }
        }
    }

    /// From dh, (B, H) in `adapted.dh` and overwritten, to the layer's tensors and `adapted.dx`.
    func inputBackward() {
        let c = configuration
        let H = c.H
        let p = parameters.places
        let dh = adapted.dh
        if c.domain_norm {
            for segment in segments {
                let m = segment.domain
                for r in segment.lower..<segment.upper {
                    let row = dh + r * H
                    Kernels.addProducts(
                        gradient(p.normGamma) + m * H, row, adapted.common + r * H, count: H)
                    Kernels.addScaled(gradient(p.normBeta) + m * H, row, 1, count: H)
                    Kernels.multiply(row, row, weight(p.normGamma) + m * H, count: H)
                }
            }
        }
        normBackward(
            dh, dh, normal: adapted.normal, reciprocal: adapted.reciprocal, rows: B, columns: H,
            gamma: p.input.gamma, beta: p.input.beta, weights: true)
        let rows = Matrix(dh, B, H)
        if c.da {
            let dbias = arena.zeros(c.M * H)
            for segment in segments {
                let m = segment.domain
                let sums = dbias + m * H
                Kernels.addColumnSums(
                    sums, dh + segment.lower * H, stride: H, rows: segment.count, columns: H)
                Kernels.addScaled(gradient(p.daBias) + m * H, sums, 1, count: H)
                let embedding = weight(p.domain) + m * c.d
                for o in 0..<H {
                    Kernels.addScaled(gradient(p.daU) + o * c.d, embedding, sums[o], count: c.d)
                    Kernels.addScaled(
                        gradient(p.domain) + m * c.d, weight(p.daU) + o * c.d, sums[o],
                        count: c.d)
                }
            }
            splitOutputs(H) { lower, upper in
                for segment in segments {
                    largeGradient(
                        p.daWeight + (segment.domain * H + lower) * c.X,
                        rows.rows(segment.lower, segment.upper).columns(lower, upper),
                        x.rows(segment.lower, segment.upper))
                }
            }
        } else {
            Kernels.addColumnSums(gradient(p.input.bias), dh, stride: H, rows: B, columns: H)
            splitOutputs(H) { lower, upper in
                largeGradient(
                    p.input.weight + lower * c.X, rows.columns(lower, upper), x)
            }
        }
        let needsInput = wants.encoders
        if needsInput { adapted.dx = Matrix(arena.floats(B * x.stride), B, c.X, stride: x.stride) }
        let dx = adapted.dx
        if c.low_rank > 0 { lowRankBackward(rows, needsInput: needsInput) }
        if !needsInput { return }
        splitSegments { m, lower, upper in
            let w =
                c.da
                ? Matrix(weight(p.daWeight) + m * H * c.X, H, c.X)
                : Matrix(weight(p.input.weight), H, c.X)
            Product.back(
                dx.rows(lower, upper), rows.rows(lower, upper), w, accumulate: c.low_rank > 0)
        }
    }

    /// The way back of the correction b_m a_m x; writes its share of dx first.
    private func lowRankBackward(_ rows: Matrix, needsInput: Bool) {
        let c = configuration
        let p = parameters.places
        let (K, H) = (c.low_rank, c.H)
        for segment in segments {
            let m = segment.domain
            let dout = rows.rows(segment.lower, segment.upper)
            let low = Matrix(adapted.low + segment.lower * K, segment.count, K)
            let dlow = Matrix(arena.floats(segment.count * K), segment.count, K)
            Product.weights(
                Matrix(gradient(p.lowB) + m * H * K, H, K), dout, low, accumulate: true)
            Product.back(dlow, dout, Matrix(weight(p.lowB) + m * H * K, H, K))
            Product.weights(
                Matrix(gradient(p.lowA) + m * K * c.X, K, c.X), dlow,
                x.rows(segment.lower, segment.upper), accumulate: true)
            if needsInput {
                Product.back(
                    adapted.dx.rows(segment.lower, segment.upper), dlow,
                    Matrix(weight(p.lowA) + m * K * c.X, K, c.X))
            }
        }
    }

    /// Calls `body(domain, lower, upper)` for runs of rows of one domain, lanes side by side.
    func splitSegments(_ body: (Int, Int, Int) -> Void) {
        workers.split(B, mode: mode) { _, lower, upper in
            for segment in segments {
                let first = max(lower, segment.lower)
                let last = min(upper, segment.upper)
                if first < last { body(segment.domain, first, last) }
            }
        }
    }

    /// The same for heads: `body(segment)` with the segment cut to the lane's rows.
    func splitHeads(_ body: (HeadSegment) -> Void) {
        workers.split(B, mode: mode) { _, lower, upper in
            for segment in headSegments {
                var piece = segment
                piece.lower = max(lower, segment.lower)
                piece.upper = min(upper, segment.upper)
                piece.output += piece.lower - segment.lower
                if piece.lower < piece.upper { body(piece) }
            }
        }
    }

    /// Calls `body(lower, upper)` for runs of a weight's output rows, side by side in large batches.
    func splitOutputs(_ count: Int, _ body: (Int, Int) -> Void) {
        if B < Workers.least || count < 64 {
            body(0, count)
            return
        }
        let half = (count / 2 + 31) & ~31
        workers.pair({ body(0, half) }, { body(half, count) })
    }
}
