// The sizes and switches of a network: what a release states about its shape.

/// Sizes and switches; names and defaults are those of the specification's golden files.
public struct ModelConfiguration: Sendable, Equatable {
    /// How the aspects of an item or a query are weighed.
    public enum Gate: String, Sendable, CaseIterable { case mean, cls, domain }

    /// What lies between the input layer and the towers.
    public enum Backbone: String, Sendable, CaseIterable {
        case single, shared_bottom, mmoe, ple, star
    }

    /// The penalty on the distance between domains behind the domain adaptive layer.
    public enum Divergence: String, Sendable, CaseIterable { case none, js, mmd }

    /// How the clicked items of a user become one vector.
    public enum History: String, Sendable, CaseIterable { case mean, din }

    /// What a head predicts.
    public enum Task: String, Sendable, CaseIterable { case click, conversion, relevance }

    /// A multi-valued field and how many rows its table has.
    public struct Field: Sendable, Equatable {
        public var name: String
        public var rows: Int

        public init(_ name: String, _ rows: Int) {
            self.name = name
            self.rows = rows
        }
    }

    public var M: Int
    public var d = 16
    public var d_id = 16
    public var d_sp = 8
    public var d_ctx = 4
    public var H = 64
    public var E = 4
    public var e1 = 64
    public var e2 = 32
    public var t = 16
    public var n_user = 1
    public var n_item = 1
    public var n_query = 1
    public var text_dim = 384
    public var item_sparse: [Field] = []
    public var user_sparse: [Field] = []
    public var ctx: [Field] = []
    public var n_dense = 0
    public var gate = Gate.domain
    public var backbone = Backbone.mmoe
    public var da = true
    public var div = Divergence.none
    public var alpha: Float = 0.1
    public var tau: Float = 1
    public var n_min = 16
    public var mmd_cap = 64
    public var hist = History.mean
    public var din_h = 16
    public var ple_sp = 1
    public var ple_sh = 4
    public var star_aux = 16

    // Beyond the golden files.

    /// Tasks in the order of their heads; head = domain · tasks.count + place in this list.
    public var tasks: [Task] = [.click]
    /// Levels of PLE; above 1 the earlier levels are named `ple.levelN.*`.
    public var ple_levels = 1
    /// Rank of a low-rank correction to each domain's map; 0 for none (a transfer baseline).
    public var low_rank = 0
    /// Whether each domain scales and shifts the normalised h by itself (a transfer baseline).
    public var domain_norm = false
    /// Share of the old mean distribution that is kept from batch to batch; 0 = this batch alone.
    public var div_ema: Float = 0

    public init(M: Int) { self.M = M }

    /// Width of the multi-task part's input.
    public var X: Int { 5 * d + ctx.count * d_ctx + n_dense }
    /// Width of a user's input to the fusing layer.
    public var userWidth: Int { d_id + d_sp * user_sparse.count + d }
    public var heads: Int { M * tasks.count }

    /// A named variant of the specification's table, on otherwise equal sizes.
    ///
    /// - Precondition: `variant` is one of `ModelConfiguration.variants`.
    public func variant(_ variant: String) -> ModelConfiguration {
        var c = self
        c.gate = .domain
        (c.backbone, c.da, c.div) =
            switch variant {
            case "single": (.single, false, .none)
            case "shared_bottom": (.shared_bottom, false, .none)
            case "mmoe": (.mmoe, false, .none)
            case "ple": (.ple, false, .none)
            case "star": (.star, false, .none)
            case "mmoe-da": (.mmoe, true, .none)
            case "mmoe-da-mmd": (.mmoe, true, .mmd)
            case "mdf": (.mmoe, true, .js)
            default: preconditionFailure("\(variant) is none of \(Self.variants)")
            }
        return c
    }

    public static let variants = [
        "single", "shared_bottom", "mmoe", "ple", "star", "mmoe-da", "mmoe-da-mmd", "mdf",
    ]

    /// The configuration of the speed figures.
    public static var standard: ModelConfiguration {
        var c = ModelConfiguration(M: 9)
        (c.d, c.d_id, c.d_sp, c.d_ctx, c.H) = (32, 32, 16, 8, 128)
        (c.E, c.e1, c.e2, c.t) = (8, 128, 64, 64)
        (c.n_user, c.n_item, c.n_query) = (100_000, 100_000, 100_000)
        c.item_sparse = ["a", "b", "c", "d"].map { Field($0, 100_000) }
        c.user_sparse = ["p", "q"].map { Field($0, 100_000) }
        c.ctx = [Field("position", 24)]
        c.n_dense = 3
        c.div = .js
        return c
    }

    /// A sentence about the first thing that makes this configuration impossible; nil if it is sound.
    public var problem: String? {
        let sizes = [
            ("M", M), ("d", d), ("d_id", d_id), ("d_sp", d_sp), ("d_ctx", d_ctx), ("H", H),
            ("E", E),
            ("e1", e1), ("e2", e2), ("t", t), ("n_user", n_user), ("n_item", n_item),
            ("n_query", n_query), ("text_dim", text_dim), ("din_h", din_h), ("ple_sp", ple_sp),
            ("ple_sh", ple_sh), ("star_aux", star_aux), ("ple_levels", ple_levels),
            ("mmd_cap", mmd_cap), ("n_min", n_min),
        ]
        for (name, size) in sizes where size < 1 || size > 1 << 28 {
            return "\(name) is \(size); it must be between 1 and \(1 << 28)"
        }
        if n_dense < 0 || n_dense > 4096 { return "n_dense is \(n_dense); it must be 0 to 4096" }
        if low_rank < 0 || low_rank > H { return "low_rank is \(low_rank); it must be 0 to H" }
        for field in item_sparse + user_sparse + ctx where field.rows < 1 || field.rows > 1 << 28 {
            return "the table of \(field.name) has \(field.rows) rows"
        }
        for fields in [item_sparse, user_sparse, ctx]
        where Set(fields.map(\.name)).count != fields.count {
            return "a field is named twice among \(fields.map(\.name))"
        }
        if tasks.isEmpty || Set(tasks).count != tasks.count {
            return "the tasks are \(tasks.map(\.rawValue)); each may stand once, and one must"
        }
        if tasks.contains(.conversion), !tasks.contains(.click) {
            return "conversion is trained as p(click) · p(convert), so click must be a task too"
        }
        if backbone == .star, tasks.count > 1 { return "the star backbone knows one task only" }
        if backbone == .star, div != .none { return "the star backbone has no divergence" }
        if !da, low_rank > 0 { return "a low-rank correction needs the domain adaptive layer" }
        if !tau.isFinite || tau <= 0 { return "tau is \(tau); it must be positive" }
        if !alpha.isFinite || alpha < 0 { return "alpha is \(alpha); it must not be negative" }
        if !(0..<1).contains(div_ema) { return "div_ema is \(div_ema); it must be in 0..<1" }
        return nil
    }
}
