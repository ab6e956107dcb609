// examples.jsonl as a table of predictions and labels: what all exact figures are computed from.

import Bytes
import DeterministicMath
import JSON
import Statistics

/// One labeled impression.
struct ExampleRow {
    /// Of the impression, milliseconds.
    var time: Int64
    /// Probability predicted when the item was shown.
    var prediction: Double
    /// Of the request in its domain, else of the user.
    var group: UInt64
    /// Hash of its id.
    var impression: UInt64
    /// How many examples it stands for: 1 over the share of those like it that is in the file.
    var weight: Double
    var domain: Int32
    /// Of the highest revision.
    var isClicked: Bool
}

/// All examples of the task click: the prediction of revision 0, the label of the highest revision.
public struct ExampleTable {
    /// In order of time, equal times in the order of the file.
    let rows: [ExampleRow]
    /// Sorted; `ExampleRow.domain` counts in it.
    public let domains: [String]
    public let corrections: Int
    /// Corrections whose impression is not in the file.
    public let strayCorrections: Int

    public var count: Int { rows.count }

    static func hash(ofImpression id: ByteSlice) -> UInt64 { Hash128(id, seed: 1).low }

    /// Reads `examples.jsonl` of a folder; nil where there is none.
    public init?(folder: String) throws {
        var reading = Reading()
        guard try JSONLines.forEach(folder + "/examples.jsonl", { try reading.take($0) }) else {
            return nil
        }
        self.init(reading)
    }

    private init(_ reading: Reading) {
        var rows = reading.rows
        var stray = 0
        if !reading.corrections.isEmpty {
            var found = 0
            for i in rows.indices {
                let key = Reading.Key(domain: rows[i].domain, impression: rows[i].impression)
                guard let correction = reading.corrections[key] else { continue }
                found += 1
                rows[i].isClicked = correction.isClicked
                rows[i].weight = correction.weight
            }
            stray = reading.corrections.count - found
        }
        let order = reading.names.indices.sorted { reading.names[$0] < reading.names[$1] }
        var number = [Int32](repeating: 0, count: order.count)
        for (new, old) in order.enumerated() { number[old] = Int32(new) }
        for i in rows.indices { rows[i].domain = number[Int(rows[i].domain)] }
        let byTime = rows.indices.sorted { (rows[$0].time, $0) < (rows[$1].time, $1) }
        self.rows = byTime.map { rows[$0] }
        domains = order.map { reading.names[$0] }
        corrections = reading.corrections.count
        strayCorrections = stray
    }

    private struct Reading {
        var rows: [ExampleRow] = []
        var names: [String] = []
        var numbers: [String: Int32] = [:]
        var corrections: [Key: (revision: Int64, isClicked: Bool, weight: Double)] = [:]

        struct Key: Hashable {
            let domain: Int32
            let impression: UInt64
        }

        mutating func take(_ batch: JSONView) throws {
            guard let name = batch.member("domain")?.text, let list = batch.member("examples")
            else {
                throw ReportError("examples.jsonl: a line has no domain or no examples")
            }
            let domain = number(of: name.text)
            for example in list.elements { take(example, domain) }
        }

        private mutating func number(of name: String) -> Int32 {
            if let number = numbers[name] { return number }
            let number = Int32(names.count)
            names.append(name)
            numbers[name] = number
            return number
        }

        private mutating func take(_ example: JSONView, _ domain: Int32) {
            var (impression, request, user) = (ByteSlice.empty, ByteSlice.empty, ByteSlice.empty)
            var (time, revision, label) = (Int64(0), Int64(0), Int64(0))
            var (prediction, share) = (0.0, 1.0)
            var isClick = false
            for (name, value) in example.members {
                if name.equals("impression_id") {
                    impression = value.text ?? .empty
                } else if name.equals("request_id") {
                    request = value.text ?? .empty
                } else if name.equals("user") {
                    user = value.text ?? .empty
                } else if name.equals("time_ms") {
                    time = value.integer ?? 0
                } else if name.equals("revision") {
                    revision = value.integer ?? 0
                } else if name.equals("label") {
                    label = value.integer ?? 0
                } else if name.equals("prediction") {
                    prediction = value.double ?? 0
                } else if name.equals("kept_share") {
                    share = value.double ?? 1
                } else if name.equals("task") {
                    isClick = value.text?.equals("click") ?? false
                }
            }
            guard isClick else { return }
            let place = UInt64(domain) &+ 1
            let id = ExampleTable.hash(ofImpression: impression)
            let weight = share > 0 ? 1 / share : 1
            if revision > 0 {
                let key = Key(domain: domain, impression: id)
                let known = corrections[key]?.revision ?? 0
                if revision > known { corrections[key] = (revision, label == 1, weight) }
                return
            }
            rows.append(
                ExampleRow(
                    time: time, prediction: prediction,
                    group: request.isEmpty
                        ? Hash128(user, seed: place | 1 << 33).low
                        : Hash128(request, seed: place | 1 << 32).low,
                    impression: id, weight: weight, domain: domain,
                    isClicked: label == 1))
        }
    }
}

/// Exact quality of some examples.
public struct ExactQuality: Equatable, Sendable {
    public var examples = 0
    public var positives = 0
    public var auc: Double?
    /// Mean AUC of requests (else users) by their sizes; those of one class are left out.
    public var gauc: Double?
    public var logLoss: Double?
    /// Mean prediction over observed rate.
    public var calibration: Double?

    public init() {}

    init(_ rows: some RandomAccessCollection<ExampleRow>) {
        examples = rows.count
        let labels = rows.map(\.isClicked)
        let predictions = rows.map(\.prediction)
        var (predicted, clicked, loss, weight) = (0.0, 0.0, 0.0, 0.0)
        for row in rows {
            let held = min(max(row.prediction, 1e-15), 1 - 1e-15)
            weight += row.weight
            predicted += row.weight * row.prediction
            if row.isClicked {
                positives += 1
                clicked += row.weight
                loss -= row.weight * Math.log(held)
            } else {
                loss -= row.weight * Math.log1p(-held)
            }
        }
        auc = RankingQuality.auc(predictions: predictions, labels: labels)
        gauc = ExactQuality.groupedAUC(rows)
        if weight > 0 { logLoss = loss / weight }
        if clicked > 0 { calibration = predicted / clicked }
    }

    private static func groupedAUC(_ rows: some RandomAccessCollection<ExampleRow>) -> Double? {
        let sorted = rows.sorted { $0.group < $1.group }
        var sum = GroupedAUC()
        var start = 0
        while start < sorted.count {
            var end = start + 1
            while end < sorted.count, sorted[end].group == sorted[start].group { end += 1 }
            let group = sorted[start..<end]
            sum.add(predictions: group.map(\.prediction), labels: group.map(\.isClicked))
            start = end
        }
        return sum.value
    }
}

extension ExampleTable {
    /// What a table of rows comes to: the whole of it, and its first fifth by time.
    public struct Summary: Sendable {
        public var domain: String?
        public var whole: ExactQuality
        public var firstFifth: ExactQuality
    }

    /// Over all domains.
    public var overall: Summary { summary(rows, domain: nil) }

    /// Of each domain, sorted by name.
    public var byDomain: [Summary] {
        domains.indices.map { domain in
            summary(rows.filter { $0.domain == Int32(domain) }, domain: domains[domain])
        }
    }

    private func summary(_ rows: [ExampleRow], domain: String?) -> Summary {
        Summary(
            domain: domain, whole: ExactQuality(rows),
            firstFifth: ExactQuality(rows.prefix(rows.count / 5)))
    }
}
