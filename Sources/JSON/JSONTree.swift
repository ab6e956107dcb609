// Trees that own themselves come from json-c: settings and manifests are read by two parsers that
// must agree before they count.
//
// The strict scan refuses what json-c would let through (JSONScan.swift), json-c builds the values,
// and both must have read the same.

import Bytes
import CJSONC

extension JSONValue {
    /// Parses a JSON text.
    public init(parsing bytes: ByteSlice, maximumDepth: Int = 64, maximumBytes: Int = 64 << 20)
        throws(JSONError)
    {
        let parser = JSONParser(maximumDepth: maximumDepth, maximumBytes: maximumBytes)
        let view = try parser.parse(bytes)
        let scanned = withExtendedLifetime(parser) { JSONValue(view) }
        let tree = try JSONTree(bytes, maximumDepth: maximumDepth)
        let value = tree.value
        guard value == scanned else {
            throw JSONError(.syntax, path: "", offset: 0, "two parsers read different values")
        }
        self = value
    }

    public init(parsing text: String) throws(JSONError) {
        try self.init(parsing: Array(text.utf8))
    }

    public init(parsing bytes: [UInt8]) throws(JSONError) {
        let parsed: Result<JSONValue, JSONError> = bytes.lend { bytes in
            do throws(JSONError) { return .success(try JSONValue(parsing: bytes)) } catch {
                return .failure(error)
            }
        }
        self = try parsed.get()
    }

    /// Copies json-c's object with all that is inside.
    fileprivate init(_ object: OpaquePointer?) {
        switch json_object_get_type(object) {
        case json_type_boolean: self = .boolean(json_object_get_boolean(object) != 0)
        case json_type_int: self = .integer(json_object_get_int64(object))
        case json_type_double: self = .number(json_object_get_double(object))
        case json_type_string: self = .text(JSONValue.text(object))
        case json_type_array:
            self = .array(
                (0..<json_object_array_length(object)).map {
                    JSONValue(json_object_array_get_idx(object, $0))
                })
        case json_type_object:
            var members: [JSONMember] = []
            var entry = json_object_get_object(object).pointee.head
            while let member = entry {
                let name = String(cString: member.pointee.k.assumingMemoryBound(to: CChar.self))
                members.append(JSONMember(name, JSONValue(OpaquePointer(member.pointee.v))))
                entry = member.pointee.next
            }
            self = .object(members)
        default: self = .null
        }
    }

    /// A string may hold NUL, so its length counts.
    private static func text(_ object: OpaquePointer?) -> String {
        let start = UnsafeRawPointer(json_object_get_string(object)!)
        let count = Int(json_object_get_string_len(object))
        return ByteSlice(UnsafeRawBufferPointer(start: start, count: count)).text
    }
}

/// A `json_object` with exactly one owner.
private struct JSONTree: ~Copyable {
    private let root: OpaquePointer?

    /// A copy of everything in it.
    var value: JSONValue { JSONValue(root) }

    init(_ bytes: ByteSlice, maximumDepth: Int) throws(JSONError) {
        let tokener = json_tokener_new_ex(Int32(maximumDepth) + 2)
        defer { json_tokener_free(tokener) }
        json_tokener_set_flags(tokener, JSON_TOKENER_STRICT)
        var parsed = UnsafeRawPointer(bytes.base)
            .withMemoryRebound(to: CChar.self, capacity: bytes.count) {
                json_tokener_parse_ex(tokener, $0, Int32(bytes.count))
            }
        if json_tokener_get_error(tokener) == json_tokener_continue {
            // A number or word at the end of the text ends with it, which only a NUL tells json-c.
            parsed = json_tokener_parse_ex(tokener, "", 1)
        }
        let outcome = json_tokener_get_error(tokener)
        guard outcome == json_tokener_success else {
            json_object_put(parsed)
            throw JSONError(
                .syntax, path: "", offset: Int(json_tokener_get_parse_end(tokener)),
                "json-c refuses it: \(String(cString: json_tokener_error_desc(outcome)))")
        }
        root = parsed
    }

    deinit { json_object_put(root) }
}
