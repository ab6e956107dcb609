// How far an input has been appended: what makes a second run go on instead of beginning anew.

import Bytes
import Contracts
import JSON
import LineFiles

/// Where an input stands after a transaction; the value of `gateway/<input>/position`.
struct IngestPosition: Equatable {
    var events = LinePosition.start
    var catalog = LinePosition.start
    /// The newest time of an accepted event, nil before the first.
    var newestTime: Int64?
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
        buffer.member("catalog_lines", catalog.lines)
        buffer.member("catalog_offset", catalog.offset)
        buffer.member("closed", isClosed)
        buffer.member("events_lines", events.lines)
        buffer.member("events_offset", events.offset)
        buffer.member("newest_ms", newestTime)
        buffer.closeObject()
    }

    init(_ value: ByteSlice, of input: String) throws(IngestError) {
        guard let record = try? JSONValue(parsing: value),
            let catalogLines = record["catalog_lines"]?.integer,
            let catalogOffset = record["catalog_offset"]?.integer,
            let eventsLines = record["events_lines"]?.integer,
            let eventsOffset = record["events_offset"]?.integer,
            let isClosed = record["closed"]?.boolean
        else {
            throw IngestError(
                "the position of input \(input) in checkpoints cannot be read: \(value.text)")
        }
        events = LinePosition(offset: eventsOffset, lines: eventsLines)
        catalog = LinePosition(offset: catalogOffset, lines: catalogLines)
        newestTime = record["newest_ms"]?.integer
        self.isClosed = isClosed
    }
}

/// An input that cannot be gone on with.
public struct IngestError: Error, CustomStringConvertible, Equatable {
    public let description: String
    public init(_ description: String) { self.description = description }
}
