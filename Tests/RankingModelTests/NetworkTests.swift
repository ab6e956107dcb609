// What holds for the network beyond the golden numbers.

import DeterministicMath
import Tensors
import Testing

@testable import RankingModel

@Suite struct NetworkTests {
    func bits(_ values: [Float]) -> [UInt32] { values.map(\.bitPattern) }

    /// The rows `rows` of a batch as a batch of their own.
    func part(_ batch: Batch, _ rows: [Int], _ c: ModelConfiguration) -> Batch {
        let out = Batch(c)
        out.texts = batch.texts
        for r in rows {
            out.domain.append(batch.domain[r])
            out.userID.append(batch.userID[r])
            out.itemID.append(batch.itemID[r])
            out.itemText.append(batch.itemText[r])
            out.queryPresent.append(batch.queryPresent[r])
            out.queryID.append(batch.queryID[r])
            out.queryText.append(batch.queryText[r])
            for j in Int(batch.historyOffsets[r])..<Int(batch.historyOffsets[r + 1]) {
                out.historyID.append(batch.historyID[j])
                out.historyText.append(batch.historyText[j])
            }
            out.historyOffsets.append(Int32(out.historyID.count))
            for f in c.item_sparse.indices {
                let field = batch.itemSparse[f]
                out.itemSparse[f].ids +=
                    field.ids[
                        Int(field.offsets[r])..<Int(field.offsets[r + 1])]
                out.itemSparse[f].close()
            }
            for f in c.user_sparse.indices {
                let field = batch.userSparse[f]
                out.userSparse[f].ids +=
                    field.ids[
                        Int(field.offsets[r])..<Int(field.offsets[r + 1])]
                out.userSparse[f].close()
            }
            for f in c.ctx.indices { out.context[f].append(batch.context[f][r]) }
            for j in 0..<c.n_dense { out.dense.append(batch.dense[r * c.n_dense + j]) }
            out.labels.append(batch.labels[r])
        }
        return out
    }

    @Test(arguments: ["mdf", "ple", "single", "shared_bottom", "star"])
    func `a served row has the same bits alone and in any company`(variant: String) {
        let c = smallConfiguration().variant(variant)
        let network = Network(perturbedParameters(c, seed: 5))
        let (batch, memory) = randomBatch(c, rows: 70, seed: 2)
        withExtendedLifetime(memory) {
            let together = network.logits(batch, mode: .serve)
            for rows in [[0], [41], [3, 40, 69], Array(10..<55)] {
                let alone = network.logits(part(batch, rows, c), mode: .serve)
                #expect(bits(alone) == bits(rows.map { together[$0] }), "\(variant) \(rows)")
            }
        }
    }

    @Test(arguments: ["mdf", "mmoe-da-mmd", "ple", "star"])
    func `one, two and three threads train to the same bits`(variant: String) {
        var c = smallConfiguration().variant(variant)
        (c.H, c.e1, c.e2, c.d) = (32, 33, 16, 16)
        func train(_ threads: Int) -> [UInt32] {
            let parameters = perturbedParameters(c, seed: 7)
            let network = Network(parameters, workers: Workers(threads: threads))
            let optimizer = Optimizer(parameters, OptimizerSettings())
            for step in 0..<3 {
                let (batch, memory) = randomBatch(c, rows: 300, seed: UInt64(step))
                withExtendedLifetime(memory) { _ = network.backward(batch, alpha: 0.1) }
                optimizer.step(network)
            }
            var out: [UInt32] = []
            parameters.forEachTensor { _, shape, values in
                for i in 0..<shape.reduce(1, *) { out.append(values[i].bitPattern) }
            }
            return out
        }
        let one = train(1)
        #expect(train(2) == one)
        #expect(train(3) == one)
    }

    @Test func `training twice from one seed gives the same bits`() {
        let c = smallConfiguration().variant("mdf")
        func train() -> [Float] {
            let parameters = perturbedParameters(c, seed: 1)
            let network = Network(parameters)
            let optimizer = Optimizer(parameters, OptimizerSettings(.adamw, rate: 0.01))
            let (batch, memory) = randomBatch(c, rows: 40, seed: 3)
            return withExtendedLifetime(memory) {
                for _ in 0..<5 {
                    _ = network.backward(batch, alpha: 0.1)
                    optimizer.step(network)
                }
                return network.logits(batch)
            }
        }
        #expect(bits(train()) == bits(train()))
    }

    @Test(arguments: ["mdf", "ple", "single", "mmoe"])
    func `a step from the factors of a gradient is the step from the gradient`(variant: String) {
        let c = smallConfiguration().variant(variant)
        func weights(complete: Bool) -> [Double] {
            let parameters = perturbedParameters(c, seed: 4)
            let network = Network(parameters)
            let optimizer = Optimizer(parameters, OptimizerSettings())
            for rows in [1, 3, 9] {
                let (batch, memory) = randomBatch(c, rows: rows, seed: UInt64(rows))
                _ = withExtendedLifetime(memory) { network.backward(batch, alpha: 0.1) }
                if complete {
                    #expect(rows > 4 || !network.pending.isEmpty)
                    network.completeGradients()
                }
                optimizer.step(network)
            }
            return (0..<parameters.layout.count).map { Double(parameters.block.base[$0]) }
        }
        #expect(largestDifference(weights(complete: true), weights(complete: false)) < 1e-6)
    }

    @Test func `decay pulls matrices, not biases, norms or tables`() {
        let names = [
            "da.weight", "expert.w1", "item.gate.wq", "da.u", "tower.w2", "item.id.proj.weight",
        ]
        let others = [
            "da.bias", "item.id.ln.weight", "domain.emb", "user.hist.null", "tower.b1",
            "item.id.proj.bias", "star.pn.gamma", "item.gate.cls",
        ]
        #expect(names.allSatisfy(Optimizer.isMatrix))
        #expect(!others.contains(where: Optimizer.isMatrix))
    }

    @Test func `a task without a label for a row learns nothing from it`() {
        var c = smallConfiguration().variant("mdf")
        c.tasks = [.click, .relevance]
        let network = Network(perturbedParameters(c, seed: 2))
        let (batch, memory) = randomBatch(c, rows: 20, seed: 3)
        batch.labelled = (0..<40).map { $0 % 2 == 0 }
        withExtendedLifetime(memory) {
            let masked = network.backward(batch, alpha: 0).bce
            for i in 0..<20 { batch.labels[2 * i + 1] = 0.123 }
            #expect(network.backward(batch, alpha: 0).bce == masked)
        }
    }

    @Test func `an item that is a query goes through the query's table and projection`() {
        var c = smallConfiguration().variant("mdf")
        c.n_item = c.n_query
        let parameters = perturbedParameters(c, seed: 2)
        // Give items the very weights that queries have.
        for part in ["proj.weight", "proj.bias", "ln.weight", "ln.bias"] {
            for kind in ["id", "text"] {
                let query = parameters.layout.tensor("query.\(kind).\(part)")!
                let item = parameters.layout.tensor("item.\(kind).\(part)")!
                (parameters.block.base + item.range.lowerBound).update(
                    from: parameters.block.base + query.range.lowerBound, count: query.range.count)
            }
        }
        let tables = parameters.tables
        tables[0].weights.base.update(from: tables[1].weights.base, count: c.n_query * c.d_id)
        let network = Network(parameters)
        let (batch, memory) = randomBatch(c, rows: 40, seed: 5)
        withExtendedLifetime(memory) {
            let asItems = network.logits(batch)
            batch.itemIsQuery = (0..<40).map { $0 % 2 == 0 }
            batch.historyIsQuery = batch.historyID.indices.map { $0 % 3 == 0 }
            #expect(batch.problem(c, tables: tables) == nil)
            let asQueries = network.logits(batch)
            #expect(zip(asItems, asQueries).allSatisfy { abs($0 - $1) < 1e-5 })
            // Now the two kinds differ, and only the flagged rows follow the query's table.
            tables[1].row(1)[0] += 1
            #expect(bits(network.logits(batch)) != bits(asQueries))
        }
    }

    @Test func `gate weights can be read by domain and sum to one where there is an aspect`() {
        let c = smallConfiguration().variant("mdf")
        let network = Network(perturbedParameters(c, seed: 1))
        let (batch, memory) = randomBatch(c, rows: 60, seed: 2)
        withExtendedLifetime(memory) { network.forward(batch) }
        for means in network.gateMeans() {
            #expect(abs(means.item.reduce(0, +) - 1) < 1e-5)
            #expect(means.query.reduce(0, +) <= 1.0001)
            if means.domain == 1 { #expect(means.query == [0, 0], "it never has a query") }
        }
    }

    @Test func `equal values of different fields fall into different rows`() {
        let city = FieldHash(field: "city", rows: 1 << 20)
        let device = FieldHash(field: "device", rows: 1 << 20)
        let (a, b) = ("Oslo".lend { city.row(of: $0) }, "Oslo".lend { device.row(of: $0) })
        #expect(a != b && a == "Oslo".lend { city.row(of: $0) })
        #expect(0..<(1 << 20) ~= Int(a))
    }

    @Test func `a batch with an id outside of its table is found`() {
        let c = smallConfiguration()
        let parameters = Parameters(c)
        let (batch, memory) = randomBatch(c, rows: 5, seed: 1)
        withExtendedLifetime(memory) {
            #expect(batch.problem(c, tables: parameters.tables) == nil)
            batch.itemID[2] = 12
            #expect(batch.problem(c, tables: parameters.tables) == "item.id 12 of 12")
        }
    }

    @Test func `a stratified batch holds every domain in its share`() {
        let c = smallConfiguration()
        var set = ExampleSet(c)
        for m in 0..<3 {
            for _ in 0..<[1000, 250, 10][m] { set.domain.append(Int32(m)) }
        }
        let rows = (0..<Int32(set.count)).map { $0 }
        var sampler = StratifiedSampler(set, rows: rows, batch: 100, random: Random(seed: 1))
        var seen = Set<Int32>()
        for _ in 0..<40 {
            let batch = sampler.next()
            let counts = (0..<3).map { m in batch.filter { set.domain[Int($0)] == Int32(m) }.count }
            #expect(counts[0] == 62 && counts[1] == 31 && counts[2] == 6)
            #expect(Set(batch).count == batch.count, "no row twice in a batch")
            seen.formUnion(batch)
        }
        #expect(seen.count == set.count, "every row comes in turn")
    }

    @Test func `first-order ANIL keeps the head's start and learns from the adapted head`() {
        let c = smallConfiguration().variant("mdf")
        let parameters = perturbedParameters(c, seed: 2)
        let network = Network(parameters)
        let optimizer = Optimizer(parameters, OptimizerSettings(rate: 0, tableRate: 0))
        let (support, memory1) = randomBatch(c, rows: 20, seed: 3)
        let (query, memory2) = randomBatch(c, rows: 20, seed: 4)
        withExtendedLifetime((memory1, memory2)) {
            let before = parameters.values("tower.w1")
            let plain = network.backward(query, alpha: 0).bce
            let adapted = Trainer.anilStep(
                network, optimizer, support: support, query: query, innerRate: 0.1)
            #expect(adapted.bce != plain)
            #expect(parameters.values("tower.w1") == before, "rates of 0 move nothing")
        }
    }
}
