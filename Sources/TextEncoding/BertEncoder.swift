// Sentence vectors by a BERT-family encoder: tokens, six or more layers, one vector a text.

import Bytes
import Tensors

/// A frozen sentence encoder such as all-MiniLM-L6-v2, computed over OpenBLAS on one thread.
///
/// Texts are sorted by length and packed one behind the other, without padding, into runs of about
/// `packTokens` tokens, so every product works on real tokens alone. The last bits of a vector may depend
/// on what it is packed with; the same call gives the same bits on one machine.
///
/// - Source: Devlin et al., 2019; Reimers and Gurevych, 2019. Tested against sentence-transformers.
public final class BertEncoder: TextEncoder {
    public let configuration: BertConfiguration
    public let identity: EncoderIdentity
    public var dimension: Int { configuration.hidden }
    /// Tokens of a text beyond this are cut off; [CLS] and [SEP] count.
    public let maximumTokens: Int

    private let weights: BertWeights
    private var tokenizer: WordPiece
    private let packTokens: Int
    private var ids: [Int32] = []
    private var scratch: Scratch

    /// What a pass writes: all (rows, …) with rows = the most tokens of a pack.
    private struct Scratch {
        let rows: Int
        let x: Block, y: Block, context: Block, triple: Block, wide: Block
        let scores: Block

        init(rows: Int, longest: Int, _ c: BertConfiguration) {
            self.rows = rows
            x = Block(count: rows * c.hidden)
            y = Block(count: rows * c.hidden)
            context = Block(count: rows * c.hidden)
            triple = Block(count: 3 * rows * c.hidden)
            wide = Block(count: rows * c.intermediate)
            scores = Block(count: longest * longest)
        }
    }

    /// Opens the model in `folder`: config.json, vocab.txt, model.safetensors, and what sentence-transformers
    /// adds to them.
    ///
    /// - Parameters:
    ///   - maximumTokens: 128 unless told; a model with fewer positions has fewer.
    ///   - packTokens: tokens that go through a layer together.
    /// - Throws: a sentence that says what is missing or not understood.
    public init(folder: String, maximumTokens: Int = 128, packTokens: Int = 512) throws {
        try KernelChoice.chooseIfNeeded()
        let folder = folder.count > 1 && folder.hasSuffix("/") ? String(folder.dropLast()) : folder
        let c = try BertConfiguration(folder: folder)
        configuration = c
        let vocabularyPath = folder + "/vocab.txt"
        guard MappedFile.exists(vocabularyPath) else {
            throw TextEncodingError(vocabularyPath, "is not there; it names the model's tokens")
        }
        let vocabulary = try MappedFile(vocabularyPath)
        let bytes = vocabulary.lend { $0.copy() }
        tokenizer = try WordPiece(vocabulary: bytes)
        guard tokenizer.count <= c.vocabulary else {
            throw TextEncodingError(
                vocabularyPath,
                "has \(tokenizer.count) tokens, more than the \(c.vocabulary) of config.json")
        }
        guard maximumTokens >= 3 else {
            throw TextEncodingError(
                folder,
                "cannot be used with at most \(maximumTokens) tokens: [CLS] and [SEP] are two")
        }
        self.maximumTokens = min(maximumTokens, c.positions)
        self.packTokens = max(packTokens, 1)
        weights = try BertWeights(folder + "/model.safetensors", c)
        scratch = Scratch(
            rows: max(packTokens, self.maximumTokens), longest: self.maximumTokens, c)
        let name = folder.split(separator: "/").last.map(String.init) ?? "model"
        identity = EncoderIdentity(
            name: "\(name)/\(c.pooling.rawValue)",
            parts: [
                weights.file.file.lend { Hash128($0) }.hex, bytes.lend { Hash128($0) }.hex,
                c.pooling.rawValue, "\(c.hidden)", "\(c.heads)", "\(c.layers)", "\(c.epsilon)",
                "\(self.maximumTokens)",
            ])
    }

    public func encode(_ texts: [[UInt8]], into vectors: UnsafeMutableBufferPointer<Float>) throws {
        let H = dimension
        precondition(
            vectors.count == texts.count * H,
            "\(texts.count) vectors of \(H) floats do not fit into \(vectors.count)")
        ids.removeAll(keepingCapacity: true)
        var offsets = [0]
        offsets.reserveCapacity(texts.count + 1)
        for text in texts {
            text.withUnsafeBufferPointer {
                _ = tokenizer.encode($0, maximum: maximumTokens, into: &ids)
            }
            offsets.append(ids.count)
        }
        func length(_ i: Int) -> Int { offsets[i + 1] - offsets[i] }
        let order = texts.indices.filter { length($0) > 2 }
            .sorted { (length($0), $0) < (length($1), $1) }
        for i in texts.indices where length(i) <= 2 {
            (vectors.baseAddress! + i * H).update(repeating: 0, count: H)
        }
        var at = 0
        while at < order.count {
            var rows = 0
            var end = at
            while end < order.count, rows + length(order[end]) <= scratch.rows {
                rows += length(order[end])
                end += 1
            }
            let pack = order[at..<end]
            ids.withUnsafeBufferPointer { ids in
                pass(pack.map { ids.baseAddress! + offsets[$0] }, pack.map(length))
            }
            var row = 0
            for i in pack {
                pool(scratch.x.base + row * H, length(i), into: vectors.baseAddress! + i * H)
                row += length(i)
            }
            at = end
        }
    }

    /// The vectors of ready-made token ids, [CLS] and [SEP] included; for tests against a reference.
    ///
    /// - Parameter vectors: (sequences.count, dimension), overwritten.
    func encode(ids sequences: [[Int32]], into vectors: UnsafeMutablePointer<Float>) {
        for (i, sequence) in sequences.enumerated() {
            precondition(sequence.count <= maximumTokens && sequence.count <= scratch.rows)
            sequence.withUnsafeBufferPointer { pass([$0.baseAddress!], [sequence.count]) }
            pool(scratch.x.base, sequence.count, into: vectors + i * dimension)
        }
    }

    /// All layers over sequences that stand one behind the other; token vectors are left in `scratch.x`.
    private func pass(_ sequences: [UnsafePointer<Int32>], _ lengths: [Int]) {
        let H = dimension
        let T = lengths.reduce(0, +)
        let s = scratch
        embed(sequences, lengths)
        for layer in weights.layers {
            let x = Matrix(s.x.base, T, H)
            let y = Matrix(s.y.base, T, H)
            let triple = Matrix(s.triple.base, T, 3 * H)
            for (i, linear) in [layer.query, layer.key, layer.value].enumerated() {
                let part = triple.columns(i * H, (i + 1) * H)
                Product.linear(part, x, matrix(linear, H, H))
                Kernels.addBias(
                    part.base, stride: part.stride, rows: T, columns: H, bias: linear.bias)
            }
            attend(triple, lengths)
            Product.linear(y, Matrix(s.context.base, T, H), matrix(layer.attention, H, H))
            normalize(y, layer.attention.bias, residual: x, layer.attentionNorm)
            let wide = Matrix(s.wide.base, T, configuration.intermediate)
            Product.linear(wide, y, matrix(layer.rise, wide.columns, H))
            Kernels.addBiasGelu(
                wide.base, stride: wide.stride, rows: T, columns: wide.columns,
                bias: layer.rise.bias)
            Product.linear(x, wide, matrix(layer.fall, H, wide.columns))
            normalize(x, layer.fall.bias, residual: y, layer.fallNorm)
        }
    }

    /// Word, position and type vectors, normalised.
    private func embed(_ sequences: [UnsafePointer<Int32>], _ lengths: [Int]) {
        let H = dimension
        var out = scratch.x.base
        for (sequence, length) in zip(sequences, lengths) {
            for t in 0..<length {
                (out + t * H).update(from: weights.words + Int(sequence[t]) * H, count: H)
            }
            Kernels.addResidualNorm(
                out, rows: length, columns: H, bias: weights.types, residual: weights.positions,
                gamma: weights.embeddingNorm.gamma, beta: weights.embeddingNorm.beta,
                epsilon: configuration.epsilon)
            out += length * H
        }
    }

    /// softmax(q kᵀ/√d) v of every head of every sequence, into `scratch.context`.
    private func attend(_ triple: Matrix, _ lengths: [Int]) {
        let H = dimension
        let d = H / configuration.heads
        let sharpness = 1 / Float(d).squareRoot()
        var row = 0
        for length in lengths {
            let rows = triple.rows(row, row + length)
            let context = Matrix(scratch.context.base + row * H, length, H)
            let scores = Matrix(scratch.scores.base, length, length)
            for head in 0..<configuration.heads {
                let place = head * d
                let query = rows.columns(place, place + d)
                let key = rows.columns(H + place, H + place + d)
                let value = rows.columns(2 * H + place, 2 * H + place + d)
                Product.linear(scores, query, key)
                Kernels.softmaxRows(
                    scores.base, scores.base, rows: length, columns: length, bias: nil,
                    sharpness: sharpness)
                Product.back(context.columns(place, place + d), scores, value)
            }
            row += length
        }
    }

    private func normalize(
        _ y: Matrix, _ bias: UnsafePointer<Float>, residual: Matrix, _ norm: BertWeights.Norm
    ) {
        Kernels.addResidualNorm(
            y.base, rows: y.rows, columns: y.columns, bias: bias, residual: residual.base,
            gamma: norm.gamma, beta: norm.beta, epsilon: configuration.epsilon)
    }

    private func matrix(_ linear: BertWeights.Linear, _ outputs: Int, _ inputs: Int) -> Matrix {
        Matrix(UnsafeMutablePointer(mutating: linear.weight), outputs, inputs)
    }

    /// One vector of unit length from `length` token vectors.
    private func pool(
        _ tokens: UnsafePointer<Float>, _ length: Int, into vector: UnsafeMutablePointer<Float>
    ) {
        let H = dimension
        switch configuration.pooling {
        case .cls: vector.update(from: tokens, count: H)
        case .mean:
            vector.update(repeating: 0, count: H)
            for t in 0..<length {
                for j in 0..<H { vector[j] += tokens[t * H + j] }
            }
        }
        var squares: Float = 0
        for j in 0..<H { squares += vector[j] * vector[j] }
        let scale = squares > 0 ? 1 / squares.squareRoot() : 0
        for j in 0..<H { vector[j] *= scale }
    }
}
