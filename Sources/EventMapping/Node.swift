// A part of the map with its path, so that every complaint says where.

import CommandLineArguments
import JSON

/// One value of the map.
struct Node {
    let value: JSONValue
    let path: String

    init(_ value: JSONValue, at path: String) {
        self.value = value
        self.path = path
    }

    /// The value as an object with no other members than these.
    func object(_ known: [String]) throws(EventMapError) -> ObjectNode {
        let members = try members()
        for (name, node) in members where !known.contains(name) {
            let nearest = nearestWord(to: name, in: known).map { "; did you mean \($0)?" } ?? ""
            throw EventMapError(node.path, "a map knows no such member\(nearest)")
        }
        return ObjectNode(members: members, path: path)
    }

    func members() throws(EventMapError) -> [(name: String, node: Node)] {
        guard let members = value.members else {
            throw EventMapError(path, "it must be an object, not \(value.kind.noun)")
        }
        return members.map { member in
            let escaped = member.name.map { $0 == "~" ? "~0" : $0 == "/" ? "~1" : String($0) }
            return (member.name, Node(member.value, at: "\(path)/\(escaped.joined())"))
        }
    }

    func list<Element>(
        _ body: (Node) throws(EventMapError) -> Element
    ) throws(EventMapError) -> [Element] {
        guard let elements = value.array else {
            throw EventMapError(path, "it must be a list, not \(value.kind.noun)")
        }
        var result: [Element] = []
        for (i, element) in elements.enumerated() {
            result.append(try body(Node(element, at: "\(path)/\(i)")))
        }
        return result
    }

    func text() throws(EventMapError) -> String {
        guard let text = value.text else {
            throw EventMapError(path, "it must be text, not \(value.kind.noun)")
        }
        return text
    }

    func number() throws(EventMapError) -> Double {
        guard let number = value.double else {
            throw EventMapError(path, "it must be a number, not \(value.kind.noun)")
        }
        return number
    }

    func word<Word: RawRepresentable>(_ words: [Word]) throws(EventMapError) -> Word
    where Word.RawValue == String {
        let text = try text()
        if let word = words.first(where: { $0.rawValue == text }) { return word }
        let known = words.map(\.rawValue)
        let nearest = nearestWord(to: text, in: known).map { "; did you mean \($0)?" } ?? ""
        throw EventMapError(path, "\(text) is none of \(known.joined(separator: ", "))\(nearest)")
    }

    func constant() throws(EventMapError) -> Constant {
        switch value {
        case .text(let text): return .text(Array(text.utf8))
        case .integer(let integer): return .integer(integer)
        case .number(let number): return .number(number)
        case .boolean(let truth): return .boolean(truth)
        case .null, .array, .object:
            throw EventMapError(path, "it must be a text, a number or a truth value")
        }
    }
}

/// An object of the map whose member names are known.
struct ObjectNode {
    fileprivate let members: [(name: String, node: Node)]
    let path: String

    subscript(_ name: String) -> Node? { members.first { $0.name == name }?.node }

    func required(_ name: String) throws(EventMapError) -> Node {
        guard let node = self[name] else { throw EventMapError(path, "\(name) is missing") }
        return node
    }
}
