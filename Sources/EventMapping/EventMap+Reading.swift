// Reads a map from JSON. Whatever it does not know is an error that names the nearest known word.

import Bytes
import CommandLineArguments
import JSON

extension EventMap {
    /// Reads a map file.
    public init(parsing bytes: ByteSlice) throws(EventMapError) {
        let root: JSONValue
        do throws(JSONError) { root = try JSONValue(parsing: bytes) } catch {
            throw EventMapError(
                error.path, "it is not JSON: \(error.reason) at byte \(error.offset)")
        }
        try self.init(root)
    }

    init(_ root: JSONValue) throws(EventMapError) {
        let map = try Node(root, at: "").object(
            ["name", "about", "input", "columns", "absent", "unmatched", "events"])
        name = try map.required("name").text()
        about = try map["about"]?.text() ?? ""
        input = try map.required("input").word(Input.allCases)
        unmatched = try map["unmatched"]?.word(Unmatched.allCases) ?? .deadLetter
        columns = try map["columns"]?.list { (node) throws(EventMapError) in try node.text() }
        if input == .json, columns != nil {
            throw EventMapError("/columns", "JSON lines have no columns")
        }
        absent =
            try map["absent"]?.list { (node) throws(EventMapError) in Array(try node.text().utf8) }
            ?? [[]]
        var reading = RuleReading(input: input, columns: columns)
        let list = try map.required("events")
        rules = try list.list { (node) throws(EventMapError) in try reading.rule(node) }
        if rules.isEmpty { throw EventMapError(list.path, "there must be at least one event") }
        columnNames = reading.columnNames
    }
}

/// Reads rules and numbers the columns that they name.
private struct RuleReading {
    let input: EventMap.Input
    let columns: [String]?
    var columnNames: [String] = []

    init(input: EventMap.Input, columns: [String]?) {
        self.input = input
        self.columns = columns
    }

    mutating func rule(_ node: Node) throws(EventMapError) -> EventRule {
        let rule = try node.object(["when", "each", "fields", "about"])
        var each: Locator?
        if let node = rule["each"] { each = try locator(node.text(), node.path, inList: false) }
        if let each, input != .json {
            throw EventMapError("\(rule.path)/each", "\(each.text): only JSON has lists")
        }
        var conditions: [Condition] = []
        for member in try rule["when"]?.members() ?? [] {
            conditions.append(try condition(member, inList: each != nil))
        }
        let names = EventField.allCases.map(\.rawValue) + ["user", "context", "items"]
        let fields = try rule.required("fields").object(names)
        var direct: [(field: EventField, value: ValueRule)] = []
        for field in EventField.allCases {
            guard let node = fields[field.rawValue] else { continue }
            direct.append((field, try value(node, inList: each != nil)))
        }
        for needed in ["type", "time_ms"] where fields[needed] == nil {
            throw EventMapError(fields.path, "every event needs \(needed)")
        }
        return EventRule(
            conditions: conditions.filter { !$0.locator.isRelative },
            elementConditions: conditions.filter(\.locator.isRelative), each: each, fields: direct,
            user: try scalars(fields["user"], inList: each != nil),
            context: try scalars(fields["context"], inList: each != nil),
            slate: try fields["items"].map { (node) throws(EventMapError) in try slate(node) })
    }

    private mutating func scalars(
        _ node: Node?, inList: Bool
    ) throws(EventMapError) -> [(name: [UInt8], value: ValueRule)] {
        var scalars: [(name: [UInt8], value: ValueRule)] = []
        for member in try node?.members() ?? [] {
            scalars.append((Array(member.name.utf8), try value(member.node, inList: inList)))
        }
        return scalars.sorted { $0.name.lexicographicallyPrecedes($1.name) }
    }

    private mutating func slate(_ node: Node) throws(EventMapError) -> SlateRule {
        let slate = try node.object(["each", "item_id", "position", "propensity"])
        guard input == .json else { throw EventMapError(node.path, "only JSON has lists") }
        let list = try slate.required("each")
        return SlateRule(
            each: try locator(list.text(), list.path, inList: false),
            item_id: try value(slate.required("item_id"), inList: true),
            position: try slate["position"].map { (node) throws(EventMapError) in
                try value(node, inList: true)
            },
            propensity: try slate["propensity"].map { (node) throws(EventMapError) in
                try value(node, inList: true)
            })
    }

    private mutating func condition(
        _ member: (name: String, node: Node), inList: Bool
    ) throws(EventMapError) -> Condition {
        let place = try locator(member.name, member.node.path, inList: inList)
        if let isPresent = member.node.value.boolean {
            return Condition(locator: place, expectation: isPresent ? .present : .absent)
        }
        let words = try member.node.list { (node) throws(EventMapError) in
            Array(try node.text().utf8)
        }
        return Condition(locator: place, expectation: .oneOf(words))
    }

    // Values.

    private mutating func value(_ node: Node, inList: Bool) throws(EventMapError) -> ValueRule {
        if let text = node.value.text {
            return ValueRule(source: .locators([try locator(text, node.path, inList: inList)]))
        }
        let value = try node.object([
            "value", "from", "text", "index", "default", "words", "otherwise", "time", "times",
            "add", "as",
        ])
        var rule = ValueRule(source: try source(value, inList: inList))
        rule.fallback = try value["default"].map { (node) throws(EventMapError) in
            try node.constant()
        }
        for member in try value["words"]?.members() ?? [] {
            rule.words.append((Array(member.name.utf8), try member.node.constant()))
        }
        if let node = value["otherwise"] {
            if rule.words.isEmpty { throw EventMapError(node.path, "there are no words beside it") }
            rule.otherwise = try node.constant()
        }
        rule.time = try value["time"]?.word(TimeUnit.allCases)
        rule.factor = try value["times"]?.number() ?? 1
        rule.summand = try value["add"]?.number() ?? 0
        rule.form = try value["as"]?.word(ValueRule.Form.allCases)
        return rule
    }

    private mutating func source(
        _ value: ObjectNode, inList: Bool
    ) throws(EventMapError) -> ValueRule.Source {
        let given = ["value", "from", "text", "index"].filter { value[$0] != nil }
        guard given.count == 1 else {
            throw EventMapError(
                value.path, "it needs one of value, from, text and index, not \(given.count)")
        }
        if let node = value["value"] { return .constant(try node.constant()) }
        if let node = value["index"] {
            guard inList else { throw EventMapError(node.path, "there is no list around it") }
            guard let first = node.value.integer else {
                throw EventMapError(node.path, "it must be the number of the first element")
            }
            return .place(Int(clamping: first))
        }
        if let node = value["text"] {
            if let text = node.value.text {
                return .templates([try template(text, node.path, inList: inList)])
            }
            return .templates(
                try node.list { (node) throws(EventMapError) in
                    try template(node.text(), node.path, inList: inList)
                })
        }
        let node = value["from"]!
        if let text = node.value.text {
            return .locators([try locator(text, node.path, inList: inList)])
        }
        let locators = try node.list { (node) throws(EventMapError) in
            try locator(node.text(), node.path, inList: inList)
        }
        if locators.isEmpty { throw EventMapError(node.path, "it names no place") }
        return .locators(locators)
    }

    private mutating func template(
        _ text: String, _ path: String, inList: Bool
    ) throws(EventMapError) -> [TemplatePiece] {
        var pieces: [TemplatePiece] = []
        var rest = text[...]
        while let open = rest.firstIndex(of: "{") {
            if open > rest.startIndex { pieces.append(.text(Array(rest[..<open].utf8))) }
            guard let close = rest[open...].firstIndex(of: "}") else {
                throw EventMapError(path, "a brace is not closed in \(text)")
            }
            let inside = String(rest[rest.index(after: open)..<close])
            pieces.append(.value(try locator(inside, path, inList: inList)))
            rest = rest[rest.index(after: close)...]
        }
        if !rest.isEmpty { pieces.append(.text(Array(rest.utf8))) }
        return pieces
    }

    // Places.

    private mutating func locator(
        _ text: String, _ path: String, inList: Bool
    ) throws(EventMapError) -> Locator {
        guard input == .json else { return try column(text, path) }
        let isRelative = text == "." || text.hasPrefix("./")
        if isRelative, !inList { throw EventMapError(path, "\(text): there is no list around it") }
        let pointer = isRelative ? text.dropFirst() : text[...]
        guard pointer.isEmpty || pointer.hasPrefix("/") else {
            throw EventMapError(path, "\(text) is no JSON Pointer; it must begin with /")
        }
        var steps: [PointerStep] = []
        for part in pointer.split(separator: "/", omittingEmptySubsequences: false).dropFirst() {
            steps.append(try step(String(part), path))
        }
        return Locator(text: text, column: nil, isRelative: isRelative, steps: steps)
    }

    private mutating func column(_ text: String, _ path: String) throws(EventMapError) -> Locator {
        if let columns, !columns.contains(text) {
            let nearest = nearestWord(to: text, in: columns).map { "; did you mean \($0)?" } ?? ""
            throw EventMapError(path, "there is no column \(text)\(nearest)")
        }
        let number = columnNames.firstIndex(of: text) ?? columnNames.count
        if number == columnNames.count { columnNames.append(text) }
        return Locator(text: text, column: number, isRelative: false, steps: [])
    }

    private func step(_ part: String, _ path: String) throws(EventMapError) -> PointerStep {
        if part.hasPrefix("["), part.hasSuffix("]") {
            let inside = part.dropFirst().dropLast()
            guard let equals = inside.firstIndex(of: "="), equals > inside.startIndex else {
                throw EventMapError(path, "\(part) must be [key=value]")
            }
            return .select(
                key: Array(inside[..<equals].utf8),
                value: Array(inside[inside.index(after: equals)...].utf8))
        }
        let name = part.unescaped("~1", as: "/").unescaped("~0", as: "~")
        let isIndex = !part.isEmpty && part.utf8.allSatisfy { (48...57).contains($0) }
        return .name(Array(name.utf8), index: isIndex ? Int(part) : nil)
    }
}

extension String {
    /// RFC 6901 writes `/` and `~` inside a name as `~1` and `~0`.
    fileprivate func unescaped(_ escape: String, as character: String) -> String {
        var result = ""
        var rest = self[...]
        while let first = rest.first {
            if rest.hasPrefix(escape) {
                result += character
                rest = rest.dropFirst(2)
            } else {
                result.append(first)
                rest = rest.dropFirst()
            }
        }
        return result
    }
}
