// Token ids equal to those of the reference tokenizer, in the golden file; and nothing that crashes it.

import Bytes
import DeterministicMath
import Foundation
import LineFiles
import Testing

@testable import TextEncoding

enum Golden {
    static func path(_ name: String) -> String {
        Bundle.module.resourceURL!.appendingPathComponent("golden/\(name)").path
    }

    static func vocabulary() throws -> [UInt8] {
        var reader = try LineReader.open(path("vocab.txt.gz"))
        var bytes: [UInt8] = []
        while let line = try reader.next() { bytes += line.bytes.copy() + [UInt8(ascii: "\n")] }
        return bytes
    }
}

@Suite struct WordPieceTests {
    private func ids(_ tokenizer: inout WordPiece, _ text: [UInt8], maximum: Int) -> [Int32] {
        var ids: [Int32] = []
        let count = text.withUnsafeBufferPointer {
            tokenizer.encode($0, maximum: maximum, into: &ids)
        }
        #expect(count == ids.count)
        return ids
    }

    private func bytes(hexadecimal text: Substring) -> [UInt8] {
        if text == "-" { return [] }
        let digits = Array(text.utf8).map { $0 >= 97 ? $0 - 87 : $0 - 48 }
        return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }

    @Test func `token ids of two thousand strings are the reference's`() throws {
        var tokenizer = try WordPiece(vocabulary: try Golden.vocabulary())
        #expect(tokenizer.count == 30_522)
        var reader = try LineReader.open(Golden.path("ids.txt.gz"))
        var (strings, wrong) = (0, 0)
        while let line = try reader.next() {
            let cells = line.bytes.text.split(separator: " ")
            let text = bytes(hexadecimal: cells[1])
            let expected = cells.dropFirst(2).map { Int32($0)! }
            let found = ids(&tokenizer, text, maximum: cells[0] == "cut" ? 128 : 1 << 20)
            strings += 1
            if found != expected {
                wrong += 1
                if wrong <= 10 {
                    let place = zip(found, expected).prefix { $0 == $1 }.count
                    Issue.record("string \(strings): \(cells[1].prefix(400)) differs at \(place)")
                }
            }
        }
        #expect(wrong == 0)
        #expect(strings >= 2_000)
    }

    @Test func `texts are cut at the maximum, on both sides of it`() throws {
        var tokenizer = try WordPiece(vocabulary: try Golden.vocabulary())
        for words in 0...5 {
            let text = Array(String(repeating: "dog ", count: words).utf8)
            let found = ids(&tokenizer, text, maximum: 5)
            #expect(found.count == min(words, 3) + 2)
            #expect(found.first == tokenizer.first && found.last == tokenizer.last)
        }
        let cut = ids(&tokenizer, Array("unaffable".utf8), maximum: 3)
        #expect(cut.count == 3, "a word is cut inside too")
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func `random bytes never stop it and give the same ids again`(seed: UInt64) throws {
        var random = Random(seed: seed)
        var first = try WordPiece(vocabulary: try Golden.vocabulary())
        var second = first
        let alphabet = Array("[SEP][CLS]ab é\u{301}\u{302E}東한😀\u{0}\u{200B}.#".utf8)
        var texts: [[UInt8]] = []
        for _ in 0..<60 {
            let isWild = random.chance(0.5)
            texts.append(
                (0..<random.below(300)).map { _ in
                    isWild
                        ? UInt8(truncatingIfNeeded: random.next())
                        : alphabet[random.below(alphabet.count)]
                })
        }
        let maximum = 2 + random.below(40)
        let a = texts.map { ids(&first, $0, maximum: maximum) }
        let b = texts.reversed().map { ids(&second, $0, maximum: maximum) }
        #expect(a == b.reversed(), "seed \(seed)")
        for found in a {
            #expect(found.count >= 2 && found.count <= maximum, "seed \(seed)")
            #expect(found.allSatisfy { $0 >= 0 && Int($0) < first.count }, "seed \(seed)")
        }
    }

    @Test func `a vocabulary without BERT's own tokens is refused with a sentence`() {
        let error = #expect(throws: TextEncodingError.self) {
            try WordPiece(vocabulary: Array("[UNK]\n[CLS]\nthe\n".utf8))
        }
        #expect(
            error?.description == "vocab.txt has no token [SEP], so it is no vocabulary of BERT")
    }
}
