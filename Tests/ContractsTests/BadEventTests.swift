// Every way in which an event from outside can be broken, and the sentence that its sender gets.

import Bytes
import JSON
import Testing

@testable import Contracts

/// A broken record, and what its refusal must say.
struct BadEvent: CustomTestStringConvertible, Sendable {
    let what: String
    let value: [UInt8]
    let reason: DeadLetterReason
    let path: String
    let sentence: String
    var testDescription: String { what }

    init(
        _ what: String, _ value: String, _ reason: DeadLetterReason, _ path: String,
        _ sentence: String
    ) {
        self.init(what, bytes: Array(value.utf8), reason, path, sentence)
    }

    init(
        _ what: String, bytes: [UInt8], _ reason: DeadLetterReason, _ path: String,
        _ sentence: String
    ) {
        self.what = what
        value = bytes
        self.reason = reason
        self.path = path
        self.sentence = sentence
    }

    /// An impression with some members changed (nil: taken away) or added.
    static func impression(_ changes: [(String, String?)]) -> String {
        event(
            [
                ("type", "\"impression\""), ("time_ms", "1700000000000"), ("domain", "\"d\""),
                ("user_id", "\"u\""), ("item_id", "\"a\""),
            ], changes)
    }

    static func click(_ changes: [(String, String?)]) -> String {
        event(
            [
                ("type", "\"click\""), ("time_ms", "1700000000000"), ("domain", "\"d\""),
                ("user_id", "\"u\""),
                ("impression_id", "\"i\""),
            ], changes)
    }

    static func judgment(_ changes: [(String, String?)]) -> String {
        event(
            [
                ("type", "\"judgment\""), ("time_ms", "1700000000000"), ("domain", "\"d\""),
                ("user_id", "\"u\""), ("item_id", "\"a\""), ("query", "\"q\""), ("grade", "0.5"),
            ], changes)
    }

    private static func event(_ members: [(String, String)], _ changes: [(String, String?)])
        -> String
    {
        let kept = members.filter { member in !changes.contains { $0.0 == member.0 } }
        let added = changes.compactMap { name, value in value.map { (name, $0) } }
        return "{" + (kept + added).map { "\"\($0)\":\($1)" }.joined(separator: ",") + "}"
    }

    static let names17 = (0..<17).map { "\"n\($0)\":1" }.joined(separator: ",")
    static let long = String(repeating: "x", count: 257)

    static let unreadable: [BadEvent] = [
        BadEvent("no bytes", "", .empty, "", "there are no bytes"),
        BadEvent("a blank line", "  \t", .empty, "", "nothing but white space"),
        BadEvent("not JSON", "GET / HTTP/1.1", .invalid_json, "", "neither true, false nor null"),
        BadEvent(
            "torn in a name", #"{"type":"impr"#, .invalid_json, "/type", "the text is not closed"),
        BadEvent(
            "torn between members", #"{"type":"click","#, .invalid_json, "/type", "not complete"),
        BadEvent(
            "two records in a line", "\(impression([]))\(impression([]))", .invalid_json, "",
            "something follows"),
        BadEvent(
            "a trailing comma", #"{"type":"click",}"#, .invalid_json, "/type",
            "name in double quotes"),
        BadEvent("single quotes", "{'type':'click'}", .invalid_json, "", "single quotes"),
        BadEvent("a comment", "{/* */}", .invalid_json, "", "a comment"),
        BadEvent(
            "a NUL byte", impression([("query", "\"a\u{0}b\"")]), .invalid_json, "/query",
            "control character"),
        BadEvent(
            "a raw line feed", impression([("query", "\"a\nb\"")]), .invalid_json, "/query",
            "control character"),
        BadEvent(
            "NaN", impression([("propensity", "NaN")]), .invalid_json, "/propensity",
            "NaN and Infinity"),
        BadEvent(
            "Infinity", impression([("value", "-Infinity")]), .invalid_json, "/value",
            "NaN and Infinity"),
        BadEvent(
            "a number too large", impression([("value", "1e400")]), .out_of_range, "/value",
            "too large for a double"),
        BadEvent(
            "an integer beyond 64 bits", impression([("time_ms", "99999999999999999999")]),
            .out_of_range, "/time_ms", "64 bits"),
        BadEvent(
            "a needless 0", impression([("position", "01")]), .invalid_json, "/position",
            "needless 0"),
        BadEvent(
            "a member twice", impression([("type", "\"impression\",\"type\":\"click\"")]),
            .duplicate_field, "/type", "named twice"),
        BadEvent(
            "a member of context twice", impression([("context", #"{"a":1,"a":1}"#)]),
            .duplicate_field, "/context/a", "named twice"),
        BadEvent(
            "half a surrogate", impression([("query", #""\ud83d""#)]), .invalid_json, "/query",
            "surrogate"),
        BadEvent(
            "a byte order mark", "\u{FEFF}" + impression([]), .invalid_json, "", "byte order mark"),
        BadEvent(
            "bytes that are not UTF-8",
            bytes: Array(#"{"domain":""#.utf8) + [0xC3, 0x28] + Array(#""}"#.utf8),
            .invalid_utf8, "/domain", "not UTF-8"),
        BadEvent(
            "nested too deep",
            impression([
                ("zz", String(repeating: "[", count: 16) + String(repeating: "]", count: 16))
            ]),
            .too_deep, "/zz/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0", "deeper than 16"),
        BadEvent(
            "larger than 1 MiB",
            impression([("query", "\"" + String(repeating: "x", count: 1 << 20) + "\"")]),
            .too_large, "", "are more than the 1048576 allowed"),
        BadEvent(
            "an array", "[\(impression([]))]", .not_an_object, "",
            "must be a JSON object, not an array"),
        BadEvent("a text", "\"impression\"", .not_an_object, "", "must be a JSON object, not text"),
        BadEvent("null", "null", .not_an_object, "", "must be a JSON object, not null"),
    ]

    static let incomplete: [BadEvent] = [
        BadEvent(
            "an empty object", "{}", .missing_field, "/type",
            "/type is missing; every event needs it"),
        BadEvent(
            "no type", impression([("type", nil)]), .missing_field, "/type", "every event needs it"),
        BadEvent(
            "no time", impression([("time_ms", nil)]), .missing_field, "/time_ms",
            "every event needs it"),
        BadEvent(
            "null for the time", impression([("time_ms", "null")]), .missing_field, "/time_ms",
            "every event needs it"),
        BadEvent(
            "no domain", impression([("domain", nil)]), .missing_field, "/domain",
            "every event needs it"),
        BadEvent(
            "nobody", impression([("user_id", nil)]), .missing_field, "/user_id", "or session_id"),
        BadEvent(
            "an impression of nothing", impression([("item_id", nil)]), .missing_field, "/item_id",
            "or items"),
        BadEvent(
            "a click on nothing", click([("impression_id", nil)]), .missing_field, "/impression_id",
            "names its impression"),
        BadEvent(
            "a click with a request alone",
            click([("impression_id", nil), ("request_id", "\"r\"")]),
            .missing_field, "/item_id", "request_id and item_id"),
        BadEvent(
            "a conversion of nothing", click([("type", "\"conversion\""), ("impression_id", nil)]),
            .missing_field, "/impression_id", "a conversion"),
        BadEvent(
            "a judgment of no query", judgment([("query", nil)]), .missing_field, "/query",
            "a judgment needs it"),
        BadEvent(
            "a judgment of an empty query", judgment([("query", "\"\"")]), .missing_field, "/query",
            "a judgment needs it"),
        BadEvent(
            "a judgment of no item", judgment([("item_id", nil)]), .missing_field, "/item_id",
            "a judgment needs it"),
        BadEvent(
            "a judgment without a grade", judgment([("grade", nil)]), .missing_field, "/grade",
            "a judgment needs it"),
        BadEvent(
            "a tick without a time", #"{"type":"tick"}"#, .missing_field, "/time_ms",
            "every event needs it"),
        BadEvent(
            "a slate's item without a name",
            impression([("item_id", nil), ("items", #"[{"item_id":"a"},{"position":2}]"#)]),
            .missing_field, "/items/1/item_id", "every item of a slate"),
        BadEvent(
            "an envelope without an event", #"{"specversion":"1.0","id":"1","type":"t"}"#,
            .missing_field, "/data",
            "CloudEvents envelope"),
        BadEvent(
            "an envelope with an event without a domain",
            "{\"specversion\":\"1.0\",\"data\":\(impression([("domain", nil)]))}", .missing_field,
            "/data/domain",
            "/data/domain is missing"),
    ]

    static let wrongTypes: [BadEvent] = [
        BadEvent(
            "a number for the type", impression([("type", "1")]), .wrong_type, "/type",
            "must be text, not 1"),
        BadEvent(
            "an unknown type", impression([("type", "\"hover\"")]), .unknown_type, "/type",
            "not \"hover\""),
        BadEvent(
            "text for the time", impression([("time_ms", "\"1700000000000\"")]), .wrong_type,
            "/time_ms", "must be milliseconds since 1970"),
        BadEvent(
            "a fraction for the time", impression([("time_ms", "1700000000000.5")]), .wrong_type,
            "/time_ms", "an integer"),
        BadEvent(
            "a list for the time", impression([("time_ms", "[1]")]), .wrong_type, "/time_ms",
            "not an array"),
        BadEvent(
            "a number for the domain", impression([("domain", "7")]), .wrong_type, "/domain",
            "must be text, not 7"),
        BadEvent(
            "a number for the user", impression([("user_id", "42")]), .wrong_type, "/user_id",
            "must be text, not 42"),
        BadEvent(
            "an object for the item", impression([("item_id", "{}")]), .wrong_type, "/item_id",
            "must be text, not an object"),
        BadEvent(
            "true for the session", impression([("session_id", "true")]), .wrong_type,
            "/session_id", "must be text, not true"),
        BadEvent(
            "a number for the request", impression([("request_id", "0")]), .wrong_type,
            "/request_id", "must be text"),
        BadEvent(
            "text for the position", impression([("position", "\"3\"")]), .wrong_type, "/position",
            "an integer from 1 to 1000000"),
        BadEvent(
            "a fraction for the position", impression([("position", "1.5")]), .wrong_type,
            "/position", "not 1.5"),
        BadEvent(
            "text for the propensity", impression([("propensity", "\".5\"")]), .wrong_type,
            "/propensity", "a number above 0"),
        BadEvent(
            "text for the value", click([("type", "\"conversion\""), ("value", "\"9.99\"")]),
            .wrong_type, "/value", "must be a number"),
        BadEvent(
            "a number for the query", impression([("query", "5")]), .wrong_type, "/query",
            "must be text"),
        BadEvent(
            "a number for the policy", impression([("policy", "5")]), .wrong_type, "/policy",
            "must be text"),
        BadEvent(
            "a number for the currency", impression([("currency", "978")]), .wrong_type,
            "/currency", "must be text"),
        BadEvent(
            "a list for user", impression([("user", "[1,2]")]), .wrong_type, "/user",
            "an object of scalars, not an array"),
        BadEvent(
            "text for context", impression([("context", "\"phone\"")]), .wrong_type, "/context",
            "an object of scalars"),
        BadEvent(
            "a list inside user", impression([("user", #"{"tags":["a"]}"#)]), .wrong_type,
            "/user/tags", "text, a number, true or false"),
        BadEvent(
            "an object inside context", impression([("context", #"{"a/b":{}}"#)]), .wrong_type,
            "/context/a~1b", "not an object"),
        BadEvent(
            "text for items", impression([("item_id", nil), ("items", "\"a\"")]), .wrong_type,
            "/items", "a list of items"),
        BadEvent(
            "a text among items",
            impression([("item_id", nil), ("items", #"[{"item_id":"a"},"b"]"#)]), .wrong_type,
            "/items/1", "an object with item_id"),
        BadEvent(
            "a text for an item's position",
            impression([("item_id", nil), ("items", #"[{"item_id":"a","position":"1"}]"#)]),
            .wrong_type, "/items/0/position", "an integer from 1"),
        BadEvent(
            "text for close", #"{"type":"tick","time_ms":1,"close":"yes"}"#, .wrong_type, "/close",
            "true or false"),
        BadEvent(
            "text for an envelope's event", #"{"specversion":"1.0","data":"{}"}"#, .wrong_type,
            "/data", "a JSON object"),
        BadEvent(
            "a number for an envelope's id",
            "{\"specversion\":\"1.0\",\"id\":7,\"data\":\(impression([]))}", .wrong_type, "/id",
            "must be text"),
    ]

    static let outOfRange: [BadEvent] = [
        BadEvent(
            "a negative time", impression([("time_ms", "-5")]), .out_of_range, "/time_ms", "not -5"),
        BadEvent(
            "a time after the year 9999", impression([("time_ms", "253402300800000")]),
            .out_of_range, "/time_ms", "253402300799999"),
        BadEvent(
            "microseconds", impression([("time_ms", "1700000000000000")]), .out_of_range,
            "/time_ms", "milliseconds"),
        BadEvent(
            "an empty user", impression([("user_id", "\"\"")]), .out_of_range, "/user_id",
            "text of 1 to 256 bytes, not of 0"),
        BadEvent(
            "a long user", impression([("user_id", "\"\(long)\"")]), .out_of_range, "/user_id",
            "not of 257"),
        BadEvent(
            "an empty item", impression([("item_id", "\"\"")]), .out_of_range, "/item_id",
            "text of 1 to 256 bytes"),
        BadEvent(
            "an empty id", impression([("id", "\"\"")]), .out_of_range, "/id",
            "text of 1 to 256 bytes"),
        BadEvent(
            "a long query",
            impression([("query", "\"" + String(repeating: "é", count: 2049) + "\"")]),
            .out_of_range, "/query", "not of 4098"),
        BadEvent(
            "position 0", impression([("position", "0")]), .out_of_range, "/position",
            "from 1 to 1000000, not 0"),
        BadEvent(
            "a negative position", impression([("position", "-1")]), .out_of_range, "/position",
            "not -1"),
        BadEvent(
            "a position beyond a million", impression([("position", "1000001")]), .out_of_range,
            "/position", "not 1000001"),
        BadEvent(
            "propensity 0", impression([("propensity", "0")]), .out_of_range, "/propensity",
            "above 0 and at most 1"),
        BadEvent(
            "propensity above 1", impression([("propensity", "1.01")]), .out_of_range,
            "/propensity", "not 1.01"),
        BadEvent(
            "grade above 1", judgment([("grade", "5")]), .out_of_range, "/grade",
            "from 0 to 1, not 5"),
        BadEvent(
            "a negative grade", judgment([("grade", "-0.1")]), .out_of_range, "/grade",
            "from 0 to 1"),
        BadEvent(
            "a value that a double cannot keep", click([("value", "9007199254740993")]),
            .out_of_range, "/value", "beyond 2^53"),
        BadEvent(
            "an id as a number of context",
            impression([("context", #"{"device":9007199254740993}"#)]), .out_of_range,
            "/context/device", "send it as text"),
        BadEvent(
            "an unnamed scalar", impression([("context", #"{"":1}"#)]), .out_of_range, "/context",
            "a name of 0 bytes"),
        BadEvent(
            "an empty slate", impression([("item_id", nil), ("items", "[]")]), .out_of_range,
            "/items", "at least one item"),
        BadEvent(
            "a slate's position 0",
            impression([("item_id", nil), ("items", #"[{"item_id":"a","position":0}]"#)]),
            .out_of_range, "/items/0/position", "not 0"),
        BadEvent(
            "a slate's propensity 2",
            impression([
                ("item_id", nil), ("items", #"[{"item_id":"a"},{"item_id":"b","propensity":2}]"#),
            ]),
            .out_of_range, "/items/1/propensity", "not 2"),
        BadEvent(
            "17 scalars of the user", impression([("user", "{\(names17)}")]), .too_many_values,
            "/user", "holds 17 values; 16 are allowed"),
        BadEvent(
            "17 scalars of the context", impression([("context", "{\(names17)}")]),
            .too_many_values, "/context", "16 are allowed"),
        BadEvent(
            "an empty domain", impression([("domain", "\"\"")]), .invalid_value, "/domain",
            "a domain's name"),
        BadEvent(
            "a domain in capitals", impression([("domain", "\"Home\"")]), .invalid_value, "/domain",
            "not \"Home\""),
        BadEvent(
            "a domain with a slash", impression([("domain", "\"a/b\"")]), .invalid_value, "/domain",
            "a domain's name"),
        BadEvent(
            "a domain that begins with a point", impression([("domain", "\".a\"")]), .invalid_value,
            "/domain", "the first a letter or digit"),
        BadEvent(
            "a domain of 65 characters",
            impression([("domain", "\"" + String(repeating: "a", count: 65) + "\"")]),
            .invalid_value, "/domain", "1 to 64"),
        BadEvent(
            "an envelope's time that is no date",
            "{\"specversion\":\"1.0\",\"time\":\"yesterday\",\"data\":\(impression([("time_ms", nil)]))}",
            .invalid_value, "/time", "RFC 3339"),
        BadEvent(
            "an item beside a slate", impression([("items", #"[{"item_id":"b"}]"#)]),
            .conflicting_fields, "/item_id",
            "must not stand beside /items"),
        BadEvent(
            "a position beside a slate",
            impression([("item_id", nil), ("position", "1"), ("items", #"[{"item_id":"b"}]"#)]),
            .conflicting_fields, "/position", "must not stand beside /items"),
        BadEvent(
            "two items in one place",
            impression([
                ("item_id", nil), ("items", #"[{"item_id":"a"},{"item_id":"b","position":1}]"#),
            ]),
            .conflicting_fields, "/items/1/position", "which another item of the slate has"),
        BadEvent(
            "a click on a slate", click([("items", #"[{"item_id":"b"}]"#)]), .conflicting_fields,
            "/items", "a click names one item"),
        BadEvent(
            "an envelope inside an envelope",
            #"{"specversion":"1.0","data":{"specversion":"1.0","data":{}}}"#,
            .conflicting_fields, "/data/specversion", "an envelope inside an envelope"),
    ]

    static let all = unreadable + incomplete + wrongTypes + outOfRange
}

@Suite struct BadEventTests {
    @Test(arguments: BadEvent.all)
    func `a broken event is refused with its reason, its path and a sentence`(_ bad: BadEvent) {
        let reader = EventReader()
        let error = #expect(throws: ContractError.self) {
            try bad.value.lend { try reader.read($0) }
        }
        #expect(error?.reason == bad.reason)
        #expect(error?.path == bad.path)
        let message = error?.message ?? ""
        #expect(message.contains(bad.sentence), "\(message)")
        #expect(message.hasSuffix("."), "\(message)")
        #expect(message.utf8.count < 400, "\(message)")
    }

    @Test func `a reader reads on after a broken record`() throws {
        let reader = EventReader()
        for bad in BadEvent.all {
            _ = try? bad.value.lend { try reader.read($0) }
            try Array(BadEvent.impression([("position", "7")]).utf8).lend { try reader.read($0) }
            #expect(reader.event.position == 7)
            #expect(
                reader.event.items.isEmpty && reader.event.context.isEmpty
                    && reader.event.query == nil)
        }
    }
}
