// Random and mutated texts: the scan and json-c, two parsers without a common line, must agree.

import Bytes
import DeterministicMath
import Testing

@testable import JSON

@Suite struct JSONFuzzTests {
    @Test func `random values read back through both parsers, however they are spelled`() throws {
        let seed: UInt64 = 4_711
        var random = Random(seed: seed)
        for round in 0..<5_000 {
            var spelling: [UInt8] = []
            let value = random.value(depth: 4, into: &spelling)
            let text = String(decoding: spelling, as: UTF8.self)
            let read = try JSONValue(parsing: spelling)
            #expect(read == value, "seed \(seed), round \(round): \(text)")
            #expect(try JSONValue(parsing: value.canonicalBytes) == value, "\(text)")
        }
    }

    @Test func `of mutated texts none crashes, and json-c reads alike what the scan accepts`()
        throws
    {
        let seed: UInt64 = 1_234
        var random = Random(seed: seed)
        let parser = JSONParser(maximumDepth: 64)
        var accepted = 0
        for round in 0..<30_000 {
            var text: [UInt8] = []
            _ = random.value(depth: 3, into: &text)
            for _ in 0...random.below(3) { random.mutate(&text) }
            guard (try? text.lend { _ = try parser.parse($0) }) != nil else { continue }
            accepted += 1
            // Throws where json-c refuses the text or reads another value.
            let value = try JSONValue(parsing: text)
            #expect(
                try JSONValue(parsing: value.canonicalBytes) == value,
                "seed \(seed), round \(round)")
        }
        #expect(accepted > 1_000, "\(accepted)")
    }
}

extension Random {
    /// Makes a value and one of its many spellings.
    mutating func value(depth: Int, into text: inout [UInt8]) -> JSONValue {
        space(&text)
        defer { space(&text) }
        switch below(depth == 0 ? 6 : 8) {
        case 0:
            text += Array("null".utf8)
            return .null
        case 1:
            let truth = below(2) == 0
            text += Array("\(truth)".utf8)
            return .boolean(truth)
        case 2:
            let integer = Int64(bitPattern: next()) >> Int64(below(64))
            text += Array("\(integer)".utf8)
            return .integer(integer)
        case 3:
            let mantissa = Int64(bitPattern: next()) >> Int64(below(64))
            let spelling = "\(mantissa).\(below(1_000))\(["", "e3", "E-10", "e+2"][below(4)])"
            text += Array(spelling.utf8)
            return .number(Double(spelling)!)
        case 4, 5: return .text(string(&text))
        case 6:
            text.append(UInt8(ascii: "["))
            var values: [JSONValue] = []
            for i in 0..<below(5) {
                if i > 0 { text.append(UInt8(ascii: ",")) }
                values.append(value(depth: depth - 1, into: &text))
            }
            if values.isEmpty { space(&text) }
            text.append(UInt8(ascii: "]"))
            return .array(values)
        default:
            text.append(UInt8(ascii: "{"))
            var members: [JSONMember] = []
            for i in 0..<below(5) {
                if i > 0 { text.append(UInt8(ascii: ",")) }
                space(&text)
                text.append(UInt8(ascii: "\""))
                let name = "m\(i)"
                text += Array(below(4) == 0 ? "\\u006d\(i)".utf8 : name.utf8)
                text.append(UInt8(ascii: "\""))
                space(&text)
                text.append(UInt8(ascii: ":"))
                members.append(JSONMember(name, value(depth: depth - 1, into: &text)))
            }
            if members.isEmpty { space(&text) }
            text.append(UInt8(ascii: "}"))
            return .object(members)
        }
    }

    mutating func string(_ text: inout [UInt8]) -> String {
        let pieces: [(String, String)] = [
            ("a", "a"), ("plain text ", "plain text "), ("é", "é"), ("é", "\\u00e9"),
            ("😀", "\\uD83D\\uDE00"),
            ("😀", "😀"), ("\"", "\\\""), ("\\", "\\\\"), ("/", "\\/"), ("\n", "\\n"),
            ("\u{0}", "\\u0000"),
            ("\u{FFFF}", "\u{FFFF}"), ("\u{FFFD}", "\\uFFfd"),
        ]
        text.append(UInt8(ascii: "\""))
        var string = ""
        for _ in 0..<below(8) {
            let piece = pieces[below(pieces.count)]
            string += piece.0
            text += Array(piece.1.utf8)
        }
        text.append(UInt8(ascii: "\""))
        return string
    }

    mutating func space(_ text: inout [UInt8]) {
        guard below(4) == 0 else { return }
        for _ in 0...below(2) { text.append([0x20, 0x0A, 0x0D, 0x09][below(4)]) }
    }

    /// Changes, removes, repeats or inserts a few bytes.
    mutating func mutate(_ text: inout [UInt8]) {
        guard !text.isEmpty else { return }
        let place = below(text.count)
        switch below(5) {
        case 0: text[place] = UInt8(truncatingIfNeeded: next())
        case 1: text.remove(at: place)
        case 2:
            text.insert(
                Array("{}[]\",:0123456789.eE+-\\/ntfu'\u{0}\u{7F}".utf8)[below(31)], at: place)
        case 3:
            let end = min(text.count, place + below(8))
            text.insert(contentsOf: text[place..<end], at: place)
        default: text.removeSubrange(place..<min(text.count, place + below(4)))
        }
    }
}
