// One value has one spelling: what the writers promise.

import Bytes
import DeterministicMath
import Testing

@testable import JSON

#if canImport(Glibc)
    import Glibc
#endif

@Suite struct CanonicalWritingTests {
    @Test(arguments: [
        (
            #" { "b" : 1.0 , "a" : [ 1e2, 0.10, -0.0 , "\u00e9\u002f\u0007" ] } "#,
            "{\"a\":[100,0.1,0,\"é/\\u0007\"],\"b\":1}"
        ),
        (#"{"Z":1,"a":2,"é":3,"ab":4,"":5}"#, #"{"":5,"Z":1,"a":2,"ab":4,"é":3}"#),
        (#"["\u0022\\\b\f\n\r\t\u001f\u007f"]"#, "[\"\\\"\\\\\\b\\f\\n\\r\\t\\u001f\u{7F}\"]"),
        (
            "[9007199254740992,9007199254740993,9007199254740994.0,1e20,1e-7]",
            "[9007199254740992,9007199254740993,9.007199254740994e+15,1e+20,1e-07]"
        ),
        ("[true,false,null,[],{},[[]]]", "[true,false,null,[],{},[[]]]"),
    ])
    func `equal values have equal bytes`(text: String, canonical: String) throws {
        let value = try JSONValue(parsing: text)
        #expect(value.canonicalText == canonical)
        #expect(try JSONValue(parsing: canonical) == value)
        #expect(try JSONValue(parsing: canonical).canonicalText == canonical)
    }

    @Test func `values are equal by value and text by its bytes`() {
        #expect(JSONValue.integer(1) == .number(1))
        #expect(JSONValue.integer(9_007_199_254_740_993) != .number(9_007_199_254_740_992))
        #expect(
            JSONValue.text("\u{E9}") != .text("e\u{301}"),
            "Swift calls these equal; their bytes differ")
        #expect(
            JSONValue.object([JSONMember("a", .null), JSONMember("b", .null)])
                == .object([JSONMember("b", .null), JSONMember("a", .null)]))
    }

    @Test func `numbers read back as the same bits`() throws {
        var random = Random(seed: 20_240_117)
        let parser = JSONParser()
        for _ in 0..<100_000 {
            let number = Double(bitPattern: random.next())
            guard number.isFinite else { continue }
            try expectSame(number, parser)
        }
        for _ in 0..<100_000 {
            // Short decimals, as people write them.
            let number = Double(Int64(random.next() % 2_000_000) - 1_000_000) / 1_000
            try expectSame(number, parser)
        }
        for _ in 0..<200_000 {
            // Decimals of one to 12 places, from below a ten-thousandth to above a hundred thousand, and
            // what stands beside them.
            let places = Double(1 + random.next() % 12)
            let range = pow(10, Double(random.next() % 11) - 5)
            let sign: Double = random.next() & 1 == 0 ? 1 : -1
            let scale = pow(10, places)
            let uniform = Double(random.next() >> 11) * 0x1p-53
            let number = sign * (uniform * range * scale).rounded() / scale
            try expectSame(number, parser)
            try expectSame(number.nextUp, parser)
        }
        for number in [
            0.0001, 0.00009999999999, 99_999.9999999999, 100_000.5, -0.5, 0.3, 0.1 + 0.2,
            0.1, 1e22, 1e23, Double.leastNonzeroMagnitude, 2.2250738585072014e-308,
            1.7976931348623157e308, 0x1p53 + 2,
        ] {
            try expectSame(number, parser)
        }
    }

    private func expectSame(_ number: Double, _ parser: JSONParser) throws {
        var buffer = ByteBuffer()
        buffer.appendJSON(number)
        let read = try parser.parse(buffer.slice)
        #expect(read.double == number, "\(number)")
        if buffer.slice.text != "\(number)" {
            #expect(Double(buffer.slice.text) == number && number == number.rounded(), "\(number)")
        }
    }

    @Test func `decimals are read to the nearest double, short or long`() throws {
        var random = Random(seed: 7)
        let parser = JSONParser()
        for _ in 0..<100_000 {
            let digits = (0..<Int(random.next() % 24 + 1)).map { _ in String(random.next() % 10) }
                .joined()
            let exponent = Int(random.next() % 60) - 30
            let text = "1.\(digits)e\(exponent)"
            #expect(try parser.parse(copying: text).double == Double(text), "\(text)")
        }
    }

    @Test func `integers are written with all their digits`() {
        var random = Random(seed: 99)
        var integers: [Int64] = [.min, .max, 0, -1]
        for digits in 0..<19 {
            let power = (0..<digits).reduce(Int64(1)) { value, _ in value * 10 }
            integers += [power, power - 1, -power, 1 - power]
        }
        for _ in 0..<10_000 {
            integers.append(Int64(bitPattern: random.next()) >> Int64(random.next() % 64))
        }
        for integer in integers {
            var buffer = ByteBuffer()
            buffer.appendJSON(integer)
            #expect(buffer.slice.text == "\(integer)")
        }
    }

    @Test func `text is escaped wherever the special character stands`() throws {
        let parser = JSONParser()
        for length in 0..<20 {
            for place in 0...length {
                for special in ["", "\"", "\\", "\n", "\u{0}", "\u{1F}", "é", "\u{7F}"] {
                    let text =
                        String(repeating: "x", count: place) + special
                        + String(repeating: "y", count: length - place)
                    var buffer = ByteBuffer()
                    text.lend { buffer.appendJSONText($0) }
                    #expect(try parser.parse(buffer.slice).text?.text == text)
                }
            }
        }
    }

    @Test func `commas stand between members and elements only`() {
        var buffer = ByteBuffer()
        for _ in 0..<2 {
            buffer.openRecord()
            buffer.member("a", 1)
            buffer.name("b")
            buffer.openArray()
            buffer.openObject()
            buffer.closeObject()
            buffer.openArray()
            buffer.closeArray()
            buffer.element(true)
            buffer.elementNull()
            buffer.closeArray()
            buffer.member("c", hash: 0xFEDC_BA98_7654_3210)
            buffer.member("d", nil as Double?)
            buffer.member("e", orNull: nil as Double?)
            buffer.closeObject()
        }
        let record = #"{"a":1,"b":[{},[],true,null],"c":"fedcba9876543210","e":null}"#
        #expect(buffer.slice.text == record + record, "records follow each other without a comma")
    }

    @Test func `base64 reads back and has one spelling`() {
        for count in 0..<40 {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 * 37 + count) }
            var buffer = ByteBuffer()
            bytes.lend { buffer.element(base64: $0) }
            let text = Array(buffer.slice.copy().dropFirst().dropLast())
            #expect(text.lend { Base64.decode($0) } == bytes)
        }
        for wrong in ["A", "AB==C", "A===", "AB=C", "QR==", "QUJ=", "Q!==", "====", "QUI=QUI="] {
            #expect(Array(wrong.utf8).lend { Base64.decode($0) } == nil, "\(wrong)")
        }
        #expect(Array("QUI=".utf8).lend { Base64.decode($0) } == [0x41, 0x42])
    }
}
