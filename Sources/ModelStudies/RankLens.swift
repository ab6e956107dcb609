// RankLens as labeled examples: features known at the impression's time, as the reference prepares them.

import Bytes
import DeterministicMath
import JSON
import LineFiles
import RankingModel
import Tensors

/// A data set that cannot be read.
public struct StudyError: Error, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}

/// The RankLens log, in time order, with its features.
public struct RankLens {
    public var examples: ExampleSet
    public var domainNames: [String]
    /// Position in the list of each row, from 0.
    public var position: [Int32]
    public var lists: Int
    /// UTF-8 of title and description by item id, of the topic by query id; nil = none.
    public var itemTexts: [[UInt8]?]
    public var queryTexts: [[UInt8]?]

    /// How many clicked items a history holds.
    static let historyLength = 20
    /// A list's clicks are known this long after it was shown, in milliseconds.
    static let clickDelay: Int64 = 5000

    private struct Event {
        var time: Int64
        var list: Int32
        var position: Int32
        var user: String
        var item: String
        var isClick: Bool
        var query: String
        var domain: String
    }

    private struct Film {
        var genres: [String] = []
        var tags: [String] = []
        var people: [String] = []
        var year: [String] = []
        var text: [UInt8] = []
    }

    /// Reads `folder`/events.csv.gz and items.jsonl; the examples have no text vectors ("text none").
    public init(_ folder: String) throws {
        let (events, listCount) = try Self.readEvents(folder + "/events.csv.gz")
        let films = try Self.readFilms(folder + "/items.jsonl")
        lists = listCount
        domainNames = Set(events.map(\.domain)).sorted(by: Self.bytewise)
        let users = Self.numbers(events.map(\.user), from: 1)
        let items = Self.numbers(events.map(\.item), from: 1)
        let queries = Self.numbers(events.map(\.query).filter { !$0.isEmpty }, from: 1)
        let domains = Self.numbers(events.map(\.domain), from: 0)

        var shown = [Film?](repeating: nil, count: items.count + 1)
        for (name, number) in items { shown[Int(number)] = films[name] }
        itemTexts = shown.map { $0?.text }
        queryTexts = Array(repeating: nil, count: queries.count + 1)
        for (name, number) in queries { queryTexts[Int(number)] = Array(name.utf8) }
        let fields: [(String, (Film) -> [String], Int)] = [
            ("genres", \.genres, 1), ("tags", \.tags, 2), ("people", \.people, 2),
            ("year", \.year, 1),
        ]
        var bags: [Bags] = []
        var itemFields: [ModelConfiguration.Field] = []
        for (name, values, least) in fields {
            var counts: [String: Int] = [:]
            for film in shown.compactMap({ $0 }) {
                for value in Set(values(film)) { counts[value, default: 0] += 1 }
            }
            let kept = Self.numbers(counts.filter { $0.value >= least }.map(\.key), from: 0)
            var field = Bags()
            for film in shown {
                let ids = Set((film.map(values) ?? []).compactMap { kept[$0] })
                field.ids.append(contentsOf: ids.sorted())
                field.close()
            }
            bags.append(field)
            itemFields.append(ModelConfiguration.Field(name, kept.count))
        }

        var c = ModelConfiguration(M: domainNames.count)
        (c.n_user, c.n_item, c.n_query) = (users.count + 1, items.count + 1, queries.count + 1)
        c.item_sparse = itemFields
        c.user_sparse = [
            ModelConfiguration.Field("past_ctr", 7),
            ModelConfiguration.Field("hist_genres", itemFields[0].rows),
        ]
        c.ctx = [ModelConfiguration.Field("position", 24)]
        c.n_dense = 3
        var set = ExampleSet(c)
        set.itemFields = bags
        set.context = [[]]
        position = []
        for event in events {
            set.domain.append(domains[event.domain]!)
            set.user.append(users[event.user]!)
            set.item.append(items[event.item]!)
            let query = event.query.isEmpty ? 0 : queries[event.query]!
            set.query.append(query)
            set.queryPresent.append(query > 0)
            set.request.append(event.list)
            set.time.append(event.time)
            set.labels.append(event.isClick ? 1 : 0)
            set.context[0].append(event.position)
            position.append(event.position)
        }
        examples = set
        addHistories(genres: bags[0])
    }

    /// Numbers in byte order of the distinct names.
    private static func numbers(_ names: [String], from first: Int32) -> [String: Int32] {
        var numbers: [String: Int32] = [:]
        for name in Set(names).sorted(by: bytewise) {
            numbers[name] = first + Int32(numbers.count)
        }
        return numbers
    }

    private static func bytewise(_ a: String, _ b: String) -> Bool {
        a.utf8.lexicographicallyPrecedes(b.utf8)
    }

    private static func readEvents(_ path: String) throws -> ([Event], Int) {
        var reader = try LineReader.open(path)
        var events: [Event] = []
        var lists: [String: Int32] = [:]
        _ = try reader.next()
        while let line = try reader.next() {
            let cells = line.bytes.text.split(separator: ",", omittingEmptySubsequences: false)
            guard cells.count == 9, let time = Int64(cells[0]), let position = Int32(cells[3])
            else { throw StudyError("\(path), line \(line.number): not an event of RankLens") }
            let name = String(cells[2])
            let list = lists[name] ?? Int32(lists.count)
            lists[name] = list
            events.append(
                Event(
                    time: time, list: list, position: position, user: String(cells[1]),
                    item: String(cells[4]), isClick: cells[5] == "1", query: String(cells[6]),
                    domain: String(cells[7])))
        }
        events.sort { ($0.time, $0.list, $0.position) < ($1.time, $1.list, $1.position) }
        return (events, lists.count)
    }

    private static func readFilms(_ path: String) throws -> [String: Film] {
        var reader = try LineReader.open(path)
        var films: [String: Film] = [:]
        while let line = try reader.next() {
            let json = try JSONValue(parsing: line.bytes)
            guard let item = json["item"]?.text else {
                throw StudyError("\(path), line \(line.number): no item")
            }
            func texts(_ name: String) -> [String] {
                json[name]?.array?.compactMap(\.text) ?? []
            }
            var film = Film(genres: texts("genres"), tags: texts("tags"), people: texts("actors"))
            for role in ["director", "writer"] {
                if let name = json[role]?.text, !name.isEmpty { film.people.append(name) }
            }
            if let seconds = json["release_date"]?.double {
                film.year = [String(Int(((1970 + seconds / 31_556_952) / 5).rounded(.down)))]
            }
            film.text = Array(
                "\(json["title"]?.text ?? ""). \(json["description"]?.text ?? "")".utf8)
            films[item] = film
        }
        return films
    }

    /// What was known of the user when a list was shown: clicks of lists shown 5 s earlier or more.
    private mutating func addHistories(genres: Bags) {
        var first = [Int](repeating: -1, count: lists)
        for r in examples.request.indices.reversed() { first[Int(examples.request[r])] = r }
        var past: [Int32: [(time: Int64, shown: Int, clicks: [Int32])]] = [:]
        var histories = [[Int32]](repeating: [], count: lists)
        var rates = [Int32](repeating: 0, count: lists)
        var liked = [[Int32]](repeating: [], count: lists)
        for list in (0..<lists).sorted(by: { first[$0] < first[$1] }) {
            let r = first[list]
            let user = examples.user[r]
            let known = (past[user] ?? []).filter {
                $0.time + Self.clickDelay <= examples.time[r]
            }
            let clicks = known.flatMap(\.clicks).suffix(Self.historyLength)
            histories[list] = clicks.reversed()
            let clickCount = known.reduce(0) { $0 + $1.clicks.count }
            rates[list] = Self.rateBucket(clickCount, known.count * 24)
            for item in clicks {
                let (from, to) = (genres.offsets[Int(item)], genres.offsets[Int(item) + 1])
                liked[list].append(contentsOf: genres.ids[Int(from)..<Int(to)])
            }
            var last = r
            while last < examples.count, examples.request[last] == Int32(list) { last += 1 }
            past[user, default: []].append(
                (
                    examples.time[r], last - r,
                    (r..<last).filter { examples.labels[$0] > 0 }.map { examples.item[$0] }
                ))
        }
        examples.userFields = [Bags(), Bags()]
        for list in 0..<lists {
            examples.histories.ids.append(contentsOf: histories[list])
            examples.histories.close()
            examples.userFields[0].ids.append(rates[list])
            examples.userFields[0].close()
            examples.userFields[1].ids.append(contentsOf: liked[list])
            examples.userFields[1].close()
        }
        for r in 0..<examples.count {
            let n = histories[Int(examples.request[r])].count
            examples.dense.append(contentsOf: [0, 0, Float(Math.log1p(Double(n)) / 3)])
        }
    }

    /// Five levels of a user's past click rate; 0 = nothing known.
    static func rateBucket(_ clicks: Int, _ shown: Int) -> Int32 {
        if shown == 0 { return 0 }
        let rate = Double(clicks) / Double(shown)
        return 1 + Int32([0.05, 0.125, 0.2, 0.3, 0.45].filter { $0 < rate }.count)
    }

    /// Rows by time: the first 70 % of the lists, the next 10 %, the last 20 %.
    public func split() -> (train: [Int32], validation: [Int32], test: [Int32]) {
        var (train, validation, test): ([Int32], [Int32], [Int32]) = ([], [], [])
        var rank = -1
        for r in 0..<examples.count {
            if r == 0 || examples.request[r] != examples.request[r - 1] { rank += 1 }
            let place = Double(rank)
            if place < 0.7 * Double(lists) {
                train.append(Int32(r))
            } else if place < 0.8 * Double(lists) {
                validation.append(Int32(r))
            } else {
                test.append(Int32(r))
            }
        }
        return (train, validation, test)
    }
}
