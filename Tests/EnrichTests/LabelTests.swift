// Labels: when they go out, with which value, and what happens to clicks that come too late or too early.

import Contracts
import JSON
import Testing

@testable import Enrich

@Suite struct LabelTests {
    @Test func `an impression goes to its domain's log at once`() throws {
        var run = try EnrichRun()
        #expect(try run.after(.impression("i1", 0)) == ["impression i1 a"])
        #expect(run.counts.used == 1)
    }

    @Test func `silence makes a 0 when the watermark reaches the end of the label window`() throws {
        var run = try EnrichRun()
        _ = try run.after(.impression("i1", 0))
        // The watermark is 2 s behind the newest time.
        #expect(try run.after(.tick(31_999)) == [])
        #expect(try run.after(.tick(32_000)) == ["label i1 click 0 r0 @30000"])
        #expect(try run.after(.tick(200_000)) == [], "must not be labeled twice")
    }

    @Test func `a click inside the window makes a 1 at the same moment`() throws {
        var run = try EnrichRun()
        _ = try run.after(.impression("i1", 0))
        #expect(try run.after(.click("i1", 29_000)) == [])
        #expect(try run.after(.tick(31_999)) == [])
        #expect(try run.after(.tick(32_000)) == ["label i1 click 1 r0 @30000 clicked 29000"])
    }

    @Test func `a label goes out before the record that makes it due`() throws {
        var run = try EnrichRun()
        _ = try run.after(.impression("i1", 0))
        #expect(
            try run.after(.impression("i2", 32_000))
                == ["label i1 click 0 r0 @30000", "impression i2 a"])
        // The click that closes the window itself comes too late for it.
        let out = try run.after(.click("i2", 64_000))
        #expect(
            out == [
                "label i2 click 0 r0 @62000", "label i2 click 1 r1 @64000 clicked 64000",
            ])
    }

    @Test func `labels go out in order of due time, ties in log order`() throws {
        var run = try EnrichRun(
            .test.with {
                $0.domains["quick"] = $0.domainDefaults
                $0.domains["quick"]!.labelWindowMilliseconds = 10_000
            })
        _ = try run.after(
            .impression("z", 1_000), .impression("a", 1_000),
            .impression("q", 5_000, domain: "quick"),
            .impression("late", 500))
        #expect(
            try run.after(.tick(60_000)).map { $0.split(separator: " ")[1] }
                == ["q", "late", "z", "a"])
    }

    @Test func `a click after the label corrects it until the attribution window ends`() throws {
        var run = try EnrichRun()
        _ = try run.after(.impression("i1", 0), .impression("i2", 0))
        _ = try run.after(.tick(40_000))
        #expect(
            try run.after(.click("i1", 99_999)) == ["label i1 click 1 r1 @99999 clicked 99999"])
        #expect(try run.after(.click("i2", 100_000)) == [])
        _ = try run.after(.tick(103_000))
        #expect(run.counts.orphans == 1)
        #expect(run.counts.corrections == 1)
    }

    @Test func `a click from inside the attribution window that arrives after it is an orphan`()
        throws
    {
        var run = try EnrichRun()
        _ = try run.after(.impression("i1", 0), .tick(101_999))
        #expect(
            try run.after(.click("i1", 90_000).with("id", .text("c1")))
                == ["label i1 click 1 r1 @90000 clicked 90000"])
        _ = try run.after(.impression("i2", 0), .tick(102_000))
        #expect(try run.after(.click("i2", 90_000)) == [])
        _ = try run.after(.tick(104_000))
        #expect(run.counts.orphans == 1)
    }

    @Test func `a second click says nothing new and is used`() throws {
        var run = try EnrichRun()
        _ = try run.after(.impression("i1", 0), .click("i1", 10))
        _ = try run.after(.click("i1", 20).with("id", .text("again")))
        #expect(try run.after(.tick(32_000)) == ["label i1 click 1 r0 @30000 clicked 10"])
        #expect(run.counts.used == 3)
        #expect(run.counts.clicks == 1)
    }

    @Test func `an impression that comes after its own label window is labeled at once`() throws {
        var run = try EnrichRun()
        _ = try run.after(.tick(100_000))
        #expect(
            try run.after(.impression("i1", 68_000))
                == ["impression i1 a", "label i1 click 0 r0 @98000"])
        #expect(try run.after(.impression("i2", 68_001)) == ["impression i2 a"])
        #expect(run.counts.late == 2)
        #expect(
            try run.after(.click("i1", 69_000)) == ["label i1 click 1 r1 @69000 clicked 69000"])
    }

    @Test func `a click waits for its impression until lateness has passed`() throws {
        var run = try EnrichRun()
        #expect(try run.after(.click("i1", 10_000)) == [])
        #expect(run.state.waitingEvents == 1)
        #expect(try run.after(.impression("i1", 9_000)) == ["impression i1 a"])
        #expect(run.state.waitingEvents == 0)
        #expect(run.counts.used == 2)
        #expect(try run.after(.tick(41_000)) == ["label i1 click 1 r0 @39000 clicked 10000"])

        _ = try run.after(.click("i2", 50_000), .tick(51_999))
        #expect(run.counts.orphans == 0)
        _ = try run.after(.tick(52_000))
        #expect(run.counts.orphans == 1)
        #expect(run.state.waitingEvents == 0)
        #expect(
            try run.after(.impression("i2", 49_000)) == ["impression i2 a"],
            "the orphan is gone: no click joins")
        #expect(try run.after(.tick(90_000)) == ["label i2 click 0 r0 @79000"])
    }

    @Test func `a waiting click enters the history after its impression was sent`() throws {
        var run = try EnrichRun()
        let first = try run.impressions(
            after: .click("i1", 10_000), .impression("i1", 9_000, item: "shoe"))
        #expect(first[0]["history"] == nil, "an impression never knows its own outcome")
        let second = try run.impressions(after: .impression("i2", 11_000))
        #expect(second[0]["history"] == .array([.text("shoe")]))
    }

    @Test func `a closing tick settles every window and moves no time`() throws {
        var run = try EnrichRun(.test.with { $0.domainDefaults.tasks = [.click, .conversion] })
        _ = try run.after(
            .impression("i1", 1_000), .impression("i2", 2_000), .click("i1", 3_000),
            .click("nobody", 3_000))
        #expect(
            try run.after(.tick(999_999_999, close: true)) == [
                "label i1 click 1 r0 @3000 clicked 3000", "label i2 click 0 r0 @3000",
                "label i1 conversion 0 r0 @3000 clicked 3000",
            ])
        #expect(run.state.newestTime == 3_000)
        #expect(run.state.openImpressions == 0)
        #expect(run.counts.orphans == 1)
        #expect(run.state.waitingEvents == 0)
    }
}

@Suite struct ConversionTests {
    let settings = EnrichSettings.test.with { $0.domainDefaults.tasks = [.click, .conversion] }

    @Test func `a conversion of a clicked impression goes out at once`() throws {
        var run = try EnrichRun()
        _ = try run.after(.impression("i1", 0), .click("i1", 1_000))
        #expect(
            try run.after(.conversion("i1", 5_000))
                == ["label i1 conversion 1 r0 @5000 clicked 1000"],
            "even where conversion is no task: it enters the statistics")
        #expect(
            try run.after(.tick(2_000_000)) == ["label i1 click 1 r0 @30000 clicked 1000"],
            "no second conversion label")
    }

    @Test func `only the first conversion makes a label`() throws {
        var run = try EnrichRun()
        _ = try run.after(.impression("i1", 0), .click("i1", 1_000), .conversion("i1", 5_000))
        #expect(try run.after(.conversion("i1", 6_000)) == [])
        #expect(run.counts.used == 4)
    }

    @Test func `the conversion window counts from the click`() throws {
        var run = try EnrichRun(settings)
        _ = try run.after(.impression("i1", 0), .click("i1", 20_000))
        _ = try run.after(.impression("i2", 0), .click("i2", 20_000))
        #expect(
            try run.after(.conversion("i1", 1_019_999)) == [
                "label i1 click 1 r0 @30000 clicked 20000",
                "label i2 click 1 r0 @30000 clicked 20000",
                "label i1 conversion 1 r0 @1019999 clicked 20000",
            ])
        #expect(try run.after(.conversion("i2", 1_020_000)) == [])
        #expect(run.counts.orphans == 1)
        #expect(
            try run.after(.tick(1_022_000))
                == ["label i2 conversion 0 r0 @1020000 clicked 20000"])
    }

    @Test func `where conversion is no task its window closes silently`() throws {
        var run = try EnrichRun()
        _ = try run.after(.impression("i1", 0), .click("i1", 20_000), .tick(40_000))
        #expect(run.state.openImpressions == 1)
        #expect(try run.after(.tick(1_022_000)) == [])
        #expect(run.state.openImpressions == 0)
    }

    @Test func `a conversion waits for its click, and is an orphan without one`() throws {
        var run = try EnrichRun()
        _ = try run.after(.impression("i1", 0), .impression("i2", 0))
        #expect(try run.after(.conversion("i1", 3_000), .conversion("i2", 3_000)) == [])
        #expect(
            try run.after(.click("i1", 2_000)) == ["label i1 conversion 1 r0 @3000 clicked 2000"])
        _ = try run.after(.tick(5_000))
        #expect(run.counts.orphans == 1)
        #expect(run.counts.used == 4)
    }

    @Test func `click and conversion may both come before their impression`() throws {
        var run = try EnrichRun()
        #expect(
            try run.after(.conversion("i1", 3_000), .click("i1", 2_000), .impression("i1", 1_000))
                == ["impression i1 a", "label i1 conversion 1 r0 @3000 clicked 2000"])
        #expect(run.counts.used == 3)
    }

    @Test func `a correction opens the conversion window too`() throws {
        var run = try EnrichRun(settings)
        _ = try run.after(.impression("i1", 0), .tick(40_000), .click("i1", 50_000))
        #expect(
            try run.after(.tick(1_052_000)) == ["label i1 conversion 0 r0 @1050000 clicked 50000"])
    }
}
