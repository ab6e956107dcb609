// Finite differences: every tensor's gradient against the slope of the loss, for every layer.

import DeterministicMath
import Tensors
import Testing

@testable import RankingModel

@Suite struct SlopeTests {
    /// Checks the gradient of every tensor and table along a random direction each.
    func check(
        _ c: ModelConfiguration, labelled: Bool = true, rows: Int = 30, queriesAsItems: Bool = false
    ) {
        let parameters = perturbedParameters(c, seed: 3)
        let network = Network(parameters)
        let (batch, memory) = randomBatch(c, rows: rows, seed: 8)
        if queriesAsItems {
            for r in batch.itemID.indices { batch.itemID[r] %= Int32(c.n_query) }
            for j in batch.historyID.indices { batch.historyID[j] %= Int32(c.n_query) }
            batch.itemIsQuery = batch.itemID.indices.map { $0 % 2 == 0 }
            batch.historyIsQuery = batch.historyID.indices.map { $0 % 3 == 0 }
        }
        if !labelled {
            var random = Random(seed: 4)
            batch.labelled = batch.labels.map { _ in random.chance(0.6) }
        }
        func loss() -> Double {
            // The moving average of the divergence is state; every evaluation starts without.
            network.hasMeanDistribution = network.hasMeanDistribution.map { _ in false }
            return Double(network.backward(batch, alpha: c.alpha).loss)
        }
        _ = loss()
        let gradients = Block(copying: network.gradients)
        var tableGradients: [[Float]] = []
        for (table, touched) in zip(parameters.tables, network.tableGradients) {
            var dense = [Float](repeating: 0, count: table.rows * table.width)
            for u in 0..<touched.count {
                for j in 0..<table.width {
                    dense[Int(touched.rows[u]) * table.width + j] =
                        touched.values[u * table.width + j]
                }
            }
            tableGradients.append(dense)
        }
        var random = Random(seed: 21)
        // A step may cross the kink of a rectified unit; then steps of two lengths give two slopes, and
        // another direction is taken. The middle one of three smooth directions counts.
        func compare(
            _ name: String, _ values: UnsafeMutablePointer<Float>, _ gradient: [Float]
        ) {
            let count = gradient.count
            let size = Double(gradient.reduce(0) { $0 + $1 * $1 }.squareRoot())
            let kept = (0..<count).map { values[$0] }
            var errors: [Double] = []
            for _ in 0..<24 where errors.count < 3 {
                var direction = (0..<count).map { _ in Float(random.normal()) }
                let length = direction.reduce(0) { $0 + $1 * $1 }.squareRoot()
                direction = direction.map { $0 / length }
                func slope(_ step: Float) -> Double {
                    func at(_ sign: Float) -> Double {
                        for i in 0..<count { values[i] = kept[i] + sign * step * direction[i] }
                        return loss()
                    }
                    return (at(1) - at(-1)) / Double(2 * step)
                }
                let (near, far) = (slope(1.5e-3), slope(3e-3))
                if abs(near - far) > 4e-4 + 0.004 * size { continue }
                let product = zip(gradient, direction).reduce(0) { $0 + $1.0 * $1.1 }
                errors.append(abs(near - Double(product)))
            }
            for i in 0..<count { values[i] = kept[i] }
            // Losses of about 3 in float32 leave 3e-4 of noise in a slope.
            errors.sort()
            let isRight = !errors.isEmpty && errors[errors.count / 2] < 6e-4 + 0.01 * size
            #expect(isRight, "\(name): errors \(errors), gradient \(size)")
        }
        withExtendedLifetime(memory) {
            for tensor in parameters.layout.tensors where !Parameters.isBuffer(tensor.name) {
                compare(
                    tensor.name, parameters.block.base + tensor.range.lowerBound,
                    tensor.range.map { gradients.base[$0] })
            }
            for (table, gradient) in zip(parameters.tables, tableGradients) {
                compare(table.name, table.weights.base, gradient)
            }
        }
    }

    @Test(arguments: ModelConfiguration.Gate.allCases)
    func `gates slope as they say`(gate: ModelConfiguration.Gate) {
        var c = smallConfiguration()
        c.gate = gate
        check(c)
    }

    @Test(arguments: ["single", "shared_bottom", "ple", "mmoe-da", "mdf"])
    func `backbones slope as they say`(variant: String) {
        check(smallConfiguration().variant(variant))
    }

    @Test func `items that are queries slope as they say`() {
        check(smallConfiguration().variant("mdf"), queriesAsItems: true)
    }

    @Test func `a history that is attended to slopes as it says`() {
        var c = smallConfiguration()
        c.hist = .din
        check(c, rows: 24)
    }

    @Test func `stacked levels of PLE slope as they say`() {
        var c = smallConfiguration().variant("ple")
        c.ple_levels = 3
        check(c, rows: 16)
    }

    @Test func `the low-rank correction and the domain's own norm slope as they say`() {
        var c = smallConfiguration().variant("mdf")
        c.low_rank = 2
        c.domain_norm = true
        check(c)
    }

    @Test func `a divergence from the moving average slopes by this batch's share`() {
        var c = smallConfiguration().variant("mdf")
        c.alpha = 0.5
        check(c)
    }

    @Test(arguments: ["mmoe", "ple", "shared_bottom", "single", "mdf"])
    func `heads of three tasks with missing labels slope as they say`(variant: String) {
        var c = smallConfiguration().variant(variant)
        c.tasks = [.click, .conversion, .relevance]
        check(c, labelled: false)
    }

    @Test func `the wide part slopes as it says`() {
        var random = Random(seed: 2)
        var part = WidePart(positions: 4, domains: 3, network: true)
        part.weights = part.weights.map { _ in random.normal() * 0.3 }
        var batch: [(WideInput, label: Double)] = []
        for k in 0..<20 {
            var x = WideInput()
            (x.itemRate, x.userRate) = (random.normal(), random.normal())
            (x.itemCount, x.userCount) = (random.uniform(), random.uniform())
            (x.deviation, x.network) = (random.normal(), random.normal())
            (x.position, x.domain) = (random.below(4), random.below(3))
            batch.append((x, k % 3 == 0 ? 1 : 0))
        }
        func loss(_ part: WidePart) -> Double {
            batch.reduce(0) {
                let z = part.logit($1.0)
                return $0 + (Math.softplus(z) - $1.label * z) / 20
            }
        }
        let gradient = part.gradient(batch)
        for i in part.weights.indices {
            var (up, down) = (part, part)
            up.weights[i] += 1e-5
            down.weights[i] -= 1e-5
            #expect(abs((loss(up) - loss(down)) / 2e-5 - gradient[i]) < 1e-8)
        }
    }

    @Test func `a conversion learns as click times conversion over all impressions`() {
        for (click, conversion, label) in [(0.3, -1.2, 1.0), (-2, 0.5, 0), (4, 5, 0), (-8, -9, 1)] {
            func loss(_ a: Double, _ b: Double) -> Double {
                let p = Math.sigmoid(a) * Math.sigmoid(b)
                return -label * Math.log(p) - (1 - label) * Math.log(1 - p)
            }
            let ours = Network.jointLoss(
                click: Float(click), conversion: Float(conversion), label: Float(label))
            let e = 1e-5
            #expect(abs(Double(ours.loss) - loss(click, conversion)) < 1e-5)
            let slopes = (
                (loss(click + e, conversion) - loss(click - e, conversion)) / (2 * e),
                (loss(click, conversion + e) - loss(click, conversion - e)) / (2 * e)
            )
            #expect(abs(Double(ours.dclick) - slopes.0) < 1e-5)
            #expect(abs(Double(ours.dconversion) - slopes.1) < 1e-5)
        }
    }
}
