// Lines of other people in, our events out.

import Bytes
import Contracts
import Foundation
import LineFiles
import Testing

@testable import EventMapping

/// Maps lines with a map that is written out in the test.
struct Mapped {
    let mapper: EventMapper

    init(_ map: String, header: String? = nil) throws {
        mapper = EventMapper(try map.lendBytes { try EventMap(parsing: $0) })
        if let header { try header.lendBytes { try mapper.readHeader($0) } }
    }

    init(_ shipped: ShippedMap, header: String? = nil) throws {
        mapper = EventMapper(try shipped.map)
        if let header { try header.lendBytes { try mapper.readHeader($0) } }
    }

    /// The events of a line, or the sentence of its dead letter.
    func callAsFunction(_ line: String) -> [String] {
        var events = ByteBuffer()
        return line.lendBytes { bytes in
            do throws(ContractError) {
                let count = try mapper.map(bytes, into: &events)
                let lines = events.slice.text.split(separator: "\n").map(String.init)
                #expect(lines.count == count)
                return lines
            } catch {
                #expect(events.count == 0, "a dead letter leaves nothing behind")
                return [error.description]
            }
        }
    }
}

extension String {
    func lendBytes<Result>(_ body: (ByteSlice) throws -> Result) rethrows -> Result {
        try lend { try body($0) }
    }
}

@Suite struct EventMapperTests {
    /// A map of one event, whose fields are the usual ones and `more`.
    func one(
        _ more: String, input: String = "json", time: String = #""/t""#, top: String = ""
    ) -> String {
        let from = { (name: String) in input == "json" ? "\"/\(name)\"" : "\"\(name)\"" }
        return #"{"name":"m","input":"\#(input)",\#(top)"events":[{"fields":{"#
            + #""type":{"value":"click"},"time_ms":\#(time),"domain":{"value":"d"},"#
            + #""user_id":\#(from("u")),"impression_id":{"value":"i"}\#(more)}}]}"#
    }

    @Test func `a pointer finds members, elements and the value of a key`() throws {
        let map = try Mapped(
            one(
                #","request_id":"/a/b~1c/1","item_id":"/params/[key=item]/value/s","query":"/none/x""#
            ))
        #expect(
            map(
                #"{"t":5,"u":"u1","a":{"b/c":["x","y"]},"params":[{"key":"k"},{"key":"item","value":{"s":"p7"}}]}"#
            ) == [
                #"{"domain":"d","impression_id":"i","item_id":"p7","request_id":"y","time_ms":5,"type":"click","user_id":"u1"}"#
            ])
    }

    @Test func `numbers become text and text numbers where the field asks for it`() throws {
        let map = try Mapped(one(#","item_id":"/i","value":"/v","context":{"n":"/i","s":"/v"}"#))
        #expect(
            map(#"{"t":"1700000000123","u":12,"i":7,"v":"12.50"}"#) == [
                #"{"context":{"n":7,"s":"12.50"},"domain":"d","impression_id":"i","item_id":"7","time_ms":1700000000123,"type":"click","user_id":"12","value":12.5}"#
            ])
        #expect(map(#"{"t":5,"u":"u","v":"much"}"#)[0].hasSuffix("which is no number."))
        #expect(map(#"{"t":5.5,"u":"u"}"#)[0].hasSuffix("\"5.5\", which is no whole number."))
        #expect(map(#"{"t":"soon","u":"u"}"#)[0].contains("/time_ms with \"soon\""))
    }

    @Test(arguments: [
        ("ms", "1700000000123", 1_700_000_000_123), ("s", "1700000000", 1_700_000_000_000),
        ("s", "1700000000.001", 1_700_000_000_001), ("us", "1700000000123456", 1_700_000_000_123),
        ("us", "\"1700000000123456\"", 1_700_000_000_123),
        ("ns", "1700000000123456789", 1_700_000_000_123),
        ("iso8601", "\"2023-11-14T22:13:20.123Z\"", 1_700_000_000_123),
        ("iso8601", "\"2023-11-14T23:13:20+01:00\"", 1_700_000_000_000),
        ("iso8601", "\"2023-11-14 22:13:20.123\"", 1_700_000_000_123),
        ("iso8601", "\"2023-11-14 22:13:20\"", 1_700_000_000_000),
    ])
    func `times of every format end in milliseconds`(unit: String, text: String, time: Int) throws {
        let map = try Mapped(one("", time: #"{"from":"/t","time":"\#(unit)"}"#))
        #expect(map(#"{"t":\#(text),"u":"u"}"#)[0].contains("\"time_ms\":\(time),"))
    }

    @Test(arguments: [
        ("s", "9e300"), ("s", "9223372036854775807"), ("ms", "\"x\""),
        ("iso8601", "\"2023-13-01T00:00:00Z\""),
        ("iso8601", "\"yesterday\""), ("iso8601", "5"), ("ms", "true"),
        ("iso8601", "\"2023-11-14x22:13:20Z\""),
    ])
    func `what is no time is a dead letter`(unit: String, text: String) throws {
        let map = try Mapped(one("", time: #"{"from":"/t","time":"\#(unit)"}"#))
        #expect(map(#"{"t":\#(text),"u":"u"}"#)[0].hasPrefix("not_mapped: "))
    }

    @Test func `words are translated, and an unknown one needs an otherwise`() throws {
        let strict = try Mapped(one(#","policy":{"from":"/p","words":{"a":"first","1":"one"}}"#))
        #expect(strict(#"{"t":5,"u":"u","p":"a"}"#)[0].contains(#""policy":"first""#))
        #expect(strict(#"{"t":5,"u":"u","p":1}"#)[0].contains(#""policy":"one""#))
        #expect(strict(#"{"t":5,"u":"u"}"#)[0].contains(#""impression_id":"i","time_ms""#))
        #expect(
            strict(#"{"t":5,"u":"u","p":"z"}"#) == [
                #"not_mapped: The map fills /policy with "z", which is none of the words that the map knows."#
            ])
        let loose = try Mapped(
            one(#","policy":{"from":"/p","default":"none","words":{"a":"b"},"otherwise":"other"}"#))
        #expect(loose(#"{"t":5,"u":"u","p":"z"}"#)[0].contains(#""policy":"other""#))
        #expect(
            loose(#"{"t":5,"u":"u"}"#)[0].contains(#""policy":"other""#),
            "the default is a word too")
    }

    @Test func `arithmetic, forms and names`() throws {
        let map = try Mapped(
            one(
                #","value":{"from":"/cents","times":0.01},"context":{"b":{"from":"/b","as":"boolean"},"n":{"from":"/n","as":"number"},"t":{"from":"/cents","as":"text"}}"#
            ))
        #expect(
            map(#"{"t":5,"u":"u","cents":1250,"b":"0","n":"7"}"#)[0].hasPrefix(
                #"{"context":{"b":false,"n":7,"t":"1250"},"#))
        #expect(map(#"{"t":5,"u":"u","cents":1250}"#)[0].contains(#""value":12.5"#))
        #expect(
            map(#"{"t":5,"u":"u","b":"maybe"}"#)[0].hasSuffix("which is neither true nor false."))
        let named =
            #"{"name":"m","input":"json","events":[{"fields":{"type":{"value":"click"},"time_ms":"/t","domain":{"from":"/d","as":"name"},"user_id":"/u","impression_id":"/u"}}]}"#
        let names = try Mapped(named)
        for (text, name) in [
            ("Home Feed", "home-feed"), ("  Shoes - Men / Sneakers!", "shoes-men-sneakers"),
            ("v1.2_x", "v1.2_x"), ("Über", "ber"),
            (String(repeating: "ab", count: 50), String(repeating: "ab", count: 32)),
        ] {
            #expect(names(#"{"t":5,"u":"u","d":"\#(text)"}"#)[0].contains(#""domain":"\#(name)""#))
        }
        #expect(names(#"{"t":5,"u":"u","d":"!?"}"#)[0].hasSuffix("which is no name."))
    }

    @Test func `what counts as absent falls through to the next place`() throws {
        let map = try Mapped(
            one(
                #","item_id":{"from":["/a","/b","/c"],"default":"d"}"#,
                top: #""absent":["","n/a"],"#))
        #expect(map(#"{"t":5,"u":"u","a":"n/a","b":null,"c":"x"}"#)[0].contains(#""item_id":"x""#))
        #expect(map(#"{"t":5,"u":"u","a":"","c":"n/a"}"#)[0].contains(#""item_id":"d""#))
    }

    @Test func `a template needs all its places, or the next one serves`() throws {
        let map = try Mapped(one(#","request_id":{"text":["{/s}/{/l}","only {/s}"]}"#))
        #expect(map(#"{"t":5,"u":"u","s":1,"l":"x"}"#)[0].contains(#""request_id":"1/x""#))
        #expect(map(#"{"t":5,"u":"u","s":true}"#)[0].contains(#""request_id":"only true""#))
        #expect(!map(#"{"t":5,"u":"u"}"#)[0].contains("request_id"))
    }

    @Test func `conditions choose the rules, and one line may make several events`() throws {
        let map = try Mapped(
            #"{"name":"m","input":"json","unmatched":"skip","events":["#
                + #"{"when":{"/k":["a","b"],"/gone":false},"fields":{"type":{"value":"click"},"time_ms":"/t","domain":{"value":"d"},"user_id":"/u","impression_id":{"value":"first"}}},"#
                + #"{"when":{"/k":["b","1"],"./id":true},"each":"/l","fields":{"type":{"value":"click"},"time_ms":"/t","domain":{"value":"d"},"user_id":"/u","impression_id":"./id","position":{"index":1}}}]}"#
        )
        func ids(_ line: String) -> [String] {
            map(line).map { event in
                String(event.split(separator: "\"")[7])
            }
        }
        #expect(ids(#"{"k":"a","t":5,"u":"u","l":[{"id":"x"}]}"#) == ["first"])
        #expect(
            ids(#"{"k":"b","t":5,"u":"u","l":[{"id":"x"},{},{"id":"y"}]}"#) == ["first", "x", "y"])
        #expect(ids(#"{"k":1,"t":5,"u":"u","l":[{"id":"x"}]}"#) == ["x"])
        #expect(map(#"{"k":"b","gone":1,"t":5,"u":"u"}"#) == [], "no rule, and the map skips")
        #expect(
            map(#"{"k":"b","t":5,"u":"u","l":[{"id":"x"},{"id":"z"}]}"#)[2].contains(
                #""position":2"#))
        #expect(
            map(#"{"k":"b","t":5,"u":"u","l":7}"#)[0].hasSuffix(
                "/l must be a list, not an integer."))
        #expect(
            map(#"{"k":"b","t":5,"u":"u","l":[{"id":"x"},{"id":{}}]}"#)[0].contains(
                "./id must be a scalar"),
            "the whole line is refused")
    }

    @Test func `a line without a rule is a dead letter unless the map skips it`() throws {
        let map = try Mapped(
            one("").replacing(#""events":[{"#, with: #""events":[{"when":{"/k":["x"]},"#))
        #expect(
            map(#"{"t":5,"u":"u"}"#) == ["not_mapped: No rule of the map m applies to the line."])
    }

    @Test func `events that break the contract are dead letters with its reason`() throws {
        let map = try Mapped(one(#","position":"/p""#))
        #expect(map(#"{"t":5,"u":"u","p":0}"#)[0].hasPrefix("out_of_range: /position"))
        #expect(map(#"{"t":5}"#)[0].hasPrefix("missing_field: /user_id"))
        #expect(map("{")[0].hasPrefix("invalid_json: "))
        #expect(map("")[0].hasPrefix("empty: "))
        let tick = try Mapped(
            one("").replacing(#"{"value":"click"}"#, with: #"{"value":"tick"}"#))
        #expect(tick(#"{"t":5,"u":"u"}"#)[0].hasSuffix("which is no type of event."))
    }

    @Test func `columns are found by their header, in any order`() throws {
        let map = one(#","query":"q","position":{"from":"p","add":1}"#, input: "csv", time: #""t""#)
        for (header, line) in [
            ("t,u,q,p", #"5,u1,"two, words",0"#),
            ("\u{FEFF}p,x,q,u,t\r", "0,,\"two, words\",u1,5\r"),
        ] {
            #expect(
                try Mapped(map, header: header)(line) == [
                    #"{"domain":"d","impression_id":"i","position":1,"query":"two, words","time_ms":5,"type":"click","user_id":"u1"}"#
                ])
        }
        let mapped = try Mapped(map, header: "t,u,q,p")
        #expect(mapped("5,u1,x")[0].hasSuffix("3 fields and ends before the column p."))
        #expect(mapped(#"5,u1,"x,1"#)[0].contains("the quote that opens field 3 is never closed"))
        #expect(!mapped("5,u1,,0")[0].contains("query"), "an empty field has no value")
        #expect(throws: EventMapError("", "the file has no column q")) {
            try Mapped(map, header: "t,u,p")
        }
    }

    @Test func `the first line is the header, and its likes make no event`() throws {
        let map = try Mapped(one("", input: "csv", time: #""t""#))
        #expect(
            map("t,v")[0].hasSuffix("The line names the columns, but the file has no column u."))
        #expect(map("t,u") == [])
        #expect(map("5,a").count == 1)
        #expect(map("t,u") == [], "as where files are joined")
        let path = NSTemporaryDirectory() + "map-header-\(UUID().uuidString).csv"
        try "u,t\na,5\n".lendBytes { try LineWriter.write($0, to: path) }
        defer { unlink(path) }
        let other = try Mapped(one("", input: "csv", time: #""t""#))
        try other.mapper.readHeader(of: path)
        #expect(other("a,5").count == 1, "from the middle of the file")
    }

    @Test func `a map may name the columns itself`() throws {
        let map = try Mapped(
            one("", input: "tsv", time: #""t""#, top: #""columns":["u","t"],"#))
        #expect(!map.mapper.map.needsHeader)
        #expect(map("u\"1\t5")[0].contains(#""user_id":"u\"1""#))
    }
}
