// What an outbox hands on, and what its rolling hash sees.

import Bytes
import Testing

@testable import Streams

enum TestTopic: UInt16 { case input, output, checkpoints, other }

@Suite struct OutboxTests {
    private func write(
        _ outbox: inout Outbox, _ topic: TestTopic = .output, partition: Int? = nil,
        key: String?, value: String?, headers: Headers = Headers(), timestamp: Int64? = nil
    ) {
        outbox.begin(topic, partition: partition, hasKey: key != nil, timestamp: timestamp)
        if let key { outbox.bytes.append(key) }
        outbox.beginValue()
        if let value {
            outbox.bytes.append(value)
            outbox.end(headers: headers)
        } else {
            outbox.endTombstone()
        }
    }

    private func hash(_ body: (inout Outbox) -> Void) -> Hash128 {
        var outbox = Outbox()
        body(&outbox)
        return outbox.rollingHash
    }

    @Test func `records come out as they were written`() {
        var outbox = Outbox()
        var headers = ByteBuffer()
        "name".lend { name in "value".lend { Headers.append(name, $0, to: &headers) } }
        write(
            &outbox, key: "k", value: "v", headers: Headers(encoded: headers.slice), timestamp: 7)
        outbox.begin(TestTopic.other, partition: 3, hasKey: false)
        outbox.bytes.append("half")
        outbox.cancel()
        write(&outbox, .other, partition: 3, key: nil, value: "")
        write(&outbox, key: "gone", value: nil)
        #expect(outbox.entries.count == 3 && outbox.recordsEnded == 3)
        let entries = outbox.entries
        #expect(outbox.key(of: entries[0])?.text == "k")
        #expect(outbox.value(of: entries[0])?.text == "v")
        #expect(outbox.headers(of: entries[0]).first("name")?.text == "value")
        #expect(entries[0].timestamp == 7 && entries[0].partition == nil)
        #expect(outbox.key(of: entries[1]) == nil)
        #expect(outbox.value(of: entries[1])?.count == 0)
        #expect(entries[1].topic == TestTopic.other.rawValue && entries[1].partition == 3)
        #expect(outbox.key(of: entries[2])?.text == "gone")
        #expect(outbox.value(of: entries[2]) == nil)
        outbox.removeAll()
        #expect(outbox.isEmpty && outbox.bytes.count == 0)
    }

    @Test func `the hash sees topic, partition, key, value, tombstones and order`() {
        let hashes = [
            hash { write(&$0, key: "ab", value: "c") }, hash { write(&$0, key: "a", value: "bc") },
            hash { write(&$0, .other, key: "ab", value: "c") },
            hash { write(&$0, partition: 0, key: "ab", value: "c") },
            hash { write(&$0, partition: 1, key: "ab", value: "c") },
            hash { write(&$0, key: "ab", value: "d") }, hash { write(&$0, key: "ab", value: "") },
            hash { write(&$0, key: "ab", value: nil) },
            hash { write(&$0, partition: 0, key: "", value: "abc") },
            hash { write(&$0, partition: 0, key: nil, value: "abc") },
            hash {
                write(&$0, key: "a", value: "")
                write(&$0, key: "b", value: "c")
            },
            hash {
                write(&$0, key: "b", value: "c")
                write(&$0, key: "a", value: "")
            }, Hash128.zero,
        ]
        #expect(Set(hashes).count == hashes.count)
    }

    @Test func `the hash sees neither headers nor timestamps, and suppression changes nothing`() {
        let plain = hash { write(&$0, key: "k", value: "v") }
        var headers = ByteBuffer()
        "h".lend { h in Headers.append(h, h, to: &headers) }
        #expect(
            hash {
                write(
                    &$0, key: "k", value: "v", headers: Headers(encoded: headers.slice),
                    timestamp: 1)
            } == plain)
        var outbox = Outbox()
        outbox.isSuppressed = true
        write(&outbox, key: "k", value: "v")
        #expect(outbox.rollingHash == plain && outbox.isEmpty && outbox.bytes.count == 0)
        #expect(outbox.recordsEnded == 1)
    }
}

@Suite struct HeadersTests {
    @Test func `a torn run of headers gives those that are whole`() {
        var buffer = ByteBuffer()
        for name in ["a", "bb", ""] { name.lend { Headers.append($0, $0, to: &buffer) } }
        let whole = buffer.slice.copy()
        let ends = [10, 22, 30]
        for length in 0...whole.count {
            Array(whole[..<length]).lend { slice in
                var names: [String] = []
                Headers(encoded: slice).forEach { key, value in
                    #expect(key.equals(value))
                    names.append(key.text)
                }
                #expect(names == Array(["a", "bb", ""].prefix(ends.filter { $0 <= length }.count)))
            }
        }
        #expect(Headers().isEmpty)
        #expect(Headers(encoded: buffer.slice).first("bb")?.text == "bb")
        #expect(Headers(encoded: buffer.slice).first("c") == nil)
    }
}
