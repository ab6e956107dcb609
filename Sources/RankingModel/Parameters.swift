// All weights of a network: dense tensors in one block, tables by themselves because they grow.

import DeterministicMath
import Tensors

/// The rows of an id or value table; row 0 of id tables is the unknown (OOV) row.
public final class EmbeddingTable {
    public let name: String
    public let width: Int
    public private(set) var rows: Int
    public private(set) var weights: Block

    public init(_ name: String, rows: Int, width: Int) {
        self.name = name
        self.rows = rows
        self.width = width
        weights = Block(count: rows * width)
    }

    public func row(_ r: Int) -> UnsafeMutablePointer<Float> { weights.base + r * width }

    /// Adds rows up to `count`, each a copy of row 0; memory grows by a half at a time.
    public func grow(to count: Int) {
        if count <= rows { return }
        if count * width > weights.count {
            let larger = Block(count: max(count, rows + rows / 2) * width)
            larger.base.update(from: weights.base, count: rows * width)
            weights = larger
        }
        for r in rows..<count { row(r).update(from: row(0), count: width) }
        rows = count
    }
}

/// How a tensor's first axis is read.
public enum TensorAxis: Sendable { case plain, domain, head }

/// Which part of the foundation a tensor belongs to; a freeze setting is a choice of levels.
public enum Level: String, Sendable { case L0, L1, L2 }

/// What finetuning may change.
public enum FreezeSetting: String, Sendable, CaseIterable {
    case scratch, full, freeze_L0, freeze_L0L1, adapter, head
    /// The low-rank correction, the domain's embedding and its towers (needs `low_rank`).
    case low_rank
    /// The domain's own scale and shift of h, and its towers (needs `domain_norm`).
    case norm

    public func trains(_ name: String) -> Bool {
        if name.hasPrefix("star.pn.mean") || name.hasPrefix("star.pn.var") { return false }
        let isHead = name.hasPrefix("tower.")
        switch self {
        case .scratch, .full: return true
        case .freeze_L0: return Parameters.level(of: name) != .L0
        case .freeze_L0L1: return Parameters.level(of: name) == .L2
        case .adapter:
            return isHead || name == "da.weight" || name == "da.bias" || name == "domain.emb"
                || name.hasPrefix("mmoe.gate")
        case .head: return isHead
        case .low_rank: return isHead || name.hasPrefix("da.low") || name == "domain.emb"
        case .norm: return isHead || name.hasPrefix("norm.")
        }
    }
}

/// Where an aspect keeps its projection and its layer norm.
struct AspectPlace {
    var weight = 0, bias = 0, gamma = 0, beta = 0
}

/// Where a bank of experts keeps its weights, and its sizes.
struct ExpertPlace {
    var w1 = 0, b1 = 0, w2 = 0, b2 = 0
    var count = 0, input = 0, hidden = 0, output = 0
    /// Floats of one domain's bank, for banks that every domain has.
    var w1Count: Int { count * hidden * input }
    var b1Count: Int { count * hidden }
    var w2Count: Int { count * output * hidden }
    var b2Count: Int { count * output }

    func ofDomain(_ m: Int) -> ExpertPlace {
        var place = self
        place.w1 += m * w1Count
        place.b1 += m * b1Count
        place.w2 += m * w2Count
        place.b2 += m * b2Count
        return place
    }
}

/// Offsets of every tensor in the block; unused ones stay 0.
struct Places {
    var domain = 0
    var itemID = AspectPlace(), itemText = AspectPlace(), itemSparse = AspectPlace()
    var queryID = AspectPlace(), queryText = AspectPlace()
    var itemNull = 0, queryNull = 0, historyNull = 0
    var itemWq = 0, itemWk = 0, itemCls = 0, queryWq = 0, queryWk = 0, queryCls = 0
    var din1 = 0, dinB1 = 0, din2 = 0, dinB2 = 0
    var fuse = AspectPlace()
    var daWeight = 0, daBias = 0, daU = 0, lowA = 0, lowB = 0
    /// Gamma and beta of the input layer, adaptive or not; weight and bias of the plain one.
    var input = AspectPlace()
    var normGamma = 0, normBeta = 0
    var experts = ExpertPlace(), own = ExpertPlace()
    var gateWeight = 0, gateBias = 0
    var levels: [PLELevel] = []
    var tower1 = 0, towerB1 = 0, tower2 = 0, towerB2 = 0
    var pnGamma = 0, pnBeta = 0, pnGammaM = 0, pnBetaM = 0, pnMean = 0, pnVar = 0
    var star: [(weight: Int, bias: Int, weightM: Int, biasM: Int, out: Int, in: Int)] = []
    var aux1 = 0, auxB1 = 0, aux2 = 0, auxB2 = 0
}

/// An earlier level of a stacked PLE: its banks, a gate for each domain, and the shared gate.
struct PLELevel {
    var experts = ExpertPlace(), own = ExpertPlace()
    var gateWeight = 0, gateBias = 0, sharedWeight = 0, sharedBias = 0
}

/// How a tensor gets its first values.
enum Start {
    case xavier, commonXavier(Float), normal(Float), constant(Float)
}

/// The weights of one network.
public final class Parameters {
    public let configuration: ModelConfiguration
    public let layout: Layout
    public let block: Block
    public let tables: [EmbeddingTable]
    let places: Places
    let starts: [Start]

    /// Weights of `configuration`, all zero; `initialize` or a release fills them.
    ///
    /// - Precondition: `configuration.problem` is nil.
    public init(_ configuration: ModelConfiguration) {
        if let problem = configuration.problem { preconditionFailure(problem) }
        self.configuration = configuration
        let c = configuration
        var builder = Builder()
        places = builder.declare(c)
        layout = builder.layout
        starts = builder.starts
        block = Block(count: layout.count)
        tables = Self.tableShapes(c).map { EmbeddingTable($0.name, rows: $0.rows, width: $0.width) }
    }

    /// Names and shapes of the tables, in their fixed order: item, query, user, item fields, user
    /// fields, context fields.
    public static func tableShapes(
        _ c: ModelConfiguration
    ) -> [(name: String, rows: Int, width: Int)] {
        [
            ("item.id.table", c.n_item, c.d_id), ("query.id.table", c.n_query, c.d_id),
            ("user.id.table", c.n_user, c.d_id),
        ]
            + c.item_sparse.map { ("item.sparse.\($0.name).table", $0.rows, c.d_sp) }
            + c.user_sparse.map { ("user.sparse.\($0.name).table", $0.rows, c.d_sp) }
            + c.ctx.map { ("ctx.\($0.name).table", $0.rows, c.d_ctx) }
    }

    public static func level(of name: String) -> Level {
        if name.hasSuffix(".table") || name.contains(".text.proj.") || name.contains(".text.ln.") {
            return .L0
        }
        let first = name.prefix { $0 != "." }
        return ["item", "query", "user", "ctx"].contains(String(first)) ? .L1 : .L2
    }

    public static func axis(of name: String) -> TensorAxis {
        if name.hasPrefix("tower.") || name.hasPrefix("mmoe.gate") || name.hasPrefix("ple.gate") {
            return .head
        }
        if name == "domain.emb" || name == "da.weight" || name == "da.bias"
            || name.hasPrefix("da.low") || name.hasPrefix("norm.")
            || name.hasPrefix("ple.own") || name.hasPrefix("single.") || name.hasSuffix("_m")
            || name == "star.pn.mean" || name == "star.pn.var"
        {
            return .domain
        }
        if name.hasPrefix("ple.level"), name.contains(".own.") || name.contains(".gate.") {
            return .domain
        }
        return .plain
    }

    public static func isBuffer(_ name: String) -> Bool {
        name == "star.pn.mean" || name == "star.pn.var"
    }

    /// A copy with memory of its own.
    public func copy() -> Parameters {
        let other = Parameters(configuration)
        other.copy(from: self)
        return other
    }

    public func copy(from other: Parameters) {
        block.copy(from: other.block)
        for (table, source) in zip(tables, other.tables) {
            table.grow(to: source.rows)
            table.weights.base.update(from: source.weights.base, count: source.rows * source.width)
        }
    }

    /// Lends every tensor in order, tables first: name, shape, floats.
    public func forEachTensor(_ body: (String, [Int], UnsafeMutablePointer<Float>) throws -> Void)
        rethrows
    {
        for table in tables { try body(table.name, [table.rows, table.width], table.weights.base) }
        for tensor in layout.tensors {
            try body(tensor.name, tensor.shape, block.base + tensor.range.lowerBound)
        }
    }

    /// Floats outside the tables and the running buffers.
    public var denseCount: Int {
        layout.tensors.reduce(0) { $0 + (Self.isBuffer($1.name) ? 0 : $1.range.count) }
    }

    /// Draws first values from `seed`; see the specification, section 6.
    ///
    /// - Parameter independentRows: draw every row of the per-domain gates and experts by itself, as
    ///   the reference program does; by default they share one draw, so that their mean means
    ///   something to a new domain.
    public func initialize(seed: UInt64, independentRows: Bool = false) {
        var random = Random(seed: seed)
        for table in tables {
            let deviation = table.name.hasSuffix(".id.table") ? 0.01 : 0.05
            for i in 0..<table.rows * table.width {
                table.weights.base[i] = Float(random.normal() * deviation)
            }
        }
        for (tensor, start) in zip(layout.tensors, starts) {
            let values = block.base + tensor.range.lowerBound
            let count = tensor.range.count
            func xavier(_ range: Range<Int>) {
                let shape = tensor.shape
                let fan = Double(shape[shape.count - 1] + shape[shape.count - 2])
                let bound = (6 / fan).squareRoot()
                for i in range { values[i] = Float((random.uniform() * 2 - 1) * bound) }
            }
            switch start {
            case .constant(let value): values.update(repeating: value, count: count)
            case .normal(let deviation):
                for i in 0..<count { values[i] = Float(random.normal()) * deviation }
            case .xavier: xavier(0..<count)
            case .commonXavier(let noise):
                if independentRows, noise > 0, tensor.name != "da.weight" {
                    xavier(0..<count)
                    continue
                }
                let row = tensor.rowCount
                xavier(0..<row)
                for r in 1..<max(1, tensor.shape[0]) {
                    (values + r * row).update(from: values, count: row)
                }
                if noise > 0 {
                    for i in 0..<count { values[i] += Float(random.normal()) * noise }
                }
            }
        }
    }
}

/// Declares the tensors of a configuration, each with its name, shape and start.
private struct Builder {
    var layout = Layout()
    var starts: [Start] = []

    mutating func add(_ name: String, _ start: Start, _ shape: Int...) -> Int {
        starts.append(start)
        return layout.add(name, shape: shape).lowerBound
    }

    mutating func aspect(_ name: String, input: Int, output: Int, bias: Float) -> AspectPlace {
        AspectPlace(
            weight: add(name + ".proj.weight", .xavier, output, input),
            bias: add(
                name + ".proj.bias", bias == 0 ? .constant(0) : .normal(bias), output),
            gamma: add(name + ".ln.weight", .constant(1), output),
            beta: add(name + ".ln.bias", .constant(0), output))
    }

    mutating func experts(
        _ name: String, domains: Int?, count: Int, input: Int, hidden: Int, output: Int
    ) -> ExpertPlace {
        var place = ExpertPlace()
        (place.count, place.input, place.hidden, place.output) = (count, input, hidden, output)
        if let domains {
            place.w1 = add(name + ".w1", .commonXavier(0.01), domains, count, hidden, input)
            place.b1 = add(name + ".b1", .constant(0), domains, count, hidden)
            place.w2 = add(name + ".w2", .commonXavier(0.01), domains, count, output, hidden)
            place.b2 = add(name + ".b2", .constant(0), domains, count, output)
        } else {
            place.w1 = add(name + ".w1", .xavier, count, hidden, input)
            place.b1 = add(name + ".b1", .constant(0), count, hidden)
            place.w2 = add(name + ".w2", .xavier, count, output, hidden)
            place.b2 = add(name + ".b2", .constant(0), count, output)
        }
        return place
    }

    mutating func declare(_ c: ModelConfiguration) -> Places {
        var p = Places()
        let root = 1 / Float(c.d).squareRoot()
        p.domain = add("domain.emb", .normal(root), c.M, c.d)
        p.itemID = aspect("item.id", input: c.d_id, output: c.d, bias: 0.3)
        p.itemText = aspect("item.text", input: c.text_dim, output: c.d, bias: 0)
        if !c.item_sparse.isEmpty {
            p.itemSparse = aspect(
                "item.sparse", input: c.d_sp * c.item_sparse.count, output: c.d, bias: 0.1)
        }
        p.itemNull = add("item.null", .normal(1), c.d)
        p.queryID = aspect("query.id", input: c.d_id, output: c.d, bias: 0.3)
        p.queryText = aspect("query.text", input: c.text_dim, output: c.d, bias: 0)
        p.queryNull = add("query.null", .normal(1), c.d)
        if c.gate != .mean {
            p.itemWq = add("item.gate.wq", .xavier, c.d, c.d)
            p.itemWk = add("item.gate.wk", .xavier, c.d, c.d)
            if c.gate == .cls { p.itemCls = add("item.gate.cls", .normal(root), c.d) }
            p.queryWq = add("query.gate.wq", .xavier, c.d, c.d)
            p.queryWk = add("query.gate.wk", .xavier, c.d, c.d)
            if c.gate == .cls { p.queryCls = add("query.gate.cls", .normal(root), c.d) }
        }
        p.historyNull = add("user.hist.null", .normal(1), c.d)
        if c.hist == .din {
            p.din1 = add("user.hist.w1", .xavier, c.din_h, 4 * c.d)
            p.dinB1 = add("user.hist.b1", .constant(0), c.din_h)
            p.din2 = add("user.hist.w2", .xavier, 1, c.din_h)
            p.dinB2 = add("user.hist.b2", .constant(0.1), 1)
        }
        p.fuse.weight = add("user.fuse.weight", .xavier, c.d, c.userWidth)
        p.fuse.bias = add("user.fuse.bias", .constant(0), c.d)
        p.fuse.gamma = add("user.fuse.ln.weight", .constant(1), c.d)
        p.fuse.beta = add("user.fuse.ln.bias", .constant(0), c.d)
        if c.backbone == .star { declareStar(c, &p) } else { declareLayers(c, &p) }
        return p
    }

    private mutating func declareLayers(_ c: ModelConfiguration, _ p: inout Places) {
        if c.da {
            p.daWeight = add("da.weight", .commonXavier(0.01), c.M, c.H, c.X)
            p.daBias = add("da.bias", .constant(0), c.M, c.H)
            p.daU = add("da.u", .xavier, c.H, c.d)
            p.input.gamma = add("da.ln.weight", .constant(1), c.H)
            p.input.beta = add("da.ln.bias", .constant(0), c.H)
            if c.low_rank > 0 {
                p.lowA = add("da.low.a", .commonXavier(0), c.M, c.low_rank, c.X)
                p.lowB = add("da.low.b", .constant(0), c.M, c.H, c.low_rank)
            }
        } else {
            p.input.weight = add("inp.weight", .xavier, c.H, c.X)
            p.input.bias = add("inp.bias", .constant(0), c.H)
            p.input.gamma = add("inp.ln.weight", .constant(1), c.H)
            p.input.beta = add("inp.ln.bias", .constant(0), c.H)
        }
        if c.domain_norm {
            p.normGamma = add("norm.weight", .constant(1), c.M, c.H)
            p.normBeta = add("norm.bias", .constant(0), c.M, c.H)
        }
        switch c.backbone {
        case .mmoe:
            p.experts = experts(
                "expert", domains: nil, count: c.E, input: c.H, hidden: c.e1, output: c.e2)
            p.gateWeight = add("mmoe.gate.weight", .commonXavier(0.01), c.heads, c.E, c.H)
            p.gateBias = add("mmoe.gate.bias", .constant(0), c.heads, c.E)
        case .ple:
            var width = c.H
            for level in 1..<c.ple_levels {
                let name = "ple.level\(level)"
                var place = PLELevel()
                place.experts = experts(
                    name + ".expert", domains: nil, count: c.ple_sh, input: width, hidden: c.e1,
                    output: c.e2)
                place.own = experts(
                    name + ".own", domains: c.M, count: c.ple_sp, input: width, hidden: c.e1,
                    output: c.e2)
                place.gateWeight = add(
                    name + ".gate.weight", .commonXavier(0.01), c.M, c.ple_sp + c.ple_sh, width)
                place.gateBias = add(
                    name + ".gate.bias", .constant(0), c.M, c.ple_sp + c.ple_sh)
                let all = c.M * c.ple_sp + c.ple_sh
                place.sharedWeight = add(name + ".shared.weight", .xavier, all, width)
                place.sharedBias = add(name + ".shared.bias", .constant(0), all)
                p.levels.append(place)
                width = c.e2
            }
            p.experts = experts(
                "expert", domains: nil, count: c.ple_sh, input: width, hidden: c.e1, output: c.e2)
            p.own = experts(
                "ple.own", domains: c.M, count: c.ple_sp, input: width, hidden: c.e1, output: c.e2)
            p.gateWeight = add(
                "ple.gate.weight", .commonXavier(0.01), c.heads, c.ple_sp + c.ple_sh, width)
            p.gateBias = add("ple.gate.bias", .constant(0), c.heads, c.ple_sp + c.ple_sh)
        case .shared_bottom:
            p.experts = ExpertPlace(
                w1: add("bottom.w1", .xavier, c.E * c.e1, c.H),
                b1: add("bottom.b1", .constant(0), c.E * c.e1),
                w2: add("bottom.w2", .xavier, c.e2, c.E * c.e1),
                b2: add("bottom.b2", .constant(0), c.e2),
                count: 1, input: c.H, hidden: c.E * c.e1, output: c.e2)
        case .single:
            p.own = ExpertPlace(
                w1: add("single.w1", .commonXavier(0.01), c.M, c.e1, c.H),
                b1: add("single.b1", .constant(0), c.M, c.e1),
                w2: add("single.w2", .commonXavier(0.01), c.M, c.e2, c.e1),
                b2: add("single.b2", .constant(0), c.M, c.e2),
                count: 1, input: c.H, hidden: c.e1, output: c.e2)
        case .star: break
        }
        p.tower1 = add("tower.w1", .commonXavier(0), c.heads, c.t, c.e2)
        p.towerB1 = add("tower.b1", .constant(0), c.heads, c.t)
        p.tower2 = add("tower.w2", .commonXavier(0), c.heads, 1, c.t)
        p.towerB2 = add("tower.b2", .constant(0), c.heads, 1)
    }

    private mutating func declareStar(_ c: ModelConfiguration, _ p: inout Places) {
        p.pnGamma = add("star.pn.gamma", .constant(1), c.X)
        p.pnBeta = add("star.pn.beta", .constant(0), c.X)
        p.pnGammaM = add("star.pn.gamma_m", .constant(1), c.M, c.X)
        p.pnBetaM = add("star.pn.beta_m", .constant(0), c.M, c.X)
        p.pnMean = add("star.pn.mean", .constant(0), c.M, c.X)
        p.pnVar = add("star.pn.var", .constant(1), c.M, c.X)
        for (i, (out, input)) in [(2 * c.e1, c.X), (c.e2, 2 * c.e1), (1, c.e2)].enumerated() {
            let name = "star.fc\(i + 1)"
            p.star.append(
                (
                    add(name + ".weight", .xavier, out, input),
                    add(name + ".bias", .constant(0), out),
                    add(name + ".weight_m", .constant(1), c.M, out, input),
                    add(name + ".bias_m", .constant(0), c.M, out), out, input
                ))
        }
        p.aux1 = add("star.aux.w1", .xavier, c.star_aux, c.X + c.d)
        p.auxB1 = add("star.aux.b1", .constant(0), c.star_aux)
        p.aux2 = add("star.aux.w2", .xavier, 1, c.star_aux)
        p.auxB2 = add("star.aux.b2", .constant(0), 1)
    }
}
