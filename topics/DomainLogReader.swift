// Reads records of `domain-log`: finetune's hot door.

import Bytes
import JSON

/// Turns the bytes of a record into the struct of its kind, or says in a sentence why it cannot.
///
/// One reader a thread, reused. After `read` returns a kind, the property of that kind holds the record; it and
/// its slices live until the next `read`.
public final class DomainLogReader {
    private let parser = JSONParser(maximumDepth: Limit.depth, maximumBytes: Limit.recordBytes)
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

    /// Which of the required fields have been seen: a bit each, in the order of the reader's list.
    private var seen: UInt32 = 0

    @inline(__always)
    private func require(_ fields: StaticString..., what: StaticString) throws(ContractError) {
        guard seen != (1 << UInt32(fields.count)) - 1 else { return }
        for (i, field) in fields.enumerated() where seen & (1 << UInt32(i)) == 0 {
            throw .missing("/\(field)", in: "\(what)")
        }
    }

    // MARK: impression, label, judgment

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

    // MARK: item, text

    mutating func readItem(_ root: JSONView) throws(ContractError) {
        catalog.start()
        var deleted = false
        for (name, value) in root.members where !value.isNull {
            if name.equals("kind") {
                continue
            } else if name.equals("deleted") {
                deleted = try value.truth(Place("deleted"))
            } else if name.equals("item_kind") {
                try catalog.readKind(value, "item_kind")
            } else {
                try catalog.read(name, value)
            }
        }
        if deleted { try catalog.finishDeleted() } else { try catalog.finish() }
        item = Item(catalog.item, deleted: deleted)
    }

    mutating func readText(_ root: JSONView) throws(ContractError) {
        text = Text()
        seen = 0
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
            }
        }
        try require("time_ms", "hash", "text", what: "a text")
    }

    // MARK: prior, release, settings, tick

    mutating func readPrior(_ root: JSONView) throws(ContractError) {
        prior = Prior()
        seen = 0
        for (name, value) in root.members where !value.isNull {
            if name.equals("time_ms") {
                prior.time_ms = try value.time(Place("time_ms"))
                seen |= 1 << 0
            } else if name.equals("sender") {
                prior.sender = Int(try value.count(Place("sender")))
                seen |= 1 << 1
            } else if name.equals("first_ordinal") {
                prior.first_ordinal = try value.count(Place("first_ordinal"))
                seen |= 1 << 2
            } else if name.equals("last_ordinal") {
                prior.last_ordinal = try value.count(Place("last_ordinal"))
                seen |= 1 << 3
            } else if name.equals("block") {
                prior.block = Int(try value.count(Place("block")))
                seen |= 1 << 4
            } else if name.equals("blocks") {
                prior.blocks = Int(try value.integer(Place("blocks"), in: 1...1_000_000))
                seen |= 1 << 5
            } else if name.equals("items") {
                try readPriorItems(value)
                seen |= 1 << 6
            } else if name.equals("impressions") {
                prior.impressions = try value.number(Place("impressions"))
            } else if name.equals("clicks") {
                prior.clicks = try value.number(Place("clicks"))
            } else if name.equals("examples") {
                prior.examples = try value.number(Place("examples"))
            } else if name.equals("weights") {
                try readWeights(value)
            }
        }
        try require(
            "time_ms", "sender", "first_ordinal", "last_ordinal", "block", "blocks", "items",
            what: "a prior")
        guard prior.block < prior.blocks else {
            throw ContractError(
                .out_of_range, path: "/block",
                "/block must be below /blocks, which is \(prior.blocks), not \(prior.block).")
        }
    }

    private mutating func readPriorItems(_ list: JSONView) throws(ContractError) {
        guard list.isArray else { throw list.wrongType(Place("items"), "a list of items") }
        priorItems.removeAll()
        var index = 0
        for row in list.elements {
            guard row.isArray && row.count == 3 else {
                throw row.wrongType(
                    Place("items", index, ""), "a list of item_id, impressions and clicks")
            }
            priorItems.append(
                PriorItem(
                    item_id: try row[0].id(Place("items", index, "0")),
                    impressions: try row[1].number(Place("items", index, "1")),
                    clicks: try row[2].number(Place("items", index, "2"))))
            index += 1
        }
        prior.items = priorItems.list
    }

    private mutating func readWeights(_ object: JSONView) throws(ContractError) {
        guard object.isObject else {
            throw object.wrongType(Place("weights"), "an object of lists")
        }
        weights.removeAll()
        weightValues.removeAll()
        weightStarts.removeAll()
        for (name, list) in object.members {
            guard list.isArray else {
                throw list.wrongType(Place("weights", name: name), "a list of numbers")
            }
            weightStarts.append(weightValues.count)
            weights.append(NamedWeights(name: name, values: BorrowedList()))
            var index = 0
            for value in list.elements {
                weightValues.append(try value.number(Place("weights", name: name, index)))
                index += 1
            }
        }
        weightStarts.append(weightValues.count)
        for i in 0..<weights.count {
            weights[i].values = weightValues.list(weightStarts[i], weightStarts[i + 1])
            var j = i
            while j > 0 && weights[j].name.precedes(weights[j - 1].name) {
                let earlier = weights[j - 1]
                weights[j - 1] = weights[j]
                weights[j] = earlier
                j -= 1
            }
        }
        prior.weights = weights.list
    }

    mutating func readRelease(_ root: JSONView) throws(ContractError) {
        release = Release()
        seen = 0
        for (name, value) in root.members where !value.isNull {
            if name.equals("time_ms") {
                release.time_ms = try value.time(Place("time_ms"))
                seen |= 1 << 0
            } else if name.equals("hash") {
                release.hash = try value.id(Place("hash"))
                seen |= 1 << 1
            } else if name.equals("ordinals") {
                guard value.isArray else {
                    throw value.wrongType(Place("ordinals"), "a list of ordinals")
                }
                ordinals.removeAll()
                for index in 0..<value.count {
                    ordinals.append(try value[index].count(Place("ordinals", index, "")))
                }
                release.ordinals = ordinals.list
                seen |= 1 << 2
            }
        }
        try require("time_ms", "hash", "ordinals", what: "a release")
    }

    mutating func readSettings(_ root: JSONView) throws(ContractError) {
        settings = SettingsRecord()
        seen = 0
        for (name, value) in root.members where !value.isNull {
            if name.equals("time_ms") {
                settings.time_ms = try value.time(Place("time_ms"))
                seen |= 1 << 0
            } else if name.equals("hash") {
                settings.hash = try value.id(Place("hash"))
                seen |= 1 << 1
            } else if name.equals("settings") {
                guard value.isObject else { throw value.wrongType(Place("settings"), "an object") }
                // Settings come once in a long while: a tree may be made of them.
                canonicalSettings.removeAll()
                canonicalSettings.element(JSONValue(value))
                settings.settings = canonicalSettings.slice
                seen |= 1 << 2
            }
        }
        try require("time_ms", "hash", "settings", what: "a settings record")
    }

    mutating func readTick(_ root: JSONView) throws(ContractError) {
        tick = Tick()
        seen = 0
        for (name, value) in root.members where !value.isNull {
            if name.equals("time_ms") {
                tick.time_ms = try value.time(Place("time_ms"))
                seen |= 1 << 0
            } else if name.equals("source") {
                tick.source = Int(try value.count(Place("source")))
                seen |= 1 << 1
            } else if name.equals("ordinal") {
                tick.ordinal = try value.count(Place("ordinal"))
                seen |= 1 << 2
            } else if name.equals("close") {
                tick.close = try value.truth(Place("close"))
            } else if name.equals("domains") {
                try readTickCounts(value)
            }
        }
        try require("time_ms", "source", "ordinal", what: "a tick")
    }

    private mutating func readTickCounts(_ object: JSONView) throws(ContractError) {
        guard object.isObject else {
            throw object.wrongType(Place("domains"), "an object of counts")
        }
        counts.removeAll()
        for (domain, row) in object.members {
            guard row.isObject else {
                throw row.wrongType(Place("domains", name: domain), "an object of counts")
            }
            guard DomainName.isValid(domain) || domain.equals("-") else {
                throw ContractError(
                    .invalid_value, path: "/domains",
                    "/domains holds \(domain.text), which is no domain's name.")
            }
            var count = TickCounts(domain: domain)
            for (name, value) in row.members where !value.isNull {
                let number = Int(try value.count(Place("domains", name: domain)))
                if name.equals("duplicates") {
                    count.duplicates = number
                } else if name.equals("orphans") {
                    count.orphans = number
                } else if name.equals("late") {
                    count.late = number
                } else if name.equals("dead") {
                    count.dead = number
                }
            }
            counts.append(count)
            var i = counts.count - 1
            while i > 0 && counts[i].domain.precedes(counts[i - 1].domain) {
                let earlier = counts[i - 1]
                counts[i - 1] = counts[i]
                counts[i] = earlier
                i -= 1
            }
        }
        tick.domains = counts.list
    }
}
