// examples: labeled examples as they were predicted and learned from; nobody has to join anything
// again.

import Bytes
import JSON

@frozen
public struct HashedFeature: BitwiseCopyable {
    public var bucket: Int
    public var value: Double

    public init(bucket: Int, value: Double) {
        self.bucket = bucket
        self.value = value
    }
}

@frozen
public struct Example: BitwiseCopyable {
    public var impression_id: ByteSlice = .empty
    public var request_id: ByteSlice?
    /// Of the impression.
    public var time_ms: Int64 = 0
    public var task: Task = .click
    public var revision: Int = 0
    /// 0 or 1.
    public var label: Int = 0
    /// The probability that was predicted when the item was shown.
    public var prediction: Double = 0
    /// The share of examples like this one that is in the topic, (0, 1]: each stands for 1 / `kept_share`.
    public var kept_share: Double = 1
    /// False: a negative that `negative_share` thinned away: predicted and judged, not learned from.
    public var learned = true
    /// Hashes, 16 hexadecimal digits on the wire.
    public var item: UInt64 = 0
    public var user: UInt64 = 0
    public var query: UInt64?
    public var position: Int?
    public var dense: BorrowedList<Double> = BorrowedList()
    public var hashed: BorrowedList<HashedFeature> = BorrowedList()

    public init() {}
}

/// One record of `examples`: the micro-batch of one domain.
@frozen
public struct ExampleBatch: BitwiseCopyable {
    public var domain: ByteSlice = .empty
    public var partition: Int = 0
    public var ordinal: Int64 = 0
    public var head_version: Int64 = 0
    public var release: ByteSlice?
    public var examples: BorrowedList<Example> = BorrowedList()

    public init() {}

    public func append(to buffer: inout ByteBuffer) {
        buffer.openRecord()
        buffer.member("domain", domain)
        buffer.name("examples")
        buffer.openArray()
        for example in examples { append(example, to: &buffer) }
        buffer.closeArray()
        buffer.member("head_version", head_version)
        buffer.member("ordinal", ordinal)
        buffer.member("partition", partition)
        buffer.member("release", orNull: release)
        buffer.closeObject()
    }

    private func append(_ example: Example, to buffer: inout ByteBuffer) {
        buffer.openObject()
        buffer.member("dense", example.dense)
        buffer.name("hashed")
        buffer.openArray()
        for feature in example.hashed {
            buffer.openArray()
            buffer.element(feature.bucket)
            buffer.element(feature.value)
            buffer.closeArray()
        }
        buffer.closeArray()
        buffer.member("impression_id", example.impression_id)
        buffer.member("item", hash: example.item)
        buffer.member("kept_share", example.kept_share)
        buffer.member("label", example.label)
        if !example.learned { buffer.member("learned", false) }
        buffer.member("position", example.position)
        buffer.member("prediction", example.prediction)
        buffer.member("query", hash: example.query)
        buffer.member("request_id", example.request_id)
        buffer.member("revision", example.revision)
        buffer.member("task", example.task.word)
        buffer.member("time_ms", example.time_ms)
        buffer.member("user", hash: example.user)
        buffer.closeObject()
    }
}
