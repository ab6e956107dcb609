// Experts, the gates that mix them, and the towers that end in a logit.

import Tensors

/// What the layers between h and the logits keep of a batch.
struct BackbonePass {
    /// (B, H) or what the last stacked level gives: inputs of own experts and gates, of shared ones.
    var ownInput = Matrix(UnsafeMutablePointer<Float>(bitPattern: 64)!, 0, 0)
    var sharedInput = Matrix(UnsafeMutablePointer<Float>(bitPattern: 64)!, 0, 0)
    /// (B, experts · hidden) of shared and own experts.
    var hidden = Matrix(UnsafeMutablePointer<Float>(bitPattern: 64)!, 0, 0)
    var ownHidden = Matrix(UnsafeMutablePointer<Float>(bitPattern: 64)!, 0, 0)
    /// (B, S, e2): outputs of the S experts that a gate mixes, own ones first.
    var outputs = Matrix(UnsafeMutablePointer<Float>(bitPattern: 64)!, 0, 0)
    var S = 0
    /// By head row: (R, S) gate weights, (R, e2) mixtures, (R, t) hidden layers of the towers.
    var gates = UnsafeMutablePointer<Float>(bitPattern: 64)!
    var f = UnsafeMutablePointer<Float>(bitPattern: 64)!
    var tower = UnsafeMutablePointer<Float>(bitPattern: 64)!
    var stack: [StackedPass] = []
}

extension Network {
    /// Shared experts before the gate, and own ones, of the backbone.
    private var hasShared: Bool { configuration.backbone != .single }
    private var hasOwn: Bool {
        configuration.backbone == .single || configuration.backbone == .ple
    }
    private var hasGate: Bool {
        configuration.backbone == .mmoe || configuration.backbone == .ple
    }

    /// From h to the logits.
    ///
    /// - Source: specification, section 4; MMoE Ma 2018, PLE Tang 2020.
    func backboneForward() {
        let c = configuration
        let p = parameters.places
        let h = Matrix(adapted.h, B, c.H)
        mixed = BackbonePass()
        (mixed.ownInput, mixed.sharedInput) = (h, h)
        if !p.levels.isEmpty { stackForward() }
        let own = hasOwn ? p.own.count : 0
        let shared = hasShared ? p.experts.count : 0
        mixed.S = own + shared
        mixed.outputs = Matrix(arena.floats(B * mixed.S * c.e2), B, mixed.S * c.e2)
        if hasShared {
            mixed.hidden = takeMatrix(B, shared * p.experts.hidden)
            let (input, hidden) = (mixed.sharedInput, mixed.hidden)
            let outputs = mixed.outputs.columns(own * c.e2, mixed.S * c.e2)
            workers.split(B, mode: mode) { _, lower, upper in
                expertsForward(
                    p.experts, input.rows(lower, upper), hidden.rows(lower, upper),
                    outputs.rows(lower, upper))
            }
        }
        if hasOwn {
            mixed.ownHidden = takeMatrix(B, own * p.own.hidden)
            let (input, hidden) = (mixed.ownInput, mixed.ownHidden)
            let outputs = mixed.outputs.columns(0, own * c.e2)
            splitSegments { m, lower, upper in
                expertsForward(
                    p.own.ofDomain(m), input.rows(lower, upper), hidden.rows(lower, upper),
                    outputs.rows(lower, upper))
            }
        }
        mixed.f = arena.floats(headRows * c.e2)
        mixed.tower = arena.floats(headRows * c.t)
        if hasGate { mixed.gates = arena.floats(headRows * mixed.S) }
        let pass = mixed
        let gated = hasGate
        splitHeads { segment in
            let n = segment.count
            let f = Matrix(pass.f + segment.output * c.e2, n, c.e2)
            let outputs = pass.outputs.rows(segment.lower, segment.upper)
            if gated {
                let gates = Matrix(pass.gates + segment.output * pass.S, n, pass.S)
                gateWeights(
                    gates, pass.ownInput.rows(segment.lower, segment.upper),
                    weight: p.gateWeight + segment.head * pass.S * pass.ownInput.columns,
                    bias: p.gateBias + segment.head * pass.S)
                mix(f, gates, outputs, width: c.e2)
            } else {
                for r in 0..<n { f.row(r).update(from: outputs.row(r), count: c.e2) }
            }
            let tower = Matrix(pass.tower + segment.output * c.t, n, c.t)
            linear(tower, f, Matrix(weight(p.tower1) + segment.head * c.t * c.e2, c.t, c.e2))
            Kernels.addBiasRectify(
                tower.base, stride: c.t, rows: n, columns: c.t,
                bias: weight(p.towerB1) + segment.head * c.t)
            let last = weight(p.tower2) + segment.head * c.t
            let bias = weight(p.towerB2)[segment.head]
            for r in 0..<n {
                logits[segment.output + r] = Kernels.dot(tower.row(r), last, count: c.t) + bias
            }
        }
    }

    func takeMatrix(_ rows: Int, _ columns: Int) -> Matrix {
        Matrix(arena.floats(rows * columns), rows, columns)
    }

    /// Softmax of a gate's logits for each row of `input`.
    func gateWeights(_ gates: Matrix, _ input: Matrix, weight place: Int, bias: Int) {
        linear(gates, input, Matrix(weight(place), gates.columns, input.columns))
        Kernels.softmaxRows(
            gates.base, gates.base, rows: gates.rows, columns: gates.columns, bias: weight(bias),
            sharpness: 1)
    }

    /// f = Σ_s g_s outputs_s, row by row.
    func mix(_ f: Matrix, _ gates: Matrix, _ outputs: Matrix, width: Int) {
        for r in 0..<f.rows {
            let row = f.row(r)
            let g = gates.row(r)
            Kernels.scale(row, outputs.row(r), g[0], count: width)
            for s in 1..<max(1, gates.columns) {
                Kernels.addScaled(row, outputs.row(r) + s * width, g[s], count: width)
            }
        }
    }

    /// Two rectified layers for every expert of a bank.
    ///
    /// - Parameters:
    ///   - input: (B, in). - hidden: (B, n · hidden), overwritten.
    ///   - output: (B, n · out), overwritten; its rows may be further apart.
    func expertsForward(_ place: ExpertPlace, _ input: Matrix, _ hidden: Matrix, _ output: Matrix) {
        let n = place.count
        linear(hidden, input, Matrix(weight(place.w1), n * place.hidden, place.input))
        Kernels.addBiasRectify(
            hidden.base, stride: hidden.stride, rows: hidden.rows, columns: n * place.hidden,
            bias: weight(place.b1))
        for e in 0..<n {
            linear(
                output.columns(e * place.output, (e + 1) * place.output),
                hidden.columns(e * place.hidden, (e + 1) * place.hidden),
                Matrix(
                    weight(place.w2) + e * place.output * place.hidden, place.output, place.hidden))
        }
        Kernels.addBiasRectify(
            output.base, stride: output.stride, rows: output.rows, columns: n * place.output,
            bias: weight(place.b2))
    }

    /// Gradients of a bank.
    ///
    /// - Parameters:
    ///   - doutput: (B, n · out), already 0 where the output is.
    ///   - dinput: (B, in), accumulated; nil if nothing below learns.
    /// Gradients of w1 and w2 are overwritten, those of the biases accumulated.
    func expertsBackward(
        _ place: ExpertPlace, _ input: Matrix, _ hidden: Matrix, doutput: Matrix, dhidden: Matrix,
        dinput: Matrix?, weights: Bool
    ) {
        let n = place.count
        let rows = input.rows
        let (width, out) = (place.hidden, place.output)
        workers.split(rows, mode: mode) { _, lower, upper in
            for e in 0..<n {
                Product.back(
                    dhidden.columns(e * width, (e + 1) * width).rows(lower, upper),
                    doutput.columns(e * out, (e + 1) * out).rows(lower, upper),
                    Matrix(weight(place.w2) + e * out * width, out, width))
            }
            Kernels.rectifyBackward(
                dhidden.row(lower), hidden.row(lower), count: (upper - lower) * n * width)
            if let dinput {
                Product.back(
                    dinput.rows(lower, upper), dhidden.rows(lower, upper),
                    Matrix(weight(place.w1), n * width, place.input), accumulate: true)
            }
        }
        if !weights { return }
        splitOutputs(n * width) { lower, upper in
            Kernels.addColumnSums(
                gradient(place.b1) + lower, dhidden.base + lower, stride: dhidden.stride,
                rows: rows, columns: upper - lower)
            largeGradient(
                place.w1 + lower * place.input, dhidden.columns(lower, upper), input)
        }
        splitOutputs(n * out) { lower, upper in
            Kernels.addColumnSums(
                gradient(place.b2) + lower, doutput.base + lower, stride: doutput.stride,
                rows: rows, columns: upper - lower)
            for e in 0..<n {
                let first = max(lower, e * out)
                let last = min(upper, (e + 1) * out)
                if first >= last { continue }
                largeGradient(
                    place.w2 + first * width, doutput.columns(first, last),
                    hidden.columns(e * width, (e + 1) * width))
            }
        }
    }

    /// From `dlogits` to the backbone's tensors and `adapted.dh`; returns the divergence.
    func backboneBackward(alpha: Float) -> Float {
        let c = configuration
        let p = parameters.places
        let pass = mixed
        let df = arena.floats(headRows * c.e2)
        towersBackward(df)
        let below = wants.experts || wants.gates || wants.input
        if !below { return divergenceValue() }
        let outputs = pass.outputs
        let doutputs = takeMatrix(B, pass.S * c.e2)
        let downInput = takeMatrix(B, pass.ownInput.columns)
        downInput.base.update(repeating: 0, count: B * downInput.columns)
        let isStacked = !p.levels.isEmpty
        var dsharedInput = downInput
        if isStacked {
            dsharedInput = takeMatrix(B, pass.ownInput.columns)
            dsharedInput.base.update(repeating: 0, count: B * downInput.columns)
        }
        doutputs.base.update(repeating: 0, count: B * doutputs.columns)
        if hasGate {
            let dgates = arena.floats(headRows * pass.S)
            splitHeads { segment in
                mixBackward(
                    df: Matrix(df + segment.output * c.e2, segment.count, c.e2),
                    gates: Matrix(pass.gates + segment.output * pass.S, segment.count, pass.S),
                    outputs: outputs.rows(segment.lower, segment.upper),
                    dgates: Matrix(dgates + segment.output * pass.S, segment.count, pass.S),
                    doutputs: doutputs.rows(segment.lower, segment.upper), width: c.e2)
                Product.back(
                    downInput.rows(segment.lower, segment.upper),
                    Matrix(dgates + segment.output * pass.S, segment.count, pass.S),
                    Matrix(
                        weight(p.gateWeight) + segment.head * pass.S * downInput.columns, pass.S,
                        downInput.columns), accumulate: true)
            }
            if wants.gates {
                for segment in headSegments {
                    gateGradients(
                        Matrix(dgates + segment.output * pass.S, segment.count, pass.S),
                        pass.ownInput.rows(segment.lower, segment.upper),
                        weight: p.gateWeight + segment.head * pass.S * downInput.columns,
                        bias: p.gateBias + segment.head * pass.S)
                }
            }
        } else {
            for segment in headSegments {
                Kernels.addScaled(
                    doutputs.row(segment.lower), df + segment.output * c.e2, 1,
                    count: segment.count * c.e2)
            }
        }
        workers.split(B, mode: mode) { _, lower, upper in
            Kernels.rectifyBackward(
                doutputs.row(lower), outputs.row(lower), count: (upper - lower) * doutputs.columns)
        }
        let own = hasOwn ? p.own.count : 0
        if hasOwn {
            let dhidden = takeMatrix(B, own * p.own.hidden)
            for segment in segments {
                expertsBackward(
                    p.own.ofDomain(segment.domain),
                    pass.ownInput.rows(segment.lower, segment.upper),
                    pass.ownHidden.rows(segment.lower, segment.upper),
                    doutput: doutputs.columns(0, own * c.e2).rows(segment.lower, segment.upper),
                    dhidden: dhidden.rows(segment.lower, segment.upper),
                    dinput: downInput.rows(segment.lower, segment.upper), weights: wants.experts)
            }
        }
        if hasShared {
            expertsBackward(
                p.experts, pass.sharedInput, pass.hidden,
                doutput: doutputs.columns(own * c.e2, pass.S * c.e2),
                dhidden: takeMatrix(B, p.experts.count * p.experts.hidden), dinput: dsharedInput,
                weights: wants.experts)
        }
        adapted.dh = downInput.base
        if isStacked { stackBackward(downInput, dsharedInput) }
        return divergenceBackward(alpha: alpha)
    }

    /// Gradients of a gate's weight and bias.
    func gateGradients(_ dgates: Matrix, _ input: Matrix, weight place: Int, bias: Int) {
        Product.weights(
            Matrix(gradient(place), dgates.columns, input.columns), dgates, input,
            accumulate: true)
        Kernels.addColumnSums(
            gradient(bias), dgates.base, stride: dgates.stride, rows: dgates.rows,
            columns: dgates.columns)
    }

    /// The way back of `mix` and the softmax before it.
    ///
    /// - Parameters:
    ///   - dgates: (B, S), overwritten with the gradient of the gate's logits.
    ///   - doutputs: (B, S · width), accumulated.
    func mixBackward(
        df: Matrix, gates: Matrix, outputs: Matrix, dgates: Matrix, doutputs: Matrix, width: Int
    ) {
        let S = gates.columns
        for r in 0..<df.rows {
            let d = df.row(r)
            let g = gates.row(r)
            let dg = dgates.row(r)
            var mean: Float = 0
            for s in 0..<S {
                dg[s] = Kernels.dot(d, outputs.row(r) + s * width, count: width)
                mean += g[s] * dg[s]
                Kernels.addScaled(doutputs.row(r) + s * width, d, g[s], count: width)
            }
            for s in 0..<S { dg[s] = g[s] * (dg[s] - mean) }
        }
    }

    /// From `dlogits` to the towers' tensors and df, (R, e2), overwritten.
    private func towersBackward(_ df: UnsafeMutablePointer<Float>) {
        let c = configuration
        let p = parameters.places
        let pass = mixed
        let dtower = arena.floats(headRows * c.t)
        let below = wants.experts || wants.gates || wants.input
        splitHeads { segment in
            let last = weight(p.tower2) + segment.head * c.t
            let rows = Matrix(dtower + segment.output * c.t, segment.count, c.t)
            for r in 0..<segment.count {
                Kernels.scale(rows.row(r), last, dlogits[segment.output + r], count: c.t)
            }
            Kernels.rectifyBackward(
                rows.base, pass.tower + segment.output * c.t, count: segment.count * c.t)
            if below {
                Product.back(
                    Matrix(df + segment.output * c.e2, segment.count, c.e2), rows,
                    Matrix(weight(p.tower1) + segment.head * c.t * c.e2, c.t, c.e2))
            }
        }
        if !wants.tower { return }
        for segment in headSegments {
            let tower = Matrix(pass.tower + segment.output * c.t, segment.count, c.t)
            let rows = Matrix(dtower + segment.output * c.t, segment.count, c.t)
            for r in 0..<segment.count {
                let dz = dlogits[segment.output + r]
                Kernels.addScaled(
                    gradient(p.tower2) + segment.head * c.t, tower.row(r), dz, count: c.t)
                gradient(p.towerB2)[segment.head] += dz
            }
            Kernels.addColumnSums(
                gradient(p.towerB1) + segment.head * c.t, rows.base, stride: c.t,
                rows: segment.count, columns: c.t)
            Product.weights(
                Matrix(gradient(p.tower1) + segment.head * c.t * c.e2, c.t, c.e2), rows,
                Matrix(pass.f + segment.output * c.e2, segment.count, c.e2), accumulate: true)
        }
    }
}
