// Text vectors without weights: words and their character n-grams, hashed. The default where no language
// model is installed.

import Bytes
import DeterministicMath

/// Vectors whose cosines say how many words and parts of words two texts share.
///
/// Features of a text, folded as by uncased BERT (lower case, no accents): each word, the character 3-,
/// 4- and 5-grams of `<word>`, each CJK character and each pair of neighbouring ones. A feature that
/// occurs n times counts 1 + ln n, times 1 for a word and ½ for an n-gram: a long word then weighs more
/// than a short one, as it says more, and inflected and compound words meet in their parts. Each feature
/// adds with a sign to one of `dimension` numbers, both chosen by its hash; the vector is then made one
/// of unit length. Punctuation is no feature. The same bits on every machine.
///
/// It knows no synonyms and no language: "film noir" and "dark movie" have a cosine near 0.
///
/// - Source: feature hashing as in Weinberger et al., 2009; subwords as in Bojanowski et al., 2017.
public final class HashedNGrams: TextEncoder {
    public let dimension: Int
    public let identity: EncoderIdentity

    private var text = FoldedText()
    private var features: [UInt64] = []
    private var parts: [UInt64] = []
    private var marked: [UInt8] = []
    private var starts: [Int] = []

    /// - Precondition: `dimension` is positive.
    public init(dimension: Int = 384) {
        precondition(dimension > 0, "a vector needs a dimension, not \(dimension)")
        self.dimension = dimension
        identity = EncoderIdentity(
            name: "hashed-ngrams/\(dimension)", parts: ["hashed n-grams 1", "\(dimension)"])
    }

    public func encode(_ texts: [[UInt8]], into vectors: UnsafeMutableBufferPointer<Float>) {
        precondition(
            vectors.count == texts.count * dimension,
            "\(texts.count) vectors of \(dimension) floats do not fit into \(vectors.count)")
        for i in texts.indices {
            let vector = UnsafeMutableBufferPointer(
                rebasing: vectors[i * dimension..<(i + 1) * dimension])
            texts[i].withUnsafeBufferPointer { encode($0, into: vector) }
        }
    }

    private func encode(
        _ utf8: UnsafeBufferPointer<UInt8>, into vector: UnsafeMutableBufferPointer<Float>
    ) {
        text.fold(utf8)
        features.removeAll(keepingCapacity: true)
        parts.removeAll(keepingCapacity: true)
        var neighbour: FoldedText.Word?
        for word in text.words {
            if !word.isIsolated {
                addWord(word)
                neighbour = nil
            } else if isIdeograph(word) {
                features.append(hash(text.bytes, word.start, word.end, seed: 1))
                if let neighbour {
                    features.append(hash(text.bytes, neighbour.start, word.end, seed: 2))
                }
                neighbour = word
            } else {
                neighbour = nil
            }
        }
        vector.update(repeating: 0)
        add(&features, weight: 1, to: vector)
        add(&parts, weight: 0.5, to: vector)
        var squares = 0.0
        for value in vector { squares += Double(value) * Double(value) }
        if squares == 0 { return }
        let scale = 1 / Math.sqrt(squares)
        for i in vector.indices { vector[i] = Float(Double(vector[i]) * scale) }
    }

    private func addWord(_ word: FoldedText.Word) {
        features.append(hash(text.bytes, word.start, word.end, seed: 1))
        marked.removeAll(keepingCapacity: true)
        marked.append(UInt8(ascii: "<"))
        marked += text.bytes[word.start..<word.end]
        marked.append(UInt8(ascii: ">"))
        starts.removeAll(keepingCapacity: true)
        for i in marked.indices where marked[i] & 0xC0 != 0x80 { starts.append(i) }
        let characters = starts.count
        starts.append(marked.count)
        for length in 3...5 where length < characters {
            for first in 0...(characters - length) {
                parts.append(hash(marked, starts[first], starts[first + length], seed: 3))
            }
        }
    }

    /// A CJK character rather than punctuation: what BERT sets spaces around.
    private func isIdeograph(_ word: FoldedText.Word) -> Bool {
        let first = text.bytes[word.start]
        if word.end - word.start == 4 { return first >= 0xF0 && text.bytes[word.start + 1] >= 0xA0 }
        if word.end - word.start != 3 { return false }
        let scalar =
            UInt32(first & 0xF) << 12 | UInt32(text.bytes[word.start + 1] & 0x3F) << 6
            | UInt32(text.bytes[word.start + 2] & 0x3F)
        return (0x3400...0x4DBF).contains(scalar) || (0x4E00...0x9FFF).contains(scalar)
            || (0xF900...0xFAFF).contains(scalar)
    }

    private func hash(_ bytes: [UInt8], _ start: Int, _ end: Int, seed: UInt64) -> UInt64 {
        bytes.lend { Hash128($0.slice(start, end), seed: seed).low }
    }

    /// Adds each distinct feature to its place; in the order of hashes, so sums have one order too.
    private func add(
        _ features: inout [UInt64], weight: Float, to vector: UnsafeMutableBufferPointer<Float>
    ) {
        features.sort()
        var i = 0
        while i < features.count {
            let feature = features[i]
            var next = i + 1
            while next < features.count, features[next] == feature { next += 1 }
            let count = next - i
            let value = count == 1 ? weight : weight * (1 + Math.log(Float(count)))
            let place = Int(feature.multipliedFullWidth(by: UInt64(dimension)).high)
            vector[place] += feature & 1 == 0 ? value : -value
            i = next
        }
    }
}
