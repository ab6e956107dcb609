// Strict JSON from bytes: one pass checks every token, json-c builds the values, a count finds equal names.

import Bytes
import CJSONC

/// A json-c tokener that is used again and again; lives on one thread.
///
/// Accepts RFC 8259 and nothing else: no NaN, no comments, no single quotes, no equal names, no trailing
/// bytes, no byte order mark, integers within 64 bits, numbers within Double, UTF-8 without lone surrogates.
public final class JSONParser {
    /// Deeper nesting is refused; 1 is a flat object.
    public let maximumDepth: Int
    /// Longer texts are refused.
    public let maximumBytes: Int

    private let tokener: UnsafeMutablePointer<json_tokener>
    private var root: OpaquePointer?

    public init(maximumDepth: Int = 16, maximumBytes: Int = 1 << 20) {
        precondition(maximumDepth >= 1 && maximumDepth < 10_000, "depth \(maximumDepth)")
        precondition(maximumBytes < Int32.max, "json-c counts in 32 bits")
        self.maximumDepth = maximumDepth
        self.maximumBytes = maximumBytes
        tokener = json_tokener_new_ex(Int32(maximumDepth) + 2)
        json_tokener_set_flags(tokener, JSON_TOKENER_STRICT)
    }

    deinit {
        json_object_put(root)
        json_tokener_free(tokener)
    }

    /// Parses one JSON text; the view lives until the next call.
    public func parse(_ bytes: ByteSlice) throws(JSONError) -> JSONView {
        let members = try parseUncounted(bytes)
        let view = JSONView(root)
        if view.countAllMembers() != members { throw duplicateMember(in: bytes) }
        return view
    }

    /// What the last successful call parsed.
    public var view: JSONView { JSONView(root) }

    /// As `parse`, but the caller, who walks everything anyway, compares the number of members that it sees
    /// with the result, and throws `duplicateMember(in:)` where it sees fewer.
    public func parseUncounted(_ bytes: ByteSlice) throws(JSONError) -> Int {
        guard !bytes.isEmpty else {
            throw JSONError(.empty, path: "", offset: 0, "there are no bytes")
        }
        guard bytes.count <= maximumBytes else {
            throw JSONError(
                .tooLarge, path: "", offset: maximumBytes,
                "\(bytes.count) bytes are more than the \(maximumBytes) allowed")
        }
        let scan = StrictScan(bytes, maximumDepth: maximumDepth)
        guard scan.fault == .none else { throw error(scan, bytes) }
        json_object_put(root)
        root = nil
        json_tokener_reset(tokener)
        root = UnsafeRawPointer(bytes.base).withMemoryRebound(to: CChar.self, capacity: bytes.count)
        {
            json_tokener_parse_ex(tokener, $0, Int32(bytes.count))
        }
        var outcome = json_tokener_get_error(tokener)
        var end = json_tokener_get_parse_end(tokener)
        if outcome == json_tokener_continue {
            // A number or word at the end of the text ends with it, which only a NUL tells json-c.
            root = json_tokener_parse_ex(tokener, "", 1)
            outcome = json_tokener_get_error(tokener)
            end = bytes.count
        }
        guard outcome == json_tokener_success else { throw error(outcome, at: end, bytes) }
        return scan.members
    }

    /// The error that says which name stands twice in `bytes`.
    public func duplicateMember(in bytes: ByteSlice) -> JSONError {
        var finder = PathFinder(bytes)
        finder.run(to: bytes.count, stopAtDuplicate: true)
        return JSONError(
            .duplicateMember, path: finder.path, offset: finder.offset, "the member is named twice")
    }

    @inline(never)
    private func error(_ scan: StrictScan, _ bytes: ByteSlice) -> JSONError {
        JSONError(
            scan.fault.kind, path: PathFinder.path(in: bytes, at: scan.offset), offset: scan.offset,
            scan.fault.reason(maximumDepth: maximumDepth))
    }

    @inline(never)
    private func error(_ outcome: json_tokener_error, at end: Int, _ bytes: ByteSlice) -> JSONError
    {
        json_object_put(root)
        root = nil
        let reason =
            switch outcome {
            case json_tokener_continue: "the JSON text is not complete"
            case json_tokener_error_parse_eof: "the JSON text is not complete"
            case json_tokener_error_parse_array: "a comma or ] is missing in an array"
            case json_tokener_error_parse_object_key_name:
                "a name in double quotes is missing in an object"
            case json_tokener_error_parse_object_key_sep: "a colon is missing after a name"
            case json_tokener_error_parse_object_value_sep: "a comma or } is missing in an object"
            default:
                end < bytes.count && PathFinder.isComplete(bytes, at: end)
                    ? "something follows the JSON text" : "a value is missing or out of place"
            }
        return JSONError(.syntax, path: PathFinder.path(in: bytes, at: end), offset: end, reason)
    }
}

extension JSONView {
    /// How many members this and all objects inside hold together.
    public func countAllMembers() -> Int {
        var total = 0
        switch kind {
        case .object:
            for (_, value) in members { total += 1 + (value.isNull ? 0 : value.countAllMembers()) }
        case .array:
            for value in elements where !value.isNull { total += value.countAllMembers() }
        default: break
        }
        return total
    }
}
