// The role with a server behind it: nothing is lost, nothing wrong is stored.

import Bytes
import Contracts
import Encode
import EmbeddingClient
import Streams
import TextEncoding
import Testing

@Suite(.serialized) struct EncodeWithServerTests {
    /// Everything a server does wrong, in turn, and in the end what is right.
    @Test func `items and queries get right vectors from a server that misbehaves in every way`()
        throws
    {
        let server = TestServer { request, number in
            let texts = request.texts
            let good = answer(texts)
            switch number % 12 {
            case 0: return .answer(500, "")
            case 1: return .answer(429, headers: ["Retry-After: 1"], "")
            case 2: return .raw(String("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n\(good)"))
            case 3: return .answer(200, answer(Array(texts.dropLast())))
            case 4: return .answer(200, good.replacing("\"index\":0", with: "\"index\":1"))
            case 5: return .answer(200, answer(texts) { _ in [.nan, 1, 1] })
            case 6: return .hang
            case 7: return .answer(200, "not json")
            case 8: return .answer(503, "")
            default: return .answer(200, good)
            }
        }
        defer { server.stop() }
        let log = MemoryLog(
            topics: Topic.allCases.map {
                MemoryTopic(name: $0.name, partitions: 1, isCompacted: $0.isCompacted)
            })
        var settings = try EmbeddingSettings(url: server.url, model: "m", dimension: 3)
        settings.timeoutMilliseconds = 100
        settings.batch = 4
        settings.attempts = 2
        var encodeSettings = EncodeSettings()
        encodeSettings.template = ItemTextTemplate("{title}")!
        encodeSettings.recordsPerTurn = 5
        func client(_ role: String, _ topic: Topic) -> MemoryLogClient {
            MemoryLogClient(log, group: role, input: topic, transactionalID: role)
        }
        let maker = InlineVectorMaker(try EmbeddingClient(settings) { _ in }, batch: 8)
        let encode = try Encode(
            encodeSettings, client: client("encode", .catalog), texts: client("texts", .texts),
            maker: maker)
        var sent = 0
        func send() throws {
            let id = "i\(sent)"
            let value = #"{"item_id":"\#(id)","time_ms":1,"title":"title \#(sent % 25)"}"#
            try id.lend { key in
                try value.lend { _ = try log.append(Topic.catalog, key: key, value: $0) }
            }
            sent += 1
        }
        for _ in 0..<40 { try send() }
        var turns = 0
        repeat {
            for _ in 0..<4 { try encode.turn() }
            if encode.owed > 0 { try send() }  // records make the maker try again
            turns += 1
        } while (encode.owed > 0 || turns < 3) && turns < 2_000
        #expect(encode.owed == 0)
        let reader = DomainLogReader()
        var newest: [String: (title: String, vector: [Float]?)] = [:]
        try log.read(Topic.domainLog, partition: 0) { record in
            guard try reader.read(record.value!) == .item else { return }
            let item = reader.item
            newest[item.record.item_id.text] = (
                item.record.title.text,
                item.vector.map { vector in (0..<vector.dimension).map { vector[$0] } }
            )
        }
        #expect(newest.count == sent)
        for (id, item) in newest {
            let vector = served(item.title)
            let norm = vector.reduce(0) { $0 + $1 * $1 }.squareRoot()
            let expected = vector.map {
                HalfPrecision.value(of: HalfPrecision.bits(of: Float($0 / norm)))
            }
            #expect(item.vector == expected, "\(id)")
        }
        #expect(
            Set(maker.counts.failures.keys).isSubset(of: [
                "server", "throttled", "timeout", "answer", "unreachable",
            ]))
        #expect(maker.counts.failures.values.reduce(0, +) > 0)
    }
}
