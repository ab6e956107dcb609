// Which scores are published, and when.

import Bytes
import Contracts
import JSON
import Streams
import Testing

@testable import Finetune

@Suite struct PublishTests {
    /// A score that was published as .1 ± .5, rank 20, 5 labels.
    private var published: PublishedScore {
        var score = PublishedScore()
        score.score = 0.1
        score.scoreStd = 0.5
        score.remember(20, 5)
        return score
    }

    @Test(
        arguments: [
            (0.1, false), (0.1019, false), (0.1021, true), (0.0981, false), (0.0979, true),
        ])
    func `a score is news when it moved by more than the threshold of its own value`(
        score: Float, isNews: Bool
    ) {
        var now = published
        now.score = score
        #expect(now.saysNew(20, 5, 0.02) == isNews)
        #expect(now.saysNew(20, 5, 0) == (score != 0.1), "a threshold of 0 publishes every change")
    }

    @Test(arguments: [(0.5, false), (0.549, false), (0.551, true), (0.451, false), (0.449, true)])
    func `an uncertainty is news when it moved by a tenth`(std: Float, isNews: Bool) {
        var now = published
        now.scoreStd = std
        #expect(now.saysNew(20, 5, 0.02) == isNews)
    }

    @Test(arguments: [1, 3, 10, 30, 100]) func `a rank is news when it crosses a step`(step: Int) {
        for (before, after, isNews) in [
            (step, step + 1, true), (step + 1, step, true), (step, step, false),
            (step + 1, step + 2, step + 1 == 3),
        ] {
            var now = published
            now.remember(before, 5)
            #expect(now.saysNew(after, 5, 0.02) == isNews, "\(before) to \(after)")
        }
    }

    @Test(
        arguments: [
            (0, 1, true), (1, 9, false), (9, 10, true), (10, 99, false), (99, 100, true),
            (100, 999, false), (999, 1_000, true), (12, 12, false),
            (1 << 31, 9_999_999_999, false), (9_999_999_999, 10_000_000_000, true),
        ])
    func `labels are news when they pass a power of ten`(before: Int64, after: Int64, isNews: Bool)
    {
        var now = published
        now.remember(20, before)
        #expect(now.saysNew(20, after, 0.02) == isNews)
    }

    @Test func `what was never published is news`() {
        #expect(PublishedScore().saysNew(500, 0, 0.02))
    }

    /// A recommendation domain with a catalog of so many items, one of which was shown.
    private func run(items: Int, settings: @escaping (inout FinetuneSettings) -> Void = { _ in })
        -> FinetuneRun
    {
        let run = FinetuneRun(settings: settings)
        for i in 0..<items { run.item("item\(i)", tags: ["t\(i % 5)"]) }
        run.impression("first", item: "item0")
        return run
    }

    @Test func `every item is scored within 64 publish points, labels or none`() {
        let run = run(items: 200)
        for point in 1...10 { run.tick(Int64(point) * 250) }
        let before = Set(run.values(.scores).map { $0["item_id"]!.text! }).count
        #expect((20...50).contains(before), "a little at each point: \(before)")
        for point in 11...64 { run.tick(Int64(point) * 250) }
        let scores = run.values(.scores)
        #expect(Set(scores.map { $0["item_id"]!.text! }).count == 200)
        #expect(
            scores.allSatisfy { $0["stage"]!.text! == "zero_shot" && $0["labels"]!.integer == 0 })
    }

    @Test func `a point comes when a period of event time has passed, and after 1,024 records`() {
        let run = run(items: 3) { $0.publishPeriod = 1_000 }
        run.tick(1_000)
        let first = run.clock.publishPoints
        run.tick(1_999)
        #expect(run.clock.publishPoints == first)
        run.tick(2_000)
        #expect(run.clock.publishPoints == first + 1)
        run.tick(1_500)
        #expect(run.clock.time == 2_000, "time never goes back")
        let records = 1_024 - 1
        for i in 0..<records - 1 { run.impression("i\(i)", item: "item1") }
        #expect(run.clock.publishPoints == first + 1)
        run.impression("last", item: "item1")
        #expect(run.clock.publishPoints == first + 2)
    }

    @Test func `after any point nothing that is left unpublished would have been news`() {
        let run = run(items: 40)
        for i in 0..<400 {
            run.impression(
                "i\(i)", item: "item\(i * 7 % 13)", time: Int64(i) * 20, position: Int64(i % 4 + 1))
            run.label("i\(i)", i % 3 == 0 ? 1 : 0, time: Int64(i) * 20)
            if i % 10 == 9 { run.tick(Int64(i) * 20 + 300) }
        }
        run.tick(20_000, close: true)
        let view = run.state.views[0]
        #expect(view.ranking.rows.count == 40)
        for (i, row) in view.ranking.rows.enumerated() {
            let place = run.state.domainItems[row].pointee
            #expect(
                !place.published.saysNew(i + 1, place.labels, 0.02),
                "row \(row), rank \(i + 1): \(place.published)")
        }
        // And what was published was news against what stood there before.
        var last: [String: JSONValue] = [:]
        var quiet = 0
        for score in run.values(.scores) {
            let item = score["item_id"]!.text!
            if let old = last[item] {
                var before = PublishedScore()
                before.score = Float(old["score"]!.double!)
                before.scoreStd = Float(old["score_std"]!.double!)
                before.remember(Int(old["rank"]!.integer!), old["labels"]!.integer!)
                before.score = Float(score["score"]!.double!)
                before.scoreStd = Float(score["score_std"]!.double!)
                let isNews = before.saysNew(
                    Int(score["rank"]!.integer!), score["labels"]!.integer!, 0.02)
                if !isNews { quiet += 1 }
            }
            last[item] = score
        }
        #expect(quiet == 0)
        let ranks = view.ranking.rows.map { run.state.domainItems[$0].pointee.published.score }
        #expect(zip(ranks, ranks.dropFirst()).allSatisfy { $0 >= $1 })
    }

    @Test func `an item that is no longer available gets a tombstone, once, and comes back`() {
        let run = run(items: 3)
        run.tick(250)
        run.tick(500, close: true)
        func tombstones() -> [String] {
            run.outputs.filter { $0.topic == .scores && $0.value == nil }.map { $0.key! }
        }
        #expect(tombstones().isEmpty)
        run.item("item1", available: false)
        run.item("item2", deleted: true)
        run.item("item9", available: false)
        run.tick(1_000)
        #expect(
            tombstones() == ["d/click/-/item1", "d/click/-/item2"], "item9 was never published")
        run.tick(2_000, close: true)
        #expect(tombstones().count == 2)
        let count = run.values(.scores).filter { $0["item_id"]!.text! == "item1" }.count
        run.item("item1")
        run.tick(3_000)
        #expect(run.values(.scores).filter { $0["item_id"]!.text! == "item1" }.count == count + 1)
        #expect(run.state.views[0].ranking.rows.count == 2)
    }

    @Test func `an item for other domains is not scored unless it is shown`() {
        let run = FinetuneRun()
        run.item("mine", domains: ["d", "e"])
        run.item("theirs", domains: ["e"])
        run.item("all")
        run.impression("i", item: "all")
        run.tick(250, close: true)
        #expect(run.values(.scores).map { $0["item_id"]!.text! }.sorted() == ["all", "mine"])
    }

    @Test func `a domain that was never shown has no scores, and one without contexts has some`() {
        let run = FinetuneRun()
        run.item("a")
        run.tick(250, close: true)
        #expect(run.values(.scores).isEmpty, "no domain is known")
    }

    @Test func `search scores the candidates of its head queries, by query alone`() {
        let run = FinetuneRun {
            $0.defaults.surface = .search
            $0.defaults.headQueries = 2
        }
        for query in ["often", "twice", "once"] { run.text(query) }
        var id = 0
        func show(_ query: String, _ item: String) {
            id += 1
            run.impression(
                "i\(id)", item: item, query: FinetuneRun.hash(of: query),
                position: Int64(id % 3 + 1))
        }
        for _ in 0..<3 { for item in ["a", "b"] { show("often", item) } }
        for item in ["b", "c"] { show("twice", item) }
        show("once", "a")
        run.tick(250)
        func pairs() -> [String] {
            run.values(.scores).map { "\($0["query"]!.text ?? "null") \($0["item_id"]!.text!)" }
        }
        #expect(pairs().sorted() == ["often a", "often b", "twice b", "twice c"])
        #expect(
            run.outputs.first { $0.topic == .scores }!.key
                == "d/click/\(String(FinetuneRun.hash(of: "often"), radix: 16))/a"
                || run.outputs.first { $0.topic == .scores }!.key!.count > 20)
        for _ in 0..<4 { show("once", "a") }
        run.tick(500)
        #expect(pairs().contains("once a"), "it is among the most frequent now")
        run.item("a", available: false)
        run.tick(750, close: true)
        #expect(run.outputs.contains { $0.topic == .scores && $0.value == nil })
    }

    @Test func `a query whose text is not known is not published`() {
        let run = FinetuneRun { $0.defaults.surface = .search }
        run.impression("i", query: 12)
        run.tick(250, close: true)
        #expect(run.values(.scores).isEmpty)
    }

    @Test func `a closing tick publishes everything and moves no time`() {
        let run = run(items: 100)
        run.tick(250)
        #expect(run.values(.scores).count < 100 && run.values(.evaluations).isEmpty)
        run.label("first", 1)
        run.tick(900_000, close: true)
        #expect(run.clock.time == 250)
        #expect(Set(run.values(.scores).map { $0["item_id"]!.text! }).count == 100)
        #expect(run.values(.scores).allSatisfy { $0["time_ms"]!.integer == 250 })
        #expect(run.values(.domainStatistics).last!["clicks"]!.integer == 1)
        #expect(!run.values(.evaluations).isEmpty && run.examples.count == 1)
        let count = run.outputs.count
        run.tick(900_000, close: true)
        #expect(
            run.outputs[count...].allSatisfy { $0.topic == .evaluations },
            "the second one has nothing new to say but where it stands")
    }

    @Test func `evaluations come with every 64th point and name the hashes so far`() {
        let run = run(items: 5)
        run.label("first", 0)
        for point in 1...63 { run.tick(Int64(point) * 250) }
        #expect(run.values(.evaluations).isEmpty)
        run.tick(64 * 250)
        let evaluation = run.values(.evaluations).first!
        #expect(evaluation["scores_hash"]!.text! == run.clock.scoresHash.hex)
        #expect(evaluation["head_hash"]!.text! == run.state.headHash.hex)
        #expect(evaluation["examples"]!.integer == 1)
    }
}
