import Bytes
import JSON
import Testing

@testable import Contracts

@Suite struct EventReaderTests {
    @Test func `an event of every field reads and writes as the same bytes`() throws {
        let line =
            #"{"context":{"device":"phone","hour":13},"domain":"music","id":"e1","impression_id":"i1","item_id":"a","policy":"p","position":3,"propensity":0.25,"query":"jazz","request_id":"r1","session_id":"s","time_ms":1700000000123,"type":"impression","user":{"adult":true,"city":"Zürich"},"user_id":"u"}"#
        let reader = EventReader()
        try Array(line.utf8).lend { try reader.read($0) }
        #expect(reader.event.type == .impression)
        #expect(reader.event.item_id?.text == "a")
        #expect(reader.event.user.count == 2)
        var buffer = ByteBuffer()
        reader.event.append(to: &buffer)
        #expect(buffer.slice.text == line)
    }
}
