// The one way in which every role writes a dead letter: key, headers and bounds are the same everywhere.

import Bytes
import Streams

/// Which worker writes, as the headers of dead letters say it.
public struct WriterIdentity: Sendable, Equatable {
    /// `<fleet>.<role>`.
    public var worker: String
    public var slot: Int
    /// Of this program; CHANGELOG.md says what changed.
    public static let version = "0.1.0"

    public init(worker: String, slot: Int = 0) {
        self.worker = worker
        self.slot = slot
    }
}

/// A line of an input that was never appended.
public struct InputLine {
    /// The file's name.
    public var input: String
    /// From 1.
    public var number: Int64
    /// The line, or the beginning of one that is too long.
    public var bytes: ByteSlice
    /// How long it was.
    public var length: Int

    public init(input: String, number: Int64, bytes: ByteSlice, length: Int) {
        self.input = input
        self.number = number
        self.bytes = bytes
        self.length = length
    }
}

/// Writes dead letters into an outbox; reused, one a thread.
///
/// Whatever the record was, a letter is small: `DeadLetter.largestBytes`. Key and value follow from the
/// record alone, so that a replay gives the same; headers, which are in no hash, say who wrote it.
public final class DeadLetterWriter {
    /// So many bytes of a record's own headers are kept; one that does not fit is left out.
    public static let keptHeaderBytes = 16 * 1024

    private var identity = ByteBuffer()
    private var headers = ByteBuffer()

    /// - Parameter identity: nil: nothing is said about the writer.
    public init(_ identity: WriterIdentity? = nil) {
        let (name, value) = TopicContract.header(.deadLetters)
        Headers.append(name, value, to: &self.identity)
        guard let identity else { return }
        Headers.append("coldstream-worker", identity.worker, to: &self.identity)
        Headers.append("coldstream-slot", "\(identity.slot)", to: &self.identity)
        Headers.append("coldstream-version", WriterIdentity.version, to: &self.identity)
    }

    /// Writes that a record could not be used.
    ///
    /// - Parameters:
    ///   - ordinal: of the record; nil where its reader counts none.
    ///   - headers: the record's own, where the worker does not read them with it.
    public func append(
        _ error: ContractError, _ record: Record, ordinal: Int64?, headers own: Headers? = nil,
        to outbox: inout Outbox
    ) {
        guard let topic = Topic(rawValue: record.topic) else {
            preconditionFailure("a record of topic \(record.topic), which no fleet has")
        }
        headers.removeAll()
        headers.append(identity.slice)
        Headers.append("coldstream-offset", "\(record.offset)", to: &headers)
        Headers.append("coldstream-timestamp", "\(record.timestamp)", to: &headers)
        keep(own ?? record.headers)
        let message = DeadLetterWriter.bounded(error.message)
        message.lend { message in
            topic.name.lend { name in
                var letter = DeadLetter(
                    error.reason, message: message, topic: name, key: record.key,
                    value: record.value)
                letter.partition = record.partition
                letter.ordinal = ordinal
                outbox.begin(Topic.deadLetters)
                outbox.bytes.append("\(topic.name)/\(record.partition)")
                outbox.beginValue()
                letter.append(to: &outbox.bytes)
                outbox.end(headers: Headers(encoded: headers.slice))
            }
        }
    }

    /// Writes that a line could not be appended to `topic`.
    public func append(
        _ error: ContractError, _ line: InputLine, topic: Topic, timestamp: Int64? = nil,
        to outbox: inout Outbox
    ) {
        let message = DeadLetterWriter.bounded(error.message)
        message.lend { message in
            topic.name.lend { name in
                line.input.lend { input in
                    var letter = DeadLetter(
                        error.reason, message: message, topic: name, key: nil, value: line.bytes)
                    letter.value_bytes = line.length
                    letter.input = input
                    letter.line = line.number
                    outbox.begin(Topic.deadLetters, timestamp: timestamp)
                    outbox.bytes.append("\(topic.name)/\(line.input)")
                    outbox.beginValue()
                    letter.append(to: &outbox.bytes)
                    outbox.end(headers: Headers(encoded: identity.slice))
                }
            }
        }
    }

    /// The record's own headers but for those whose names ours have.
    private func keep(_ own: Headers) {
        var left = DeadLetterWriter.keptHeaderBytes
        own.forEach { name, value in
            let isOurs = DeadLetterWriter.names.contains { name.equals($0) }
            guard !isOurs, name.count + value.count <= left else { return }
            left -= name.count + value.count
            Headers.append(name, value, to: &headers)
        }
    }

    private static let names: [StaticString] = [
        "coldstream-schema", "coldstream-worker", "coldstream-slot", "coldstream-version",
        "coldstream-offset", "coldstream-timestamp",
    ]

    /// A sentence may quote what it is about.
    private static func bounded(_ message: String) -> String {
        guard message.utf8.count > DeadLetter.messageBytes else { return message }
        var end = message.utf8.index(message.startIndex, offsetBy: DeadLetter.messageBytes - 3)
        while String.Index(end, within: message) == nil { end = message.utf8.index(before: end) }
        return message[..<end] + "…"
    }
}
