// Fields of comma- and tab-separated lines.

import Bytes
import Testing

@testable import LineFiles

@Suite struct DelimitedLineTests {
    func split(_ text: String, separator: Character = ",") -> [String] {
        var line = DelimitedLine(separator: separator.asciiValue!)
        return text.lend { bytes in
            if let fault = line.split(bytes) { return ["\(fault)"] }
            return (0..<line.count).map { line[$0].text }
        }
    }

    @Test(arguments: [
        ("a,b,c", ["a", "b", "c"]), ("", [""]), (",", ["", ""]), ("a,", ["a", ""]),
        ("a,b\r", ["a", "b"]), ("\"a,b\",c", ["a,b", "c"]), ("\"\",x", ["", "x"]),
        ("\"say \"\"hi\"\"\"", ["say \"hi\""]), ("\"a\",\"b\"\r", ["a", "b"]),
        ("a\"b,c", ["a\"b", "c"]), ("é,\"ü\"", ["é", "ü"]),
        ("\"a", ["the quote that opens field 1 is never closed"]),
        ("x,\"a\"b", ["there is text behind the quote that closes field 2"]),
    ])
    func `fields are taken as RFC 4180 writes them`(text: String, fields: [String]) {
        #expect(split(text) == fields)
    }

    @Test func `tabs do not quote`() {
        #expect(split("a\t\"b\tc\"", separator: "\t") == ["a", "\"b", "c\""])
    }

    @Test func `a line's fields do not depend on the line before`() {
        var line = DelimitedLine()
        for (text, count) in [("a,\"b\"\"c\",d", 3), ("\"x\"", 1), ("1,2", 2)] {
            text.lend { bytes in
                #expect(line.split(bytes) == nil)
                #expect(line.count == count)
            }
        }
    }
}
