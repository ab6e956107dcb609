// What the parser accepts and refuses: every hole that json-c's strict mode leaves open has its
// line here.

import Bytes
import Testing

@testable import JSON

/// A text that is not JSON, and what its refusal must say.
struct Refusal: CustomTestStringConvertible, Sendable {
    let text: [UInt8]
    let kind: JSONError.Kind
    let path: String
    let offset: Int
    let reason: String
    var testDescription: String { String(decoding: text.prefix(40), as: UTF8.self) }

    init(
        _ text: String, _ kind: JSONError.Kind, path: String = "", at offset: Int, _ reason: String
    ) {
        self.init(bytes: Array(text.utf8), kind, path: path, at: offset, reason)
    }

    init(
        bytes: [UInt8], _ kind: JSONError.Kind, path: String = "", at offset: Int, _ reason: String
    ) {
        text = bytes
        self.kind = kind
        self.path = path
        self.offset = offset
        self.reason = reason
    }

    static let all: [Refusal] = [
        Refusal("", .empty, at: 0, "there are no bytes"),
        Refusal(" \n", .empty, at: 2, "nothing but white space"),
        // Numbers.
        Refusal("NaN", .syntax, at: 0, "NaN and Infinity are not JSON"),
        Refusal("nan", .syntax, at: 0, "NaN and Infinity are not JSON"),
        Refusal(#"{"a":NaN}"#, .syntax, path: "/a", at: 5, "NaN and Infinity are not JSON"),
        Refusal(#"{"a":Infinity}"#, .syntax, path: "/a", at: 5, "NaN and Infinity are not JSON"),
        Refusal(#"{"a":-Infinity}"#, .syntax, path: "/a", at: 5, "NaN and Infinity are not JSON"),
        Refusal(
            #"{"a":[1,1e400]}"#, .numberOutOfRange, path: "/a/1", at: 8, "too large for a double"),
        Refusal("-1e400", .numberOutOfRange, at: 0, "too large for a double"),
        Refusal("9223372036854775808", .numberOutOfRange, at: 0, "does not fit in 64 bits"),
        Refusal("-9223372036854775809", .numberOutOfRange, at: 0, "does not fit in 64 bits"),
        Refusal(
            "123456789012345678901234567890", .numberOutOfRange, at: 0, "does not fit in 64 bits"),
        Refusal("[01]", .syntax, path: "/0", at: 1, "needless 0"),
        Refusal("-01", .syntax, at: 0, "needless 0"),
        Refusal("00", .syntax, at: 0, "needless 0"),
        Refusal("+1", .syntax, at: 0, "not a number"),
        Refusal(".5", .syntax, at: 0, "not a number"),
        Refusal("1.", .syntax, at: 0, "not a number"),
        Refusal("1.e5", .syntax, at: 0, "not a number"),
        Refusal("1e", .syntax, at: 0, "not a number"),
        Refusal("1e+", .syntax, at: 0, "not a number"),
        Refusal("-", .syntax, at: 0, "not a number"),
        Refusal("[-]", .syntax, path: "/0", at: 1, "not a number"),
        Refusal("0x10", .syntax, at: 1, "something follows"),
        Refusal("[1a]", .syntax, path: "/0", at: 2, "comma or the closing bracket"),
        // Words.
        Refusal("True", .syntax, at: 0, "neither true, false nor null"),
        Refusal("[nul]", .syntax, path: "/0", at: 1, "neither true, false nor null"),
        Refusal("NULL", .syntax, at: 0, "neither true, false nor null"),
        Refusal("[truex]", .syntax, path: "/0", at: 5, "comma or the closing bracket"),
        Refusal("undefined", .syntax, at: 0, "neither true, false nor null"),
        // Text.
        Refusal("'a'", .syntax, at: 0, "single quotes"),
        Refusal("{'a':1}", .syntax, at: 1, "single quotes"),
        Refusal(#"{"a":'b'}"#, .syntax, path: "/a", at: 5, "single quotes"),
        Refusal("{a:1}", .syntax, at: 1, "name in double quotes is missing"),
        Refusal("\"a\nb\"", .syntax, at: 2, "control character"),
        Refusal("\"a\tb\"", .syntax, at: 2, "control character"),
        Refusal("\"a\u{0}b\"", .syntax, at: 2, "control character"),
        Refusal("\"\u{1F}\"", .syntax, at: 1, "control character"),
        Refusal(#"["\ud800"]"#, .syntax, path: "/0", at: 2, "surrogate"),
        Refusal(#"["\udc00"]"#, .syntax, path: "/0", at: 2, "surrogate"),
        Refusal(#"["\ud800\ud800"]"#, .syntax, path: "/0", at: 2, "surrogate"),
        Refusal(#"["\ud800x"]"#, .syntax, path: "/0", at: 2, "surrogate"),
        Refusal(#""\x41""#, .syntax, at: 1, "unknown escape"),
        Refusal(#""\u12g4""#, .syntax, at: 1, "unknown escape"),
        Refusal(#""\u12""#, .syntax, at: 1, "unknown escape"),
        Refusal(#""\'""#, .syntax, at: 1, "unknown escape"),
        Refusal(#""abc"#, .syntax, at: 4, "not closed"),
        Refusal(#""abcdefghijklmnop"#, .syntax, at: 17, "not closed"),
        Refusal(#""abc\"#, .syntax, at: 4, "not closed"),
        Refusal(#"{"a\u0000b":1}"#, .syntax, at: 1, "NUL"),
        Refusal(bytes: [0x22, 0xFF, 0x22], .invalidUTF8, at: 1, "not UTF-8"),
        Refusal(bytes: [0x22, 0xC0, 0x80, 0x22], .invalidUTF8, at: 1, "not UTF-8"),
        Refusal(bytes: [0x22, 0xED, 0xA0, 0x80, 0x22], .invalidUTF8, at: 1, "not UTF-8"),
        Refusal(bytes: [0x22, 0xF4, 0x90, 0x80, 0x80, 0x22], .invalidUTF8, at: 1, "not UTF-8"),
        Refusal(bytes: [0x22, 0xE2, 0x82, 0x22], .invalidUTF8, at: 1, "not UTF-8"),
        Refusal(bytes: [0x22, 0xE2, 0x82], .invalidUTF8, at: 1, "not UTF-8"),
        Refusal(bytes: [0x22, 0x80, 0x22], .invalidUTF8, at: 1, "not UTF-8"),
        Refusal(bytes: [0x5B, 0xFE, 0x5D], .invalidUTF8, path: "/0", at: 1, "not UTF-8"),
        // Structure.
        Refusal("/* c */ 1", .syntax, at: 0, "comment"),
        Refusal("1 // c", .syntax, at: 2, "something follows"),
        Refusal("[1, // c\n2]", .syntax, path: "/1", at: 4, "comment"),
        Refusal("[1 /* c */]", .syntax, path: "/0", at: 3, "comment"),
        Refusal("# c\n1", .syntax, at: 0, "comment"),
        Refusal(#"{"a":1,"b":2,"a":3}"#, .duplicateMember, path: "/a", at: 13, "named twice"),
        Refusal(#"{"x":[{"a":1,"a":1}]}"#, .duplicateMember, path: "/x/0/a", at: 13, "named twice"),
        Refusal(#"{"é":1,"\u00e9":1}"#, .duplicateMember, path: "/é", at: 8, "named twice"),
        Refusal(#"{"":1,"":1}"#, .duplicateMember, path: "/", at: 6, "named twice"),
        Refusal(#"{"a":1} {"#, .syntax, at: 8, "something follows"),
        Refusal(#"{"a":1}}"#, .syntax, at: 7, "something follows"),
        Refusal("1 2", .syntax, at: 2, "something follows"),
        Refusal("1\u{0}", .syntax, at: 1, "something follows"),
        Refusal(#"{"a":1}\#u{0}"#, .syntax, at: 7, "something follows"),
        Refusal("\u{FEFF}{}", .syntax, at: 0, "byte order mark"),
        Refusal("[1,]", .syntax, path: "/1", at: 3, "begins no value"),
        Refusal("[,1]", .syntax, path: "/0", at: 1, "begins no value"),
        Refusal(#"{"a":1,}"#, .syntax, path: "/a", at: 7, "name in double quotes is missing"),
        Refusal("{,}", .syntax, at: 1, "name in double quotes is missing"),
        Refusal("{1:2}", .syntax, at: 1, "name in double quotes is missing"),
        Refusal(#"{"a" 1}"#, .syntax, at: 5, "colon is missing"),
        Refusal(#"{"a":}"#, .syntax, path: "/a", at: 5, "begins no value"),
        Refusal(#"{"a":1 "b":2}"#, .syntax, path: "/a", at: 7, "comma or the closing bracket"),
        Refusal("[1 2]", .syntax, path: "/0", at: 3, "comma or the closing bracket"),
        Refusal("[1}", .syntax, path: "/0", at: 2, "comma or the closing bracket"),
        Refusal(#"{"a":1]"#, .syntax, path: "/a", at: 6, "comma or the closing bracket"),
        Refusal("[1", .syntax, path: "/0", at: 2, "not complete"),
        Refusal("[", .syntax, path: "/0", at: 1, "not complete"),
        Refusal(#"{"a":"#, .syntax, path: "/a", at: 5, "not complete"),
        Refusal(#"{"a""#, .syntax, at: 4, "not complete"),
        Refusal("{", .syntax, at: 1, "not complete"),
        Refusal("tru", .syntax, at: 0, "not complete"),
        Refusal("]", .syntax, at: 0, "begins no value"),
        Refusal("[\u{B}1]", .syntax, path: "/0", at: 1, "begins no value"),
        Refusal("[\u{A0}1]", .syntax, path: "/0", at: 1, "begins no value"),
        Refusal("[[[[[1]]]]]", .tooDeep, path: "/0/0/0/0", at: 4, "deeper than 4"),
        Refusal(
            #"{"a":{"b":{"c":{"d":{}}}}}"#, .tooDeep, path: "/a/b/c/d", at: 20, "deeper than 4"),
        Refusal(#"{"a/b":{"~":x}}"#, .syntax, path: "/a~1b/~0", at: 12, "neither true"),
    ]
}

@Suite struct JSONParserTests {
    @Test(arguments: Refusal.all)
    func `what is not JSON is refused with kind, path, byte and reason`(_ refusal: Refusal) throws {
        let parser = JSONParser(maximumDepth: 4)
        let error = #expect(throws: JSONError.self) { try parser.parsed(refusal.text) }
        #expect(error?.kind == refusal.kind)
        #expect(error?.path == refusal.path)
        #expect(error?.offset == refusal.offset)
        #expect(error?.reason.contains(refusal.reason) == true, "\(error?.reason ?? "")")
    }

    @Test(arguments: Refusal.all.filter { $0.kind != .tooDeep })
    func `trees refuse what the parser refuses`(_ refusal: Refusal) throws {
        let error = #expect(throws: JSONError.self) { try JSONValue(parsing: refusal.text) }
        #expect(error?.kind == refusal.kind)
        #expect(error?.path == refusal.path)
    }

    @Test(arguments: [
        ("12", JSONValue.integer(12)), (" -0 ", .integer(0)), ("1.5e2", .integer(150)),
        ("9223372036854775807", .integer(.max)), ("-9223372036854775808", .integer(.min)),
        ("1E-2", .number(0.01)), ("0.1", .number(0.1)), ("1e-400", .integer(0)),
        ("5e-324", .number(.leastNonzeroMagnitude)),
        ("1.7976931348623157e308", .number(1.7976931348623157e308)), ("-0.0", .integer(0)),
        ("9007199254740993", .integer(9_007_199_254_740_993)), ("1e22", .number(1e22)),
        ("123456789012345678901234567890.5", .number(1.2345678901234568e29)),
        ("0.30000000000000004", .number(0.1 + 0.2)), ("\r\n\ttrue ", .boolean(true)),
        ("null", .null),
        ("[]", .array([])), ("{}", .object([])), ("[[],{}]", .array([.array([]), .object([])])),
        (#""""#, .text("")), (#""\u0041\n\/\ud83d\ude00é""#, .text("A\n/😀é")),
        (
            #"{"b":[1,2,{"c":null}],"a":{}}"#,
            .object([
                JSONMember(
                    "b", .array([.integer(1), .integer(2), .object([JSONMember("c", .null)])])),
                JSONMember("a", .object([])),
            ])
        ),
        (
            "\"\u{7F}\u{80}\u{7FF}\u{800}\u{FFFF}\u{10000}\u{10FFFF}\"",
            .text("\u{7F}\u{80}\u{7FF}\u{800}\u{FFFF}\u{10000}\u{10FFFF}")
        ),
    ])
    func `what is JSON is read`(text: String, value: JSONValue) throws {
        #expect(try JSONParser().parsed(Array(text.utf8)) == value)
        #expect(try JSONValue(parsing: text) == value)
    }

    @Test func `NUL inside text counts with its length`() throws {
        let parser = JSONParser()
        let view = try parser.parse(copying: #"{"a":"x\u0000y"}"#)
        #expect(view.member("a")?.text?.copy() == [0x78, 0, 0x79])
        #expect(try JSONValue(parsing: #""x\u0000y""#).text?.utf8.count == 3)
    }

    @Test func `a view outlives the bytes it was read from`() throws {
        let parser = JSONParser()
        var bytes = Array(#"{"name":"a long enough text, with \"escapes\" and ümlauts"}"#.utf8)
        let view = try bytes.lend { bytes in try parser.parse(bytes) }
        bytes = []
        #expect(
            view.member("name")?.text?.text == #"a long enough text, with "escapes" and ümlauts"#)
    }

    @Test func `escapes leave the members behind them in place`() throws {
        let parser = JSONParser()
        let view = try parser.parse(
            copying: #"{"a\tb":"\u00e9\\" , "c" : ["\n\n\n\n\n\n\n\n\n","d"]}"#)
        #expect(view.members.map { $0.name.text } == ["a\tb", "c"])
        #expect(view.member("c")?[0].text?.count == 9)
        #expect(view.member("c")?[1].text?.text == "d")
        #expect(view.members.map { $0.value }.first?.text?.text == "é\\")
    }

    @Test func `a text is accepted up to its limits and refused beyond`() throws {
        let parser = JSONParser(maximumDepth: 3, maximumBytes: 10)
        #expect(throws: Never.self) { try parser.parsed(Array("[[[1234]]]".utf8)) }
        #expect(throws: JSONError.self) { try parser.parsed(Array("[[[[1]]]]".utf8)) }
        let error = #expect(throws: JSONError.self) {
            try parser.parsed(Array("[[12345678]]".utf8))
        }
        #expect(error?.kind == .tooLarge)
    }

    @Test func `the memory grows with the longest text and the next short one is read as before`()
        throws
    {
        let parser = JSONParser(maximumBytes: 1 << 20)
        let long = "[" + String(repeating: "0,", count: 500_000) + "1]"
        #expect(try parser.parse(copying: long).count == 500_001)
        #expect(try parser.parse(copying: "[1,[2,3],4]").elements.map { $0.count } == [0, 2, 0])
    }

    @Test(arguments: [1, 2, 8, 63, 64, 65, 66, 200, 5_000])
    func `equal names are found in objects of any size`(count: Int) throws {
        let parser = JSONParser()
        let members = (0..<count).map { "\"n\($0)\":{\"n\($0)\":[]}" }
        let different = "{" + members.joined(separator: ",") + "}"
        #expect(try parser.parse(copying: different).count == count)
        let twice = "{" + (members + ["\"n\(count / 2)\":0"]).joined(separator: ",") + "}"
        let error = #expect(throws: JSONError.self) { try parser.parsed(Array(twice.utf8)) }
        #expect(error?.kind == .duplicateMember)
        #expect(error?.path == "/n\(count / 2)")
    }

    @Test func `names that begin alike or lie next to other bytes stay different`() throws {
        let text = #"{"abcdefgh":1,"abcdefghi":2,"abcdefghj":3,"a":4,"b":5,"ab":6,"":7}"#
        let parser = JSONParser()
        #expect(try parser.parse(copying: text).count == 7)
        withExtendedLifetime(parser) {}
    }
}

extension JSONParser {
    /// The tree of what the view shows, for comparisons.
    func parsed(_ bytes: [UInt8]) throws -> JSONValue {
        try bytes.lend { JSONValue(try parse($0)) }
    }

    func parse(copying text: String) throws -> JSONView {
        try Array(text.utf8).lend { try parse($0) }
    }
}
