// Reads records of `events`: the hot door through which everything from outside comes.

import Bytes
import JSON

/// Turns the bytes of a record into an `Event`, or says in a sentence why it cannot.
///
/// One reader a thread, reused: reading allocates nothing of its own. The event and its slices live
/// until the next `read`, and no longer than the reader.
public final class EventReader {
    private let parser = JSONParser(maximumDepth: Limit.depth, maximumBytes: Limit.recordBytes)
    private let state: UnsafeMutablePointer<EventReading>

    public init() {
        state = .allocate(capacity: 1)
        state.initialize(to: EventReading())
    }

    deinit {
        state.deinitialize(count: 1)
        state.deallocate()
    }

    /// What the last successful `read` found.
    public var event: Event { state.pointee.event }

    /// Reads one record; its bytes are not needed any longer when this returns.
    ///
    /// - Throws: why it is a dead letter; `event` must not be used then.
    public func read(_ value: ByteSlice) throws(ContractError) {
        let root: JSONView
        do throws(JSONError) { root = try parser.parse(value) } catch { throw ContractError(error) }
        guard root.isObject else { throw .notAnObject(root) }
        do throws(ContractError) {
            try state.pointee.read(root)
        } catch {
            // Names in an envelope mean something else, so it may fail before it is seen to be one.
            guard let version = root.member("specversion"), !version.isNull else { throw error }
            state.pointee.isEnvelope = true
        }
        if state.pointee.isEnvelope { try state.pointee.readEnvelope(root) }
        state.pointee.deriveID(from: value)
    }
}

extension ContractError {
    static func notAnObject(_ root: JSONView) -> ContractError {
        ContractError(
            .not_an_object, path: "", "The record must be a JSON object, not \(root.kind.noun).")
    }
}

/// The reused memory of an `EventReader`.
private struct EventReading: ~Copyable {
    var event = Event()
    var items = ReusedList<SlateItem>()
    var user = NamedScalars()
    var context = NamedScalars()
    let derivedID: UnsafeMutablePointer<UInt8> = .allocate(capacity: 32)
    var isEnvelope = false
    private var hasType = false
    private var hasTime = false

    deinit { derivedID.deallocate() }

    mutating func read(_ root: JSONView) throws(ContractError) {
        start()
        for (name, value) in root.members {
            if value.isNull { continue }
            try read(name, value)
            if isEnvelope { return }
        }
        try finish()
    }

    /// CloudEvents 1.0, JSON format: the event is `data`.
    mutating func readEnvelope(_ root: JSONView) throws(ContractError) {
        guard let data = root.member("data"), data.isObject else {
            throw ContractError(
                root.member("data") == nil ? .missing_field : .wrong_type, path: "/data",
                "/data must be the event, a JSON object; this is a CloudEvents envelope (specversion is there)."
            )
        }
        do throws(ContractError) {
            start()
            for (name, value) in data.members where !value.isNull {
                try read(name, value)
                if isEnvelope {
                    throw ContractError(
                        .conflicting_fields, path: "/specversion",
                        "/specversion makes this an envelope inside an envelope.")
                }
            }
        } catch {
            throw error.inside("/data")
        }
        if event.id.isEmpty, let id = root.member("id"), !id.isNull {
            event.id = try id.id(Place("id"))
            event.isIDDerived = false
        }
        if !hasTime, let time = root.member("time"), !time.isNull {
            let text = try time.text(Place("time"))
            guard let time_ms = Timestamp.milliseconds(text) else {
                throw time.wrongValue(
                    Place("time"), "a date and time as in RFC 3339, from 1970 to 9999")
            }
            event.time_ms = time_ms
            hasTime = true
        }
        do throws(ContractError) { try finish() } catch { throw error.inside("/data") }
    }

    /// Gives a record without an id the hash of its bytes.
    mutating func deriveID(from value: ByteSlice) {
        guard event.isIDDerived else { return }
        let hash = Hash128(value)
        hash.high.writeHexadecimal(to: derivedID)
        hash.low.writeHexadecimal(to: derivedID + 16)
        event.id = ByteSlice(derivedID, count: 32)
    }

    private mutating func start() {
        event = Event()
        items.removeAll()
        isEnvelope = false
        hasType = false
        hasTime = false
    }

    /// Reads one member of the event that is not null.
    @inline(__always)
    private mutating func read(_ name: ByteSlice, _ value: JSONView) throws(ContractError) {
        switch EventField(name) {
        case .id:
            event.id = try value.id(Place("id"))
            event.isIDDerived = false
        case .type: try readType(value)
        case .time_ms:
            event.time_ms = try value.time(Place("time_ms"))
            hasTime = true
        case .domain: event.domain = try value.domain(Place("domain"))
        case .user_id: event.user_id = try value.id(Place("user_id"))
        case .session_id: event.session_id = try value.id(Place("session_id"))
        case .request_id: event.request_id = try value.id(Place("request_id"))
        case .impression_id:
            event.impression_id = try value.id(
                Place("impression_id"), limit: Limit.impressionIDBytes)
        case .item_id: event.item_id = try value.id(Place("item_id"))
        case .items: try readItems(value)
        case .position: event.position = try value.position(Place("position"))
        case .query:
            let query = try value.text(Place("query"), limit: Limit.queryBytes)
            event.query = query.isEmpty ? nil : query
        case .propensity: event.propensity = try value.share(Place("propensity"))
        case .policy: event.policy = try value.id(Place("policy"))
        case .value: event.value = try value.number(Place("value"))
        case .currency: event.currency = try value.id(Place("currency"))
        case .grade: event.grade = try value.unit(Place("grade"))
        case .user: event.user = try user.read(value, "user")
        case .context: event.context = try context.read(value, "context")
        case .close: event.close = try value.truth(Place("close"))
        case .specversion: isEnvelope = true
        case .unknown:
            event.unknownFields &+= 1
        }
    }

    private mutating func readType(_ value: JSONView) throws(ContractError) {
        let word = try value.text(Place("type"))
        guard let type = EventType(word) else {
            throw ContractError(
                .unknown_type, path: "/type",
                "/type must be impression, click, conversion, judgment or tick, not \(value.shown)."
            )
        }
        event.type = type
        hasType = true
    }

    private mutating func readItems(_ list: JSONView) throws(ContractError) {
        guard list.isArray else { throw list.wrongType(Place("items"), "a list of items") }
        guard list.count <= Limit.slateItems else {
            throw ContractError(
                .too_many_values, path: "/items",
                "/items holds \(list.count) items; \(Limit.slateItems) are allowed.")
        }
        var index = 0
        for element in list.elements {
            guard element.isObject else {
                throw element.wrongType(Place("items", index, ""), "an object with item_id")
            }
            var item_id: ByteSlice?
            var position = index &+ 1
            var propensity: Double?
            for (name, value) in element.members {
                if value.isNull { continue }
                if name.equals("item_id") {
                    item_id = try value.id(Place("items", index, "item_id"))
                } else if name.equals("position") {
                    position = try value.position(Place("items", index, "position"))
                } else if name.equals("propensity") {
                    propensity = try value.share(Place("items", index, "propensity"))
                } else {
                    event.unknownFields &+= 1
                }
            }
            guard let item_id else {
                throw .missing("/items/\(index)/item_id", in: "every item of a slate")
            }
            items.append(SlateItem(item_id: item_id, position: position, propensity: propensity))
            index &+= 1
        }
        guard index > 0 else {
            throw ContractError(
                .out_of_range, path: "/items", "/items must hold at least one item.")
        }
        event.items = items.list
    }

    /// Checks what only all fields together can tell.
    @inline(__always)
    private mutating func finish() throws(ContractError) {
        guard hasType else { throw .missing("/type", in: "every event") }
        guard hasTime else { throw .missing("/time_ms", in: "every event") }
        if event.type == .tick { return finishTick() }
        if event.domain.isEmpty { throw .missing("/domain", in: "every event") }
        if event.user_id == nil && event.session_id == nil {
            throw .missing("/user_id", in: "every event (or session_id, where nobody is signed in)")
        }
        switch event.type {
        case .impression: try finishImpression()
        case .click, .conversion: try finishClick()
        case .judgment: try finishJudgment()
        case .tick: break
        }
    }

    /// A tick says how far time has come, and nothing else.
    private mutating func finishTick() {
        var tick = Event(type: .tick, time_ms: event.time_ms)
        tick.close = event.close
        tick.unknownFields = event.unknownFields
        event = tick
    }

    @inline(__always)
    private func finishImpression() throws(ContractError) {
        guard event.items.isEmpty else { return try finishSlate() }
        if event.item_id == nil {
            throw .missing("/item_id", in: "an impression (or items, for a slate)")
        }
    }

    private func finishSlate() throws(ContractError) {
        if event.item_id != nil { throw besideItems("item_id") }
        if event.position != nil { throw besideItems("position") }
        if event.propensity != nil { throw besideItems("propensity") }
        try refuseLargeSlate()
        // Two items in one place would be two impressions with one id. Places mostly ascend.
        var previous = 0
        for item in event.items {
            guard item.position > previous else { return try refuseEqualPositions() }
            previous = item.position
        }
    }

    /// Every item of a slate becomes an impression with all that stands beside the items.
    private func refuseLargeSlate() throws(ContractError) {
        let beside =
            event.user.reduce(0) { $0 + $1.bytes } + event.context.reduce(0) { $0 + $1.bytes }
        guard beside * event.items.count <= Limit.slateBytes else {
            throw ContractError(
                .too_large, path: "/items",
                """
                /items holds \(event.items.count) items, each of which gets the \(beside) bytes of /user \
                and /context; \(Limit.slateBytes) bytes are allowed in all.
                """)
        }
    }

    private func besideItems(_ field: StaticString) -> ContractError {
        ContractError(
            .conflicting_fields, path: "/\(field)",
            "/\(field) must not stand beside /items; a slate says it of each item.")
    }

    @inline(never)
    private func refuseEqualPositions() throws(ContractError) {
        var places = Set<Int>()
        for (index, item) in event.items.enumerated()
        where !places.insert(item.position).inserted {
            throw ContractError(
                .conflicting_fields, path: "/items/\(index)/position",
                "/items/\(index)/position is \(item.position), which another item of the slate has."
            )
        }
    }

    @inline(__always)
    private func finishClick() throws(ContractError) {
        try refuseItems()
        if event.impression_id == nil && (event.request_id == nil || event.item_id == nil) {
            throw .missing(
                event.request_id == nil ? "/impression_id" : "/item_id",
                in:
                    "a \(event.type.word), which names its impression by impression_id or by request_id and item_id,"
            )
        }
    }

    private func finishJudgment() throws(ContractError) {
        try refuseItems()
        if event.query == nil { throw .missing("/query", in: "a judgment") }
        if event.item_id == nil { throw .missing("/item_id", in: "a judgment") }
        if event.grade == nil { throw .missing("/grade", in: "a judgment") }
    }

    @inline(__always)
    private func refuseItems() throws(ContractError) {
        guard event.items.isEmpty else {
            throw ContractError(
                .conflicting_fields, path: "/items",
                "/items is for impressions; a \(event.type.word) names one item.")
        }
    }
}

/// The fields of an event, found by length and first byte.
private enum EventField {
    case id, type, time_ms, domain, user_id, session_id, request_id, impression_id, item_id, items,
        position
    case query, propensity, policy, value, currency, grade, user, context, close, specversion,
        unknown

    @inline(__always)
    init(_ name: ByteSlice) {
        var candidate = EventField.unknown
        var word: StaticString = ""
        switch name.count {
        case 2: (candidate, word) = (.id, "id")
        case 4: (candidate, word) = name[0] == UInt8(ascii: "t") ? (.type, "type") : (.user, "user")
        case 5:
            switch name[0] {
            case UInt8(ascii: "i"): (candidate, word) = (.items, "items")
            case UInt8(ascii: "q"): (candidate, word) = (.query, "query")
            case UInt8(ascii: "v"): (candidate, word) = (.value, "value")
            case UInt8(ascii: "g"): (candidate, word) = (.grade, "grade")
            default: (candidate, word) = (.close, "close")
            }
        case 6:
            (candidate, word) =
                name[0] == UInt8(ascii: "d") ? (.domain, "domain") : (.policy, "policy")
        case 7:
            switch name[0] {
            case UInt8(ascii: "t"): (candidate, word) = (.time_ms, "time_ms")
            case UInt8(ascii: "i"): (candidate, word) = (.item_id, "item_id")
            case UInt8(ascii: "u"): (candidate, word) = (.user_id, "user_id")
            default: (candidate, word) = (.context, "context")
            }
        case 8:
            (candidate, word) =
                name[0] == UInt8(ascii: "p") ? (.position, "position") : (.currency, "currency")
        case 10:
            switch name[0] {
            case UInt8(ascii: "r"): (candidate, word) = (.request_id, "request_id")
            case UInt8(ascii: "s"): (candidate, word) = (.session_id, "session_id")
            default: (candidate, word) = (.propensity, "propensity")
            }
        case 11: (candidate, word) = (.specversion, "specversion")
        case 13: (candidate, word) = (.impression_id, "impression_id")
        default: break
        }
        self = name.equals(word) ? candidate : .unknown
    }
}

extension EventType {
    @inline(__always)
    init?(_ word: ByteSlice) {
        guard let type = EventType.allCases.first(where: { word.equals($0.word) }) else {
            return nil
        }
        self = type
    }
}

extension ContractError {
    /// The same error about a record that stands inside another, at `prefix`.
    func inside(_ prefix: String) -> ContractError {
        ContractError(
            reason, path: prefix + path,
            message.hasPrefix(path) ? prefix + message : "\(message) (in \(prefix))")
    }
}

extension UInt64 {
    /// Writes 16 hexadecimal digits, lower case.
    func writeHexadecimal(to out: UnsafeMutablePointer<UInt8>) {
        for i in 0..<16 {
            let digit = UInt8(truncatingIfNeeded: self &>> UInt64(60 &- 4 &* i)) & 15
            out[i] = digit < 10 ? digit &+ UInt8(ascii: "0") : digit &+ (UInt8(ascii: "a") &- 10)
        }
    }
}
