// The report as text of at most 100 columns.

import JSON

/// How a report is dressed.
public enum ReportStyle: Sendable {
    case plain
    /// Headings in bold, for a terminal.
    case terminal

    func heading(_ text: String) -> String {
        self == .terminal ? "\u{1B}[1m\(text)\u{1B}[0m" : text
    }
}

extension RunReport {
    public func text(_ style: ReportStyle = .plain) -> String {
        let blocks: [(heading: String, lines: [String])] = [
            ("COLDSTREAM", totals), ("DOMAINS", domainTable), (curveHeading, curve?.lines ?? []),
            ("BY AGE OF THE ITEM  (its labels so far in the domain; cal. = calibration)", ageTable),
            ("TOP ITEMS  (score, 90 % interval, labels so far)", topTable),
            ("DEAD LETTERS", deadLetterTable),
        ]
        return blocks.filter { !$0.lines.isEmpty }.map { block in
            style.heading(block.heading) + "\n" + block.lines.joined(separator: "\n") + "\n"
        }.joined(separator: "\n")
    }

    private var totals: [String] {
        func counts(_ parts: [(String, String)]) -> String {
            parts.map { "\(Formatted.count(integer($0.0))) \($0.1)" }.joined(separator: " · ")
        }
        var lines = [
            "  events   "
                + counts([
                    ("events", "read"), ("used", "used"), ("duplicates", "duplicates"),
                    ("orphans", "orphans"), ("dead_letters", "dead letters"),
                ]),
            "  labels   "
                + counts([
                    ("impressions", "impressions"), ("clicks", "clicks"), ("labels", "labels"),
                    ("corrections", "corrections"),
                ]),
            "  scores   "
                + counts([("scores_published", "published"), ("evictions", "rows evicted")]),
        ]
        let seconds = number("seconds") ?? 0
        lines.append(
            "  speed    \(Formatted.duration(seconds)) · "
                + "\(Formatted.count(Int64(number("events_per_second") ?? 0))) events/s · "
                + "memory peak \(Formatted.bytes(integer("memory_peak_bytes")))")
        lines.append("  fresh    " + freshness)
        return lines
    }

    private var freshness: String {
        guard let p50 = summary["freshness_ms"]?["p50"]?.double,
            let p99 = summary["freshness_ms"]?["p99"]?.double
        else { return "no freshness in a batch: events did not arrive in real time" }
        return
            "event to score \(Formatted.fixed(p50, 0)) ms (p50), \(Formatted.fixed(p99, 0)) ms (p99)"
    }

    private var domainTable: [String] {
        var table = TextTable(
            [
                ("", .left), ("impressions", .right), ("CTR", .right), ("AUC", .right),
                ("GAUC", .right), ("log loss", .right), ("calib.", .right),
                ("1st fifth: AUC", .right), ("calib.", .right),
            ], indent: 2, widest: 22)
        let exact = Dictionary(uniqueKeysWithValues: domains.map { ($0.domain ?? "", $0) })
        for member in summary["domains"]?.members ?? [] {
            let domain = member.value
            table.append(
                [
                    member.name, Formatted.count(domain["impressions"]?.integer ?? 0),
                    Formatted.percent(domain["ctr"]?.double),
                ] + quality(exact[member.name], domain))
        }
        let rate =
            overall.map { Double($0.whole.positives) / Double(max(1, $0.whole.examples)) }
        table.append(
            ["all", Formatted.count(integer("impressions")), Formatted.percent(rate)]
                + quality(overall, summary["overall"] ?? .null))
        let source =
            overall == nil
            ? "examples.jsonl was not read: AUC within .0005, by histogram"
            : "exact, each prediction made before its label was known; recomputed from examples.jsonl"
        return table.lines + ["  " + source]
    }

    private func quality(_ exact: ExampleTable.Summary?, _ counted: JSONValue) -> [String] {
        guard let exact else {
            return [
                Formatted.unit(counted["auc"]?.double), Formatted.unit(counted["gauc"]?.double),
                Formatted.unit(counted["log_loss"]?.double),
                Formatted.fixed(counted["calibration"]?.double, 3), Formatted.nothing,
                Formatted.nothing,
            ]
        }
        return [
            Formatted.unit(exact.whole.auc), Formatted.unit(exact.whole.gauc),
            Formatted.unit(exact.whole.logLoss), Formatted.fixed(exact.whole.calibration, 3),
            Formatted.unit(exact.firstFifth.auc), Formatted.fixed(exact.firstFifth.calibration, 3),
        ]
    }

    private var curveHeading: String {
        guard let curve else { return "" }
        let start =
            curve.startSeconds > 0
            ? "it began \(Formatted.duration(curve.startSeconds)) after the log"
            : "it began with the log"
        return "THE NEWEST DOMAIN: \(curve.domain)  (\(start); AUC by labels so far)"
    }

    private var ageTable: [String] {
        guard !ages.isEmpty else { return [] }
        let groups = ["no label", "1–9", "10–99", "100 and more"]
        let columns = ["examples".right(8), "AUC".right(5), "cal.".right(5)].joined()
        var lines = [
            "  " + "".left(16) + groups.map { "  " + $0.right(18) }.joined(),
            "  " + "".left(16) + groups.map { _ in "  " + columns }.joined(),
        ]
        for (domain, slices) in ages {
            let cells = slices.map { slice in
                "  " + Formatted.count(slice?.examples ?? 0).right(8)
                    + Formatted.unit(slice?.auc, 3).right(5)
                    + Formatted.fixed(slice?.calibration, 2).right(5)
            }
            lines.append("  " + domain.left(16) + cells.joined())
        }
        return lines
    }

    private var topTable: [String] {
        topItems.flatMap { top -> [String] in
            let scored = Formatted.count(Int64(top.scored))
            let what = top.groups.contains { $0.query != nil } ? "pairs of query and item" : "items"
            var lines = [
                "  \(top.domain): \(scored) \(what) scored, "
                    + "\(Formatted.count(Int64(top.zeroShot))) of them without a label yet"
            ]
            let largest = top.groups.flatMap(\.lines).map(\.interval.upperBound).max() ?? 1
            for group in top.groups {
                if let query = group.query { lines.append("    \"\(query)\"") }
                for line in group.lines { lines.append("    " + line.row(scale: largest)) }
            }
            return lines
        }
    }

    private var deadLetterTable: [String] {
        var table = TextTable(
            [("", .right), ("", .left), ("", .left)], indent: 2, widest: 70)
        for letters in deadLetters.prefix(10) {
            table.append([
                Formatted.count(Int64(letters.count)), letters.reason,
                letters.message.left(66).withoutTrailingSpaces(),
            ])
        }
        let rest = deadLetters.dropFirst(10)
        let more = rest.reduce(0) { $0 + $1.count }
        return table.isEmpty
            ? []
            : table.lines
                + (rest.isEmpty
                    ? [] : ["  \(Formatted.count(Int64(more))) of \(rest.count) other reasons"])
    }
}

extension ScoreLine {
    /// Item, score, interval in numbers and as a bar of 30 columns that ends at `scale`.
    func row(scale: Double) -> String {
        let width = 30
        func place(_ value: Double) -> Int {
            min(width - 1, max(0, Int((value / scale * Double(width - 1)).rounded())))
        }
        let interval = interval
        var bar = [Character](repeating: "·", count: width)
        for i in place(interval.lowerBound)...place(interval.upperBound) { bar[i] = "─" }
        bar[place(score)] = "●"
        return item.left(26) + "  " + Formatted.unit(score) + "  "
            + Formatted.unit(interval.lowerBound, 3) + "–" + Formatted.unit(interval.upperBound, 3)
            + "  " + String(bar) + "  "
            + (stage == "zero_shot" ? "zero-shot" : Formatted.count(labels)).right(9)
    }
}
