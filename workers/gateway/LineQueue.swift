// The lines of an input that are not handled yet: reads ahead as far as somebody asks.

import Bytes
import LineFiles

/// A file's lines in order, the next ones of which can be looked at before they are taken.
final class LineQueue {
    /// One line; its bytes live until the queue reads on.
    struct Line {
        var bytes: ByteSlice
        /// Counted from 1.
        var number: Int64
        /// The length of the whole line, of which an oversized one has only the beginning.
        var length: Int64
        /// Where the next line begins.
        var end: LinePosition

        var isOversized: Bool { length > Int64(bytes.count) }
    }

    private struct Place {
        var start: Int
        var count: Int
        var number: Int64
        var length: Int64
        var end: LinePosition
        var hashed: HashedLine
    }

    private var reader: LineReader
    private let isPipe: Bool
    private var bytes = ByteBuffer(capacity: 1 << 16)
    private var places: [Place] = []
    private var first = 0
    /// Whether what comes next may be only the newline of a line that was taken without it.
    private var mayEndLine = false
    /// Of the lines that were taken, the header among them.
    private(set) var mark = ContentMark()
    /// Behind the lines that were taken.
    private(set) var position: LinePosition = .start

    /// Opens a file from its beginning.
    ///
    /// - Parameters:
    ///   - path: a file, or `-` for standard input.
    ///   - readHeader: takes the first line of the file.
    init(
        _ path: String, maximumLineBytes: Int, readHeader: ((ByteSlice) throws -> Void)? = nil
    ) throws {
        reader = try LineReader.open(path, maximumLineBytes: maximumLineBytes)
        isPipe = !reader.isFile
        if let readHeader { try take(header: readHeader) }
    }

    private func take(header readHeader: (ByteSlice) throws -> Void) throws {
        guard let header = try reader.next() else { return }
        let hashed = HashedLine(header, end: reader.position.offset)
        try readHeader(LineQueue.withoutReturn(header))
        mark.add(hashed)
        position = reader.position
    }

    // Going on where an earlier run stopped

    /// What stands at the beginning of a file that should be gone on with.
    enum Content {
        case same
        /// Nothing was taken; the queue stands at the beginning.
        case otherFromStart
        /// Other content further on, or less of it; the queue is of no use any more.
        case otherLater
    }

    /// Goes on at `wanted` if what stands before it is what was taken there; called once, before
    /// anything else. A file is read only where it is compared, a pipe up to there.
    func goOn(at wanted: LinePosition, known: ContentMark, _ path: String) throws -> Content {
        if known.head.bytes > 0 {
            var found = mark
            while found.head.end < known.head.end, try readLine() {
                found.add(places.last!.hashed)
            }
            guard found.head == known.head else { return .otherFromStart }
            if known.tail.start.offset > 0 {
                try move(to: known.tail.start, path)
                found.tail = ContentMark.Window()
            }
            while reader.position.offset < known.tail.end, let line = try reader.next() {
                found.tail.add(HashedLine(line, end: reader.position.offset))
            }
            guard found.tail == known.tail else { return .otherLater }
            places.removeAll()
            bytes.removeAll()
        }
        mayEndLine = reader.position.offset < wanted.offset
        try reader.advance(to: wanted)
        mark = known
        position = wanted
        return .same
    }

    private func move(to start: LinePosition, _ path: String) throws {
        if !isPipe, path != "-" {
            reader = try LineReader.open(path, maximumLineBytes: reader.maximumLineBytes)
        }
        try? reader.advance(to: start)
    }

    // Lines

    /// The line `ahead` lines after the next one, or nil behind the end of the input.
    func peek(_ ahead: Int = 0) throws -> Line? {
        while places.count - first <= ahead {
            guard try readLine() else { return nil }
        }
        return line(ahead)
    }

    /// The same, but a pipe is waited for no longer than `milliseconds`, which are counted down.
    func peek(_ ahead: Int, within milliseconds: inout Int) throws -> Line? {
        while places.count - first <= ahead {
            if isPipe, try !reader.waitForLine(within: &milliseconds) { return nil }
            guard try readLine() else { return nil }
        }
        return line(ahead)
    }

    private func line(_ ahead: Int) -> Line {
        let place = places[first + ahead]
        return Line(
            bytes: bytes.slice(place.start..<place.start + place.count), number: place.number,
            length: place.length, end: place.end)
    }

    /// Whether the next line is there without waiting for whoever writes it.
    var isReady: Bool { !isPipe || first < places.count || reader.hasBufferedLine }

    /// Takes the next line, which was looked at.
    func take() {
        precondition(first < places.count, "take without peek")
        position = places[first].end
        mark.add(places[first].hashed)
        first += 1
        if first == places.count {
            first = 0
            places.removeAll(keepingCapacity: true)
            bytes.removeAll()
        }
    }

    private func readLine() throws -> Bool {
        guard let line = try reader.next() else { return false }
        let content = LineQueue.withoutReturn(line)
        if mayEndLine {
            // A last line without newline was used as it was; now its newline has come.
            mayEndLine = false
            if content.isEmpty { return try readLine() }
        }
        places.append(
            Place(
                start: bytes.count, count: content.count, number: line.number,
                length: line.isOversized ? line.length : Int64(content.count), end: reader.position,
                hashed: HashedLine(line, end: reader.position.offset)))
        bytes.append(content)
        return true
    }

    /// A line that ends as on Windows ends before that.
    private static func withoutReturn(_ line: LineFiles.Line) -> ByteSlice {
        let count = line.bytes.count
        let hasReturn =
            !line.isOversized && count > 0 && line.bytes[count - 1] == UInt8(ascii: "\r")
        return hasReturn ? line.bytes.slice(0, count - 1) : line.bytes
    }
}
