// evaluations: how good the predictions were that production really made; also what replay
// compares.

import Bytes
import JSON

/// One record of `evaluations`: one slice of the examples of one domain and arm.
@frozen
public struct Evaluation: BitwiseCopyable {
    public var domain: ByteSlice = .empty
    public var arm: ByteSlice = .empty
    public var release: ByteSlice?
    public var head_version: Int64 = 0
    /// What the slice is cut by (`all`, `labels`, …) and its value there (`all`, `0`, `1-9`, …).
    public var slice_by: ByteSlice = .empty
    public var slice_value: ByteSlice = .empty
    public var partition: Int = 0
    public var first_ordinal: Int64 = 0
    public var last_ordinal: Int64 = 0
    public var first_time_ms: Int64 = 0
    public var last_time_ms: Int64 = 0
    public var examples: Int64 = 0
    public var positives: Int64 = 0
    public var corrections: Int64 = 0
    /// nil where only one class was seen.
    public var auc: Double?
    public var gauc: Double?
    public var log_loss: Double?
    public var normalized_entropy: Double?
    /// Mean prediction / observed rate; nil where nothing was clicked.
    public var calibration: Double?
    public var ece: Double?
    /// Rolling hashes of what was published and of the head, up to `last_ordinal`.
    public var scores_hash: ByteSlice = .empty
    public var head_hash: ByteSlice = .empty

    public init() {}

    public func append(to buffer: inout ByteBuffer) {
        buffer.openRecord()
        buffer.member("arm", arm)
        buffer.member("auc", orNull: auc)
        buffer.member("calibration", orNull: calibration)
        buffer.member("corrections", corrections)
        buffer.member("domain", domain)
        buffer.member("ece", orNull: ece)
        buffer.member("examples", examples)
        buffer.member("first_ordinal", first_ordinal)
        buffer.member("first_time_ms", first_time_ms)
        buffer.member("gauc", orNull: gauc)
        buffer.member("head_hash", head_hash)
        buffer.member("head_version", head_version)
        buffer.member("last_ordinal", last_ordinal)
        buffer.member("last_time_ms", last_time_ms)
        buffer.member("log_loss", orNull: log_loss)
        buffer.member("normalized_entropy", orNull: normalized_entropy)
        buffer.member("partition", partition)
        buffer.member("positives", positives)
        buffer.member("release", orNull: release)
        buffer.member("scores_hash", scores_hash)
        buffer.name("slice")
        buffer.openObject()
        buffer.member("by", slice_by)
        buffer.member("value", slice_value)
        buffer.closeObject()
        buffer.closeObject()
    }

    /// Writes the record's key, `domain/arm/by=value`.
    public func appendKey(to buffer: inout ByteBuffer) {
        buffer.append(domain)
        buffer.append(UInt8(ascii: "/"))
        buffer.append(arm)
        buffer.append(UInt8(ascii: "/"))
        buffer.append(slice_by)
        buffer.append(UInt8(ascii: "="))
        buffer.append(slice_value)
    }
}
