// Aspects: a gathered id, text or bag becomes a normalised vector.

import Tensors

extension Network {
    func idAspect(
        _ table: EmbeddingTable, _ distinct: DistinctRows, _ place: AspectPlace,
        into out: UnsafeMutablePointer<Float>
    ) -> AspectPass {
        let width = table.width
        let input = arena.floats(distinct.count * width)
        workers.split(distinct.count, mode: mode) { _, lower, upper in
            Kernels.gatherRows(
                input + lower * width, table.weights.base, rows: distinct.ids + lower,
                count: upper - lower, width: width)
        }
        var pass = project(
            Matrix(input, distinct.count, width), place, distinct.count, into: out)
        pass.input = input
        return pass
    }

    /// Rows of text gathered at a time: few enough to stay in the cache.
    static let textTile = 256
    /// Texts below which packing the projection would cost more than it saves.
    static let fewTexts = 24
    /// The same for gradients, where 32 numbers of each text are used at a time.
    static let gradientTile = 64

    func textAspect(
        _ store: TextStore?, _ distinct: DistinctRows, _ place: AspectPlace,
        into out: UnsafeMutablePointer<Float>
    ) -> AspectPass {
        let d = configuration.d
        let count = distinct.count
        var pass = takeAspect(count, into: out)
        guard count > 0, let store else { return pass }
        let raw = arena.floats(count * d)
        if mode != .serve, count < Self.fewTexts {
            let gathered = arena.floats(count * store.width)
            gatherTexts(store, distinct.ids, count, into: gathered)
            Kernels.linearFew(
                raw, d, gathered, store.width, weight(place.weight), store.width, rows: count,
                columns: d, depth: store.width, accumulate: false)
            finish(&pass, raw: raw, place)
            return pass
        }
        if mode != .serve, d % 16 == 0, store.width % 32 == 0 {
            let packed = arena.floats(d * store.width)
            let w = weight(place.weight)
            for o in 0..<d {
                for k in 0..<store.width { packed[k * d + o] = w[o * store.width + k] }
            }
            workers.split(count, mode: mode) { _, lower, upper in
                Kernels.projectTexts(
                    raw + lower * d, packed: packed, outputs: d, store.base, width: store.width,
                    rows: distinct.ids + lower, count: upper - lower)
            }
            finish(&pass, raw: raw, place)
            return pass
        }
        let w = Matrix(weight(place.weight), d, store.width)
        let tile = Self.textTile
        let scratch = [arena.floats(tile * store.width), arena.floats(tile * store.width)]
        workers.split(count, mode: mode) { lane, lower, upper in
            var u = lower
            while u < upper {
                let n = min(tile, upper - u)
                gatherTexts(store, distinct.ids + u, n, into: scratch[lane])
                linear(
                    Matrix(raw + u * d, n, d), Matrix(scratch[lane], n, store.width), w)
                u += n
            }
        }
        finish(&pass, raw: raw, place)
        return pass
    }

    func gatherTexts(
        _ store: TextStore, _ ids: UnsafeMutablePointer<Int32>, _ n: Int,
        into scratch: UnsafeMutablePointer<Float>
    ) {
        for i in 0..<n {
            (scratch + i * store.width).update(
                from: store.base + Int(ids[i]) * store.width, count: store.width)
        }
    }

    func takeAspect(
        _ count: Int, into out: UnsafeMutablePointer<Float>? = nil
    ) -> AspectPass {
        let d = configuration.d
        var pass = AspectPass()
        pass.count = count
        pass.output = out ?? arena.floats(count * d)
        if mode == .train {
            pass.normal = arena.floats(count * d)
            pass.reciprocal = arena.floats(count)
        }
        return pass
    }

    /// Aspect of every row of `input`: LN(W input + b).
    func project(
        _ input: Matrix, _ place: AspectPlace, _ count: Int,
        into out: UnsafeMutablePointer<Float>? = nil
    ) -> AspectPass {
        let d = configuration.d
        var pass = takeAspect(count, into: out)
        if count == 0 { return pass }
        let raw = arena.floats(count * d)
        linearRows(
            Matrix(raw, count, d), input, Matrix(weight(place.weight), d, input.columns))
        finish(&pass, raw: raw, place)
        return pass
    }

    func finish(
        _ pass: inout AspectPass, raw: UnsafeMutablePointer<Float>, _ place: AspectPlace
    ) {
        let d = configuration.d
        let keep = mode == .train
        let aspect = pass
        workers.split(pass.count, mode: mode) { _, lower, upper in
            Kernels.layerNorm(
                aspect.output + lower * d, normal: keep ? aspect.normal + lower * d : nil,
                reciprocal: keep ? aspect.reciprocal + lower : nil, raw + lower * d,
                rows: upper - lower, columns: d, bias: weight(place.bias),
                gamma: weight(place.gamma), beta: weight(place.beta))
        }
    }
}
