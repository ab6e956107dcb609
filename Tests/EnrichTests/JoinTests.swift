// How a click finds its impression: by id, by request and item, inside a slate.

import Contracts
import JSON
import Testing

@testable import Enrich

@Suite struct JoinTests {
    @Test func `request and item find the oldest impression not yet clicked`() throws {
        var run = try EnrichRun()
        _ = try run.after(
            .impression("i1", 0, request: "r"), .impression("i2", 1, request: "r"),
            .impression("other", 2, item: "b", request: "r"))
        _ = try run.after(
            .click(request: "r", item: "a", 10, id: "c1"),
            .click(request: "r", item: "a", 20, id: "c2"))
        #expect(
            try run.after(.tick(40_000)) == [
                "label i1 click 1 r0 @30000 clicked 10", "label i2 click 1 r0 @30001 clicked 20",
                "label other click 0 r0 @30002",
            ])
    }

    @Test func `one more click than impressions of a request says nothing new`() throws {
        var run = try EnrichRun()
        _ = try run.after(.impression("i1", 0, request: "r"))
        _ = try run.after(
            .click(request: "r", item: "a", 10, id: "c1"),
            .click(request: "r", item: "a", 20, id: "c2"))
        #expect(run.counts.used == 3)
        #expect(run.counts.clicks == 1)
    }

    @Test func `the same item of another request is not meant`() throws {
        var run = try EnrichRun()
        _ = try run.after(.impression("i1", 0, request: "r"))
        _ = try run.after(.click(request: "s", item: "a", 10), .click(request: "r", item: "b", 10))
        #expect(try run.after(.tick(40_000)) == ["label i1 click 0 r0 @30000"])
        #expect(run.counts.orphans == 2)
    }

    @Test func `an impression id decides even where request and item would fit another`() throws {
        var run = try EnrichRun()
        _ = try run.after(.impression("i1", 0, request: "r"), .impression("i2", 1, request: "r"))
        var click = TestEvent.click(request: "r", item: "a", 10)
        click["impression_id"] = .text("i2")
        _ = try run.after(click)
        #expect(
            try run.after(.tick(40_000))
                == ["label i1 click 0 r0 @30000", "label i2 click 1 r0 @30001 clicked 10"])
    }

    @Test func `a slate becomes one impression an item, named by position`() throws {
        var run = try EnrichRun()
        var slate = TestEvent.slate("s", 0, items: ["a", "b", "c"])
        slate["items"] = .array([
            .object([JSONMember("item_id", .text("a"))]),
            .object([JSONMember("item_id", .text("b")), JSONMember("position", .integer(7))]),
            .object([
                JSONMember("item_id", .text("c")), JSONMember("propensity", .number(0.25)),
            ]),
        ])
        let shown = try run.impressions(after: slate)
        #expect(shown.map { $0["impression_id"]!.text! } == ["s#1", "s#7", "s#3"])
        #expect(shown.map { $0["position"]!.integer! } == [1, 7, 3])
        #expect(shown[2]["propensity"]!.double == 0.25)
        #expect(run.counts.used == 1, "one line is one event")
    }

    @Test func `a slate is clicked by id and position, or by id and item`() throws {
        var run = try EnrichRun()
        _ = try run.after(.slate("s", 0, items: ["a", "b", "a"]))
        _ = try run.after(
            .click("s#2", 10), .click("s", 20, item: "a").with("id", .text("c1")),
            .click("s", 30, item: "a").with("id", .text("c2")))
        #expect(
            try run.after(.tick(40_000)) == [
                "label s#1 click 1 r0 @30000 clicked 20", "label s#2 click 1 r0 @30000 clicked 10",
                "label s#3 click 1 r0 @30000 clicked 30",
            ])
    }

    @Test func `a slate without an id of its own is named by the event's id`() throws {
        var run = try EnrichRun()
        let slate = TestEvent.slate("", 0, items: ["a"]).with("impression_id", nil)
            .with("id", .text("e1"))
        #expect(try run.after(slate) == ["impression e1#1 a"])
    }

    @Test func `a click by request waits like any other, each for one impression`() throws {
        var run = try EnrichRun()
        _ = try run.after(
            .click(request: "r", item: "a", 1_000, id: "c1"),
            .click(request: "r", item: "a", 1_500, id: "c2"))
        _ = try run.after(
            .impression("i1", 900, request: "r"), .impression("i2", 901, request: "r"))
        #expect(
            try run.after(.tick(40_000)) == [
                "label i1 click 1 r0 @30900 clicked 1000",
                "label i2 click 1 r0 @30901 clicked 1500",
            ])
    }

    @Test func `a click on a slate's item waits for the slate`() throws {
        var run = try EnrichRun()
        _ = try run.after(.click("s", 1_000, item: "b"), .slate("s", 900, items: ["a", "b"]))
        #expect(
            try run.after(.tick(40_000)) == [
                "label s#1 click 0 r0 @30900", "label s#2 click 1 r0 @30900 clicked 1000",
            ])
    }

    @Test func `a conversion by request belongs to the clicked impression`() throws {
        var run = try EnrichRun()
        _ = try run.after(.impression("i1", 0, request: "r"), .impression("i2", 1, request: "r"))
        _ = try run.after(.click("i2", 10))
        let sale = TestEvent.click(request: "r", item: "a", 20).with("type", .text("conversion"))
        #expect(try run.after(sale) == ["label i2 conversion 1 r0 @20 clicked 10"])
        #expect(
            try run.after(sale.with("id", .text("again"))) == [], "a second one says nothing new")
        #expect(run.counts.used == 5)
    }

    @Test func `labels go to the domain of the impression`() throws {
        var run = try EnrichRun()
        _ = try run.after(.impression("i1", 0, domain: "shown"), .click("i1", 5, domain: "clicked"))
        try run.send([.tick(40_000)])
        let label = try run.records().first { $0["kind"]!.text == "label" }
        #expect(label?["domain"]?.text == "shown")
    }
}

@Suite struct DuplicateTests {
    @Test func `equal type and id inside the window is a duplicate`() throws {
        var run = try EnrichRun(.test.with { $0.duplicateWindowMilliseconds = 60_000 })
        let click = TestEvent.click("i1", 100).with("id", .text("c"))
        _ = try run.after(.impression("i1", 100), click, .tick(60_099))
        _ = try run.after(click)
        #expect(run.counts.duplicates == 1)
        // At the end of the window it is forgotten; the click then says nothing new, but is used.
        _ = try run.after(.tick(60_100), click)
        #expect(run.counts.duplicates == 1)
        #expect(run.counts.used == 3)
    }

    @Test func `another type with the same id is no duplicate`() throws {
        var run = try EnrichRun()
        _ = try run.after(
            .impression("i1", 0).with("id", .text("x")), .click("i1", 1).with("id", .text("x")))
        #expect(run.counts.duplicates == 0)
        #expect(run.counts.used == 2)
    }

    @Test func `equal lines without ids are duplicates`() throws {
        var run = try EnrichRun()
        _ = try run.after(.impression("i1", 0), .click("i1", 1), .click("i1", 1))
        #expect(run.counts.duplicates == 1)
    }

    @Test func `an impression that is still open is a duplicate whatever the window`() throws {
        var run = try EnrichRun(.test.with { $0.duplicateWindowMilliseconds = 0 })
        let first = TestEvent.impression("i1", 0).with("id", .text("e1"))
        let second = TestEvent.impression("i1", 5).with("id", .text("e2"))
        #expect(try run.after(first, second) == ["impression i1 a"])
        #expect(run.counts.duplicates == 1)
        // Closed 102 s later, it may be shown anew.
        #expect(try run.after(.tick(102_000), second).last == "label i1 click 0 r0 @30005")
    }

    @Test func `a slate of which one impression is open is a duplicate as a whole`() throws {
        var run = try EnrichRun()
        #expect(
            try run.after(.impression("s#2", 0), .slate("s", 1, items: ["a", "b"]))
                == ["impression s#2 a"])
        #expect(run.counts.duplicates == 1)
    }
}
