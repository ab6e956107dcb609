// Crashes at every boundary, with an encoder that comes and goes: nothing lost, nothing doubled.

import Bytes
import Contracts
import Encode
import Streams
import TextEncoding
import Testing

/// What the catalog and `texts` hold, and how often each version may be seen.
private struct Truth {
    /// The newest version of an item: its title, nil = deleted.
    var newest: [String: (time: Int64, title: String?)] = [:]
    var titles: [Int64: String] = [:]
    var askers: [String: Set<Int>] = [:]
}

@Suite struct EncodeCrashTests {
    static let texts = ["red", "blue", "green", "none", "", "long text"]

    private func write(
        _ run: VectorRun, _ draws: inout Draws, _ truth: inout Truth, _ time: inout Int64
    ) throws {
        for _ in 0..<draws.below(12) {
            time += 1
            let id = "i\(draws.below(9))"
            switch draws.below(8) {
            case 0:
                try run.delete(id)
                truth.newest[id] = (time, nil)
            case 1, 2:
                let text = EncodeCrashTests.texts[draws.below(4)] + "?"
                let domain = ["a", "b", "c"][draws.below(3)]
                try run.ask(text, domain, time: time)
                truth.askers[text, default: []].insert(run.partition(of: domain))
            default:
                let title = EncodeCrashTests.texts[draws.below(6)]
                try run.item(id, title, time: time)
                truth.newest[id] = (time, title)
                truth.titles[time] = title
            }
        }
    }

    private func check(_ run: VectorRun, _ truth: Truth, _ hash: UInt64, _ seed: UInt64) throws {
        func expected(_ text: String) -> [Float]? {
            text.isEmpty || text == "none" ? nil : CountingEncoder.vector(text, hash)
        }
        #expect(run.encode.owed == 0, "seed \(seed)")
        let keys = try run.keys()
        #expect(!keys.contains { $0.hasPrefix("item/") }, "seed \(seed)")
        for partition in 0..<run.domainLog {
            let sent = try run.sent(partition)
            let items = sent.filter { $0.kind == "item" }
            // What has been sent is never followed by an older version.
            var versions: [String: Int64] = [:]
            for item in items where !item.isDeleted {
                #expect(item.title == truth.titles[item.time], "seed \(seed)")
                if let last = versions[item.name], last > item.time {
                    Issue.record("seed \(seed): \(item.name) of \(item.time) behind \(last)")
                }
                versions[item.name] = item.time
            }
            // Every version at most once without, and once with its vector by an encoder.
            var seen: [Sent: Int] = [:]
            for record in sent where !record.isDeleted { seen[record, default: 0] += 1 }
            for (record, count) in seen where count > 1 {
                Issue.record("seed \(seed): \(record) came \(count) times")
            }
            var state: [String: Sent] = [:]
            for item in items { state[item.name] = item }
            for (id, version) in truth.newest {
                guard let found = state[id] else {
                    Issue.record("seed \(seed): \(id) is missing")
                    continue
                }
                #expect(found.isDeleted == (version.title == nil), "seed \(seed): \(id)")
                if let title = version.title {
                    #expect(found.time == version.time, "seed \(seed): \(id)")
                    #expect(found.vector == expected(title), "seed \(seed): \(id) \(title)")
                }
            }
            let texts = sent.filter { $0.kind == "text" && $0.encoder == hash }
            let wanted = truth.askers.filter { $0.value.contains(partition) }.map(\.key)
            #expect(texts.map(\.name).sorted() == wanted.sorted(), "seed \(seed)")
            for text in texts { #expect(text.vector == expected(text.name), "seed \(seed)") }
        }
    }

    @Test(arguments: 1...150 as ClosedRange<UInt64>)
    func `crashes and an encoder that comes and goes lose nothing and double nothing`(seed: UInt64)
        throws
    {
        var draws = Draws(state: seed &* 0x9E37_79B9_7F4A_7C15)
        let run = try VectorRun(domainLog: 2, inputs: 1 + draws.below(2))
        run.settings.recordsPerTurn = 1 + draws.below(7)
        run.settings.debtsPerTurn = 1 + draws.below(5)
        var truth = Truth()
        var time: Int64 = 10
        var crashes = 0
        var crashDraws = Draws(state: seed)
        run.log.crashes = { _ in crashDraws.below(12) == 0 }
        var failureDraws = Draws(state: seed &+ 77)
        func makeEncoder(_ hash: UInt64) {
            run.encoder = CountingEncoder(hash)
            run.encoder!.failure = { failureDraws.below(3) == 0 ? EncoderIsAway() : nil }
        }
        makeEncoder(0xA1)
        func work() throws {
            do {
                if run.encode == nil { try run.restart() }
                for _ in 0..<draws.below(20) { _ = try run.encode.turn() }
            } catch is Crash {
                crashes += 1
                while (try? run.restart()) == nil { crashes += 1 }
            }
        }
        let rounds = 20
        for round in 0..<rounds {
            try write(run, &draws, &truth, &time)
            // A tombstone stays for longer than a worker is away (delete.retention.ms), so compaction
            // comes to what has been read; what is owed of it may be gone then.
            if draws.below(6) == 0 {
                let crashes = run.log.crashes
                run.log.crashes = nil
                try run.restart()
                try run.drain()
                try run.log.compact(after: 0)
                run.log.crashes = crashes
            }
            // Half of the runs change the encoder on their way.
            if seed % 2 == 0, round == rounds / 2 {
                makeEncoder(0xB2)
                while (try? run.restart()) == nil { crashes += 1 }
            }
            try work()
        }
        run.log.crashes = nil
        run.encoder!.failure = { nil }
        try run.restart()
        try run.drain()
        try check(run, truth, seed % 2 == 0 ? 0xB2 : 0xA1, seed)
        #expect(crashes > 0, "seed \(seed)")
    }

    @Test func `a worker that another has replaced changes nothing`() throws {
        let run = try VectorRun(domainLog: 1)
        try run.item("a", "a")
        try run.drain()
        let zombie = run.encode!
        try run.restart()
        try run.item("b", "b")
        try run.drain()
        try run.item("c", "c")
        for _ in 0..<4 { _ = try? zombie.turn() }
        #expect(try run.sent().map(\.name) == ["a", "b"])
        try run.drain()
        #expect(try run.sent().map(\.name) == ["a", "b", "c"])
    }
}
