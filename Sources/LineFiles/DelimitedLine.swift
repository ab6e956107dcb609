// The fields of a line of comma- or tab-separated values.

import Bytes

/// Splits lines into fields, quoted as in RFC 4180; memory is reused from line to line.
///
/// A field may begin and end with a quote; two quotes inside stand for one. A carriage return at the
/// end of the line is dropped. A quoted field does not run over several lines, because lines come one at
/// a time. With a tab as separator quotes are plain characters.
public struct DelimitedLine: ~Copyable {
    private let separator: UInt8
    private var fields: [ByteSlice] = []
    private var unescaped = ByteBuffer()

    public init(separator: UInt8 = UInt8(ascii: ",")) { self.separator = separator }

    /// How many fields the last line had.
    public var count: Int { fields.count }

    /// A field of the last line; lives as long as the line's bytes and until the next `split`.
    public subscript(_ index: Int) -> ByteSlice { fields[index] }

    /// - Returns: what is wrong with the line, or nil.
    public mutating func split(_ line: ByteSlice) -> DelimitedLineFault? {
        fields.removeAll(keepingCapacity: true)
        unescaped.removeAll()
        // Unescaped text is never longer than the line, so its slices stay where they are.
        unescaped.reserve(line.count)
        var end = line.count
        if end > 0, line[end - 1] == UInt8(ascii: "\r") { end -= 1 }
        let isQuoting = separator != UInt8(ascii: "\t")
        var start = 0
        while true {
            var i = start
            if isQuoting, i < end, line[i] == UInt8(ascii: "\"") {
                guard let next = takeQuoted(line, from: i + 1, to: end) else {
                    return .openQuote(field: fields.count)
                }
                guard next == end || line[next] == separator else {
                    return .textBehindQuote(field: fields.count - 1)
                }
                i = next
            } else {
                while i < end, line[i] != separator { i += 1 }
                fields.append(line.slice(start, i))
            }
            if i >= end { return nil }
            start = i + 1
        }
    }

    /// - Returns: the place behind the closing quote.
    private mutating func takeQuoted(_ line: ByteSlice, from start: Int, to end: Int) -> Int? {
        let first = unescaped.count
        var i = start
        while i < end {
            guard line[i] == UInt8(ascii: "\"") else {
                unescaped.append(line[i])
                i += 1
                continue
            }
            guard i + 1 < end, line[i + 1] == UInt8(ascii: "\"") else {
                fields.append(unescaped.slice(from: first))
                return i + 1
            }
            unescaped.append(UInt8(ascii: "\""))
            i += 2
        }
        return nil
    }
}

/// Why a line cannot be split; fields are counted from 0.
public enum DelimitedLineFault: Error, Equatable, Sendable, CustomStringConvertible {
    case openQuote(field: Int)
    case textBehindQuote(field: Int)

    public var description: String {
        switch self {
        case .openQuote(let field): "the quote that opens field \(field + 1) is never closed"
        case .textBehindQuote(let field):
            "there is text behind the quote that closes field \(field + 1)"
        }
    }
}
