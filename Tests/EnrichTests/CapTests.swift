// Caps: the oldest makes room, what would have been said of it is said, and memory stays flat.

import Contracts
import JSON
import Testing

@testable import Enrich

@Suite struct CapTests {
    @Test func `the oldest open impression is labeled early to make room`() throws {
        var run = try EnrichRun(.test.with { $0.caps.openImpressions = 2 })
        _ = try run.after(.impression("i1", 0), .impression("i2", 1_000))
        #expect(
            try run.after(.impression("i3", 2_000))
                == ["impression i3 a", "label i1 click 0 r0 @2000"])
        #expect(run.counts.evictedImpressions == 1)
        #expect(try run.after(.click("i1", 2_500), .tick(4_500)) == [])
        #expect(run.counts.orphans == 1)
    }

    @Test func `a click makes an impression the youngest`() throws {
        var run = try EnrichRun(.test.with { $0.caps.openImpressions = 2 })
        _ = try run.after(.impression("i1", 0), .impression("i2", 1), .click("i1", 2))
        #expect(
            try run.after(.impression("i3", 3)) == ["impression i3 a", "label i2 click 0 r0 @3"])
    }

    @Test func `a slate larger than the cap makes room for itself`() throws {
        var run = try EnrichRun(.test.with { $0.caps.openImpressions = 2 })
        _ = try run.after(.click("s", 1_000, item: "a"))
        let out = try run.after(.slate("s", 900, items: ["a", "b", "c"]))
        #expect(out.last == "label s#1 click 0 r0 @1000")
        #expect(out.count == 4)
        #expect(run.state.openImpressions == 2)
    }

    @Test func `the user not seen for longest is forgotten`() throws {
        var run = try EnrichRun(.test.with { $0.caps.users = 2 })
        for user in ["u1", "u2", "u1", "u3"] {
            let id = "\(user)-\(run.counts.used)"
            _ = try run.after(.impression(id, run.counts.used, item: user, user: user))
            _ = try run.after(.click(id, run.counts.used, user: user))
        }
        #expect(run.counts.evictedUsers == 1)
        _ = try run.after(.tick(40_000))
        let shown = try run.impressions(
            after: .impression("x1", 40_000, user: "u1"), .impression("x2", 40_000, user: "u2"))
        #expect(shown[0]["user_clicks"]!.integer == 2)
        #expect(shown[1]["user_clicks"]!.integer == 0, "u2 begins anew")
        #expect(shown[1]["history"] == nil)
    }

    @Test func `the label of a forgotten user's impression counts for nobody else`() throws {
        var run = try EnrichRun(.test.with { $0.caps.users = 1 })
        _ = try run.after(.impression("i1", 0, user: "u1"), .impression("i2", 1, user: "u2"))
        _ = try run.after(.tick(32_000))
        let shown = try run.impressions(after: .impression("i3", 32_000, user: "u2"))
        #expect(shown[0]["user_impressions"]!.integer == 0, "i1's label came, i2's is not due")
    }

    @Test func `the item not clicked for longest leaves the histories`() throws {
        var run = try EnrichRun(.test.with { $0.caps.items = 2 })
        for (i, item) in ["a", "b", "c"].enumerated() {
            _ = try run.after(.impression("i\(i)", Int64(i), item: item), .click("i\(i)", Int64(i)))
        }
        let shown = try run.impressions(after: .impression("x", 9))
        #expect(shown[0]["history"] == .array(["b", "c"].map { .text($0) }))
        #expect(run.counts.evictedItems == 1)
    }

    @Test func `a waiting click that makes room is an orphan`() throws {
        var run = try EnrichRun(.test.with { $0.caps.waitingClicks = 1 })
        _ = try run.after(.click("i1", 1_000), .click("i2", 1_000))
        #expect(run.counts.orphans == 1)
        #expect(run.counts.evictedWaiting == 1)
        _ = try run.after(.impression("i2", 1_000))
        #expect(run.counts.used == 2)
    }

    @Test func `the oldest seen event makes room`() throws {
        var run = try EnrichRun(.test.with { $0.caps.duplicates = 2 })
        let click = TestEvent.click("i1", 1).with("id", .text("c"))
        _ = try run.after(.impression("i1", 0), click, .impression("i2", 2), .impression("i3", 3))
        _ = try run.after(click)
        #expect(run.counts.duplicates == 0)
        #expect(run.counts.evictedDuplicates >= 2)
    }

    @Test func `a query that made room is introduced again`() throws {
        var run = try EnrichRun(.test.with { $0.caps.queries = 1 })
        func impression(_ id: String, _ query: String) -> TestEvent {
            .impression(id, 0).with("query", .text(query))
        }
        #expect(
            try run.after(impression("i1", "q"), impression("i2", "r"), impression("i3", "q"))
                .filter { $0.hasPrefix("text") } == ["text q", "text r", "text q"])
        #expect(run.counts.evictedQueries == 2)
    }
}

@Suite struct MemoryTests {
    /// Fills a state to caps that are powers of two, so that no table has room to spare.
    @Test func `a full state takes no more than its caps say`() throws {
        let settings = EnrichSettings.test.with {
            $0.history = 10
            $0.caps.users = 4_096
            $0.caps.items = 1_024
            $0.caps.openImpressions = 8_192
            $0.caps.queries = 512
            $0.caps.duplicates = 8_192
            $0.caps.waitingClicks = 1_024
            $0.domainDefaults.labelWindowMilliseconds = 1_000_000_000
            $0.domainDefaults.attributionWindowMilliseconds = 1_000_000_000
        }
        var run = try EnrichRun(settings)
        var taken = 0
        for round in 1...3 {
            for i in 0..<12_000 {
                let id = "impression-\(round)-\(i)"
                try TestEvent.impression(
                    id, Int64(i), item: "item-\(i % 6_001)", user: "user-\(i % 5_000)", request: id
                ).with("query", .text("query \(i % 600)")).append(to: run.log)
                if i % 4 == 0 { try TestEvent.click(id, Int64(i)).append(to: run.log) }
                if i % 8 == 0 {
                    try TestEvent.click("no-\(round)-\(i)", Int64(i)).append(to: run.log)
                }
            }
            try run.send([])
            if round == 2 { taken = run.state.allocatedBytes }
        }
        #expect(run.counts.evictedImpressions > 20_000)
        #expect(run.counts.evictedUsers > 0 && run.counts.evictedItems > 0)
        #expect(run.counts.evictedWaiting > 0 && run.counts.evictedQueries > 0)
        let allowed = settings.caps.bytes(history: 10)
        #expect(run.state.allocatedBytes <= allowed, "of \(allowed)")
        #expect(
            run.state.allocatedBytes > allowed / 2, "the caps' bytes are not far from the truth")
        #expect(
            run.state.allocatedBytes <= taken + taken / 50, "memory stays flat under evictions")
    }
}
