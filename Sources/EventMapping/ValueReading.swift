// From a rule and a line to a value, and from values to the fields of an event.

import Bytes
import Contracts
import JSON

/// A scalar on its way; texts live as long as the line or until the next event.
enum MappedValue {
    case absent
    case text(ByteSlice)
    case integer(Int64)
    case number(Double)
    case boolean(Bool)

    var isAbsent: Bool { if case .absent = self { true } else { false } }
}

/// Reads values; holds the texts that had to be made for the event in hand.
struct ValueReading: ~Copyable {
    var absent: [[UInt8]] = []
    private var arena = ByteArena()
    private var composed = ByteBuffer()

    mutating func removeAll() { arena.removeAll() }

    /// The event with the fields that the rule fills directly.
    mutating func draft(_ rule: EventRule, _ line: InputLine) throws(ContractError) -> Event {
        var event = Event()
        for (field, valueRule) in rule.fields {
            let name = field.rawValue
            let value = try value(valueRule, line, name)
            if value.isAbsent { continue }
            switch field {
            case .type: event.type = try type(value)
            case .id:
                event.id = try text(value, name)
                event.isIDDerived = false
            case .time_ms: event.time_ms = try integer(value, name)
            case .domain: event.domain = try text(value, name)
            case .user_id: event.user_id = try text(value, name)
            case .session_id: event.session_id = try text(value, name)
            case .request_id: event.request_id = try text(value, name)
            case .impression_id: event.impression_id = try text(value, name)
            case .item_id: event.item_id = try text(value, name)
            case .position: event.position = Int(clamping: try integer(value, name))
            case .query: event.query = try text(value, name)
            case .propensity: event.propensity = try number(value, name)
            case .policy: event.policy = try text(value, name)
            case .value: event.value = try number(value, name)
            case .currency: event.currency = try text(value, name)
            case .grade: event.grade = try number(value, name)
            }
        }
        return event
    }

    /// The items of a slate; nil where the line has no such list, or an empty one.
    mutating func slate(_ rule: SlateRule, _ line: InputLine) throws(ContractError) -> [SlateItem] {
        guard let list = try line.list(rule.each) else { return [] }
        var items: [SlateItem] = []
        for (place, element) in list.elements.enumerated() {
            let inside = line.inside(element, place)
            let id = try value(rule.item_id, inside, "items/\(place)/item_id")
            var item = SlateItem(
                item_id: id.isAbsent ? .empty : try text(id, "items/\(place)/item_id"),
                position: place + 1)
            if let rule = rule.position {
                let position = try value(rule, inside, "items/\(place)/position")
                if !position.isAbsent {
                    item.position = Int(clamping: try integer(position, "items/\(place)/position"))
                }
            }
            if let rule = rule.propensity {
                let propensity = try value(rule, inside, "items/\(place)/propensity")
                if !propensity.isAbsent {
                    item.propensity = try number(propensity, "items/\(place)/propensity")
                }
            }
            items.append(item)
        }
        return items
    }

    /// The members of `user` or `context` that have a value.
    mutating func scalars(
        _ rules: [(name: [UInt8], value: ValueRule)], _ line: InputLine, _ field: String
    ) throws(ContractError) -> [NamedScalar] {
        var scalars: [NamedScalar] = []
        for (name, rule) in rules {
            let path = "\(field)/\(String(decoding: name, as: UTF8.self))"
            let scalar: Scalar
            switch try value(rule, line, path) {
            case .absent: continue
            case .text(let text): scalar = .text(text)
            case .integer(let integer): scalar = .number(Double(integer))
            case .number(let number): scalar = .number(number)
            case .boolean(let truth): scalar = .boolean(truth)
            }
            scalars.append(NamedScalar(name: name.lend { arena.keep($0) }, value: scalar))
        }
        return scalars
    }

    // One value: source, default, words, time, arithmetic, form.

    private mutating func value(
        _ rule: ValueRule, _ line: InputLine, _ field: String
    ) throws(ContractError) -> MappedValue {
        var value = try read(rule.source, line)
        if value.isAbsent, let fallback = rule.fallback { value = self.value(fallback) }
        if value.isAbsent { return value }
        if !rule.words.isEmpty { value = try translated(value, rule, field) }
        if let unit = rule.time { value = .integer(try time(value, unit, field)) }
        if rule.factor != 1 || rule.summand != 0 { value = try computed(value, rule, field) }
        return try formed(value, rule.form, field)
    }

    private mutating func read(
        _ source: ValueRule.Source, _ line: InputLine
    ) throws(ContractError) -> MappedValue {
        switch source {
        case .constant(let constant): return value(constant)
        case .place(let first): return .integer(Int64(line.place + first))
        case .locators(let locators):
            for locator in locators {
                let value = try read(locator, line)
                if !value.isAbsent { return value }
            }
            return .absent
        case .templates(let templates):
            for template in templates {
                if let text = try filled(template, line) { return .text(text) }
            }
            return .absent
        }
    }

    /// The template's text; nil where one of its places has no value.
    private mutating func filled(
        _ template: [TemplatePiece], _ line: InputLine
    ) throws(ContractError) -> ByteSlice? {
        var texts: [ByteSlice] = []
        for piece in template {
            switch piece {
            case .text(let bytes): texts.append(bytes.lend { arena.keep($0) })
            case .value(let locator):
                guard let text = text(try read(locator, line)) else { return nil }
                texts.append(text)
            }
        }
        composed.removeAll()
        for text in texts { composed.append(text) }
        return arena.keep(composed.slice)
    }

    /// The scalar at a place; absent where there is none, where it is null, or where the map says so.
    mutating func read(_ locator: Locator, _ line: InputLine) throws(ContractError) -> MappedValue {
        if let column = locator.column { return present(line.columns[column]) }
        guard let view = line.view(locator) else { return .absent }
        switch view.kind {
        case .null: return .absent
        case .text: return present(view.text!)
        case .integer: return .integer(view.integer!)
        case .number: return .number(view.double!)
        case .boolean: return .boolean(view.boolean!)
        case .array, .object:
            throw ContractError(
                .not_mapped, path: locator.text,
                "\(locator.text) must be a scalar, not \(view.kind.noun).")
        }
    }

    private func present(_ text: ByteSlice) -> MappedValue {
        absent.contains { $0.lend { $0.equals(text) } } ? .absent : .text(text)
    }

    private mutating func value(_ constant: Constant) -> MappedValue {
        switch constant {
        case .text(let bytes): .text(bytes.lend { arena.keep($0) })
        case .integer(let integer): .integer(integer)
        case .number(let number): .number(number)
        case .boolean(let truth): .boolean(truth)
        }
    }

    private mutating func translated(
        _ value: MappedValue, _ rule: ValueRule, _ field: String
    ) throws(ContractError) -> MappedValue {
        let text = try text(value, field)
        if let word = rule.words.first(where: { $0.from.lend { $0.equals(text) } }) {
            return self.value(word.to)
        }
        if let otherwise = rule.otherwise { return self.value(otherwise) }
        throw refusal(field, text, "none of the words that the map knows")
    }

    private mutating func time(
        _ value: MappedValue, _ unit: TimeUnit, _ field: String
    ) throws(ContractError) -> Int64 {
        let milliseconds: Int64?
        switch number(of: value) {
        case .integer(let integer): milliseconds = unit.milliseconds(integer)
        case .number(let number): milliseconds = unit.milliseconds(number)
        case .text(let text) where unit == .iso8601:
            milliseconds = TimeUnit.milliseconds(iso8601: text, &composed)
        default: milliseconds = nil
        }
        if let milliseconds { return milliseconds }
        throw refusal(field, try text(value, field), "no time in \(unit.rawValue)")
    }

    private mutating func computed(
        _ value: MappedValue, _ rule: ValueRule, _ field: String
    ) throws(ContractError) -> MappedValue {
        if case .integer(let integer) = number(of: value), rule.factor == 1,
            let summand = Int64(exactly: rule.summand)
        {
            let (sum, overflow) = integer.addingReportingOverflow(summand)
            if !overflow { return .integer(sum) }
        }
        return .number(try number(value, field) * rule.factor + rule.summand)
    }

    private mutating func formed(
        _ value: MappedValue, _ form: ValueRule.Form?, _ field: String
    ) throws(ContractError) -> MappedValue {
        switch form {
        case nil: return value
        case .text: return .text(try text(value, field))
        case .number: return .number(try number(value, field))
        case .boolean:
            if case .boolean = value { return value }
            let text = try text(value, field)
            if text.equals("true") || text.equals("1") { return .boolean(true) }
            if text.equals("false") || text.equals("0") { return .boolean(false) }
            throw refusal(field, text, "neither true nor false")
        case .name:
            let text = try text(value, field)
            composed.removeAll()
            composed.appendName(text)
            guard composed.count > 0 else { throw refusal(field, text, "no name") }
            return .text(arena.keep(composed.slice))
        }
    }

    // What a field wants.

    /// The value as text, as JSON would write a number; nil of an absent one.
    mutating func text(_ value: MappedValue) -> ByteSlice? {
        switch value {
        case .absent: return nil
        case .text(let text): return text
        case .integer(let integer):
            composed.removeAll()
            composed.appendJSON(integer)
            return arena.keep(composed.slice)
        case .number(let number):
            composed.removeAll()
            composed.appendJSON(number)
            return arena.keep(composed.slice)
        case .boolean(let truth): return arena.keep(truth ? "true" : "false")
        }
    }

    private mutating func text(_ value: MappedValue, _ field: String) throws(ContractError)
        -> ByteSlice
    {
        guard let text = text(value) else { throw refusal(field, .empty, "no value") }
        return text
    }

    /// Digits in a text as the number that they mean; anything else as it is.
    private func number(of value: MappedValue) -> MappedValue {
        guard case .text(let text) = value else { return value }
        guard text.count > 0, text.count <= 40 else { return value }
        for i in 0..<text.count {
            switch text[i] {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "+"),
                UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"):
                continue
            default: return value
            }
        }
        let string = text.text
        if let integer = Int64(string) { return .integer(integer) }
        guard let number = Double(string), number.isFinite else { return value }
        return .number(number)
    }

    private mutating func number(
        _ value: MappedValue, _ field: String
    ) throws(ContractError) -> Double {
        switch number(of: value) {
        case .integer(let integer): return Double(integer)
        case .number(let number) where number.isFinite: return number
        default: throw refusal(field, try text(value, field), "no number")
        }
    }

    private mutating func integer(
        _ value: MappedValue, _ field: String
    ) throws(ContractError) -> Int64 {
        switch number(of: value) {
        case .integer(let integer): return integer
        case .number(let number):
            if let integer = Int64(exactly: number) { return integer }
            fallthrough
        default: throw refusal(field, try text(value, field), "no whole number")
        }
    }

    private mutating func type(_ value: MappedValue) throws(ContractError) -> EventType {
        let text = try text(value, "type")
        // Ticks are the fleet's own.
        for type in EventType.allCases where type != .tick && text.equals(type.word) { return type }
        throw refusal("type", text, "no type of event")
    }
}

private func refusal(_ field: String, _ text: ByteSlice, _ reason: String) -> ContractError {
    let shown = text.slice(0, min(text.count, 60)).text
    return ContractError(
        .not_mapped, path: "/\(field)",
        "The map fills /\(field) with \"\(shown)\", which is \(reason).")
}

extension ByteBuffer {
    /// Appends `text` as a name of a domain: lower case, what is no letter, digit, dot or underscore
    /// becomes one dash, at most 64 bytes.
    fileprivate mutating func appendName(_ text: ByteSlice) {
        for i in 0..<text.count where count < 64 {
            switch text[i] {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                append(text[i])
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): append(text[i] | 0x20)
            case UInt8(ascii: "."), UInt8(ascii: "_"):
                if count > 0 { append(text[i]) }
            default:
                if count > 0, slice[count - 1] != UInt8(ascii: "-") { append(UInt8(ascii: "-")) }
            }
        }
        if count > 0, slice[count - 1] == UInt8(ascii: "-") { truncate(to: count - 1) }
    }
}
