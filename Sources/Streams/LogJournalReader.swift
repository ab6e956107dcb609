// Reading a log's folder back: which commits there are, and whether the segments hold them.

import Bytes

/// Reads a journal up to its last whole entry and tells a torn end from damage.
struct JournalReader {
    private let bytes: ByteSlice
    private let path: String
    /// What the log held after the last whole entry, and before it.
    private(set) var last = LogJournal()
    private(set) var beforeLast: LogJournal?
    private(set) var sequence: UInt64 = 0
    /// Whether something that is not a whole entry stands behind the last one.
    private(set) var isTorn = false

    init(_ bytes: ByteSlice, _ folder: String) {
        self.bytes = bytes
        path = "\(folder)/journal"
    }

    mutating func readAll() throws(LogFolderError) {
        guard let first = LogJournal.entry(at: 0, of: bytes) else {
            throw LogFolderError.damaged(path, "its first entry is torn or was altered")
        }
        last = first.entry
        sequence = first.sequence
        var position = first.bytes
        while let next = LogJournal.entry(at: position, of: bytes), next.sequence == sequence + 1 {
            guard let applied = last.applying(next.entry) else {
                throw LogFolderError.damaged(path, "its entry \(next.sequence) does not fit")
            }
            beforeLast = last
            last = applied
            sequence = next.sequence
            position += next.bytes
        }
        isTorn = position < bytes.count
        // An entry is begun only when the one before it is on disk whole: a later one proves damage.
        while position + LogJournal.headBytes <= bytes.count {
            position += 8
            if LogJournal.entry(at: position, of: bytes) != nil {
                throw LogFolderError.damaged(path, "the entry behind \(sequence) was altered")
            }
        }
    }
}

extension LogJournal {
    /// What the log holds after one more entry; `nil` if the entry names what there is not.
    func applying(_ entry: LogJournal) -> LogJournal? {
        var new = self
        new.now = entry.now
        for partition in entry.partitions {
            guard
                let at = new.partitions.firstIndex(where: {
                    $0.topic == partition.topic && $0.partition == partition.partition
                })
            else { return nil }
            new.partitions[at].start = partition.start
            new.partitions[at].end = partition.end
            for segment in partition.segments {
                if let known = new.partitions[at].segments.firstIndex(where: {
                    $0.number == segment.number
                }) {
                    new.partitions[at].segments[known] = segment
                } else {
                    new.partitions[at].segments.append(segment)
                }
            }
        }
        for offset in entry.offsets {
            new.offsets.removeAll {
                $0.group == offset.group && $0.topic == offset.topic
                    && $0.partition == offset.partition
            }
            new.offsets.append(offset)
        }
        for producer in entry.producers {
            new.producers.removeAll { $0.id == producer.id }
            new.producers.append(producer)
        }
        return new
    }

    func folderName(_ partition: Partition) -> String {
        "\(topics[partition.topic].name)-\(partition.partition)"
    }
}

/// The segment files that a journal names, read into memory and checked.
final class SegmentFiles {
    private var memory: [String: (base: UnsafeMutableRawPointer, read: Int, capacity: Int)] = [:]

    init(_ journal: LogJournal, _ folder: LogFolder) throws {
        for partition in journal.partitions {
            for segment in partition.segments {
                let name = "\(journal.folderName(partition))/\(segment.fileName)"
                guard try folder.length(name) != nil else { continue }
                let capacity = max(segment.length, MemoryLogPartition.smallestChunk)
                let base = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 8)
                memory[name] = (base, 0, capacity)
                memory[name]!.read = try folder.read(name, segment.length, into: base)
            }
        }
    }

    deinit { for file in memory.values { file.base.deallocate() } }

    /// Whether every segment is there with the length and checksum that `journal` says.
    func hold(_ journal: LogJournal) -> Bool { firstBad(journal) == nil }

    func firstBad(_ journal: LogJournal) -> String? {
        for partition in journal.partitions {
            for segment in partition.segments {
                let name = "\(journal.folderName(partition))/\(segment.fileName)"
                guard let file = memory[name], file.read >= segment.length,
                    CRC32C.checksum(
                        ByteSlice(
                            UnsafeRawBufferPointer(start: file.base, count: segment.length)))
                        == segment.checksum
                else { return name }
            }
        }
        return nil
    }

    /// Hands a segment's memory over as a chunk.
    func takeChunk(_ name: String, _ segment: LogJournal.Segment) throws -> MemoryLogPartition.Chunk
    {
        let file = memory.removeValue(forKey: name)!
        return MemoryLogPartition.Chunk(
            base: file.base, capacity: file.capacity, durable: segment)
    }
}

extension MemoryLogPartition.Chunk {
    fileprivate init(
        base: UnsafeMutableRawPointer, capacity: Int, durable: LogJournal.Segment
    ) {
        self.base = base
        self.capacity = capacity
        firstOffset = durable.firstOffset
        number = durable.number
        used = durable.length
        self.durable = durable.length
        checksum = durable.checksum
    }
}
