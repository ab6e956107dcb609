// How fast a domain that started cold got good: quality by the number of its labels so far.

/// Prequential quality of one domain in spans of labels that double in length.
public struct LearningCurve: Sendable {
    public struct Span: Sendable {
        /// Labels of the domain before the span, and at its end.
        public var first: Int
        public var last: Int
        public var quality: ExactQuality
        /// AUC of all other domains in the same stretch of time.
        public var othersAUC: Double?
    }

    public let domain: String
    /// Seconds from the log's first impression to the domain's.
    public let startSeconds: Double
    public let spans: [Span]

    /// The curve of the domain whose first impression comes last; nil without two domains.
    public init?(_ table: ExampleTable, spans wanted: Int = 11) {
        guard table.domains.count > 1 else { return nil }
        var first = [Int64](repeating: .max, count: table.domains.count)
        for row in table.rows { first[Int(row.domain)] = min(first[Int(row.domain)], row.time) }
        let cold = first.indices.max { (first[$0], $0) < (first[$1], $1) }!
        let own = table.rows.filter { $0.domain == Int32(cold) }
        let others = table.rows.filter { $0.domain != Int32(cold) }
        var length = 100
        while length << (wanted - 1) < own.count { length *= 2 }
        var spans: [Span] = []
        var start = 0
        while start < own.count {
            let end = min(own.count, start == 0 ? length : start * 2)
            // A rest of less than half a span says little: it belongs to the one before.
            let isRest = !spans.isEmpty && end == own.count && end - start < start / 2
            let from = isRest ? spans.removeLast().first : start
            let part = own[from..<end]
            let (begin, finish) = (part.first!.time, part.last!.time)
            let meanwhile = others.filter { $0.time >= begin && $0.time <= finish }
            spans.append(
                Span(
                    first: from, last: end, quality: ExactQuality(part),
                    othersAUC: ExactQuality(meanwhile).auc))
            start = end
        }
        domain = table.domains[cold]
        startSeconds = Double(first[cold] - (first.min() ?? 0)) / 1_000
        self.spans = spans
    }

    /// Bars of eighths of a line over a row of numbers; at most 100 columns.
    var lines: [String] {
        let values = spans.map { $0.quality.auc }
        let known = values.compactMap { $0 }
        guard let largest = known.max() else { return ["  too few labels for a curve"] }
        let (bottom, height, width, margin) = (0.5, 7, 8, 12)
        let top = max(0.6, (largest * 20).rounded(.up) / 20)
        let eighths = Array(" ▁▂▃▄▅▆▇█")
        var lines: [String] = []
        for level in (0..<height).reversed() {
            let low = bottom + (top - bottom) * Double(level) / Double(height)
            let isLabeled = level == height - 1 || level == 0
            let label = level == height - 1 ? top : bottom
            var line =
                (isLabeled ? "AUC " + Formatted.unit(label, 2) : "").right(margin - 2)
                + (isLabeled ? " ┤" : " │")
            for value in values {
                let share = ((value ?? bottom) - low) / (top - bottom) * Double(height)
                let block = eighths[Int((min(1, max(0, share)) * 8).rounded())]
                line += "  " + String(repeating: String(block), count: width - 3) + " "
            }
            lines.append(line.withoutTrailingSpaces())
        }
        func row(_ title: String, _ cell: (Span) -> String) {
            let cells = spans.map { cell($0).right(width - 1) + " " }.joined()
            lines.append((title.left(margin) + cells).withoutTrailingSpaces())
        }
        row("to label") { LearningCurve.short($0.last) }
        row("AUC") { Formatted.unit($0.quality.auc) }
        row("others' AUC") { Formatted.unit($0.othersAUC) }
        row("log loss") { Formatted.unit($0.quality.logLoss) }
        row("calibration") { Formatted.fixed($0.quality.calibration, 2) }
        return lines
    }

    /// `800`, `12.8k`, `1.2M`.
    private static func short(_ count: Int) -> String {
        switch count {
        case ..<10_000: Formatted.count(Int64(count))
        case ..<1_000_000: Formatted.fixed(Double(count) / 1_000, 1) + "k"
        default: Formatted.fixed(Double(count) / 1_000_000, 1) + "M"
        }
    }
}
