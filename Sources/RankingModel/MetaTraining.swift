// ANIL, a transfer baseline: pretraining that knows its heads will be finetuned.

import DeterministicMath
import Tensors

extension Trainer {
    /// One first-order ANIL step on one domain: the head takes `innerSteps` gradient steps on the
    /// support rows, then everything learns from the query rows as that head sees them, and the head
    /// starts the next time from where it was, moved by the same gradient.
    ///
    /// - Parameters:
    ///   - support, query: rows of one domain; what finetuning would see, and what it is judged by.
    ///   - innerRate: the rate of the plain gradient steps on the towers.
    /// - Returns: the query rows' loss after the inner steps.
    /// - Source: Raghu 2020 (ANIL); first order as in Nichol 2018.
    @discardableResult
    public static func anilStep(
        _ network: Network, _ optimizer: Optimizer, support: Batch, query: Batch, innerRate: Float,
        innerSteps: Int = 1
    ) -> StepResult {
        let parameters = network.parameters
        let towers = parameters.layout.tensors.filter { $0.name.hasPrefix("tower.") }
        let kept = Block(copying: parameters.block)
        network.freeze(.head)
        for _ in 0..<innerSteps {
            _ = network.backward(support, alpha: 0)
            for tensor in towers {
                for segment in network.headSegments {
                    let first = tensor.range.lowerBound + segment.head * tensor.rowCount
                    Kernels.addScaled(
                        network.weight(first), network.gradient(first), -innerRate,
                        count: tensor.rowCount)
                }
            }
        }
        network.freeze(.full)
        let result = network.backward(query, alpha: 0)
        for tensor in towers {
            network.weight(tensor.range.lowerBound).update(
                from: kept.base + tensor.range.lowerBound, count: tensor.range.count)
        }
        optimizer.step(network)
        return result
    }
}
