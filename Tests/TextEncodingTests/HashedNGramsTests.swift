// The encoder without weights: deterministic, unit length, and cosines that follow shared words.

import Bytes
import Testing

@testable import TextEncoding

@Suite struct HashedNGramsTests {
    private func vectors(_ texts: [String], dimension: Int = 384) -> [[Float]] {
        let encoder = HashedNGrams(dimension: dimension)
        var block = [Float](repeating: .nan, count: texts.count * dimension)
        block.withUnsafeMutableBufferPointer {
            encoder.encode(texts.map { Array($0.utf8) }, into: $0)
        }
        return texts.indices.map { Array(block[$0 * dimension..<($0 + 1) * dimension]) }
    }

    private func cosine(_ a: String, _ b: String) -> Float {
        let v = vectors([a, b])
        return zip(v[0], v[1]).reduce(0) { $0 + $1.0 * $1.1 }
    }

    @Test func `a vector has unit length, and one without any word is zero`() {
        for text in [
            "a", "The Godfather", "東京物語", "😀", String(repeating: "long words ", count: 900),
        ] {
            let v = vectors([text])[0]
            let length = v.reduce(0) { $0 + Double($1) * Double($1) }
            #expect(abs(length - 1) < 1e-6, "\(text.prefix(20))")
        }
        for text in ["", " \n\t", "?!, .", "\u{0}\u{7}\u{200B}\u{301}"] {
            #expect(vectors([text])[0].allSatisfy { $0 == 0 }, "\(text.debugDescription)")
        }
    }

    @Test func `case, accents and punctuation do not matter, words and their parts do`() {
        #expect(abs(cosine("Amélie, le fabuleux destin!", "amelie LE fabuleux destin") - 1) < 1e-6)
        #expect(cosine("the dark knight", "dark knight rises") > 0.5)
        #expect(cosine("zombies", "zombie") > 0.5, "an inflected word meets in its parts")
        #expect(cosine("film noir", "space opera") < 0.2)
        #expect(cosine("東京物語", "東京の夜") > 0.3, "CJK characters and pairs are features")
        #expect(
            cosine("horror", "a horror film about a house")
                > cosine("horror", "a film about a house"))
    }

    @Test func `the bits are the same on every machine and whatever was encoded before`() {
        let texts = ["The Godfather", "Amélie", "東京物語", "naïve café — 24h", "a a a a b", ""]
        let bits = vectors(texts).flatMap { $0 }.flatMap { value in
            (0..<4).map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * UInt32($0))) }
        }
        #expect(
            bits.lend { SHA256.hex($0) }
                == "0ceee52b0199416c7536071313ac2aa1c984b8f9aa85d3d834bc8be110331c0f")
        #expect(vectors(texts.reversed()) == vectors(texts).reversed())
        #expect(HashedNGrams().identity == HashedNGrams(dimension: 384).identity)
        #expect(HashedNGrams().identity != HashedNGrams(dimension: 383).identity)
        #expect(HashedNGrams().identity.hex.count == 16)
    }
}
