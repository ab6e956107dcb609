// What a page of /metrics is made of, and how it is written: Prometheus' text format 0.0.4.

/// One number that a page shows, described once.
public struct Metric: Hashable, Sendable {
    public enum Kind: String, Sendable { case counter, gauge, histogram }

    /// `coldstream_<noun>_<unit>`, and `_total` behind a counter's.
    public let name: String
    public let kind: Kind
    /// One sentence.
    public let help: String
    /// Names of the labels beside those of the whole page; their values are of bounded variety.
    public let labels: [String]

    public init(_ name: String, _ kind: Kind, _ help: String, labels: [String] = []) {
        self.name = name
        self.kind = kind
        self.help = help
        self.labels = labels
    }
}

/// How often something took how long; a counter for each bound, so that two of them add up.
public struct Histogram: Equatable, Sendable {
    /// Upper bounds in ascending order, each belonging to its bucket; above the last there is one more.
    public let bounds: [Double]
    /// By bucket, not cumulative; one more than there are bounds.
    public private(set) var counts: [Int64]
    public private(set) var sum: Double = 0

    /// Seconds from a commit without anybody else to one that waits for a broker to come back.
    public static let seconds: [Double] = [
        0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300,
    ]

    public init(bounds: [Double] = Histogram.seconds) {
        self.bounds = bounds
        counts = Array(repeating: 0, count: bounds.count + 1)
    }

    public var count: Int64 { counts.reduce(0, +) }

    public mutating func add(_ value: Double) {
        counts[bounds.firstIndex { value <= $0 } ?? bounds.count] += 1
        sum += value
    }

    /// - Precondition: the bounds are equal.
    public mutating func merge(_ other: Histogram) {
        precondition(bounds == other.bounds, "bounds \(bounds) and \(other.bounds)")
        for i in counts.indices { counts[i] += other.counts[i] }
        sum += other.sum
    }
}

/// Values of metrics at one moment.
///
/// A metric that was declared stands on the page even where it has no value yet, so that whoever
/// looks for it knows that the worker has it.
public struct MetricValues: Sendable {
    private enum Value { case number(Double), histogram(Histogram) }

    private var metrics: [Metric] = []
    private var values: [[(labels: [String], value: Value)]] = []
    private var places: [Metric: Int] = [:]

    public init(_ metrics: [Metric] = []) { for metric in metrics { declare(metric) } }

    public var declared: [Metric] { metrics }

    @discardableResult
    private mutating func declare(_ metric: Metric) -> Int {
        if let place = places[metric] { return place }
        places[metric] = metrics.count
        metrics.append(metric)
        values.append([])
        return metrics.count - 1
    }

    /// - Parameter labels: values of `metric.labels`, in their order; each combination once.
    public mutating func add(_ metric: Metric, _ value: Double, _ labels: String...) {
        add(metric, .number(value), labels)
    }

    public mutating func add(_ metric: Metric, _ value: Int64, _ labels: String...) {
        add(metric, .number(Double(value)), labels)
    }

    public mutating func add(_ metric: Metric, _ histogram: Histogram, _ labels: String...) {
        precondition(metric.kind == .histogram, "\(metric.name) is no histogram")
        add(metric, .histogram(histogram), labels)
    }

    private mutating func add(_ metric: Metric, _ value: Value, _ labels: [String]) {
        precondition(
            labels.count == metric.labels.count,
            "\(metric.name) has the labels \(metric.labels), not \(labels)")
        values[declare(metric)].append((labels, value))
    }

    /// Everything that `other` has, behind what is here.
    public mutating func append(_ other: MetricValues) {
        for (metric, found) in zip(other.metrics, other.values) {
            values[declare(metric)] += found
        }
    }

    /// The page.
    ///
    /// - Parameter common: labels of every sample.
    public func text(common: [(name: String, value: String)]) -> String {
        var text = ""
        for (metric, found) in zip(metrics, values) {
            text += "# HELP \(metric.name) \(escaped(metric.help, quotes: false))\n"
            text += "# TYPE \(metric.name) \(metric.kind.rawValue)\n"
            for (labels, value) in found {
                let all = common + zip(metric.labels, labels).map { (name: $0, value: $1) }
                append(metric.name, all, value, to: &text)
            }
        }
        return text
    }

    private func append(
        _ name: String, _ labels: [(name: String, value: String)], _ value: Value,
        to text: inout String
    ) {
        func line(_ name: String, _ labels: [(name: String, value: String)], _ value: Double) {
            let list = labels.map { "\($0.name)=\"\(escaped($0.value, quotes: true))\"" }
            text += "\(name){\(list.joined(separator: ","))} \(number(value))\n"
        }
        switch value {
        case .number(let value): line(name, labels, value)
        case .histogram(let histogram):
            var below: Int64 = 0
            for (bound, count) in zip(histogram.bounds + [.infinity], histogram.counts) {
                below += count
                line("\(name)_bucket", labels + [("le", number(bound))], Double(below))
            }
            line("\(name)_sum", labels, histogram.sum)
            line("\(name)_count", labels, Double(below))
        }
    }

    private func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        return value.rounded() == value && abs(value) < 1e15 ? "\(Int64(value))" : "\(value)"
    }

    private func escaped(_ value: String, quotes: Bool) -> String {
        var result = ""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\"" where quotes: result += "\\\""
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
