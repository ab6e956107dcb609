// Why a record was refused: the reason for the dead letter and the sentence that goes with it.

import Bytes
import JSON

public struct ContractError: Error, Equatable, CustomStringConvertible, Sendable {
    public let reason: DeadLetterReason
    /// JSON Pointer to the field; "" is the record.
    public let path: String
    /// A sentence that names the field.
    public let message: String

    public init(_ reason: DeadLetterReason, path: String, _ message: String) {
        self.reason = reason
        self.path = path
        self.message = message
    }

    public init(_ error: JSONError) {
        let reason: DeadLetterReason =
            switch error.kind {
            case .empty: .empty
            case .tooLarge: .too_large
            case .tooDeep: .too_deep
            case .invalidUTF8: .invalid_utf8
            case .syntax: .invalid_json
            case .duplicateMember: .duplicate_field
            case .numberOutOfRange: .out_of_range
            }
        self.init(reason, path: error.path, "The record is not usable JSON: \(error).")
    }

    public var description: String { "\(reason.word): \(message)" }
}

/// Where a field stands, without a `String` until an error needs one.
struct Place {
    /// The object or list that holds it; nil at the top.
    var parent: StaticString?
    /// The element of that list; -1 where the parent is an object.
    var index = -1
    var field: StaticString
    /// A name from the record, where `field` is not known at compile time.
    var name: ByteSlice?

    init(_ field: StaticString) { self.field = field }

    init(_ parent: StaticString?, _ index: Int, _ field: StaticString) {
        self.parent = parent
        self.index = index
        self.field = field
    }

    init(_ parent: StaticString, name: ByteSlice, _ index: Int = -1) {
        self.parent = parent
        self.index = index
        field = ""
        self.name = name
    }

    var path: String {
        var path = parent.map { "/\($0)" } ?? ""
        // A list of values in a named member: the index comes after the name.
        if let name { path += jsonPointerStep(name.text) }
        if index >= 0 { path += "/\(index)" }
        if name == nil && field.utf8CodeUnitCount > 0 { path += "/\(field)" }
        return path
    }
}
