// What text vectors are worth to a domain that nobody has seen: nothing, random ones, hashed n-grams and
// a language model, with all else equal.

import DeterministicMath
import RankingModel
import Synchronization
import Tensors
import TextEncoding

/// Zero-shot quality on held-out domains by kind of text vector.
///
/// Protocol A of the reference (`run_cold.py`), zero-shot: the test is the last 40 % of the held-out
/// domain's requests; pretraining sees the other domains' rows before the first of them, of which the last
/// tenth stops it; then the domain is added as the mean of the others and its rows are scored. Cold items
/// are those that no pretraining row shows. Seeds change initialisation and batches, never the rows.
public final class TextStudy: @unchecked Sendable {
    /// Where the vectors of items and queries come from.
    public enum Kind: String, CaseIterable, Sendable {
        case none, random, ngrams, minilm
    }

    /// One pretraining, scored on one held-out domain.
    public struct Run: Sendable {
        public let kind: Kind
        public let held: String
        public let seed: UInt64
        public let all: Quality
        public let cold: Quality
        public let rows: Int
        public let coldRows: Int
    }

    public let domainNames: [String]
    private let examples: ExampleSet
    private let itemTexts: [[UInt8]?]
    private let queryTexts: [[UInt8]?]
    private var sets: [Kind: ExampleSet] = [:]
    /// The vectors that the sets point into.
    private var stores: [Block] = []

    public init(
        _ examples: ExampleSet, domainNames: [String], itemTexts: [[UInt8]?],
        queryTexts: [[UInt8]?]
    ) {
        self.examples = examples
        self.domainNames = domainNames
        self.itemTexts = itemTexts
        self.queryTexts = queryTexts
        sets[.none] = examples
    }

    public convenience init(_ data: RankLens) {
        self.init(
            data.examples, domainNames: data.domainNames, itemTexts: data.itemTexts,
            queryTexts: data.queryTexts)
    }

    public convenience init(_ data: SimulatedTraffic) {
        self.init(
            data.examples, domainNames: data.domainNames, itemTexts: data.itemTexts,
            queryTexts: data.queryTexts)
    }

    /// The domains that the reference holds out, where they are here; else all.
    public var defaultHeld: [String] {
        let named = OnlineStudy.held.filter { domainNames.contains($0) }
        return named.isEmpty ? domainNames : named
    }

    /// Makes the vectors of `kind`; call it before `run`.
    ///
    /// - Parameter encoder: for `ngrams` and `minilm`; its dimension becomes the network's.
    public func prepare(_ kind: Kind, encoder: (any TextEncoder)? = nil) throws {
        if kind == .none { return }
        var set = examples
        let width = encoder?.dimension ?? set.configuration.text_dim
        set.configuration.text_dim = width
        var texts: [[UInt8]] = []
        func number(_ all: [[UInt8]?]) -> [Int32] {
            all.map { text in
                guard let text else { return -1 }
                texts.append(text)
                return Int32(texts.count - 1)
            }
        }
        set.itemText = number(itemTexts)
        set.queryText = number(queryTexts)
        let block = Block(count: texts.count * width + 16)
        let vectors = UnsafeMutableBufferPointer(start: block.base, count: texts.count * width)
        if let encoder {
            try encoder.encode(texts, into: vectors)
        } else {
            var random = Random(seed: 7)
            for i in vectors.indices { vectors[i] = Float(random.normal()) }
            for i in texts.indices {
                let row = block.base + i * width
                let scale = 1 / Kernels.dot(row, row, count: width).squareRoot()
                for j in 0..<width { row[j] *= scale }
            }
        }
        stores.append(block)
        let store = TextStore(block.base, rows: texts.count, width: width)
        set.texts = store
        Self.addCosines(&set, store)
        sets[kind] = set
    }

    /// Dense numbers 0 and 1: cosine of the item's text with the mean of the history's and with the
    /// query's; 0 where a part is missing.
    private static func addCosines(_ set: inout ExampleSet, _ store: TextStore) {
        let width = store.width
        let requests = set.histories.offsets.count - 1
        let means = Block(count: requests * width + 16)
        for request in 0..<requests {
            let mean = means.base + request * width
            for j in set.histories.offsets[request]..<set.histories.offsets[request + 1] {
                let text = set.itemText[Int(set.histories.ids[Int(j)])]
                if text >= 0 {
                    Kernels.addScaled(mean, store.base + Int(text) * width, 1, count: width)
                }
            }
            let squares = Kernels.dot(mean, mean, count: width)
            if squares > 0 {
                Kernels.scale(mean, mean, 1 / squares.squareRoot(), count: width)
            }
        }
        let n = set.configuration.n_dense
        for r in 0..<set.count {
            let text = set.itemText[Int(set.item[r])]
            if text < 0 { continue }
            let item = store.base + Int(text) * width
            set.dense[r * n] = Kernels.dot(
                means.base + Int(set.request[r]) * width, item, count: width)
            let query = set.queryPresent[r] ? set.queryText[Int(set.query[r])] : -1
            if query >= 0 {
                set.dense[r * n + 1] = Kernels.dot(
                    store.base + Int(query) * width, item, count: width)
            }
        }
    }

    /// Every kind that was prepared × every held-out domain × every seed, on `threads` threads.
    ///
    /// - Parameter progress: called after each run, on any thread.
    public func run(
        held: [String], seeds: Int, threads: Int, progress: @escaping @Sendable (Run) -> Void
    ) -> [Run] {
        var jobs: [(kind: Kind, held: String, seed: UInt64)] = []
        for seed in 0..<UInt64(seeds) {
            for name in held {
                for kind in Kind.allCases where sets[kind] != nil {
                    jobs.append((kind, name, seed))
                }
            }
        }
        let state = Mutex<(next: Int, runs: [Run?])>((0, jobs.map { _ in nil }))
        let list = jobs
        concurrently(threads) {
            while true {
                let place = state.withLock { state in
                    defer { state.next += 1 }
                    return state.next
                }
                if place >= list.count { return }
                let job = list[place]
                let run = self.run(job.kind, held: job.held, seed: job.seed)
                state.withLock { $0.runs[place] = run }
                progress(run)
            }
        }
        return state.withLock { $0.runs.compactMap { $0 } }
    }

    /// One pretraining without `held`, scored on it.
    public func run(_ kind: Kind, held name: String, seed: UInt64) -> Run {
        let set = sets[kind]!
        let M = set.configuration.M
        let held = Int32(domainNames.firstIndex(of: name)!)
        var domains = [Int32](repeating: Int32(M - 1), count: M)
        var next: Int32 = 0
        for m in 0..<M where m != Int(held) {
            domains[m] = next
            next += 1
        }
        let test = lastRequests(of: held)
        let begin = test.map { set.time[Int($0)] }.min()!
        let pool = (0..<Int32(set.count)).filter {
            set.domain[Int($0)] != held && set.time[Int($0)] < begin
        }
        let cut = OnlineStudy.quantile(pool.map { set.time[Int($0)] }, 0.9)
        let train = pool.filter { Double(set.time[Int($0)]) < cut }
        let late = pool.filter { Double(set.time[Int($0)]) >= cut }
        var c = set.configuration.variant("mdf")
        c.M = M - 1
        let known = set.knownIDs(in: train)
        var settings = JointStudy.settings(seed: seed)
        settings.epochs = 4
        let fitted = Trainer.fit(
            set, rows: train, validation: late, c, settings, known: known, domains: domains)
        fitted.parameters.resetUntrainedRows(known: known)
        let network = Network(fitted.parameters.addingDomain())
        let logits = Trainer.predict(network, set, test, domains: domains)
        let cold = test.indices.filter { !known.item[Int(set.item[Int(test[$0])])] }
        return Run(
            kind: kind, held: name, seed: seed, all: Quality.of(set, test, logits),
            cold: Quality.of(set, cold.map { test[$0] }, cold.map { logits[$0] }),
            rows: test.count, coldRows: cold.count)
    }

    /// Rows of the last 40 % of a domain's requests, in the order of their first rows.
    private func lastRequests(of domain: Int32) -> [Int32] {
        var rank: [Int32: Int] = [:]
        var rows: [Int32] = []
        for r in 0..<examples.count where examples.domain[r] == domain {
            if rank[examples.request[r]] == nil { rank[examples.request[r]] = rank.count }
            rows.append(Int32(r))
        }
        let first = 0.6 * Double(rank.count)
        return rows.filter { Double(rank[examples.request[Int($0)]]!) >= first }
    }
}
