// The state of one domain-log partition: tables of plain rows, and what is derived from them.

import Bytes
import Contracts
import DeterministicMath
import Statistics
import Streams

/// The partition's clock and totals.
struct Clock: BitwiseCopyable {
    /// Newest tick time over all sources; never goes back. 0 before the first tick.
    var time: Int64 = 0
    var lastPublish: Int64 = 0
    var lastPriors: Int64 = 0
    var publishPoints: Int64 = 0
    var recordsSincePublish: Int64 = 0
    /// Numbers given to what waits in a `DueQueue`.
    var sequence: UInt64 = 0
    /// Matured impressions and clicks over all domains of all partitions, beginning with the start
    /// values of model-spec §12: 1 click of 5.
    var impressions: Double = 5
    var clicks: Double = 1
    /// The part of them that has not been sent to the other partitions yet.
    var unsentImpressions: Double = 0
    var unsentClicks: Double = 0
    var firstUnsentOrdinal: Int64 = 0
    /// Micro-batches learned from, over all domains: the version of the head.
    var headVersion: Int64 = 0
    var examplesLearned: Int64 = 0
    /// Hash of all scores published so far.
    var scoresHash = Hash128.zero
    /// One more than the highest item and candidate row ever used.
    var itemRows: UInt32 = 0
    var candidateRows: UInt32 = 0
    /// Where the sweep over all items, and over all candidates, goes on.
    var sweepItem: UInt32 = 0
    var sweepCandidate: UInt32 = 0
    var counters = Counters()
}

/// What was met on the way and only counted.
public struct Counters: BitwiseCopyable, Sendable {
    /// Labels whose impression is not (or no longer) known here.
    public var labelsWithoutImpression: Int64 = 0
    /// Corrections that came after the horizon.
    public var correctionsAfterHorizon: Int64 = 0
    public var evictedImpressions: Int64 = 0
    public var evictedItems: Int64 = 0
    public var evictedCandidates: Int64 = 0
    /// Records of domains beyond the cap.
    public var refusedDomains: Int64 = 0
    /// Records before the partition's first settings record.
    public var recordsBeforeSettings: Int64 = 0
    public var unreadableRecords: Int64 = 0
    public var scoresPublished: Int64 = 0

    public var evictions: Int64 { evictedImpressions + evictedItems + evictedCandidates }

    public init() {}
}

/// Counts that fade, one pair per half-life of the domain.
struct DecayedClicks: BitwiseCopyable {
    var time: Int64 = 0
    var impressions: InlineArray<5, Float> = InlineArray(repeating: 0)
    var clicks: InlineArray<5, Float> = InlineArray(repeating: 0)

    mutating func add(
        impressions n: Float, clicks c: Float, at now: Int64, _ parameters: DomainParameters
    ) {
        fade(to: now, parameters)
        for i in 0..<5 where parameters.halfLives[i] > 0 {
            impressions[i] += n
            clicks[i] += c
        }
    }

    /// Lets the counts fade to `now`; a time before theirs counts as no time.
    mutating func fade(to now: Int64, _ parameters: DomainParameters) {
        let elapsed = now - time
        guard elapsed > 0 else { return }
        if time > 0 {
            for i in 0..<5 where parameters.halfLives[i] > 0 {
                let halfLife = HalfLife(seconds: Double(parameters.halfLives[i]))
                let left = Float(halfLife.remainder(after: elapsed))
                impressions[i] *= left
                clicks[i] *= left
            }
        }
        time = now
    }
}

/// An item over all domains of all partitions. Named by its id; tail: `ItemFeatures`.
struct ItemRow: BitwiseCopyable {
    /// Matured labels over all domains, priors of other partitions included.
    var impressions: Double = 0
    var clicks: Double = 0
    /// Evidence for its effect: the sum over this partition's domains, and what priors brought.
    var evidence = Evidence()
    var elsewhere = Evidence()
    /// What has not been sent to the other partitions yet.
    var unsentImpressions: Float = 0
    var unsentClicks: Float = 0
    var unsentExpected: Float = 0
    var unsentContent: Float = 0
    var isUnavailable: UInt8 = 0
    /// The catalog has spoken of it.
    var isInCatalog: UInt8 = 0
    /// For the domains of its list alone.
    var hasDomainList: UInt8 = 0
    var isUnsent: UInt8 = 0
    var padding: UInt32 = 0
}

/// What has been computed and published of an item, or of a candidate of a query.
struct PublishedScore: BitwiseCopyable {
    var score: Float = 0
    var scoreStd: Float = 0
    var publishedScore: Float = 0
    var publishedStd: Float = 0
    /// 0: never published.
    var publishedRank: Int32 = 0
    var publishedLabels: Int32 = 0
}

/// An item in one domain.
struct DomainItemRow: BitwiseCopyable {
    var domain: UInt32 = 0
    var item: UInt32 = 0
    var shown: Int64 = 0
    /// Labels and clicks that have arrived.
    var labels: Int32 = 0
    var clicks: Int32 = 0
    var conversions: Int32 = 0
    var isTouched: UInt8 = 0
    /// It has a score and stands in the domain's ranking.
    var isRanked: UInt8 = 0
    var padding: UInt16 = 0
    var published = PublishedScore()
    var padding2: UInt32 = 0
    var padding3: UInt32 = 0
    var effect = EffectCell()
    var decayed = DecayedClicks()
}

/// An item that was shown for a query in a search domain.
struct CandidateRow: BitwiseCopyable {
    /// A part of the item's key: the row may have been given to another item.
    var itemKey: UInt32 = 0
    var query: UInt32 = 0
    var domain: UInt32 = 0
    var item: UInt32 = 0
    var shown: Int32 = 0
    var labels: Int32 = 0
    var clicks: Int32 = 0
    /// Its average position bias, over the last 32 or so times it was shown.
    var positionBias: Float = 0
    var isTouched: UInt8 = 0
    var isRanked: UInt8 = 0
    var padding: UInt16 = 0
    var published = PublishedScore()
    var pair = PairEvidence()
}

/// A query in one domain.
struct QueryRow: BitwiseCopyable {
    var hash: UInt64 = 0
    /// `log2(decayed count) + time / half-life`: comparable between queries at any time.
    var weight: Double = 0
    var domain: UInt32 = 0
    /// A candidate of it was touched since its scores were last computed.
    var isTouched: UInt32 = 0
}

/// The labels of one request (else user) in one domain: page rate and GAUC. Tail: `GroupLabels`.
struct GroupRow: BitwiseCopyable {
    /// Event time of its newest label.
    var time: Int64 = 0
    var domain: UInt32 = 0
    var size: UInt16 = 0
    var positives: UInt16 = 0
    /// Twice the number of (positive, negative) pairs in order, ties counting once.
    var wins: Int32 = 0
    var isRequest: UInt8 = 0
    var padding: UInt8 = 0
    var padding2: UInt16 = 0
}

/// Predictions of a group; the label is the lowest bit.
struct GroupLabels: BitwiseCopyable {
    static let maximum = 100
    var entries: InlineArray<100, UInt32> = InlineArray(repeating: 0)
}

/// An impression from the moment it was shown until it can no longer be corrected.
/// Named by impression id, a NUL, request id; tail: `KeptFeatures`.
struct PendingRow: BitwiseCopyable {
    /// When it was shown.
    var time: Int64 = 0
    var user: UInt64 = 0
    var query: UInt64 = 0
    /// Lower half of the item's key: the row may have been given to another item.
    var itemKey: UInt64 = 0
    /// When its features may go: set by its label.
    var expiry: Int64 = 0
    var sequence: UInt64 = 0
    var domain: UInt32 = 0
    var item: UInt32 = 0
    var logit: Float = 0
    var impressionIDBytes: UInt16 = 0
    var position: UInt16 = 0
    var hasQuery: UInt8 = 0
    var isLabeled: UInt8 = 0
    var isClicked: UInt8 = 0
    /// Slice of item age: labels so far 0, 1–9, 10–99, ≥ 100.
    var ageSlice: UInt8 = 0
    /// In a micro-batch that has not been learned from.
    var isBatched: UInt8 = 0
    var hasPosition: UInt8 = 0
    var padding: UInt16 = 0
}

/// A context in which something was shown, for the average that a score is.
struct ContextRow: BitwiseCopyable {
    static let historyMaximum = 10

    var userRate: Float = 0
    var userCount: Float = 0
    var historyRate: Float = 0
    var padding: UInt16 = 0
    var historyCount: UInt8 = 0
    var otherCount: UInt8 = 0
    /// Item rows of the history with a part of their keys.
    var history: InlineArray<10, UInt32> = InlineArray(repeating: 0)
    var historyKeys: InlineArray<10, UInt32> = InlineArray(repeating: 0)
    /// Hashed features of user and context.
    var others: InlineArray<36, PackedFeature> = InlineArray(
        repeating: PackedFeature(bucket: 0, shareOf: 0))
}

/// Counts and sketches of a domain, its own weights, and its open micro-batch.
/// Named; tail: `contexts` rows of `ContextRow`.
struct DomainRow: BitwiseCopyable {
    var parameters = DomainParameters()
    var own = HeadPart.ownStart
    var biases = DomainBiases()
    var wander = CalibrationWander()
    var pairSpread = PairSpread()
    /// Of the request whose impressions were last seen, to tell requests apart.
    var lastRequest: UInt64 = 0
    var shown: Int64 = 0
    var labels: Int64 = 0
    var clicks: Int64 = 0
    var conversions: Int64 = 0
    var corrections: Int64 = 0
    var judgments: Int64 = 0
    var requests: Int64 = 0
    var requestsClicked: Int64 = 0
    var duplicates: Int64 = 0
    var orphans: Int64 = 0
    var late: Int64 = 0
    var dead: Int64 = 0
    var items: Int64 = 0
    var examplesLearned: Int64 = 0
    var firstTime: Int64 = 0
    var lastTime: Int64 = 0
    var firstOrdinal: Int64 = 0
    /// Requests that could have become a context.
    var contextsSeen: Int64 = 0
    var statisticsHash = Hash128.zero
    var decayed = DecayedClicks()
    var positions = PositionTable()
    var users = HyperLogLog()
    var topItems = HeavyHitters<64>()
    var delays = QuantileSketch()
    var rates = RatePopulation()
    var drift = PredictionDrift()
    /// Lower half of the name's hash.
    var nameKey: UInt64 = 0
    /// Rows of `pending`, with bit 31 = a correction.
    var batch: InlineArray<64, UInt32> = InlineArray(repeating: 0)
    var batchCount: Int32 = 0
    var padding: UInt32 = 0
}

/// A partition that has sent priors, and the newest of what it said about weights.
struct SenderRow: BitwiseCopyable {
    var sender: Int64 = 0
    var examples: Double = 0
    /// Means of its domains' own parts and biases: of recommendation, of search.
    var recommendation = ToldPart()
    var search = ToldPart()
    var nextBlock: Int32 = 0
    var padding: UInt32 = 0
}

/// A mean of domains' own parts, as partitions tell each other.
struct ToldPart: BitwiseCopyable {
    /// Own weights, own bias, final bias.
    var values: InlineArray<59, Float> = InlineArray(repeating: 0)
    var isTold: UInt32 = 0
}

/// Counts of a set of priors that is not complete yet. Named by the item's id.
struct StagedPriorRow: BitwiseCopyable {
    var sender: Int64 = 0
    /// Labels, clicks, expected and content since the sender's last set.
    var added = Evidence()
}

/// Quality of a domain's predictions in one slice of item age.
struct QualityRow: BitwiseCopyable {
    var quality = PrequentialQuality()
    var firstOrdinal: Int64 = 0
    var lastOrdinal: Int64 = 0
    var firstTime: Int64 = 0
    var lastTime: Int64 = 0
}

/// The state of a partition; its methods only find and keep, the step decides.
public final class FinetuneState: PartitionState {
    let partition: Int
    let clock = Block("clock", Clock())
    let shared = Block("shared-head", SharedHead())
    let hashed: Pages<HashedWeight>
    let settingsRecord: Table<UInt64>
    let domains: Table<DomainRow>
    let quality: Table<QualityRow>
    let items: Table<ItemRow>
    let domainItems: Table<DomainItemRow>
    let queries: Table<QueryRow>
    /// Texts of queries by their hash, over all domains.
    let texts: Table<UInt64>
    let candidates: Table<CandidateRow>
    let groups: Table<GroupRow>
    let pending: Table<PendingRow>
    let senders: Table<SenderRow>
    let stagedPriors: Table<StagedPriorRow>
    /// Clicks and impressions by token bucket, over all domains.
    let tokens: Pages<TokenCounts>

    // Derived.
    @exclusivity(unchecked) var settings: FinetuneSettings?
    var expiries = DueQueue()
    @exclusivity(unchecked) var views: [DomainView] = []
    /// Moves when an item goes or its tokens change: what is derived from histories is stale then.
    @exclusivity(unchecked) var historiesVersion: UInt64 = 0
    @exclusivity(unchecked) var unsentItems: [UInt32] = []

    init(partition: Int, caps: FinetuneCaps, hashBits: Int) {
        self.partition = partition
        hashed = Pages(
            "hashed-weights", count: 1 << hashBits, elementsPerPage: 16, initial: HashedWeight())
        tokens = Pages("tokens", count: 1 << hashBits, elementsPerPage: 16, initial: TokenCounts())
        settingsRecord = Table("settings", maximumRows: 16, isNamed: true, initialRows: 2)
        domains = Table(
            "domains", maximumRows: caps.domains,
            tailBytes: MemoryLayout<ContextRow>.stride * DomainParameters.contextsMaximum,
            isNamed: true,
            initialRows: 4)
        quality = Table(
            "quality", maximumRows: caps.domains * ItemAge.sliceCount, initialRows: 8)
        items = Table(
            "items", maximumRows: caps.items, tailBytes: MemoryLayout<ItemFeatures>.stride,
            isNamed: true)
        domainItems = Table("domain-items", maximumRows: caps.items * 4)
        queries = Table("queries", maximumRows: caps.queries)
        texts = Table("texts", maximumRows: caps.queries, isNamed: true)
        candidates = Table("candidates", maximumRows: caps.queries * 4)
        pending = Table(
            "pending", maximumRows: caps.openImpressions + caps.corrections,
            tailBytes: MemoryLayout<KeptFeatures>.stride, isNamed: true)
        groups = Table(
            "groups", maximumRows: max(1_000, (caps.openImpressions + caps.corrections) / 4),
            tailBytes: MemoryLayout<GroupLabels>.stride)
        senders = Table("senders", maximumRows: 10_000, initialRows: 4)
        stagedPriors = Table("staged-priors", maximumRows: caps.items, isNamed: true)
    }

    public var tables: [any StateTable] {
        [
            clock, shared, hashed, tokens, settingsRecord, domains, quality, items, domainItems,
            queries,
            texts, candidates, groups, pending, senders, stagedPriors,
        ]
    }

    public func rebuild() {
        settings = nil
        settingsRecord.forEachLive { row in
            settings = try? FinetuneSettings(canonical: settingsRecord.name(row))
        }
        expiries.removeAll()
        pending.forEachLive { row in
            let kept = pending[row].pointee
            if kept.expiry > 0 {
                expiries.push(.init(due: kept.expiry, sequence: kept.sequence, row: row))
            }
        }
        unsentItems = []
        items.forEachLive { row in if items[row].pointee.isUnsent != 0 { unsentItems.append(row) } }
        views = []
        domains.forEachLive { row in addView(row) }
        domainItems.forEachLive { row in
            let item = domainItems[row].pointee
            let view = views[Int(item.domain)]
            if item.isTouched != 0 { view.touched.append(row) }
            if item.isRanked != 0 { view.ranking.rows.append(row) }
        }
        for view in views { view.ranking.sort { self.domainItems[$0].pointee.published.score } }
        domains.forEachLive { findHeadQueries(of: $0) }
        candidates.forEachLive { row in
            let candidate = candidates[row].pointee
            views[Int(candidate.domain)].addCandidate(row, of: candidate.query)
        }
    }

    /// What was met on the way and only counted.
    public var counters: Counters { clock.value.pointee.counters }

    /// Event time of the newest tick.
    public var time: Int64 { clock.value.pointee.time }

    /// Calls `body` with every domain's counts and the quality of its predictions.
    public func forEachDomain(
        _ body: (_ name: String, _ impressions: Int64, _ clicks: Int64, PrequentialQuality) -> Void
    ) {
        domains.forEachLive { row in
            guard let found = quality.find(FinetuneState.qualityKey(row, 0)) else { return }
            body(
                domains.name(row).text, domains[row].pointee.shown, domains[row].pointee.clicks,
                quality[found].pointee.quality)
        }
    }

    func addView(_ row: UInt32) {
        while views.count <= Int(row) { views.append(DomainView()) }
    }

    /// Finds a search domain's most frequent queries among all that are known.
    func findHeadQueries(of domain: UInt32) {
        let parameters = domains[domain].pointee.parameters
        let view = views[Int(domain)]
        view.headQueries.removeAll()
        guard parameters.surface == .search else { return }
        queries.forEachLive { row in
            let query = queries[row].pointee
            guard query.domain == domain else { return }
            view.headQueries.offer(row, weight: query.weight, limit: Int(parameters.headQueries))
        }
    }

    // Names to rows

    func contexts(_ domain: UInt32) -> UnsafeMutablePointer<ContextRow> {
        domains.tail(domain, as: ContextRow.self)
    }

    func features(_ item: UInt32) -> UnsafeMutablePointer<ItemFeatures> {
        items.tail(item, as: ItemFeatures.self)
    }

    func kept(_ row: UInt32) -> UnsafeMutablePointer<KeptFeatures> {
        pending.tail(row, as: KeptFeatures.self)
    }

    func head(_ domain: UInt32, _ lookups: Lookups) -> HeadView {
        HeadView(
            shared: shared.value, own: domains[domain].own, biases: domains[domain].biases,
            hashed: hashed.elements, shares: lookups.shares)
    }

    /// An item in 64 bits: its row, and enough of its key to tell whether the row is still its own.
    func itemTag(_ item: UInt32) -> UInt64 {
        items.key(item).low << 32 | UInt64(item)
    }

    func item(ofTag tag: UInt64) -> UInt32? {
        let row = UInt32(truncatingIfNeeded: tag)
        return items.isLive(row) && itemTag(row) == tag ? row : nil
    }

    static func domainItemKey(_ domain: UInt32, _ item: UInt32) -> Hash128 {
        Hash128(UInt64(domain), UInt64(item), seed: 1)
    }

    static func candidateKey(_ query: UInt32, _ item: UInt32) -> Hash128 {
        Hash128(UInt64(query), UInt64(item), seed: 2)
    }

    static func queryKey(_ domain: UInt32, _ hash: UInt64) -> Hash128 {
        Hash128(UInt64(domain), hash, seed: 3)
    }

    static func qualityKey(_ domain: UInt32, _ slice: Int) -> Hash128 {
        Hash128(UInt64(domain), UInt64(slice), seed: 4)
    }

    static func textKey(_ hash: UInt64) -> Hash128 { Hash128(hash, 0, seed: 5) }

    static func groupKey(_ domain: UInt32, _ id: ByteSlice) -> Hash128 {
        Hash128(id, seed: UInt64(domain) &+ 0x6770)
    }
}

/// Clicks and impressions of a token's bucket.
struct TokenCounts: BitwiseCopyable {
    var impressions: Float = 0
    var clicks: Float = 0
}

/// Slices of how much is known of an item: all, then labels so far 0, 1–9, 10–99, ≥ 100.
enum ItemAge {
    static let sliceCount = 5

    static func slice(labels: Int32) -> UInt8 {
        labels == 0 ? 1 : labels < 10 ? 2 : labels < 100 ? 3 : 4
    }

    static var all: ByteSlice { ByteSlice("all") }
    static var labels: ByteSlice { ByteSlice("labels") }

    static func value(_ slice: Int) -> ByteSlice {
        switch slice {
        case 0: ByteSlice("all")
        case 1: ByteSlice("0")
        case 2: ByteSlice("1-9")
        case 3: ByteSlice("10-99")
        default: ByteSlice("100+")
        }
    }
}

/// What is derived of a domain: its ranking, its most frequent queries, what was touched.
final class DomainView {
    let histories = ContextHistories()
    /// Moves when a context is exchanged.
    @exclusivity(unchecked) var contextsVersion: UInt64 = 0
    @exclusivity(unchecked) var ranking = Ranking()
    @exclusivity(unchecked) var headQueries = HeadQueries()
    /// Rows of `domainItems` touched since the last publish point.
    @exclusivity(unchecked) var touched: [UInt32] = []
    /// Rows of `candidates` by row of `queries`.
    @exclusivity(unchecked) private(set) var candidates: [UInt32: [UInt32]] = [:]

    func addCandidate(_ row: UInt32, of query: UInt32) {
        candidates[query, default: []].append(row)
    }

    func removeCandidate(_ row: UInt32, of query: UInt32) {
        candidates[query]?.removeAll { $0 == row }
        if candidates[query]?.isEmpty ?? false { candidates[query] = nil }
    }
}

extension Table {
    /// Calls `body` with every live row, in row order.
    func forEachLive(_ body: (UInt32) -> Void) {
        for row in 0..<rowLimit where isLive(row) { body(row) }
    }
}
