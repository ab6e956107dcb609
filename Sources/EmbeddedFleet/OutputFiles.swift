// What an embedded run leaves: one JSON-lines file for each output topic.

import Bytes
import Contracts
import LineFiles
import Streams

/// Writes topics as files: a compacted one as its newest record per key, sorted by key, the others as
/// they came.
public final class OutputFiles {
    /// Topics that are records of JSON and of use to people.
    public static let topics: [Topic] = [
        .scores, .domainStatistics, .evaluations, .examples, .deadLetters, .texts,
    ]

    private let folder: String
    private let log: MemoryLog
    private let keepsLog: Bool
    private var streams: [Topic: Stream] = [:]

    private final class Stream {
        var writer: LineWriter?
        var next: [Int64]

        init(_ writer: consuming LineWriter, partitions: Int) {
            self.writer = consume writer
            next = [Int64](repeating: 0, count: partitions)
        }
    }

    /// - Parameters:
    ///   - folder: must exist.
    ///   - keepsLog: whether written records stay in the log (a run with a data folder), or are trimmed.
    public init(_ log: MemoryLog, folder: String, keepsLog: Bool) throws {
        self.log = log
        self.folder = folder
        self.keepsLog = keepsLog
        for topic in OutputFiles.topics where !topic.isCompacted {
            let writer = try LineWriter.create("\(folder)/\(topic.name).jsonl")
            streams[topic] = Stream(writer, partitions: log.partitionCount(topic))
        }
    }

    /// Writes what has been published since the last call.
    public func drain() throws {
        for topic in OutputFiles.topics {
            guard let stream = streams[topic] else { continue }
            for partition in stream.next.indices {
                let next = stream.next[partition]
                stream.next[partition] = try log.read(
                    topic, partition: partition,
                    from: max(next, log.startOffset(topic, partition: partition))
                ) { record in
                    if let value = record.value { try stream.writer?.append(line: value) }
                }
                if !keepsLog {
                    try log.trim(topic, partition: partition, before: stream.next[partition])
                }
            }
        }
    }

    /// Writes the rest and the compacted topics, and puts all files in their places.
    public func finish() throws {
        try drain()
        for topic in OutputFiles.topics {
            if let stream = streams[topic] {
                try stream.writer.take()?.finish()
            } else {
                try writeCompacted(topic)
            }
        }
    }

    private func writeCompacted(_ topic: Topic) throws {
        var newest: [[UInt8]: [UInt8]?] = [:]
        for partition in 0..<log.partitionCount(topic) {
            try log.read(topic, partition: partition) { record in
                if let key = record.key { newest[key.copy()] = .some(record.value?.copy()) }
            }
        }
        var writer = try LineWriter.create("\(folder)/\(topic.name).jsonl")
        for key in newest.keys.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            guard let value = newest[key] ?? nil else { continue }
            try value.lend { bytes throws in try writer.append(line: bytes) }
        }
        try writer.finish()
    }
}
