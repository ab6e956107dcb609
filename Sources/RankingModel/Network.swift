// A network at work: the pass over one batch, forward and back, in memory that is reused.

import DeterministicMath
import Tensors

/// Rows lower..<upper of the sorted batch, all of one domain.
struct DomainSegment {
    var domain: Int
    var lower: Int
    var upper: Int
    var count: Int { upper - lower }
}

/// The rows of one head; its outputs start at `output` in the arrays by head.
struct HeadSegment {
    var head: Int
    var domain: Int
    var task: Int
    var lower: Int
    var upper: Int
    var output: Int
    var count: Int { upper - lower }
}

/// What a step reports.
public struct StepResult: Sendable, Equatable {
    public var loss: Float = 0
    public var bce: Float = 0
    public var divergence: Float = 0
}

/// The network over one set of parameters.
///
/// Not thread-safe; a network belongs to one thread, which may have helpers (`Workers`).
public final class Network {
    /// What a pass is for.
    public enum Mode: Sendable {
        /// Scores by the fastest products; bits of a row may depend on the batch's size.
        case evaluate
        /// Scores whose bits depend on the row alone: products in padded tiles of 32 rows.
        case serve
        /// Keeps what the way back needs.
        case train
    }

    public let parameters: Parameters
    public let configuration: ModelConfiguration
    public let workers: Workers
    let arena = Arena()
    var mode = Mode.evaluate
    /// What may change; nothing is computed for the rest on the way back.
    public private(set) var setting = FreezeSetting.full
    var trained: [Bool]
    var wants = Wants()

    // The pass, in the order of the sorted rows.
    var B = 0
    var order: UnsafeMutablePointer<Int32>
    var segments: [DomainSegment] = []
    var headSegments: [HeadSegment] = []
    var headRows = 0
    var encoded = EncoderPass()
    var x = Matrix(UnsafeMutablePointer<Float>(bitPattern: 64)!, 0, 0)
    var adapted = InputPass()
    var mixed = BackbonePass()
    var star = StarPass()
    var logits = UnsafeMutablePointer<Float>(bitPattern: 64)!
    var dlogits = UnsafeMutablePointer<Float>(bitPattern: 64)!
    var tilescratch = UnsafeMutablePointer<Float>(bitPattern: 64)!

    // The way back.
    /// Gradients of large tensors that were left as the two factors of their product.
    var pending: [PendingGradient] = []
    let gradients: Block
    let itemRows = DistinctRows()
    let queryRows = DistinctRows()
    let itemTexts = DistinctRows()
    let queryTexts = DistinctRows()
    var tableGradients: [TableGradient]
    let tableSets: [DistinctRows]
    /// Mean distributions of the domains over past batches, for `div_ema`.
    let meanDistributions: Block
    var hasMeanDistribution: [Bool]

    public init(_ parameters: Parameters, workers: Workers = Workers(threads: 1)) {
        do { try KernelChoice.chooseIfNeeded() } catch { preconditionFailure(error.description) }
        self.parameters = parameters
        self.workers = workers
        configuration = parameters.configuration
        gradients = Block(count: parameters.layout.count)
        tableGradients = parameters.tables.map { _ in TableGradient() }
        tableSets = parameters.tables.map { _ in DistinctRows() }
        trained = parameters.layout.tensors.map { FreezeSetting.full.trains($0.name) }
        order = arena.indices(0)
        meanDistributions = Block(count: configuration.M * configuration.H)
        hasMeanDistribution = Array(repeating: false, count: configuration.M)
        wants = Wants(configuration, parameters, setting: .full)
    }

    /// Chooses what the following steps may change.
    public func freeze(_ setting: FreezeSetting) {
        self.setting = setting
        trained = parameters.layout.tensors.map { setting.trains($0.name) }
        wants = Wants(configuration, parameters, setting: setting)
    }

    @inline(__always)
    func weight(_ place: Int) -> UnsafeMutablePointer<Float> { parameters.block.base + place }

    /// Where the gradient of the tensor at `place` is summed.
    @inline(__always)
    func gradient(_ place: Int) -> UnsafeMutablePointer<Float> { gradients.base + place }

    /// c = a bᵀ by the products of the mode.
    func linear(_ c: Matrix, _ a: Matrix, _ b: Matrix) {
        if mode == .serve {
            Product.linearTiled(c, a, b, scratch: tilescratch)
        } else {
            Product.linear(c, a, b)
        }
    }

    /// The same over lanes of rows.
    func linearRows(_ c: Matrix, _ a: Matrix, _ b: Matrix) {
        workers.split(a.rows, mode: mode) { _, lower, upper in
            linear(c.rows(lower, upper), a.rows(lower, upper), b)
        }
    }

    /// Sorts the rows by domain, keeping their order within a domain, and finds the segments.
    func sortRows(_ batch: Batch) {
        B = batch.count
        order = arena.indices(B)
        let M = configuration.M
        var starts = [Int](repeating: 0, count: M + 1)
        batch.domain.withUnsafeBufferPointer { domain in
            for r in 0..<B { starts[Int(domain[r]) + 1] += 1 }
            segments.removeAll(keepingCapacity: true)
            for m in 0..<M {
                let count = starts[m + 1]
                starts[m + 1] += starts[m]
                if count > 0 {
                    segments.append(
                        DomainSegment(domain: m, lower: starts[m], upper: starts[m + 1]))
                }
            }
            for r in 0..<B {
                let m = Int(domain[r])
                order[starts[m]] = Int32(truncatingIfNeeded: r)
                starts[m] += 1
            }
        }
        headSegments.removeAll(keepingCapacity: true)
        headRows = 0
        let T = configuration.tasks.count
        for segment in segments {
            for task in 0..<T {
                headSegments.append(
                    HeadSegment(
                        head: segment.domain * T + task, domain: segment.domain, task: task,
                        lower: segment.lower, upper: segment.upper, output: headRows))
                headRows += segment.count
            }
        }
    }

    /// Computes the logits of every task's head for every row.
    ///
    /// - Precondition: `batch.problem(…)` is nil.
    public func forward(_ batch: Batch, mode: Mode = .evaluate) {
        // What it works on is behind plain pointers, which do not keep it alive: Swift may free a network
        // inside its last call.
        defer { withExtendedLifetime(self) {} }
        self.mode = mode
        arena.reset()
        sortRows(batch)
        if mode == .serve { tilescratch = arena.floats(tileScratchCount) }
        encode(batch)
        logits = arena.floats(headRows)
        if configuration.backbone == .star {
            starForward()
        } else {
            inputForward()
            backboneForward()
        }
    }

    /// Copies the logits to `out`, (B, tasks) in the batch's own order.
    public func copyLogits(to out: inout [Float]) {
        defer { withExtendedLifetime(self) {} }
        let T = configuration.tasks.count
        if out.count != B * T { out = Array(repeating: 0, count: B * T) }
        for segment in headSegments {
            for r in segment.lower..<segment.upper {
                out[Int(order[r]) * T + segment.task] = logits[segment.output + r - segment.lower]
            }
        }
    }

    /// The logits of `batch`, (B, tasks) in its own order.
    public func logits(_ batch: Batch, mode: Mode = .evaluate) -> [Float] {
        defer { withExtendedLifetime(self) {} }
        forward(batch, mode: mode)
        var out: [Float] = []
        copyLogits(to: &out)
        return out
    }

    /// Loss and gradients of one batch; nothing is updated but the running values of STAR.
    ///
    /// - Parameter alpha: the weight of the divergence.
    public func backward(_ batch: Batch, alpha: Float) -> StepResult {
        defer { withExtendedLifetime(self) {} }
        forward(batch, mode: .train)
        beginGradients()
        var result = StepResult()
        dlogits = arena.floats(headRows)
        result.bce = lossBackward(batch)
        result.loss = result.bce
        if configuration.backbone == .star {
            starBackward()
        } else {
            result.divergence = backboneBackward(alpha: alpha)
            result.loss += alpha * result.divergence
            if wants.input { inputBackward() }
        }
        if wants.encoders { encodeBackward(batch) }
        return result
    }

    /// Clears the sums that the way back adds to.
    func beginGradients() {
        for (i, tensor) in parameters.layout.tensors.enumerated()
        where trained[i] && !wants.isOverwritten[i] {
            let base = gradient(tensor.range.lowerBound)
            switch wants.axes[i] {
            case .plain: base.update(repeating: 0, count: tensor.range.count)
            case .domain:
                for segment in segments {
                    (base + segment.domain * tensor.rowCount)
                        .update(repeating: 0, count: tensor.rowCount)
                }
            case .head:
                for segment in headSegments {
                    (base + segment.head * tensor.rowCount)
                        .update(repeating: 0, count: tensor.rowCount)
                }
            }
        }
        for i in tableGradients.indices { tableGradients[i].count = 0 }
        pending.removeAll(keepingCapacity: true)
    }

    /// The gradient of the weights at `place`, (out, in), becomes dᵀ x; for few rows it is left as d
    /// and x, from which Adagrad can step without writing the product down.
    func largeGradient(_ place: Int, _ d: Matrix, _ x: Matrix) {
        if d.rows <= Kernels.fewRows, B < Workers.least {
            pending.append(PendingGradient(place: place, d: d, x: x))
            return
        }
        Product.weights(Matrix(gradient(place), d.columns, x.columns), d, x)
    }

    /// Writes down the products that were left open.
    func completeGradients() {
        for open in pending {
            Product.weights(
                Matrix(gradient(open.place), open.d.columns, open.x.columns), open.d, open.x)
        }
        pending.removeAll(keepingCapacity: true)
    }

    private var tileScratchCount: Int {
        let c = configuration
        let widest = max(
            c.text_dim + c.d, c.X + max(c.H, 2 * c.e1), c.H + c.E * c.e1, c.E * c.e1 + c.e2,
            c.userWidth + c.d, c.d_sp * max(1, c.item_sparse.count) + c.d, 4 * c.d + c.din_h,
            c.X + c.d + c.star_aux, 2 * c.e1 + c.e2, c.H + c.M * c.ple_sp + c.ple_sh,
            c.H + c.ple_sh * c.e1, c.H + c.ple_sp * c.e1)
        return Product.tileRows * (widest + 64)
    }
}

/// A gradient dᵀ x that has not been computed: (B, out) and (B, in) for the weights at `place`.
struct PendingGradient {
    var place: Int
    var d: Matrix
    var x: Matrix
}

/// The distinct rows of a table that a step touched, and their gradients.
struct TableGradient {
    var count = 0
    var rows = UnsafeMutablePointer<Int32>(bitPattern: 64)!
    /// (count, width)
    var values = UnsafeMutablePointer<Float>(bitPattern: 64)!
}

/// Which parts of the way back a freeze setting needs.
struct Wants {
    var axes: [TensorAxis] = []
    /// Large tensors whose gradient is written by one product instead of being summed up.
    var isOverwritten: [Bool] = []
    var experts = true
    var gates = true
    var input = true
    var encoders = true
    var tables = true
    var encoderWeights = true
    var itemText = true
    var queryText = true
    var tower = true

    init() {}

    init(_ c: ModelConfiguration, _ parameters: Parameters, setting: FreezeSetting) {
        // A shared gate of an earlier PLE level sends gradients to every domain's experts.
        axes = parameters.layout.tensors.map {
            $0.name.hasPrefix("ple.level") ? .plain : Parameters.axis(of: $0.name)
        }
        let names = parameters.layout.tensors.map(\.name)
        isOverwritten = names.map { name in
            let parts = name.split(separator: ".")
            return name == "da.weight" || name == "inp.weight"
                || (["w1", "w2"].contains(parts.last)
                    && ["expert", "own", "bottom", "single"].contains(parts[parts.count - 2]))
        }
        func any(_ prefixes: String...) -> Bool {
            names.contains { name in
                setting.trains(name) && prefixes.contains { name.hasPrefix($0) }
            }
        }
        tables = setting.trains("item.id.table")
        itemText = setting.trains("item.text.proj.weight")
        queryText = setting.trains("query.text.proj.weight")
        tower = setting.trains("tower.w1")
        experts = any("expert.", "ple.own", "ple.level", "bottom.", "single.")
        gates = any("mmoe.gate", "ple.gate", "ple.level")
        encoderWeights = any("item.id.proj")
        // The domain's embedding also speaks through the gates of the encoders.
        encoders =
            tables || any("item.", "query.", "user.") || (c.gate == .domain && any("domain."))
        input = encoders || any("da.", "inp.", "norm.", "domain.")
    }
}
