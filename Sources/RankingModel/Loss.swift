// The loss of a batch: each head's mean surprise, summed over the heads that have labels.

import DeterministicMath
import Tensors

extension Network {
    /// Fills `dlogits`; returns the sum over heads of the mean binary cross entropy.
    ///
    /// A click's and a relevance's loss is the cross entropy of their own probability; a conversion's
    /// is that of p(click) · p(conversion) over all impressions, so both heads learn from it.
    /// - Source: specification, sections 5 and 11; ESMM, Ma 2018.
    func lossBackward(_ batch: Batch) -> Float {
        let tasks = configuration.tasks
        let T = tasks.count
        let click = tasks.firstIndex(of: .click) ?? 0
        dlogits.update(repeating: 0, count: headRows)
        let masked = !batch.labelled.isEmpty
        var total = 0.0
        for segment in headSegments {
            var present = 0
            for r in segment.lower..<segment.upper {
                if !masked || batch.labelled[Int(order[r]) * T + segment.task] { present += 1 }
            }
            if present == 0 { continue }
            let share = 1 / Float(present)
            let clickOutput = segment.output + (click - segment.task) * segment.count
            var sum = 0.0
            for r in segment.lower..<segment.upper {
                let place = Int(order[r]) * T + segment.task
                if masked && !batch.labelled[place] { continue }
                let label = batch.labels[place]
                let i = segment.output + r - segment.lower
                if tasks[segment.task] == .conversion {
                    let j = clickOutput + r - segment.lower
                    let (loss, dclick, dconversion) = Self.jointLoss(
                        click: logits[j], conversion: logits[i], label: label)
                    sum += Double(loss)
                    dlogits[j] += dclick * share
                    dlogits[i] += dconversion * share
                } else {
                    let z = logits[i]
                    let e = Math.exp(-abs(z))
                    sum += Double(max(z, 0) - z * label + Math.log1p(e))
                    let p = z >= 0 ? 1 / (1 + e) : e / (1 + e)
                    dlogits[i] += (p - label) * share
                }
            }
            total += sum * Double(share)
        }
        return Float(total)
    }

    /// Cross entropy of p(click) · p(conversion) against `label`, and its slopes.
    static func jointLoss(
        click: Float, conversion: Float, label: Float
    ) -> (loss: Float, dclick: Float, dconversion: Float) {
        let (a, b) = (Double(click), Double(conversion))
        let (p, q) = (Math.sigmoid(a), Math.sigmoid(b))
        let (np, nq) = (Math.sigmoid(-a), Math.sigmoid(-b))
        // 1 - pq without cancellation.
        let rest = max(np + p * nq, 1e-300)
        let y = Double(label)
        let loss = y * (Math.softplus(-a) + Math.softplus(-b)) - (1 - y) * Math.log(rest)
        let pull = (1 - y) * p * q / rest
        return (Float(loss), Float((pull - y) * np), Float((pull - y) * nq))
    }
}
