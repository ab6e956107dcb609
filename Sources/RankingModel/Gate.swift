// Aspect gating fusion: which of an item's or a query's aspects to listen to.

import DeterministicMath
import Tensors

/// What a gate keeps of a batch.
struct GatePass {
    var K = 0
    /// (B, K): the aspect's vector, nil where it is missing.
    var aspects = UnsafeMutablePointer<UnsafeMutablePointer<Float>?>(bitPattern: 64)!
    /// (B, K): how much of each aspect is taken; 0 where it is missing.
    var weights = UnsafeMutablePointer<Float>(bitPattern: 64)!
    /// (M or 1, d): Wq d_m (or Wq cls), and Wkᵀ of it, whose product with an aspect is its score.
    var queries = UnsafeMutablePointer<Float>(bitPattern: 64)!
    var keys = UnsafeMutablePointer<Float>(bitPattern: 64)!
    /// (B, K, d): gradients of the aspects by row, written by the way back.
    var daspects = UnsafeMutablePointer<Float>(bitPattern: 64)!

    init() {}

    init(aspects K: Int, rows: Int, _ arena: Arena) {
        self.K = K
        aspects = arena.take(UnsafeMutablePointer<Float>?.self, rows * K)
        weights = arena.floats(rows * K)
    }
}

extension Network {
    /// `out` = Σ_k g_k a_k, or the learned vector `null` for a row without any aspect.
    ///
    /// The score <Wq q, Wk a> / √d is computed as <Wkᵀ Wq q, a> / √d: the left side is one vector a
    /// domain, so a row costs one inner product an aspect.
    ///
    /// - Parameters:
    ///   - out: (B, d), overwritten.
    ///   - wq, wk, cls, null: places of the gate's tensors; `cls` only for the [CLS] gate.
    /// - Source: specification, section 2.1.
    func gateForward(
        _ gate: inout GatePass, wq: Int, wk: Int, cls: Int, null: Int,
        out: UnsafeMutablePointer<Float>
    ) {
        let d = configuration.d
        let kind = configuration.gate
        let K = gate.K
        if kind != .mean {
            gate.queries = arena.zeros(kind == .cls ? d : configuration.M * d)
            gate.keys = arena.zeros(kind == .cls ? d : configuration.M * d)
            let present = kind == .cls ? [0] : segments.map(\.domain)
            for m in present {
                let source = kind == .cls ? weight(cls) : weight(parameters.places.domain) + m * d
                let query = gate.queries + m * d
                let key = gate.keys + m * d
                for o in 0..<d { query[o] = Kernels.dot(weight(wq) + o * d, source, count: d) }
                for o in 0..<d { Kernels.addScaled(key, weight(wk) + o * d, query[o], count: d) }
            }
        }
        let root = 1 / Float(d).squareRoot()
        let pass = gate
        for segment in segments {
            let key = pass.keys + (kind == .domain ? segment.domain * d : 0)
            workers.split(segment.count, mode: mode) { _, lower, upper in
                for r in segment.lower + lower..<segment.lower + upper {
                    let aspects = pass.aspects + r * K
                    let g = pass.weights + r * K
                    let row = out + r * d
                    var present = 0
                    for k in 0..<K where aspects[k] != nil { present += 1 }
                    if present == 0 {
                        row.update(from: weight(null), count: d)
                        g.update(repeating: 0, count: K)
                        continue
                    }
                    if kind == .mean {
                        for k in 0..<K { g[k] = aspects[k] == nil ? 0 : 1 / Float(present) }
                    } else {
                        var largest = -Float.infinity
                        for k in 0..<K {
                            guard let a = aspects[k] else { continue }
                            g[k] = Kernels.dot(key, a, count: d) * root
                            largest = max(largest, g[k])
                        }
                        var sum: Float = 0
                        for k in 0..<K {
                            g[k] = aspects[k] == nil ? 0 : Math.exp(g[k] - largest)
                            sum += g[k]
                        }
                        for k in 0..<K { g[k] /= sum }
                    }
                    row.update(repeating: 0, count: d)
                    for k in 0..<K {
                        if let a = aspects[k] { Kernels.addScaled(row, a, g[k], count: d) }
                    }
                }
            }
        }
    }

    /// Writes `gate.daspects` and adds the gradients of the gate's tensors and the domains.
    ///
    /// - Parameter dout: (B, d), the gradient of the fused vectors.
    func gateBackward(
        _ gate: GatePass, wq: Int, wk: Int, cls: Int, null: Int,
        dout: UnsafeMutablePointer<Float>
    ) {
        let d = configuration.d
        let kind = configuration.gate
        let K = gate.K
        let root = 1 / Float(d).squareRoot()
        let daspects = arena.floats(B * K * d)
        let dscores = arena.floats(B * K)
        for segment in segments {
            let key = gate.keys + (kind == .domain ? segment.domain * d : 0)
            workers.split(segment.count, mode: mode) { _, lower, upper in
                for r in segment.lower + lower..<segment.lower + upper {
                    let aspects = gate.aspects + r * K
                    let g = gate.weights + r * K
                    let de = dout + r * d
                    let ds = dscores + r * K
                    var mean: Float = 0
                    for k in 0..<K {
                        guard let a = aspects[k] else {
                            ds[k] = 0
                            continue
                        }
                        ds[k] = Kernels.dot(de, a, count: d)
                        mean += g[k] * ds[k]
                    }
                    for k in 0..<K where aspects[k] != nil {
                        let da = daspects + (r * K + k) * d
                        Kernels.scale(da, de, g[k], count: d)
                        if kind == .mean { continue }
                        ds[k] = g[k] * (ds[k] - mean) * root
                        Kernels.addScaled(da, key, ds[k], count: d)
                    }
                }
            }
        }
        let isItem = null == parameters.places.itemNull
        if isItem {
            encoded.itemGate.daspects = daspects
        } else {
            encoded.queryGate.daspects = daspects
        }
        let dkeys = kind == .mean ? nil : arena.zeros(kind == .cls ? d : configuration.M * d)
        for segment in segments {
            for r in segment.lower..<segment.upper {
                var isNull = true
                for k in 0..<K {
                    guard let a = gate.aspects[r * K + k] else { continue }
                    isNull = false
                    if let dkeys, dscores[r * K + k] != 0 {
                        Kernels.addScaled(
                            dkeys + (kind == .domain ? segment.domain * d : 0), a,
                            dscores[r * K + k], count: d)
                    }
                }
                if isNull, wants.encoderWeights {
                    Kernels.addScaled(gradient(null), dout + r * d, 1, count: d)
                }
            }
        }
        guard let dkeys else { return }
        for m in kind == .cls ? [0] : segments.map(\.domain) {
            let dkey = dkeys + m * d
            let query = gate.queries + m * d
            let source = kind == .cls ? weight(cls) : weight(parameters.places.domain) + m * d
            let dsource =
                kind == .cls ? gradient(cls) : gradient(parameters.places.domain) + m * d
            for o in 0..<d {
                let dquery = Kernels.dot(weight(wk) + o * d, dkey, count: d)
                if wants.encoderWeights {
                    Kernels.addScaled(gradient(wk) + o * d, dkey, query[o], count: d)
                    Kernels.addScaled(gradient(wq) + o * d, source, dquery, count: d)
                }
                if kind == .domain || wants.encoderWeights {
                    Kernels.addScaled(dsource, weight(wq) + o * d, dquery, count: d)
                }
            }
        }
    }
}

/// How much a domain listens to each aspect, for people to look at.
public struct GateMeans: Sendable, Equatable {
    public var domain: Int
    public var rows: Int
    /// Mean weights of the item's id, text and fields, over the domain's rows.
    public var item: [Float]
    /// Mean weights of the query's id and text, over all rows; the rest is rows without a query.
    public var query: [Float]
}

extension Network {
    /// The gates' mean weights by domain in the last pass.
    public func gateMeans() -> [GateMeans] {
        defer { withExtendedLifetime(self) {} }
        return segments.map { segment in
            func mean(_ gate: GatePass) -> [Float] {
                (0..<gate.K).map { k in
                    (segment.lower..<segment.upper).reduce(Float(0)) {
                        $0 + gate.weights[$1 * gate.K + k]
                    } / Float(segment.count)
                }
            }
            return GateMeans(
                domain: segment.domain, rows: segment.count, item: mean(encoded.itemGate),
                query: mean(encoded.queryGate))
        }
    }
}
