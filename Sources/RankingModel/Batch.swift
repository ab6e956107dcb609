// What a network is fed: the inputs of B rows, in the caller's order.

import Tensors

/// Bags of table rows: row r owns `ids[offsets[r]..<offsets[r + 1]]`; a bag may be empty.
public struct Bags: Sendable {
    public var ids: [Int32] = []
    public var offsets: [Int32] = [0]

    public init() {}

    public init(ids: [Int32], offsets: [Int32]) {
        self.ids = ids
        self.offsets = offsets
    }

    public var count: Int { offsets.count - 1 }

    public mutating func removeAll() {
        ids.removeAll(keepingCapacity: true)
        offsets.removeAll(keepingCapacity: true)
        offsets.append(0)
    }

    /// Closes a bag after the ids appended to `ids`.
    public mutating func close() { offsets.append(Int32(truncatingIfNeeded: ids.count)) }
}

/// Frozen text vectors, one a row, that somebody else owns (a file in memory, or a block).
public struct TextStore: @unchecked Sendable {
    public let base: UnsafePointer<Float>
    public let rows: Int
    public let width: Int

    /// - Precondition: the memory outlives every use and goes on for 64 bytes after its end.
    public init(_ base: UnsafePointer<Float>, rows: Int, width: Int) {
        self.base = base
        self.rows = rows
        self.width = width
    }
}

/// The inputs of B rows.
///
/// - domain: 0..<M. - itemID, userID, queryID: table rows, 0 = unknown.
/// - itemText, queryText: rows of `texts`, -1 = missing.
/// - itemIsQuery, historyIsQuery: empty = none is. Where true the item *is* a query (content query
///   recommendation): its id is a row of the query table, its text goes through the query's projection.
/// - queryPresent: false = there is no query; its id and text are then ignored.
/// - historyID, historyText: clicked items of all rows, flattened; `historyOffsets` as in `Bags`.
/// - itemSparse, userSparse, context: one entry a field of the configuration, in its order.
/// - itemSparseRow: where given, item bags are one a distinct item and row r uses bag itemSparseRow[r].
/// - dense: (B, n_dense). - labels: (B, tasks). - labelled: (B, tasks) or empty = all present.
public final class Batch {
    public var domain: [Int32] = []
    public var userID: [Int32] = []
    public var itemID: [Int32] = []
    public var itemText: [Int32] = []
    public var itemIsQuery: [Bool] = []
    public var queryPresent: [Bool] = []
    public var queryID: [Int32] = []
    public var queryText: [Int32] = []
    public var historyID: [Int32] = []
    public var historyText: [Int32] = []
    public var historyIsQuery: [Bool] = []
    public var historyOffsets: [Int32] = [0]
    public var itemSparse: [Bags] = []
    public var userSparse: [Bags] = []
    public var itemSparseRow: [Int32] = []
    public var context: [[Int32]] = []
    public var dense: [Float] = []
    public var labels: [Float] = []
    public var labelled: [Bool] = []
    public var texts: TextStore?

    public init(_ configuration: ModelConfiguration) {
        itemSparse = configuration.item_sparse.map { _ in Bags() }
        userSparse = configuration.user_sparse.map { _ in Bags() }
        context = configuration.ctx.map { _ in [] }
    }

    /// B, the number of rows.
    public var count: Int { domain.count }

    public func removeAll() {
        func clear<Element>(_ array: inout [Element]) { array.removeAll(keepingCapacity: true) }
        clear(&domain)
        clear(&userID)
        clear(&itemID)
        clear(&itemText)
        clear(&itemIsQuery)
        clear(&historyIsQuery)
        clear(&queryPresent)
        clear(&queryID)
        clear(&queryText)
        clear(&historyID)
        clear(&historyText)
        clear(&historyOffsets)
        historyOffsets.append(0)
        clear(&itemSparseRow)
        clear(&dense)
        clear(&labels)
        clear(&labelled)
        for i in itemSparse.indices { itemSparse[i].removeAll() }
        for i in userSparse.indices { userSparse[i].removeAll() }
        for i in context.indices { clear(&context[i]) }
    }

    /// A sentence about the first input that does not fit `c`; nil if all do.
    public func problem(_ c: ModelConfiguration, tables: [EmbeddingTable]) -> String? {
        let B = count
        func out(_ values: [Int32], _ limit: Int, from least: Int32 = 0) -> Int32? {
            values.first { $0 < least || Int($0) >= limit }
        }
        let lengths = [
            userID.count, itemID.count, itemText.count, queryPresent.count, queryID.count,
            queryText.count, historyOffsets.count - 1,
        ]
        if let other = lengths.first(where: { $0 != B }) {
            return "an input has \(other) of \(B) rows"
        }
        if dense.count != B * c.n_dense { return "dense has \(dense.count) numbers" }
        let texts = texts?.rows ?? 0
        let checks: [(String, [Int32], Int, Int32)] = [
            ("domain", domain, c.M, 0), ("user.id", userID, tables[2].rows, 0),
            ("query.id", queryID, tables[1].rows, 0), ("item.text", itemText, texts, -1),
            ("query.text", queryText, texts, -1), ("hist.text", historyText, texts, -1),
        ]
        for (name, values, limit, least) in checks {
            if let value = out(values, limit, from: least) { return "\(name) \(value) of \(limit)" }
        }
        for (name, ids, areQueries) in [
            ("item.id", itemID, itemIsQuery), ("hist.id", historyID, historyIsQuery),
        ] {
            if !areQueries.isEmpty, areQueries.count != ids.count {
                return "\(name) has kinds amiss"
            }
            for (i, id) in ids.enumerated() {
                let table = areQueries.isEmpty || !areQueries[i] ? 0 : 1
                if id < 0 || Int(id) >= tables[table].rows {
                    return "\(name) \(id) of \(tables[table].rows)"
                }
            }
        }
        if historyID.count != historyText.count || Int(historyOffsets[B]) != historyID.count {
            return "the history has \(historyID.count) ids and \(historyText.count) texts"
        }
        if let store = self.texts, store.width != c.text_dim {
            return "text vectors have \(store.width) numbers, not \(c.text_dim)"
        }
        for (i, bags) in (itemSparse + userSparse).enumerated() {
            let isItem = i < itemSparse.count
            let wanted = isItem && !itemSparseRow.isEmpty ? bags.count : B
            if bags.count != wanted { return "a field has \(bags.count) bags for \(B) rows" }
            if let id = out(bags.ids, tables[3 + i].rows) { return "\(tables[3 + i].name) \(id)" }
        }
        for (i, values) in context.enumerated() {
            let table = tables[3 + itemSparse.count + userSparse.count + i]
            if values.count != B { return "\(table.name) has \(values.count) of \(B) values" }
            if let id = out(values, table.rows) { return "\(table.name) \(id)" }
        }
        if !labels.isEmpty, labels.count != B * c.tasks.count { return "\(labels.count) labels" }
        return nil
    }
}
