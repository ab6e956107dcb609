// Every dead letter: the same key, the same headers, and never large.

import Bytes
import JSON
import Streams
import Testing

@testable import Contracts

@Suite struct DeadLetterWriterTests {
    /// What the only record of an outbox is.
    private func only(
        _ outbox: borrowing Outbox
    ) throws -> (key: String, headers: [[String]], bytes: Int, value: JSONValue) {
        #expect(outbox.entries.count == 1)
        let entry = outbox.entries[0]
        var headers: [[String]] = []
        outbox.headers(of: entry).forEach { headers.append([$0.text, $1.text]) }
        let (key, value) = (outbox.key(of: entry)!, outbox.value(of: entry)!)
        return (
            key.text, headers, key.count + value.count + outbox.headers(of: entry).encoded.count,
            try JSONValue(parsing: value)
        )
    }

    private func record(
        key: ByteSlice?, value: ByteSlice?, headers: Headers = Headers()
    ) -> Record {
        Record(
            topic: Topic.domainLog.rawValue, partition: 3, offset: 41, timestamp: 77, ordinal: 40,
            key: key, value: value, headers: headers)
    }

    private func encoded(_ headers: [(String, String)]) -> ByteBuffer {
        var bytes = ByteBuffer()
        for (name, value) in headers { Headers.append(name, value, to: &bytes) }
        return bytes
    }

    private let error = ContractError(.wrong_type, path: "/a", "/a must be text.")

    @Test func `a record's letter says where it stood, who writes, and keeps its headers once`()
        throws
    {
        let own = encoded([
            ("coldstream-schema", "domain-log/7"), ("traceparent", "00-1"),
            ("coldstream-tick", "f"),
            ("coldstream-offset", "5"), ("traceparent", "00-2"),
        ])
        var outbox = Outbox()
        let writer = DeadLetterWriter(WriterIdentity(worker: "f.finetune", slot: 2))
        "k".lend { key in
            "{}".lend { value in
                writer.append(
                    error, record(key: key, value: value, headers: Headers(encoded: own.slice)),
                    ordinal: 40, to: &outbox)
            }
        }
        let letter = try only(outbox)
        #expect(letter.key == "domain-log/3")
        #expect(
            letter.headers == [
                ["coldstream-schema", "dead-letters/1"], ["coldstream-worker", "f.finetune"],
                ["coldstream-slot", "2"], ["coldstream-version", WriterIdentity.version],
                ["coldstream-offset", "41"], ["coldstream-timestamp", "77"],
                ["traceparent", "00-1"], ["coldstream-tick", "f"], ["traceparent", "00-2"],
            ])
        #expect(letter.value["topic"]!.text == "domain-log")
        #expect(letter.value["partition"]!.integer == 3)
        #expect(letter.value["ordinal"]!.integer == 40)
        #expect(letter.value["key_base64"]!.text == "aw==")
    }

    @Test func `a line's letter has the input as its key`() throws {
        var outbox = Outbox()
        "xy".lend { bytes in
            DeadLetterWriter().append(
                error, InputLine(input: "a/events.jsonl", number: 9, bytes: bytes, length: 5_000),
                topic: .events, to: &outbox)
        }
        let letter = try only(outbox)
        #expect(letter.key == "events/a/events.jsonl")
        #expect(letter.headers == [["coldstream-schema", "dead-letters/1"]])
        #expect(letter.value["line"]!.integer == 9)
        #expect(letter.value["value_bytes"]!.integer == 5_000)
    }

    @Test func `whatever the record was, its letter stays below 128 KiB`() throws {
        let huge = [UInt8](repeating: UInt8(ascii: "x"), count: 2 << 20)
        var own = ByteBuffer()
        "h".lend { name in huge.lend { Headers.append(name, $0, to: &own) } }
        for i in 0..<40 {
            "h\(i)".lend { name in huge.lend { Headers.append(name, $0.slice(0, 1_000), to: &own) }
            }
        }
        var outbox = Outbox()
        huge.lend { bytes in
            DeadLetterWriter().append(
                ContractError(.wrong_type, path: "", String(repeating: "\u{1}", count: 5_000)),
                record(key: bytes, value: bytes, headers: Headers(encoded: own.slice)),
                ordinal: Int64.max, to: &outbox)
        }
        let letter = try only(outbox)
        #expect(letter.bytes < 128 << 10)
        #expect(letter.value["value_bytes"]!.integer == 2 << 20)
        #expect(letter.value["key_base64"]!.text!.count == 5_464)
        #expect(letter.value["value_base64"]!.text!.count == 87_384)
        #expect(letter.headers.count == 3 + 16, "sixteen small ones of those behind the large one")
    }

    @Test(arguments: [0, 1, 2, 3])
    func `a long sentence ends between two characters`(shift: Int) throws {
        for count in [1_024, 1_025] {
            let sentence =
                String(repeating: "x", count: shift + (count - shift) % 3)
                + String(repeating: "€", count: (count - shift) / 3)
            #expect(sentence.utf8.count == count)
            var outbox = Outbox()
            DeadLetterWriter().append(
                ContractError(.empty, path: "", sentence), record(key: nil, value: nil),
                ordinal: 0, to: &outbox)
            let message = try only(outbox).value["message"]!.text!
            #expect(message.utf8.count <= 1_024)
            #expect((message == sentence) == (count == 1_024))
            #expect(sentence.hasPrefix(message.dropLast(count == 1_024 ? 0 : 1)))
        }
    }
}
