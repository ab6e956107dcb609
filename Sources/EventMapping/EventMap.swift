// How other people's lines become events: a map, read once from JSON (README.md has the format).

/// A map, checked and ready for an `EventMapper`.
public struct EventMap: Sendable {
    /// What the lines of the input are.
    public enum Input: String, CaseIterable, Sendable {
        case json, csv, tsv
    }

    /// What becomes of a line that no rule applies to.
    public enum Unmatched: String, CaseIterable, Sendable {
        case skip
        case deadLetter = "dead_letter"
    }

    public let name: String
    public let about: String
    public let input: Input
    /// The columns of a file without a header line; nil where the first line names them.
    public let columns: [String]?
    public let unmatched: Unmatched
    /// Texts that count as no value.
    let absent: [[UInt8]]
    let rules: [EventRule]
    /// Every column that the map reads, numbered by `Locator.column`.
    let columnNames: [String]

    /// Whether the first line of the input names the columns.
    public var needsHeader: Bool { input != .json && columns == nil }
}

/// When a line makes an event, and what that holds.
struct EventRule: Sendable {
    /// What must hold of the line, and of the element.
    let conditions: [Condition]
    let elementConditions: [Condition]
    /// The list whose every element makes an event.
    let each: Locator?
    let fields: [(field: EventField, value: ValueRule)]
    /// In byte order of the names.
    let user: [(name: [UInt8], value: ValueRule)]
    let context: [(name: [UInt8], value: ValueRule)]
    let slate: SlateRule?
}

/// A slate: the list and what is taken of each element.
struct SlateRule: Sendable {
    let each: Locator
    let item_id: ValueRule
    let position: ValueRule?
    let propensity: ValueRule?
}

/// What must hold of a line.
struct Condition: Sendable {
    enum Expectation: Sendable {
        case present, absent
        case oneOf([[UInt8]])
    }

    let locator: Locator
    let expectation: Expectation
}

/// The fields of an event that a map can fill directly.
enum EventField: String, CaseIterable, Sendable {
    case type, id, time_ms, domain, user_id, session_id, request_id, impression_id, item_id
    case position, query, propensity, policy, value, currency, grade
}

/// Where a value comes from and what is done to it, in this order.
struct ValueRule: Sendable {
    enum Source: Sendable {
        case constant(Constant)
        /// The first that has a value.
        case locators([Locator])
        /// Texts and values in turn; the first that has all its values.
        case templates([[TemplatePiece]])
        /// The place of the element in its list, plus a number.
        case place(Int)
    }

    enum Form: String, CaseIterable, Sendable {
        case text, number, boolean
        /// Lower-case letters, digits, dots, dashes: what may be a domain.
        case name
    }

    var source: Source
    var fallback: Constant?
    var words: [(from: [UInt8], to: Constant)] = []
    /// For a text that is none of `words`; nil makes that an error.
    var otherwise: Constant?
    var time: TimeUnit?
    var factor = 1.0
    var summand = 0.0
    var form: Form?
}

enum TemplatePiece: Sendable {
    case text([UInt8])
    case value(Locator)
}

/// A scalar that stands in the map itself.
enum Constant: Sendable, Equatable {
    case text([UInt8])
    case integer(Int64)
    case number(Double)
    case boolean(Bool)
}

/// A place in the input: a column, or a JSON Pointer.
struct Locator: Sendable {
    /// As the map writes it.
    let text: String
    /// Which of the map's `columnNames`; nil for JSON.
    let column: Int?
    /// Whether it starts at the element of a list rather than at the line.
    let isRelative: Bool
    let steps: [PointerStep]
}

/// One step of a JSON Pointer (RFC 6901), or `[key=value]`: the first element of a list whose member
/// `key` is the text `value`, as in exports that write objects as lists of keys and values.
enum PointerStep: Sendable, Equatable {
    case name([UInt8], index: Int?)
    case select(key: [UInt8], value: [UInt8])
}
