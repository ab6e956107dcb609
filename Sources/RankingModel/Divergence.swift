// How far the domains are apart behind the domain adaptive layer, and the pull that brings them closer.

import DeterministicMath
import Tensors

extension Network {
    /// Adds alpha · ∂L_div/∂h to `adapted.dh`; returns L_div.
    func divergenceBackward(alpha: Float) -> Float {
        switch configuration.div {
        case .none: 0
        case .js: jensenShannon(alpha: alpha, dh: adapted.dh)
        case .mmd: meanDiscrepancy(alpha: alpha, dh: adapted.dh)
        }
    }

    /// L_div alone, where nothing in front of the experts learns.
    func divergenceValue() -> Float {
        switch configuration.div {
        case .none: 0
        case .js: jensenShannon(alpha: 0, dh: nil)
        case .mmd: meanDiscrepancy(alpha: 0, dh: nil)
        }
    }

    /// The mean of JS(p_m, p_n) over pairs of domains with at least `n_min` rows, where p_m is the
    /// mean of softmax(h / tau) over domain m's rows.
    ///
    /// The mean of the softmax, not the softmax of the mean, and KL(p ‖ a) with a = (p + q) / 2, not
    /// KL(a ‖ p): the traps of paper.md, section 4. ∂JS/∂p = ½ (ln p - ln a).
    /// - Source: specification, section 5.1.
    private func jensenShannon(alpha: Float, dh: UnsafeMutablePointer<Float>?) -> Float {
        let c = configuration
        let H = c.H
        let members = segments.filter { $0.count >= c.n_min }
        let k = members.count
        if k < 2 { return 0 }
        let soft = arena.floats(B * H)
        let h = adapted.h
        workers.split(B, mode: mode) { _, lower, upper in
            Kernels.softmaxRows(
                soft + lower * H, h + lower * H, rows: upper - lower, columns: H, bias: nil,
                sharpness: 1 / c.tau)
        }
        let means = arena.zeros(k * H)
        let logs = arena.floats(k * H)
        for (i, segment) in members.enumerated() {
            let p = means + i * H
            Kernels.addColumnSums(
                p, soft + segment.lower * H, stride: H, rows: segment.count, columns: H)
            Kernels.scale(p, p, 1 / Float(segment.count), count: H)
            if c.div_ema > 0 { remember(p, of: segment.domain) }
            for j in 0..<H { logs[i * H + j] = max(p[j], 1e-37) }
        }
        Kernels.logarithm(logs, logs, count: k * H)
        let dmeans = arena.zeros(k * H)
        let middle = arena.floats(H)
        let pairs = Float(k * (k - 1) / 2)
        var total: Float = 0
        for i in 0..<k {
            for j in i + 1..<k {
                let (p, q) = (means + i * H, means + j * H)
                for o in 0..<H { middle[o] = max(0.5 * (p[o] + q[o]), 1e-37) }
                Kernels.logarithm(middle, middle, count: H)
                total +=
                    0.5
                    * (Kernels.dot(p, logs + i * H, count: H) - Kernels.dot(p, middle, count: H))
                total +=
                    0.5
                    * (Kernels.dot(q, logs + j * H, count: H) - Kernels.dot(q, middle, count: H))
                Kernels.addScaled(dmeans + i * H, middle, -0.5 / pairs, count: H)
                Kernels.addScaled(dmeans + j * H, middle, -0.5 / pairs, count: H)
            }
        }
        guard let dh, alpha != 0 else { return total / pairs }
        for (i, segment) in members.enumerated() {
            let dp = dmeans + i * H
            Kernels.addScaled(dp, logs + i * H, 0.5 * Float(k - 1) / pairs, count: H)
            let share = alpha * (1 - c.div_ema) / (Float(segment.count) * c.tau)
            for r in segment.lower..<segment.upper {
                let s = soft + r * H
                let row = dh + r * H
                let mean = Kernels.dot(dp, s, count: H)
                // dh += share · s * (dp - mean)
                Kernels.multiply(middle, s, dp, count: H)
                Kernels.addScaled(middle, s, -mean, count: H)
                Kernels.addScaled(row, middle, share, count: H)
            }
        }
        return total / pairs
    }

    /// Replaces a batch's mean distribution by its moving average, which is kept.
    private func remember(_ p: UnsafeMutablePointer<Float>, of domain: Int) {
        let H = configuration.H
        let kept = meanDistributions.base + domain * H
        if hasMeanDistribution[domain] {
            Kernels.scale(p, p, 1 - configuration.div_ema, count: H)
            Kernels.addScaled(p, kept, configuration.div_ema, count: H)
        }
        kept.update(from: p, count: H)
        hasMeanDistribution[domain] = true
    }

    /// The mean over pairs of domains of the unbiased MMD² with five RBF kernels around the median
    /// distance; the median counts as a constant.
    ///
    /// - Source: Gretton 2012; specification, section 5.1.
    private func meanDiscrepancy(alpha: Float, dh: UnsafeMutablePointer<Float>?) -> Float {
        let c = configuration
        let H = c.H
        let members = segments.filter { $0.count >= c.n_min }
        let k = members.count
        if k < 2 { return 0 }
        let most = 2 * c.mmd_cap
        let squares = arena.floats(most)
        let distances = arena.floats(most * most)
        let sorted = arena.floats(most * most)
        let kernel = arena.floats(most)
        let weights = arena.floats(most * most)
        let rows = arena.floats(most * H)
        let drows = arena.floats(most * H)
        let scale = 2 / Float(k * (k - 1))
        var total: Float = 0
        for i in 0..<k {
            for j in i + 1..<k {
                let n = min(members[i].count, c.mmd_cap)
                let m = min(members[j].count, c.mmd_cap)
                let N = n + m
                rows.update(from: adapted.h + members[i].lower * H, count: n * H)
                (rows + n * H).update(from: adapted.h + members[j].lower * H, count: m * H)
                for a in 0..<N {
                    squares[a] = Kernels.dot(rows + a * H, rows + a * H, count: H)
                }
                Product.linear(
                    Matrix(distances, N, N), Matrix(rows, N, H), Matrix(rows, N, H))
                var count = 0
                for a in 0..<N {
                    for b in 0..<N {
                        let D = max(0, squares[a] + squares[b] - 2 * distances[a * N + b])
                        distances[a * N + b] = D
                        if b > a {
                            sorted[count] = D
                            count += 1
                        }
                    }
                }
                let median = lowerMedian(sorted, count)
                var value: Float = 0
                weights.update(repeating: 0, count: N * N)
                for ratio in [0.0625, 0.25, 1, 4, 16] as [Float] {
                    let sharp = -1 / (2 * ratio * median)
                    for a in 0..<N {
                        let w = weights + a * N
                        Kernels.scale(kernel, distances + a * N, sharp, count: N)
                        Kernels.exponential(kernel, kernel, count: N)
                        kernel[a] = 0
                        let inX = a < n
                        let toX: Float = inX ? 1 / Float(n * (n - 1)) : -1 / Float(n * m)
                        let toY: Float = inX ? -1 / Float(n * m) : 1 / Float(m * (m - 1))
                        var (sumX, sumY): (Float, Float) = (0, 0)
                        for b in 0..<n { sumX += kernel[b] }
                        for b in n..<N { sumY += kernel[b] }
                        value += toX * sumX + toY * sumY
                        for b in 0..<n { w[b] += toX * sharp * kernel[b] }
                        for b in n..<N { w[b] += toY * sharp * kernel[b] }
                    }
                }
                total += value
                guard let dh, alpha != 0 else { continue }
                // dL/da = Σ_b 4 w_ab (a - b): each unordered pair stands twice in the sum above.
                Product.back(Matrix(drows, N, H), Matrix(weights, N, N), Matrix(rows, N, H))
                for a in 0..<N {
                    var sum: Float = 0
                    for b in 0..<N { sum += weights[a * N + b] }
                    let target =
                        a < n
                        ? dh + (members[i].lower + a) * H : dh + (members[j].lower + a - n) * H
                    Kernels.addScaled(target, rows + a * H, 4 * sum * alpha * scale, count: H)
                    Kernels.addScaled(target, drows + a * H, -4 * alpha * scale, count: H)
                }
            }
        }
        return total * scale
    }

    /// Element ⌊(count - 1) / 2⌋ of the sorted values, by selection (Hoare); the values are reordered.
    private func lowerMedian(_ values: UnsafeMutablePointer<Float>, _ count: Int) -> Float {
        let target = (count - 1) / 2
        var (low, high) = (0, count - 1)
        while low < high {
            let pivot = values[(low + high) / 2]
            var (i, j) = (low, high)
            while i <= j {
                while values[i] < pivot { i += 1 }
                while values[j] > pivot { j -= 1 }
                if i <= j {
                    (values[i], values[j]) = (values[j], values[i])
                    i += 1
                    j -= 1
                }
            }
            if target <= j {
                high = j
            } else if target >= i {
                low = i
            } else {
                return values[target]
            }
        }
        return values[target]
    }
}
