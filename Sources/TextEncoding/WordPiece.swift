// The tokenizer of uncased BERT: folded words, cut into the longest pieces that the vocabulary knows.

import Bytes

/// Text into token ids, the same as BertTokenizer of transformers with lower case and stripped accents.
///
/// - Source: Wu et al., 2016; behaviour as of the package `tokenizers`, against which it is tested.
public struct WordPiece {
    /// Ids of the tokens that every BERT vocabulary has.
    public let unknown: Int32, first: Int32, last: Int32
    public let count: Int

    /// A word of more characters is unknown.
    static let longestWord = 100

    private struct Piece {
        var start: Int32
        var length: Int32
        var id: Int32
    }

    /// All pieces' bytes, and an open-addressing table over (is it a continuation, bytes).
    private let bytes: [UInt8]
    private let table: [Piece]
    private let longestPiece: Int
    /// Written out in a text these stand for their token, as in the reference: "[SEP]" is one.
    private let special: [(text: [UInt8], id: Int32)]
    private var text = FoldedText()
    private var hashes: [UInt64] = []

    /// - Parameter vocabulary: the bytes of vocab.txt, one token a line, its id the number of the line.
    public init(vocabulary: [UInt8]) throws(TextEncodingError) {
        var lines = vocabulary.split(
            separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        if lines.last?.isEmpty == true { lines.removeLast() }
        var bytes: [UInt8] = []
        var size = 16
        while size < lines.count * 2 { size *= 2 }
        var table = [Piece](repeating: Piece(start: 0, length: 0, id: -1), count: size)
        var longest = 0
        var ids: [String: Int32] = [:]
        for (id, line) in lines.enumerated() {
            var token = line
            while token.last == UInt8(ascii: "\r") { token.removeLast() }
            if token.first == UInt8(ascii: "["), token.last == UInt8(ascii: "]") {
                ids[String(decoding: token, as: UTF8.self)] = Int32(id)
            }
            let isContinued =
                token.count > 2 && token.prefix(2).allSatisfy { $0 == UInt8(ascii: "#") }
            let piece = Array(isContinued ? token.dropFirst(2) : token)
            if piece.isEmpty { continue }
            var hash = Self.start(isContinued)
            for byte in piece { hash = Self.extend(hash, byte) }
            let start = bytes.count
            // The mark in front tells continuations apart where bytes are compared.
            bytes.append(isContinued ? 1 : 0)
            bytes += piece
            var place = Self.place(hash, table.count)
            while table[place].id >= 0 { place = (place + 1) & (table.count - 1) }
            table[place] = Piece(
                start: Int32(start), length: Int32(piece.count), id: Int32(id))
            longest = max(longest, piece.count)
        }
        func required(_ name: String) throws(TextEncodingError) -> Int32 {
            guard let id = ids[name] else {
                throw TextEncodingError(
                    "vocab.txt", "has no token \(name), so it is no vocabulary of BERT")
            }
            return id
        }
        unknown = try required("[UNK]")
        first = try required("[CLS]")
        last = try required("[SEP]")
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].compactMap { name in
            ids[name].map { (Array(name.utf8), $0) }
        }
        count = lines.count
        self.bytes = bytes
        self.table = table
        longestPiece = longest
    }

    private static func start(_ isContinued: Bool) -> UInt64 {
        isContinued ? 0x9AE1_6A3B_2F90_404F : 0xCBF2_9CE4_8422_2325
    }

    @inline(__always)
    private static func extend(_ hash: UInt64, _ byte: UInt8) -> UInt64 {
        (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3
    }

    @inline(__always)
    private static func place(_ hash: UInt64, _ size: Int) -> Int {
        Int(truncatingIfNeeded: (hash ^ hash >> 32) &* 0x9E37_79B9_7F4A_7C15 >> 20) & (size - 1)
    }

    /// Appends the ids of `text` to `ids`: [CLS], at most `maximum` - 2 pieces, [SEP].
    ///
    /// - Returns: how many ids were appended; 2 = there is no token in the text.
    public mutating func encode(
        _ utf8: UnsafeBufferPointer<UInt8>, maximum: Int, into ids: inout [Int32]
    ) -> Int {
        precondition(maximum >= 2, "at most \(maximum) tokens, of which [CLS] and [SEP] take two")
        let before = ids.count
        let limit = before + maximum - 1
        ids.append(first)
        var from = 0
        var i = 0
        while i < utf8.count {
            if utf8[i] == UInt8(ascii: "["), let token = specialToken(utf8, at: i) {
                pieces(UnsafeBufferPointer(rebasing: utf8[from..<i]), limit: limit, into: &ids)
                if ids.count < limit { ids.append(token.id) }
                i += token.text.count
                from = i
                if ids.count >= limit { break }
            } else {
                i += 1
            }
        }
        if ids.count < limit {
            pieces(UnsafeBufferPointer(rebasing: utf8[from...]), limit: limit, into: &ids)
        }
        ids.append(last)
        return ids.count - before
    }

    private func specialToken(_ utf8: UnsafeBufferPointer<UInt8>, at i: Int) -> (
        text: [UInt8], id: Int32
    )? {
        special.first { token in
            i + token.text.count <= utf8.count
                && token.text.indices.allSatisfy { utf8[i + $0] == token.text[$0] }
        }
    }

    private mutating func pieces(
        _ utf8: UnsafeBufferPointer<UInt8>, limit: Int, into ids: inout [Int32]
    ) {
        text.fold(utf8)
        for word in text.words {
            if ids.count >= limit { return }
            addWord(word, into: &ids)
            if ids.count > limit { ids.removeLast(ids.count - limit) }
        }
    }

    /// The longest piece from the left, again and again; one [UNK] where that gets stuck.
    private mutating func addWord(_ word: FoldedText.Word, into ids: inout [Int32]) {
        if word.characters > Self.longestWord {
            ids.append(unknown)
            return
        }
        let before = ids.count
        var start = word.start
        while start < word.end {
            let end = min(word.end, start + longestPiece)
            hashes.removeAll(keepingCapacity: true)
            var hash = Self.start(start > word.start)
            for i in start..<end {
                hash = Self.extend(hash, text.bytes[i])
                hashes.append(hash)
            }
            var length = end - start
            var found: Int32 = -1
            while length > 0 {
                found = find(hashes[length - 1], start, length, isContinued: start > word.start)
                if found >= 0 { break }
                length -= 1
            }
            if found < 0 {
                ids.removeLast(ids.count - before)
                ids.append(unknown)
                return
            }
            ids.append(found)
            start += length
        }
    }

    private func find(_ hash: UInt64, _ start: Int, _ length: Int, isContinued: Bool) -> Int32 {
        var place = Self.place(hash, table.count)
        while table[place].id >= 0 {
            let piece = table[place]
            if Int(piece.length) == length, bytes[Int(piece.start)] == (isContinued ? 1 : 0) {
                let known = Int(piece.start) + 1
                var i = 0
                while i < length, bytes[known + i] == text.bytes[start + i] { i += 1 }
                if i == length { return piece.id }
            }
            place = (place + 1) & (table.count - 1)
        }
        return -1
    }
}
