// What a perfect ranker would publish at the end: each item's click probability in each domain.

import Bytes
import Contracts
import DeterministicMath
import JSON

/// Collects, while traffic runs, over what the final truth is averaged.
///
/// In a recommendation domain an item's probability is at position 1, averaged over a uniform sample
/// of the domain's requests (user and context). In a search domain it is that of an item for a query,
/// averaged over the requests in which the item really was a candidate, at the positions it had. All
/// at the last event time, that is with the drift of the end.
struct TruthItems {
    private var visits: [[Visit]]
    private var visitsSeen: [Int]
    private let sampleSize: Int
    private let isSearch: [Bool]
    private var random: Random
    /// By domain, query and item: sum of probabilities, and how many.
    private var pairs: [Pair: (sum: Double, count: Int)] = [:]

    private struct Pair: Hashable, Comparable {
        let domain: Int
        let query: Int
        let item: Int

        static func < (a: Pair, b: Pair) -> Bool {
            (a.domain, a.query, a.item) < (b.domain, b.query, b.item)
        }
    }

    init(_ settings: SimulationSettings) {
        visits = settings.domains.map { _ in [] }
        visitsSeen = settings.domains.map { _ in 0 }
        sampleSize = settings.impressions < 10_000 ? 128 : 2_048
        random = Random(seed: settings.seed, stream: World.Stream.truth)
        isSearch = settings.domains.map { $0.surface == .search }
    }

    mutating func count(_ request: ShownRequest) {
        let d = request.domain
        guard !isSearch[d] else { return }
        if let slot = random.reservoirSlot(seen: visitsSeen[d], capacity: sampleSize) {
            if slot == visits[d].count {
                visits[d].append(request.visit)
            } else {
                visits[d][slot] = request.visit
            }
        }
        visitsSeen[d] += 1
    }

    mutating func add(domain: Int, query: Int, item: Int, probability: Double) {
        let pair = Pair(domain: domain, query: query, item: item)
        pairs[pair, default: (0, 0)].sum += probability
        pairs[pair, default: (0, 0)].count += 1
    }

    /// Calls `body` for every item of every domain, in order; `query` is nil in a recommendation domain.
    func forEach(
        _ world: World,
        _ body: (_ domain: Int, _ query: Int?, _ item: Int, _ probability: Double) throws -> Void
    ) rethrows {
        let end = Double(world.settings.seconds)
        let sortedPairs = pairs.keys.sorted()
        for d in world.domains.indices {
            if isSearch[d] {
                for pair in sortedPairs where pair.domain == d {
                    let (sum, count) = pairs[pair]!
                    try body(d, pair.query, pair.item, sum / Double(count))
                }
                continue
            }
            guard !visits[d].isEmpty else { continue }
            for i in world.pools[d].all.items.sorted() where world.items[i].isShown(at: end) {
                var sum = 0.0
                for visit in visits[d] {
                    sum += world.clickProbability(
                        domain: d, item: i, visit: visit, grade: nil, position: 1, at: end)
                }
                try body(d, nil, i, sum / Double(visits[d].count))
            }
        }
    }
}
