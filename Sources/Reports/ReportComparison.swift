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
            guard let first, let second else { return first == nil && second == nil }
            return abs(first - second) <= tolerance
        }
    }

    public let rows: [Row]
    public let tolerance: Double

    public var differences: [Row] { rows.filter { !$0.isEqual } }

    /// The metric whose values lie farthest apart.
    public var farthest: Row? {
        rows.filter { $0.tolerance > 0 && $0.first != nil && $0.second != nil }
            .max { abs($0.first! - $0.second!) < abs($1.first! - $1.second!) }
    }

    private static let counts = [
        "events", "used", "impressions", "clicks", "duplicates", "orphans", "dead_letters",
        "labels",
        "corrections",
    ]
    private static let metrics = ["auc", "gauc", "log_loss", "calibration"]

    /// - Parameters:
    ///   - first: a `summary.json`, as is `second`.
    ///   - tolerance: how far metrics over all domains may lie apart.
    public init(_ first: JSONValue, _ second: JSONValue, tolerance: Double = 0.003) {
        self.tolerance = tolerance
        var rows = Self.counts.map {
            Row(name: $0, first: first[$0]?.double, second: second[$0]?.double, tolerance: 0)
        }
        func compare(
            _ a: JSONValue?, _ b: JSONValue?, _ names: [String], _ tolerance: Double,
            _ prefix: String
        ) {
            rows += names.map {
                Row(
                    name: prefix + $0, first: a?[$0]?.double, second: b?[$0]?.double,
                    tolerance: tolerance)
            }
        }
        compare(first["overall"], second["overall"], Self.metrics, tolerance, "overall.")
        let (one, two) = (first["domains"], second["domains"])
        let names = Set((one?.members ?? []).map(\.name) + (two?.members ?? []).map(\.name))
        for name in names.sorted() {
            compare(one?[name], two?[name], ["impressions", "clicks"], 0, "\(name).")
        }
        self.rows = rows
    }

    /// Compares two output folders.
    public init(folder: String, other: String, tolerance: Double = 0.003) throws {
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

    /// One line where all is equal, else a table of what is not.
    public var text: String {
        guard !differences.isEmpty else {
            let far = farthest.map {
                "; farthest apart is \($0.name), \(Formatted.fixed($0.first, 4)) and \(Formatted.fixed($0.second, 4))"
            }
            return "equal: \(rows.filter { $0.tolerance == 0 }.count) counts, metrics within "
                + "\(tolerance)\(far ?? "")\n"
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
}
