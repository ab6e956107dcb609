// Folding and cutting into words, by example; the golden files hold the reference's own answers.

import Testing

@testable import TextEncoding

@Suite struct FoldedTextTests {
    private func words(_ bytes: [UInt8]) -> [String] {
        var text = FoldedText()
        bytes.withUnsafeBufferPointer { text.fold($0) }
        return text.words.map { String(decoding: text.bytes[$0.start..<$0.end], as: UTF8.self) }
    }

    private func words(_ text: String) -> [String] { words(Array(text.utf8)) }

    @Test func `words are lower-cased, stripped of accents and split at spaces and punctuation`() {
        #expect(words("Hello, WORLD!") == ["hello", ",", "world", "!"])
        #expect(words("Ämélie\u{301} Ångström") == ["amelie", "angstrom"])
        #expect(words("a\u{0}b\u{7F}c\u{200B}d\u{FFFD}e") == ["abcde"], "control characters vanish")
        #expect(words("a\tb\u{A0}c\u{3000}d\r\n") == ["a", "b", "c", "d"])
        #expect(words("東京tower") == ["東", "京", "tower"])
        #expect(words("한국") == ["\u{1112}\u{1161}\u{11AB}\u{1100}\u{116E}\u{11A8}"])
        #expect(words("1≠2") == ["1", "=", "2"], "what becomes punctuation is a word of its own")
        #expect(words("").isEmpty)
    }

    @Test func `marks that stay are put in canonical order, and fixed accents keep them apart`() {
        #expect(words("a\u{302E}\u{1D165}") == ["a\u{1D165}\u{302E}"])
        #expect(words("a\u{302E}\u{301}\u{1D165}") == ["a\u{1D165}\u{302E}"])
        #expect(words("a\u{302E}\u{34F}\u{1D165}") == ["a\u{302E}\u{1D165}"])
    }

    @Test func `bytes that are no UTF-8 are left out and hide nothing after them`() {
        #expect(words([0x61, 0xFF, 0x62]) == ["ab"])
        #expect(words([0xE2, 0x82, 0x41]) == ["a"], "a cut character")
        #expect(words([0xED, 0xA0, 0x80, 0x62]) == ["b"], "half of a surrogate pair")
        #expect(words([0xC0, 0x80, 0x63]) == ["c"], "an overlong zero")
        #expect(words([0xF4, 0x90, 0x80, 0x80, 0x64]) == ["d"], "beyond the last character")
        #expect(words([0x65, 0xF0, 0x9F, 0x98]) == ["e"], "cut at the end")
    }
}
