// What partitions tell each other: counts and what their labels taught the shared weights.

import Bytes
import Contracts
import Foundation
import JSON
import Streams
import Testing

@testable import Finetune

@Suite struct PriorTests {
    /// One impression with its label.
    private struct Sight {
        var id: String
        var domain: String
        var item: String
        var clicked: Bool
        var corrected: Bool
    }

    private let sights: [Sight] = (0..<300).map { i in
        Sight(
            id: "i\(i)", domain: i % 3 == 0 ? "b" : "a", item: "item\(i * 11 % 17)",
            clicked: i % 4 == 0, corrected: i % 20 == 0)
    }

    private func play(_ run: FinetuneRun, _ sights: some Sequence<Sight>) {
        for sight in sights {
            run.impression(sight.id, item: sight.item, domain: sight.domain, position: 1)
            run.label(sight.id, sight.clicked && !sight.corrected ? 1 : 0, domain: sight.domain)
            if sight.clicked, sight.corrected {
                run.label(sight.id, 1, revision: 1, domain: sight.domain)
            }
        }
    }

    private func deliver(_ outputs: [FinetuneRun.Output], to run: FinetuneRun) -> Int {
        var count = 0
        for output in outputs
        where output.topic == .domainLog && output.partition == run.state.partition {
            run.step(output.value!.canonicalBytes)
            count += 1
        }
        return count
    }

    @Test func `two partitions that told each other count what one alone would`() {
        let whole = FinetuneRun()
        let one = FinetuneRun(partitions: 2, partition: 0)
        let two = FinetuneRun(partitions: 2, partition: 1)
        for run in [whole, one, two] {
            for i in 0..<17 { run.item("item\(i)", tags: ["t\(i % 4)"]) }
        }
        for half in [sights.prefix(150), sights.suffix(150)] {
            play(whole, half)
            play(one, half.filter { $0.domain == "a" })
            play(two, half.filter { $0.domain == "b" })
            let time = half.first!.id == "i0" ? Int64(10_000) : 20_000
            let (first, second) = (one.tick(time), two.tick(time))
            #expect(deliver(first, to: two) == 1 && deliver(second, to: one) == 1)
        }
        for run in [one, two] {
            #expect(run.clock.impressions == whole.clock.impressions)
            #expect(run.clock.clicks == whole.clock.clicks)
            for i in 0..<17 {
                let (found, expected) = (run.item(row: "item\(i)"), whole.item(row: "item\(i)"))
                #expect(found.impressions == expected.impressions, "item\(i)")
                #expect(found.clicks == expected.clicks, "item\(i)")
            }
            for bucket in 0..<run.state.tokens.count {
                let (found, expected) = (
                    run.state.tokens.elements[bucket], whole.state.tokens.elements[bucket]
                )
                #expect(
                    found.impressions == expected.impressions && found.clicks == expected.clicks)
            }
            #expect(run.item(row: "item0").unsentImpressions == 0)
        }
    }

    @Test func `nothing new, nothing told; and nothing before the period has passed`() throws {
        let run = FinetuneRun(partitions: 3, partition: 1)
        run.impression("i")
        #expect(run.tick(10_000).allSatisfy { $0.topic != .domainLog })
        run.label("i", 1)
        #expect(run.tick(10_700).allSatisfy { $0.topic != .domainLog })
        let told = run.tick(11_000).filter { $0.topic == .domainLog }
        try #require(told.count == 2)
        #expect(told.map { $0.partition! } == [0, 2])
        #expect(told[0].value == told[1].value)
        let value = told[0].value!
        #expect(value["sender"]!.integer == 1 && value["impressions"]!.double == 1)
        let item = value["items"]!.array![0].array!
        #expect(item.prefix(3).map(\.canonicalText) == [#""a""#, "1", "1"])
        let content = Double(run.dense("i")[HeadInput.count + HeadInput.crossCount])
        #expect(abs(item[3].double! - 1 / (1 + exp(-content))) < 1e-6, "what content expected")
        #expect(value["weights"]!.members!.map(\.name) == ["gradient", "square"])
        #expect(value["examples"]!.double == 1)
        #expect(run.tick(13_000).allSatisfy { $0.topic != .domainLog })
    }

    @Test func `a partition alone tells nobody, and nobody listens to itself`() {
        let run = FinetuneRun()
        run.impression("i")
        run.label("i", 1)
        #expect(run.tick(10_000, close: true).allSatisfy { $0.topic != .domainLog })
        run.prior(sender: 0, items: [("a", 100, 50)], total: (100, 50))
        #expect(run.item(row: "a").impressions == 1)
    }

    @Test func `a set counts when its last block is here, and not before`() {
        let run = FinetuneRun(partitions: 2)
        run.prior(block: 0, of: 3, items: [("a", 5, 1)])
        run.prior(block: 1, of: 3, items: [("b", 6, 2)])
        #expect(run.state.items.liveRows == 0 && run.clock.impressions == 5)
        run.prior(block: 2, of: 3, items: [("c", 7, 3)], total: (18, 6))
        #expect(run.item(row: "a").impressions == 5 && run.item(row: "a").clicks == 1)
        #expect(run.item(row: "b").impressions == 6 && run.item(row: "c").clicks == 3)
        #expect(run.clock.impressions == 23 && run.clock.clicks == 7)
        #expect(run.state.stagedPriors.liveRows == 0)
    }

    @Test func `a block out of order does not count, nor does what follows it`() {
        let run = FinetuneRun(partitions: 2)
        run.prior(block: 1, of: 2, items: [("b", 6, 2)], total: (6, 2))
        run.prior(block: 0, of: 3, items: [("a", 5, 1)])
        run.prior(block: 2, of: 3, items: [("c", 7, 3)], total: (18, 6))
        #expect(run.state.items.liveRows == 0 && run.clock.impressions == 5)
    }

    @Test func `a sender that begins a set again is counted once`() {
        let run = FinetuneRun(partitions: 2)
        run.prior(block: 0, of: 2, items: [("a", 5, 1)])
        run.prior(block: 0, of: 2, items: [("a", 5, 1)])
        run.prior(block: 1, of: 2, items: [("b", 6, 2)], total: (11, 3))
        #expect(run.item(row: "a").impressions == 5 && run.item(row: "b").impressions == 6)
        run.prior(block: 0, of: 1, items: [("a", 1, 0)], total: (1, 0))
        #expect(run.item(row: "a").impressions == 6)
    }

    @Test func `sets of several senders do not mix`() {
        let run = FinetuneRun(partitions: 3)
        run.prior(sender: 1, block: 0, of: 2, items: [("a", 5, 1)])
        run.prior(sender: 2, block: 0, of: 2, items: [("a", 50, 10)])
        run.prior(sender: 1, block: 1, of: 2, total: (5, 1))
        #expect(run.item(row: "a").impressions == 5)
        run.prior(sender: 2, block: 1, of: 2, total: (50, 10))
        #expect(run.item(row: "a").impressions == 55)
    }

    @Test func `many items go in blocks that stay below 64 KiB`() {
        let run = FinetuneRun(partitions: 2)
        let name = String(repeating: "n", count: 240)
        for i in 0..<450 {
            run.impression("i\(i)", item: "\(name)\(i)")
            run.label("i\(i)", 0)
        }
        let blocks =
            run.outputs.filter { $0.topic == .domainLog }
            + run.tick(10_000).filter {
                $0.topic == .domainLog
            }
        #expect(blocks.map { $0.value!["block"]!.integer! } == [0, 1, 2])
        #expect(blocks.map { $0.value!["items"]!.array!.count }.reduce(0, +) == 450)
        #expect(blocks.allSatisfy { $0.value!.canonicalBytes.count <= 65_536 })
        #expect(blocks.map { $0.value!["impressions"]?.double } == [nil, nil, 450])
        let other = FinetuneRun(partitions: 2, partition: 1)
        for block in blocks { other.step(block.value!.canonicalBytes) }
        #expect(other.state.items.liveRows == 450 && other.clock.impressions == 455)
    }

    @Test func `a receiver's weights take the steps that the sender's examples ask for`() {
        let (one, two) = (
            FinetuneRun(partitions: 2, partition: 0), FinetuneRun(partitions: 2, partition: 1)
        )
        for run in [one, two] { for i in 0..<3 { run.item("item\(i)", tags: ["t\(i)"]) } }
        for i in 0..<20 {
            one.impression(
                "i\(i)", item: "item\(i % 3)", position: 2, userImpressions: 3, userClicks: 2)
        }
        for i in 0..<20 { one.label("i\(i)", i % 3 == 0 ? 1 : 0) }
        let told = one.tick(10_000)
        #expect(deliver(told, to: two) == 1)
        // One micro-batch: the sum of gradients is the batch's, so is its square.
        #expect(two.shared != FinetuneRun().shared)
        for k in 0..<HeadInput.weights {
            #expect(abs(two.shared[k] - one.shared[k]) < 1e-5, "\(k)")
        }
        for k in 0..<HeadInput.crossCount { #expect(abs(two.cross[k] - one.cross[k]) < 1e-5) }
        // The tokens' weights follow from the counts alone: their labels less what content expected.
        var tokens: Set<Int> = []
        for i in 0..<3 {
            let row = one.state.items.find(Array("item\(i)".utf8).lend { Hash128($0) })!
            let features = one.state.features(row)
            for j in 0..<Int(features.pointee.tokenCount) {
                tokens.insert(features.tokens[j].bucket)
            }
        }
        #expect(tokens.count == 6)
        for bucket in tokens {
            #expect(abs(two.hashed[bucket].weight - one.hashed[bucket].weight) < 1e-4)
            #expect(one.hashed[bucket].weight != 0)
        }
        // And so does the evidence about an item elsewhere: it moves its effect there.
        two.impression("x", item: "item0", domain: "other")
        #expect(two.dense("x")[HeadInput.toldCount - 1] > 0)
    }

    @Test func `a new domain starts from what the senders' domains of its surface know`() {
        let (one, two) = (
            FinetuneRun(partitions: 2, partition: 0), FinetuneRun(partitions: 2, partition: 1)
        )
        for i in 0..<210 {
            one.impression("i\(i)", position: 1, userImpressions: 3, userClicks: 2)
            one.label("i\(i)", i % 3 == 0 ? 1 : 0)
        }
        let told = one.tick(10_000)
        #expect(
            told.first { $0.topic == .domainLog }!.value!["weights"]!.members!.map(\.name)
                == ["gradient", "own_recommendation", "square"])
        #expect(deliver(told, to: two) == 1)
        two.impression("x", domain: "new")
        for k in 0..<HeadInput.weights { #expect(abs(two.own("new")[k] - one.own()[k]) < 1e-5) }
        #expect(abs(two.biases("new").own - one.biases().own) < 1e-5 && one.biases().own != 0)
    }
}
