// A look at a parsed value where it lies: nothing is copied, nothing is allocated.

import Bytes
import CJSONC

#if canImport(Glibc)
    import Glibc
#endif

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

/// A borrowed JSON value: lives until its parser's next `parse`, as do all slices read from it.
@frozen
public struct JSONView: BitwiseCopyable {
    @usableFromInline let object: OpaquePointer?

    @inlinable @inline(__always)
    init(_ object: OpaquePointer?) { self.object = object }

    @inlinable @inline(__always)
    public var isNull: Bool { object == nil }

    @inlinable
    public var kind: JSONKind {
        switch json_object_get_type(object) {
        case json_type_boolean: .boolean
        case json_type_int: .integer
        case json_type_double: .number
        case json_type_string: .text
        case json_type_array: .array
        case json_type_object: .object
        default: .null
        }
    }

    /// The text with its full length, NUL characters included; nil unless this is text.
    @inlinable
    public var text: ByteSlice? {
        guard json_object_get_type(object) == json_type_string else { return nil }
        let start = json_object_get_string(object)!
        let count = Int(json_object_get_string_len(object))
        return ByteSlice(UnsafeRawPointer(start).assumingMemoryBound(to: UInt8.self), count: count)
    }

    /// The integer, also of a number such as 12.0 that is integral and at most 2^53; nil otherwise.
    @inlinable
    public var integer: Int64? {
        switch json_object_get_type(object) {
        case json_type_int: return json_object_get_int64(object)
        case json_type_double:
            let value = json_object_get_double(object)
            guard value.magnitude <= 0x1p53, value == value.rounded(.towardZero) else { return nil }
            return Int64(value)
        default: return nil
        }
    }

    /// The number, always finite; nil unless this is a number.
    @inlinable
    public var double: Double? {
        switch json_object_get_type(object) {
        case json_type_int, json_type_double: json_object_get_double(object)
        default: nil
        }
    }

    @inlinable
    public var boolean: Bool? {
        json_object_get_type(object) == json_type_boolean
            ? json_object_get_boolean(object) != 0 : nil
    }

    @inlinable
    public var isObject: Bool { json_object_get_type(object) == json_type_object }

    @inlinable
    public var isArray: Bool { json_object_get_type(object) == json_type_array }

    /// How many members or elements it has; 0 for anything but an object or array.
    @inlinable
    public var count: Int {
        switch json_object_get_type(object) {
        case json_type_object: Int(json_object_object_length(object))
        case json_type_array: json_object_array_length(object)
        default: 0
        }
    }

    /// An element of an array.
    @inlinable
    public subscript(_ index: Int) -> JSONView {
        precondition(isArray && index >= 0 && index < count, "element \(index) of \(count)")
        return JSONView(json_object_array_get_idx(object, index))
    }

    /// A member by name; nil where the object has none of that name.
    public func member(_ name: StaticString) -> JSONView? {
        var value: OpaquePointer?
        let found = name.utf8Start.withMemoryRebound(
            to: CChar.self, capacity: name.utf8CodeUnitCount + 1
        ) {
            json_object_object_get_ex(object, $0, &value)
        }
        return found != 0 ? JSONView(value) : nil
    }

    /// The members in the order of the text; none for anything but an object.
    @inlinable
    public var members: JSONMembers {
        guard json_object_get_type(object) == json_type_object else {
            return JSONMembers(next: nil)
        }
        return JSONMembers(next: json_object_get_object(object).pointee.head)
    }

    /// The elements of an array; none for anything else.
    @inlinable
    public var elements: JSONElements {
        JSONElements(array: object, count: isArray ? json_object_array_length(object) : 0)
    }
}

/// The members of an object, one after the other.
@frozen
public struct JSONMembers: Sequence, IteratorProtocol {
    @usableFromInline var entry: UnsafeMutablePointer<lh_entry>?

    @inlinable init(next entry: UnsafeMutablePointer<lh_entry>?) { self.entry = entry }

    @inlinable @inline(__always)
    public mutating func next() -> (name: ByteSlice, value: JSONView)? {
        guard let entry else { return nil }
        let name = entry.pointee.k.unsafelyUnwrapped.assumingMemoryBound(to: UInt8.self)
        let length = strlen(UnsafeRawPointer(name).assumingMemoryBound(to: CChar.self))
        let value = entry.pointee.v
        self.entry = entry.pointee.next
        return (ByteSlice(name, count: length), JSONView(OpaquePointer(value)))
    }
}

/// The elements of an array, one after the other.
@frozen
public struct JSONElements: Sequence, IteratorProtocol {
    @usableFromInline let array: OpaquePointer?
    @usableFromInline let count: Int
    @usableFromInline var index = 0

    @inlinable init(array: OpaquePointer?, count: Int) {
        self.array = array
        self.count = count
    }

    @inlinable @inline(__always)
    public mutating func next() -> JSONView? {
        guard index < count else { return nil }
        defer { index &+= 1 }
        return JSONView(json_object_array_get_idx(array, index))
    }
}
