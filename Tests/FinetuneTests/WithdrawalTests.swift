// What was published and is forgotten, or may not be shown any more, is taken back; what is shown stays.

import Bytes
import Contracts
import DeterministicMath
import JSON
import Streams
import Testing

@testable import Finetune

@Suite struct WithdrawalTests {
    /// Keys of scores that a reader of the compacted topic sees now.
    private func live(_ run: FinetuneRun) -> [String] {
        var keys: Set<String> = []
        for output in run.outputs where output.topic == .scores {
            if output.value == nil {
                #expect(keys.remove(output.key!) != nil, "\(output.key!) was not published")
            } else {
                keys.insert(output.key!)
            }
        }
        return keys.sorted()
    }

    /// The keys that the state says are published.
    private func remembered(_ run: FinetuneRun) -> [String] {
        let state = run.state
        var keys: [String] = []
        func key(_ domain: UInt32, _ query: UInt64?, _ item: UInt32) -> String {
            var bytes = ByteBuffer()
            ScoreKey.append(
                state.domains.name(domain), .click, queryHash: query, state.items.name(item),
                to: &bytes)
            return bytes.slice.text
        }
        state.domainItems.forEachLive { row in
            let row = state.domainItems[row].pointee
            if row.published.publishedRank != 0 { keys.append(key(row.domain, nil, row.item)) }
        }
        state.candidates.forEachLive { row in
            let row = state.candidates[row].pointee
            guard row.published.publishedRank != 0 else { return }
            keys.append(key(row.domain, state.queries[row.query].pointee.hash, row.item))
        }
        return keys.sorted()
    }

    private func caps(_ change: (inout FinetuneCaps) -> Void) -> FinetuneCaps {
        var caps = FinetuneCaps.small
        change(&caps)
        return caps
    }

    private static func search(_ settings: inout FinetuneSettings) {
        settings.defaults.surface = .search
    }

    private func hash(_ query: String) -> UInt64 { FinetuneRun.hash(of: query) }

    @Test func `an evicted item's score is taken back`() {
        let run = FinetuneRun(caps: caps { $0.items = 3 })
        for item in ["a", "b", "c"] { run.item(item) }
        run.impression("i", item: "b")
        run.tick(250, close: true)
        #expect(live(run) == ["d/click/-/a", "d/click/-/b", "d/click/-/c"])
        run.item("e")
        #expect(live(run) == ["d/click/-/b", "d/click/-/c"])
        run.tick(500, close: true)
        #expect(live(run) == ["d/click/-/b", "d/click/-/c", "d/click/-/e"])
        #expect(live(run) == remembered(run))
    }

    @Test func `an evicted item's scores for queries are taken back`() {
        let run = FinetuneRun(caps: caps { $0.items = 2 }, settings: Self.search)
        run.text("q")
        for (i, item) in ["a", "b"].enumerated() {
            run.impression("i\(i)", item: item, query: hash("q"))
        }
        run.tick(250, close: true)
        #expect(live(run).count == 2)
        run.impression("more", item: "c", query: hash("q"))
        #expect(live(run).count == 1)
        run.tick(500, close: true)
        #expect(live(run).count == 2 && live(run) == remembered(run))
    }

    @Test func `the scores of an evicted query are taken back`() {
        let run = FinetuneRun(caps: caps { $0.queries = 2 }, settings: Self.search)
        for query in ["q0", "q1", "q2", "q3"] {
            run.text(query)
            run.impression(query, item: "a", query: hash(query))
            run.tick(250, close: true)
        }
        #expect(live(run).count == 2 && live(run) == remembered(run))
    }

    @Test func `an evicted candidate's score is taken back`() {
        let run = FinetuneRun(caps: caps { $0.queries = 1 }, settings: Self.search)
        run.text("q")
        for item in 0..<6 {
            run.impression("i\(item)", item: "item\(item)", query: hash("q"))
            run.tick(250, close: true)
        }
        #expect(live(run).count == 4 && live(run) == remembered(run))
        #expect(run.state.counters.evictedCandidates == 2)
    }

    @Test func `a query that left the head keeps its scores for 64 points and loses them then`() {
        let run = FinetuneRun {
            Self.search(&$0)
            $0.defaults.headQueries = 1
        }
        for query in ["first", "second"] { run.text(query) }
        func show(_ query: String, _ times: Int) {
            for _ in 0..<times {
                run.impression("i\(run.ordinal)", item: "a", query: hash(query))
            }
        }
        func isPublished(_ query: String) -> Bool {
            live(run).contains { key in
                key.contains(String(hash(query), radix: 16))
            }
        }
        show("first", 1)
        run.tick(250, close: true)
        #expect(isPublished("first"))
        show("second", 2)
        for point in 2...66 { run.tick(Int64(point) * 250) }
        #expect(isPublished("second") && !isPublished("first"))
        show("first", 3)
        for point in 67...131 { run.tick(Int64(point) * 250) }
        #expect(isPublished("first") && !isPublished("second"))
        #expect(live(run) == remembered(run))
    }

    @Test func `an item that may not be shown loses its score in every query that has one`() {
        for listed in [false, true] {
            let run = FinetuneRun {
                Self.search(&$0)
                $0.defaults.headQueries = 1
            }
            for query in ["first", "second"] { run.text(query) }
            run.item("a")
            run.impression("1", item: "a", query: hash("first"))
            run.tick(250, close: true)
            for id in ["2", "3"] { run.impression(id, item: "a", query: hash("second")) }
            run.tick(500)
            #expect(live(run).count == 2, "one of a query that is not of the head any more")
            if listed {
                run.item("a", domains: ["other"])
            } else {
                run.item("a", available: false)
            }
            run.tick(750)
            #expect(live(run) == [])
            run.item("a", domains: ["d"])
            run.tick(1_000, close: true)
            #expect(live(run).count == 1, "the head's")
            #expect(live(run) == remembered(run))
        }
    }

    @Test func `a domain taken off an item's list loses the score, shown or not, and gets it back`()
    {
        let run = FinetuneRun()
        run.item("shown")
        run.item("unseen")
        run.impression("i", item: "shown")
        run.tick(250, close: true)
        #expect(live(run).count == 2)
        for item in ["shown", "unseen"] { run.item(item, domains: ["other"]) }
        run.tick(500)
        #expect(live(run) == [])
        run.impression("again", item: "shown")
        run.label("again", 1)
        run.tick(750, close: true)
        #expect(live(run) == [])
        for item in ["shown", "unseen"] { run.item(item, domains: ["d", "other"]) }
        run.tick(1_000)
        #expect(live(run).count == 2 && live(run) == remembered(run))
    }

    @Test func `scores of the surface that a domain had before are taken back`() {
        let run = FinetuneRun()
        run.text("q")
        run.item("a")
        run.impression("i", item: "a", query: hash("q"))
        run.tick(250, close: true)
        #expect(live(run) == ["d/click/-/a"])
        var settings = FinetuneSettings()
        Self.search(&settings)
        run.settings(settings)
        run.impression("j", item: "a", query: hash("q"))
        run.tick(500, close: true)
        #expect(live(run).count == 1 && live(run) != ["d/click/-/a"])
        run.settings(FinetuneSettings())
        run.tick(750, close: true)
        #expect(live(run) == ["d/click/-/a"])
        #expect(live(run) == remembered(run))
    }

    @Test(arguments: 1...12 as ClosedRange<UInt64>)
    func `what readers see is what the state has published, whatever is evicted`(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let run = FinetuneRun(
            caps: caps {
                $0.items = 12
                $0.queries = 6
                $0.domains = 4
                $0.openImpressions = 40
                $0.corrections = 40
            }, hashBits: 10
        ) {
            for name in ["s", "t"] {
                $0.domains[name] = DomainParameters()
                $0.domains[name]!.surface = .search
                $0.domains[name]!.headQueries = 3
            }
        }
        for i in 0..<1_500 {
            let domain = ["s", "t", "feed", "home"][Int(random.next() % 4)]
            let item = "item\(random.next() % 25)"
            let query = "q\(random.next() % 12)"
            switch random.next() % 12 {
            case 0: run.item(item, available: random.next() % 4 != 0)
            case 1: run.item(item, domains: ["s", "feed"])
            case 2: run.item(item, deleted: random.next() % 3 == 0)
            case 3: run.tick(Int64(i) * 60, close: random.next() % 16 == 0)
            case 4: run.label("i\(random.next() % UInt64(i + 1))", 1, domain: domain)
            default:
                let isSearch = domain == "s" || domain == "t"
                if isSearch { run.text(query) }
                run.impression(
                    "i\(i)", item: item, domain: domain, time: Int64(i) * 60,
                    query: isSearch ? hash(query) : nil)
                run.label("i\(i)", Int64(random.next() % 4 / 3), domain: domain)
            }
            if i % 40 == 0 {
                run.recover()
                #expect(live(run) == remembered(run), "seed \(seed), record \(i)")
            }
        }
        run.tick(100_000, close: true)
        #expect(live(run) == remembered(run), "seed \(seed)")
        let tombstones = run.outputs.count { $0.topic == .scores && $0.value == nil }
        #expect(tombstones > 50, "seed \(seed)")
    }

    // What makes room for what

    @Test func `items that were never shown take no row from one that was`() {
        let run = FinetuneRun(caps: caps { $0.items = 20 })
        for i in 0..<20 { run.item("item\(i)") }
        for i in 0..<20 {
            run.impression("i\(i)", item: "item\(i)", domain: "d0")
            run.label("i\(i)", 1, domain: "d0")
        }
        // 8 × 20 pairs do not fit into 4 × 20 rows.
        for domain in 1..<8 { run.impression("d\(domain)", item: "item0", domain: "d\(domain)") }
        for point in 1...70 { run.tick(Int64(point) * 250) }
        run.tick(70 * 250, close: true)
        for i in 0..<20 { #expect(run.cell("item\(i)", "d0").labels == 1) }
        for domain in 1..<8 { #expect(run.cell("item0", "d\(domain)").shown == 1) }
        let published = run.values(.scores).count
        for point in 71...200 { run.tick(Int64(point) * 250) }
        #expect(run.values(.scores).count == published, "nothing is published as new again")
        #expect(live(run).count == 80 && live(run) == remembered(run))
    }

    @Test func `a pair that is shown takes the row of one that never was, not the oldest that was`()
    {
        let run = FinetuneRun(caps: caps { $0.items = 20 })
        for i in 0..<20 { run.item("item\(i)") }
        for i in 0..<20 {
            run.impression("i\(i)", item: "item\(i)", domain: "d0")
            run.label("i\(i)", 1, domain: "d0")
        }
        for domain in 1...3 { run.impression("d\(domain)", item: "item0", domain: "d\(domain)") }
        for point in 1...70 { run.tick(Int64(point) * 250) }
        #expect(run.state.domainItems.isFull, "57 of the 80 pairs were never shown")
        for i in 0..<20 { run.impression("n\(i)", item: "item\(i)", domain: "d4") }
        for i in 0..<20 {
            #expect(run.cell("item\(i)", "d0").labels == 1)
            #expect(run.cell("item\(i)", "d4").shown == 1)
        }
        #expect(run.state.counters.evictedUnseenItems == 20)
        #expect(run.state.counters.evictedDomainItems == 0)
    }

    @Test func `an item without a catalog is scored again within 64 points`() {
        let run = FinetuneRun()
        run.impression("x", item: "x")
        run.label("x", 0)
        func score() -> Double? {
            run.values(.scores).last { $0["item_id"]!.text! == "x" }?["score"]?.double
        }
        for point in 1...70 { run.tick(Int64(point) * 250) }
        let before = score()
        #expect(before != nil)
        for i in 0..<200 {
            run.impression("i\(i)", item: "other\(i % 3)")
            run.label("i\(i)", 1)
        }
        for point in 71...135 { run.tick(Int64(point) * 250) }
        #expect(score() != before, "what its score rests on has moved")
    }

    @Test func `the text of a query that is seen stays, however many others come`() {
        let run = FinetuneRun(caps: caps { $0.queries = 4 }, settings: Self.search)
        run.text("popular", vector: [Float](repeating: 1, count: 32))
        for i in 0..<20 {
            run.impression("p\(i)", item: "a", query: hash("popular"))
            run.text("q\(i)")
            run.impression("q\(i)", item: "a", query: hash("q\(i)"))
        }
        run.tick(250, close: true)
        let queries = run.values(.scores).map { $0["query"]!.text! }
        #expect(queries.contains("popular"))
        let text = run.state.texts.find(FinetuneState.textKey(hash("popular")))
        #expect(text.map { run.state.textVector($0) != nil } == true)
        // A text that goes takes its queries along.
        run.state.queries.forEachLive { row in
            let key = FinetuneState.textKey(run.state.queries[row].pointee.hash)
            #expect(run.state.texts.find(key) != nil)
        }
    }
}
