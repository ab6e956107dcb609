// The text of an item that gets a vector: its parts in a template, and what stands around a missing
// part goes with it.

import Bytes
import Contracts

/// A template such as "{title}. {description}. {tags}".
public struct ItemTextTemplate: Sendable, Equatable {
    enum Part: String, Sendable { case title, description, tags }

    /// A part with the words before it.
    struct Step: Equatable, Sendable {
        var before: [UInt8]
        var part: Part
    }

    /// What stands before the first part: it opens every text.
    let opening: [UInt8]
    let steps: [Step]
    /// What stands behind the last part: it goes where the last part goes.
    let closing: [UInt8]
    /// Other templates make other texts.
    let hash: UInt64

    /// A text is cut here, between two characters: no encoder reads further.
    public static let maximumBytes = 8_192

    public init() { self.init("{title}. {description}. {tags}")! }

    /// - Returns: nil where the template has no part, or one that is not known.
    public init?(_ template: String) {
        var steps: [Step] = []
        var rest = Substring(template)
        while let open = rest.firstIndex(of: "{") {
            guard let close = rest[open...].firstIndex(of: "}"),
                let part = Part(rawValue: String(rest[rest.index(after: open)..<close]))
            else { return nil }
            steps.append(Step(before: Array(rest[..<open].utf8), part: part))
            rest = rest[rest.index(after: close)...]
        }
        guard !steps.isEmpty else { return nil }
        opening = steps[0].before
        steps[0].before = []
        self.steps = steps
        closing = Array(rest.utf8)
        hash = template.lend { Hash128($0).low }
    }

    /// Writes the item's text, empty where it has none of the parts.
    ///
    /// - Parameter text: emptied first.
    public func write(_ item: CatalogItem, to text: inout ByteBuffer) {
        text.removeAll()
        var isFirst = true
        for (number, step) in steps.enumerated() {
            guard has(step.part, item) else { continue }
            if isFirst { append(opening, to: &text) } else { append(step.before, to: &text) }
            isFirst = false
            append(step.part, item, to: &text)
            if number == steps.count - 1 { append(closing, to: &text) }
        }
        cut(&text)
    }

    private func has(_ part: Part, _ item: CatalogItem) -> Bool {
        switch part {
        case .title: !item.title.trimmed.isEmpty
        case .description: !(item.description?.trimmed.isEmpty ?? true)
        case .tags: item.tags.contains { !$0.trimmed.isEmpty }
        }
    }

    private func append(_ part: Part, _ item: CatalogItem, to text: inout ByteBuffer) {
        switch part {
        case .title: text.append(item.title.trimmed)
        case .description: text.append((item.description ?? .empty).trimmed)
        case .tags:
            var isFirst = true
            for tag in item.tags where !tag.trimmed.isEmpty {
                if !isFirst { text.append(", " as StaticString) }
                isFirst = false
                text.append(tag.trimmed)
            }
        }
    }

    /// Words between parts; a point behind a part that ends its own sentence is left out.
    private func append(_ words: [UInt8], to text: inout ByteBuffer) {
        words.lend { words in
            let endsSentence =
                switch text.lastByte {
                case UInt8(ascii: "."), UInt8(ascii: "!"), UInt8(ascii: "?"): true
                default: false
                }
            let isDoubled = endsSentence && !words.isEmpty && words[0] == UInt8(ascii: ".")
            text.append(words.slice(isDoubled ? 1 : 0, words.count))
        }
    }

    private func cut(_ text: inout ByteBuffer) {
        guard text.count > ItemTextTemplate.maximumBytes else { return }
        var end = ItemTextTemplate.maximumBytes
        while end > 0, text.slice[end] & 0xC0 == 0x80 { end -= 1 }
        text.truncate(to: end)
    }
}

extension ByteSlice {
    /// Without white space of ASCII at either end.
    var trimmed: ByteSlice {
        func isSpace(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }
        var (lower, upper) = (0, count)
        while lower < upper, isSpace(self[lower]) { lower += 1 }
        while upper > lower, isSpace(self[upper - 1]) { upper -= 1 }
        return slice(lower, upper)
    }
}
