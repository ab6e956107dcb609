// What a step wants to publish, in order, in memory that the worker owns and empties.

import Bytes

/// Records on their way out: written by steps, committed by the worker, hashed on the way.
///
/// A record is written in place, so that it costs no allocation:
/// ```
/// outbox.begin(Topic.scores)
/// outbox.bytes.append(key)
/// outbox.beginValue()
/// outbox.bytes.append(value)
/// outbox.end()
/// ```
public struct Outbox: ~Copyable {
    /// Where one record lies in `bytes`.
    public struct Entry {
        public let topic: UInt16
        /// `nil`: the partition follows from the key.
        public let partition: Int?
        @usableFromInline let start: Int
        @usableFromInline let keyEnd: Int
        @usableFromInline let valueEnd: Int
        @usableFromInline let headersEnd: Int
        @usableFromInline let hasKey: Bool
        @usableFromInline let isTombstone: Bool
        /// Milliseconds since the epoch; `nil` = the log's clock.
        public let timestamp: Int64?
    }

    /// The bytes of the record that is being written; only appended to between `begin` and `end`.
    public var bytes: ByteBuffer
    public private(set) var entries: [Entry] = []

    /// Hash of everything published so far on behalf of the current input partition: topic,
    /// partition, key and value of every record, in order. Headers and timestamps stay outside.
    public var rollingHash = Hash128.zero
    /// Replay: outputs are hashed, then dropped.
    public var isSuppressed = false
    /// Whether records enter the rolling hash: a worker's own, of its checkpoints, do not.
    var isHashed = true
    /// How many records have been ended, suppressed ones included.
    public private(set) var recordsEnded: UInt64 = 0
    @usableFromInline var isAtPublishPoint = false

    private var topic: UInt16 = 0
    private var partition: Int?
    private var start = 0
    private var keyEnd = -1
    private var isOpen = false
    private var hasKey = true
    private var timestamp: Int64?

    public init() { bytes = ByteBuffer(capacity: 1 << 16) }

    public var isEmpty: Bool { entries.isEmpty }

    /// Starts a record; its key is what is appended to `bytes` until `beginValue`.
    ///
    /// - Parameters:
    ///   - partition: where it goes; `nil` = where its key says.
    ///   - hasKey: false for a record with a null key, which needs a partition.
    @inlinable
    public mutating func begin<Topic: RawRepresentable>(
        _ topic: Topic, partition: Int? = nil, hasKey: Bool = true, timestamp: Int64? = nil
    ) where Topic.RawValue == UInt16 {
        begin(number: topic.rawValue, partition, hasKey: hasKey, timestamp: timestamp)
    }

    @usableFromInline
    mutating func begin(number: UInt16, _ partition: Int?, hasKey: Bool, timestamp: Int64?) {
        precondition(!isOpen, "begin of a record inside a record")
        precondition(hasKey || partition != nil, "a record without key needs a partition")
        topic = number
        self.partition = partition
        self.hasKey = hasKey
        self.timestamp = timestamp
        start = bytes.count
        keyEnd = -1
        isOpen = true
    }

    /// Ends the key; what follows in `bytes` is the value.
    public mutating func beginValue() {
        precondition(isOpen && keyEnd < 0, "beginValue outside a record")
        keyEnd = bytes.count
    }

    /// Ends the record. `headers` are copied behind it.
    public mutating func end(headers: Headers = Headers()) {
        finish(isTombstone: false, headers: headers)
    }

    /// Ends the record as a tombstone: the key without a value.
    public mutating func endTombstone() {
        if keyEnd < 0 { beginValue() }
        precondition(bytes.count == keyEnd, "a tombstone has no value")
        finish(isTombstone: true, headers: Headers())
    }

    private mutating func finish(isTombstone: Bool, headers: Headers) {
        precondition(isOpen && keyEnd >= 0, "end outside a record's value")
        isOpen = false
        recordsEnded += 1
        let valueEnd = bytes.count
        if isHashed { updateHash(valueEnd: valueEnd, isTombstone: isTombstone) }
        if isSuppressed {
            bytes.truncate(to: start)
            return
        }
        bytes.append(headers.encoded)
        entries.append(
            Entry(
                topic: topic, partition: partition, start: start, keyEnd: keyEnd,
                valueEnd: valueEnd, headersEnd: bytes.count, hasKey: hasKey,
                isTombstone: isTombstone, timestamp: timestamp))
    }

    private mutating func updateHash(valueEnd: Int, isTombstone: Bool) {
        let place =
            UInt64(topic) << 40 | UInt64(bitPattern: Int64(partition ?? -1)) & 0xFF_FFFF_FFFF
        let shape = UInt64(keyEnd - start) << 2 | (hasKey ? 2 : 0) | (isTombstone ? 1 : 0)
        rollingHash = rollingHash.combined(
            with: Hash128(
                bytes.slice(start..<valueEnd), seed: place ^ shape &* 0x9E37_79B9_7F4A_7C15))
    }

    /// Says that the record being stepped over is a publish point, so that a replay notes the hash of
    /// everything published up to and with it (`Replay.points`). Costs nothing otherwise.
    @inlinable
    public mutating func markPublishPoint() { isAtPublishPoint = true }

    /// Takes back the record that was begun and not ended.
    public mutating func cancel() {
        precondition(isOpen, "cancel outside a record")
        isOpen = false
        bytes.truncate(to: start)
    }

    public mutating func removeAll() {
        precondition(!isOpen, "removeAll inside a record")
        bytes.removeAll()
        entries.removeAll(keepingCapacity: true)
    }

    public func key(of entry: Entry) -> ByteSlice? {
        entry.hasKey ? bytes.slice(entry.start..<entry.keyEnd) : nil
    }

    public func value(of entry: Entry) -> ByteSlice? {
        entry.isTombstone ? nil : bytes.slice(entry.keyEnd..<entry.valueEnd)
    }

    public func headers(of entry: Entry) -> Headers {
        Headers(encoded: bytes.slice(entry.valueEnd..<entry.headersEnd))
    }
}
