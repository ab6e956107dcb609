// Quality recomputed from the records of `examples`, as anyone could.

import Bytes
import Contracts
import JSON
import Statistics
import Streams

/// The predictions of a run with what became of them, in the order of their first labels.
struct Prequential {
    struct Prediction {
        var domain: Int
        var group: Hash128
        var probability: Double
        var clicked: Bool
    }

    private(set) var predictions: [Prediction] = []
    private var places: [Hash128: Int] = [:]
    private var domains: [String: Int] = [:]
    private var next: Int64 = 0

    /// Takes what `examples` has beyond what was taken; `keepsLog` false: and removes it there.
    mutating func drain(_ log: MemoryLog, keepsLog: Bool = true) throws {
        var batches: [JSONValue] = []
        next = try log.read(Topic.examples, partition: 0, from: next) { record in
            batches.append(try JSONValue(parsing: record.value!))
        }
        for batch in batches { take(batch) }
        if !keepsLog { try log.trim(Topic.examples, partition: 0, before: next) }
    }

    mutating func take(_ batch: JSONValue) {
        let name = batch["domain"]!.text!
        let domain = domains[name] ?? domains.count
        domains[name] = domain
        for example in batch["examples"]!.array! {
            let id = Array(example["impression_id"]!.text!.utf8).lend { Hash128($0) }
            if example["revision"]!.integer == 1 {
                predictions[places[id]!].clicked = true
                continue
            }
            let group = example["request_id"]?.text ?? example["user"]!.text!
            places[id] = predictions.count
            predictions.append(
                Prediction(
                    domain: domain,
                    group: Array(group.utf8).lend { Hash128($0, seed: UInt64(domain)) },
                    probability: example["prediction"]!.double!,
                    clicked: example["label"]!.integer == 1))
        }
    }

    func of(_ domain: String) -> [Prediction] {
        predictions.filter { $0.domain == domains[domain] }
    }

    static func auc(_ predictions: some Collection<Prediction>) -> Double {
        RankingQuality.auc(
            predictions: predictions.map(\.probability), labels: predictions.map(\.clicked)) ?? .nan
    }

    /// The AUC within each request (else user) of a domain, averaged by their sizes.
    static func gauc(_ predictions: some Collection<Prediction>) -> Double {
        var groups: [Hash128: [Prediction]] = [:]
        for prediction in predictions { groups[prediction.group, default: []].append(prediction) }
        var (sum, size) = (0.0, 0)
        // A sum in an order of its own would differ from run to run in its last digits.
        for key in groups.keys.sorted(by: { ($0.high, $0.low) < ($1.high, $1.low) }) {
            let group = groups[key]!
            let value = auc(group)
            guard !value.isNaN else { continue }
            sum += value * Double(group.count)
            size += group.count
        }
        return sum / Double(size)
    }

    /// Mean prediction over observed rate.
    static func calibration(_ predictions: some Collection<Prediction>) -> Double {
        predictions.reduce(0) { $0 + $1.probability }
            / Double(predictions.reduce(0) { $0 + ($1.clicked ? 1 : 0) })
    }

    static func firstFifth(_ predictions: [Prediction]) -> ArraySlice<Prediction> {
        predictions.prefix(predictions.count / 5)
    }
}
