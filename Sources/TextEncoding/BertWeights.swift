// The weights of a BERT, where they lie in the mapped file; only half-precision ones are copied.

import Tensors

/// Pointers to a BERT's tensors, valid while this object lives.
final class BertWeights {
    struct Linear {
        /// (out, in)
        let weight: UnsafePointer<Float>
        let bias: UnsafePointer<Float>
    }

    struct Norm {
        let gamma: UnsafePointer<Float>
        let beta: UnsafePointer<Float>
    }

    struct Layer {
        let query: Linear, key: Linear, value: Linear
        let attention: Linear
        let attentionNorm: Norm
        let rise: Linear
        let fall: Linear
        let fallNorm: Norm
    }

    let words: UnsafePointer<Float>
    let positions: UnsafePointer<Float>
    let types: UnsafePointer<Float>
    let embeddingNorm: Norm
    let layers: [Layer]
    let file: SafetensorsFile
    private let copies: [Block]

    /// Finds every tensor of `configuration` in the file at `path`, by the names of transformers.
    init(_ path: String, _ c: BertConfiguration) throws {
        let file = try SafetensorsFile(path)
        let prefix = file.entries["bert.embeddings.word_embeddings.weight"] == nil ? "" : "bert."
        var copies: [Block] = []
        func tensor(_ name: String, _ shape: [Int]) throws -> UnsafePointer<Float> {
            let name = prefix + name
            if file.entries[name]?.type == "F32" {
                if let pointer = try file.mapped(name, shape: shape) { return pointer }
            }
            let block = try file.widened(name, shape: shape)
            copies.append(block)
            return UnsafePointer(block.base)
        }
        func linear(_ name: String, _ outputs: Int, _ inputs: Int) throws -> Linear {
            Linear(
                weight: try tensor(name + ".weight", [outputs, inputs]),
                bias: try tensor(name + ".bias", [outputs]))
        }
        func norm(_ name: String) throws -> Norm {
            Norm(
                gamma: try tensor(name + ".weight", [c.hidden]),
                beta: try tensor(name + ".bias", [c.hidden]))
        }
        let H = c.hidden
        words = try tensor("embeddings.word_embeddings.weight", [c.vocabulary, H])
        positions = try tensor("embeddings.position_embeddings.weight", [c.positions, H])
        types = try tensor("embeddings.token_type_embeddings.weight", [c.types, H])
        embeddingNorm = try norm("embeddings.LayerNorm")
        layers = try (0..<c.layers).map { i in
            let layer = "encoder.layer.\(i)."
            return Layer(
                query: try linear(layer + "attention.self.query", H, H),
                key: try linear(layer + "attention.self.key", H, H),
                value: try linear(layer + "attention.self.value", H, H),
                attention: try linear(layer + "attention.output.dense", H, H),
                attentionNorm: try norm(layer + "attention.output.LayerNorm"),
                rise: try linear(layer + "intermediate.dense", c.intermediate, H),
                fall: try linear(layer + "output.dense", H, c.intermediate),
                fallNorm: try norm(layer + "output.LayerNorm"))
        }
        if file.entries["\(prefix)encoder.layer.\(c.layers).output.dense.weight"] != nil {
            throw SafetensorsError(path, "has more than the \(c.layers) layers of config.json")
        }
        self.file = file
        self.copies = copies
    }
}
