// The kernels of a transformer against the same formulas in double precision, for every width of tail.

import Foundation
import Testing

@testable import Tensors

@Suite struct TransformerKernelTests {
    @Test func `gelu follows the error function to two millionths, far out too`() {
        for columns in [1, 15, 16, 17, 40] {
            let count = 300 * columns
            let y = Block(count: count + 16)
            let bias = randomBlock(columns + 16, seed: 3)
            var before: [Double] = []
            for i in 0..<count {
                y.base[i] = Float(i - count / 2) * 24 / Float(count)
                before.append(Double(y.base[i] + bias.base[i % columns]))
            }
            Kernels.addBiasGelu(
                y.base, stride: columns, rows: 300, columns: columns, bias: bias.base)
            for i in 0..<count {
                let exact = before[i] / 2 * (1 + erf(before[i] / 2.0.squareRoot()))
                #expect(abs(Double(y.base[i]) - exact) < 2e-6, "gelu(\(before[i]))")
            }
        }
    }

    @Test func `residual and norm agree with double precision`() {
        for columns in [1, 7, 16, 33, 384] {
            let rows = 5
            let y = randomBlock(rows * columns + 16, seed: 1)
            let residual = randomBlock(rows * columns + 16, seed: 2)
            let bias = randomBlock(columns + 16, seed: 3)
            let gamma = randomBlock(columns + 16, seed: 4)
            let beta = randomBlock(columns + 16, seed: 5)
            let x = (0..<rows * columns).map {
                Double(y.base[$0]) + Double(bias.base[$0 % columns]) + Double(residual.base[$0])
            }
            Kernels.addResidualNorm(
                y.base, rows: rows, columns: columns, bias: bias.base, residual: residual.base,
                gamma: gamma.base, beta: beta.base, epsilon: 1e-3)
            for r in 0..<rows {
                let row = x[r * columns..<(r + 1) * columns]
                let mean = row.reduce(0, +) / Double(columns)
                let variance = row.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(columns)
                for (j, value) in row.enumerated() {
                    let exact =
                        (value - mean) / (variance + 1e-3).squareRoot() * Double(gamma.base[j])
                        + Double(beta.base[j])
                    #expect(abs(Double(y.base[r * columns + j]) - exact) < 2e-5)
                }
            }
        }
    }
}
