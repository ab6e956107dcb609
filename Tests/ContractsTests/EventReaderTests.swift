// What events mean once they are read.

import Bytes
import JSON
import Testing

@testable import Contracts

@Suite struct EventReaderTests {
    let reader = EventReader()

    private func read(_ text: String) throws -> Event {
        try Array(text.utf8).lend { try reader.read($0) }
        return reader.event
    }

    private func rewritten(_ text: String) throws -> String {
        var buffer = ByteBuffer()
        try read(text).append(to: &buffer)
        return buffer.slice.text
    }

    @Test func `an event of every field reads and writes as the same bytes`() throws {
        let line =
            #"{"context":{"device":"phone","hour":13},"domain":"music","id":"e1","impression_id":"i1","item_id":"a","policy":"p","position":3,"propensity":0.25,"query":"jazz","request_id":"r1","session_id":"s","time_ms":1700000000123,"type":"impression","user":{"adult":true,"city":"Zürich"},"user_id":"u"}"#
        #expect(try rewritten(line) == line)
    }

    @Test func `events that say the same have the same canonical bytes`() throws {
        let canonical =
            #"{"context":{"a":1,"b":"x"},"domain":"d","id":"1","item_id":"i","position":2,"time_ms":5,"type":"impression","user_id":"u"}"#
        for text in [
            #"{"user_id":"u","type":"impression","time_ms":5.0,"position":2,"item_id":"\u0069","id":"1","domain":"d","context":{"b":"x","a":1.0}}"#,
            #" { "id" : "1", "type":"impression","time_ms":5e0,"domain":"d","user_id":"u","item_id":"i","position":2,"context":{"b":"x","a":1,"c":null},"query":"","user":{},"propensity":null,"colour":{"x":[1,{}]}} "#,
        ] {
            #expect(try rewritten(text) == canonical)
        }
    }

    @Test func `unknown fields are ignored and counted`() throws {
        let event = try read(
            #"{"type":"impression","time_ms":1,"domain":"d","user_id":"u","Item_id":1,"items":[{"item_id":"a","x":1}],"zz":{"a":[1]},"useR":1,"tim":2,"idx":3,"policies":[],"n":null}"#
        )
        #expect(event.unknownFields == 7)
    }

    @Test func `an event without an id is named by its bytes`() throws {
        let text = #"{"type":"click","time_ms":1,"domain":"d","user_id":"u","impression_id":"i"}"#
        let first = try read(text)
        let id = first.id.text
        #expect(first.isIDDerived && id == text.lend { Hash128($0).hex })
        #expect(
            try rewritten(text).contains("\"id\"") == false,
            "or the rewritten event would be another")
        #expect(try read(text).id.text == id, "equal records are duplicates")
        #expect(try read(text + " ").id.text != id)
        #expect(try read(#"{"id":"x",\#(text.dropFirst())"#).isIDDerived == false)
    }

    @Test func `a slate's items have the places of the list where they name none`() throws {
        let event = try read(
            #"{"type":"impression","time_ms":1,"domain":"d","user_id":"u","items":[{"item_id":"a"},{"item_id":"b","position":7,"propensity":0.5},{"item_id":"c"}]}"#
        )
        #expect(event.items.map(\.position) == [1, 7, 3])
        #expect(event.items.map { $0.item_id.text } == ["a", "b", "c"])
        #expect(event.items.map(\.propensity) == [nil, 0.5, nil])
    }

    @Test func `a slate may be longer than any before`() throws {
        let items = (1...1_000).map { "{\"item_id\":\"i\($0)\"}" }.joined(separator: ",")
        let event = try read(
            "{\"type\":\"impression\",\"time_ms\":1,\"domain\":\"d\",\"user_id\":\"u\",\"items\":[\(items)]}"
        )
        #expect(event.items.count == 1_000)
        #expect(event.items.last?.item_id.text == "i1000")
    }

    @Test func `sixteen scalars are kept in the order of their names`() throws {
        let names = (0..<16).map { "n\(($0 * 7) % 16 + 10)" }
        let members = names.map { "\"\($0)\":\"\($0)\"" }.joined(separator: ",")
        let event = try read(
            "{\"type\":\"impression\",\"time_ms\":1,\"domain\":\"d\",\"user_id\":\"u\",\"item_id\":\"a\",\"user\":{\(members)}}"
        )
        #expect(event.user.map { $0.name.text } == names.sorted())
    }

    @Test func `a CloudEvents envelope lends its id and its time`() throws {
        let data = #"{"type":"impression","domain":"d","user_id":"u","item_id":"a"}"#
        let event = try read(
            #"{"specversion":"1.0","id":"c-1","source":"/app","type":"com.example.shown","time":"2021-11-15T16:30:34.25Z","data":\#(data)}"#
        )
        #expect(event.id.text == "c-1" && !event.isIDDerived)
        #expect(event.time_ms == 1_636_993_834_250)
        #expect(event.unknownFields == 0)
    }

    @Test func `an event's own id and time stand above its envelope's`() throws {
        let data =
            #"{"id":"own","time_ms":7,"type":"click","domain":"d","user_id":"u","impression_id":"i"}"#
        for text in [
            #"{"data":\#(data),"id":"c-1","time":"2021-11-15T16:30:34Z","specversion":"1.0"}"#,
            #"{"time_ms":"not the event's","domain":7,"specversion":"1.0","data":\#(data),"id":"c"}"#,
        ] {
            let event = try read(text)
            #expect(event.id.text == "own" && event.time_ms == 7 && event.type == .click)
        }
    }

    @Test func `a tick says how far time has come and nothing else`() throws {
        let event = try read(
            #"{"type":"tick","time_ms":9,"close":true,"user_id":"u","domain":"d"}"#)
        #expect(event.close && event.time_ms == 9 && event.key == nil)
        #expect(
            try rewritten(#"{"type":"tick","time_ms":9,"id":"x"}"#)
                == #"{"time_ms":9,"type":"tick"}"#)
    }

    @Test func `the key is the user, else the session`() throws {
        let both =
            #"{"type":"click","time_ms":1,"domain":"d","user_id":"u","session_id":"s","impression_id":"i"}"#
        #expect(try read(both).key?.text == "u")
        #expect(try read(both.replacing("\"user_id\":\"u\",", with: "")).key?.text == "s")
    }

    @Test(
        arguments: [
            ("1970-01-01T00:00:00Z", 0), ("2000-02-29T12:00:00z", 951_825_600_000),
            ("2021-11-15T16:30:34.123456Z", 1_636_993_834_123),
            ("2021-11-15t17:30:34+01:00", 1_636_993_834_000),
            ("2021-11-15T12:00:34-04:30", 1_636_993_834_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ] as [(String, Int64)])
    func `dates of RFC 3339 become milliseconds`(text: String, time_ms: Int64) {
        #expect(text.lend { Timestamp.milliseconds($0) } == time_ms)
    }

    @Test(arguments: [
        "", "2021-11-15", "2021-11-15T16:30:34", "2021-02-29T00:00:00Z", "2021-13-01T00:00:00Z",
        "2021-00-01T00:00:00Z", "2021-01-00T00:00:00Z", "2021-01-01T24:00:00Z",
        "2021-01-01T00:60:00Z",
        "2021-01-01T00:00:00.Z", "2021-01-01T00:00:00+0100", "2021-01-01T00:00:00Zx",
        "1969-12-31T23:59:59Z",
        "2021-01-01 00:00:00Z", "1970-01-01T00:30:00+01:00", "2021-01-01T00:00:00.1",
        "20210101T000000Z....",
    ])
    func `what is no date of RFC 3339 is none`(text: String) {
        #expect(text.lend { Timestamp.milliseconds($0) } == nil)
    }
}
