// How far an input has been appended: what makes a second run go on instead of beginning anew.

import Bytes
import Contracts
import JSON
import LineFiles

/// Where an input stands after a transaction; the value of `gateway/<input>/position`.
struct IngestPosition: Equatable {
    var events = LinePosition.start
    var eventsMark = ContentMark()
    var catalog = LinePosition.start
    var catalogMark = ContentMark()
    /// The newest time of an accepted event, nil before the first.
    var newestTime: Int64?
    var heldBack = JumpRule.HeldBack()
    /// Whether the closing ticks are written for what has been appended.
    var isClosed = false

    init() {}

    static func appendKey(_ input: String, to buffer: inout ByteBuffer) {
        buffer.append("gateway/")
        buffer.append(input)
        buffer.append("/position")
    }

    func append(to buffer: inout ByteBuffer) {
        buffer.openRecord()
        catalogMark.append("catalog_content", to: &buffer)
        buffer.member("catalog_lines", catalog.lines)
        buffer.member("catalog_offset", catalog.offset)
        buffer.member("closed", isClosed)
        eventsMark.append("events_content", to: &buffer)
        buffer.member("events_lines", events.lines)
        buffer.member("events_offset", events.offset)
        if heldBack.lines > 0 {
            buffer.member("held_back_lines", heldBack.lines)
            buffer.member("held_back_ms", heldBack.newestTime)
        }
        buffer.member("newest_ms", newestTime)
        buffer.closeObject()
    }

    init(_ value: ByteSlice, of input: String) throws(IngestError) {
        guard let record = try? JSONValue(parsing: value),
            let catalogLines = record["catalog_lines"]?.integer,
            let catalogOffset = record["catalog_offset"]?.integer,
            let eventsLines = record["events_lines"]?.integer,
            let eventsOffset = record["events_offset"]?.integer,
            let isClosed = record["closed"]?.boolean,
            let eventsMark = ContentMark(record["events_content"]),
            let catalogMark = ContentMark(record["catalog_content"])
        else {
            throw IngestError(
                "the position of input \(input) in checkpoints cannot be read: \(value.text)")
        }
        events = LinePosition(offset: eventsOffset, lines: eventsLines)
        catalog = LinePosition(offset: catalogOffset, lines: catalogLines)
        self.eventsMark = eventsMark
        self.catalogMark = catalogMark
        newestTime = record["newest_ms"]?.integer
        heldBack = JumpRule.HeldBack(
            lines: record["held_back_lines"]?.integer ?? 0,
            newestTime: record["held_back_ms"]?.integer ?? 0)
        self.isClosed = isClosed
    }
}

/// An input that cannot be gone on with.
public struct IngestError: Error, CustomStringConvertible, Equatable {
    public let description: String
    public init(_ description: String) { self.description = description }
}
