// Stacked PLE: the levels before the last, where every domain and the shared part have a stream each.

import Tensors

/// What one level keeps of a batch; streams 0..<M are the domains', stream M is the shared one.
struct StackedPass {
    /// (B, width) each: what the level's experts and gates saw.
    var inputs: [Matrix] = []
    /// (B, n · hidden) each, own experts of each domain, then the shared ones.
    var hidden: [Matrix] = []
    /// (B, (M · own + shared) · e2): own experts domain by domain, then the shared ones.
    var outputs = Matrix(UnsafeMutablePointer<Float>(bitPattern: 64)!, 0, 0)
    /// (B, own + shared) each for the domains, (B, M · own + shared) for the shared stream.
    var gates: [Matrix] = []
}

extension Network {
    /// Streams through all levels but the last; sets the last level's inputs.
    ///
    /// A domain's gate mixes its own experts and the shared ones, the shared gate mixes all.
    /// - Source: Tang 2020, section 4.2; specification, section 11.
    func stackForward() {
        let c = configuration
        var streams = [Matrix](repeating: Matrix(adapted.h, B, c.H), count: c.M + 1)
        for level in parameters.places.levels {
            var pass = StackedPass()
            pass.inputs = streams
            let own = level.own.count
            let shared = level.experts.count
            let all = c.M * own + shared
            pass.outputs = takeMatrix(B, all * c.e2)
            for k in 0...c.M {
                let place = k < c.M ? level.own.ofDomain(k) : level.experts
                let hidden = takeMatrix(B, place.count * place.hidden)
                let first = k * own * c.e2
                expertsForward(
                    place, streams[k], hidden,
                    pass.outputs.columns(first, first + place.count * c.e2))
                pass.hidden.append(hidden)
            }
            for k in 0...c.M {
                let S = k < c.M ? own + shared : all
                let gates = takeMatrix(B, S)
                gateWeights(
                    gates, streams[k],
                    weight: k < c.M
                        ? level.gateWeight + k * S * streams[k].columns : level.sharedWeight,
                    bias: k < c.M ? level.gateBias + k * S : level.sharedBias)
                pass.gates.append(gates)
            }
            streams = (0...c.M).map { k in
                let stream = takeMatrix(B, c.e2)
                for r in 0..<B {
                    let row = stream.row(r)
                    row.update(repeating: 0, count: c.e2)
                    for s in 0..<pass.gates[k].columns {
                        Kernels.addScaled(
                            row,
                            pass.outputs.row(r)
                                + expert(s, of: k, own: own) * c.e2,
                            pass.gates[k].row(r)[s], count: c.e2)
                    }
                }
                return stream
            }
            mixed.stack.append(pass)
        }
        mixed.sharedInput = streams[c.M]
        mixed.ownInput = takeMatrix(B, c.e2)
        for segment in segments {
            mixed.ownInput.row(segment.lower).update(
                from: streams[segment.domain].row(segment.lower), count: segment.count * c.e2)
        }
    }

    /// Where the s-th expert that stream k mixes stands among all experts of the level.
    private func expert(_ s: Int, of k: Int, own: Int) -> Int {
        let M = configuration.M
        if k == M { return s }
        return s < own ? k * own + s : M * own + s - own
    }

    /// From the gradients of the last level's inputs to the levels' tensors and `adapted.dh`.
    func stackBackward(_ downInput: Matrix, _ dsharedInput: Matrix) {
        let c = configuration
        var dstreams = (0..<c.M).map { _ in zeroMatrix(B, c.e2) } + [dsharedInput]
        for segment in segments {
            dstreams[segment.domain].row(segment.lower).update(
                from: downInput.row(segment.lower), count: segment.count * c.e2)
        }
        for (level, pass) in zip(parameters.places.levels, mixed.stack).reversed() {
            let own = level.own.count
            let doutputs = zeroMatrix(B, pass.outputs.columns)
            let dinputs = (0...c.M).map { zeroMatrix(B, pass.inputs[$0].columns) }
            for k in 0...c.M {
                let gates = pass.gates[k]
                let S = gates.columns
                let dgates = takeMatrix(B, S)
                for r in 0..<B {
                    let d = dstreams[k].row(r)
                    let (g, dg) = (gates.row(r), dgates.row(r))
                    var mean: Float = 0
                    for s in 0..<S {
                        let place = expert(s, of: k, own: own) * c.e2
                        dg[s] = Kernels.dot(d, pass.outputs.row(r) + place, count: c.e2)
                        mean += g[s] * dg[s]
                        Kernels.addScaled(doutputs.row(r) + place, d, g[s], count: c.e2)
                    }
                    for s in 0..<S { dg[s] = g[s] * (dg[s] - mean) }
                }
                let width = pass.inputs[k].columns
                let place = k < c.M ? level.gateWeight + k * S * width : level.sharedWeight
                gateGradients(
                    dgates, pass.inputs[k], weight: place,
                    bias: k < c.M ? level.gateBias + k * S : level.sharedBias)
                Product.back(
                    dinputs[k], dgates, Matrix(weight(place), S, width), accumulate: true)
            }
            Kernels.rectifyBackward(
                doutputs.base, pass.outputs.base, count: B * doutputs.columns)
            for k in 0...c.M {
                let place = k < c.M ? level.own.ofDomain(k) : level.experts
                let first = k * own * c.e2
                expertsBackward(
                    place, pass.inputs[k], pass.hidden[k],
                    doutput: doutputs.columns(first, first + place.count * c.e2),
                    dhidden: takeMatrix(B, place.count * place.hidden), dinput: dinputs[k],
                    weights: true)
            }
            dstreams = dinputs
        }
        let dh = zeroMatrix(B, c.H)
        for stream in dstreams { Kernels.addScaled(dh.base, stream.base, 1, count: B * c.H) }
        adapted.dh = dh.base
    }

    func zeroMatrix(_ rows: Int, _ columns: Int) -> Matrix {
        Matrix(arena.zeros(rows * columns), rows, columns)
    }
}
