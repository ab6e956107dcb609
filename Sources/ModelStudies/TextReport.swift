// The table of a text study: a line a kind of vector, then paired differences with their intervals.

import RankingModel

public enum TextReport {
    private typealias Run = TextStudy.Run

    /// AUC and GAUC by held-out domain and over them, for all rows and for cold items.
    public static func text(_ runs: [TextStudy.Run]) -> String {
        var held: [String] = []
        for run in runs where !held.contains(run.held) { held.append(run.held) }
        let kinds = TextStudy.Kind.allCases.filter { kind in runs.contains { $0.kind == kind } }
        let seeds = Set(runs.map(\.seed)).count
        var lines: [String] = []
        for name in held {
            let run = runs.first { $0.held == name }!
            lines.append("\(name): \(run.rows) test rows, \(run.coldRows) of cold items")
        }
        for (title, quality) in [("all rows", \Run.all), ("cold items", \Run.cold)] {
            for (metric, value) in [("AUC", \Quality.auc), ("GAUC", \Quality.gauc)] {
                let path = quality.appending(path: value)
                lines.append("")
                lines.append(
                    row("\(title), \(metric)", held + ["mean of \(held.count)", "± over seeds"]))
                for kind in kinds {
                    let own = runs.filter { $0.kind == kind }
                    var cells = held.map { name in
                        number(mean(own.filter { $0.held == name }.map { $0[keyPath: path] }))
                    }
                    let (average, deviation) = meanAndDeviation(macro(own, path))
                    cells += [number(average), number(deviation)]
                    lines.append(row(kind.rawValue, cells))
                }
                for (a, b) in [
                    (TextStudy.Kind.minilm, TextStudy.Kind.none), (.minilm, .ngrams),
                    (.minilm, .random), (.ngrams, .none), (.random, .none),
                ] where kinds.contains(a) && kinds.contains(b) {
                    let differences = zip(
                        macro(runs.filter { $0.kind == a }, path),
                        macro(runs.filter { $0.kind == b }, path)
                    ).map { $0 - $1 }
                    lines.append(
                        "  \(a.rawValue) - \(b.rawValue): \(interval(differences)) (n=\(seeds))")
                }
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// By seed: the mean over held-out domains.
    private static func macro(_ runs: [Run], _ path: KeyPath<Run, Double>) -> [Double] {
        Set(runs.map(\.seed)).sorted().map { seed in
            mean(runs.filter { $0.seed == seed }.map { $0[keyPath: path] })
        }
    }

    private static func mean(_ values: [Double]) -> Double {
        values.reduce(0, +) / Double(max(1, values.count))
    }

    /// Mean difference and its 95 % interval over seeds by Student's t.
    static func interval(_ differences: [Double]) -> String {
        let (mean, deviation) = meanAndDeviation(differences)
        let n = differences.count
        guard n > 1 else { return signed(mean) }
        let half = studentT(n - 1) * deviation / Double(n).squareRoot()
        return "\(signed(mean)) [\(signed(mean - half)), \(signed(mean + half))]"
    }

    /// The 97.5 % point of Student's t.
    private static func studentT(_ degrees: Int) -> Double {
        let table = [
            12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179,
        ]
        return degrees <= table.count ? table[degrees - 1] : 2.1
    }

    private static func number(_ value: Double) -> String {
        let digits = String(Int((value * 10_000).rounded()) + 100_000)
        return "." + digits.suffix(4)
    }

    private static func signed(_ value: Double) -> String {
        (value < 0 ? "-" : "+") + number(value.magnitude)
    }

    private static func row(_ name: String, _ cells: [String]) -> String {
        func pad(_ text: String, _ width: Int) -> String {
            text + String(repeating: " ", count: max(1, width - text.count))
        }
        return pad(name, 18) + cells.map { pad($0, 17) }.joined()
    }
}
