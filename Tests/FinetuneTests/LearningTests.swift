// How the head learns: against plain Doubles, finite differences, and the rules for batches.

import Bytes
import Contracts
import DeterministicMath
import Foundation
import JSON
import Statistics
import Testing

@testable import Finetune

/// The head in Doubles and dictionaries, learned from the records of `examples` alone: content by
/// Adagrad on its own residual, cross part on the whole one's, biases by Newton (DECISIONS.md).
private struct PlainHead {
    struct Weight {
        var value = 0.0
        var accumulator: Double
    }

    let rate: Double
    var shared: [Weight]
    var own: [Weight]
    var cross = [Weight](repeating: Weight(accumulator: 1e-10), count: 3)
    var hashed: [Int: Weight] = [:]
    var ownBias = (value: 0.0, precision: 4.0)
    var finalBias = (value: 0.0, precision: 20.0)

    init(rate: Double) {
        self.rate = rate
        shared = (0..<59).map { _ in Weight(accumulator: 1e-10) }
        shared[0].value = 1
        own = (0..<59).map { _ in Weight(accumulator: 0.01) }
    }

    /// The dense inputs of an example by the place of their weights: inputs, bias, position.
    static func inputs(_ example: JSONValue) -> [Int: Double] {
        var inputs: [Int: Double] = [8: 1]
        for k in 0..<8 { inputs[k] = example["dense"]!.array![k].double! }
        inputs[9 + Int(min(24, example["position"]?.integer ?? 0))] = 1
        return inputs
    }

    static func hashed(_ example: JSONValue) -> [(bucket: Int, value: Double)] {
        example["hashed"]!.array!.map { (Int($0.array![0].integer!), $0.array![1].double!) }
    }

    static func cross(_ example: JSONValue) -> [Double] {
        (8..<11).map { example["dense"]!.array![$0].double! }
    }

    func content(_ example: JSONValue) -> Double {
        var z = ownBias.value
        for (k, x) in Self.inputs(example) {
            z += (shared[k].value + (k == 8 ? 0 : own[k].value)) * x
        }
        for (bucket, x) in Self.hashed(example) { z += (hashed[bucket]?.value ?? 0) * x }
        return z
    }

    func whole(_ example: JSONValue) -> Double {
        var z = content(example) + finalBias.value + example["dense"]!.array![13].double!
        for (k, x) in Self.cross(example).enumerated() { z += cross[k].value * x }
        return z
    }

    mutating func learn(_ batch: [JSONValue]) {
        func sigmoid(_ z: Double) -> Double { 1 / (1 + exp(-z)) }
        var (dense, sparse) = ([Int: Double](), [Int: Double]())
        var crossed = [0.0, 0, 0]
        var (surplus, information, wholeSurplus, wholeInformation) = (0.0, 0.0, 0.0, 0.0)
        let plain = batch.filter { $0["revision"]!.integer == 0 }
        for example in plain {
            let y = example["label"]!.double!
            let (p, q) = (sigmoid(content(example)), sigmoid(whole(example)))
            for (k, x) in Self.inputs(example) { dense[k, default: 0] += (p - y) * x / 32 }
            for (b, x) in Self.hashed(example) { sparse[b, default: 0] += (p - y) * x / 32 }
            for (k, x) in Self.cross(example).enumerated() { crossed[k] += (q - y) * x / 32 }
            surplus += y - p
            information += p * (1 - p)
            wholeSurplus += y - q
            wholeInformation += q * (1 - q)
        }
        func step(_ weight: inout Weight, _ slope: Double, _ rate: Double) {
            guard slope != 0 else { return }
            weight.accumulator += slope * slope
            weight.value -= rate * slope / weight.accumulator.squareRoot()
        }
        for (k, slope) in dense {
            step(&shared[k], slope, rate)
            if k != 8 { step(&own[k], slope, rate * 0.2) }
        }
        for k in 0..<3 { step(&cross[k], crossed[k], rate) }
        for (b, slope) in sparse {
            step(&hashed[b, default: Weight(accumulator: 1e-3)], slope, rate)
        }
        func newton(
            _ bias: inout (value: Double, precision: Double), _ floor: Double, _ sum: Double,
            _ information: Double
        ) {
            let left = exp2(-Double(plain.count) / 10_000)
            bias.precision = max(floor, bias.precision * left) + information
            bias.value += min(max(sum / bias.precision, -0.5), 0.5)
        }
        if !plain.isEmpty {
            newton(&ownBias, 4, surplus, information)
            newton(&finalBias, 20, wholeSurplus, wholeInformation)
        }
        func correct(_ weight: inout Weight, _ x: Double, _ rate: Double) {
            let full = rate * x / 32 / weight.accumulator.squareRoot()
            weight.value += min(max(full, -rate), rate)
        }
        for example in batch where example["revision"]!.integer == 1 {
            for (k, x) in Self.inputs(example) {
                correct(&shared[k], x, rate)
                if k != 8 { correct(&own[k], x, rate * 0.2) }
            }
            for (k, x) in Self.cross(example).enumerated() { correct(&cross[k], x, rate) }
            for (b, x) in Self.hashed(example) {
                correct(&hashed[b, default: Weight(accumulator: 1e-3)], x, rate)
            }
            ownBias.value += min(0.05, 1 / ownBias.precision)
            finalBias.value += min(0.05, 1 / finalBias.precision)
        }
    }
}

@Suite struct LearningTests {
    /// Impressions of many kinds, each batch of labels ended by a tick, corrections among them.
    private func traffic(_ run: FinetuneRun, count: Int = 400, domain: String = "d") {
        var random = SplitMix64(seed: 5)
        for i in 0..<12 {
            run.item(
                "item\(i)", tags: ["t\(i % 3)", "t\(3 + i % 2)"],
                attributes: [JSONMember("brand", .text("b\(i % 4)"))])
        }
        var open: [(String, Bool)] = []
        var time: Int64 = 10_000
        for i in 0..<count {
            run.impression(
                "\(domain)\(i)", item: "item\(random.next() % 12)", domain: domain, time: time,
                user: random.next() % 20, query: random.next() % 4 == 0 ? random.next() % 5 : nil,
                position: random.next() % 5 == 0 ? nil : Int64(random.next() % 30 + 1),
                userImpressions: Double(random.next() % 40), userClicks: Double(random.next() % 8),
                history: (0..<random.next() % 4).map { _ in "item\(random.next() % 14)" },
                context: [("hour", "\(random.next() % 6)")])
            open.append(("\(domain)\(i)", random.next() % 4 == 0))
            if open.count == 40 || i == count - 1 {
                for (id, clicked) in open {
                    let late = clicked && random.next() % 4 == 0
                    run.label(id, clicked && !late ? 1 : 0, domain: domain, time: time)
                    if late { run.label(id, 1, revision: 1, domain: domain, time: time) }
                }
                open = []
                time += 100
                run.tick(time)
            }
        }
    }

    @Test func `Adagrad on micro-batches, corrections among them, is what plain Doubles compute`() {
        let run = FinetuneRun(hashBits: 16)
        traffic(run)
        var plain = PlainHead(rate: Double(Float(0.05)))
        for batch in run.values(.examples) { plain.learn(batch["examples"]!.array!) }
        #expect(run.examples.contains { $0["revision"]!.integer == 1 })
        for k in 0..<HeadInput.weights {
            #expect(abs(Double(run.shared[k]) - plain.shared[k].value) < 2e-4, "shared \(k)")
            #expect(abs(Double(run.own()[k]) - plain.own[k].value) < 2e-4, "own \(k)")
        }
        for k in 0..<3 {
            #expect(abs(Double(run.cross[k]) - plain.cross[k].value) < 2e-4, "cross \(k)")
        }
        #expect(run.cross.allSatisfy { $0 != 0 })
        #expect(abs(run.biases().own - plain.ownBias.value) < 2e-4)
        #expect(abs(run.biases().ownPrecision - plain.ownBias.precision) < 1e-2)
        #expect(abs(run.biases().final - plain.finalBias.value) < 2e-4)
        #expect(abs(run.biases().finalPrecision - plain.finalBias.precision) < 1e-2)
        let hashed = run.hashed
        for bucket in hashed.indices {
            let expected = plain.hashed[bucket]?.value ?? 0
            #expect(abs(Double(hashed[bucket].weight) - expected) < 2e-4, "bucket \(bucket)")
        }
        #expect(plain.hashed.count > 50)
    }

    @Test func `the slopes of a batch are the finite differences of its log loss`() {
        let run = FinetuneRun(hashBits: 12)
        traffic(run, count: 200)
        let domain = run.state.domains.find(Array("d".utf8).lend { Hash128($0) })!
        let head = run.state.head(domain, run.role.scratch.lookups)
        let learner = Learner(
            head, run.state.domains[domain].pointee.parameters, tellsOthers: false,
            run.role.scratch)
        var rows: [(UInt32, Bool)] = []
        run.state.pending.forEachLive { row in
            if rows.count < 20 { rows.append((row, row % 3 == 0)) }
        }
        for (row, clicked) in rows {
            #expect(learner.add(run.state.kept(row), clicked: clicked))
        }

        /// Log loss over 32 with one weight moved: of content by place or bucket, else of the whole.
        func loss(dense: Int? = nil, bucket: Int? = nil, cross: Int? = nil, by delta: Double)
            -> Double
        {
            var sum = 0.0
            for (row, clicked) in rows {
                let kept = run.state.kept(row)
                var z = run.biases().own
                func add(_ k: Int, _ x: Double, own: Bool = true) {
                    let weight = Double(run.shared[k]) + (own ? Double(run.own()[k]) : 0)
                    z += (weight + (dense == k ? delta : 0)) * x
                }
                for k in 0..<HeadInput.count { add(k, Double(kept.dense[k])) }
                add(HeadInput.bias, 1, own: false)
                add(Int(kept.pointee.position), 1)
                for j in 0..<Int(kept.pointee.hashedCount) {
                    let feature = kept.hashed[j]
                    let weight = Double(head.hashed[feature.bucket].weight)
                    z +=
                        (weight + (bucket == feature.bucket ? delta : 0))
                        / Double(feature.share).squareRoot()
                }
                if let cross {
                    z += run.biases().final + Double(kept.pointee.effect)
                    for k in 0..<HeadInput.crossCount {
                        z +=
                            (Double(run.cross[k]) + (cross == k ? delta : 0))
                            * Double(kept.cross[k])
                    }
                }
                sum += log(1 + exp(z)) - (clicked ? z : 0)
            }
            return sum / 32
        }
        let small = 1e-4
        for k in 0..<HeadInput.weights {
            let slope = (loss(dense: k, by: small) - loss(dense: k, by: -small)) / (2 * small)
            #expect(abs(Double(run.role.scratch.sums.all[k]) - slope) < 2e-5, "dense \(k)")
        }
        for k in 0..<HeadInput.crossCount {
            let slope = (loss(cross: k, by: small) - loss(cross: k, by: -small)) / (2 * small)
            let found = Double(run.role.scratch.sums.all[HeadInput.weights + k])
            #expect(abs(found - slope) < 2e-5, "cross \(k)")
        }
        let buckets = run.role.scratch.buckets
        #expect(buckets.count > 20)
        for bucket in buckets.prefix(25) {
            let slope =
                (loss(bucket: bucket, by: small) - loss(bucket: bucket, by: -small)) / (2 * small)
            #expect(
                abs(Double(run.role.scratch.gradient[bucket]) - slope) < 2e-5, "bucket \(bucket)")
        }
        learner.finish(examples: 0) { _ in }
    }

    @Test func `a micro-batch is learned from at 32 labels`() {
        let run = FinetuneRun()
        for i in 0..<33 { run.impression("i\(i)") }
        for i in 0..<31 { run.label("i\(i)", 0) }
        #expect(run.clock.headVersion == 0 && run.values(.examples).isEmpty)
        run.label("i31", 0)
        #expect(run.clock.headVersion == 1)
        #expect(run.values(.examples).map { $0["examples"]!.array!.count } == [32])
        run.label("i32", 0)
        #expect(run.clock.headVersion == 1)
    }

    @Test func `a tick ends a micro-batch, each domain's for itself`() {
        let run = FinetuneRun()
        for i in 0..<5 {
            run.impression("a\(i)", domain: "a")
            run.impression("b\(i)", domain: "b")
        }
        for i in 0..<5 { run.label("a\(i)", 1, domain: "a") }
        for i in 0..<2 { run.label("b\(i)", 1, domain: "b") }
        run.tick(5_000)
        let batches = run.values(.examples)
        #expect(batches.map { $0["domain"]!.text! } == ["a", "b"])
        #expect(batches.map { $0["examples"]!.array!.count } == [5, 2])
        #expect(batches.map { $0["head_version"]!.integer! } == [1, 2])
        run.tick(6_000)
        #expect(run.values(.examples).count == 2, "nothing to learn, nothing written")
    }

    @Test func `a batch's slopes are divided by 32 however few its examples are`() {
        let run = FinetuneRun()
        run.impression("i", position: 2)
        let content = Double(run.dense("i")[HeadInput.count + HeadInput.crossCount])
        run.label("i", 1)
        run.tick(5_000)
        let slope = (1 / (1 + exp(-content)) - 1) / 32
        let accumulator = Double(
            run.state.shared.value.part.accumulators[HeadInput.positions + 2])
        #expect(abs(accumulator - (1e-10 + slope * slope)) < 1e-8)
    }

    @Test func `parts shared leaves a domain's own weights alone`() {
        let run = FinetuneRun { $0.defaults.learnsOwnWeights = false }
        traffic(run, count: 80)
        #expect(run.own().allSatisfy { $0 == 0 })
        #expect(
            run.shared[HeadInput.bias] != 0 && run.biases().own != 0, "a level of its own it has")
    }

    // Thinning

    /// An impression whose negative is kept (or not) at a share of .5: ids decide.
    private func id(kept: Bool) -> String {
        for i in 0... {
            let id = "n\(i)"
            let draw = Float(Array(id.utf8).lend { Hash128($0) }.high >> 40) * 0x1p-24
            if (draw < 0.5) == kept { return id }
        }
        fatalError("no id")
    }

    @Test func `thinned negatives are judged and written, but not learned from`() {
        let run = FinetuneRun { $0.defaults.negativeShare = 0.5 }
        let gone = id(kept: false)
        run.impression(gone)
        let before = (run.shared, run.own())
        run.label(gone, 0)
        run.tick(5_000)
        #expect(run.shared == before.0 && run.own() == before.1)
        #expect(run.quality().quality.report.examples == 1)
        #expect(run.domain().pointee.labels == 1 && run.clock.examplesLearned == 0)
        #expect(run.examples.map { $0["kept_share"]!.double! } == [1], "none is left out")
        #expect(run.examples.map { $0["learned"]?.boolean } == [false])
    }

    @Test func `what is kept is learned at the logit less ln r, positives at a share of 1`() {
        for clicked in [false, true] {
            let run = FinetuneRun { $0.defaults.negativeShare = 0.5 }
            let id = id(kept: !clicked)
            run.impression(id, position: 2)
            let logit = Double(run.dense(id)[HeadInput.count + HeadInput.crossCount])
            run.label(id, clicked ? 1 : 0)
            run.tick(5_000)
            let slope = (1 / (1 + exp(-(logit - log(0.5)))) - (clicked ? 1 : 0)) / 32
            let accumulator = Double(
                run.state.shared.value.part.accumulators[HeadInput.positions + 2])
            #expect(abs(accumulator - (1e-10 + slope * slope)) < 1e-8, "clicked: \(clicked)")
            #expect(run.examples.map { $0["kept_share"]!.double! } == [1])
            #expect(run.examples.map { $0["learned"]?.boolean } == [nil], "true where not said")
            #expect(run.clock.examplesLearned == 1)
        }
    }

    @Test func `a positive whose negative was thinned away is a plain positive`() {
        func run(_ id: String, late: Bool) -> FinetuneRun {
            let run = FinetuneRun { $0.defaults.negativeShare = 0.5 }
            run.impression(id, position: 2)
            run.label(id, late ? 0 : 1)
            run.tick(5_000)
            if late {
                run.label(id, 1, revision: 1)
                run.tick(6_000)
            }
            return run
        }
        let gone = id(kept: false)
        #expect(run(gone, late: true).shared == run(gone, late: false).shared)
        #expect(run(gone, late: true).biases().own == run(gone, late: false).biases().own)
        let kept = id(kept: true)
        #expect(run(kept, late: true).shared != run(kept, late: false).shared)
    }

    // Corrections

    @Test
    func
        `a correction moves every weight by rate over root of its accumulator, at most by the rate`()
    {
        let run = FinetuneRun(hashBits: 12)
        traffic(run, count: 160)
        run.impression(
            "c", item: "item3", time: 20_000, user: 3, position: 4, userImpressions: 9,
            userClicks: 3, history: ["item3", "item5"], context: [("hour", "1")])
        run.label("c", 0, time: 20_000)
        run.tick(20_500)
        let dense = run.dense("c").map(Double.init)
        var inputs = [Double](repeating: 0, count: HeadInput.weights)
        for k in 0..<HeadInput.count { inputs[k] = dense[k] }
        inputs[HeadInput.bias] = 1
        inputs[HeadInput.positions + 4] = 1
        func accumulators() -> [Float] {
            let shared = run.state.shared.value
            return (0..<HeadInput.weights).map { shared.part.accumulators[$0] }
                + (0..<HeadInput.weights).map { run.domain().own.accumulators[$0] }
                + (0..<HeadInput.crossCount).map { shared.crossAccumulators[$0] }
                + run.hashed.map(\.accumulator)
        }
        let before = accumulators()
        let (shared, own, cross, hashed, biases) = (
            run.shared, run.own(), run.cross, run.hashed, run.biases()
        )
        func step(_ x: Double, _ accumulator: Float, _ rate: Double) -> Double {
            min(max(rate * x / 32 / Double(accumulator).squareRoot(), -rate), rate)
        }
        run.label("c", 1, revision: 1, time: 21_000)
        #expect(run.shared == shared, "it joins the micro-batch first")
        run.tick(21_000)
        for k in 0..<HeadInput.weights {
            let moved = Double(run.shared[k]) - Double(shared[k])
            #expect(abs(moved - step(inputs[k], before[k], 0.05)) < 1e-5, "shared \(k)")
            guard k != HeadInput.bias else { continue }
            let movedOwn = Double(run.own()[k]) - Double(own[k])
            let expected = step(inputs[k], before[HeadInput.weights + k], 0.01)
            #expect(abs(movedOwn - expected) < 1e-5, "own \(k)")
        }
        for k in 0..<HeadInput.crossCount {
            let moved = Double(run.cross[k]) - Double(cross[k])
            let expected = step(
                dense[HeadInput.count + k], before[2 * HeadInput.weights + k], 0.05)
            #expect(abs(moved - expected) < 1e-5, "cross \(k)")
        }
        var moved = 0
        for (b, after) in run.hashed.enumerated() where after.weight != hashed[b].weight {
            moved += 1
            #expect(after.weight > hashed[b].weight && after.weight - hashed[b].weight <= 0.1)
        }
        #expect(moved >= 4)
        #expect(accumulators() == before)
        #expect(abs(run.biases().own - biases.own - min(0.05, 1 / biases.ownPrecision)) < 1e-9)
        #expect(
            abs(run.biases().final - biases.final - min(0.05, 1 / biases.finalPrecision)) < 1e-9)
        let example = run.examples.last!
        #expect(example["revision"]!.integer == 1 && example["label"]!.integer == 1)
    }

    @Test func `a correction in the batch of its own negative still is one`() {
        let run = FinetuneRun()
        run.impression("i")
        run.label("i", 0)
        run.label("i", 1, revision: 1)
        run.tick(5_000)
        #expect(run.examples.map { $0["label"]!.integer! } == [0, 1])
        #expect(run.examples.map { $0["revision"]!.integer! } == [0, 1])
    }

    // A new domain

    @Test func `a new domain starts from the mean of the known ones of its surface`() {
        let run = FinetuneRun {
            for name in ["search", "new-search"] {
                $0.domains[name] = DomainParameters()
                $0.domains[name]!.surface = .search
            }
        }
        traffic(run, count: 210, domain: "one")
        func play(_ domain: String, _ count: Int) {
            for i in 0..<count {
                run.impression("\(domain).\(i)", domain: domain, position: Int64(i % 3 + 1))
                run.label("\(domain).\(i)", i % 2 == 0 ? 1 : 0, domain: domain)
            }
        }
        play("two", 220)
        play("young", 199)
        play("search", 230)
        run.tick(30_000)
        run.impression("y", domain: "new", position: 1)
        let parts = (run.own("one"), run.own("two"), run.own("new"))
        for k in 0..<HeadInput.weights {
            #expect(abs(parts.2[k] - (parts.0[k] + parts.1[k]) / 2) < 1e-6, "\(k)")
        }
        let (one, two, new) = (run.biases("one"), run.biases("two"), run.biases("new"))
        #expect(abs(new.own - (one.own + two.own) / 2) < 1e-6 && new.own != 0)
        #expect(abs(new.final - (one.final + two.final) / 2) < 1e-6)
        #expect(new.ownPrecision == 4 && new.finalPrecision == 20, "so that it moves quickly")
        run.impression("z", domain: "new-search")
        #expect(run.own("new-search") == run.own("search"))
    }

    @Test func `where no domain is known a new one starts at nothing`() {
        let run = FinetuneRun()
        run.impression("x")
        #expect(run.own().allSatisfy { $0 == 0 } && run.biases().own == 0)
    }
}
