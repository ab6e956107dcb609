// Reads records of `domain-log`: finetune's hot door.

import Bytes
import JSON

/// Turns the bytes of a record into the struct of its kind, or says in a sentence why it cannot.
///
/// One reader a thread, reused. After `read` returns a kind, the property of that kind holds the
/// record; it and its slices live until the next `read`, and no longer than the reader.
public final class DomainLogReader {
    /// An item is a record of the catalog and its vector.
    private let parser = JSONParser(
        maximumDepth: Limit.depth, maximumBytes: Limit.recordBytes + Limit.vectorBytes)
    private let state: UnsafeMutablePointer<DomainLogReading>

    public init() {
        state = .allocate(capacity: 1)
        state.initialize(to: DomainLogReading())
    }

    deinit {
        state.deinitialize(count: 1)
        state.deallocate()
    }

    public var impression: Impression { state.pointee.impression }
    public var label: Label { state.pointee.label }
    public var judgment: Judgment { state.pointee.judgment }
    public var item: Item { state.pointee.item }
    public var text: Text { state.pointee.text }
    public var prior: Prior { state.pointee.prior }
    public var release: Release { state.pointee.release }
    public var settings: SettingsRecord { state.pointee.settings }
    public var tick: Tick { state.pointee.tick }

    /// Reads one record and tells its kind.
    public func read(_ value: ByteSlice) throws(ContractError) -> DomainLogKind {
        let root: JSONView
        do throws(JSONError) { root = try parser.parse(value) } catch { throw ContractError(error) }
        guard root.isObject else { throw .notAnObject(root) }
        guard let word = root.member("kind") else {
            throw .missing("/kind", in: "every record of domain-log")
        }
        let text = try word.text(Place("kind"))
        guard let kind = DomainLogKind(text) else {
            throw word.wrongValue(Place("kind"), "a kind of record that domain-log knows")
        }
        switch kind {
        case .impression: try state.pointee.readImpression(root)
        case .label: try state.pointee.readLabel(root)
        case .judgment: try state.pointee.readJudgment(root)
        case .item: try state.pointee.readItem(root)
        case .text: try state.pointee.readText(root)
        case .prior: try state.pointee.readPrior(root)
        case .release: try state.pointee.readRelease(root)
        case .settings: try state.pointee.readSettings(root)
        case .tick: try state.pointee.readTick(root)
        }
        return kind
    }
}

extension DomainLogKind {
    @inline(__always)
    init?(_ word: ByteSlice) {
        guard let kind = DomainLogKind.allCases.first(where: { word.equals($0.word) }) else {
            return nil
        }
        self = kind
    }
}

/// The reused memory of a `DomainLogReader`.
struct DomainLogReading: ~Copyable {
    var impression = Impression()
    var label = Label()
    var judgment = Judgment()
    var item = Item(CatalogItem())
    var text = Text()
    var prior = Prior()
    var release = Release()
    var settings = SettingsRecord()
    var tick = Tick()

    var history = ReusedList<ByteSlice>()
    var user = NamedScalars()
    var context = NamedScalars()
    var catalog = CatalogReading()
    var priorItems = ReusedList<PriorItem>()
    var weights = ReusedList<NamedWeights>()
    var weightValues = ReusedList<Double>()
    var weightStarts = ReusedList<Int>()
    var ordinals = ReusedList<Int64>()
    var counts = ReusedList<TickCounts>()
    var canonicalSettings = ByteBuffer()
    var halves = ByteBuffer()

    /// Which of the required fields have been seen: a bit each, in the order of the reader's list.
    var seen: UInt32 = 0

    @inline(__always)
    func require(_ fields: StaticString..., what: StaticString) throws(ContractError) {
        guard seen != (1 << UInt32(fields.count)) - 1 else { return }
        for (i, field) in fields.enumerated() where seen & (1 << UInt32(i)) == 0 {
            throw .missing("/\(field)", in: "\(what)")
        }
    }

    mutating func readImpression(_ root: JSONView) throws(ContractError) {
        impression = Impression()
        seen = 0
        for (name, value) in root.members where !value.isNull {
            switch name.count {
            case 4 where name.equals("kind"): break
            case 4 where name.equals("user"):
                impression.user = try value.hash(Place("user"))
                seen |= 1 << 6
            case 5 where name.equals("query"): impression.query = try value.hash(Place("query"))
            case 6 where name.equals("domain"):
                impression.domain = try value.domain(Place("domain"))
                seen |= 1 << 4
            case 6 where name.equals("source"):
                impression.source = Int(try value.count(Place("source")))
                seen |= 1 << 1
            case 6 where name.equals("policy"): impression.policy = try value.id(Place("policy"))
            case 7 where name.equals("item_id"):
                impression.item_id = try value.id(Place("item_id"))
                seen |= 1 << 5
            case 7 where name.equals("time_ms"):
                impression.time_ms = try value.time(Place("time_ms"))
                seen |= 1 << 0
            case 7 where name.equals("ordinal"):
                impression.ordinal = try value.count(Place("ordinal"))
                seen |= 1 << 2
            case 7 where name.equals("context"):
                impression.context = try context.read(value, "context")
            case 7 where name.equals("history"):
                impression.history = try CatalogReading.readTexts(value, "history", into: &history)
            case 8 where name.equals("position"):
                impression.position = try value.position(Place("position"))
            case 10 where name.equals("request_id"):
                impression.request_id = try value.id(Place("request_id"))
            case 10 where name.equals("propensity"):
                impression.propensity = try value.share(Place("propensity"))
            case 11 where name.equals("user_clicks"):
                impression.user_clicks = try value.amount(Place("user_clicks"))
                seen |= 1 << 7
            case 13 where name.equals("impression_id"):
                impression.impression_id = try value.id(
                    Place("impression_id"), limit: Limit.identityBytes)
                seen |= 1 << 3
            case 15 where name.equals("user_attributes"):
                impression.user_attributes = try user.read(value, "user_attributes")
            case 16 where name.equals("user_impressions"):
                impression.user_impressions = try value.amount(Place("user_impressions"))
                seen |= 1 << 8
            default: break
            }
        }
        guard seen == 0x1FF else { return try requireImpression() }
    }

    @inline(never)
    private func requireImpression() throws(ContractError) {
        try require(
            "time_ms", "source", "ordinal", "impression_id", "domain", "item_id", "user",
            "user_clicks",
            "user_impressions", what: "an impression")
    }

    mutating func readLabel(_ root: JSONView) throws(ContractError) {
        label = Label()
        seen = 0
        for (name, value) in root.members where !value.isNull {
            switch name.count {
            case 4 where name.equals("kind"): break
            case 4 where name.equals("task"):
                label.task = try value.task(Place("task"))
                seen |= 1 << 5
            case 5 where name.equals("value"):
                label.value = Int(try value.integer(Place("value"), in: 0...1))
                seen |= 1 << 6
            case 6 where name.equals("domain"):
                label.domain = try value.domain(Place("domain"))
                seen |= 1 << 4
            case 6 where name.equals("source"):
                label.source = Int(try value.count(Place("source")))
                seen |= 1 << 1
            case 7 where name.equals("time_ms"):
                label.time_ms = try value.time(Place("time_ms"))
                seen |= 1 << 0
            case 7 where name.equals("ordinal"):
                label.ordinal = try value.count(Place("ordinal"))
                seen |= 1 << 2
            case 8 where name.equals("revision"):
                label.revision = Int(try value.integer(Place("revision"), in: 0...1_000_000))
                seen |= 1 << 7
            case 13 where name.equals("impression_id"):
                label.impression_id = try value.id(
                    Place("impression_id"), limit: Limit.identityBytes)
                seen |= 1 << 3
            case 13 where name.equals("click_time_ms"):
                label.click_time_ms = try value.time(Place("click_time_ms"))
            default: break
            }
        }
        guard seen == 0xFF else { return try requireLabel() }
    }

    @inline(never)
    private func requireLabel() throws(ContractError) {
        try require(
            "time_ms", "source", "ordinal", "impression_id", "domain", "task", "value", "revision",
            what: "a label")
    }

    mutating func readJudgment(_ root: JSONView) throws(ContractError) {
        judgment = Judgment()
        seen = 0
        for (name, value) in root.members where !value.isNull {
            if name.equals("time_ms") {
                judgment.time_ms = try value.time(Place("time_ms"))
                seen |= 1 << 0
            } else if name.equals("source") {
                judgment.source = Int(try value.count(Place("source")))
                seen |= 1 << 1
            } else if name.equals("ordinal") {
                judgment.ordinal = try value.count(Place("ordinal"))
                seen |= 1 << 2
            } else if name.equals("domain") {
                judgment.domain = try value.domain(Place("domain"))
                seen |= 1 << 3
            } else if name.equals("query") {
                judgment.query = try value.hash(Place("query"))
                seen |= 1 << 4
            } else if name.equals("item_id") {
                judgment.item_id = try value.id(Place("item_id"))
                seen |= 1 << 5
            } else if name.equals("grade") {
                judgment.grade = try value.unit(Place("grade"))
                seen |= 1 << 6
            }
        }
        try require(
            "time_ms", "source", "ordinal", "domain", "query", "item_id", "grade",
            what: "a judgment")
    }

    mutating func readItem(_ root: JSONView) throws(ContractError) {
        catalog.start()
        var deleted = false
        var vector: JSONView?
        var encoder: UInt64?
        for (name, value) in root.members where !value.isNull {
            if name.equals("kind") {
                continue
            } else if name.equals("deleted") {
                deleted = try value.truth(Place("deleted"))
            } else if name.equals("item_kind") {
                try catalog.readKind(value, "item_kind")
            } else if name.equals("vector") {
                vector = value
            } else if name.equals("encoder") {
                encoder = try value.hash(Place("encoder"))
            } else {
                try catalog.read(name, value)
            }
        }
        if deleted { try catalog.finishDeleted() } else { try catalog.finish() }
        item = Item(catalog.item, deleted: deleted)
        item.vector = try TextVector.read(
            vector: vector, encoder: encoder, what: "an item", into: &halves)
    }

    mutating func readText(_ root: JSONView) throws(ContractError) {
        text = Text()
        seen = 0
        var vector: JSONView?
        var encoder: UInt64?
        for (name, value) in root.members where !value.isNull {
            if name.equals("time_ms") {
                text.time_ms = try value.time(Place("time_ms"))
                seen |= 1 << 0
            } else if name.equals("hash") {
                text.hash = try value.hash(Place("hash"))
                seen |= 1 << 1
            } else if name.equals("text") {
                text.text = try value.text(Place("text"))
                seen |= 1 << 2
            } else if name.equals("vector") {
                vector = value
            } else if name.equals("encoder") {
                encoder = try value.hash(Place("encoder"))
            }
        }
        try require("time_ms", "hash", "text", what: "a text")
        text.vector = try TextVector.read(
            vector: vector, encoder: encoder, what: "a text", into: &halves)
    }
}
