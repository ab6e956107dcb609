// Labeled examples in columns, and how rows of them become a batch.

import DeterministicMath
import Tensors

/// Labeled examples that fit in memory.
///
/// Histories and user fields stand once a request, item fields and texts once an item.
public struct ExampleSet: Sendable {
    public var configuration: ModelConfiguration
    /// By row.
    public var domain: [Int32] = []
    public var user: [Int32] = []
    public var item: [Int32] = []
    public var query: [Int32] = []
    public var queryPresent: [Bool] = []
    public var request: [Int32] = []
    public var time: [Int64] = []
    /// (rows, tasks); `labelled` empty = all labels are there.
    public var labels: [Float] = []
    public var labelled: [Bool] = []
    /// (rows, n_dense)
    public var dense: [Float] = []
    /// By context field, then row.
    public var context: [[Int32]] = []
    /// By request: clicked items, most recent first, and the user's fields.
    public var histories = Bags()
    public var userFields: [Bags] = []
    /// By item id: fields; by item and query id: row of the text, -1 = none.
    public var itemFields: [Bags] = []
    public var itemText: [Int32] = []
    public var queryText: [Int32] = []
    public var texts: TextStore?

    public init(_ configuration: ModelConfiguration) { self.configuration = configuration }

    public var count: Int { domain.count }

    /// Which ids occur in `rows`; the others were never trained and count as unknown. Histories do not
    /// make an id known.
    public func knownIDs(in rows: [Int32]) -> KnownIDs {
        var known = KnownIDs(
            user: [Bool](repeating: false, count: configuration.n_user),
            item: [Bool](repeating: false, count: configuration.n_item),
            query: [Bool](repeating: false, count: configuration.n_query))
        for row in rows {
            known.user[Int(user[Int(row)])] = true
            known.item[Int(item[Int(row)])] = true
            known.query[Int(query[Int(row)])] = true
        }
        known.user[0] = false
        known.item[0] = false
        known.query[0] = false
        return known
    }
}

/// Ids that have been trained; position 0 is the unknown row itself.
public struct KnownIDs: Sendable {
    public var user: [Bool]
    public var item: [Bool]
    public var query: [Bool]

    public init(user: [Bool], item: [Bool], query: [Bool]) {
        self.user = user
        self.item = item
        self.query = query
    }
}

/// How rows are turned into a batch.
public struct BatchPreparation {
    /// Ids outside count as unknown; nil = all ids are used as they are.
    public var known: KnownIDs?
    /// Chance of every id, history included, to be hidden (cold-start training).
    public var dropout = 0.0
    /// Chance of a position to be hidden as "unknown" (row 0 of the first context field).
    public var positionDropout = 0.0
    /// New number of each domain; nil = as they are.
    public var domains: [Int32]?
    private var itemPlaces: [Int32] = []
    private var places: [Int32] = []

    public init(
        known: KnownIDs? = nil, dropout: Double = 0, domains: [Int32]? = nil
    ) {
        self.known = known
        self.dropout = dropout
        self.domains = domains
    }

    /// Fills `batch` with `rows` of `set`; draws from `random` only where something is dropped out.
    public mutating func fill(
        _ batch: Batch, _ set: ExampleSet, _ rows: ArraySlice<Int32>, _ random: inout Random
    ) {
        batch.removeAll()
        batch.texts = set.texts
        let c = set.configuration
        let T = c.tasks.count
        let drop = dropout
        func kept(_ id: Int32, _ isKnown: [Bool]?, _ random: inout Random) -> Int32 {
            if let isKnown, !isKnown[Int(id)] { return 0 }
            return drop > 0 && random.chance(drop) ? 0 : id
        }
        let users = known?.user
        let items = known?.item
        let queries = known?.query
        if places.count < c.n_item { places = Array(repeating: -1, count: c.n_item) }
        itemPlaces.removeAll(keepingCapacity: true)
        for row in rows {
            let r = Int(row)
            let domain = set.domain[r]
            batch.domain.append(domains.map { $0[Int(domain)] } ?? domain)
            batch.userID.append(kept(set.user[r], users, &random))
            let item = set.item[r]
            batch.itemID.append(kept(item, items, &random))
            batch.itemText.append(set.itemText.isEmpty ? -1 : set.itemText[Int(item)])
            batch.queryPresent.append(set.queryPresent[r])
            batch.queryID.append(kept(set.query[r], queries, &random))
            batch.queryText.append(
                set.queryText.isEmpty ? -1 : set.queryText[Int(set.query[r])])
            let request = Int(set.request[r])
            for j in Int(set.histories.offsets[request])..<Int(set.histories.offsets[request + 1]) {
                let past = set.histories.ids[j]
                batch.historyID.append(kept(past, items, &random))
                batch.historyText.append(set.itemText.isEmpty ? -1 : set.itemText[Int(past)])
            }
            batch.historyOffsets.append(Int32(batch.historyID.count))
            for f in c.user_sparse.indices {
                let field = set.userFields[f]
                let (first, last) = (field.offsets[request], field.offsets[request + 1])
                batch.userSparse[f].ids.append(contentsOf: field.ids[Int(first)..<Int(last)])
                batch.userSparse[f].close()
            }
            if !c.item_sparse.isEmpty {
                if places[Int(item)] < 0 {
                    places[Int(item)] = Int32(itemPlaces.count)
                    itemPlaces.append(item)
                    for f in c.item_sparse.indices {
                        let field = set.itemFields[f]
                        let (first, last) = (
                            field.offsets[Int(item)], field.offsets[Int(item) + 1]
                        )
                        batch.itemSparse[f].ids.append(
                            contentsOf: field.ids[Int(first)..<Int(last)])
                        batch.itemSparse[f].close()
                    }
                }
                batch.itemSparseRow.append(places[Int(item)])
            }
            for f in c.ctx.indices {
                var value = set.context[f][r]
                if f == 0, positionDropout > 0, random.chance(positionDropout) { value = 0 }
                batch.context[f].append(value)
            }
            for j in 0..<c.n_dense { batch.dense.append(set.dense[r * c.n_dense + j]) }
            for t in 0..<T { batch.labels.append(set.labels[r * T + t]) }
            if !set.labelled.isEmpty {
                for t in 0..<T { batch.labelled.append(set.labelled[r * T + t]) }
            }
        }
        for item in itemPlaces { places[Int(item)] = -1 }
    }
}

/// Batches that hold every domain in fixed shares, p_m ~ n_m^temperature with a floor.
///
/// Rows cycle through reshuffled orders of their domain; a domain with fewer rows than its share
/// gives all it has. - Source: specification, section 9.
public struct StratifiedSampler {
    public let stepsPerEpoch: Int
    private var rows: [[Int32]] = []
    private var shares: [Int] = []
    private var at: [Int] = []
    private var random: Random

    public init(
        _ set: ExampleSet, rows all: [Int32], batch B: Int, temperature: Double = 0.5,
        floor: Double = 0.05, random: Random
    ) {
        self.random = random
        var byDomain = [[Int32]](repeating: [], count: set.configuration.M)
        let most = Int(all.map { set.domain[Int($0)] }.max() ?? 0)
        if most >= byDomain.count {
            byDomain = [[Int32]](repeating: [], count: most + 1)
        }
        for row in all { byDomain[Int(set.domain[Int(row)])].append(row) }
        rows = byDomain.filter { !$0.isEmpty }
        let weights = rows.map { Math.exp(temperature * Math.log(Double($0.count))) }
        let total = weights.reduce(0, +)
        let floored = weights.map { max($0 / total, floor) }
        let sum = floored.reduce(0, +)
        for (weight, list) in zip(floored, rows) {
            let share = Int((Double(B) * weight / sum).rounded(.toNearestOrEven))
            shares.append(min(list.count, max(2, share)))
        }
        at = shares.map { _ in 0 }
        stepsPerEpoch = max(1, all.count / B)
        for i in rows.indices { self.random.shuffle(&rows[i]) }
    }

    public mutating func next() -> [Int32] {
        var out: [Int32] = []
        for i in rows.indices {
            if at[i] + shares[i] > rows[i].count {
                random.shuffle(&rows[i])
                at[i] = 0
            }
            out.append(contentsOf: rows[i][at[i]..<at[i] + shares[i]])
            at[i] += shares[i]
        }
        return out
    }
}
