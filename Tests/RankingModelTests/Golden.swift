// The golden files: inputs and numbers of the independent reference program.

import Foundation
import JSON
import RankingModel
import Tensors

/// One case of the reference: configuration, weights and expected numbers.
struct Golden {
    static let cases = [
        "mdf", "gate_mean", "gate_cls", "div_none", "div_mmd", "hist_din", "mmoe", "ple",
        "ple_da_js", "shared_bottom", "single", "star",
    ]

    let file: SafetensorsFile
    let configuration: ModelConfiguration

    static func path(_ name: String) -> String {
        Bundle.module.resourceURL!.appendingPathComponent("golden/\(name)").path
    }

    init(_ name: String) throws {
        file = try SafetensorsFile(Self.path(name + ".safetensors"))
        configuration = try ModelConfiguration(JSONValue(parsing: file.metadata["config"]!))
    }

    /// The weights stored under `prefix`.
    func parameters(_ prefix: String = "weight.") throws -> Parameters {
        let parameters = Parameters(configuration)
        try parameters.forEachTensor { name, shape, values in
            try file.withFloats(prefix + name, shape: shape) { source, count in
                values.update(from: source, count: count)
            }
        }
        return parameters
    }

    func doubles(_ name: String) throws -> [Double] {
        try file.words(name, as: Double.self, named: "F64")
    }

    /// Batch `k` of the shared inputs.
    static func batch(
        _ k: Int, _ configuration: ModelConfiguration, domain: Int32? = nil
    ) throws -> (Batch, Block) {
        let inputs = try SafetensorsFile(path("inputs.safetensors"))
        let p = "batch\(k)."
        func ids(_ name: String) throws -> [Int32] {
            try inputs.words(p + name, as: Int64.self, named: "I64").map { Int32($0) }
        }
        let batch = Batch(configuration)
        batch.domain = try ids("domain")
        if let domain { batch.domain = batch.domain.map { _ in domain } }
        batch.userID = try ids("user.id")
        batch.itemID = try ids("item.id")
        batch.itemText = try ids("item.text")
        batch.queryPresent = try inputs.words(p + "query.present", as: UInt8.self, named: "BOOL")
            .map { $0 != 0 }
        batch.queryID = try ids("query.id")
        batch.queryText = try ids("query.text")
        batch.historyID = try ids("hist.id")
        batch.historyText = try ids("hist.text")
        batch.historyOffsets = try ids("hist.offsets")
        batch.itemSparse = try configuration.item_sparse.map {
            Bags(
                ids: try ids("item.sparse.\($0.name).ids"),
                offsets: try ids("item.sparse.\($0.name).offsets"))
        }
        batch.userSparse = try configuration.user_sparse.map {
            Bags(
                ids: try ids("user.sparse.\($0.name).ids"),
                offsets: try ids("user.sparse.\($0.name).offsets"))
        }
        batch.context = try configuration.ctx.map { try ids("ctx.\($0.name)") }
        batch.dense = try inputs.floats(p + "dense")
        batch.labels = try inputs.floats(p + "label")
        let entry = inputs.entries[p + "text.store"]!
        let block = Block(count: entry.count + 16)
        try inputs.withFloats(p + "text.store") { block.base.update(from: $0, count: $1) }
        batch.texts = TextStore(block.base, rows: entry.shape[0], width: entry.shape[1])
        return (batch, block)
    }
}

/// The largest absolute difference of two runs of numbers.
func largestDifference(_ a: [Double], _ b: [Double]) -> Double {
    precondition(a.count == b.count, "\(a.count) against \(b.count)")
    return zip(a, b).reduce(0) { max($0, abs($1.0 - $1.1)) }
}

extension Parameters {
    /// A tensor's floats as doubles.
    func values(_ name: String) -> [Double] {
        var found: [Double] = []
        forEachTensor { other, shape, floats in
            if other == name { found = (0..<shape.reduce(1, *)).map { Double(floats[$0]) } }
        }
        return found
    }
}
