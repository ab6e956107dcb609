// The state of one domain-log partition: tables of plain rows, and what is derived from them.

import Bytes
import Contracts
import DeterministicMath
import Statistics
import Streams

/// The state of a partition; its methods only find and keep, the step decides.
public final class FinetuneState: PartitionState {
    let partition: Int
    /// Of texts' vectors; 0 = there are none.
    let dimension: Int
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
    let texts: Table<TextRow>
    /// Vectors of texts of items and of queries; nil where texts have no vectors.
    let itemVectors: Table<VectorRow>?
    let textVectors: Table<VectorRow>?
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
    /// Moves when an item's vector comes, changes or goes.
    @exclusivity(unchecked) var vectorsVersion: UInt64 = 0
    /// Rows of `domainItems` that were made for items never shown there, the oldest first, with their
    /// ages: a row of another age has been given away or shown since.
    @exclusivity(unchecked) private var unseenItems: [(row: UInt32, age: UInt64)] = []
    @exclusivity(unchecked) private var firstUnseenItem = 0

    init(partition: Int, caps: FinetuneCaps, hashBits: Int) {
        self.partition = partition
        hashed = Pages(
            "hashed-weights", count: 1 << hashBits, elementsPerPage: 16, initial: HashedWeight())
        tokens = Pages("tokens", count: 1 << hashBits, elementsPerPage: 8, initial: TokenCounts())
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
        let dimension = caps.textDimension
        self.dimension = dimension
        func vectors(_ name: String, _ rows: Int) -> Table<VectorRow>? {
            guard dimension > 0 else { return nil }
            return Table(name, maximumRows: rows, tailBytes: dimension)
        }
        itemVectors = vectors("item-vectors", caps.items)
        textVectors = vectors("text-vectors", caps.queries)
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
        let vectors: [any StateTable] = [itemVectors, textVectors].compactMap { $0 }
        return [
            clock, shared, hashed, tokens, settingsRecord, domains, quality, items, domainItems,
            queries, texts, candidates, groups, pending, senders, stagedPriors,
        ] + vectors
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
        vectorsVersion += 1
        unsentItems = []
        items.forEachLive { row in if items[row].pointee.isUnsent != 0 { unsentItems.append(row) } }
        views = []
        domains.forEachLive { row in addView(row) }
        unseenItems = []
        firstUnseenItem = 0
        domainItems.forEachLive { row in
            let item = domainItems[row].pointee
            let view = views[Int(item.domain)]
            if item.isUnseen { unseenItems.append((row, domainItems.age(row))) }
            if item.isTouched != 0 { view.touched.append(row) }
            if item.isRanked != 0 { view.ranking.rows.append(row) }
        }
        for view in views { view.ranking.sort { self.domainItems[$0].pointee.published.score } }
        unseenItems.sort { $0.age < $1.age }
        domains.forEachLive { findHeadQueries(of: $0) }
        queries.forEachLive { row in
            let query = queries[row].pointee
            if query.isPublished != 0 { views[Int(query.domain)].publishedQueries.insert(row) }
        }
        candidates.forEachLive { row in
            let candidate = candidates[row].pointee
            views[Int(candidate.domain)].addCandidate(row, of: candidate.query)
        }
    }

    /// What was met on the way and only counted.
    public var counters: Counters { clock.value.pointee.counters }

    /// Publish points since the partition's beginning.
    public var publishPoints: Int64 { clock.value.pointee.publishPoints }

    /// Records since the newest publish point.
    public var recordsSincePublish: Int64 { clock.value.pointee.recordsSincePublish }

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

    // Items of a domain that were never shown there

    /// - Parameter row: new in `domainItems`.
    func rememberUnseenItem(_ row: UInt32) {
        if unseenItems.count > 2 * domainItems.liveRows + 1_024 {
            unseenItems = unseenItems[firstUnseenItem...].filter { isUnseen($0) }
            firstUnseenItem = 0
        }
        unseenItems.append((row, domainItems.age(row)))
    }

    func oldestUnseenItem() -> UInt32? {
        while firstUnseenItem < unseenItems.count {
            let entry = unseenItems[firstUnseenItem]
            if isUnseen(entry) { return entry.row }
            firstUnseenItem += 1
        }
        return nil
    }

    private func isUnseen(_ entry: (row: UInt32, age: UInt64)) -> Bool {
        domainItems.isLive(entry.row) && domainItems.age(entry.row) == entry.age
            && domainItems[entry.row].pointee.isUnseen
    }

    func addView(_ row: UInt32) {
        while views.count <= Int(row) { views.append(DomainView(dimension: dimension)) }
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

/// Clicks and impressions of a token's bucket: whole numbers, exact up to 2^53, so that what was added
/// for an item can be taken out again.
struct TokenCounts: BitwiseCopyable {
    var impressions: Double = 0
    var clicks: Double = 0
}

/// Slices of how much is known of an item: all, then labels so far 0, 1–9, 10–99, ≥ 100.
enum ItemAge {
    static let sliceCount = 5

    static func slice(labels: Int64) -> UInt8 {
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

extension Table {
    /// Calls `body` with every live row, in row order.
    func forEachLive(_ body: (UInt32) -> Void) {
        for row in 0..<rowLimit where isLive(row) { body(row) }
    }
}
