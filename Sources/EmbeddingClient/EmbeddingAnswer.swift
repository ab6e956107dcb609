// The answer of an embedding server, believed only where it is what was asked for.

import Bytes
import JSON

/// What is wrong with an answer.
struct AnswerFault: Error, Equatable {
    enum Kind: Equatable { case shape, dimension, vector }
    /// `dimension`: a setting is wrong; `vector`: one text's numbers are no vector.
    let kind: Kind
    let message: String
}

/// Reads `{"data":[{"index":0,"embedding":[…]},…]}`. Reused; one thread.
final class EmbeddingAnswer {
    private let parser: JSONParser

    /// - Parameter maximumBytes: a longer answer is refused.
    init(maximumBytes: Int) {
        parser = JSONParser(maximumDepth: 16, maximumBytes: maximumBytes)
    }

    /// Writes the vectors of one request, of unit length, in the order of its texts.
    ///
    /// - Parameters:
    ///   - bytes: the answer's body.
    ///   - texts: how many texts were asked for: so many vectors must have come, each index once.
    ///   - vectors: (texts, dimension), overwritten; not to be used where this throws.
    func read(
        _ bytes: ByteSlice, texts: Int, dimension: Int,
        into vectors: UnsafeMutableBufferPointer<Float>
    ) throws(AnswerFault) {
        defer { withExtendedLifetime(self) {} }
        let root: JSONView
        do throws(JSONError) { root = try parser.parse(bytes) } catch {
            throw AnswerFault(kind: .shape, message: "it is not usable JSON: \(error)")
        }
        guard let data = root.isObject ? root.member("data") : nil, data.isArray else {
            throw AnswerFault(kind: .shape, message: "it has no list \"data\"")
        }
        guard data.count == texts else {
            throw AnswerFault(
                kind: .shape, message: "it has \(data.count) vectors for \(texts) texts")
        }
        var seen = [Bool](repeating: false, count: texts)
        for element in data.elements {
            guard element.isObject, let index = element.member("index")?.integer,
                index >= 0, index < Int64(texts)
            else {
                throw AnswerFault(
                    kind: .shape, message: "a vector has no \"index\" from 0 to \(texts - 1)")
            }
            guard !seen[Int(index)] else {
                throw AnswerFault(kind: .shape, message: "index \(index) comes twice")
            }
            seen[Int(index)] = true
            guard let embedding = element.member("embedding"), embedding.isArray else {
                throw AnswerFault(
                    kind: .shape, message: "vector \(index) has no list \"embedding\"")
            }
            guard embedding.count == dimension else {
                throw AnswerFault(
                    kind: .dimension,
                    message: "its vectors have \(embedding.count) numbers, not \(dimension)")
            }
            let row = UnsafeMutableBufferPointer(
                rebasing: vectors[Int(index) * dimension..<(Int(index) + 1) * dimension])
            try EmbeddingAnswer.read(embedding, Int(index), into: row)
        }
    }

    private static func read(
        _ embedding: JSONView, _ index: Int, into row: UnsafeMutableBufferPointer<Float>
    ) throws(AnswerFault) {
        var square = 0.0
        var at = 0
        for element in embedding.elements {
            guard let number = element.double, Float(number).isFinite else {
                throw AnswerFault(
                    kind: .vector, message: "number \(at) of vector \(index) is no finite number")
            }
            row[at] = Float(number)
            square += Double(row[at]) * Double(row[at])
            at += 1
        }
        // Below this a Float's own rounding decides the direction.
        guard square > 1e-30 else {
            throw AnswerFault(kind: .vector, message: "vector \(index) is zero")
        }
        let scale = 1 / square.squareRoot()
        for i in row.indices { row[i] = Float(Double(row[i]) * scale) }
    }
}
