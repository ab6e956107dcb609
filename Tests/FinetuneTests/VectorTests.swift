// Vectors of texts as finetune keeps them, and their cosines in the head.

import Bytes
import Contracts
import DeterministicMath
import JSON
import Streams
import Testing
import VectorKernels

@testable import Finetune

@Suite struct VectorTests {
    private static let dimension = 32

    /// A unit vector that mixes the axes `a` and `b`, and one of its own that `noise` draws.
    private func vector(_ a: Int, _ b: Int? = nil, noise: UInt64 = 0) -> [Float] {
        var values = [Float](repeating: 0, count: Self.dimension)
        values[a] += 1
        if let b { values[b] += 1 }
        var random = Random(seed: noise)
        if noise > 0 { for i in values.indices { values[i] += Float(random.normal()) * 0.05 } }
        let length = values.reduce(0) { $0 + $1 * $1 }.squareRoot()
        return values.map { $0 / length }
    }

    private func cosine(_ a: [Float], _ b: [Float]) -> Double {
        var (ab, aa, bb) = (0.0, 0.0, 0.0)
        for (x, y) in zip(a, b) {
            ab += Double(x * y)
            aa += Double(x * x)
            bb += Double(y * y)
        }
        return ab / (aa * bb).squareRoot()
    }

    /// Items a and b of one topic, c of another; the mean of cosines is known from one impression.
    private func prepared() -> FinetuneRun {
        let run = FinetuneRun()
        run.item("a", vector: vector(0, noise: 1))
        run.item("b", vector: vector(0, 1, noise: 2))
        run.item("c", vector: vector(2, noise: 3))
        run.text("topic", vector: vector(0, noise: 4))
        run.impression(
            "first", item: "c", domain: "s", query: FinetuneRun.hash(of: "topic"), history: ["b"])
        return run
    }

    private func history(_ run: FinetuneRun, _ id: String) -> Float {
        run.dense(id)[HeadInput.historyCosine]
    }

    private func query(_ run: FinetuneRun, _ id: String) -> Float {
        run.dense(id)[HeadInput.queryCosine]
    }

    @Test func `the first cosine has no mean to be held against`() {
        let run = prepared()
        #expect(history(run, "first") == 0 && query(run, "first") == 0)
    }

    @Test func `cosines are those of the vectors, above their mean`() {
        let run = prepared()
        let topic = FinetuneRun.hash(of: "topic")
        run.impression("i", item: "a", query: topic, history: ["b", "c", "unknown"])
        // Numbers stay within 127, so a vector with one large number weighs less in a sum.
        func weighed(_ vector: [Float]) -> [Float] {
            vector.map { $0 * min(127 / vector.map(abs).max()!, 512) }
        }
        let sum = zip(weighed(vector(0, 1, noise: 2)), weighed(vector(2, noise: 3))).map {
            $0 + $1
        }
        let firstHistory = cosine(vector(0, 1, noise: 2), vector(2, noise: 3))
        let firstQuery = cosine(vector(0, noise: 4), vector(2, noise: 3))
        let historyCosine = cosine(sum, vector(0, noise: 1))
        let queryCosine = cosine(vector(0, noise: 4), vector(0, noise: 1))
        #expect(abs(Double(history(run, "i")) - 4 * (historyCosine - firstHistory)) < 0.02)
        #expect(abs(Double(query(run, "i")) - 4 * (queryCosine - firstQuery)) < 0.02)
        // Two cosines make the mean now.
        run.impression("j", item: "a", query: topic, history: ["b", "c"])
        #expect(
            abs(Double(history(run, "j")) - 2 * (historyCosine - firstHistory)) < 0.02,
            "the third is held against the mean of two")
    }

    @Test func `a cosine is masked until both vectors are there, and nothing before changes`() {
        let run = prepared()
        let topic = FinetuneRun.hash(of: "late topic")
        run.item("late")
        run.text("late topic")
        run.impression("i1", item: "late", query: topic, history: ["b"])
        run.impression("i2", item: "a", query: topic, history: ["late"])
        run.item("late", vector: vector(0, noise: 5))
        run.impression("i3", item: "late", query: topic, history: ["b"])
        run.impression("i4", item: "a", query: topic, history: ["late"])
        run.text("late topic", vector: vector(0, noise: 6))
        run.impression("i5", item: "late", query: topic, history: [])
        #expect(history(run, "i1") == 0 && query(run, "i1") == 0, "the item's is not there")
        #expect(history(run, "i2") == 0, "the history's is not there")
        #expect(history(run, "i3") > 0 && history(run, "i4") > 0, "it has arrived")
        #expect(query(run, "i3") == 0, "the query's is not there")
        #expect(query(run, "i5") > 0 && history(run, "i5") == 0, "there is no history")
        #expect(run.state.counters.vectorsMasked == 0)
    }

    @Test func `a record of an item without a vector masks it, one of a text does not`() {
        let run = prepared()
        let topic = FinetuneRun.hash(of: "topic")
        run.text("topic")
        run.impression("i1", item: "a", query: topic, history: ["b"])
        run.item("a")
        run.impression("i2", item: "a", query: topic, history: ["b"])
        run.item("a", vector: vector(0, noise: 1))
        run.item("b", deleted: true)
        run.impression("i3", item: "a", query: topic, history: ["b"])
        #expect(history(run, "i1") > 0 && query(run, "i1") > 0)
        #expect(history(run, "i2") == 0 && query(run, "i2") == 0)
        #expect(history(run, "i3") == 0 && query(run, "i3") > 0, "b is deleted")
        #expect(run.state.itemVectors!.liveRows == 2)
    }

    @Test func `vectors of another encoder, another length or without numbers are masked`() {
        let run = prepared()
        run.item("other", vector: vector(0, noise: 7), encoder: 2)
        run.item("short", vector: Array(vector(0).dropLast()))
        run.item("long", vector: vector(0) + [0])
        run.item("nan", vector: vector(0).map { $0 == 1 ? .nan : $0 })
        run.item("empty", vector: vector(0).map { _ in 0 })
        let topic = FinetuneRun.hash(of: "topic")
        for item in ["other", "short", "long", "nan", "empty"] {
            run.impression("item \(item)", item: item, query: topic, history: ["b"])
            run.impression("history \(item)", item: "a", history: [item])
            #expect(history(run, "item \(item)") == 0 && query(run, "item \(item)") == 0, "\(item)")
            #expect(history(run, "history \(item)") == 0, "\(item)")
        }
        #expect(run.state.counters.vectorsMasked == 3, "the others are vectors")
        // A mean of the other encoder's cosines would not mask the second one.
        run.impression("other again", item: "other", query: topic)
        #expect(query(run, "other again") == 0)
        #expect(run.state.shared.value.pointee.queryCosines.encoder == 1)
        run.impression("mixed", item: "a", history: ["other", "b", "short"])
        #expect(history(run, "mixed") > 0, "what is comparable counts")
        run.impression("two of the other", item: "other", history: ["other"])
        #expect(history(run, "two of the other") == 0, "its mean begins anew")
        #expect(run.state.shared.value.pointee.historyCosines.encoder == 2)
    }

    @Test func `without a dimension there are no tables, and vectors change nothing`() {
        var caps = FinetuneCaps.small
        caps.textDimension = 0
        let without = FinetuneRun(caps: caps)
        let with = FinetuneRun(caps: caps)
        for run in [without, with] {
            let vector = run === with ? vector(0) : nil
            run.item("a", vector: vector)
            run.text("q", vector: vector)
            run.impression("i", item: "a", query: FinetuneRun.hash(of: "q"), history: ["a"])
            run.label("i", 1)
            run.tick(9_000, close: true)
        }
        #expect(!without.state.tables.contains { $0.name.contains("vectors") })
        #expect(
            with.values(.scores).map(\.canonicalText)
                == without.values(.scores).map(\.canonicalText))
        #expect(with.role.stepVersion != FinetuneRun().role.stepVersion)
    }

    @Test func `vectors go with their items and texts`() {
        var caps = FinetuneCaps.small
        caps.items = 10
        caps.queries = 5
        let run = FinetuneRun(caps: caps)
        for i in 0..<40 {
            run.item("item\(i)", vector: vector(i % Self.dimension))
            run.text("text \(i)", vector: vector(i % Self.dimension))
        }
        #expect(run.state.counters.evictedItems == 30)
        #expect(run.state.itemVectors!.liveRows == 10 && run.state.textVectors!.liveRows == 5)
        let topic = FinetuneRun.hash(of: "text 39")
        run.impression("i", item: "item39", query: topic, history: ["item38", "item3"])
        run.impression("j", item: "item36", query: topic, history: ["item36"])
        #expect(abs(history(run, "j") - 4) < 0.05, "1 above a mean of 0")
        #expect(abs(query(run, "j") + 4) < 0.05, "0 below a mean of 1")
    }

    @Test func `of two cold items the one whose text is like the clicked ones scores higher`() {
        let run = FinetuneRun()
        var random = SplitMix64(seed: 5)
        for i in 0..<60 {
            run.item("item\(i)", vector: vector(i % 2, noise: UInt64(i) + 1))
        }
        // Users click what is like their history; items do not differ otherwise.
        for i in 0..<4_000 {
            let taste = Int(random.next() % 2)
            let item = Int(random.next() % 60)
            let history = (0..<4).map { _ in "item\(Int(random.next() % 30) * 2 + taste)" }
            run.impression(
                "i\(i)", item: "item\(item)", time: Int64(i) * 10, user: UInt64(taste),
                request: "r\(i)", history: history)
            let clicked = random.next() % 10 < (item % 2 == taste ? 5 : 1)
            run.label("i\(i)", clicked ? 1 : 0, time: Int64(i) * 10)
            if i % 16 == 0 { run.tick(Int64(i) * 10) }
        }
        // From here on everybody's history is of topic 0.
        for i in 4_000..<12_000 {
            let history = (0..<4).map { _ in "item\(Int(random.next() % 30) * 2)" }
            run.impression(
                "i\(i)", item: "item\(random.next() % 60)", time: Int64(i) * 10,
                request: "r\(i)", history: history)
        }
        run.item("cold like", vector: vector(0, noise: 900))
        run.item("cold unlike", vector: vector(1, noise: 901))
        run.item("cold unknown")
        run.impression("like", item: "cold like", time: 120_000, history: ["item0", "item2"])
        run.impression("unlike", item: "cold unlike", time: 120_000, history: ["item0", "item2"])
        #expect(run.shared[HeadInput.historyCosine] > 0)
        #expect(run.logit("like") > run.logit("unlike") + 0.3)
        run.tick(121_000, close: true)
        func score(_ item: String) -> Double {
            run.values(.scores).last { $0["item_id"]!.text == item }!["score"]!.double!
        }
        #expect(score("cold like") > score("cold unknown"))
        #expect(score("cold unknown") > score("cold unlike"))
    }

    @Test func `one product gives the mean of the contexts' cosines, however they were exchanged`()
    {
        let run = FinetuneRun { $0.defaults.contexts = 12 }
        var random = Random(seed: 8)
        for i in 0..<40 {
            run.item(
                "item\(i)",
                vector: i % 5 == 4 ? nil : vector(i % 3, (i + 1) % 4, noise: UInt64(i) + 1))
        }
        for i in 0..<300 {
            run.impression(
                "i\(i)", item: "item\(random.below(40))", time: Int64(i) * 20, request: "r\(i)",
                history: (0..<random.below(12)).map { _ in "item\(random.below(45))" })
            if i % 9 == 0 { run.tick(Int64(i) * 20) }
            if i == 200 { run.item("item7", vector: vector(5, noise: 77)) }
        }
        let domain = run.state.domains.find(Array("d".utf8).lend { Hash128($0) })!
        func inputs() -> [Float] {
            run.tick(run.clock.time + 500)
            let mean = run.state.shared.value.pointee.historyCosines
            return (0..<40).map { i in
                let item = run.state.items.find(Array("item\(i)".utf8).lend { Hash128($0) })!
                guard let vector = run.state.itemVector(item) else { return 0 }
                return run.state.views[Int(domain)].vectors!.meanInput(vector, mean)
            }
        }
        let found = inputs()
        let mean = run.state.shared.value.pointee.historyCosines
        let contexts = run.state.contexts(domain)
        for i in 0..<40 where i % 5 != 4 {
            let item = run.state.items.find(Array("item\(i)".utf8).lend { Hash128($0) })!
            let own = run.state.itemVector(item)!
            var sum: Float = 0
            for c in 0..<12 {
                var history = [Float](repeating: 0, count: Self.dimension)
                for j in 0..<Int((contexts + c).pointee.historyCount) {
                    guard let other = run.state.itemVector(run.state.item(in: contexts + c, j))
                    else {
                        continue
                    }
                    for k in history.indices { history[k] += Float(other.numbers[k]) }
                }
                guard history.contains(where: { $0 != 0 }) else { continue }
                let numbers = (0..<Self.dimension).map { Float(own.numbers[$0]) }
                sum += mean.input(Float(cosine(history, numbers)), 1)
            }
            #expect(abs(found[i] - sum / 12) < 0.01, "item\(i)")
        }
        #expect(found.contains { abs($0) > 0.1 })
        run.recover()
        #expect(inputs() == found, "to the bit")
    }

    @Test func `a candidate whose text is like the query's scores higher`() {
        let run = FinetuneRun {
            $0.domains["s"] = DomainParameters()
            $0.domains["s"]!.surface = .search
        }
        var random = SplitMix64(seed: 6)
        for i in 0..<40 { run.item("item\(i)", vector: vector(i % 4, noise: UInt64(i) + 1)) }
        for q in 0..<8 { run.text("query \(q)", vector: vector(q % 4, noise: UInt64(q) + 500)) }
        for i in 0..<6_000 {
            let (query, item) = (Int(random.next() % 8), Int(random.next() % 40))
            run.impression(
                "i\(i)", item: "item\(item)", domain: "s", time: Int64(i) * 10, request: "r\(i)",
                query: FinetuneRun.hash(of: "query \(query)"), position: 1)
            let clicked = random.next() % 10 < (item % 4 == query % 4 ? 5 : 1)
            run.label("i\(i)", clicked ? 1 : 0, domain: "s", time: Int64(i) * 10)
            if i % 16 == 0 { run.tick(Int64(i) * 10) }
        }
        run.item("cold like", vector: vector(1, noise: 900))
        run.item("cold unlike", vector: vector(2, noise: 901))
        for id in ["like", "unlike"] {
            run.impression(
                id, item: "cold \(id)", domain: "s", time: 70_000,
                query: FinetuneRun.hash(of: "query 1"), position: 1)
        }
        #expect(run.logit("like") > run.logit("unlike") + 0.5)
        run.tick(71_000, close: true)
        func score(_ item: String) -> Double {
            run.values(.scores).last {
                $0["item_id"]!.text == item && $0["query"]!.text == "query 1"
            }!["score"]!.double!
        }
        #expect(score("cold like") > 1.5 * score("cold unlike"))
    }

    @Test(arguments: 1...8 as ClosedRange<UInt64>)
    func `rounding keeps cosines within a hundredth`(seed: UInt64) {
        var random = Random(seed: seed)
        let size = [1, 15, 16, 31, 384, 1_024, 4_096][Int(random.next() % 7)]
        func draw() -> [Float] {
            (0..<size).map { _ in
                HalfPrecision.value(of: HalfPrecision.bits(of: Float(random.normal()) * 0.05))
            }
        }
        let (a, b) = (draw(), draw())
        let pairs = [a, b].map { values -> ([Int8], Float) in
            var numbers = [Int8](repeating: 0, count: size)
            var bytes = ByteBuffer()
            values.withUnsafeBufferPointer { TextVector.append($0, to: &bytes) }
            let inverse = VectorRow.round(
                TextVector(halves: bytes.slice, encoder: 1), into: &numbers)
            return (numbers, inverse!)
        }
        let product = dot(pairs[0].0, pairs[1].0, count: size)
        let found = Double(product) * Double(pairs[0].1) * Double(pairs[1].1)
        #expect(abs(found - cosine(a, b)) < 0.01, "seed \(seed), \(size) numbers")
    }

    @Test(arguments: [0, 1, 15, 16, 17, 64, 384, 4_096])
    func `products of whole numbers are exact at the limits of their widths`(size: Int) {
        var random = SplitMix64(seed: UInt64(size) + 1)
        func extreme() -> Int8 {
            [-127, 127, 126, Int8(truncatingIfNeeded: random.next() % 7)][Int(random.next() % 4)]
        }
        let bytes = (0..<size).map { _ in extreme() }
        let wide = (0..<size).map { _ in Int16(extreme()) * 10 }
        func slow(_ a: [Int], _ b: [Int]) -> Int32 {
            Int32(zip(a, b).reduce(0) { $0 + $1.0 * $1.1 })
        }
        let x = bytes.map(Int.init)
        #expect(dot(bytes, bytes, count: size) == slow(x, x))
        #expect(dot(wide, bytes, count: size) == slow(wide.map(Int.init), x))
        for rows in [1, 2, 7, 10] {
            let matrix = (0..<rows * size).map { _ in extreme() }
            let sums = (0..<size).map { i in
                (0..<rows).reduce(0) { $0 + Int(matrix[$1 * size + i]) }
            }
            matrix.withUnsafeBufferPointer { matrix in
                let pointers = (0..<rows).map { matrix.baseAddress! + $0 * size }
                let found = sumProducts(pointers, rowCount: rows, bytes, count: size)
                #expect(found == (slow(sums, sums), slow(sums, x)))
                var sum = [Int16](repeating: 1, count: size)
                #expect(sumRows(&sum, pointers, rowCount: rows, count: size) == slow(sums, sums))
                #expect(sum == sums.map { Int16($0) })
                let old = sum
                exchange(&sum, wide, for: old, count: size)
                #expect(sum == wide)
            }
        }
    }
}
