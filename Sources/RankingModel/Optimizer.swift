// Optimizers: Adagrad for everything, or Adam for the dense tensors with Adagrad for the tables.

import DeterministicMath
import Tensors

/// How weights follow their gradients.
public struct OptimizerSettings: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable { case adagrad, adam, adamw }

    public var kind = Kind.adagrad
    public var rate: Float = 0.02
    public var tableRate: Float = 0.05
    /// Decoupled decay of dense matrices (adamw); never of tables, biases and norms.
    public var decay: Float = 0.01
    /// What is left of the accumulators from step to step; 1 keeps them forever. Streaming learners
    /// forget, so that learning does not freeze: `share(halfLife:examples:)`.
    public var remember: Float = 1

    public init(
        _ kind: Kind = .adagrad, rate: Float = 0.02, tableRate: Float = 0.05, decay: Float = 0.01
    ) {
        self.kind = kind
        self.rate = rate
        self.tableRate = tableRate
        self.decay = decay
    }

    /// The `remember` of steps of `examples` rows that halves the past every `halfLife` rows.
    public static func share(halfLife: Double, examples: Int) -> Float {
        Float(Math.exp2(-Double(examples) / halfLife))
    }
}

/// The optimizer's memory for one network: accumulators of the same layout as the weights.
public final class Optimizer {
    public var settings: OptimizerSettings
    /// Adagrad's sums of squares, or Adam's second moments.
    public private(set) var squares: Block
    /// Adam's first moments; empty for Adagrad.
    public private(set) var moments: Block
    /// Sums of squares of each table, grown with it.
    public private(set) var tableSquares: [Block]
    public private(set) var steps = 0

    public init(_ parameters: Parameters, _ settings: OptimizerSettings) {
        self.settings = settings
        squares = Block(count: parameters.layout.count)
        moments = Block(count: settings.kind == .adagrad ? 0 : parameters.layout.count)
        tableSquares = parameters.tables.map { Block(count: $0.weights.count) }
    }

    /// Takes over the accumulators of `other`, for a warm start; steps are counted anew.
    public func copy(from other: Optimizer) {
        squares.copy(from: other.squares)
        if moments.count == other.moments.count { moments.copy(from: other.moments) }
        tableSquares = other.tableSquares.map { Block(copying: $0) }
    }

    func replaceTableSquares(_ table: Int, _ block: Block) { tableSquares[table] = block }

    /// One update from the gradients of `network`'s last backward pass.
    ///
    /// - Parameter scale: what both rates are multiplied by.
    public func step(_ network: Network, scale: Float = 1) {
        defer { withExtendedLifetime((self, network)) {} }
        steps += 1
        if settings.kind != .adagrad || settings.remember != 1 { network.completeGradients() }
        for open in network.pending {
            Kernels.adagradFew(
                network.weight(open.place), squares.base + open.place, open.d.base, open.d.stride,
                open.x.base, open.x.stride, batch: open.d.rows, rows: open.d.columns,
                columns: open.x.columns, rate: settings.rate * scale)
        }
        let parameters = network.parameters
        let tensors = parameters.layout.tensors

        for (i, tensor) in tensors.enumerated() where network.trained[i] {
            let first = tensor.range.lowerBound
            if settings.kind != .adagrad {
                adam(network, tensor, axis: network.wants.axes[i], scale: scale)
                continue
            }
            switch network.wants.axes[i] {
            case .plain: adagrad(network, first, tensor.range.count, scale)
            case .domain:
                for segment in network.segments {
                    adagrad(
                        network, first + segment.domain * tensor.rowCount, tensor.rowCount, scale)
                }
            case .head:
                for segment in network.headSegments {
                    adagrad(
                        network, first + segment.head * tensor.rowCount, tensor.rowCount, scale)
                }
            }
        }
        if network.wants.tables {
            fitTables(parameters)
            // Tables do not touch each other: every other one goes to the helper.
            network.workers.pair(
                {
                    for table in stride(from: 0, to: parameters.tables.count, by: 2) {
                        step(network, table: table, scale: scale)
                    }
                },
                {
                    for table in stride(from: 1, to: parameters.tables.count, by: 2) {
                        step(network, table: table, scale: scale)
                    }
                })
        }
    }

    private func adagrad(_ network: Network, _ first: Int, _ count: Int, _ scale: Float) {
        // Stepped over already, from the factors of its gradient.
        for open in network.pending where first..<first + count ~= open.place { return }
        let acc = squares.base + first
        if settings.remember != 1 { Kernels.scale(acc, acc, settings.remember, count: count) }
        func step(_ lower: Int, _ upper: Int) {
            Kernels.adagrad(
                network.weight(first + lower), acc + lower, network.gradient(first + lower),
                rate: settings.rate * scale, count: upper - lower)
        }
        let half = (count / 2 + 15) & ~15
        if count < 1 << 14 {
            step(0, count)
        } else {
            network.workers.pair({ step(0, half) }, { step(half, count) })
        }
    }

    /// Untouched rows of a trained tensor see a zero gradient: their moments fade, they still move.
    private func adam(
        _ network: Network, _ tensor: Layout.Tensor, axis: TensorAxis, scale: Float
    ) {
        let first = tensor.range.lowerBound
        if axis != .plain {
            let T = network.configuration.tasks.count
            var present = [Bool](repeating: false, count: tensor.shape[0])
            for segment in network.segments {
                if axis == .domain {
                    present[segment.domain] = true
                } else {
                    for t in 0..<T { present[segment.domain * T + t] = true }
                }
            }
            for (row, isPresent) in present.enumerated() where !isPresent {
                network.gradient(first + row * tensor.rowCount)
                    .update(repeating: 0, count: tensor.rowCount)
            }
        }
        let t = Double(steps)
        let c1 = 1 - Math.exp(t * Math.log(0.9))
        let c2 = 1 - Math.exp(t * Math.log(0.999))
        let isMatrix = tensor.shape.count > 1 && Self.isMatrix(tensor.name)
        Kernels.adam(
            network.weight(first), moments.base + first, squares.base + first,
            network.gradient(first), rate: settings.rate * scale / Float(c1),
            root: Float(1 / c2.squareRoot()),
            decay: settings.kind == .adamw && isMatrix ? settings.rate * scale * settings.decay : 0,
            count: tensor.range.count)
    }

    /// Whether decay applies: weights of maps, not biases, norms, embeddings or gates' vectors.
    static func isMatrix(_ name: String) -> Bool {
        let parts = name.split(separator: ".")
        guard let last = parts.last else { return false }
        if parts.contains("ln") || parts.contains("pn") || name.hasPrefix("norm.") { return false }
        return ["weight", "weight_m", "w1", "w2", "wq", "wk", "u", "a", "b"].contains(String(last))
    }

    private func step(_ network: Network, table index: Int, scale: Float) {
        let table = network.parameters.tables[index]
        let touched = network.tableGradients[index]
        Kernels.adagradRows(
            table.weights.base, tableSquares[index].base, rows: touched.rows, count: touched.count,
            width: table.width, touched.values, rate: settings.tableRate * scale,
            remember: settings.remember)
    }
}
