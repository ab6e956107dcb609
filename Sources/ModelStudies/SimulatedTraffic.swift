// A folder of `coldstream simulate` as labeled examples, so the network can be studied where the truth
// of the texts is known.

import Bytes
import DeterministicMath
import JSON
import LineFiles
import RankingModel

/// The impressions of a simulation in log order, clicked or not, with what was known of the user then.
///
/// Item fields: tags. User fields: level of the past click rate, tags of the history. Context: position.
/// Labels are clicks at any later time: the study is about what texts are worth, not about delay.
public struct SimulatedTraffic {
    public var examples: ExampleSet
    public var domainNames: [String]
    public var itemTexts: [[UInt8]?]
    public var queryTexts: [[UInt8]?]

    static let historyLength = 20
    static let positions = 32

    private struct Shown {
        var time: Int64
        var domain: String
        var user: String
        var item: String
        var query: String
        var request: String
        var position: Int32
    }

    /// Reads `folder`/catalog.jsonl and events.jsonl or events.jsonl.gz.
    public init(_ folder: String) throws {
        let catalog = try Self.readCatalog(folder + "/catalog.jsonl")
        var rows: [Shown] = []
        var labels: [Float] = []
        /// Log order: a row shown, or the row that was clicked.
        var order: [(row: Int, isClick: Bool)] = []
        var byIdentity: [String: Int] = [:]
        var byImpressionAndItem: [String: Int] = [:]
        var byRequest: [String: Int] = [:]
        let compressed = folder + "/events.jsonl.gz"
        let plain = folder + "/events.jsonl"
        var reader = try (try? LineReader.open(compressed)) ?? LineReader.open(plain)
        while let line = try reader.next() {
            guard let json = try? JSONValue(parsing: line.bytes) else { continue }
            func text(_ name: String) -> String { json[name]?.text ?? "" }
            switch json["type"]?.text {
            case "impression":
                let identity = json["impression_id"]?.text ?? text("id")
                func show(_ item: JSONValue, _ identity: String) {
                    guard let name = item["item_id"]?.text, byIdentity[identity] == nil else {
                        return
                    }
                    let row = rows.count
                    rows.append(
                        Shown(
                            time: json["time_ms"]?.integer ?? 0, domain: text("domain"),
                            user: text("user_id"), item: name, query: text("query"),
                            request: text("request_id"),
                            position: Int32(
                                min(
                                    Int64(Self.positions - 1),
                                    max(0, (item["position"]?.integer ?? 1) - 1)))))
                    labels.append(0)
                    byIdentity[identity] = row
                    byImpressionAndItem[(json["impression_id"]?.text ?? text("id")) + "/" + name] =
                        row
                    if let request = json["request_id"]?.text {
                        byRequest[request + "/" + name] = row
                    }
                    order.append((row, false))
                }
                if let items = json["items"]?.array {
                    for item in items {
                        show(item, "\(identity)#\(item["position"]?.integer ?? 0)")
                    }
                } else {
                    show(json, identity)
                }
            case "click":
                // By the impression itself, by its slate and item, or by request and item.
                let impression = text("impression_id")
                let row =
                    byIdentity[impression]
                    ?? byImpressionAndItem[impression + "/" + text("item_id")]
                    ?? byRequest[text("request_id") + "/" + text("item_id")]
                if let row, labels[row] == 0 {
                    labels[row] = 1
                    order.append((row, true))
                }
            default: break
            }
        }
        guard !rows.isEmpty else { throw StudyError("\(folder) holds no impression") }
        (examples, domainNames, itemTexts, queryTexts) = Self.examples(
            rows, labels, order, catalog)
    }

    private struct Item {
        var text: [UInt8]
        var tags: [String]
    }

    private static func readCatalog(_ path: String) throws -> [String: Item] {
        var reader = try LineReader.open(path)
        var items: [String: Item] = [:]
        while let line = try reader.next() {
            let json = try JSONValue(parsing: line.bytes)
            guard let item = json["item_id"]?.text, let title = json["title"]?.text else {
                continue
            }
            items[item] = Item(
                text: Array("\(title). \(json["description"]?.text ?? "")".utf8),
                tags: json["tags"]?.array?.compactMap(\.text) ?? [])
        }
        return items
    }

    private static func examples(
        _ rows: [Shown], _ labels: [Float], _ order: [(row: Int, isClick: Bool)],
        _ catalog: [String: Item]
    ) -> (ExampleSet, [String], [[UInt8]?], [[UInt8]?]) {
        let names = Set(rows.map(\.domain)).sorted()
        let domains = numbers(names, from: 0)
        let users = numbers(rows.map(\.user), from: 1)
        let items = numbers(rows.map(\.item), from: 1)
        let queries = numbers(rows.map(\.query).filter { !$0.isEmpty }, from: 1)
        let requests = numbers(rows.map(\.request), from: 0)
        let tags = numbers(rows.flatMap { catalog[$0.item]?.tags ?? [] }, from: 0)
        var itemTexts = [[UInt8]?](repeating: nil, count: items.count + 1)
        var tagsOf = [[Int32]](repeating: [], count: items.count + 1)
        for (name, id) in items {
            itemTexts[Int(id)] = catalog[name]?.text
            tagsOf[Int(id)] = Set((catalog[name]?.tags ?? []).compactMap { tags[$0] }).sorted()
        }
        var queryTexts = [[UInt8]?](repeating: nil, count: queries.count + 1)
        for (name, id) in queries { queryTexts[Int(id)] = Array(name.utf8) }

        var c = ModelConfiguration(M: names.count)
        (c.n_user, c.n_item, c.n_query) = (users.count + 1, items.count + 1, queries.count + 1)
        c.item_sparse = [ModelConfiguration.Field("tags", tags.count)]
        c.user_sparse = [
            ModelConfiguration.Field("past_ctr", 7),
            ModelConfiguration.Field("hist_tags", tags.count),
        ]
        c.ctx = [ModelConfiguration.Field("position", positions)]
        c.n_dense = 3
        var set = ExampleSet(c)
        var bags = Bags()
        for list in tagsOf {
            bags.ids.append(contentsOf: list)
            bags.close()
        }
        set.itemFields = [bags]
        set.context = [rows.map(\.position)]
        for (row, label) in zip(rows, labels) {
            set.domain.append(domains[row.domain]!)
            set.user.append(users[row.user]!)
            set.item.append(items[row.item]!)
            let query = row.query.isEmpty ? 0 : queries[row.query]!
            set.query.append(query)
            set.queryPresent.append(query > 0)
            set.request.append(requests[row.request]!)
            set.time.append(row.time)
            set.labels.append(label)
        }
        // What was known when a request's first item was shown.
        var known = [(shown: Int, clicks: [Int32])](
            repeating: (0, []), count: users.count + 1)
        var histories = [[Int32]?](repeating: nil, count: requests.count)
        var rates = [Int32](repeating: 0, count: requests.count)
        for (row, isClick) in order {
            let user = Int(set.user[row])
            if isClick {
                known[user].clicks.append(set.item[row])
                continue
            }
            let request = Int(set.request[row])
            if histories[request] == nil {
                histories[request] = known[user].clicks.suffix(historyLength).reversed()
                rates[request] = RankLens.rateBucket(known[user].clicks.count, known[user].shown)
            }
            known[user].shown += 1
        }
        set.userFields = [Bags(), Bags()]
        for (history, rate) in zip(histories, rates) {
            let history = history ?? []
            set.histories.ids.append(contentsOf: history)
            set.histories.close()
            set.userFields[0].ids.append(rate)
            set.userFields[0].close()
            set.userFields[1].ids.append(contentsOf: history.flatMap { tagsOf[Int($0)] })
            set.userFields[1].close()
        }
        for row in rows.indices {
            let n = histories[Int(set.request[row])]?.count ?? 0
            set.dense.append(contentsOf: [0, 0, Float(Math.log1p(Double(n)) / 3)])
        }
        return (set, names, itemTexts, queryTexts)
    }

    private static func numbers(_ names: [String], from first: Int32) -> [String: Int32] {
        var numbers: [String: Int32] = [:]
        for name in Set(names).sorted() { numbers[name] = first + Int32(numbers.count) }
        return numbers
    }
}
