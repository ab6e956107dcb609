// The table of joint training, as text.

import RankingModel

public enum JointReport {
    /// One variant: means over seeds, the reference's, and whether they lie within
    /// max(.005 AUC, .003 GAUC, 2.5 standard errors of the difference).
    public static func line(_ row: JointStudy.Row) -> String {
        let auc = meanAndDeviation(row.runs.map(\.macro.auc))
        let gauc = meanAndDeviation(row.runs.map(\.macro.gauc))
        var line = pad(row.name, 26) + pad(figure(auc), 16)
        guard let reference = JointStudy.reference[row.name] else {
            return line + pad("", 16) + pad(figure(gauc), 16)
        }
        let n = Double(row.runs.count)
        func bound(_ least: Double, _ a: Double, _ b: Double) -> Double {
            max(least, 2.5 * (a * a / n + b * b / 5).squareRoot())
        }
        let aucFits =
            abs(auc.mean - reference.auc)
            <= bound(0.005, auc.deviation, reference.aucDeviation)
        let gaucFits =
            abs(gauc.mean - reference.gauc)
            <= bound(0.003, gauc.deviation, reference.gaucDeviation)
        line += pad(figure((reference.auc, reference.aucDeviation)), 16)
        line += pad(figure(gauc), 16)
        line += pad(figure((reference.gauc, reference.gaucDeviation)), 16)
        return line + "AUC \(aucFits ? "yes" : "NO"), GAUC \(gaucFits ? "yes" : "NO")"
    }

    /// AUC of each domain by variant, and where a variant is worse than separate models by > .005.
    public static func domains(_ rows: [JointStudy.Row], names: [String]) -> String {
        var out = "\nAUC by domain (mean over seeds)\n"
        let separate = rows.first { $0.name == "single (separate models)" }
        for row in rows {
            out += pad(row.name, 26)
            for m in names.indices {
                let value = mean(row, m)
                let isWorse = separate.map { value < mean($0, m) - 0.005 } ?? false
                out += pad(fixed(value) + (isWorse ? "*" : ""), 9)
            }
            out += "\n"
        }
        return out + "columns: " + names.joined(separator: ", ")
            + "\n* worse than the domain's separate model by more than .005"
    }

    private static func mean(_ row: JointStudy.Row, _ m: Int) -> Double {
        meanAndDeviation(row.runs.map { $0.domains[m]?.auc ?? 0 }).mean
    }

    static func figure(_ value: (mean: Double, deviation: Double)) -> String {
        "\(fixed(value.mean)) ±\(fixed(value.deviation))"
    }

    /// Four digits after the point.
    public static func fixed(_ value: Double) -> String {
        let digits = Int((abs(value) * 10_000).rounded())
        let rest = String(digits % 10_000)
        return (value < 0 ? "-" : "") + "\(digits / 10_000)."
            + String(repeating: "0", count: 4 - rest.count) + rest
    }

    static func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(1, width - text.count))
    }
}
