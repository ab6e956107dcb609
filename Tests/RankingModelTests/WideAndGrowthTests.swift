// The wide part's corrections and uncertainty, growing vocabularies, warm starts.

import DeterministicMath
import Tensors
import Testing

@testable import RankingModel

@Suite struct WideAndGrowthTests {
    @Test func `a first head believes the rates and nothing else`() {
        let part = WidePart(positions: 25, domains: 2, network: false)
        var x = WideInput()
        (x.itemRate, x.userRate, x.itemCount) = (0.5, -0.2, 3)
        #expect(part.logit(x) == 0.5 - 0.2)
    }

    @Test func `a correction raises the logit, by at most the rate a coordinate`() {
        var part = WidePart(positions: 25, domains: 2, network: false)
        var x = WideInput()
        (x.itemRate, x.position) = (1, 3)
        for _ in 0..<50 { part.learn(Array(repeating: (x, 0), count: 32)) }
        let before = part
        part.correct(x, batch: 32)
        #expect(part.logit(x) > before.logit(x))
        for (a, b) in zip(part.weights, before.weights) { #expect(abs(a - b) <= part.rate) }
        #expect(part.squares == before.squares)
    }

    @Test func `labels make a score surer, a new domain less sure`() {
        var part = WidePart(positions: 25, domains: 2, network: false)
        let x = WideInput()
        let start = part.deviation(x, itemRate: 0.2, itemImpressions: 0)
        for _ in 0..<30 { part.learn(Array(repeating: (x, 0), count: 32)) }
        let later = part.deviation(x, itemRate: 0.2, itemImpressions: 500)
        #expect(later < start / 2)
        #expect(
            part.deviation(x, itemRate: 0.2, itemImpressions: 500, isNewDomain: true) > later)
    }

    @Test func `an id gets its row when it has been seen often enough, and starts unknown`() {
        var vocabulary = GrowingVocabulary(admission: 3, ttl: 100, cap: 4)
        #expect(vocabulary.see(7, at: 1) == .unknown)
        #expect(vocabulary.see(7, at: 2) == .unknown)
        #expect(vocabulary.row(of: 7) == 0)
        #expect(vocabulary.see(7, at: 3) == .born(1))
        #expect(vocabulary.see(7, at: 4) == .known(1))
        let table = EmbeddingTable("item.id.table", rows: 1, width: 2)
        table.row(0)[1] = 5
        table.begin(row: 1)
        #expect(table.rows == 2 && table.row(1)[1] == 5)
    }

    @Test func `rows unseen for the ttl serve others, and the cap gives up the oldest`() {
        var vocabulary = GrowingVocabulary(admission: 1, ttl: 100, cap: 3)
        #expect(vocabulary.see(10, at: 0) == .born(1))
        #expect(vocabulary.see(11, at: 50) == .born(2))
        #expect(vocabulary.see(12, at: 60) == .born(1), "10 was seen longest ago")
        #expect(vocabulary.row(of: 10) == 0)
        #expect(vocabulary.evict(at: 155) == [2])
        #expect(vocabulary.see(13, at: 156) == .born(2))
        #expect(vocabulary.count == 3 && vocabulary.admitted == 2)
    }

    @Test func `a new domain's rows inherit the mean of the accumulators`() {
        let c = smallConfiguration().variant("mdf")
        let parameters = perturbedParameters(c, seed: 1)
        let network = Network(parameters)
        let optimizer = Optimizer(parameters, OptimizerSettings())
        let (batch, memory) = randomBatch(c, rows: 40, seed: 2)
        _ = withExtendedLifetime(memory) { network.backward(batch, alpha: 0.1) }
        optimizer.step(network)
        let larger = parameters.addingDomain()
        let warm = optimizer.addingDomain(parameters, to: larger)
        let old = parameters.layout.tensor("tower.w1")!
        let new = larger.layout.tensor("tower.w1")!
        for i in 0..<old.rowCount {
            let sum = (0..<3).reduce(Float(0)) {
                $0 + optimizer.squares.base[old.range.lowerBound + $1 * old.rowCount + i]
            }
            #expect(warm.squares.base[new.range.lowerBound + 3 * old.rowCount + i] == sum / 3)
        }
    }

    @Test func `rows never trained take the median of the trained ones' accumulators`() {
        let c = smallConfiguration()
        let parameters = Parameters(c)
        let optimizer = Optimizer(parameters, OptimizerSettings())
        var known = KnownIDs(
            user: Array(repeating: false, count: 6), item: Array(repeating: false, count: 12),
            query: Array(repeating: false, count: 5))
        for r in [1, 2, 3] {
            known.item[r] = true
            optimizer.tableSquares[0].base[r * c.d_id] = [4, 9, 5][r - 1]
        }
        optimizer.warmUntrainedRows(parameters, known: known)
        #expect(optimizer.tableSquares[0].base[7 * c.d_id] == 5)
        #expect(optimizer.tableSquares[0].base[2 * c.d_id] == 9)
        #expect(optimizer.tableSquares[0].base[0] == 0)
    }

    @Test func `accumulators that forget halve in their half-life`() {
        let share = OptimizerSettings.share(halfLife: 3200, examples: 32)
        let left = (0..<100).reduce(1.0) { left, _ in left * Double(share) }
        #expect(abs(left - 0.5) < 1e-4)
    }
}
