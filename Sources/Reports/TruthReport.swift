// Where the truth is known: what no prediction can exceed, and whether the intervals hold it.

import Bytes
import JSON

/// A run beside the truth of the simulation that it ran over.
public struct TruthReport: Sendable {
    /// The truth's own quality on the impressions of a run: the ceiling.
    public struct Ceiling: Sendable {
        /// nil: all domains.
        public var domain: String?
        public var quality: ExactQuality
    }

    /// How many of the 90 % intervals hold the truth.
    public struct Coverage: Sendable {
        public var items = 0
        public var covered = 0
        var scores = 0.0
        var truths = 0.0
        var widths = 0.0

        public var share: Double? { items > 0 ? Double(covered) / Double(items) : nil }
        /// Mean score over mean truth.
        public var ratio: Double? { truths > 0 ? scores / truths : nil }
        public var meanWidth: Double? { items > 0 ? widths / Double(items) : nil }

        mutating func add(_ line: ScoreLine, truth: Double) {
            items += 1
            let interval = line.interval
            if interval.contains(truth) { covered += 1 }
            scores += line.score
            truths += truth
            widths += interval.upperBound - interval.lowerBound
        }
    }

    public static let bins = ["0", "1–9", "10–99", "≥100"]

    static func bin(_ labels: Int64) -> Int {
        labels < 1 ? 0 : labels < 10 ? 1 : labels < 100 ? 2 : 3
    }

    /// All domains first. Empty where there is no `truth.jsonl`.
    public let ceilings: [Ceiling]
    /// By bin of labels, over all recommendation domains.
    public let coverage: [Coverage]
    public let coverageByDomain: [(domain: String, bins: [Coverage])]

    /// - Parameters:
    ///   - truth: the folder with `truth.jsonl` and `truth-items.jsonl`.
    ///   - output: the run's.
    public init(truth: String, output: String, _ table: ExampleTable) throws {
        ceilings = try TruthReport.ceilings(truth, table)
        var truths: [String: [String: Double]] = [:]
        let hasItems = try JSONLines.forEach(truth + "/truth-items.jsonl") { line in
            guard let domain = line.member("domain")?.text, let item = line.member("item_id")?.text,
                let probability = line.member("probability")?.double,
                line.member("query")?.isNull ?? true
            else { return }
            truths[domain.text, default: [:]][item.text] = probability
        }
        guard hasItems || !ceilings.isEmpty else {
            throw ReportError("\(truth) has neither truth.jsonl nor truth-items.jsonl")
        }
        var byDomain: [String: [Coverage]] = [:]
        var all = Array(repeating: Coverage(), count: TruthReport.bins.count)
        try ScoreFile.forEach(folder: output) { line in
            guard line.query == nil, let truth = truths[line.domain]?[line.item] else { return }
            let bin = TruthReport.bin(line.labels)
            all[bin].add(line, truth: truth)
            byDomain[
                line.domain, default: Array(repeating: Coverage(), count: TruthReport.bins.count)
            ][bin].add(line, truth: truth)
        }
        coverage = all
        coverageByDomain = byDomain.keys.sorted().map { ($0, byDomain[$0]!) }
    }

    private static func ceilings(_ folder: String, _ table: ExampleTable) throws -> [Ceiling] {
        var truths: [UInt64: Double] = [:]
        let isThere = try JSONLines.forEach(folder + "/truth.jsonl") { line in
            guard let id = line.member("impression_id")?.text,
                let probability = line.member("probability")?.double
            else {
                throw ReportError(
                    "\(folder)/truth.jsonl: a line has no impression_id or probability")
            }
            truths[ExampleTable.hash(ofImpression: id)] = probability
        }
        guard isThere else { return [] }
        let rows = table.rows.compactMap { row -> ExampleRow? in
            guard let truth = truths[row.impression] else { return nil }
            var row = row
            row.prediction = truth
            return row
        }
        return [Ceiling(domain: nil, quality: ExactQuality(rows))]
            + table.domains.indices.map { domain in
                Ceiling(
                    domain: table.domains[domain],
                    quality: ExactQuality(rows.filter { $0.domain == Int32(domain) }))
            }
    }
}
