// The text of an item: parts that are missing leave nothing behind.

import Bytes
import Contracts
import Encode
import Testing

private func text(_ template: String, _ json: String) throws -> String {
    let reader = CatalogReader()
    var buffer = ByteBuffer()
    try #"{"item_id":"a","time_ms":1,\#(json)}"#.lend { try reader.read($0) }
    ItemTextTemplate(template)!.write(reader.item, to: &buffer)
    return buffer.slice.text
}

@Suite struct ItemTextTests {
    @Test(arguments: [
        (
            #""title":"Alien","description":"A crew.","tags":["space","horror"]"#,
            "Alien. A crew. space, horror"
        ),
        (#""title":"Alien","tags":["space"]"#, "Alien. space"),
        (#""title":"Alien","description":"A crew""#, "Alien. A crew"),
        (#""title":"Alien""#, "Alien"), (#""title":"","tags":["a","b"]"#, "a, b"),
        (#""title":" ","description":"\n\t ""#, ""), (#""title":"""#, ""),
        (#""title":"Up!","description":"Balloons""#, "Up! Balloons"),
        (#""title":"Alien...","description":"A""#, "Alien... A"),
        (#""title":"x","tags":[" ","b"]"#, "x. b"),
    ])
    func `the default template`(item: String, expected: String) throws {
        #expect(try text("{title}. {description}. {tags}", item) == expected)
    }

    @Test(arguments: [
        ("{title} ({tags})", #""title":"A","tags":["t"]"#, "A (t)"),
        ("{title} ({tags})", #""title":"A""#, "A"),
        ("query: {title}", #""title":"A""#, "query: A"), ("query: {title}", #""title":"""#, ""),
        ("passage: {title}; {description}", #""title":"","description":"d""#, "passage: d"),
        ("{description} — {title}", #""title":"A""#, "A"),
        ("{title}{title}", #""title":"A""#, "AA"),
    ])
    func `what stands around a missing part goes with it`(
        template: String, item: String, expected: String
    ) throws {
        #expect(try text(template, item) == expected)
    }

    @Test func `a long text is cut between two characters`() throws {
        let title = String(repeating: "ä", count: 5_000)
        let cut = try text("x{title}", #""title":"\#(title)""#)
        #expect(cut.utf8.count == 8_191)
        #expect(cut == "x" + String(repeating: "ä", count: 4_095))
    }

    @Test func `a template without parts is none`() {
        #expect(ItemTextTemplate("title") == nil)
        #expect(ItemTextTemplate("{titel}") == nil)
        #expect(ItemTextTemplate("{title") == nil)
    }
}
