// Time: what moves it, the ticks it writes, and what they say.

import Contracts
import JSON
import Testing

@testable import Enrich

@Suite struct TimeTests {
    @Test func `a tick goes out whenever the newest time enters a new publish period`() throws {
        var run = try EnrichRun()
        #expect(try run.ticks(after: .impression("i1", 1_000)) == ["tick 1000"])
        #expect(try run.ticks(after: .impression("i2", 1_249)) == [])
        #expect(try run.ticks(after: .impression("i3", 1_250)) == ["tick 1250"])
        #expect(try run.ticks(after: .impression("i4", 1_100)) == [], "time never goes back")
        #expect(try run.ticks(after: .tick(3_010)) == ["tick 3010"])
    }

    @Test func `the tick stands behind what was due and before the record that moved time`() throws
    {
        var run = try EnrichRun()
        _ = try run.after(.impression("i1", 0))
        try run.send([.impression("i2", 32_000)])
        #expect(
            try run.records().map { $0["kind"]!.text! } == ["label", "tick", "impression"])
    }

    @Test func `every partition of domain-log gets the tick, with the counts of its own domains`()
        throws
    {
        var run = try EnrichRun(domainLog: 2)
        // murmur2 puts "d" into partition 1 and "f" into 0.
        let there = (0..<2).first { p in run.state.resolve("d".asSlice).partition == p }!
        let elsewhere = 1 - there
        #expect(try run.ticks(after: .impression("i1", 0), partition: there) == ["tick 0"])
        #expect(try run.ticks(partition: elsewhere) == ["tick 0"])
        _ = try run.after(.impression("i1", 0), .impression("i1", 1))
        try run.send([.tick(300)])
        #expect(
            try run.ticks(partition: there)
                == [#"tick 300 {"d":{"dead":0,"duplicates":2,"late":0,"orphans":0}}"#])
        #expect(try run.ticks(partition: elsewhere) == ["tick 300"])
    }

    @Test func `duplicates, orphans, late and dead are counted by domain, once`() throws {
        var run = try EnrichRun()
        _ = try run.after(
            .impression("i1", 10_000, domain: "b"), .impression("i1", 10_000, domain: "b"),
            .impression("i2", 7_999, domain: "b"), .click("nobody", 10_000, domain: "c"))
        var foreign = TestEvent.click("i1", 10_100, domain: "b")
        foreign.key = "somebody else"
        try run.send([foreign, .tick(12_300)])
        #expect(
            try run.ticks().last == """
                tick 12300 {"b":{"dead":1,"duplicates":1,"late":1,"orphans":0},\
                "c":{"dead":0,"duplicates":0,"late":0,"orphans":1}}
                """)
        #expect(try run.ticks(after: .tick(13_000)) == ["tick 13000"])
    }

    @Test func `older than the watermark is late, at the watermark is not`() throws {
        var run = try EnrichRun()
        _ = try run.after(.impression("i1", 10_000), .impression("i2", 8_000))
        #expect(run.counts.late == 0)
        _ = try run.after(.impression("i3", 7_999))
        #expect(run.counts.late == 1)
        #expect(run.counts.used == 3, "late events are used")
    }

    @Test func `the closing tick says close, and its own time counts for nothing`() throws {
        var run = try EnrichRun()
        _ = try run.after(.impression("i1", 1_000))
        #expect(try run.ticks(after: .tick(0, close: true)) == ["tick 1000 close"])
        #expect(try run.ticks(after: .tick(0, close: true)) == ["tick 1000 close"])
    }

    @Test func `a tick of anyone else is a dead letter`() throws {
        var run = try EnrichRun()
        var foreign = TestEvent.tick(5_000)
        foreign.headers = []
        #expect(
            try run.deadLetters(after: foreign, .tick(6_000, fleet: "another"))
                == ["foreign_tick", "foreign_tick"])
        #expect(run.state.newestTime == nil)
        #expect(run.counts.lines == 2)
        #expect(run.counts.deadLetters == 2)
    }

    @Test func `events of the far future are dead letters and move nothing`() throws {
        var run = try EnrichRun()
        var event = TestEvent.impression("i1", 400_001)
        event.timestamp = 100_000
        #expect(try run.deadLetters(after: event) == ["time_in_future"])
        #expect(run.state.newestTime == nil)
        event["time_ms"] = .integer(400_000)
        #expect(try run.after(event) == ["impression i1 a"])
    }

    @Test
    func `an event ahead of its record's timestamp is used, and moves time to the timestamp only`()
        throws
    {
        var run = try EnrichRun()
        _ = try run.after(.impression("i1", 100_000))
        // Two hundred seconds fast: by its own time the label of i1 would be due, and its click too late.
        var fast = TestEvent.impression("i2", 301_000)
        fast.timestamp = 101_000
        #expect(try run.after(fast) == ["impression i2 a"])
        #expect(run.state.newestTime == 101_000)
        #expect(run.counts.late == 0)
        _ = try run.after(.click("i1", 102_000))
        #expect(run.counts.clicks == 1 && run.counts.orphans == 0 && run.counts.corrections == 0)
        // At its timestamp an event is not ahead of it.
        var punctual = TestEvent.impression("i3", 102_500)
        punctual.timestamp = 102_500
        _ = try run.after(punctual)
        #expect(run.state.newestTime == 102_500)
    }

    @Test func `a driver is asked for ticks only while something is to come`() throws {
        var run = try EnrichRun()
        #expect(!run.state.needsTicks)
        _ = try run.after(.impression("i1", 0))
        #expect(run.state.needsTicks)
        _ = try run.after(.tick(32_000))
        #expect(!run.state.needsTicks, "label and tick are out; what may still come needs no tick")
        _ = try run.after(.click("i1", 32_100))
        #expect(run.state.needsTicks, "the correction has not been published")
        _ = try run.after(.tick(32_400))
        #expect(!run.state.needsTicks)
    }
}

@Suite struct QueryTests {
    @Test func `the text of a query goes ahead of its first impression in a partition`() throws {
        var run = try EnrichRun()
        let first = TestEvent.impression("i1", 0).with("query", .text("red shoes"))
        let second = TestEvent.impression("i2", 1).with("query", .text("red shoes"))
        #expect(try run.after(first) == ["text red shoes", "impression i1 a"])
        #expect(try run.after(second) == ["impression i2 a"])
        let texts = try run.records(.texts)
        #expect(texts.count == 1)
        #expect(texts[0]["text"]!.text == "red shoes")
        #expect(texts[0]["hash"]!.text!.count == 16)
    }

    @Test func `a text goes out again when its query was seen sixty-four times since`() throws {
        var run = try EnrichRun()
        func ask(_ i: Int) -> TestEvent {
            .impression("i\(i)", Int64(i)).with("query", .text("red shoes"))
        }
        try run.send([ask(0)])
        #expect(try run.records(.texts).map { $0["again"]?.boolean ?? false } == [false])
        try run.send((1...63).map(ask))
        #expect(try run.records(.texts) == [])
        try run.send([ask(64)])
        #expect(try run.records(.texts).map { $0["again"]?.boolean ?? false } == [true])
        try run.send((65...127).map(ask))
        #expect(try run.records(.texts) == [])
        try run.send([ask(128)])
        #expect(try run.records(.texts).count == 1)
    }

    @Test func `each partition of domain-log hears a text once`() throws {
        var run = try EnrichRun(domainLog: 2)
        for (i, domain) in ["d", "e", "f", "g"].enumerated() {
            try run.send([
                .impression("i\(i)", Int64(i), domain: domain).with("query", .text("q"))
            ])
        }
        for partition in 0..<2 {
            let kinds = try run.records(.domainLog, partition: partition)
                .map { $0["kind"]!.text! }
            #expect(kinds.filter { $0 == "text" }.count == 1)
            #expect(kinds.contains("impression"))
        }
    }

    @Test func `a judgment goes to its domain, its query's text ahead`() throws {
        var run = try EnrichRun()
        #expect(
            try run.after(.judgment(query: "q", item: "a", grade: 0.5, 0))
                == ["text q", "judgment a 0.5"])
        #expect(run.counts.judgments == 1)
        #expect(run.counts.used == 1)
    }
}

import Bytes

extension String {
    /// For tests only: the bytes live as long as the process.
    var asSlice: ByteSlice {
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: max(1, utf8.count))
        for (i, byte) in utf8.enumerated() { memory[i] = byte }
        return ByteSlice(memory, count: utf8.count)
    }
}
