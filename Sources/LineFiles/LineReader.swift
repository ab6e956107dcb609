// Reads a file line by line, plain or gzip, without a String per line.

import Bytes

#if canImport(Glibc)
    import Glibc
#endif

/// Where a line begins: what a reader needs to go on from there.
public struct LinePosition: Equatable, Hashable, Sendable {
    /// Bytes of (uncompressed) content before it.
    public var offset: Int64
    /// Lines before it.
    public var lines: Int64

    public init(offset: Int64, lines: Int64) {
        self.offset = offset
        self.lines = lines
    }

    public static let start = LinePosition(offset: 0, lines: 0)
}

/// One line, without its newline.
public struct Line {
    /// The line's bytes, of an oversized line the first ones; valid until the next call to `next`.
    public let bytes: ByteSlice
    public let position: LinePosition
    /// The length of the whole line in bytes; more than `bytes.count` if it is oversized.
    public let length: Int64

    public var isOversized: Bool { length > Int64(bytes.count) }

    /// Counted from 1, as editors do.
    public var number: Int64 { position.lines + 1 }
}

/// The lines of a file or of standard input.
///
/// Lines end with `\n`; the last one may go without. A carriage return is part of the line. Gzip is
/// recognised by its first bytes, whatever the name. A line longer than the maximum is reported with
/// its beginning and its length, and reading goes on behind it. From a pipe, lines come as soon as
/// they are there.
public struct LineReader: ~Copyable {
    /// Where the next line begins: hand it to `open` to go on.
    public private(set) var position: LinePosition
    public let maximumLineBytes: Int

    private var source: ByteSource
    private var buffer: UnsafeMutablePointer<UInt8>
    private var capacity: Int
    /// The bytes in `buffer` that have not been handed out.
    private var unread: Range<Int> = 0..<0
    private var isAtEnd = false

    /// - Parameters:
    ///   - path: a file, or `-` for standard input.
    ///   - position: where to begin; compressed files and pipes are read up to there.
    ///   - maximumLineBytes: of a longer line only this many bytes are kept.
    public static func open(
        _ path: String, at position: LinePosition = .start, maximumLineBytes: Int = 1 << 20
    ) throws(LineFileError) -> LineReader {
        precondition(maximumLineBytes > 0, "lines of \(maximumLineBytes) bytes")
        var source = try ByteSource.open(path)
        try source.skip(position.offset)
        return LineReader(source, position, maximumLineBytes)
    }

    /// Goes on at a later position, as `open` would begin there.
    public mutating func advance(to position: LinePosition) throws(LineFileError) {
        let count = position.offset - self.position.offset
        precondition(count >= 0, "advance to \(position), from \(self.position)")
        let buffered = min(count, Int64(unread.count))
        unread = (unread.lowerBound + Int(buffered))..<unread.upperBound
        if count > buffered { try source.skip(count - buffered) }
        self.position = position
    }

    private init(_ source: consuming ByteSource, _ position: LinePosition, _ maximumLineBytes: Int)
    {
        self.source = source
        self.position = position
        self.maximumLineBytes = maximumLineBytes
        capacity = 1 << 18
        buffer = .allocate(capacity: capacity)
    }

    deinit { buffer.deallocate() }

    /// Whether `next` can answer without reading: whoever serves a pipe acts on what is there before
    /// waiting for more.
    public var hasBufferedLine: Bool { isAtEnd || find(from: unread.lowerBound) != nil }

    /// Whether this is a file on disk: its next line is there without waiting, or there is none.
    public var isFile: Bool { source.isFile }

    /// Waits until `next` can answer without waiting, but not longer than `milliseconds`, which are
    /// counted down; false where they went by first. Of gzip, what has begun to arrive is waited for.
    public mutating func waitForLine(within milliseconds: inout Int) throws(LineFileError) -> Bool {
        while !hasBufferedLine, unread.count <= maximumLineBytes {
            let start = monotonicMilliseconds()
            let isThere = source.hasBytes(within: max(0, milliseconds))
            milliseconds -= Int(monotonicMilliseconds() - start)
            guard isThere else { return false }
            try fill()
        }
        return true
    }

    /// The next line, or nil at the end of the file.
    public mutating func next() throws(LineFileError) -> Line? {
        var searched = 0
        while true {
            if let newline = find(from: unread.lowerBound + searched) {
                return take(newline - unread.lowerBound, hasNewline: true)
            }
            searched = unread.count
            if isAtEnd { return unread.isEmpty ? nil : take(unread.count, hasNewline: false) }
            if unread.count > maximumLineBytes { return try takeOversized() }
            try fill()
        }
    }

    private func find(from start: Int) -> Int? {
        let count = unread.upperBound - start
        guard count > 0, let found = memchr(buffer + start, 0x0A, count) else { return nil }
        return UnsafeRawPointer(found) - UnsafeRawPointer(buffer)
    }

    private mutating func take(_ length: Int, hasNewline: Bool) -> Line {
        let kept = min(length, maximumLineBytes)
        let line = Line(
            bytes: ByteSlice(buffer + unread.lowerBound, count: kept), position: position,
            length: Int64(length))
        let consumed = length + (hasNewline ? 1 : 0)
        unread = (unread.lowerBound + consumed)..<unread.upperBound
        position.offset += Int64(consumed)
        position.lines += 1
        return line
    }

    /// Keeps the beginning of the line and reads on, behind it, to its end.
    private mutating func takeOversized() throws(LineFileError) -> Line {
        moveUnreadToFront()
        var length = Int64(unread.count)
        let start = position
        let rest = maximumLineBytes
        var consumed = length
        unread = 0..<0
        while true {
            let count = try source.read(into: buffer + rest, capacity: capacity - rest)
            if count == 0 {
                isAtEnd = true
                break
            }
            if let found = memchr(buffer + rest, 0x0A, count) {
                let inChunk = UnsafeRawPointer(found) - UnsafeRawPointer(buffer + rest)
                length += Int64(inChunk)
                consumed = length + 1
                unread = (rest + inChunk + 1)..<(rest + count)
                break
            }
            length += Int64(count)
            consumed = length
        }
        position.offset += consumed
        position.lines += 1
        return Line(
            bytes: ByteSlice(buffer, count: maximumLineBytes), position: start, length: length)
    }

    /// Reads more bytes behind the unread ones, making room first.
    private mutating func fill() throws(LineFileError) {
        if capacity - unread.upperBound < capacity / 4 { moveUnreadToFront() }
        if capacity - unread.upperBound < capacity / 4 {
            let larger = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity * 2)
            larger.update(from: buffer, count: unread.upperBound)
            buffer.deallocate()
            buffer = larger
            capacity *= 2
        }
        let count = try source.read(
            into: buffer + unread.upperBound, capacity: capacity - unread.upperBound)
        if count == 0 { isAtEnd = true }
        unread = unread.lowerBound..<(unread.upperBound + count)
    }

    private mutating func moveUnreadToFront() {
        memmove(buffer, buffer + unread.lowerBound, unread.count)
        unread = 0..<unread.count
    }
}

private func monotonicMilliseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
}
