// A domain that was not there in pretraining starts as the mean of those that were.

import Tensors

extension Parameters {
    /// These weights with one more domain, whose rows are the mean of the rows of `sources`.
    ///
    /// Rows of heads are averaged task by task. Expert gates and experts were drawn alike, so their
    /// mean means something (specification, sections 7 and 11).
    /// - Parameter sources: domains to average; nil for all.
    public func addingDomain(meanOf sources: [Int]? = nil) -> Parameters {
        var c = configuration
        c.M += 1
        let larger = Parameters(c)
        for (table, source) in zip(larger.tables, tables) {
            table.grow(to: source.rows)
            table.weights.base.update(from: source.weights.base, count: source.rows * source.width)
        }
        Self.extend(block, layout, to: larger.block, larger.layout, configuration, sources)
        return larger
    }

    /// Copies one block of the old layout to the new one, the new domain's rows being means.
    static func extend(
        _ old: Block, _ layout: Layout, to new: Block, _ larger: Layout,
        _ configuration: ModelConfiguration, _ sources: [Int]?
    ) {
        let M = configuration.M
        let domains = sources ?? Array(0..<M)
        precondition(
            !domains.isEmpty && domains.allSatisfy { $0 < M }, "sources \(domains) of \(M)")
        let T = configuration.tasks.count
        for (tensor, target) in zip(layout.tensors, larger.tensors) {
            let values = old.base + tensor.range.lowerBound
            let out = new.base + target.range.lowerBound
            out.update(from: values, count: tensor.range.count)
            let row = tensor.rowCount
            // The shared gate of an earlier PLE level has a row for each expert, own ones first.
            if tensor.name.hasSuffix(".shared.weight") || tensor.name.hasSuffix(".shared.bias") {
                let own = configuration.ple_sp
                let width = tensor.shape.count > 1 ? tensor.shape[1] : 1
                let first = M * own * width
                let shared = tensor.range.count - first
                (out + first + own * width).update(from: values + first, count: shared)
                for s in 0..<own {
                    Self.mean(
                        out + first + s * width, width,
                        domains.map { values + ($0 * own + s) * width })
                }
                continue
            }
            switch axis(of: tensor.name) {
            case .plain: continue
            case .domain:
                let size = tensor.shape.count > 1 ? row : tensor.range.count / M
                Self.mean(out + M * size, size, domains.map { values + $0 * size })
            case .head:
                let size = tensor.range.count / (M * T)
                for t in 0..<T {
                    Self.mean(
                        out + (M * T + t) * size, size,
                        domains.map { values + ($0 * T + t) * size })
                }
            }
        }
    }

    private static func mean(
        _ out: UnsafeMutablePointer<Float>, _ count: Int, _ rows: [UnsafeMutablePointer<Float>]
    ) {
        for i in 0..<count {
            var sum: Float = 0
            for row in rows { sum += row[i] }
            out[i] = sum / Float(rows.count)
        }
    }
}
