// scores.jsonl: who is on top, and how sure that is.

import DeterministicMath
import JSON

/// One published score.
public struct ScoreLine: Sendable, Equatable {
    public var domain: String
    public var query: String?
    public var item: String
    /// Probability.
    public var score: Double
    /// Standard deviation of its logit.
    public var scoreStd: Double
    public var rank: Int64
    public var impressions: Int64
    public var labels: Int64
    public var stage: String

    /// σ(logit(score) ± 1.645 · score_std): 90 %.
    public var interval: ClosedRange<Double> {
        let logit = Math.logit(min(max(score, 1e-12), 1 - 1e-12))
        return Math.sigmoid(logit - 1.645 * scoreStd)...Math.sigmoid(logit + 1.645 * scoreStd)
    }

    /// Higher scores first, then by item, so that equal ones have an order.
    static func ranksBefore(_ a: ScoreLine, _ b: ScoreLine) -> Bool {
        a.score != b.score ? a.score > b.score : a.item < b.item
    }
}

extension ScoreLine {
    /// - Throws: `ReportError` where a field is missing that every score has.
    public init(_ line: JSONView) throws {
        guard let domain = line.member("domain")?.text, let item = line.member("item_id")?.text,
            let score = line.member("score")?.double,
            let scoreStd = line.member("score_std")?.double
        else { throw ReportError("scores: a record has no domain, item_id or score") }
        self.init(
            domain: domain.text, query: line.member("query")?.text?.text, item: item.text,
            score: score, scoreStd: scoreStd, rank: line.member("rank")?.integer ?? 0,
            impressions: line.member("impressions")?.integer ?? 0,
            labels: line.member("labels")?.integer ?? 0,
            stage: line.member("stage")?.text?.text ?? "")
    }

    /// nil where it is of another task than click.
    init?(ofClicks line: JSONView) throws {
        guard line.member("task")?.text?.equals("click") ?? false else { return nil }
        try self.init(line)
    }
}

public enum ScoreFile {
    /// Calls `body` with every score of the task click in a folder; false where there is no file.
    @discardableResult
    public static func forEach(
        folder: String, _ body: (ScoreLine) throws -> Void
    ) throws -> Bool {
        try JSONLines.forEach(folder + "/scores.jsonl") { line in
            if let score = try ScoreLine(ofClicks: line) { try body(score) }
        }
    }

    /// The best of one domain, and of one query where one is given.
    public static func top(
        _ records: some PublishedRecords, domain: String, query: String?, count: Int
    ) throws -> [ScoreLine] {
        var best = BestScores(count: count)
        try records.forEach(of: "scores", keyPrefix: "\(domain)/click/") { line in
            if let score = try ScoreLine(ofClicks: line), score.domain == domain,
                query == nil || score.query == query
            {
                best.offer(score)
            }
            return true
        }
        return best.lines
    }
}

/// The first few of many lines.
struct BestScores {
    let count: Int
    private(set) var lines: [ScoreLine] = []

    init(count: Int) { self.count = count }

    mutating func offer(_ line: ScoreLine) {
        if lines.count == count, let last = lines.last, !ScoreLine.ranksBefore(line, last) {
            return
        }
        let place = lines.firstIndex { ScoreLine.ranksBefore(line, $0) } ?? lines.count
        lines.insert(line, at: place)
        if lines.count > count { lines.removeLast() }
    }
}

/// What a report shows of a domain's scores: its top items, or those of its best known queries.
public struct TopItems: Sendable {
    public struct Group: Sendable {
        public var query: String?
        public var lines: [ScoreLine]
    }

    public var domain: String
    public var groups: [Group]
    /// Items, or pairs of query and item, that have a score.
    public var scored: Int
    public var zeroShot: Int

    private struct Tally {
        var labels: Int64 = 0
        var best: BestScores

        mutating func offer(_ line: ScoreLine) {
            labels += line.labels
            best.offer(line)
        }
    }

    /// Of all domains, sorted by name: `items` of a recommendation domain, or `queries` with the most
    /// labels and half as many items each.
    static func read(folder: String, items: Int = 5, queries: Int = 2) throws -> [TopItems] {
        var domains: [String: [String?: Tally]] = [:]
        var counts: [String: (scored: Int, zeroShot: Int)] = [:]
        try ScoreFile.forEach(folder: folder) { line in
            domains[line.domain, default: [:]][
                line.query, default: Tally(best: BestScores(count: items))
            ].offer(line)
            counts[line.domain, default: (0, 0)].scored += 1
            if line.stage == "zero_shot" { counts[line.domain]!.zeroShot += 1 }
        }
        return domains.keys.sorted().map { domain in
            let tallies = domains[domain]!
            let searched = tallies.filter { $0.key != nil }.sorted {
                $0.value.labels != $1.value.labels
                    ? $0.value.labels > $1.value.labels : $0.key! < $1.key!
            }
            var groups: [Group] = []
            if let whole = tallies[nil] {
                groups.append(Group(query: nil, lines: whole.best.lines))
            }
            for (query, tally) in searched.prefix(queries) {
                let lines = Array(tally.best.lines.prefix((items + 1) / 2))
                groups.append(Group(query: query, lines: lines))
            }
            let count = counts[domain]!
            return TopItems(
                domain: domain, groups: groups, scored: count.scored, zeroShot: count.zeroShot)
        }
    }
}
