// `coldstream evaluate DIR`: every figure recomputed from the examples, by whoever wants to.

import JSON

/// Exact quality of a run, overall and by domain; beside the truth where that is known.
public struct EvaluationReport: Sendable {
    public let overall: ExampleTable.Summary
    public let domains: [ExampleTable.Summary]
    public let corrections: Int
    public let strayCorrections: Int
    public let truth: TruthReport?

    /// - Parameters:
    ///   - folder: has `examples.jsonl`.
    ///   - truth: a simulation's folder.
    public init(folder: String, truth: String?) throws {
        guard let table = try ExampleTable(folder: folder) else {
            throw ReportError("\(folder) has no examples.jsonl")
        }
        overall = table.overall
        domains = table.byDomain
        corrections = table.corrections
        strayCorrections = table.strayCorrections
        self.truth = try truth.map { try TruthReport(truth: $0, output: folder, table) }
    }

    public func text(_ style: ReportStyle = .plain) -> String {
        var blocks = [
            (heading: "QUALITY  (each prediction made before its label was known)", lines: quality)
        ]
        if let truth {
            if !truth.ceilings.isEmpty {
                blocks.append(
                    ("CEILING  (the true probabilities on the same impressions)", ceiling(truth)))
            }
            blocks.append(
                (
                    "90 % INTERVALS THAT HOLD THE TRUE PROBABILITY  (recommendation, by labels so far)",
                    coverage(truth)
                ))
        }
        return blocks.map { block in
            style.heading(block.heading) + "\n" + block.lines.joined(separator: "\n") + "\n"
        }.joined(separator: "\n")
    }

    private var quality: [String] {
        var table = TextTable(
            [
                ("", .left), ("examples", .right), ("rate", .right), ("AUC", .right),
                ("GAUC", .right), ("log loss", .right), ("calib.", .right),
                ("1st fifth: AUC", .right), ("calib.", .right),
            ], indent: 2, widest: 22)
        for summary in domains + [overall] {
            let (whole, first) = (summary.whole, summary.firstFifth)
            table.append([
                summary.domain ?? "all", Formatted.count(Int64(whole.examples)),
                Formatted.percent(Double(whole.positives) / Double(max(1, whole.examples))),
                Formatted.unit(whole.auc), Formatted.unit(whole.gauc),
                Formatted.unit(whole.logLoss), Formatted.fixed(whole.calibration, 3),
                Formatted.unit(first.auc), Formatted.fixed(first.calibration, 3),
            ])
        }
        let stray =
            strayCorrections > 0
            ? ", \(Formatted.count(Int64(strayCorrections))) of them of impressions not in the file"
            : ""
        return table.lines + [
            "  \(Formatted.count(Int64(corrections))) labels corrected later\(stray)"
        ]
    }

    private func ceiling(_ truth: TruthReport) -> [String] {
        var table = TextTable(
            [
                ("", .left), ("examples", .right), ("AUC", .right), ("GAUC", .right),
                ("log loss", .right), ("calibration", .right),
            ], indent: 2, widest: 22)
        for ceiling in truth.ceilings.dropFirst() + truth.ceilings.prefix(1) {
            let quality = ceiling.quality
            table.append([
                ceiling.domain ?? "all", Formatted.count(Int64(quality.examples)),
                Formatted.unit(quality.auc), Formatted.unit(quality.gauc),
                Formatted.unit(quality.logLoss), Formatted.fixed(quality.calibration, 3),
            ])
        }
        return table.lines
    }

    private func coverage(_ truth: TruthReport) -> [String] {
        var table = TextTable(
            [("", .left)]
                + TruthReport.bins.flatMap { name -> [(String, TextTable.Alignment)] in
                    [("\(name): items", .right), ("held", .right)]
                }, indent: 2, widest: 20)
        func append(_ name: String, _ bins: [TruthReport.Coverage]) {
            table.append(
                [name]
                    + bins.flatMap {
                        [Formatted.count(Int64($0.items)), Formatted.percent($0.share)]
                    })
        }
        for (domain, bins) in truth.coverageByDomain { append(domain, bins) }
        append("all", truth.coverage)
        var widths = TextTable(
            [("", .left)] + TruthReport.bins.map { ($0, TextTable.Alignment.right) }, indent: 2)
        widths.append(["mean score / truth"] + truth.coverage.map { Formatted.fixed($0.ratio, 3) })
        widths.append(["mean width"] + truth.coverage.map { Formatted.unit($0.meanWidth, 3) })
        return table.lines + [""] + widths.lines
    }

    public var json: JSONValue {
        var members = [
            JSONMember("overall", overall.json), JSONMember("domains", .array(domains.map(\.json))),
            JSONMember("corrections", .integer(Int64(corrections))),
        ]
        if let truth {
            members.append(
                JSONMember(
                    "ceilings",
                    .array(
                        truth.ceilings.map { ceiling in
                            .object([
                                JSONMember("domain", ceiling.domain.map { .text($0) } ?? .null),
                                JSONMember("quality", ceiling.quality.json),
                            ])
                        })))
            members.append(JSONMember("coverage", coverageJSON(truth.coverage)))
            members.append(
                JSONMember(
                    "coverage_by_domain",
                    .object(
                        truth.coverageByDomain.map { JSONMember($0.domain, coverageJSON($0.bins)) })
                ))
        }
        return .object(members)
    }

    private func coverageJSON(_ bins: [TruthReport.Coverage]) -> JSONValue {
        .object(
            zip(["0", "1-9", "10-99", "100+"], bins).map { name, bin in
                JSONMember(
                    name,
                    .object([
                        JSONMember("items", .integer(Int64(bin.items))),
                        JSONMember("covered", .integer(Int64(bin.covered))),
                        JSONMember("share", bin.share.map { .number($0) } ?? .null),
                        JSONMember("score_over_truth", bin.ratio.map { .number($0) } ?? .null),
                        JSONMember("mean_width", bin.meanWidth.map { .number($0) } ?? .null),
                    ]))
            })
    }
}

extension ExactQuality {
    var json: JSONValue {
        func number(_ value: Double?) -> JSONValue { value.map { .number($0) } ?? .null }
        return .object([
            JSONMember("examples", .integer(Int64(examples))),
            JSONMember("positives", .integer(Int64(positives))), JSONMember("auc", number(auc)),
            JSONMember("gauc", number(gauc)), JSONMember("log_loss", number(logLoss)),
            JSONMember("calibration", number(calibration)),
        ])
    }
}

extension ExampleTable.Summary {
    var json: JSONValue {
        .object([
            JSONMember("domain", domain.map { .text($0) } ?? .null),
            JSONMember("whole", whole.json), JSONMember("first_fifth", firstFifth.json),
        ])
    }
}
