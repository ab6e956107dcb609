// A strict reader of Prometheus' text format 0.0.4, to judge the pages of workers by.
//
// Written from https://prometheus.io/docs/instrumenting/exposition_formats ("Text format details") and
// the rules for names of https://prometheus.io/docs/concepts/data_model. It is stricter than Prometheus:
// HELP and TYPE must be there, counters must end in _total, and nothing may follow a value.

/// One line with a value.
public struct PrometheusSample: Equatable, Sendable {
    public let name: String
    /// In the order of the page.
    public let labels: [Label]
    public let value: Double

    public struct Label: Hashable, Sendable {
        public let name: String
        public let value: String
    }

    public subscript(label: String) -> String? { labels.first { $0.name == label }?.value }

    /// The sample without its value: what may stand on a page once.
    public var series: String {
        let list = labels.sorted { $0.name < $1.name }.map {
            "\($0.name)=\($0.value.debugDescription)"
        }
        return "\(name){\(list.joined(separator: ","))}"
    }
}

/// Samples that belong to one HELP and one TYPE.
public struct PrometheusFamily: Equatable, Sendable {
    public enum Kind: String, Sendable { case counter, gauge, histogram, summary, untyped }

    public let name: String
    public let help: String
    public let kind: Kind
    public internal(set) var samples: [PrometheusSample] = []

    /// Names of labels other than those of a histogram's buckets, of all samples.
    public var labelNames: Set<String> {
        Set(samples.flatMap { $0.labels.map(\.name) }).subtracting(["le"])
    }
}

/// Why a page is none.
public struct PrometheusError: Error, Equatable, CustomStringConvertible {
    /// From 1; 0 where it is about the page.
    public let line: Int
    public let reason: String
    public var description: String { "line \(line): \(reason)" }
}

/// A page of `/metrics`.
public struct PrometheusPage: Equatable, Sendable {
    public private(set) var families: [PrometheusFamily] = []

    public subscript(name: String) -> PrometheusFamily? { families.first { $0.name == name } }

    /// The value of the one series of a family that has these labels; nil where there is none.
    public func value(_ name: String, _ labels: [String: String] = [:]) -> Double? {
        let found = families.flatMap(\.samples).filter { sample in
            sample.name == name && labels.allSatisfy { sample[$0.key] == $0.value }
        }
        return found.count == 1 ? found[0].value : nil
    }

    /// The sum over the series of a family that have these labels.
    public func sum(_ name: String, _ labels: [String: String] = [:]) -> Double {
        families.flatMap(\.samples).filter { sample in
            sample.name == name && labels.allSatisfy { sample[$0.key] == $0.value }
        }.reduce(0) { $0 + $1.value }
    }

    public init(parsing text: String) throws(PrometheusError) {
        try self.init(parsing: Array(text.utf8))
    }

    public init(parsing bytes: [UInt8]) throws(PrometheusError) {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw PrometheusError(line: 0, reason: "the page is not UTF-8")
        }
        guard bytes.last == UInt8(ascii: "\n") else {
            throw PrometheusError(line: 0, reason: "the last line does not end with a line feed")
        }
        var reader = Reader()
        for (index, line) in text.unicodeScalars.dropLast().split(
            separator: "\n", omittingEmptySubsequences: false
        ).enumerated() {
            reader.number = index + 1
            try reader.read(String(line))
        }
        families = try reader.finish()
    }

    /// What must not happen between an earlier page of the same worker and this one: a counter that went
    /// down, or a series of one that is gone.
    public func regressions(since earlier: PrometheusPage) -> [String] {
        var newest: [String: Double] = [:]
        for sample in families.flatMap(\.samples) { newest[sample.series] = sample.value }
        var found: [String] = []
        for family in earlier.families where family.kind == .counter || family.kind == .histogram {
            for sample in family.samples {
                guard let now = newest[sample.series] else {
                    found.append("\(sample.series) is gone")
                    continue
                }
                if now < sample.value {
                    found.append("\(sample.series) went from \(sample.value) to \(now)")
                }
            }
        }
        return found
    }
}

private struct Reader {
    var number = 0
    private var helps: [String: String] = [:]
    private var families: [PrometheusFamily] = []
    private var places: [String: Int] = [:]
    private var series: Set<String> = []

    private func error(_ reason: String) -> PrometheusError {
        PrometheusError(line: number, reason: reason)
    }

    mutating func read(_ line: String) throws(PrometheusError) {
        guard !line.isEmpty else { return }
        if line.hasPrefix("# HELP ") {
            try readHelp(line.dropFirst(7))
        } else if line.hasPrefix("# TYPE ") {
            try readType(line.dropFirst(7))
        } else if line.hasPrefix("#") {
            guard !line.hasPrefix("#HELP"), !line.hasPrefix("#TYPE") else {
                throw error("a blank is missing behind #")
            }
        } else {
            try readSample(line)
        }
    }

    private mutating func readHelp(_ rest: Substring) throws(PrometheusError) {
        guard let blank = rest.firstIndex(of: " ") else { throw error("HELP without a text") }
        let name = String(rest[..<blank])
        try checkName(name)
        guard helps[name] == nil else { throw error("a second HELP of \(name)") }
        guard places[name] == nil else { throw error("HELP of \(name) behind its TYPE") }
        helps[name] = try unescaped(rest[rest.index(after: blank)...], quotes: false)
    }

    private mutating func readType(_ rest: Substring) throws(PrometheusError) {
        let words = rest.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
        guard words.count == 2 else { throw error("TYPE needs a name and a type") }
        try checkName(words[0])
        guard let kind = PrometheusFamily.Kind(rawValue: words[1]) else {
            throw error("there is no type \(words[1])")
        }
        guard places[words[0]] == nil else { throw error("a second TYPE of \(words[0])") }
        guard let help = helps[words[0]] else {
            throw error("\(words[0]) has no HELP before its TYPE")
        }
        guard !help.isEmpty else { throw error("the HELP of \(words[0]) is empty") }
        guard kind != .counter || words[0].hasSuffix("_total") else {
            throw error("the counter \(words[0]) does not end in _total")
        }
        guard kind == .counter || !words[0].hasSuffix("_total") else {
            throw error("\(words[0]) ends in _total and is no counter")
        }
        places[words[0]] = families.count
        families.append(PrometheusFamily(name: words[0], help: help, kind: kind))
    }

    private mutating func readSample(_ line: String) throws(PrometheusError) {
        var rest = Substring(line)
        let name = String(rest.prefix { $0 != "{" && $0 != " " })
        try checkName(name)
        rest = rest.dropFirst(name.count)
        let labels = rest.hasPrefix("{") ? try readLabels(&rest) : []
        guard rest.hasPrefix(" ") else { throw error("a blank is missing before the value") }
        let sample = PrometheusSample(
            name: name, labels: labels, value: try value(String(rest.dropFirst())))
        let place = try place(of: name)
        guard place == families.count - 1 else {
            throw error("samples of \(families[place].name) stand apart from each other")
        }
        guard series.insert(sample.series).inserted else { throw error("\(sample.series) twice") }
        if families[place].kind == .counter, !(sample.value >= 0) || sample.value.isInfinite {
            throw error("the counter \(name) is \(sample.value)")
        }
        families[place].samples.append(sample)
    }

    /// The family that a sample belongs to by its name.
    private func place(of name: String) throws(PrometheusError) -> Int {
        if let place = places[name] {
            guard families[place].kind != .histogram else {
                throw error("\(name) is a histogram and has a sample of its own name")
            }
            return place
        }
        for suffix in ["_bucket", "_sum", "_count"] where name.hasSuffix(suffix) {
            if let place = places[String(name.dropLast(suffix.count))],
                families[place].kind == .histogram
            {
                return place
            }
        }
        throw error("\(name) has no TYPE before it")
    }

    private func readLabels(
        _ rest: inout Substring
    ) throws(PrometheusError) -> [PrometheusSample.Label] {
        var labels: [PrometheusSample.Label] = []
        rest = rest.dropFirst()
        while !rest.hasPrefix("}") {
            let name = String(rest.prefix { $0 != "=" && $0 != "}" && $0 != "," })
            guard isName(name, colons: false), !name.hasPrefix("__") else {
                throw error("\(name.debugDescription) is no name of a label")
            }
            guard !labels.contains(where: { $0.name == name }) else {
                throw error("the label \(name) twice")
            }
            rest = rest.dropFirst(name.count)
            guard rest.hasPrefix("=\"") else {
                throw error("=\" is missing behind the label \(name)")
            }
            // By scalars: a combining mark behind a quote is one character with it.
            let scalars = rest.unicodeScalars.dropFirst(2)
            var end = scalars.startIndex
            while end < scalars.endIndex, scalars[end] != "\"" {
                let step = scalars[end] == "\\" ? 2 : 1
                guard scalars.distance(from: end, to: scalars.endIndex) > step else {
                    throw error("the value of the label \(name) does not end")
                }
                end = scalars.index(end, offsetBy: step)
            }
            guard end < scalars.endIndex else {
                throw error("the value of the label \(name) does not end")
            }
            labels.append(
                PrometheusSample.Label(
                    name: name, value: try unescaped(Substring(scalars[..<end]), quotes: true)))
            rest = Substring(scalars[scalars.index(after: end)...])
            if rest.hasPrefix(",") {
                rest = rest.dropFirst()
            } else if !rest.hasPrefix("}") {
                throw error("neither , nor } behind the label \(name)")
            }
        }
        rest = rest.dropFirst()
        return labels
    }

    /// As Go's ParseFloat takes it, in the forms that the format names.
    private func value(_ text: String) throws(PrometheusError) -> Double {
        switch text {
        case "NaN": return .nan
        case "+Inf": return .infinity
        case "-Inf": return -.infinity
        default:
            let allowed = text.allSatisfy { $0.isASCII && ($0.isNumber || "+-.eE".contains($0)) }
            guard allowed, let value = Double(text), value.isFinite else {
                throw error("\(text.debugDescription) is no value")
            }
            return value
        }
    }

    private func unescaped(_ text: Substring, quotes: Bool) throws(PrometheusError) -> String {
        var result = String.UnicodeScalarView()
        var isEscaped = false
        for scalar in text.unicodeScalars {
            guard isEscaped else {
                if scalar == "\\" { isEscaped = true } else { result.append(scalar) }
                continue
            }
            switch scalar {
            case "\\": result.append("\\")
            case "n": result.append("\n")
            case "\"" where quotes: result.append("\"")
            default: throw error("\\\(scalar) is no escape")
            }
            isEscaped = false
        }
        guard !isEscaped else { throw error("a backslash at the end of a text") }
        return String(result)
    }

    private func checkName(_ name: String) throws(PrometheusError) {
        guard isName(name, colons: true) else {
            throw error("\(name.debugDescription) is no name of a metric")
        }
    }

    private func isName(_ name: String, colons: Bool) -> Bool {
        guard let first = name.unicodeScalars.first, !("0"..."9").contains(first) else {
            return false
        }
        return name.unicodeScalars.allSatisfy {
            ("a"..."z").contains($0) || ("A"..."Z").contains($0) || ("0"..."9").contains($0)
                || $0 == "_" || (colons && $0 == ":")
        }
    }

    func finish() throws(PrometheusError) -> [PrometheusFamily] {
        for name in helps.keys.sorted() where places[name] == nil {
            throw PrometheusError(line: 0, reason: "\(name) has HELP and no TYPE")
        }
        for family in families where family.kind == .histogram { try check(family) }
        return families
    }

    /// Every series of a histogram: buckets that grow, +Inf last and equal to the count, a sum.
    private func check(_ family: PrometheusFamily) throws(PrometheusError) {
        func fault(_ reason: String) -> PrometheusError {
            PrometheusError(line: 0, reason: "the histogram \(family.name) \(reason)")
        }
        var buckets: [Set<PrometheusSample.Label>: [(bound: Double, count: Double)]] = [:]
        var counts: [Set<PrometheusSample.Label>: Double] = [:]
        var sums: [Set<PrometheusSample.Label>: Double] = [:]
        for sample in family.samples {
            let key = Set(sample.labels.filter { $0.name != "le" })
            switch sample.name.dropFirst(family.name.count) {
            case "_bucket":
                guard let text = sample["le"] else { throw fault("has a bucket without le") }
                buckets[key, default: []].append((try value(text), sample.value))
            case "_count": counts[key] = sample.value
            default: sums[key] = sample.value
            }
            if !sample.name.hasSuffix("_bucket"), sample["le"] != nil {
                throw fault("has le outside of a bucket")
            }
        }
        for key in Set(buckets.keys).union(counts.keys).union(sums.keys) {
            guard let found = buckets[key] else { throw fault("has no buckets") }
            guard sums[key] != nil else { throw fault("has no sum") }
            guard let count = counts[key] else { throw fault("has no count") }
            for (a, b) in zip(found, found.dropFirst()) {
                guard a.bound < b.bound else { throw fault("has buckets out of order") }
                guard a.count <= b.count else { throw fault("has buckets that are not cumulative") }
            }
            guard found.last!.bound == .infinity else { throw fault("has no bucket +Inf") }
            guard found.last!.count == count else {
                throw fault("counts \(count), +Inf says otherwise")
            }
        }
    }
}
