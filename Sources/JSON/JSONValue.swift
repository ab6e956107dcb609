// A JSON value that owns itself, for settings and manifests: things that are read once and kept.

import Bytes

/// A JSON value; members of objects stay in the order in which they were given.
public enum JSONValue: Sendable {
    case null
    case boolean(Bool)
    case integer(Int64)
    /// Always finite when it was parsed.
    case number(Double)
    case text(String)
    case array([JSONValue])
    case object([JSONMember])

    /// Copies what a view shows.
    public init(_ view: JSONView) {
        switch view.kind {
        case .null: self = .null
        case .boolean: self = .boolean(view.boolean!)
        case .integer: self = .integer(view.integer!)
        case .number: self = .number(view.double!)
        case .text: self = .text(view.text!.text)
        case .array: self = .array(view.elements.map { JSONValue($0) })
        case .object:
            self = .object(view.members.map { JSONMember($0.name.text, JSONValue($0.value)) })
        }
    }

    public var kind: JSONKind {
        switch self {
        case .null: .null
        case .boolean: .boolean
        case .integer: .integer
        case .number: .number
        case .text: .text
        case .array: .array
        case .object: .object
        }
    }

    /// The member of that name; nil if there is none or this is no object.
    public subscript(_ name: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.name.utf8.elementsEqual(name.utf8) }?.value
    }

    public var text: String? {
        if case .text(let text) = self { text } else { nil }
    }

    /// The integer, also of an integral number up to 2^53.
    public var integer: Int64? {
        switch self {
        case .integer(let integer): integer
        case .number(let number):
            number.magnitude <= 0x1p53 && number == number.rounded(.towardZero)
                ? Int64(number) : nil
        default: nil
        }
    }

    public var double: Double? {
        switch self {
        case .integer(let integer): Double(integer)
        case .number(let number): number
        default: nil
        }
    }

    public var boolean: Bool? {
        if case .boolean(let truth) = self { truth } else { nil }
    }

    public var array: [JSONValue]? {
        if case .array(let values) = self { values } else { nil }
    }

    public var members: [JSONMember]? {
        if case .object(let members) = self { members } else { nil }
    }

    /// The canonical bytes: equal values, equal bytes.
    ///
    /// - Precondition: all numbers are finite, and no object names a member twice.
    public var canonicalBytes: [UInt8] {
        var buffer = ByteBuffer()
        buffer.element(self)
        return buffer.slice.copy()
    }

    public var canonicalText: String { String(decoding: canonicalBytes, as: UTF8.self) }
}

public struct JSONMember: Equatable, Sendable {
    public var name: String
    public var value: JSONValue

    public init(_ name: String, _ value: JSONValue) {
        self.name = name
        self.value = value
    }

    public static func == (a: JSONMember, b: JSONMember) -> Bool {
        a.name.utf8.elementsEqual(b.name.utf8) && a.value == b.value
    }
}

extension JSONValue: Equatable {
    /// Equal when the canonical bytes are: by value, text byte for byte, members in any order.
    public static func == (a: JSONValue, b: JSONValue) -> Bool {
        switch (a, b) {
        case (.null, .null): true
        case (.boolean(let a), .boolean(let b)): a == b
        case (.integer(let a), .integer(let b)): a == b
        case (.number(let x), .number(let y)): x == y
        case (.integer(let integer), .number), (.number, .integer(let integer)):
            a.integer == integer && b.integer == integer
        case (.text(let a), .text(let b)): a.utf8.elementsEqual(b.utf8)
        case (.array(let a), .array(let b)): a == b
        case (.object(let a), .object(let b)): canonicalOrder(a) == canonicalOrder(b)
        default: false
        }
    }
}

/// Members in byte order of their names.
private func canonicalOrder(_ members: [JSONMember]) -> [JSONMember] {
    members.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
}

extension ByteBuffer {
    /// Writes a value canonically, as the next element or member value.
    ///
    /// - Precondition: all numbers are finite, and no object names a member twice.
    public mutating func element(_ value: JSONValue) {
        switch value {
        case .null: elementNull()
        case .boolean(let truth): element(truth)
        case .integer(let integer): element(integer)
        case .number(let number): element(number)
        case .text(let text):
            separate()
            text.lend { appendJSONText($0) }
        case .array(let values):
            openArray()
            for value in values { element(value) }
            closeArray()
        case .object(let members):
            openObject()
            var previous: JSONMember?
            for member in canonicalOrder(members) {
                precondition(
                    previous.map { !$0.name.utf8.elementsEqual(member.name.utf8) } ?? true,
                    "the member \(member.name) is named twice")
                member.name.lend { name($0) }
                element(member.value)
                previous = member
            }
            closeObject()
        }
    }

    public mutating func member(_ name: StaticString, _ value: JSONValue) {
        self.name(name)
        element(value)
    }
}
