// The features of every impression, computed again from the text of the log: dictionaries and Doubles,
// nothing of finetune's own. Slow, obvious, and what point-in-time is checked against.

import Foundation
import JSON

/// A second pass over one domain-log partition.
///
/// `lo(p) = ln(p / (1 - p))`; N and C are the labels and clicks over all domains, beginning with 5 and 1;
/// `p0 = C / N`; `rate(c, n, k, m) = min(.98, (c + k m) / (n + k))`. When an `impression` stands in the
/// log, its features follow from the labels that stand before it:
///
/// - item_rate R(i): `lo(rate(c_i, n_i, 6, p0)) - lo(p0)` over all domains, 0 without labels
/// - user_rate: the same of the user's matured counts in the record
/// - item_log, user_log: `ln(1 + n) / 3`
/// - item_domain: `lo(rate of the cell (item, domain), 6, towards the item's rate) - lo(the item's rate)`
/// - history_rate: mean of R over the history; in_history: whether the item is in it
/// - content_rate: mean over the item's tokens of `lo(rate(tc, tn, 20, p0)) - lo(p0)`
/// - taste: sum over the item's tokens of weight x ln((k + 1) / (|H| b + 1)), k = items of the history
///   that have the token, b = (tc + .5) / (C + 1), weight = 1 / sqrt(values of the token's field)
struct NaivePass {
    /// What a pass sees that it must not see: the control of the checker.
    enum Leak { case none, ownLabel }

    struct Token: Hashable {
        var field: String
        var value: String
    }

    private struct Counts {
        var impressions = 0.0
        var clicks = 0.0
    }

    private var all = Counts(impressions: 5, clicks: 1)
    private var items: [String: Counts] = [:]
    private var cells: [String: Counts] = [:]
    private var tokens: [Token: Counts] = [:]
    private var tokensOfItem: [String: [(token: Token, weight: Double)]] = [:]
    private var shown: [String: (item: String, domain: String, labeled: Bool, clicked: Bool)] = [:]
    private var staged: [Int64: [(item: String, counts: Counts)]] = [:]
    private let partition: Int
    private let leak: Leak
    /// The first label of each impression, for the leaking control alone.
    private var ownLabels: [String: Double] = [:]

    /// Features by impression id, in the order of the head's dense inputs.
    private(set) var features: [String: [Double]] = [:]

    init(partition: Int = 0, leak: Leak = .none) {
        self.partition = partition
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
        cells["\(domain) \(item)", default: Counts()].impressions += impressions
        cells["\(domain) \(item)"]!.clicks += clicks
        countItem(item, impressions, clicks)
    }

    private mutating func countItem(_ item: String, _ impressions: Double, _ clicks: Double) {
        items[item, default: Counts()].impressions += impressions
        items[item]!.clicks += clicks
        for (token, _) in tokensOfItem[item] ?? [] {
            tokens[token, default: Counts()].impressions += impressions
            tokens[token]!.clicks += clicks
        }
    }

    /// Tags and the attributes that are texts or lists of texts: at most 16 values a field, 40 tokens.
    private mutating func describe(_ record: JSONValue) {
        guard record["deleted"]?.boolean != true else { return }
        let item = record["item_id"]!.text!
        var fields: [(String, [String])] = [
            ("tags", (record["tags"]?.array ?? []).compactMap(\.text))
        ]
        for member in record["attributes"]?.members ?? [] {
            let values =
                member.value.array?.compactMap(\.text) ?? member.value.text.map { [$0] } ?? []
            fields.append((member.name, values))
        }
        var list: [(token: Token, weight: Double)] = []
        for (field, values) in fields {
            var distinct: [String] = []
            for value in values.prefix(16) where !distinct.contains(value) {
                if list.count + distinct.count < 40 { distinct.append(value) }
            }
            for value in distinct {
                list.append(
                    (Token(field: field, value: value), 1 / Double(distinct.count).squareRoot()))
            }
        }
        // An item's past goes where its tokens go.
        let past = items[item] ?? Counts()
        for (token, _) in tokensOfItem[item] ?? [] {
            tokens[token]!.impressions -= past.impressions
            tokens[token]!.clicks -= past.clicks
        }
        tokensOfItem[item] = list
        for (token, _) in list {
            tokens[token, default: Counts()].impressions += past.impressions
            tokens[token]!.clicks += past.clicks
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

    private func lo(_ p: Double) -> Double { log(p / (1 - p)) }

    private func rate(_ counts: Counts, _ strength: Double, towards mean: Double) -> Double {
        min(0.98, (counts.clicks + strength * mean) / (counts.impressions + strength))
    }

    private func itemRate(_ item: String, _ p0: Double) -> Double {
        guard let counts = items[item], counts.impressions > 0 else { return 0 }
        return lo(rate(counts, 6, towards: p0)) - lo(p0)
    }

    private func features(of record: JSONValue, _ item: String, _ domain: String) -> [Double] {
        let p0 = all.clicks / all.impressions
        let own = items[item] ?? Counts()
        let user = Counts(
            impressions: record["user_impressions"]!.double!,
            clicks: record["user_clicks"]!.double!)
        let itemRate = itemRate(item, p0)
        let userRate = lo(rate(user, 6, towards: p0)) - lo(p0)
        let history = (record["history"]?.array ?? []).map { $0.text! }
        var historyRate = 0.0
        for other in history { historyRate += self.itemRate(other, p0) }
        if !history.isEmpty { historyRate /= Double(history.count) }
        var deviation = 0.0
        if let cell = cells["\(domain) \(item)"], cell.impressions > 0 {
            let mean = rate(own, 6, towards: p0)
            deviation = lo(rate(cell, 6, towards: mean)) - lo(mean)
        }
        var content = 0.0
        var taste = 0.0
        let list = tokensOfItem[item] ?? []
        for (token, weight) in list {
            let counts = tokens[token] ?? Counts()
            content += lo(rate(counts, 20, towards: p0)) - lo(p0)
            guard !history.isEmpty else { continue }
            var times = 0.0
            for other in history {
                if (tokensOfItem[other] ?? []).contains(where: { $0.token == token }) { times += 1 }
            }
            let share = (counts.clicks + 0.5) / (all.clicks + 1)
            taste += weight * log((times + 1) / (Double(history.count) * share + 1))
        }
        if !list.isEmpty { content /= Double(list.count) }
        return [
            itemRate, userRate, log(1 + own.impressions) / 3, log(1 + user.impressions) / 3,
            deviation, itemRate * userRate, historyRate, itemRate * historyRate,
            history.contains(item) ? 1 : 0, content, taste,
        ]
    }
}
