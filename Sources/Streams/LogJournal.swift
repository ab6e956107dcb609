// The commit journal of a log's folder: what makes a transaction atomic over all its files.

import Bytes

/// One entry of the journal: what changed with a commit, or, in the first entry, everything.
///
/// Segments are written and synced before the entry that names their new length and checksum, so an
/// entry that is there whole is a commit, and everything behind the last one never happened.
///
/// On disk: "CJE1", length of the payload, number of the entry, CRC-32C of both and the payload, zero;
/// payload, filled up to a multiple of 8.
struct LogJournal: Equatable {
    struct Segment: Equatable {
        var firstOffset: Int64
        var number: UInt32
        /// Bytes of the segment that are committed, and the checksum of all of them.
        var length: Int
        var checksum: UInt32

        var fileName: String {
            let digits = String(firstOffset)
            let zeros = String(repeating: "0", count: max(0, 20 - digits.count))
            return "\(zeros)\(digits)-\(number).segment"
        }
    }

    struct Partition: Equatable {
        var topic: Int
        var partition: Int
        var start: Int64
        var end: Int64
        /// New or longer ones; in the first entry all.
        var segments: [Segment]
    }

    struct Offset: Equatable {
        var group: String
        var topic: Int
        var partition: Int
        var next: Int64
    }

    struct Producer: Equatable {
        var id: String
        var number: Int32
        var epoch: Int
    }

    struct Topic: Equatable {
        var name: String
        var partitions: Int
    }

    var now: Int64 = 0
    /// Only in the first entry.
    var topics: [Topic] = []
    var partitions: [Partition] = []
    var offsets: [Offset] = []
    var producers: [Producer] = []

    static let magic: UInt32 = 0x3145_4A43
    static let headBytes = 24

    // Writing

    func append(sequence: UInt64, to buffer: inout ByteBuffer) {
        var payload = ByteBuffer()
        appendPayload(to: &payload)
        while payload.count % 8 != 0 { payload.append(0) }
        var sealed = ByteBuffer()
        sealed.append(raw: UInt32(payload.count))
        sealed.append(raw: sequence)
        let checksum = CRC32C.checksum(
            payload.slice, continuing: CRC32C.checksum(sealed.slice))
        buffer.append(raw: LogJournal.magic)
        buffer.append(sealed.slice)
        buffer.append(raw: checksum)
        buffer.append(raw: UInt32(0))
        buffer.append(payload.slice)
    }

    private func appendPayload(to b: inout ByteBuffer) {
        b.append(raw: now)
        b.append(raw: UInt32(topics.count))
        for topic in topics {
            appendText(topic.name, to: &b)
            b.append(raw: UInt32(topic.partitions))
        }
        b.append(raw: UInt32(partitions.count))
        for partition in partitions {
            b.append(raw: UInt32(partition.topic))
            b.append(raw: UInt32(partition.partition))
            b.append(raw: partition.start)
            b.append(raw: partition.end)
            b.append(raw: UInt32(partition.segments.count))
            for segment in partition.segments {
                b.append(raw: segment.firstOffset)
                b.append(raw: segment.number)
                b.append(raw: UInt64(segment.length))
                b.append(raw: segment.checksum)
            }
        }
        b.append(raw: UInt32(offsets.count))
        for offset in offsets {
            appendText(offset.group, to: &b)
            b.append(raw: UInt32(offset.topic))
            b.append(raw: UInt32(offset.partition))
            b.append(raw: offset.next)
        }
        b.append(raw: UInt32(producers.count))
        for producer in producers {
            appendText(producer.id, to: &b)
            b.append(raw: producer.number)
            b.append(raw: UInt64(producer.epoch))
        }
    }

    // Reading

    init() {}

    /// The entry at `position` of a journal with its length, or `nil` if none stands there whole.
    static func entry(
        at position: Int, of journal: ByteSlice
    ) -> (entry: LogJournal, sequence: UInt64, bytes: Int)? {
        guard journal.count - position >= headBytes else { return nil }
        let raw = UnsafeRawPointer(journal.base + position)
        let length = Int(raw.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
        guard raw.loadUnaligned(as: UInt32.self) == magic, length % 8 == 0,
            journal.count - position - headBytes >= length
        else { return nil }
        let payload = journal.slice(position + headBytes, position + headBytes + length)
        let checksum = CRC32C.checksum(
            payload,
            continuing: CRC32C.checksum(journal.slice(position + 4, position + 16)))
        guard raw.loadUnaligned(fromByteOffset: 16, as: UInt32.self) == checksum,
            raw.loadUnaligned(fromByteOffset: 20, as: UInt32.self) == 0,
            let entry = try? LogJournal(payload: payload)
        else { return nil }
        return (
            entry, raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self), headBytes + length
        )
    }

    private init(payload: ByteSlice) throws(StateError) {
        var reader = PlainReader(payload)
        now = try reader.number()
        for _ in 0..<(try reader.number() as UInt32) {
            let name = try reader.text()
            topics.append(Topic(name: name, partitions: Int(try reader.number() as UInt32)))
        }
        for _ in 0..<(try reader.number() as UInt32) {
            var partition = Partition(
                topic: Int(try reader.number() as UInt32),
                partition: Int(try reader.number() as UInt32), start: try reader.number(),
                end: try reader.number(), segments: [])
            for _ in 0..<(try reader.number() as UInt32) {
                partition.segments.append(
                    Segment(
                        firstOffset: try reader.number(), number: try reader.number(),
                        length: Int(truncatingIfNeeded: try reader.number() as UInt64),
                        checksum: try reader.number()))
            }
            partitions.append(partition)
        }
        for _ in 0..<(try reader.number() as UInt32) {
            offsets.append(
                Offset(
                    group: try reader.text(), topic: Int(try reader.number() as UInt32),
                    partition: Int(try reader.number() as UInt32), next: try reader.number()))
        }
        for _ in 0..<(try reader.number() as UInt32) {
            producers.append(
                Producer(
                    id: try reader.text(), number: try reader.number(),
                    epoch: Int(truncatingIfNeeded: try reader.number() as UInt64)))
        }
    }
}
