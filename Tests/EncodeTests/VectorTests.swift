// Vectors: each text encoded once, delivered once, late when it must be, and never lost.

import Bytes
import Contracts
import Encode
import Streams
import TextEncoding
import Testing

private func vector(_ text: String, _ hash: UInt64 = 0xA1) -> [Float] {
    CountingEncoder.vector(text, hash)
}

@Suite struct VectorTests {
    @Test func `an item goes out with the vector of its text, and the encoder's name`() throws {
        let run = try VectorRun()
        try run.item("a", "red shoes")
        try run.drain()
        for partition in 0..<2 {
            let sent = try run.sent(partition)
            #expect(sent.count == 1)
            #expect(sent[0].vector == vector("red shoes"))
            #expect(sent[0].encoder == 0xA1)
        }
        #expect(run.encode.owed == 0)
    }

    @Test func `equal texts are encoded once, of items and queries alike`() throws {
        let run = try VectorRun()
        for i in 0..<5 { try run.item("i\(i)", i % 2 == 0 ? "red" : "blue") }
        try run.ask("red", "d")
        try run.ask("green", "d")
        try run.drain()
        #expect(run.encoder!.encoded == ["red": 1, "blue": 1, "green": 1])
        #expect(try run.sent(0).filter { $0.kind == "item" }.allSatisfy { $0.vector != nil })
    }

    @Test func `a query's vector goes to the partition of the domain that asked, once`() throws {
        let run = try VectorRun()
        let domains = ["a", "b", "c", "d", "e"]
        for domain in domains { try run.ask("red", domain) }
        try run.drain()
        try run.ask("red", "a")
        try run.drain()
        for partition in 0..<2 {
            let isAsked = domains.contains { run.partition(of: $0) == partition }
            let sent = try run.sent(partition)
            #expect(sent.count == (isAsked ? 1 : 0), "partition \(partition)")
            #expect(sent.allSatisfy { $0.vector == vector("red") && $0.name == "red" })
        }
        try run.restart()
        try run.ask("red", "a")
        try run.drain()
        #expect(try run.sent(run.partition(of: "a")).count == 1, "not again by a new worker")
    }

    @Test func `a text that no domain is named for goes to every partition`() throws {
        let run = try VectorRun(domainLog: 3)
        try run.ask("red", nil)
        try run.drain()
        for partition in 0..<3 { #expect(try run.sent(partition).count == 1) }
    }

    @Test func `another field keeps the vector, another text gets a new one`() throws {
        let run = try VectorRun(domainLog: 1)
        try run.item("a", "red", time: 1)
        try run.drain()
        try run.restart()
        try run.item("a", "red", time: 2, available: false)
        try run.item("a", "blue", time: 3)
        try run.drain()
        #expect(try run.sent().map(\.vector) == [vector("red"), vector("red"), vector("blue")])
        #expect(run.encoder!.encoded == ["red": 1, "blue": 1])
    }

    @Test func `an item without text and a text without vector go out without one, and owe none`()
        throws
    {
        let run = try VectorRun(domainLog: 1)
        try run.item("a", "  ")
        try run.item("b", "none")
        try run.ask("none")
        try run.drain()
        #expect(try run.sent().map(\.name) == ["a", "b"])
        #expect(try run.sent().allSatisfy { $0.vector == nil })
        #expect(run.encode.owed == 0)
        try run.restart()
        try run.item("c", "none")
        try run.drain()
        #expect(run.encoder!.encoded == ["none": 1], "that it has none is remembered")
        let maker = InlineVectorMaker(CountingEncoder(), batch: 2)
        for text in ["none", "red"] {
            text.lend { maker.request(Hash128($0), $0) }
        }
        #expect(maker.take(patienceMilliseconds: 0).count == 2)
        #expect(maker.counts.withoutVector == 1)
    }

    @Test func `a deleted item is a tombstone everywhere and its vector stays for others`() throws {
        let run = try VectorRun()
        try run.item("a", "red")
        try run.drain()
        try run.delete("a")
        try run.item("b", "red")
        try run.drain()
        for partition in 0..<2 {
            let sent = try run.sent(partition)
            #expect(sent.map(\.isDeleted) == [false, true, false])
            #expect(sent[1].vector == nil)
            #expect(sent[2].vector == vector("red"))
        }
        #expect(run.encoder!.encoded == ["red": 1])
    }

    @Test func `nobody encodes where no encoder is set, and the catalog flows`() throws {
        let run = try VectorRun(domainLog: 1, encoder: nil)
        try run.item("a", "red")
        try run.ask("red")
        try run.drain()
        #expect(try run.sent().map(\.vector) == [nil])
        #expect(try run.keys().isEmpty)
    }
}

@Suite struct FailingEncoderTests {
    @Test
    func `while the encoder is away items go without, and their vectors come when it is back`()
        throws
    {
        let run = try VectorRun(domainLog: 1)
        run.encoder!.failure = { EncoderIsAway() }
        for i in 0..<10 { try run.item("i\(i)", "text \(i)") }
        try run.ask("query")
        try run.drain()
        #expect(try run.sent().count == 10)
        #expect(try run.sent().allSatisfy { $0.vector == nil })
        #expect(run.encode.owed == 11)
        #expect(run.encode.counts.late == 10)

        run.encoder!.failure = { nil }
        try run.restart()
        try run.drain()
        #expect(run.encode.owed == 0)
        let paid = try run.sent().dropFirst(10)
        #expect(Set(paid.filter { $0.kind == "item" }.map(\.name)).count == 10)
        #expect(paid.count == 11)
        for sent in paid {
            #expect(sent.vector == vector(sent.kind == "text" ? sent.name : sent.title))
        }
        #expect(run.encoder!.encoded.values.allSatisfy { $0 == 1 })
        let mark = try run.keys().filter { $0.hasPrefix("item/") }
        #expect(mark.isEmpty, "no debt stays behind")
    }

    @Test
    func `what is owed is the newest record: changed, emptied and deleted items count as they are`()
        throws
    {
        let run = try VectorRun(domainLog: 1)
        run.encoder!.failure = { EncoderIsAway() }
        for id in ["a", "b", "c", "d"] { try run.item(id, "old \(id)", time: 1) }
        try run.drain()
        try run.item("a", "new a", time: 2)
        try run.item("b", "", time: 2)
        try run.delete("c")
        try run.drain()
        run.encoder!.failure = { nil }
        try run.restart()
        try run.drain()
        let paid = try run.sent().filter { $0.vector != nil }
        #expect(Set(paid.map { "\($0.name) \($0.title)" }) == ["a new a", "d old d"])
        #expect(run.encoder!.encoded == ["new a": 1, "old d": 1])
        #expect(run.encode.owed == 0)
    }

    @Test func `compaction of what is owed loses nothing`() throws {
        let run = try VectorRun(domainLog: 1)
        run.encoder!.failure = { EncoderIsAway() }
        try run.item("a", "old")
        try run.item("b", "b")
        try run.drain()
        try run.item("a", "new")
        try run.log.compact(after: 0)
        run.encoder!.failure = { nil }
        try run.restart()
        try run.drain()
        #expect(Set(try run.sent().filter { $0.vector != nil }.map(\.title)) == ["new", "b"])
        #expect(run.encode.owed == 0)
    }

    @Test func `a maker in the caller's turn tries again when records have come`() throws {
        let run = try VectorRun(domainLog: 1)
        run.encoder!.failure = { EncoderIsAway() }
        try run.item("a", "a")
        try run.drain()
        #expect(run.encoder!.calls == 1, "not again and again while nothing comes")
        run.encoder!.failure = { nil }
        for i in 0..<2 {
            try run.item("b\(i)", "b\(i)")
            try run.drain()
        }
        #expect(run.encode.owed == 0)
        #expect(try run.sent().filter { $0.vector != nil }.count == 3)
    }

    @Test func `while the encoder is away texts beyond the cap are forgotten and ask again`() throws
    {
        let run = try VectorRun(domainLog: 1)
        run.settings.waysMaximum = 5
        run.encoder!.failure = { EncoderIsAway() }
        for i in 0..<20 { try run.ask("query \(i)", "d") }
        try run.drain()
        #expect(run.encode.owed == 5)
        #expect(run.encode.counts.forgotten == 15)
        #expect(try run.keys().filter { $0.hasPrefix("text/") }.count <= 5)
        run.encoder!.failure = { nil }
        try run.restart()
        try run.drain()
        #expect(run.encode.owed == 0)
        #expect(Set(try run.sent().map(\.name)) == Set((15..<20).map { "query \($0)" }))
        try run.ask("query 0", "d")
        try run.drain()
        #expect(try run.sent().last!.name == "query 0")
    }

    @Test func `a text that is said again gets its vector again, once each time`() throws {
        let run = try VectorRun(domainLog: 1)
        try run.ask("red", "d")
        try run.ask("red", "d")
        try run.drain()
        #expect(try run.sent().count == 1)
        try run.ask("red", "d", again: true)
        try run.drain()
        #expect(try run.sent().count == 2)
        #expect(run.encoder!.encoded == ["red": 1])
    }

    @Test func `numbers that are none are a failure, and nothing of them is kept`() throws {
        final class BrokenEncoder: TextEncoder {
            let identity = EncoderIdentity(name: "broken", hash: 1)
            let dimension = 4
            func encode(_ texts: [[UInt8]], into vectors: UnsafeMutableBufferPointer<Float>) throws
            {
                vectors[0] = .nan
            }
        }
        let run = try VectorRun(domainLog: 1)
        let maker = InlineVectorMaker(BrokenEncoder(), batch: 8)
        try run.restart(maker: maker)
        try run.item("a", "a")
        try run.drain()
        #expect(maker.counts.failures == ["answer": 1])
        #expect(try run.sent().map(\.vector) == [nil])
        #expect(run.encode.owed == 1)
        #expect(run.encode.vectors == 0)
    }

    @Test(arguments: [1, 2, 8])
    func `a text that the encoder makes no numbers of goes without, and the others have theirs`(
        batch: Int
    ) throws {
        final class PickyEncoder: TextEncoder {
            let identity = EncoderIdentity(name: "picky", hash: 1)
            let dimension = 4
            func encode(_ texts: [[UInt8]], into vectors: UnsafeMutableBufferPointer<Float>) throws
            {
                for (row, text) in texts.enumerated() {
                    for i in 0..<4 { vectors[row * 4 + i] = 1 }
                    if text == Array("bad".utf8) { vectors[row * 4 + 2] = .infinity }
                }
            }
        }
        let run = try VectorRun(domainLog: 1)
        let maker = InlineVectorMaker(PickyEncoder(), batch: batch)
        try run.restart(maker: maker)
        for text in ["a", "bad", "b", "c"] { try run.item(text, text) }
        try run.drain()
        #expect(run.encode.owed == 0)
        #expect(maker.counts.failures == [:])
        #expect(maker.counts.texts == 4 && maker.counts.withoutVector == 1)
        let sent = try run.sent()
        #expect(Set(sent.filter { $0.vector != nil }.map(\.name)) == ["a", "b", "c"])
        #expect(Set(sent.map(\.name)) == ["a", "bad", "b", "c"])
    }
}

@Suite struct NewEncoderTests {
    @Test func `a new encoder encodes everything again, and no item loses its vector meanwhile`()
        throws
    {
        let run = try VectorRun(domainLog: 1)
        try run.item("a", "a", time: 1)
        try run.item("b", "b", time: 1)
        try run.ask("q")
        try run.item("a", "a2", time: 2)
        try run.delete("b")
        try run.drain()
        let before = try run.sent().count
        run.encoder = CountingEncoder(0xB2)
        run.encoder!.failure = { EncoderIsAway() }
        run.settings.recordsPerTurn = 1
        try run.restart()
        try run.drain()
        #expect(try run.sent().count == before, "nothing goes out without its new vector")
        run.encoder!.failure = { nil }
        try run.restart()
        try run.drain()
        let again = try run.sent().dropFirst(before)
        #expect(Set(again.map { "\($0.kind) \($0.name) \($0.title)" }) == ["item a a2", "text q "])
        #expect(again.allSatisfy { $0.encoder == 0xB2 && $0.vector != nil })
        #expect(run.encoder!.encoded == ["a2": 1, "q": 1])
        // And the one after goes on from there.
        try run.restart()
        try run.drain()
        #expect(try run.sent().count == before + again.count)
    }

    @Test func `of what is read again for a new encoder only the newest version is sent`() throws {
        let run = try VectorRun(domainLog: 1)
        for time in 1...5 { try run.item("a", "a\(time)", time: Int64(time)) }
        try run.drain()
        let before = try run.sent().count
        run.encoder = CountingEncoder(0xB2)
        run.settings.recordsPerTurn = 1
        try run.restart()
        try run.drain()
        #expect(try run.sent().dropFirst(before).map(\.title) == ["a5"])
    }

    @Test func `a change of encoder in the midst of another takes no vector away`() throws {
        let run = try VectorRun(domainLog: 1)
        for i in 0..<6 { try run.item("i\(i)", "t\(i)") }
        try run.drain()
        run.settings.recordsPerTurn = 1
        for hash: UInt64 in [0xB2, 0xC3] {
            run.encoder = CountingEncoder(hash)
            run.encoder!.failure = { EncoderIsAway() }
            try run.restart()
            for _ in 0..<4 { try run.encode.turn() }
        }
        try run.drain()
        #expect(try run.sent().count == 6, "nothing goes out without its new vector")
        run.encoder!.failure = { nil }
        try run.restart()
        try run.drain()
        #expect(try run.sent().dropFirst(6).map(\.encoder) == [UInt64?](repeating: 0xC3, count: 6))
    }

    @Test func `a worker with an encoder makes up for the one without`() throws {
        let run = try VectorRun(domainLog: 1, encoder: nil)
        try run.item("a", "a")
        try run.drain()
        run.encoder = CountingEncoder()
        try run.restart()
        try run.drain()
        #expect(try run.sent().map(\.vector) == [nil, vector("a")])
    }

    @Test func `another template makes other texts`() throws {
        let run = try VectorRun(domainLog: 1)
        try run.item("a", "a")
        try run.drain()
        run.settings.template = ItemTextTemplate("film: {title}")!
        try run.restart()
        try run.drain()
        #expect(try run.sent().map(\.vector) == [vector("a"), vector("film: a")])
    }

    @Test func `the longest unused vectors are forgotten beyond the cap, in the topic too`() throws
    {
        let run = try VectorRun(domainLog: 1)
        run.settings.vectorsMaximum = 5
        run.settings.recordsPerTurn = 1
        for i in 0..<9 {
            try run.item("i\(i)", "t\(i)")
            if i >= 5 { try run.item("hot", "t0", time: Int64(i)) }
        }
        try run.drain()
        try run.item("last", "t0")
        try run.drain()
        #expect(run.encode.vectors == 5)
        #expect(try run.keys().filter { !$0.contains("/") }.count == 5)
        #expect(run.encoder!.encoded["t0"]! <= 2)
        try run.restart()
        try run.drain()
        #expect(run.encode.vectors == 5)
    }
}
