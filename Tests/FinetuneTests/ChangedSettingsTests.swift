// What was counted under settings that have changed, and histories longer than what is looked at.

import Bytes
import Foundation
import Testing

@testable import Finetune

@Suite struct ChangedSettingsTests {
    private static let hour: Int64 = 3_600_000
    private static let start: Int64 = 1_764_000_000_000

    private static func settings(
        _ change: (inout DomainParameters) -> Void
    ) -> FinetuneSettings {
        var settings = FinetuneSettings()
        change(&settings.defaults)
        return settings
    }

    // Half-lives

    private static func search(halfLife: Int64) -> FinetuneSettings {
        settings {
            $0.surface = .search
            $0.headQueries = 2
            $0.halfLives = [halfLife, 604_800, 0, 0, 0]
        }
    }

    private func query(_ run: FinetuneRun, _ hash: UInt64) -> (row: UInt32, weight: Double) {
        let domain = run.state.domains.find(Array("d".utf8).lend { Hash128($0) })!
        let row = run.state.queries.find(FinetuneState.queryKey(domain, hash))!
        return (row, run.state.queries[row].pointee.weight)
    }

    private func heads(_ run: FinetuneRun) -> [UInt64] {
        run.state.views[0].headQueries.rows.map { run.state.queries[$0.row].pointee.hash }
    }

    @Test(arguments: [(3_600, 86_400), (86_400, 3_600), (1, 31_536_000), (31_536_000, 1)])
    func `head queries go on when the half-life changes`(old: Int64, new: Int64) {
        let run = FinetuneRun(settings: nil)
        run.settings(Self.search(halfLife: old))
        var id = 0
        func show(_ query: UInt64, times: Int, at time: Int64) {
            for _ in 0..<times {
                id += 1
                run.impression("i\(id)", time: time, query: query)
            }
        }
        show(1, times: 8, at: Self.start)
        show(2, times: 4, at: Self.start)
        show(3, times: 1, at: Self.start)
        #expect(heads(run) == [1, 2])
        run.settings(Self.search(halfLife: new))
        func count(_ hash: UInt64, at time: Int64) -> Double {
            exp2(query(run, hash).weight - Double(time) / (Double(new) * 1_000))
        }
        for (hash, expected) in [(UInt64(1), 8.0), (2, 4), (3, 1)] {
            #expect(abs(count(hash, at: Self.start) / expected - 1) < 1e-3, "query \(hash)")
        }
        let later = Self.start + new * 1_000
        #expect(abs(count(1, at: later) - 4) < 0.01, "half of it after one new half-life")
        #expect(heads(run) == [1, 2])
        // A new query gets in, an old one that comes again stays, and one that does not goes.
        show(4, times: 5, at: later)
        show(1, times: 1, at: later)
        #expect(heads(run) == [1, 4] || heads(run) == [4, 1])
        #expect(abs(count(1, at: later) - 5) < 0.01)
        let before = heads(run)
        run.recover()
        #expect(heads(run) == before)
    }

    @Test func `a decayed rate goes with its half-life, and a new half-life begins with nothing`() {
        let run = FinetuneRun(settings: nil)
        run.settings(Self.settings { $0.halfLives = [10, 100, 1_000, 0, 0] })
        for i in 0..<8 {
            run.impression("i\(i)")
            run.label("i\(i)", i % 2 == 0 ? 1 : 0)
        }
        run.tick(101_000)
        run.settings(Self.settings { $0.halfLives = [100, 500, 1_000, 2_000, 0] })
        run.tick(101_000, close: true)
        let rates = run.values(.domainStatistics).last!["rates"]!.array!
        #expect(rates.map { $0["half_life_s"]!.integer! } == [100, 500, 1_000, 2_000])
        let (counts, expected) = (
            rates.map { $0["impressions"]!.double! }, [4, 0, 8 * exp2(-0.1), 0]
        )
        for (found, expected) in zip(counts, expected) { #expect(abs(found - expected) < 0.1) }
        #expect(rates.map { $0["rate"]!.double! } == [0.5, 0, 0.5, 0])
    }

    // Contexts

    @Test func `scores are means over contexts that there are, when their limit is raised`() {
        let run = FinetuneRun(settings: nil)
        run.settings(Self.settings { $0.contexts = 4 })
        for i in 0..<3 { run.item("item\(i)", tags: ["t\(i)"]) }
        var id = 0
        func show(_ count: Int) {
            for _ in 0..<count {
                id += 1
                run.impression(
                    "i\(id)", item: "item\(id % 3)", user: UInt64(id), request: "r\(id)",
                    userImpressions: 20, userClicks: Double(id % 20), history: ["item\(id % 2)"])
                run.label("i\(id)", id % 3 == 0 ? 1 : 0)
            }
        }
        func score() -> [Double] {
            run.tick(run.clock.time, close: true)
            return (0..<3).map { i in
                let item = "item\(i)"
                return Double(run.cell(item).published.score)
            }
        }
        show(40)
        run.tick(20_000)
        let before = score()
        #expect(run.domain().pointee.contextsFilled == 4 && run.domain().pointee.contextsSeen == 40)
        run.settings(Self.settings { $0.contexts = 64 })
        #expect(score() == before)
        show(3)
        #expect(
            run.domain().pointee.contextsFilled == 7, "each request a context, until all are there")
        #expect(score() != before)
        run.settings(Self.settings { $0.contexts = 2 })
        _ = score()
        #expect(run.domain().pointee.contextsFilled == 2)
        run.settings(Self.settings { $0.contexts = 64 })
        show(1)
        let found = score()
        #expect(run.domain().pointee.contextsFilled == 3)
        run.recover()
        #expect(score() == found)
    }

    // Histories

    @Test(arguments: [10, 11, 50])
    func `of a long history the newest ten are the context, and their texts the cosine`(count: Int)
    {
        func vector(_ axis: Int) -> [Float] {
            (0..<32).map { $0 == axis ? 1 : 0.1 * Float(($0 * 7 + axis) % 5) }
        }
        /// Clicks on items of one kind, then ten on items of another.
        let all = (0..<count).map { $0 < count - 10 ? "old\($0)" : "new\($0 % 10)" }
        func run(_ history: [String]) -> FinetuneRun {
            let run = FinetuneRun()
            for i in 0..<40 { run.item("old\(i)", vector: vector(3)) }
            for i in 0..<10 { run.item("new\(i)", vector: vector(10 + i % 2)) }
            run.item("a", vector: vector(10))
            run.item("b", vector: vector(20))
            for (i, item) in ["a", "b", "a", "b"].enumerated() {
                run.impression(
                    "i\(i)", item: item, user: UInt64(i), request: "r\(i)", history: history)
            }
            run.tick(5_000)
            return run
        }
        let (long, short) = (run(all), run(all.suffix(10)))
        for id in ["i2", "i3"] {
            let found = long.dense(id)[HeadInput.historyCosine]
            #expect(found == short.dense(id)[HeadInput.historyCosine] && found != 0)
        }
        let domain = long.state.domains.find(Array("d".utf8).lend { Hash128($0) })!
        for c in 0..<4 {
            let context = long.state.contexts(domain) + c
            #expect(context.pointee.historyCount == 10)
            let names = (0..<10).map {
                long.state.items.name(long.state.item(in: context, $0)).text
            }
            #expect(names == Array(all.suffix(10)))
        }
    }
}
