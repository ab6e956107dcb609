// STAR: a shared network whose weights each domain multiplies by its own, behind a partitioned norm.

import Tensors

/// What the backbone keeps of a batch, domain by domain in the order of the segments.
struct StarPass {
    struct Domain {
        /// (X): 1/√(var + eps), gamma · gamma_m.
        var reciprocal = UnsafeMutablePointer<Float>(bitPattern: 64)!
        var gamma = UnsafeMutablePointer<Float>(bitPattern: 64)!
        /// (n, X) normalised and scaled inputs; (n, width) outputs of the layers.
        var normal = Matrix(UnsafeMutablePointer<Float>(bitPattern: 64)!, 0, 0)
        var layers: [Matrix] = []
        /// The products of shared and own weights.
        var weights: [Matrix] = []
        var aux = Matrix(UnsafeMutablePointer<Float>(bitPattern: 64)!, 0, 0)
    }
    var domains: [Domain] = []
}

extension Network {
    /// From x to the logits.
    ///
    /// Means and variances are those of the domain's own rows in this batch (training) or the running
    /// ones; in training the running ones move by a tenth. - Source: specification, section 4; Sheng
    /// 2021.
    func starForward() {
        let c = configuration
        let p = parameters.places
        let X = c.X
        star.domains.removeAll(keepingCapacity: true)
        for segment in segments {
            let m = segment.domain
            let n = segment.count
            var pass = StarPass.Domain()
            pass.reciprocal = arena.floats(X)
            pass.gamma = arena.floats(X)
            pass.normal = takeMatrix(n, X)
            let mean = arena.zeros(X)
            let variance = arena.zeros(X)
            if mode == .train {
                batchMoments(segment, mean: mean, variance: variance)
                let (runningMean, runningVar) = (weight(p.pnMean) + m * X, weight(p.pnVar) + m * X)
                for j in 0..<X {
                    runningMean[j] += 0.1 * (mean[j] - runningMean[j])
                    runningVar[j] += 0.1 * (variance[j] - runningVar[j])
                }
            } else {
                mean.update(from: weight(p.pnMean) + m * X, count: X)
                variance.update(from: weight(p.pnVar) + m * X, count: X)
            }
            Kernels.multiply(
                pass.gamma, weight(p.pnGamma), weight(p.pnGammaM) + m * X, count: X)
            for j in 0..<X { pass.reciprocal[j] = 1 / (variance[j] + 1e-5).squareRoot() }
            let z0 = takeMatrix(n, X)
            let (beta, betaM) = (weight(p.pnBeta), weight(p.pnBetaM) + m * X)
            for r in 0..<n {
                let input = x.row(segment.lower + r)
                let (normal, out) = (pass.normal.row(r), z0.row(r))
                for j in 0..<X {
                    normal[j] = (input[j] - mean[j]) * pass.reciprocal[j]
                    out[j] = pass.gamma[j] * normal[j] + (beta[j] + betaM[j])
                }
            }
            pass.layers = [z0]
            for (l, layer) in p.star.enumerated() {
                let size = layer.out * layer.in
                let w = takeMatrix(layer.out, layer.in)
                Kernels.multiply(
                    w.base, weight(layer.weight), weight(layer.weightM) + m * size, count: size)
                let bias = arena.floats(layer.out)
                bias.update(from: weight(layer.bias), count: layer.out)
                Kernels.addScaled(
                    bias, weight(layer.biasM) + m * layer.out, 1, count: layer.out)
                let z = takeMatrix(n, layer.out)
                linear(z, pass.layers[l], w)
                if l < 2 {
                    Kernels.addBiasRectify(
                        z.base, stride: layer.out, rows: n, columns: layer.out, bias: bias)
                } else {
                    Kernels.addBias(
                        z.base, stride: layer.out, rows: n, columns: layer.out, bias: bias)
                }
                pass.weights.append(w)
                pass.layers.append(z)
            }
            let A = c.star_aux
            let bias = arena.floats(A)
            let embedding = weight(p.domain) + m * c.d
            for o in 0..<A {
                bias[o] =
                    weight(p.auxB1)[o]
                    + Kernels.dot(weight(p.aux1) + o * (X + c.d) + X, embedding, count: c.d)
            }
            pass.aux = takeMatrix(n, A)
            linear(
                pass.aux, x.rows(segment.lower, segment.upper),
                Matrix(weight(p.aux1), A, X, stride: X + c.d))
            Kernels.addBiasRectify(pass.aux.base, stride: A, rows: n, columns: A, bias: bias)
            for r in 0..<n {
                logits[segment.lower + r] =
                    pass.layers[3].row(r)[0]
                    + Kernels.dot(pass.aux.row(r), weight(p.aux2), count: A)
                    + weight(p.auxB2)[0]
            }
            star.domains.append(pass)
        }
    }

    /// Sums in double precision: a column that is constant in a domain must have the variance 0, or
    /// its rounding errors would be divided by √eps.
    private func batchMoments(
        _ segment: DomainSegment, mean: UnsafeMutablePointer<Float>,
        variance: UnsafeMutablePointer<Float>
    ) {
        let X = configuration.X
        let share = 1 / Double(segment.count)
        let sums = arena.take(Double.self, X)
        sums.update(repeating: 0, count: X)
        for r in segment.lower..<segment.upper {
            let input = x.row(r)
            for j in 0..<X { sums[j] += Double(input[j]) }
        }
        for j in 0..<X {
            mean[j] = Float(sums[j] * share)
            sums[j] = 0
        }
        for r in segment.lower..<segment.upper {
            let input = x.row(r)
            for j in 0..<X {
                let centred = Double(input[j] - mean[j])
                sums[j] += centred * centred
            }
        }
        for j in 0..<X { variance[j] = Float(sums[j] * share) }
    }

    /// From `dlogits` to the backbone's tensors and `adapted.dx`.
    func starBackward() {
        let c = configuration
        let p = parameters.places
        let X = c.X
        adapted.dx = Matrix(arena.floats(B * x.stride), B, X, stride: x.stride)
        for (segment, pass) in zip(segments, star.domains) {
            let m = segment.domain
            let n = segment.count
            let dlogit = dlogits + segment.lower
            auxBackward(segment, pass)
            var d = Matrix(dlogit, n, 1)
            for (l, layer) in p.star.enumerated().reversed() {
                if l < 2 {
                    Kernels.rectifyBackward(
                        d.base, pass.layers[l + 1].base, count: n * layer.out)
                }
                let size = layer.out * layer.in
                let dw = takeMatrix(layer.out, layer.in)
                Product.weights(dw, d, pass.layers[l])
                Kernels.addProducts(
                    gradient(layer.weight), dw.base, weight(layer.weightM) + m * size, count: size)
                Kernels.addProducts(
                    gradient(layer.weightM) + m * size, dw.base, weight(layer.weight), count: size)
                for target in [gradient(layer.bias), gradient(layer.biasM) + m * layer.out] {
                    Kernels.addColumnSums(
                        target, d.base, stride: layer.out, rows: n, columns: layer.out)
                }
                let below = takeMatrix(n, layer.in)
                Product.back(below, d, pass.weights[l])
                d = below
            }
            normalBackward(segment, pass, dz: d)
        }
    }

    private func auxBackward(_ segment: DomainSegment, _ pass: StarPass.Domain) {
        let c = configuration
        let p = parameters.places
        let (X, A, n) = (c.X, c.star_aux, segment.count)
        let dlogit = dlogits + segment.lower
        let daux = takeMatrix(n, A)
        for r in 0..<n {
            Kernels.scale(daux.row(r), weight(p.aux2), dlogit[r], count: A)
            Kernels.addScaled(gradient(p.aux2), pass.aux.row(r), dlogit[r], count: A)
            gradient(p.auxB2)[0] += dlogit[r]
        }
        Kernels.rectifyBackward(daux.base, pass.aux.base, count: n * A)
        let rows = x.rows(segment.lower, segment.upper)
        Product.weights(
            Matrix(gradient(p.aux1), A, X, stride: X + c.d), daux, rows, accumulate: true)
        Product.back(
            adapted.dx.rows(segment.lower, segment.upper), daux,
            Matrix(weight(p.aux1), A, X, stride: X + c.d))
        let dbias = arena.zeros(A)
        Kernels.addColumnSums(dbias, daux.base, stride: A, rows: n, columns: A)
        Kernels.addScaled(gradient(p.auxB1), dbias, 1, count: A)
        let embedding = weight(p.domain) + segment.domain * c.d
        for o in 0..<A {
            Kernels.addScaled(
                gradient(p.aux1) + o * (X + c.d) + X, embedding, dbias[o], count: c.d)
            Kernels.addScaled(
                gradient(p.domain) + segment.domain * c.d, weight(p.aux1) + o * (X + c.d) + X,
                dbias[o], count: c.d)
        }
    }

    /// The way back of the partitioned norm, gradients through the batch's mean and variance included.
    private func normalBackward(
        _ segment: DomainSegment, _ pass: StarPass.Domain, dz: Matrix
    ) {
        let p = parameters.places
        let X = configuration.X
        let (m, n) = (segment.domain, segment.count)
        let sums = arena.zeros(X)
        let products = arena.zeros(X)
        for r in 0..<n {
            Kernels.addScaled(sums, dz.row(r), 1, count: X)
            Kernels.addProducts(products, dz.row(r), pass.normal.row(r), count: X)
        }
        Kernels.addProducts(
            gradient(p.pnGamma), products, weight(p.pnGammaM) + m * X, count: X)
        Kernels.addProducts(
            gradient(p.pnGammaM) + m * X, products, weight(p.pnGamma), count: X)
        Kernels.addScaled(gradient(p.pnBeta), sums, 1, count: X)
        Kernels.addScaled(gradient(p.pnBetaM) + m * X, sums, 1, count: X)
        let share = 1 / Float(n)
        for r in 0..<n {
            let out = adapted.dx.row(segment.lower + r)
            let (d, normal) = (dz.row(r), pass.normal.row(r))
            for j in 0..<X {
                out[j] +=
                    pass.gamma[j] * pass.reciprocal[j]
                    * (d[j] - sums[j] * share - normal[j] * products[j] * share)
            }
        }
    }
}
