// The features of every impression, computed again from the text of the log: dictionaries and Doubles,
// nothing of finetune's own. Slow, obvious, and what point-in-time is checked against.

import Bytes
import Foundation
import JSON

/// A second pass over one domain-log partition.
///
/// `lo(p) = ln(p / (1 - p))`; N and C are the labels and clicks over all domains, beginning with 5 and 1;
/// `p0 = C / N`; `rate(c, n, k) = min(.98, (c + k p0) / (n + k))`; R(i) = `lo(rate(c_i, n_i, 6)) - lo(p0)`
/// of an item over all domains, 0 without labels. When an `impression` stands in the log, its features
/// follow from the labels that stand before it:
///
/// - user_rate: `lo(rate)` of the user's matured counts in the record, 6, - lo(p0); user_log: `ln(1 + n) / 3`
/// - history_rate: mean of R over the history H
/// - content_rate: mean over the item's tokens of `lo(rate(tc, tn, 20)) - lo(p0)`
/// - taste: sum over the item's tokens of weight x ln((k + 1) / (|H| b + 1)), k = items of the history
///   that have the token, b = (tc + .5) / (C + 1), weight = 1 / sqrt(values of the token's field)
/// - match: the share of the query's words that are in the item's title or tags
/// - history x text: 4 (cosine of the item's vector with the sum of the history's - its mean so far);
///   query x text: the same of the query's vector; 0 where a vector is missing or of another encoder.
///   Vectors are rounded to whole numbers first: times min(127 / largest, 512 / length)
/// - item x user = R(i) user_rate, item x history = R(i) history_rate, in_history: whether i is in H
struct NaivePass {
    /// What a pass sees that it must not see: the control of the checker.
    enum Leak { case none, ownLabel }

    /// A value of a field. Counts are by bucket: two tokens that share one share their counts.
    private struct Token {
        var field: String
        var value: String
        var bucket: UInt32
    }

    private struct Counts {
        var impressions = 0.0
        var clicks = 0.0
    }

    private struct Vector {
        var encoder: String
        var numbers: [Double]
    }

    /// The mean of the cosines of one encoder, of which the newest 10,000 or so count.
    private struct Mean {
        var encoder = ""
        var count = 0.0
        var mean = 0.0

        /// What a cosine is above the mean before it, which it then moves.
        mutating func above(_ cosine: Double, _ encoder: String) -> Double {
            if encoder != self.encoder { self = Mean(encoder: encoder) }
            let above = count == 0 ? 0 : cosine - mean
            count = min(count + 1, 10_000)
            mean += (cosine - mean) / count
            return above
        }
    }

    private var all = Counts(impressions: 5, clicks: 1)
    private var items: [String: Counts] = [:]
    private var tokens: [UInt32: Counts] = [:]
    private var tokensOfItem: [String: [(token: Token, weight: Double)]] = [:]
    private var shown: [String: (item: String, domain: String, labeled: Bool, clicked: Bool)] = [:]
    private var texts: [String: String] = [:]
    private var itemVectors: [String: Vector] = [:]
    private var textVectors: [String: Vector] = [:]
    private var historyMean = Mean()
    private var queryMean = Mean()
    private var staged: [Int64: [(item: String, counts: Counts)]] = [:]
    private let partition: Int
    private let dimension: Int
    private let leak: Leak
    private let bucket: (_ field: String, _ value: String) -> UInt32
    /// The first label of each impression, for the leaking control alone.
    private var ownLabels: [String: Double] = [:]

    /// Features by impression id, in the order of the head's dense inputs.
    private(set) var features: [String: [Double]] = [:]

    /// - Parameter bucket: of a field's value.
    init(
        partition: Int = 0, dimension: Int = 384, leak: Leak = .none,
        bucket: @escaping (_ field: String, _ value: String) -> UInt32
    ) {
        self.partition = partition
        self.dimension = dimension
        self.bucket = bucket
        self.leak = leak
    }

    mutating func run(over records: [JSONValue]) {
        if leak == .ownLabel {
            for record in records where record["kind"]?.text == "label" {
                guard record["task"]?.text == "click", record["revision"]?.integer == 0 else {
                    continue
                }
                ownLabels[record["impression_id"]!.text!] = Double(record["value"]!.integer!)
            }
        }
        for record in records { take(record) }
    }

    private mutating func take(_ record: JSONValue) {
        switch record["kind"]!.text! {
        case "impression": show(record)
        case "label": settle(record)
        case "item": describe(record)
        case "text":
            let hash = record["hash"]!.text!
            texts[hash] = record["text"]!.text!
            if record["vector"] != nil { textVectors[hash] = vector(of: record) }
        case "prior": receive(record)
        default: break
        }
    }

    private mutating func show(_ record: JSONValue) {
        let id = record["impression_id"]!.text!
        guard shown[id] == nil else { return }
        let (item, domain) = (record["item_id"]!.text!, record["domain"]!.text!)
        if leak == .ownLabel, let label = ownLabels[id] {
            count(item, domain, impressions: 1, clicks: label)
            features[id] = features(of: record, item, domain)
            count(item, domain, impressions: -1, clicks: -label)
        } else {
            features[id] = features(of: record, item, domain)
        }
        shown[id] = (item, domain, false, false)
    }

    private mutating func settle(_ record: JSONValue) {
        let id = record["impression_id"]!.text!
        guard record["task"]!.text == "click", var kept = shown[id],
            kept.domain == record["domain"]!.text
        else { return }
        let value = Double(record["value"]!.integer!)
        if record["revision"]!.integer == 0, !kept.labeled {
            kept.labeled = true
            kept.clicked = value == 1
            count(kept.item, kept.domain, impressions: 1, clicks: value)
        } else if record["revision"]!.integer == 1, value == 1, kept.labeled, !kept.clicked {
            kept.clicked = true
            count(kept.item, kept.domain, impressions: 0, clicks: 1)
        }
        shown[id] = kept
    }

    private mutating func count(
        _ item: String, _ domain: String, impressions: Double, clicks: Double
    ) {
        all.impressions += impressions
        all.clicks += clicks
        countItem(item, impressions, clicks)
    }

    private mutating func countItem(_ item: String, _ impressions: Double, _ clicks: Double) {
        items[item, default: Counts()].impressions += impressions
        items[item]!.clicks += clicks
        for (token, _) in tokensOfItem[item] ?? [] {
            tokens[token.bucket, default: Counts()].impressions += impressions
            tokens[token.bucket]!.clicks += clicks
        }
    }

    /// Words of the title, tags, and the attributes that are texts or lists of texts: at most 16 values
    /// a field, 48 tokens.
    private mutating func describe(_ record: JSONValue) {
        itemVectors[record["item_id"]!.text!] = vector(of: record)
        guard record["deleted"]?.boolean != true else { return }
        let item = record["item_id"]!.text!
        var fields: [(String, [String])] = [
            ("title", words(record["title"]!.text!)),
            ("tags", (record["tags"]?.array ?? []).compactMap(\.text)),
        ]
        for member in record["attributes"]?.members ?? [] {
            let values =
                member.value.array?.compactMap(\.text) ?? member.value.text.map { [$0] } ?? []
            fields.append((member.name, values))
        }
        var list: [(token: Token, weight: Double)] = []
        for (field, values) in fields {
            var distinct: [String] = []
            for value in values
            where !distinct.contains(where: { bucket(field, $0) == bucket(field, value) }) {
                if distinct.count < 16, list.count + distinct.count < 48 { distinct.append(value) }
            }
            for value in distinct {
                list.append(
                    (
                        Token(field: field, value: value, bucket: bucket(field, value)),
                        1 / Double(distinct.count).squareRoot()
                    ))
            }
        }
        // An item's past goes where its tokens go.
        let past = items[item] ?? Counts()
        for (token, _) in tokensOfItem[item] ?? [] {
            tokens[token.bucket]!.impressions -= past.impressions
            tokens[token.bucket]!.clicks -= past.clicks
        }
        tokensOfItem[item] = list
        for (token, _) in list {
            tokens[token.bucket, default: Counts()].impressions += past.impressions
            tokens[token.bucket]!.clicks += past.clicks
        }
    }

    /// What another partition counted, once its set is complete.
    private mutating func receive(_ record: JSONValue) {
        let sender = record["sender"]!.integer!
        guard sender != Int64(partition) else { return }
        for entry in record["items"]?.array ?? [] {
            let entry = entry.array!
            staged[sender, default: []].append(
                (
                    entry[0].text!,
                    Counts(impressions: entry[1].double!, clicks: entry[2].double!)
                ))
        }
        guard record["block"]!.integer! == record["blocks"]!.integer! - 1 else { return }
        for (item, counts) in staged.removeValue(forKey: sender) ?? [] {
            countItem(item, counts.impressions, counts.clicks)
        }
        all.impressions += record["impressions"]?.double ?? 0
        all.clicks += record["clicks"]?.double ?? 0
    }

    // Formulas

    private func words(_ text: String) -> [String] {
        text.split { $0.isASCII && !$0.isLetter && !$0.isNumber }.map { $0.lowercased() }
    }

    private func lo(_ p: Double) -> Double { log(p / (1 - p)) }

    private func rate(_ counts: Counts, _ strength: Double, towards mean: Double) -> Double {
        min(0.98, (counts.clicks + strength * mean) / (counts.impressions + strength))
    }

    private func match(_ query: String?, _ item: String) -> Double {
        guard let query, let text = texts[query] else { return 0 }
        let words = words(text)
        let known = (tokensOfItem[item] ?? []).filter {
            $0.token.field == "title" || $0.token.field == "tags"
        }.map(\.token.bucket)
        guard !words.isEmpty else { return 0 }
        let found = words.filter {
            known.contains(bucket("title", $0)) || known.contains(bucket("tags", $0))
        }
        return Double(found.count) / Double(words.count)
    }

    private func itemRate(_ item: String, _ p0: Double) -> Double {
        guard let counts = items[item], counts.impressions > 0 else { return 0 }
        return lo(rate(counts, 6, towards: p0)) - lo(p0)
    }

    private func vector(of record: JSONValue) -> Vector? {
        guard let text = record["vector"]?.text, let bytes = Data(base64Encoded: text),
            record["deleted"]?.boolean != true
        else { return nil }
        let values = stride(from: 0, to: bytes.count, by: 2).map {
            Double(HalfPrecision.value(of: UInt16(bytes[$0]) | UInt16(bytes[$0 + 1]) << 8))
        }
        guard values.count == dimension else { return nil }
        let largest = values.map(abs).max()!
        let length = values.reduce(0) { $0 + $1 * $1 }.squareRoot()
        // Single precision, like the vectors: what lies halfway must go the same way.
        let scale = length > 0 ? min(127 / Float(largest), 512 / Float(length)) : 0
        return Vector(
            encoder: record["encoder"]!.text!,
            numbers: values.map { Double((Float($0) * scale).rounded(.toNearestOrEven)) })
    }

    private func cosine(_ a: [Double], _ b: [Double]) -> Double? {
        func product(_ a: [Double], _ b: [Double]) -> Double {
            zip(a, b).reduce(0) { $0 + $1.0 * $1.1 }
        }
        let lengths = (product(a, a) * product(b, b)).squareRoot()
        return lengths > 0 ? product(a, b) / lengths : nil
    }

    private mutating func historyCosine(_ history: [String], _ item: String) -> Double {
        guard let own = itemVectors[item] else { return 0 }
        let others = history.compactMap { itemVectors[$0] }.filter { $0.encoder == own.encoder }
        guard let first = others.first else { return 0 }
        let sum = others.dropFirst().reduce(first.numbers) { zip($0, $1.numbers).map { $0 + $1 } }
        guard let cosine = cosine(sum, own.numbers) else { return 0 }
        return 4 * historyMean.above(cosine, own.encoder)
    }

    private mutating func queryCosine(_ query: String?, _ item: String) -> Double {
        guard let query, let own = itemVectors[item], let asked = textVectors[query],
            asked.encoder == own.encoder, let cosine = cosine(asked.numbers, own.numbers)
        else { return 0 }
        return 4 * queryMean.above(cosine, own.encoder)
    }

    private mutating func features(
        of record: JSONValue, _ item: String, _ domain: String
    ) -> [Double] {
        let p0 = all.clicks / all.impressions
        let user = Counts(
            impressions: record["user_impressions"]!.double!,
            clicks: record["user_clicks"]!.double!)
        let itemRate = itemRate(item, p0)
        let userRate = lo(rate(user, 6, towards: p0)) - lo(p0)
        let history = (record["history"]?.array ?? []).map { $0.text! }
        var historyRate = 0.0
        for other in history { historyRate += self.itemRate(other, p0) }
        if !history.isEmpty { historyRate /= Double(history.count) }
        var content = 0.0
        var taste = 0.0
        let list = tokensOfItem[item] ?? []
        for (token, weight) in list {
            let counts = tokens[token.bucket] ?? Counts()
            content += lo(rate(counts, 20, towards: p0)) - lo(p0)
            guard !history.isEmpty else { continue }
            var times = 0.0
            for other in history {
                if (tokensOfItem[other] ?? []).contains(where: { $0.token.bucket == token.bucket })
                {
                    times += 1
                }
            }
            let share = (counts.clicks + 0.5) / (all.clicks + 1)
            taste += weight * log((times + 1) / (Double(history.count) * share + 1))
        }
        if !list.isEmpty { content /= Double(list.count) }
        return [
            userRate, log(1 + user.impressions) / 3, historyRate, content, taste,
            match(record["query"]?.text, item), historyCosine(history, item),
            queryCosine(record["query"]?.text, item), itemRate * userRate, itemRate * historyRate,
            history.contains(item) ? 1 : 0,
        ]
    }
}
