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
    }

    private var reader: LineReader
    private let isPipe: Bool
    private var bytes = ByteBuffer(capacity: 1 << 16)
    private var places: [Place] = []
    private var first = 0

    /// - Parameters:
    ///   - path: a file, or `-` for standard input.
    ///   - position: where to begin; behind the header if there is one.
    ///   - readHeader: takes the first line of the file, wherever reading begins.
    init(
        _ path: String, at position: LinePosition, maximumLineBytes: Int,
        readHeader: ((ByteSlice) throws -> Void)? = nil
    ) throws {
        isPipe = path == "-"
        guard let readHeader else {
            reader = try LineReader.open(path, at: position, maximumLineBytes: maximumLineBytes)
            return
        }
        reader = try LineReader.open(path, maximumLineBytes: maximumLineBytes)
        guard let header = try reader.next() else { return }
        try readHeader(LineQueue.withoutReturn(header))
        // Standard input can be read only once, so that what was done is read over.
        while reader.position.lines < position.lines, try reader.next() != nil {}
    }

    /// Where the reader stands: behind the lines that were looked at.
    var position: LinePosition { reader.position }

    /// The line `ahead` lines after the next one, or nil behind the end of the input.
    func peek(_ ahead: Int = 0) throws -> Line? {
        while places.count - first <= ahead {
            guard try readLine() else { return nil }
        }
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
        places.append(
            Place(
                start: bytes.count, count: content.count, number: line.number,
                length: line.isOversized ? line.length : Int64(content.count), end: reader.position)
        )
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
