// A look at a scanned value where it lies: nothing is copied, nothing is allocated.

import Bytes

#if canImport(Glibc)
    import Glibc
#endif

@frozen
public enum JSONKind: UInt8, Sendable {
    case null, boolean, integer, number, text, array, object

    /// The kind with its article, for sentences.
    public var noun: String {
        switch self {
        case .null: "null"
        case .boolean: "a truth value"
        case .integer: "an integer"
        case .number: "a number"
        case .text: "text"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

/// A borrowed JSON value: lives until its parser's next `parse`, and no longer than the parser, as
/// do all slices read from it. Swift may free a parser after its last use: keep it, or use
/// `withExtendedLifetime`.
@frozen
public struct JSONView: BitwiseCopyable {
    @usableFromInline let token: UnsafePointer<JSONToken>

    @inlinable @inline(__always)
    init(_ token: UnsafePointer<JSONToken>) { self.token = token }

    @inlinable @inline(__always)
    public var kind: JSONKind { token.pointee.kind }

    @inlinable @inline(__always)
    public var isNull: Bool { kind == .null }

    @inlinable @inline(__always)
    public var isObject: Bool { kind == .object }

    @inlinable @inline(__always)
    public var isArray: Bool { kind == .array }

    /// The text with its full length, NUL characters included; nil unless this is text.
    @inlinable @inline(__always)
    public var text: ByteSlice? {
        guard kind == .text else { return nil }
        return ByteSlice(token.pointee.text, count: Int(token.pointee.extent))
    }

    /// The integer, also of a number such as 12.0 that is integral and at most 2^53; nil otherwise.
    @inlinable @inline(__always)
    public var integer: Int64? {
        if kind == .integer { return Int64(bitPattern: token.pointee.payload) }
        return kind == .number ? integralNumber : nil
    }

    @usableFromInline
    var integralNumber: Int64? {
        let value = Double(bitPattern: token.pointee.payload)
        guard value.magnitude <= 0x1p53, value == value.rounded(.towardZero) else { return nil }
        return Int64(value)
    }

    /// The number, always finite; nil unless this is a number.
    @inlinable @inline(__always)
    public var double: Double? {
        switch kind {
        case .number: Double(bitPattern: token.pointee.payload)
        case .integer: Double(Int64(bitPattern: token.pointee.payload))
        default: nil
        }
    }

    @inlinable @inline(__always)
    public var boolean: Bool? { kind == .boolean ? token.pointee.payload != 0 : nil }

    /// How many members or elements it has; 0 for anything but an object or array.
    @inlinable
    public var count: Int { isObject || isArray ? Int(token.pointee.payload) : 0 }

    /// An element of an array, found by walking to it.
    @inlinable
    public subscript(_ index: Int) -> JSONView {
        precondition(isArray && index >= 0 && index < count, "element \(index) of \(count)")
        var element = token + 1
        for _ in 0..<index { element += element.pointee.tokens }
        return JSONView(element)
    }

    /// A member by name, found by walking to it; nil where the object has none of that name.
    @inlinable
    public func member(_ name: StaticString) -> JSONView? {
        for (candidate, value) in members where candidate.equals(name) { return value }
        return nil
    }

    /// The members in the order of the text; none for anything but an object.
    @inlinable @inline(__always)
    public var members: JSONMembers {
        JSONMembers(token + 1, end: isObject ? token + Int(token.pointee.extent) : token + 1)
    }

    /// The elements of an array; none for anything else.
    @inlinable @inline(__always)
    public var elements: JSONElements {
        JSONElements(token + 1, end: isArray ? token + Int(token.pointee.extent) : token + 1)
    }
}

/// The members of an object, one after the other.
@frozen
public struct JSONMembers: Sequence, IteratorProtocol {
    @usableFromInline var token: UnsafePointer<JSONToken>
    @usableFromInline let end: UnsafePointer<JSONToken>

    @inlinable @inline(__always)
    init(_ token: UnsafePointer<JSONToken>, end: UnsafePointer<JSONToken>) {
        self.token = token
        self.end = end
    }

    @inlinable @inline(__always)
    public mutating func next() -> (name: ByteSlice, value: JSONView)? {
        guard token < end else { return nil }
        let name = ByteSlice(token.pointee.text, count: Int(token.pointee.extent))
        let value = JSONView(token + 1)
        token += 1 + value.token.pointee.tokens
        return (name, value)
    }
}

/// The elements of an array, one after the other.
@frozen
public struct JSONElements: Sequence, IteratorProtocol {
    @usableFromInline var token: UnsafePointer<JSONToken>
    @usableFromInline let end: UnsafePointer<JSONToken>

    @inlinable @inline(__always)
    init(_ token: UnsafePointer<JSONToken>, end: UnsafePointer<JSONToken>) {
        self.token = token
        self.end = end
    }

    @inlinable @inline(__always)
    public mutating func next() -> JSONView? {
        guard token < end else { return nil }
        let element = JSONView(token)
        token += token.pointee.tokens
        return element
    }
}
