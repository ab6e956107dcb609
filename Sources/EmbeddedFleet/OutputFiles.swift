// What a run leaves: one JSON-lines file for each output topic, read from whatever log it ran on.

import Bytes
import Contracts
import LineFiles
import Streams

/// A log whose committed records become files.
public protocol OutputSource {
    func partitionCount(_ topic: Topic) throws -> Int

    /// Lends the committed records of a partition from `first` on, or from where its log begins.
    ///
    /// - Returns: the offset behind the last one.
    func read(
        _ topic: Topic, partition: Int, from first: Int64, _ body: (Record) throws -> Void
    ) throws -> Int64

    /// Records below `end` have been written and are not asked for again.
    func forget(_ topic: Topic, partition: Int, before end: Int64) throws
}

/// The log of an embedded fleet.
public struct MemoryOutputSource: OutputSource {
    private let log: MemoryLog
    private let keepsLog: Bool

    /// - Parameter keepsLog: whether written records stay in the log (a run with a data folder), or are
    ///   trimmed.
    public init(_ log: MemoryLog, keepsLog: Bool) {
        self.log = log
        self.keepsLog = keepsLog
    }

    public func partitionCount(_ topic: Topic) -> Int { log.partitionCount(topic) }

    public func read(
        _ topic: Topic, partition: Int, from first: Int64, _ body: (Record) throws -> Void
    ) throws -> Int64 {
        try log.read(
            topic, partition: partition,
            from: max(first, log.startOffset(topic, partition: partition)), body)
    }

    public func forget(_ topic: Topic, partition: Int, before end: Int64) throws {
        if !keepsLog { try log.trim(topic, partition: partition, before: end) }
    }
}

/// Writes topics as files: a compacted one as its newest record per key, sorted by key, the others as
/// they came.
public final class OutputFiles {
    /// Topics that are records of JSON and of use to people.
    public static let topics: [Topic] = [
        .scores, .domainStatistics, .evaluations, .examples, .deadLetters, .texts,
    ]

    private let folder: String
    private let source: any OutputSource
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
    ///   - keepsLog: as in `MemoryOutputSource`.
    public convenience init(_ log: MemoryLog, folder: String, keepsLog: Bool) throws {
        try self.init(MemoryOutputSource(log, keepsLog: keepsLog), folder: folder)
    }

    /// - Parameter folder: must exist.
    public init(_ source: any OutputSource, folder: String) throws {
        self.source = source
        self.folder = folder
        for topic in OutputFiles.topics where !topic.isCompacted {
            let writer = try LineWriter.create("\(folder)/\(topic.name).jsonl")
            streams[topic] = try Stream(writer, partitions: source.partitionCount(topic))
        }
    }

    /// Writes what has been published since the last call.
    public func drain() throws {
        for topic in OutputFiles.topics {
            guard let stream = streams[topic] else { continue }
            for partition in stream.next.indices {
                stream.next[partition] = try source.read(
                    topic, partition: partition, from: stream.next[partition]
                ) { record in
                    if let value = record.value { try stream.writer?.append(line: value) }
                }
                try source.forget(topic, partition: partition, before: stream.next[partition])
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
        for partition in 0..<(try source.partitionCount(topic)) {
            _ = try source.read(topic, partition: partition, from: 0) { record in
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
