// dead-letters: what could not be used, with the reason, so that it can be repaired and sent again.

import Bytes
import JSON

/// The closed list of reasons.
@frozen
public enum DeadLetterReason: UInt8, CaseIterable, Sendable, Error {
    case empty, too_large, too_deep, invalid_utf8, invalid_json, duplicate_field, not_an_object
    case missing_field, wrong_type, out_of_range, invalid_value, conflicting_fields, unknown_type
    case too_many_values, key_missing, key_mismatch, foreign_tick, time_in_future, time_jump
    case new_domain, too_many_domains, not_mapped, unknown_version, crashed

    public var word: StaticString {
        switch self {
        case .empty: "empty"
        case .too_large: "too_large"
        case .too_deep: "too_deep"
        case .invalid_utf8: "invalid_utf8"
        case .invalid_json: "invalid_json"
        case .duplicate_field: "duplicate_field"
        case .not_an_object: "not_an_object"
        case .missing_field: "missing_field"
        case .wrong_type: "wrong_type"
        case .out_of_range: "out_of_range"
        case .invalid_value: "invalid_value"
        case .conflicting_fields: "conflicting_fields"
        case .unknown_type: "unknown_type"
        case .too_many_values: "too_many_values"
        case .key_missing: "key_missing"
        case .key_mismatch: "key_mismatch"
        case .foreign_tick: "foreign_tick"
        case .time_in_future: "time_in_future"
        case .time_jump: "time_jump"
        case .new_domain: "new_domain"
        case .too_many_domains: "too_many_domains"
        case .not_mapped: "not_mapped"
        case .unknown_version: "unknown_version"
        case .crashed: "crashed"
        }
    }

    /// What the reason means, in one sentence.
    public var sentence: StaticString {
        switch self {
        case .empty: "The record has no value, or the line is blank."
        case .too_large: "The record, or what a slate in it would explode to, is larger than 1 MiB."
        case .too_deep: "The record nests deeper than 16 levels."
        case .invalid_utf8: "The bytes are not UTF-8."
        case .invalid_json: "The bytes are not JSON as RFC 8259 defines it."
        case .duplicate_field: "An object names the same member twice."
        case .not_an_object: "The record is JSON, but not an object."
        case .missing_field: "A field that this type of record needs is missing."
        case .wrong_type: "A field has a value of another type than the contract says."
        case .out_of_range: "A number, a time or a length is outside what the contract allows."
        case .invalid_value: "A name, a word or a date is not one that the contract allows."
        case .conflicting_fields: "Two fields stand in the record that exclude each other."
        case .unknown_type: "The field type names no known type of event."
        case .too_many_values: "An object or a list holds more values than the contract allows."
        case .key_missing: "The record has no key, though its contract asks for one."
        case .key_mismatch: "The record's key is not the field that the contract makes the key."
        case .foreign_tick: "A tick came from someone other than this fleet."
        case .time_in_future: "The event lies further in the future than future_s allows."
        case .time_jump: "The event jumps further ahead of the newest one than jump_s allows."
        case .new_domain: "The domain is not in the settings, and new domains are not accepted."
        case .too_many_domains: "The domain is new, and domains_max are known already."
        case .not_mapped: "The map file does not say how to turn this line into a record."
        case .unknown_version:
            "The header coldstream-schema names a major version that this binary does not know."
        case .crashed: "The record has ended a worker's process again and again, and was skipped."
        }
    }

    public init?(_ word: ByteSlice) {
        guard let reason = DeadLetterReason.allCases.first(where: { word.equals($0.word) }) else {
            return nil
        }
        self = reason
    }
}

/// One record of `dead-letters`.
@frozen
public struct DeadLetter: BitwiseCopyable {
    /// The first so many bytes of a value are kept.
    public static let keptBytes = 64 * 1024
    /// The first so many bytes of a key are kept.
    public static let keptKeyBytes = 4 * 1024
    /// A longer sentence ends in "…".
    public static let messageBytes = 1024

    public var reason: DeadLetterReason
    /// A sentence.
    public var message: ByteSlice
    /// The topic that it was meant for or read from.
    public var topic: ByteSlice
    public var partition: Int?
    public var ordinal: Int64?
    /// The file of a line that was never appended, and its number from 1.
    public var input: ByteSlice?
    public var line: Int64?
    /// The whole key, of which `keptKeyBytes` are written; nil where the record had none.
    public var key: ByteSlice?
    /// The whole value, of which `keptBytes` are written; nil for a tombstone. A reader fills it
    /// with the decoded kept bytes and `value_bytes` with how many there were.
    public var value: ByteSlice?
    public var value_bytes: Int

    public init(
        _ reason: DeadLetterReason, message: ByteSlice, topic: ByteSlice, key: ByteSlice?,
        value: ByteSlice?
    ) {
        self.reason = reason
        self.message = message
        self.topic = topic
        partition = nil
        ordinal = nil
        input = nil
        line = nil
        self.key = key
        self.value = value
        value_bytes = value?.count ?? 0
    }

    public func append(to buffer: inout ByteBuffer) {
        buffer.openRecord()
        buffer.member("input", input)
        if let key {
            buffer.name("key_base64")
            buffer.element(base64: key.slice(0, min(key.count, DeadLetter.keptKeyBytes)))
        }
        buffer.member("line", line)
        buffer.member("message", message)
        buffer.member("ordinal", ordinal)
        buffer.member("partition", partition)
        buffer.member("reason", reason.word)
        buffer.member("topic", topic)
        if let value {
            buffer.name("value_base64")
            buffer.element(base64: value.slice(0, min(value.count, DeadLetter.keptBytes)))
        }
        buffer.member("value_bytes", value_bytes)
        buffer.closeObject()
    }
}
