// What is remembered of an input's content, so that other content under its name is found out.

import Bytes
import Contracts
import JSON
import LineFiles

/// Hashes of the first lines of an input, and of the last ones before the position in it.
///
/// Only lines with a newline behind them count: the last line of a file that still grows may be torn.
struct ContentMark: Equatable {
    /// Each hash is over so many bytes at the least, where the input has them.
    static let windowBytes: Int64 = 1 << 14

    /// Lines one behind the other.
    struct Window: Equatable {
        var start = LinePosition.start
        /// The offset behind the last line.
        var end: Int64 = 0
        var hash: UInt64 = 0

        var bytes: Int64 { end - start.offset }

        mutating func add(_ line: HashedLine) {
            if bytes == 0 { start = line.start }
            end = line.end
            hash = Hash128(hash, line.hash).low
        }
    }

    var head = Window()
    var tail = Window()
    /// Takes the tail's place when it is long enough.
    private var younger = Window()

    init() {}

    mutating func add(_ line: HashedLine) {
        // Of what was taken before there were marks nothing is known, and nothing will be.
        guard line.isTerminated, head.bytes > 0 || line.start.offset == 0 else { return }
        if head.bytes < Self.windowBytes { head.add(line) }
        guard tail.bytes >= Self.windowBytes else { return tail.add(line) }
        younger.add(line)
        if younger.bytes >= Self.windowBytes {
            tail = younger
            younger = Window()
        } else {
            tail.add(line)
        }
    }

    static func == (a: ContentMark, b: ContentMark) -> Bool { a.head == b.head && a.tail == b.tail }
}

/// A line as a content mark sees it.
struct HashedLine {
    var start: LinePosition
    /// The offset behind it.
    var end: Int64
    var hash: UInt64
    var isTerminated: Bool

    /// - Parameter end: where the next line begins.
    init(_ line: LineFiles.Line, end: Int64) {
        start = line.position
        self.end = end
        hash = Hash128(line.bytes, seed: UInt64(bitPattern: line.length)).low
        isTerminated = end > line.position.offset + line.length
    }
}

extension ContentMark {
    /// Writes the member `name`; nothing for an input of which no line was taken.
    func append(_ name: StaticString, to buffer: inout ByteBuffer) {
        guard head.bytes > 0 else { return }
        buffer.name(name)
        buffer.openObject()
        buffer.member("head_bytes", head.bytes)
        hexadecimal(head.hash).lend { buffer.member("head_hash", $0) }
        hexadecimal(tail.hash).lend { buffer.member("tail_hash", $0) }
        buffer.member("tail_lines", tail.start.lines)
        buffer.member("tail_offset", tail.start.offset)
        buffer.member("tail_to", tail.end)
        buffer.closeObject()
    }

    /// Nil where the member cannot be read; an absent one is an input of which no line was taken.
    init?(_ member: JSONValue?) {
        guard let member else { return }
        guard let headBytes = member["head_bytes"]?.integer,
            let headHash = member["head_hash"]?.text.flatMap({ UInt64($0, radix: 16) }),
            let tailHash = member["tail_hash"]?.text.flatMap({ UInt64($0, radix: 16) }),
            let tailLines = member["tail_lines"]?.integer,
            let tailOffset = member["tail_offset"]?.integer,
            let tailTo = member["tail_to"]?.integer
        else { return nil }
        head.end = headBytes
        head.hash = headHash
        tail = Window(
            start: LinePosition(offset: tailOffset, lines: tailLines), end: tailTo, hash: tailHash)
    }
}
