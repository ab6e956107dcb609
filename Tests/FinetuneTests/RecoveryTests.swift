// A state that was put back from its rows goes on with the same bytes, whatever the tables threw away.

import Bytes
import Contracts
import DeterministicMath
import JSON
import Streams
import Testing

@testable import Finetune

@Suite struct RecoveryTests {
    private static let caps: FinetuneCaps = {
        var caps = FinetuneCaps()
        caps.domains = 4
        caps.items = 18
        caps.queries = 7
        caps.openImpressions = 20
        caps.corrections = 15
        caps.textDimension = 20
        return caps
    }()

    private static func settings(_ settings: inout FinetuneSettings) {
        settings.domains["search"] = DomainParameters()
        settings.domains["search"]!.surface = .search
        settings.domains["search"]!.headQueries = 3
        settings.defaults.correctionHorizon = 4_000
        settings.defaults.contexts = 8
        settings.defaults.microBatch = 9
    }

    /// Everything that can stand in a domain-log, in an order that a seed decides; calls `between`
    /// after every record.
    private func play(_ run: FinetuneRun, seed: UInt64, between: () -> Void) {
        var random = SplitMix64(seed: seed)
        func below(_ n: UInt64) -> UInt64 { random.next() % n }
        var time: Int64 = 1_000
        var open: [(id: String, domain: String)] = []
        var labeled: [(id: String, domain: String)] = []
        /// Mostly a vector of the right length, sometimes none or one that is masked.
        func vector() -> [Float]? {
            guard below(4) > 0 else { return nil }
            return (0..<(below(9) == 0 ? 19 : 20)).map { _ in Float(below(2_001)) / 1_000 - 1 }
        }
        for i in 0..<25 { run.item("item\(i)", vector: vector()) }
        for i in 0..<12 { run.text("q\(i)", vector: vector()) }
        for i in 0..<900 {
            switch below(24) {
            case 0..<8:
                let domain = ["search", "feed", "cards"][Int(below(3))]
                run.impression(
                    "i\(i)", item: "item\(below(30))", domain: domain, time: time, user: below(9),
                    request: below(2) == 0 ? "r\(below(50))" : nil,
                    query: domain == "search"
                        ? FinetuneRun.hash(of: "q\(below(12))") : nil,
                    position: Int64(below(6) + 1), userImpressions: Double(below(20)),
                    userClicks: Double(below(5)),
                    history: (0..<below(3)).map { _ in "item\(below(30))" })
                open.append(("i\(i)", domain))
            case 8..<13:
                guard !open.isEmpty else { continue }
                let (id, domain) = open.remove(at: Int(below(UInt64(open.count))))
                run.label(
                    id, below(3) == 0 ? 1 : 0, domain: domain, time: time, clicked: time - 100)
                labeled.append((id, domain))
            case 13:
                guard let (id, domain) = labeled.randomElement(using: &random) else { continue }
                run.label(id, 1, revision: 1, domain: domain, time: time)
            case 14:
                run.item(
                    "item\(below(30))", tags: ["t\(below(4))", "t\(below(9))"],
                    domains: below(4) == 0 ? ["feed"] : nil, available: below(5) > 0,
                    deleted: below(12) == 0, vector: vector(), encoder: 1 + below(8) / 7)
            case 20..<23:
                run.item("item\(below(30))", vector: vector(), encoder: 1 + below(8) / 7)
            case 23: run.text("q\(below(12))", vector: vector())
            case 15: run.text("q\(below(12))", vector: vector(), encoder: 1 + below(8) / 7)
            case 16:
                run.prior(
                    sender: Int64(1 + below(2)), block: 0, of: 2,
                    items: [("item\(below(30))", 3, 1)])
            case 17:
                run.prior(
                    sender: Int64(1 + below(2)), block: 1, of: 2,
                    items: [("item\(below(30))", 2, 0)],
                    total: (5, 1), weights: [("own", [Double](repeating: 0.01, count: 37))],
                    examples: 5)
            case 18 where below(30) == 0:
                var settings = FinetuneSettings()
                Self.settings(&settings)
                settings.domains["search"]!.headQueries = Int32(1 + below(5))
                run.settings(settings, time: time)
            default:
                time += Int64(below(400))
                run.tick(time)
            }
            between()
        }
        run.tick(time, close: true)
    }

    private func bytes(_ run: FinetuneRun) -> [String] {
        run.outputs.map {
            "\($0.topic.name) \($0.partition ?? -1) \($0.key ?? "-") \($0.value?.canonicalText ?? "gone")"
        }
    }

    private func rows(_ run: FinetuneRun) -> [String] {
        run.state.tables.flatMap { table in
            var rows = ["\(table.name) \(table.sequence)"]
            table.forEachRow { row, bytes in
                rows.append("\(table.name) \(row) \(Hash128(bytes).hex)")
            }
            return rows
        }
    }

    @Test(arguments: 1...30 as ClosedRange<UInt64>)
    func `a recovery after any record changes no byte, also where caps evict`(seed: UInt64) {
        func run() -> FinetuneRun {
            FinetuneRun(caps: Self.caps, partitions: 3, hashBits: 10, settings: Self.settings)
        }
        let calm = run()
        play(calm, seed: seed) {}
        let stormy = run()
        var random = SplitMix64(seed: seed &+ 1_000)
        var recoveries = 0
        play(stormy, seed: seed) {
            if random.next() % 25 == 0 {
                stormy.recover()
                recoveries += 1
            }
        }
        let (expected, found) = (bytes(calm), bytes(stormy))
        let at = zip(expected, found).prefix { $0 == $1 }.map { _ in 1 }.count
        #expect(
            expected == found,
            """
            seed \(seed): output \(at) of \(expected.count) is \
            \(at < found.count ? found[at] : "missing"), not \(at < expected.count ? expected[at] : "there")
            """)
        let (a, b) = (rows(calm), rows(stormy))
        #expect(a == b, "seed \(seed): \(zip(a, b).first { $0 != $1 }.map { "\($0)" } ?? "rows")")
        #expect(recoveries > 10)
        let counters = calm.state.counters
        #expect(counters.evictedItems > 0 && counters.evictedImpressions > 0)
        #expect(counters.scoresPublished > 20)
        #expect(counters.vectorsMasked > 0)
        let shared = calm.state.shared.value.pointee
        #expect(
            shared.historyCosines.encoder != 0 && shared.queryCosines.encoder != 0,
            "cosines were formed")
    }
}

@Suite struct CapTests {
    @Test
    func `at caps of 1 percent of the load the run goes on, evictions count, memory stays flat`() {
        var caps = FinetuneCaps()
        caps.domains = 4
        caps.items = 60
        caps.queries = 20
        caps.openImpressions = 60
        caps.corrections = 60
        let run = FinetuneRun(caps: caps, hashBits: 10) {
            $0.domains["search"] = DomainParameters()
            $0.domains["search"]!.surface = .search
        }
        var random = SplitMix64(seed: 9)
        func bytes() -> Int { run.state.tables.reduce(0) { $0 + $1.allocatedBytes } }
        var halfway = 0
        for i in 0..<12_000 {
            let domain = i % 2 == 0 ? "feed" : "search"
            run.impression(
                "i\(i)", item: "item\(random.next() % 6_000)", domain: domain, time: Int64(i) * 10,
                user: random.next() % 500, request: "r\(i / 4)",
                query: i % 2 == 0 ? nil : FinetuneRun.hash(of: "q\(random.next() % 2_000)"))
            if i >= 40 {
                run.label(
                    "i\(i - 40)", random.next() % 5 == 0 ? 1 : 0, domain: domain,
                    time: Int64(i) * 10)
            }
            if i % 3 == 0 {
                let vector = (0..<32).map { _ in Float(random.next() % 9) - 4 }
                run.item("item\(random.next() % 6_000)", vector: vector)
                run.text("q\(random.next() % 2_000)", vector: vector)
            }
            if i % 100 == 0 { run.tick(Int64(i) * 10) }
            if i == 6_000 { halfway = bytes() }
        }
        run.tick(120_000, close: true)
        let counters = run.state.counters
        #expect(counters.evictedItems > 5_000)
        #expect(counters.evictedImpressions > 1_000)
        #expect(counters.evictions >= counters.evictedItems + counters.evictedImpressions)
        #expect(run.state.items.liveRows <= 60 && run.state.pending.liveRows <= 120)
        #expect(run.state.itemVectors!.liveRows <= 60 && run.state.textVectors!.liveRows <= 20)
        #expect(run.state.queries.liveRows <= 20 && run.state.candidates.liveRows <= 80)
        #expect(bytes() == halfway, "\(bytes()) bytes at the end, \(halfway) halfway")
        #expect(run.domain("feed").pointee.labels + run.domain("search").pointee.labels == 11_960)
    }

    @Test func `a domain beyond the cap is refused and counted, and the others go on`() {
        let run = FinetuneRun()
        for i in 0..<20 { run.impression("i\(i)", domain: "d\(i)") }
        #expect(run.state.domains.liveRows == 16)
        #expect(run.state.counters.refusedDomains == 4)
        run.label("i3", 1, domain: "d3")
        #expect(run.domain("d3").pointee.clicks == 1)
    }
}
