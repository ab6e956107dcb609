// Two runs over the same input beside each other: equal counts, and metrics that hardly differ.

import JSON

/// What differs between the summaries of two runs.
///
/// Where roles run side by side, as on Kafka, how catalog and events of several sources interleave in
/// domain-log is not determined. Every count of events and labels is, and quality hardly moves. Left out
/// are `scores_published`, which depends on when an item became known, and what tells of the machine.
public struct ReportComparison: Sendable {
    /// One number that should be the same.
    public struct Row: Sendable {
        /// `labels`, or `new-cards.auc`.
        public var name: String
        public var first: Double?
        public var second: Double?
        /// How far they may lie apart; 0 for counts.
        public var tolerance: Double

        public var isEqual: Bool {
            guard let distance else { return first == nil && second == nil }
            return distance <= tolerance
        }

        /// Nil where a run has no such number.
        public var distance: Double? {
            guard let first, let second else { return nil }
            return abs(first - second)
        }
    }

    /// The numbers of one domain; its counts first.
    public struct Domain: Sendable {
        public var name: String
        public var rows: [Row]

        /// The metric whose values lie farthest apart.
        public var farthest: Row? { ReportComparison.farthest(of: rows) }
    }

    /// Counts of the whole run, then metrics over all domains.
    public let overall: [Row]
    /// Of both runs, sorted by name.
    public let domains: [Domain]
    public let tolerance: Double

    public var rows: [Row] { overall + domains.flatMap(\.rows) }
    public var differences: [Row] { rows.filter { !$0.isEqual } }

    /// The metric over all domains whose values lie farthest apart.
    public var farthest: Row? { Self.farthest(of: overall) }

    /// The domain with the metric whose values lie farthest apart.
    public var farthestDomain: Domain? {
        domains.filter { $0.farthest != nil }
            .max { $0.farthest!.distance! < $1.farthest!.distance! }
    }

    private static func farthest(of rows: [Row]) -> Row? {
        rows.filter { $0.tolerance > 0 && $0.distance != nil }
            .max { $0.distance! < $1.distance! }
    }

    private static let counts = [
        "events", "used", "impressions", "clicks", "duplicates", "orphans", "dead_letters",
        "labels",
        "corrections",
    ]
    private static let metrics = ["auc", "gauc", "log_loss", "calibration"]

    /// - Parameters:
    ///   - first: a `summary.json`, as is `second`.
    ///   - tolerance: how far metrics may lie apart, over all domains and of each.
    public init(
        _ first: JSONValue, _ second: JSONValue, tolerance: Double = 0.003
    ) {
        self.tolerance = tolerance
        func rows(
            _ a: JSONValue?, _ b: JSONValue?, _ names: [String], _ tolerance: Double,
            _ prefix: String = ""
        ) -> [Row] {
            names.map {
                Row(
                    name: prefix + $0, first: a?[$0]?.double, second: b?[$0]?.double,
                    tolerance: tolerance)
            }
        }
        overall =
            rows(first, second, Self.counts, 0)
            + rows(first["overall"], second["overall"], Self.metrics, tolerance, "overall.")
        let (one, two) = (first["domains"], second["domains"])
        let names = Set((one?.members ?? []).map(\.name) + (two?.members ?? []).map(\.name))
        domains = names.sorted().map { name in
            let (one, two) = (one?[name], two?[name])
            return Domain(
                name: name,
                rows: rows(one, two, ["impressions", "clicks"], 0, "\(name).")
                    + rows(one, two, Self.metrics, tolerance, "\(name)."))
        }
    }

    /// Compares two output folders.
    public init(
        folder: String, other: String, tolerance: Double = 0.003
    ) throws {
        func summary(_ folder: String) throws -> JSONValue {
            guard let summary = try JSONLines.value(folder + "/summary.json") else {
                throw ReportError(
                    "\(folder) has no summary.json: it is not the output folder of a finished run")
            }
            return summary
        }
        self.init(try summary(folder), try summary(other), tolerance: tolerance)
    }

    /// Every number compared.
    public var json: JSONValue {
        .array(
            rows.map { row in
                .object([
                    JSONMember("name", .text(row.name)),
                    JSONMember("first", row.first.map { .number($0) } ?? .null),
                    JSONMember("second", row.second.map { .number($0) } ?? .null),
                    JSONMember("tolerance", .number(row.tolerance)),
                    JSONMember("equal", .boolean(row.isEqual)),
                ])
            })
    }

    /// What is equal, and by domain the metric that is farthest apart; or a table of what is not equal.
    public var text: String {
        guard !differences.isEmpty else {
            let far = farthest.map {
                "; farthest apart is \($0.name), \(Formatted.fixed($0.first, 4)) and \(Formatted.fixed($0.second, 4))"
            }
            let counts = rows.filter { $0.tolerance == 0 }.count
            return "equal: \(counts) counts, metrics within \(tolerance)\(far ?? "")\n" + domainText
        }
        var table = TextTable([
            ("differs", .left), ("first", .right), ("second", .right), ("allowed", .right),
        ])
        for row in differences {
            table.append([
                row.name, Formatted.fixed(row.first, 4), Formatted.fixed(row.second, 4),
                "\(row.tolerance)",
            ])
        }
        return table.text
    }

    private var domainText: String {
        guard let worst = farthestDomain else { return "" }
        var table = TextTable(
            [
                ("domain", .left), ("impressions", .right), ("clicks", .right),
                ("farthest apart", .left), ("first", .right), ("second", .right),
                ("distance", .right),
            ], indent: 2)
        for domain in domains {
            let far = domain.farthest
            table.append(
                [domain.name]
                    + domain.rows.prefix(2).map { Formatted.count(Int64($0.first ?? 0)) }
                    + [
                        far.map { String($0.name.dropFirst(domain.name.count + 1)) }
                            ?? Formatted.nothing,
                        Formatted.fixed(far?.first, 4), Formatted.fixed(far?.second, 4),
                        Formatted.fixed(far?.distance, 4),
                    ])
        }
        return "by domain, farthest apart is \(worst.name)\n" + table.text
    }
}
