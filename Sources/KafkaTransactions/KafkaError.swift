// The one error of this module: what was tried, what happened, what now.

import CRdKafka

/// A failure reported by librdkafka, reduced to the one question a worker asks: what now?
///
/// Secrets of the client's settings never stand in `reason`.
public struct KafkaError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The only four reactions a caller can have.
    public enum Remedy: String, Sendable, CaseIterable {
        /// Starting again with the same settings fails again: a person has to change something.
        case fixSettings
        /// The same call, made again with the same arguments, may succeed; nothing was done twice.
        case retry
        /// The client must not be used again: exit, and let a supervisor start the process anew.
        case restart
        /// Another process holds this slot: exit, and do not come back at once.
        case standBack
    }

    /// What was tried, to be read after "kafka could not".
    public let operation: String

    /// librdkafka's code; `name` is its name there, as in `_FENCED` or `TOPIC_AUTHORIZATION_FAILED`.
    public let code: Int32

    /// What happened, in librdkafka's words or ours.
    public let reason: String

    /// What now.
    public let remedy: Remedy

    public init(operation: String, code: Int32, reason: String, remedy: Remedy) {
        self.operation = operation
        self.code = code
        self.reason = reason
        self.remedy = remedy
    }

    /// The code's name in librdkafka, without the prefix `RD_KAFKA_RESP_ERR_`.
    public var name: String { String(cString: rd_kafka_err2name(rd_kafka_resp_err_t(code))) }

    public var description: String {
        let advice =
            switch remedy {
            case .fixSettings: "correct the settings and start again"
            case .retry: "safe to call again"
            case .restart: "this client is broken: exit and let the supervisor start it again"
            case .standBack: "another process runs in this slot: exit and do not come back at once"
            }
        return "kafka could not \(operation): \(reason) (\(name)); \(advice)"
    }
}

/// Whether a failed call may be made again with the same arguments.
///
/// A lost answer to a transaction call may arrive late and end the *next* transaction (KIP-890 is not
/// in librdkafka), so those are never repeated, whatever librdkafka says of the error.
enum Repetition { case harmless, harmful }

extension KafkaError {
    /// An error from a bare code.
    init(
        _ operation: String, _ code: rd_kafka_resp_err_t, reason: String? = nil,
        _ repetition: Repetition = .harmless, isFatal: Bool = false, isRetriable: Bool = false,
        _ redaction: Redaction = Redaction([])
    ) {
        self.init(
            operation: operation, code: code.rawValue,
            reason: redaction(reason ?? String(cString: rd_kafka_err2str(code))),
            remedy: Remedy(
                code: code.rawValue, isFatal: isFatal, isRetriable: isRetriable, repetition))
    }

    /// An error object of librdkafka; frees it.
    init(
        _ operation: String, consuming error: OpaquePointer, _ repetition: Repetition,
        _ redaction: Redaction
    ) {
        self.init(
            operation, rd_kafka_error_code(error),
            reason: String(cString: rd_kafka_error_string(error)), repetition,
            isFatal: rd_kafka_error_is_fatal(error) != 0,
            isRetriable: rd_kafka_error_is_retriable(error) != 0, redaction)
        rd_kafka_error_destroy(error)
    }

    /// How long a topic or partition may be unknown before it counts as one that does not exist: a
    /// broker that has just come back, and one that has just been told of a topic, say so for a moment.
    static let unknownTopicMilliseconds = 5_000

    /// What a broker or librdkafka says of a topic that it has not heard of, or not yet.
    static let unknownTopic = [
        RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
        RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
    ].map(\.rawValue)

    var isUnknownTopic: Bool { Self.unknownTopic.contains(code) }

    /// Something wrong in what a person wrote, found before librdkafka was asked.
    static func settings(_ operation: String, _ reason: String) -> KafkaError {
        KafkaError(
            operation: operation, code: RD_KAFKA_RESP_ERR__INVALID_ARG.rawValue, reason: reason,
            remedy: .fixSettings)
    }
}
