// What a simulated fleet of domains looks like: who, how much, how fast, and how badly logged.

/// Everything that a simulation follows from; equal settings give equal bytes.
public struct SimulationSettings: Sendable {
    public var seed: UInt64 = 1
    /// About how many impressions (within a few percent; of tiny simulations within a third).
    public var impressions = 200_000
    /// Over how much event time.
    public var seconds = 7_200
    /// Event time of the beginning, in milliseconds since the epoch.
    public var startMilliseconds: Int64 = 1_767_600_000_000
    public var users = 20_000
    public var items = 3_000
    /// In each search domain.
    public var queries = 200
    /// Query–item pairs that an editor grades, in each search domain.
    public var judgments = 300
    /// Scales every drift of the world; 0 holds it still.
    public var drift = 1.0
    public var domains = DomainPlan.standard
    public var faults = FaultPlan.standard

    public init() {}

    /// A small and fast one for tests: delays of about a second, label windows of 6 s.
    ///
    /// - Parameters:
    ///   - impressions: about how many.
    ///   - domains: how many of `DomainPlan.standard`, one search domain first, the late one last.
    public static func tiny(
        seed: UInt64, impressions: Int = 300, domains: Int = 3, faults: FaultPlan = .harsh
    ) -> SimulationSettings {
        let order = ["shop-search", "home-feed", "new-cards", "video-feed", "help-search", "cards"]
        precondition(
            (1...order.count).contains(domains), "1 to \(order.count) domains, not \(domains)")
        var settings = SimulationSettings()
        settings.seed = seed
        settings.impressions = impressions
        settings.seconds = max(20, impressions / 5)
        settings.users = max(5, impressions / 20)
        settings.items = max(60, impressions / 10)
        settings.queries = 12
        settings.judgments = 5
        settings.faults = faults
        settings.domains = order.prefix(domains).map { name in
            var plan = DomainPlan.standard.first { $0.name == name }!
            plan.clickDelayMedianSeconds = 6 / DomainPlan.windowOverMedian
            plan.clickRate = max(plan.clickRate, 0.2)
            return plan
        }
        return settings
    }

    /// What stream benchmarks feed: one impression an event, as the systems that they are compared with
    /// count them, two thousand a second of event time, clicks after about a second.
    public static func benchmark(impressions: Int) -> SimulationSettings {
        var settings = SimulationSettings()
        settings.impressions = impressions
        settings.seconds = max(30, impressions / 2_000)
        for i in settings.domains.indices {
            settings.domains[i].logsSlates = false
            settings.domains[i].clickReference = .impression
            settings.domains[i].clickDelayMedianSeconds = 1
        }
        return settings
    }

    /// The longest time behind its impression at which a click still counts.
    public var attributionWindowSeconds: Int {
        domains.map(\.attributionWindowSeconds).max() ?? 0
    }

    /// The same simulation with only the domains of these names, in the order of the plan.
    public func only(_ names: [String]) -> SimulationSettings {
        var copy = self
        copy.domains = domains.filter { names.contains($0.name) }
        return copy
    }
}

/// What is shown in a domain: items stand on shelves, a domain serves from one or more.
public enum Shelf: UInt8, CaseIterable, Sendable {
    case product, article, post, video
}

/// How a click names its impression; the contract allows all four.
public enum ClickReference: Sendable {
    /// `impression_id` of an impression that was logged by itself.
    case impression
    /// `impression_id` of a slate with `#position` behind it.
    case slatePosition
    /// `impression_id` of a slate and `item_id` beside it.
    case slateItem
    /// `request_id` and `item_id`.
    case requestItem
}

/// One domain: its traffic, what it shows, and how people behave there.
public struct DomainPlan: Sendable {
    public enum Surface: Sendable { case search, recommendation }

    public var name: String
    public var surface: Surface
    public var shelves: [Shelf]
    /// Part of the traffic, relative to the other domains.
    public var share: Double
    /// The share of impressions that are clicked, over the whole run.
    public var clickRate: Double
    /// Items shown in answer to one request.
    public var slate: Int
    /// Whether a request is one line with `items`, or a line for each impression.
    public var logsSlates: Bool
    public var clickReference: ClickReference
    /// The logit falls by this much for each factor e of position.
    public var positionBias: Double
    /// Half of all clicks come within this time; the delay is log-normal.
    public var clickDelayMedianSeconds = 60 / DomainPlan.windowOverMedian
    /// Conversions over clicks.
    public var conversionRate = 0.0
    /// How far the domain's logit moves from the beginning to the end.
    public var drift = 0.0
    /// When the domain opens, as a part of the run.
    public var opens = 0.0
    /// Part of the requests that come from visitors who are known by a session alone.
    public var anonymousShare = 0.0
    /// Whether an impression says `impression_id`; if not, its `id` identifies it.
    public var saysImpressionID = true

    /// Standard deviation of the logarithm of the click delay.
    public static let delaySpread = 1.2
    /// The 95 % point of the delay over its median: e^(1.645 · spread).
    public static let windowOverMedian = 7.2

    /// The 95 % point of the click delay: what `label_window_s` should be.
    public var labelWindowSeconds: Int {
        max(1, Int((clickDelayMedianSeconds * Self.windowOverMedian).rounded()))
    }
    /// Five label windows; about 0.1 % of the clicks come later still.
    public var attributionWindowSeconds: Int { 5 * labelWindowSeconds }
    public static let conversionWindowSeconds = 3_600

    public init(
        _ name: String, _ surface: Surface, shelves: [Shelf], share: Double, clickRate: Double,
        slate: Int, logsSlates: Bool, clickReference: ClickReference, positionBias: Double
    ) {
        precondition(
            logsSlates || clickReference == .impression || clickReference == .requestItem,
            "\(name): a click cannot name a slate where none are logged")
        precondition(!logsSlates || clickReference != .impression, "\(name) logs slates")
        self.name = name
        self.surface = surface
        self.shelves = shelves
        self.share = share
        self.clickRate = clickRate
        self.slate = slate
        self.logsSlates = logsSlates
        self.clickReference = clickReference
        self.positionBias = positionBias
    }

    /// Two searches and four feeds, the last of which opens in the middle.
    public static var standard: [DomainPlan] {
        var shop = DomainPlan(
            "shop-search", .search, shelves: [.product], share: 1.2, clickRate: 0.25, slate: 8,
            logsSlates: true, clickReference: .requestItem, positionBias: 0.7)
        shop.conversionRate = 0.12
        shop.saysImpressionID = false
        var help = DomainPlan(
            "help-search", .search, shelves: [.article], share: 0.7, clickRate: 0.28, slate: 5,
            logsSlates: false, clickReference: .impression, positionBias: 0.8)
        help.clickDelayMedianSeconds = 30 / windowOverMedian
        help.anonymousShare = 0.25
        help.saysImpressionID = false
        var home = DomainPlan(
            "home-feed", .recommendation, shelves: [.product, .post, .video], share: 1.5,
            clickRate: 0.08, slate: 6, logsSlates: true, clickReference: .slateItem,
            positionBias: 0.35)
        home.drift = -0.4
        home.conversionRate = 0.04
        var video = DomainPlan(
            "video-feed", .recommendation, shelves: [.video], share: 1.2, clickRate: 0.15, slate: 4,
            logsSlates: false, clickReference: .impression, positionBias: 0.25)
        video.clickDelayMedianSeconds = 90 / windowOverMedian
        video.drift = 0.3
        let cards = DomainPlan(
            "cards", .recommendation, shelves: [.product, .post], share: 1, clickRate: 0.11,
            slate: 4,
            logsSlates: true, clickReference: .slatePosition, positionBias: 0.3)
        var newCards = DomainPlan(
            "new-cards", .recommendation, shelves: [.product, .post, .video], share: 1.2,
            clickRate: 0.14, slate: 4, logsSlates: true, clickReference: .slateItem,
            positionBias: 0.3)
        newCards.opens = 0.5
        return [shop, help, home, video, cards, newCards]
    }
}

/// How the log differs from what happened. Faults never change what happened: the same seed with
/// other faults has the same impressions, clicks and truth, but for what was lost.
public struct FaultPlan: Sendable {
    /// Part of the lines that come a second time, up to `duplicateDelaySeconds` later.
    public var duplicates = 0.0
    public var duplicateDelaySeconds = 30.0
    /// Part of the lines that arrive out of order, but within the lateness of the settings file.
    public var reordered = 0.0
    /// Part of the lines that arrive later than that, by up to `lateSeconds`.
    public var late = 0.0
    public var lateSeconds = 20.0
    /// Broken records, as a part of the good lines, beside which they stand.
    public var broken = 0.0
    /// Part of the impression lines that never arrive; their clicks are orphans.
    public var lost = 0.0

    public init() {}

    public static let none = FaultPlan()

    /// What a decent logging pipeline does.
    public static var standard: FaultPlan {
        var plan = FaultPlan()
        plan.duplicates = 0.01
        plan.reordered = 0.015
        plan.late = 0.002
        plan.broken = 0.001
        plan.lost = 0.001
        return plan
    }

    /// Every fault many times within a few hundred lines.
    public static var harsh: FaultPlan {
        var plan = FaultPlan()
        plan.duplicates = 0.1
        plan.duplicateDelaySeconds = 10
        plan.reordered = 0.15
        plan.late = 0.05
        plan.lateSeconds = 15
        plan.broken = 0.08
        plan.lost = 0.03
        return plan
    }
}
