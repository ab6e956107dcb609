// The RankLens data set (crowd workers marking films they like) as events and catalog.

import Bytes
import Contracts
import JSON
import LineFiles

/// Turns a folder with RankLens' `events.csv.gz` and `items.jsonl` into one for `up --embedded --input`.
///
/// Films shown in lists of 24; a click, 5 s later, is a like. Rows are ordered by time, then by the first
/// occurrence of their list, then by position; clicks stand between them by time, before impressions of
/// the same second. The catalog leaves out what TMDB aggregates (popularity, votes, budget, runtime).
/// Source: github.com/metarank/ranklens, CC BY-SA 4.0; film metadata from TMDB and MovieLens.
public enum RankLensImport {
    public struct Summary: Equatable, Sendable {
        public var impressions = 0
        public var clicks = 0
        public var lists = 0
        public var items = 0
    }

    public static let clickDelayMilliseconds: Int64 = 5_000

    /// Writes `events.jsonl.gz` (or `events.jsonl`), `catalog.jsonl` and `coldstream.json`.
    ///
    /// - Parameter folder: made if it is not there.
    public static func run(
        from source: String, to folder: String, compressed: Bool = true
    ) throws(LineFileError) -> Summary {
        try makeFolder(folder)
        let log = try RankLensLog(source + "/events.csv.gz")
        var summary = Summary(impressions: log.order.count, lists: log.lists)
        summary.clicks = try writeEvents(
            log, to: folder + (compressed ? "/events.jsonl.gz" : "/events.jsonl"))
        summary.items = try writeCatalog(
            source + "/items.jsonl", at: log.firstTime, to: folder + "/catalog.jsonl")
        try settings(log).text.writeFile(folder + "/coldstream.json")
        return summary
    }

    /// Both classes are labeled after 6 s, exactly: no lateness, and a window right behind the clicks.
    private static func settings(_ log: borrowing RankLensLog) -> SettingsFile {
        SettingsFile(
            fleet: "ranklens",
            fleetSettings: [("lateness_s", .integer(0)), ("history", .integer(10))],
            domainDefaults: [
                ("surface", .word("recommendation")), ("label_window_s", .integer(6)),
                ("attribution_window_s", .integer(10)),
            ],
            domains: log.domains.map { ($0, []) })
    }

    private static func writeEvents(
        _ log: borrowing RankLensLog, to path: String
    ) throws(LineFileError) -> Int {
        var writer = try LineWriter.create(path, compressionLevel: 3)
        var line = ByteBuffer()
        var scratch = Scratch()
        var clicks = 0
        // The next row whose click has not been written; rows are in order of time.
        var clicked = 0
        func write(_ type: EventType, _ row: borrowing RankLensRow) {
            scratch.removeAll()
            line.removeAll()
            row.event(type, &scratch).append(to: &line)
        }
        for place in 0...log.order.count {
            let now = place < log.order.count ? log.time(place) : Int64.max
            while clicked < place, log.time(clicked) + clickDelayMilliseconds <= now {
                if log.isClicked(clicked) {
                    write(.click, log.row(clicked))
                    try writer.append(line: line.slice)
                    clicks += 1
                }
                clicked += 1
            }
            guard place < log.order.count else { break }
            write(.impression, log.row(place))
            try writer.append(line: line.slice)
        }
        try writer.finish()
        return clicks
    }

    private static func writeCatalog(
        _ source: String, at time: Int64, to path: String
    ) throws(LineFileError) -> Int {
        var reader = try LineReader.open(source)
        var writer = try LineWriter.create(path)
        let parser = JSONParser()
        var line = ByteBuffer()
        var items = 0
        while let read = try reader.next() {
            let film: JSONView
            do throws(JSONError) { film = try parser.parse(read.bytes) } catch {
                throw LineFileError("read", source, "line \(read.number): \(error)")
            }
            guard let id = film.member("item")?.text, let title = film.member("title")?.text else {
                throw LineFileError("read", source, "line \(read.number) has no item or no title")
            }
            line.removeAll()
            append(film, id, title, at: time, to: &line)
            try writer.append(line: line.slice)
            items += 1
        }
        try writer.finish()
        return items
    }

    /// Writes one film as a catalog record.
    private static func append(
        _ film: JSONView, _ id: ByteSlice, _ title: ByteSlice, at time: Int64,
        to line: inout ByteBuffer
    ) {
        var record = CatalogItem(item_id: id, time_ms: time, title: title)
        record.description = film.member("description")?.text
        // Seconds since 1970; what was released before then goes without.
        if let released = film.member("release_date")?.double, released >= 0 {
            record.published_ms = Int64(released * 1_000)
        }
        let tags = texts(film, "tags")
        let named: [(StaticString, isList: Bool, values: [ByteSlice])] = [
            ("actors", true, texts(film, "actors")),
            ("director", false, film.member("director")?.text.map { [$0] } ?? []),
            ("genres", true, texts(film, "genres")),
        ]
        let present = named.filter { !$0.values.isEmpty }
        let scalars = present.flatMap(\.values).map { Scalar.text($0) }
        scalars.withUnsafeBufferPointer { scalars in
            var start = 0
            let attributes = present.map { name, isList, values in
                defer { start += values.count }
                return Attribute(
                    name: ByteSlice(name.utf8Start, count: name.utf8CodeUnitCount), isList: isList,
                    values: BorrowedList(scalars.baseAddress! + start, count: values.count))
            }
            attributes.withUnsafeBufferPointer { attributes in
                record.attributes = BorrowedList(attributes)
                tags.lendList {
                    record.tags = $0
                    record.append(to: &line)
                }
            }
        }
    }

    private static func texts(_ film: JSONView, _ name: StaticString) -> [ByteSlice] {
        film.member(name)?.elements.compactMap(\.text).filter { !$0.isEmpty } ?? []
    }
}

/// One row of `events.csv`, borrowed from the log that holds it.
struct RankLensRow {
    let time: Int64
    let user: ByteSlice
    let list: ByteSlice
    /// Counted from 0, as the file does.
    let position: Int
    let item: ByteSlice
    let tag: ByteSlice
    let domain: ByteSlice

    func event(_ type: EventType, _ scratch: inout Scratch) -> Event {
        let isClick = type == .click
        var event = Event(
            type: type, time_ms: time + (isClick ? RankLensImport.clickDelayMilliseconds : 0),
            domain: domain)
        event.user_id = user
        event.impression_id = scratch.text(list, "#", position)
        if isClick { return event }
        event.item_id = item
        event.request_id = list
        event.position = position + 1
        event.query = tag.isEmpty ? nil : tag
        return event
    }
}

/// The whole log in memory (235,200 rows in 30 MB), in its order.
struct RankLensLog: ~Copyable {
    /// Rows, by time, list and position.
    let order: [Int]
    let lists: Int
    /// In byte order.
    let domains: [String]
    private let bytes: ByteBuffer
    private let rows: [Row]

    private static let columns = [
        "ts_ms", "user", "list_id", "position", "item", "click", "query_tag", "domain",
    ]

    private struct Row {
        var time: Int64
        var position: Int
        var isClicked: Bool
        /// Where user, list, item, tag and domain stand in `bytes`.
        var user: Range<Int>
        var list: Range<Int>
        var item: Range<Int>
        var tag: Range<Int>
        var domain: Range<Int>
    }

    init(_ path: String) throws(LineFileError) {
        var reader = try LineReader.open(path)
        var fields = DelimitedLine()
        guard let header = try reader.next(), fields.split(header.bytes) == nil else {
            throw LineFileError("read", path, "it has no header")
        }
        let names = (0..<fields.count).map { fields[$0].text }
        var places: [Int] = []
        for column in Self.columns {
            guard let place = names.firstIndex(of: column) else {
                throw LineFileError("read", path, "it has no column \(column)")
            }
            places.append(place)
        }
        var bytes = ByteBuffer(capacity: 1 << 20)
        var rows: [Row] = []
        var listNumbers: [String: Int] = [:]
        var rowLists: [Int] = []
        var domains: Set<String> = []
        while let line = try reader.next() {
            guard fields.split(line.bytes) == nil, fields.count == names.count,
                let time = fields[places[0]].decimal, let position = fields[places[3]].decimal
            else {
                throw LineFileError("read", path, "line \(line.number) is not a row of the log")
            }
            rows.append(
                Row(
                    time: time, position: Int(position), isClicked: fields[places[5]].equals("1"),
                    user: bytes.keep(fields[places[1]]), list: bytes.keep(fields[places[2]]),
                    item: bytes.keep(fields[places[4]]), tag: bytes.keep(fields[places[6]]),
                    domain: bytes.keep(fields[places[7]])))
            domains.insert(fields[places[7]].text)
            let list = fields[places[2]].text
            if listNumbers[list] == nil { listNumbers[list] = listNumbers.count }
            rowLists.append(listNumbers[list]!)
        }
        order = rows.indices.sorted {
            (rows[$0].time, rowLists[$0], rows[$0].position, $0)
                < (rows[$1].time, rowLists[$1], rows[$1].position, $1)
        }
        lists = listNumbers.count
        self.domains = domains.sorted()
        self.bytes = bytes
        self.rows = rows
    }

    var firstTime: Int64 { order.first.map { rows[$0].time } ?? 0 }

    func time(_ place: Int) -> Int64 { rows[order[place]].time }

    func isClicked(_ place: Int) -> Bool { rows[order[place]].isClicked }

    /// The row at a place of the order; lives as long as the log.
    func row(_ place: Int) -> RankLensRow {
        let row = rows[order[place]]
        return RankLensRow(
            time: row.time, user: bytes.slice(row.user), list: bytes.slice(row.list),
            position: row.position, item: bytes.slice(row.item), tag: bytes.slice(row.tag),
            domain: bytes.slice(row.domain))
    }
}

extension ByteBuffer {
    /// Appends bytes and says where they stand.
    fileprivate mutating func keep(_ bytes: ByteSlice) -> Range<Int> {
        let start = count
        append(bytes)
        return start..<count
    }
}

extension ByteSlice {
    /// The number that decimal digits stand for; nil of anything else.
    fileprivate var decimal: Int64? {
        guard count > 0, count < 19 else { return nil }
        var value: Int64 = 0
        for i in 0..<count {
            let digit = self[i] &- UInt8(ascii: "0")
            guard digit < 10 else { return nil }
            value = value * 10 + Int64(digit)
        }
        return value
    }
}
