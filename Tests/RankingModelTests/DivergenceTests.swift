// The traps of Jensen–Shannon divergence (paper.md, section 4), each shown not to be ours.

import DeterministicMath
import Tensors
import Testing

@testable import RankingModel

@Suite struct DivergenceTests {
    /// L_div of given rows of h by domain.
    func divergence(
        _ domains: [[[Float]]], least: Int = 1, average: Float = 0, tau: Float = 1
    ) -> Double {
        var c = ModelConfiguration(M: domains.count)
        c.H = domains[0][0].count
        (c.div, c.n_min, c.div_ema, c.tau) = (.js, least, average, tau)
        let network = Network(Parameters(c))
        network.mode = .train
        network.arena.reset()
        var rows: [Float] = []
        for (m, domain) in domains.enumerated() {
            network.segments.append(
                DomainSegment(domain: m, lower: network.B, upper: network.B + domain.count))
            network.B += domain.count
            rows += domain.flatMap { $0 }
        }
        network.adapted.h = network.arena.floats(rows.count)
        for (i, value) in rows.enumerated() { network.adapted.h[i] = value }
        return Double(network.divergenceValue())
    }

    func noise(_ rows: Int, _ H: Int, seed: UInt64, shift: [Float]? = nil, scale: Float = 1)
        -> [[Float]]
    {
        var random = Random(seed: seed)
        return (0..<rows).map { _ in
            (0..<H).map { j in Float(random.normal()) * scale + (shift?[j] ?? 0) }
        }
    }

    @Test func `distributions that share nothing are ln 2 apart`() {
        // KL(a ‖ p) instead of KL(p ‖ a) gives 9.67 here, averaged logarithms give 10.36.
        let apart = divergence([[[40, 0, 0, 0]], [[0, 40, 0, 0]]])
        #expect(abs(apart - Math.log(2.0)) < 1e-6)
    }

    @Test func `a domain's distribution is the mean of softmaxes, not the softmax of the mean`() {
        let p = 0.5 * (Math.sigmoid(4.0) + 0.5)
        func js(_ p: Double, _ q: Double) -> Double {
            func half(_ a: Double, _ b: Double) -> Double {
                a * Math.log(2 * a / (a + b))
            }
            return 0.5 * (half(p, q) + half(1 - p, 1 - q) + half(q, p) + half(1 - q, 1 - p))
        }
        let ours = divergence([[[4, 0], [0, 0]], [[0, 0], [0, 0]]])
        #expect(abs(ours - js(p, 0.5)) < 1e-6)
        #expect(abs(ours - js(Math.sigmoid(2.0), 0.5)) > 0.03)
    }

    @Test func `it is blind to a common offset and nearly to scale, hence the norm in front`() {
        let base = noise(512, 64, seed: 1)
        let offset = base.map { $0.map { $0 + 3 } }
        #expect(divergence([base, offset]) < 1e-5)
        let wide = divergence([noise(1024, 64, seed: 2), noise(1024, 64, seed: 3, scale: 2)])
        let shift = noise(1, 64, seed: 9)[0].map { $0 * 0.5 }
        let moved = divergence([noise(1024, 64, seed: 2), noise(1024, 64, seed: 3, shift: shift)])
        #expect(wide < 0.005 && moved > 0.015, "scale \(wide), shift \(moved)")
    }

    @Test func `with sixteen rows noise looks like half a sigma of shift`() {
        func floor(_ rows: Int) -> Double {
            divergence([noise(rows, 64, seed: 5), noise(rows, 64, seed: 6)])
        }
        #expect(floor(16) > 0.012 && floor(256) < 0.003)
    }

    @Test func `a moving average over batches lowers the noise floor`() {
        var c = ModelConfiguration(M: 2)
        (c.H, c.div, c.n_min, c.div_ema) = (64, .js, 2, 0.9)
        let network = Network(Parameters(c))
        var values: [Float] = []
        for step in 0..<40 {
            network.mode = .train
            network.arena.reset()
            network.segments = [
                DomainSegment(domain: 0, lower: 0, upper: 16),
                DomainSegment(domain: 1, lower: 16, upper: 32),
            ]
            network.B = 32
            network.adapted.h = network.arena.floats(32 * 64)
            let rows = noise(32, 64, seed: UInt64(1000 + step)).flatMap { $0 }
            for (i, value) in rows.enumerated() { network.adapted.h[i] = value }
            values.append(network.divergenceValue())
        }
        #expect(values[39] < values[0] / 4, "\(values[0]) → \(values[39])")
    }

    @Test func `domains with too few rows, and a single domain, add nothing`() {
        let a = noise(8, 6, seed: 1)
        let b = noise(8, 6, seed: 2)
        let few = noise(1, 6, seed: 3)
        #expect(divergence([a, b, few], least: 2) == divergence([a, b], least: 2))
        #expect(divergence([a, few], least: 2) == 0)
    }
}
