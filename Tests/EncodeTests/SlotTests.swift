// Two workers of the role at once: partitions move between them, with what is owed in them.

import Bytes
import Contracts
import Encode
import Streams
import TextEncoding
import Testing

@Suite struct SlotTests {
    @Test(arguments: 1...60 as ClosedRange<UInt64>)
    func `partitions that move between workers lose nothing and bring nothing old back`(
        seed: UInt64
    ) throws {
        var draws = Draws(state: seed &* 0x9E37_79B9_7F4A_7C15)
        let run = try VectorRun(domainLog: 2, inputs: 3)
        run.settings.recordsPerTurn = 1 + draws.below(5)
        run.settings.debtsPerTurn = 1 + draws.below(4)
        var failures = Draws(state: seed &+ 5)
        var isFailing = true
        run.encoder!.failure = { isFailing && failures.below(2) == 0 ? EncoderIsAway() : nil }
        var crashDraws = Draws(state: seed)
        let crashes: (CrashPoint) -> Bool = { _ in crashDraws.below(25) == 0 }
        var slots: [Encode<MemoryLogClient>?] = [nil, nil]
        func leave(_ slot: Int) {
            slots[slot]?.client.leave()
            slots[slot]?.textsClient?.leave()
            slots[slot] = nil
        }
        func join(_ slot: Int) throws {
            leave(slot)
            slots[slot] = try run.makeEncode(slot: slot)
        }
        var newest: [String: (time: Int64, title: String)] = [:]
        var asked: Set<String> = []
        run.log.crashes = crashes
        for time in 1...120 as ClosedRange<Int64> {
            let id = "i\(draws.below(12))"
            let title = "t\(draws.below(20))"
            try run.item(id, title, time: time)
            newest[id] = (time, title)
            if draws.below(3) == 0 {
                let text = "q\(draws.below(10))"
                try run.ask(text, nil)
                asked.insert(text)
            }
            for _ in 0..<draws.below(6) {
                let slot = draws.below(2)
                do {
                    if slots[slot] == nil { try join(slot) }
                    if draws.below(30) == 0 { leave(slot) } else { try slots[slot]!.turn() }
                } catch { leave(slot) }
            }
        }
        run.log.crashes = nil
        isFailing = false
        for slot in 0..<2 { try join(slot) }
        for _ in 0..<400 { for slot in 0..<2 { try slots[slot]!.turn() } }
        for partition in 0..<2 {
            let sent = try run.sent(partition)
            var state: [String: Sent] = [:]
            for item in sent where item.kind == "item" {
                if let last = state[item.name], last.time > item.time {
                    Issue.record("seed \(seed): \(item.name) of \(item.time) behind \(last.time)")
                }
                state[item.name] = item
            }
            for (id, item) in newest {
                #expect(state[id]?.time == item.time, "seed \(seed): \(id)")
                #expect(
                    state[id]?.vector == CountingEncoder.vector(item.title, 0xA1),
                    "seed \(seed): \(id)")
            }
            let texts = Set(sent.filter { $0.kind == "text" }.map(\.name))
            #expect(texts == asked, "seed \(seed)")
        }
        #expect(try run.keys().filter { $0.hasPrefix("item/") }.isEmpty, "seed \(seed)")
    }
}
