// What a label and a correction do to statistics and evaluation.

import Bytes
import Contracts
import DeterministicMath
import Foundation
import JSON
import Statistics
import Streams
import Testing

@testable import Finetune

@Suite struct LabelTests {
    @Test func `no rate counts an impression before its label`() {
        let run = FinetuneRun()
        run.item("a", tags: ["t"])
        func show(_ id: String) {
            run.impression(id, item: "a", userImpressions: 4, userClicks: 3, history: ["a"])
        }
        for i in 0..<10 { show("i\(i)") }
        let effect = HeadInput.toldCount - 1
        let itemTimesUser = HeadInput.count
        for k in [HeadInput.contentRate, HeadInput.historyRate, itemTimesUser, effect] {
            #expect(run.dense("i9")[k] == 0, "\(k)")
        }
        #expect(run.clock.impressions == 5 && run.clock.clicks == 1, "the start values")
        run.label("i0", 1)
        show("later")
        func lo(_ clicks: Double, _ impressions: Double, _ strength: Double) -> Double {
            let rate = (clicks + strength * 2 / 6) / (impressions + strength)
            return log(rate / (1 - rate)) - log((2.0 / 6) / (4.0 / 6))
        }
        let dense = run.dense("later").map(Double.init)
        #expect(abs(dense[HeadInput.contentRate] - lo(1, 1, 20)) < 1e-6, "title and tag alike")
        #expect(abs(dense[HeadInput.historyRate] - lo(1, 1, 6)) < 1e-6)
        #expect(abs(dense[itemTimesUser] - lo(1, 1, 6) * lo(3, 4, 6)) < 1e-6)
        #expect(dense[effect] > 0)
        #expect(run.dense("i9")[HeadInput.contentRate] == 0, "what was kept stays as it was")
    }

    @Test func `impression and click enter the statistics at the label, together`() {
        let run = FinetuneRun()
        run.impression("i", item: "a", position: 3)
        #expect(run.item(row: "a").impressions == 0)
        #expect(run.domain().pointee.labels == 0 && run.domain().pointee.shown == 1)
        run.label("i", 1)
        #expect(run.item(row: "a").impressions == 1 && run.item(row: "a").clicks == 1)
        #expect(run.domain().pointee.labels == 1 && run.domain().pointee.clicks == 1)
        #expect(run.cell("a").labels == 1 && run.cell("a").clicks == 1)
        #expect(run.domain().pointee.positions.rows[3].impressions == 1)
        #expect(run.clock.impressions == 6 && run.clock.clicks == 2)
    }

    @Test func `a second label of an impression, and one without an impression, change nothing`() {
        let run = FinetuneRun()
        run.impression("i")
        run.label("i", 0)
        run.label("i", 1)
        run.label("nobody", 1)
        run.label("i", 0, domain: "other")
        #expect(run.domain().pointee.labels == 1 && run.domain().pointee.clicks == 0)
        #expect(run.state.counters.labelsWithoutImpression == 2)
    }

    @Test func `the kept prediction is judged, not the one that the head would make now`() {
        let run = FinetuneRun()
        run.impression("first", item: "a", userImpressions: 20, userClicks: 10)
        let logit = run.state.pending[run.state.pending.oldest!].pointee.logit
        for i in 0..<64 {
            run.impression("i\(i)", item: "a")
            run.label("i\(i)", i % 2 == 0 ? 1 : 0)
        }
        let before = run.quality().quality.report.logLoss! * 64
        run.label("first", 1)
        let after = run.quality().quality.report.logLoss! * 65
        let loss = log(1 + exp(-Double(logit)))
        #expect(abs(after - before - loss) < 1e-3)
    }

    /// The same traffic, the click known at the label or only afterwards.
    private func traffic(late: Bool, seed: Int = 1) -> FinetuneRun {
        let run = FinetuneRun { $0.defaults.rate = 1e-9 }
        for i in 0..<60 {
            run.impression(
                "i\(i)", item: "item\(i % 7)", time: 1_000 + Int64(i), request: "r\(i / 5)",
                position: Int64(i % 5 + 1), userImpressions: Double(i % 9),
                userClicks: Double(i % 3))
        }
        for i in 0..<60 {
            let clicked = (i &* 7 &+ seed) % 4 == 0
            run.label("i\(i)", clicked && !late ? 1 : 0, time: 7_000)
            if clicked, late { run.label("i\(i)", 1, revision: 1, time: 7_000) }
        }
        run.tick(8_000)
        run.tick(8_000, close: true)
        return run
    }

    @Test
    func `a correction leaves the statistics and the evaluation of a click that came in time`() {
        let (early, late) = (traffic(late: false), traffic(late: true))
        #expect(late.domain().pointee.corrections == 15 && early.domain().pointee.corrections == 0)
        #expect(late.domain().pointee.labels == early.domain().pointee.labels)
        #expect(late.domain().pointee.clicks == early.domain().pointee.clicks)
        #expect(late.domain().pointee.requestsClicked == early.domain().pointee.requestsClicked)
        #expect(late.clock.impressions == early.clock.impressions)
        #expect(late.clock.clicks == early.clock.clicks)
        for i in 0..<7 {
            let (a, b) = (late.item(row: "item\(i)"), early.item(row: "item\(i)"))
            #expect(a.impressions == b.impressions && a.clicks == b.clicks)
            #expect(late.cell("item\(i)").clicks == early.cell("item\(i)").clicks)
        }
        for slice in 0..<ItemAge.sliceCount {
            var (a, b) = (
                late.quality(slice: slice).quality.report,
                early.quality(slice: slice).quality.report
            )
            #expect(slice > 0 || a.corrections == 15)
            a.corrections = 0
            b.corrections = 0
            #expect(a == b, "slice \(slice)")
        }
        func statistics(_ run: FinetuneRun) -> [String: String] {
            var members: [String: String] = [:]
            for member in run.values(.domainStatistics).last!.members! {
                members[member.name] = member.value.canonicalText
            }
            for name in ["corrections", "ordinal"] { members[name] = nil }
            return members
        }
        #expect(statistics(late) == statistics(early))
    }

    @Test func `a correction counts once, and only for what was labeled 0`() {
        let run = FinetuneRun()
        run.impression("i")
        run.label("i", 1, revision: 1)
        #expect(run.domain().pointee.clicks == 0, "not labeled yet")
        run.label("i", 0)
        run.label("i", 1, revision: 1)
        run.label("i", 1, revision: 1)
        run.impression("j")
        run.label("j", 1)
        run.label("j", 1, revision: 1)
        #expect(run.domain().pointee.clicks == 2 && run.domain().pointee.corrections == 1)
    }

    @Test func `after the horizon a correction is only counted`() {
        let run = FinetuneRun { $0.defaults.correctionHorizon = 5_000 }
        for id in ["i", "j"] {
            run.impression(id)
            run.label(id, 0, time: 7_000)
        }
        run.tick(11_999)
        run.label("i", 1, revision: 1, time: 11_999)
        run.tick(12_000)
        let weights = run.shared
        #expect(run.domain().pointee.clicks == 1)
        run.label("j", 1, revision: 1, time: 12_000)
        run.tick(12_500)
        #expect(run.domain().pointee.clicks == 1 && run.domain().pointee.corrections == 1)
        #expect(run.state.counters.correctionsAfterHorizon == 1)
        #expect(run.shared == weights)
        #expect(run.state.pending.liveRows == 0, "the features are gone")
    }

    @Test func `a conversion counts in its domain and item and is not learned from`() {
        let run = FinetuneRun()
        run.impression("i")
        run.label("i", 1)
        run.tick(8_000)
        let weights = run.shared
        run.label("i", 1, task: "conversion")
        run.label("i", 0, task: "conversion")
        run.tick(9_000)
        #expect(run.domain().pointee.conversions == 1 && run.cell("a").conversions == 1)
        #expect(run.shared == weights && run.domain().pointee.labels == 1)
    }

    // What else is counted

    @Test func `page rate is the share of requests with a click`() throws {
        let run = FinetuneRun()
        for request in 0..<4 {
            for place in 0..<3 {
                run.impression("\(request).\(place)", item: "x\(place)", request: "r\(request)")
            }
        }
        for request in 0..<4 {
            for place in 0..<3 {
                run.label("\(request).\(place)", request == 2 ? 1 : 0)
            }
        }
        run.label("3.1", 1, revision: 1)
        run.impression("alone")
        run.label("alone", 1)
        run.tick(8_000)
        run.tick(8_000, close: true)
        let statistics = try #require(run.values(.domainStatistics).last)
        #expect(statistics["requests"]?.integer == 4, "an impression without a request is no page")
        #expect(statistics["requests_clicked"]?.integer == 2)
        #expect(statistics["page_rate"]?.double == 0.5)
    }

    @Test func `GAUC by request is the one that is computed from all predictions`() {
        let run = FinetuneRun()
        var random = SplitMix64(seed: 3)
        var groups: [String: [(logit: Float, clicked: Bool)]] = [:]
        var labels: [(String, String, Bool)] = []
        for i in 0..<600 {
            let request = "r\(random.next() % 90)"
            run.impression(
                "i\(i)", item: "item\(random.next() % 20)", request: request,
                position: Int64(random.next() % 9 + 1), userImpressions: Double(random.next() % 30),
                userClicks: Double(random.next() % 5))
            labels.append(("i\(i)", request, random.next() % 3 == 0))
            if i % 20 == 19 {
                for (id, request, clicked) in labels {
                    let key = Array(id.utf8).lend { Hash128($0) }
                    let row = run.state.pending.find(key)!
                    groups[request, default: []].append(
                        (run.state.pending[row].pointee.logit, clicked))
                    run.label(id, clicked && i % 3 != 0 ? 1 : 0)
                    if clicked, i % 3 == 0 { run.label(id, 1, revision: 1) }
                }
                labels = []
            }
        }
        var sum = 0.0
        var size = 0
        for group in groups.values {
            // A label is kept in a prediction's lowest bit.
            let logits = group.map { Float(bitPattern: $0.logit.bitPattern & ~1) }
            let auc = RankingQuality.auc(predictions: logits, labels: group.map(\.clicked))
            guard let auc else { continue }
            sum += auc * Double(group.count)
            size += group.count
        }
        let found = run.quality().quality.report.gauc!
        #expect(size > 300)
        #expect(abs(found - sum / Double(size)) < 1e-9, "\(found), exact \(sum / Double(size))")
    }

    @Test func `users, top items, delays, decayed rates and enrich's counts reach the statistics`()
        throws
    {
        let run = FinetuneRun { $0.defaults.halfLives = [10, 100, 0, 0, 0] }
        for i in 0..<300 {
            run.impression("i\(i)", item: i % 3 == 0 ? "hot" : "cold\(i)", user: UInt64(i % 50))
        }
        for i in 0..<300 {
            run.label("i\(i)", i % 4 == 0 ? 1 : 0, time: 1_000, clicked: i % 4 == 0 ? 3_000 : nil)
        }
        run.tick(1_000)
        run.tick(
            11_000,
            counts: [
                JSONMember(
                    "d",
                    .object([
                        JSONMember("duplicates", .integer(3)), JSONMember("orphans", .integer(2)),
                        JSONMember("late", .integer(1)), JSONMember("dead", .integer(4)),
                    ]))
            ])
        run.tick(11_000, close: true)
        let statistics = try #require(run.values(.domainStatistics).last)
        #expect(abs(statistics["users"]!.integer! - 50) <= 3)
        #expect(statistics["items"]?.integer == 201)
        #expect(statistics["top_items"]?.array?.first?.canonicalText.contains("hot") == true)
        #expect(abs(statistics["label_delay_ms"]!["p50"]!.double! - 2_000) < 60)
        #expect(statistics["ctr"]?.double == 0.25)
        #expect(
            ["duplicates", "orphans", "late", "dead"].map { statistics[$0]!.integer! } == [
                3, 2, 1, 4,
            ])
        let rate = statistics["rates"]!.array![0]
        #expect(rate["half_life_s"]?.integer == 10)
        #expect(abs(rate["impressions"]!.double! - 150) < 0.1, "half of it after one half-life")
        #expect(abs(rate["rate"]!.double! - 0.25) < 1e-3)
    }

    @Test func `predictions are told apart by how many labels their item had`() {
        let run = FinetuneRun()
        for i in 0..<120 {
            run.impression("i\(i)", item: "a")
            run.label("i\(i)", 0)
        }
        let examples = (0..<ItemAge.sliceCount).map {
            run.quality(slice: $0).quality.report.examples
        }
        #expect(examples == [120, 1, 9, 90, 20])
    }

    // Settings

    @Test func `nothing is stepped over before the first settings record`() {
        let run = FinetuneRun(settings: nil)
        run.impression("i")
        run.label("i", 1)
        run.tick(5_000)
        run.item("a")
        #expect(run.outputs.isEmpty && run.state.domains.liveRows == 0)
        #expect(run.state.counters.recordsBeforeSettings == 4)
        run.settings(FinetuneSettings())
        run.impression("i")
        #expect(run.state.domains.liveRows == 1)
        #expect(run.state.counters.recordsBeforeSettings == 4)
    }

    @Test func `settings of a domain are its own, and later ones hold from their record on`() {
        let run = FinetuneRun {
            $0.domains["b"] = DomainParameters()
            $0.domains["b"]!.microBatch = 3
        }
        run.impression("x", domain: "a")
        run.impression("y", domain: "b")
        #expect(run.domain("a").pointee.parameters.microBatch == 32)
        #expect(run.domain("b").pointee.parameters.microBatch == 3)
        var later = FinetuneSettings()
        later.defaults.microBatch = 5
        run.settings(later)
        #expect(run.domain("a").pointee.parameters.microBatch == 5)
        #expect(run.domain("b").pointee.parameters.microBatch == 5)
    }

    @Test func `settings come back from their canonical bytes as they were`() throws {
        var settings = FinetuneSettings()
        settings.publishPeriod = 40
        settings.priorPeriod = 77
        settings.domains["x"] = DomainParameters()
        settings.domains["x"]!.surface = .search
        settings.domains["x"]!.learnsOwnWeights = false
        settings.domains["x"]!.negativeShare = 0.25
        settings.domains["x"]!.halfLives = [5, 6, 0, 0, 0]
        settings.domains["x"]!.correctionHorizon = 9
        settings.domains["x"]!.headQueries = 4
        let again = try settings.canonical.lend { try FinetuneSettings(canonical: $0) }
        #expect(again.canonical == settings.canonical)
        #expect(again.domains["x"]!.negativeShare == 0.25 && again.priorPeriod == 77)
    }

    @Test func `what cannot be read is a dead letter and stops nothing`() {
        let run = FinetuneRun()
        for bytes in ["", "{", "null", #"{"kind":"label"}"#, #"{"kind":"x"}"#, "\u{0}"] {
            run.step(Array(bytes.utf8))
        }
        #expect(run.values(.deadLetters).count == 6)
        #expect(run.state.counters.unreadableRecords == 6)
        run.impression("i")
        #expect(run.domain().pointee.shown == 1)
    }
}
