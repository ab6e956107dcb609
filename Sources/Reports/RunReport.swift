// What a folder of outputs says: everything that `coldstream report DIR` shows, read from its files.

import JSON

/// One run, read back from what it left.
public struct RunReport: Sendable {
    /// Quality by the item's labels so far, as `evaluations.jsonl` has it.
    public struct AgeSlice: Sendable {
        public var examples: Int64
        public var auc: Double?
        public var calibration: Double?
    }

    public struct DeadLetters: Sendable {
        public var reason: String
        public var count: Int
        /// What the first one says.
        public var message: String
    }

    public let folder: String
    /// `summary.json`.
    public let summary: JSONValue
    /// Exact figures of all examples; nil where there are too many to read here, or none.
    public let overall: ExampleTable.Summary?
    public let domains: [ExampleTable.Summary]
    public let curve: LearningCurve?
    /// By domain, sorted; by slice in the order of `ages`.
    public let ages: [(domain: String, slices: [AgeSlice?])]
    public let topItems: [TopItems]
    /// Most frequent first.
    public let deadLetters: [DeadLetters]

    /// Values of the slice `labels` in `evaluations.jsonl`.
    public static let ageNames = ["0", "1-9", "10-99", "100+"]
    /// A larger `examples.jsonl` is not read for a report.
    public static let examplesBytesLimit: Int64 = 4 << 30

    /// - Throws: `ReportError` where the folder has no `summary.json`, or a file cannot be read.
    public init(folder: String) throws {
        guard let summary = try JSONLines.value(folder + "/summary.json") else {
            throw ReportError(
                "\(folder) has no summary.json: it is not the output folder of a finished run")
        }
        self.folder = folder
        self.summary = summary
        let size = JSONLines.size(folder + "/examples.jsonl") ?? 0
        if size <= RunReport.examplesBytesLimit, let table = try ExampleTable(folder: folder),
            table.count > 0
        {
            overall = table.overall
            domains = table.byDomain
            curve = LearningCurve(table)
        } else {
            (overall, domains, curve) = (nil, [], nil)
        }
        ages = try RunReport.readAges(folder)
        topItems = try TopItems.read(folder: folder)
        deadLetters = try RunReport.readDeadLetters(folder)
    }

    /// The newest record of every domain and slice.
    private static func readAges(_ folder: String) throws -> [(String, [AgeSlice?])] {
        var byDomain: [String: [AgeSlice?]] = [:]
        try JSONLines.forEach(folder + "/evaluations.jsonl") { line in
            guard let slice = line.member("slice"),
                slice.member("by")?.text?.equals("labels") ?? false,
                let value = slice.member("value")?.text?.text,
                let place = ageNames.firstIndex(of: value), let domain = line.member("domain")?.text
            else { return }
            byDomain[domain.text, default: Array(repeating: nil, count: ageNames.count)][place] =
                AgeSlice(
                    examples: line.member("examples")?.integer ?? 0,
                    auc: line.member("auc")?.double,
                    calibration: line.member("calibration")?.double)
        }
        return byDomain.keys.sorted().map { ($0, byDomain[$0]!) }
    }

    private static func readDeadLetters(_ folder: String) throws -> [DeadLetters] {
        var found: [String: DeadLetters] = [:]
        try JSONLines.forEach(folder + "/dead-letters.jsonl") { line in
            let reason = line.member("reason")?.text?.text ?? "?"
            let message = line.member("message")?.text?.text ?? ""
            found[reason, default: DeadLetters(reason: reason, count: 0, message: message)].count +=
                1
        }
        return found.values.sorted { ($1.count, $0.reason) < ($0.count, $1.reason) }
    }
}

extension RunReport {
    func integer(_ name: String) -> Int64 { summary[name]?.integer ?? 0 }
    func number(_ name: String) -> Double? { summary[name]?.double }

    /// The report as one JSON value; `summary` is the file's.
    public var json: JSONValue {
        func number(_ value: Double?) -> JSONValue { value.map { .number($0) } ?? .null }
        let curve: JSONValue =
            curve.map { curve in
                .object([
                    JSONMember("domain", .text(curve.domain)),
                    JSONMember("start_s", .number(curve.startSeconds)),
                    JSONMember(
                        "spans",
                        .array(
                            curve.spans.map { span in
                                .object([
                                    JSONMember("first_label", .integer(Int64(span.first))),
                                    JSONMember("last_label", .integer(Int64(span.last))),
                                    JSONMember("quality", span.quality.json),
                                    JSONMember("others_auc", number(span.othersAUC)),
                                ])
                            })),
                ])
            } ?? .null
        return .object([
            JSONMember("summary", summary),
            JSONMember("overall", overall?.json ?? .null),
            JSONMember("domains", .array(domains.map(\.json))),
            JSONMember("learning_curve", curve),
            JSONMember(
                "dead_letters",
                .object(
                    deadLetters.map { JSONMember($0.reason, .integer(Int64($0.count))) })),
            JSONMember(
                "top_items",
                .object(
                    topItems.map { top in
                        JSONMember(
                            top.domain,
                            .array(top.groups.flatMap(\.lines).map(\.json)))
                    })),
        ])
    }
}

extension ScoreLine {
    public var json: JSONValue {
        let interval = interval
        return .object([
            JSONMember("domain", .text(domain)),
            JSONMember("query", query.map { .text($0) } ?? .null),
            JSONMember("item_id", .text(item)), JSONMember("score", .number(score)),
            JSONMember("score_std", .number(scoreStd)),
            JSONMember("low", .number(interval.lowerBound)),
            JSONMember("high", .number(interval.upperBound)),
            JSONMember("rank", .integer(rank)), JSONMember("impressions", .integer(impressions)),
            JSONMember("labels", .integer(labels)), JSONMember("stage", .text(stage)),
        ])
    }
}
