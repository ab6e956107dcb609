// The wire bytes of every record, with all fields and with none that may be absent. Where one of
// these changes, the format has changed: that is a new major version, or an optional field and a
// line more.
//
// COLDSTREAM_WRITE_GOLDEN=DIR writes the files anew.

import Bytes
import Foundation
import JSON
import Testing

@testable import Contracts

@Suite struct GoldenRecordTests {
    @Test(arguments: Topic.allCases.filter { !GoldenRecords.lines($0).isEmpty })
    func `records have the bytes that were agreed`(topic: Topic) throws {
        let text = GoldenRecords.lines(topic).map { $0 + "\n" }.joined()
        if let folder = ProcessInfo.processInfo.environment["COLDSTREAM_WRITE_GOLDEN"] {
            try Data(text.utf8).write(to: URL(fileURLWithPath: "\(folder)/\(topic.name).jsonl"))
        }
        #expect(text == String(decoding: GoldenRecords.file(topic), as: UTF8.self))
    }

    @Test(arguments: Topic.allCases.filter { !GoldenRecords.lines($0).isEmpty })
    func `golden records are canonical and read back as they are`(topic: Topic) throws {
        var rewriter = Rewriter()
        for line in GoldenRecords.lines(topic) {
            #expect(try JSONValue(parsing: line).canonicalText == line)
            let again = try rewriter.rewrite(topic, Array(line.utf8))
            #expect(String(decoding: again, as: UTF8.self) == line)
        }
    }
}

/// Builds every record twice: full and bare.
enum GoldenRecords {
    static func file(_ topic: Topic) -> [UInt8] {
        switch topic {
        case .events: PackageResources.events_jsonl
        case .catalog: PackageResources.catalog_jsonl
        case .domainLog: PackageResources.domain_log_jsonl
        case .scores: PackageResources.scores_jsonl
        case .domainStatistics: PackageResources.domain_statistics_jsonl
        case .evaluations: PackageResources.evaluations_jsonl
        case .examples: PackageResources.examples_jsonl
        case .deadLetters: PackageResources.dead_letters_jsonl
        case .texts: PackageResources.texts_jsonl
        default: []
        }
    }

    static func lines(_ topic: Topic) -> [String] {
        switch topic {
        case .events: events()
        case .catalog: catalog()
        case .domainLog: domainLog()
        case .scores: scores()
        case .domainStatistics: domainStatistics()
        case .evaluations: evaluations()
        case .examples: examples()
        case .deadLetters: deadLetters()
        case .texts: texts()
        default: []
        }
    }

    private static let time: Int64 = 1_700_000_000_000

    private static func line(_ write: (inout ByteBuffer) -> Void) -> String {
        var buffer = ByteBuffer()
        write(&buffer)
        return buffer.slice.text
    }

    /// Text that stays where it is for as long as the process lives.
    private static func slice(_ text: StaticString) -> ByteSlice {
        ByteSlice(text.utf8Start, count: text.utf8CodeUnitCount)
    }

    private static var scalars: [NamedScalar] {
        [
            NamedScalar(name: slice("adult"), value: .boolean(true)),
            NamedScalar(name: slice("age \"x\""), value: .number(41.5)),
            NamedScalar(name: slice("city"), value: .text(slice("Zürich\n"))),
        ]
    }

    private static func list<Element>(_ elements: [Element]) -> BorrowedList<Element> {
        // A few hundred bytes for the length of a test run.
        let copy = UnsafeMutableBufferPointer<Element>.allocate(capacity: elements.count)
        _ = copy.initialize(from: elements)
        return BorrowedList(UnsafeBufferPointer(copy))
    }

    private static func events() -> [String] {
        var full = Event(
            type: .impression, id: slice("e/1"), time_ms: time, domain: slice("home.feed"))
        full.user_id = slice("u")
        full.session_id = slice("s")
        full.request_id = slice("r")
        full.impression_id = slice("i")
        full.item_id = slice("a")
        full.position = 3
        full.query = slice("\u{1F} \u{7F}\\")
        full.propensity = 0.1
        full.policy = slice("p")
        full.value = -1.25e-9
        full.currency = slice("EUR")
        full.grade = 1
        full.user = list(scalars)
        full.context = list(scalars)
        var bare = Event(type: .impression, time_ms: 0, domain: slice("d"))
        bare.session_id = slice("s")
        bare.item_id = slice("a")
        var slate = bare
        slate.item_id = nil
        slate.items = list([
            SlateItem(item_id: slice("a"), position: 1),
            SlateItem(item_id: slice("b"), position: 9, propensity: 1),
        ])
        var click = bare
        click.type = .click
        click.item_id = nil
        click.impression_id = slice("i#2")
        var tick = Event(type: .tick, time_ms: time)
        var events = [full, bare, slate, click, tick]
        tick.close = true
        events.append(tick)
        return events.map { event in line { event.append(to: &$0) } }
    }

    private static func fullItem() -> CatalogItem {
        var item = CatalogItem(item_id: slice("a"), time_ms: time, title: slice("Größe"))
        item.kind = .query
        item.description = slice("…")
        item.tags = list([slice("x"), slice("y")])
        item.language = slice("de")
        item.attributes = list([
            Attribute(
                name: slice("colours"), isList: true,
                values: list([.text(slice("red")), .number(2)])),
            Attribute(name: slice("empty"), isList: true, values: BorrowedList()),
            Attribute(name: slice("price"), isList: false, values: list([.number(9.99)])),
        ])
        item.domains = list([slice("d"), slice("home.feed")])
        item.available = false
        item.published_ms = 1
        return item
    }

    private static func catalog() -> [String] {
        let bare = CatalogItem(item_id: slice("b"), time_ms: 0)
        var nowhere = bare
        nowhere.domains = BorrowedList()
        return [fullItem(), bare, nowhere].map { item in line { item.append(to: &$0) } }
    }

    private static func domainLog() -> [String] {
        var impression = Impression()
        impression.time_ms = time
        impression.source = 3
        impression.ordinal = 1 << 40
        impression.impression_id = slice("i#1")
        impression.domain = slice("d")
        impression.item_id = slice("a")
        impression.user = 0x0123_4567_89AB_CDEF
        let bare = impression
        impression.request_id = slice("r")
        impression.query = .max
        impression.position = 1_000_000
        impression.propensity = 1
        impression.policy = slice("p")
        impression.user_impressions = 12
        impression.user_clicks = 0.5
        impression.history = list([slice("x"), slice("y")])
        impression.user_attributes = list(scalars)
        impression.context = list(scalars)
        var label = Label()
        label.impression_id = slice("i#1")
        label.domain = slice("d")
        let negative = label
        label.time_ms = time
        label.source = 3
        label.ordinal = 9
        label.task = .conversion
        label.value = 1
        label.revision = 1
        label.click_time_ms = time - 1
        var judgment = Judgment()
        judgment.domain = slice("d")
        judgment.query = 7
        judgment.item_id = slice("a")
        judgment.grade = 0.3
        var text = Text()
        text.time_ms = time
        text.hash = 7
        text.text = slice("space opera")
        var lines = [impression, bare].map { record in line { record.append(to: &$0) } }
        lines += [label, negative].map { record in line { record.append(to: &$0) } }
        lines.append(line { judgment.append(to: &$0) })
        lines.append(line { Item(fullItem()).append(to: &$0) })
        lines.append(line { Item(CatalogItem(item_id: slice("b"), time_ms: 0)).append(to: &$0) })
        lines.append(
            line {
                Item(CatalogItem(item_id: slice("b"), time_ms: 5), deleted: true).append(to: &$0)
            })
        lines.append(line { text.append(to: &$0) })
        let vector = TextVector(halves: slice("\u{0}8\u{0}4\u{1}<"), encoder: 0xA3)
        text.vector = vector
        lines.append(line { text.append(to: &$0) })
        let item = CatalogItem(item_id: slice("b"), time_ms: 5)
        lines.append(line { Item(item, vector: vector).append(to: &$0) })
        lines.append(line { Item(fullItem(), vector: vector).append(to: &$0) })
        return lines + priors() + control()
    }

    private static func priors() -> [String] {
        var prior = Prior()
        let bare = prior
        prior.time_ms = time
        prior.sender = 2
        prior.first_ordinal = 10
        prior.last_ordinal = 20
        prior.block = 1
        prior.blocks = 2
        prior.items = list([
            PriorItem(item_id: slice("a"), impressions: 3, clicks: -1),
            PriorItem(item_id: slice("b"), impressions: 0.5, clicks: 0.25),
        ])
        prior.impressions = 3.5
        prior.clicks = 1
        prior.weights = list([
            NamedWeights(name: slice("item_rate"), values: list([0.75, -1e-30])),
            NamedWeights(name: slice("none"), values: BorrowedList()),
        ])
        prior.examples = 4
        return [prior, bare].map { record in line { record.append(to: &$0) } }
    }

    private static func control() -> [String] {
        var release = Release()
        release.hash = slice("9f86d081")
        release.ordinals = list([1, 2])
        var settings = SettingsRecord()
        settings.hash = slice("44136fa3")
        settings.settings = slice(#"{"a":{"b":[1]},"c":0.5}"#)
        var tick = Tick()
        let bare = tick
        tick.time_ms = time
        tick.source = 1
        tick.ordinal = 2
        tick.domains = list([
            TickCounts(domain: slice("-"), dead: 4),
            TickCounts(domain: slice("d"), duplicates: 1, orphans: 2, late: 3),
        ])
        tick.close = true
        return [line { release.append(to: &$0) }, line { settings.append(to: &$0) }]
            + [tick, bare].map { record in line { record.append(to: &$0) } }
    }

    private static func scores() -> [String] {
        var score = Score()
        score.domain = slice("d")
        score.item_id = slice("a")
        score.rank = 1
        score.arm = slice("live")
        let bare = score
        score.task = .relevance
        score.query = slice("space opera")
        score.score = 1.0 / 3
        score.score_std = 0.0625
        score.impressions = 10
        score.labels = 9
        score.stage = .learning
        score.time_ms = time
        score.head_version = 4
        score.release = slice("9f86d081")
        score.partition = 5
        score.ordinal = 6
        return [score, bare].map { record in line { record.append(to: &$0) } }
    }

    private static func domainStatistics() -> [String] {
        var all = DomainStatistics()
        all.domain = slice("d")
        let bare = all
        all.time_ms = time
        all.partition = 1
        all.ordinal = 2
        all.impressions = 3
        all.labels = 4
        all.clicks = 5
        all.conversions = 6
        all.corrections = 7
        all.judgments = 8
        all.requests = 9
        all.requests_clicked = 10
        all.page_rate = 0.5
        all.users = 11
        all.items = 12
        all.ctr = 0.125
        all.duplicates = 13
        all.orphans = 14
        all.late = 15
        all.dead = 16
        all.rates = list([
            DecayedRate(half_life_s: 3_600, impressions: 1.5, clicks: 0.5, rate: 1.0 / 3)
        ])
        all.prior_mean = 0.2
        all.prior_strength = 20
        all.top_items = list([TopItem(item_id: slice("a"), count: 17)])
        all.position = list([PositionRate(position: 2, impressions: 18, clicks: 1.5, bias: -0.5)])
        all.label_delay_p50_ms = 100
        all.label_delay_p90_ms = 200.5
        all.label_delay_p99_ms = 300
        all.drift = 0.01
        return [all, bare].map { record in line { record.append(to: &$0) } }
    }

    private static func evaluations() -> [String] {
        var all = Evaluation()
        all.domain = slice("d")
        all.arm = slice("live")
        all.slice_by = slice("labels")
        all.slice_value = slice("1-9")
        all.scores_hash = slice("00ff")
        all.head_hash = slice("ff00")
        let bare = all
        all.release = slice("9f86d081")
        all.head_version = 1
        all.partition = 2
        all.first_ordinal = 3
        all.last_ordinal = 4
        all.first_time_ms = 5
        all.last_time_ms = time
        all.examples = 6
        all.positives = 7
        all.corrections = 8
        all.auc = 0.75
        all.gauc = 0.7
        all.log_loss = 0.4
        all.normalized_entropy = 0.9
        all.calibration = 1.01
        all.ece = 0.02
        return [all, bare].map { record in line { record.append(to: &$0) } }
    }

    private static func examples() -> [String] {
        var example = Example()
        example.impression_id = slice("i")
        let bare = example
        example.request_id = slice("r")
        example.time_ms = time
        example.task = .conversion
        example.revision = 1
        example.label = 1
        example.prediction = 0.2
        example.kept_share = 0.25
        example.learned = false
        example.item = 1
        example.user = 2
        example.query = 3
        example.position = 4
        example.dense = list([1, -0.5, 1e-9])
        example.hashed = list([HashedFeature(bucket: 262_143, value: 1)])
        var batch = ExampleBatch()
        batch.domain = slice("d")
        let empty = batch
        batch.partition = 1
        batch.ordinal = 2
        batch.head_version = 3
        batch.release = slice("9f86d081")
        batch.examples = list([example, bare, example])
        return [batch, empty].map { record in line { record.append(to: &$0) } }
    }

    private static func deadLetters() -> [String] {
        var letter = DeadLetter(
            .wrong_type, message: slice("/a must be text, not 1."), topic: slice("events"),
            key: slice("u"),
            value: slice("{\"a\":1}"))
        letter.partition = 1
        letter.ordinal = 2
        letter.input = slice("events.jsonl")
        letter.line = 3
        let tombstone = DeadLetter(
            .empty, message: slice("The record has no value."), topic: slice("events"), key: nil,
            value: nil)
        return [letter, tombstone].map { record in line { record.append(to: &$0) } }
    }

    private static func texts() -> [String] {
        var text = TextRecord()
        let bare = text
        text.time_ms = time
        text.hash = 0xA1
        text.text = slice("“”\t")
        text.domain = slice("home.feed")
        return [text, bare].map { record in line { record.append(to: &$0) } }
    }
}
