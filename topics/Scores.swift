// scores: what downstream feeds rank by; the newest record of a key counts.

import Bytes
import JSON

@frozen
public enum ScoreStage: UInt8, Sendable {
    /// No label of the item in this domain yet.
    case zero_shot
    case learning

    public var word: StaticString { self == .zero_shot ? "zero_shot" : "learning" }
}

/// An item's calibrated probability in a domain, with its uncertainty and where it comes from.
@frozen
public struct Score: BitwiseCopyable {
    public var domain: ByteSlice = .empty
    public var task: Task = .click
    /// The query's text; nil in a recommendation domain.
    public var query: ByteSlice?
    public var item_id: ByteSlice = .empty
    /// Probability, 0…1.
    public var score: Double = 0
    /// Standard deviation of the score's logit.
    public var score_std: Double = 0
    /// Place among the domain's (the query's) items at that publish point, from 1.
    public var rank: Int = 0
    public var impressions: Int64 = 0
    public var labels: Int64 = 0
    public var stage: ScoreStage = .zero_shot
    public var time_ms: Int64 = 0
    public var head_version: Int64 = 0
    /// Hash of the release under the head; nil while the head stands alone.
    public var release: ByteSlice?
    public var arm: ByteSlice = .empty
    public var partition: Int = 0
    public var ordinal: Int64 = 0

    public init() {}

    public func append(to buffer: inout ByteBuffer) {
        buffer.openRecord()
        buffer.member("arm", arm)
        buffer.member("domain", domain)
        buffer.member("head_version", head_version)
        buffer.member("impressions", impressions)
        buffer.member("item_id", item_id)
        buffer.member("labels", labels)
        buffer.member("ordinal", ordinal)
        buffer.member("partition", partition)
        buffer.member("query", orNull: query)
        buffer.member("rank", rank)
        buffer.member("release", orNull: release)
        buffer.member("score", score)
        buffer.member("score_std", score_std)
        buffer.member("stage", stage.word)
        buffer.member("task", task.word)
        buffer.member("time_ms", time_ms)
        buffer.closeObject()
    }

    /// Writes the record's key, `domain/task/query-hash or -/item_id`.
    public func appendKey(to buffer: inout ByteBuffer) {
        ScoreKey.append(domain, task, queryHash: query.map(TextHash.of), item_id, to: &buffer)
    }
}

/// The key of a score; also written alone, for the tombstone of an unavailable item.
public enum ScoreKey {
    public static func append(
        _ domain: ByteSlice, _ task: Task, queryHash: UInt64?, _ item_id: ByteSlice,
        to buffer: inout ByteBuffer
    ) {
        buffer.append(domain)
        buffer.append(UInt8(ascii: "/"))
        buffer.append(task.word)
        buffer.append(UInt8(ascii: "/"))
        if let queryHash {
            buffer.append(hexadecimal: queryHash)
        } else {
            buffer.append(UInt8(ascii: "-"))
        }
        buffer.append(UInt8(ascii: "/"))
        buffer.append(item_id)
    }
}

extension ByteBuffer {
    /// Appends 16 hexadecimal digits, lower case.
    @inlinable public mutating func append(hexadecimal value: UInt64) {
        appendUninitialized(16) { out in
            for i in 0..<16 {
                let digit = UInt8(truncatingIfNeeded: value &>> UInt64(60 &- 4 &* i)) & 15
                out[i] =
                    digit < 10 ? digit &+ UInt8(ascii: "0") : digit &+ (UInt8(ascii: "a") &- 10)
            }
            return 16
        }
    }
}
