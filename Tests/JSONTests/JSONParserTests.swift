import Bytes
import Testing

@testable import JSON

@Suite struct JSONParserTests {
    @Test func `a number may be the whole text`() throws {
        #expect(try JSONValue(parsing: "12") == .integer(12))
        #expect(try JSONValue(parsing: " 1.5e2 ") == .integer(150))
    }
}
