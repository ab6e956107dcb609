// What is derived of a domain and never checkpointed: it follows from the rows.

/// What is derived of a domain: its ranking, its most frequent queries, what was touched.
final class DomainView {
    let histories = ContextHistories()
    /// nil where texts have no vectors.
    let vectors: ContextVectors?
    /// Moves when a context is exchanged.
    @exclusivity(unchecked) var contextsVersion: UInt64 = 0
    /// Bit c: context c was exchanged since `vectors` was updated.
    @exclusivity(unchecked) var exchangedContexts: UInt64 = .max
    @exclusivity(unchecked) var ranking = Ranking()
    @exclusivity(unchecked) var headQueries = HeadQueries()
    /// Rows of `domainItems` touched since the last publish point.
    @exclusivity(unchecked) var touched: [UInt32] = []
    /// Rows of `queries` that have been published and may have left the head since.
    @exclusivity(unchecked) var publishedQueries: Set<UInt32> = []
    /// - Parameter dimension: of texts' vectors.
    init(dimension: Int) {
        vectors = dimension > 0 ? ContextVectors(dimension: dimension) : nil
    }

    /// Rows of `candidates`, ascending, by row of `queries`.
    @exclusivity(unchecked) private(set) var candidates: [UInt32: [UInt32]] = [:]

    func addCandidate(_ row: UInt32, of query: UInt32) {
        insert(row, into: &candidates[query, default: []])
    }

    /// Takes all candidates of a query out; in the order of their rows.
    func takeCandidates(of query: UInt32) -> [UInt32] {
        candidates.removeValue(forKey: query) ?? []
    }

    func removeCandidate(_ row: UInt32, of query: UInt32) {
        if let at = candidates[query]?.firstIndex(of: row) { candidates[query]!.remove(at: at) }
        if candidates[query]?.isEmpty ?? false { candidates[query] = nil }
    }

    private func insert(_ row: UInt32, into rows: inout [UInt32]) {
        var at = rows.count
        while at > 0, rows[at - 1] > row { at -= 1 }
        rows.insert(row, at: at)
    }
}
