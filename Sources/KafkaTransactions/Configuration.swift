// librdkafka's configuration object and its owner.

import CRdKafka

/// An `rd_kafka_conf_t` with exactly one owner.
///
/// `rd_kafka_new` takes ownership only when it succeeds. `~Copyable` and `consuming` say so in
/// types: a configuration is either spent on a client or freed; never both, never neither.
struct Configuration: ~Copyable {
    private let handle: OpaquePointer

    init() { handle = rd_kafka_conf_new() }

    deinit { rd_kafka_conf_destroy(handle) }

    /// Sets everything in `settings`, in the order of the names.
    borrowing func set(
        _ settings: [String: String], _ redaction: Redaction
    ) throws(KafkaError) {
        for (key, value) in settings.sorted(by: { $0.key < $1.key }) {
            let (result, reason) = withErrorText { rd_kafka_conf_set(handle, key, value, $0, $1) }
            guard result == RD_KAFKA_CONF_OK else {
                throw KafkaError.settings("set \(key)", redaction(reason))
            }
        }
    }

    /// Sets what newer versions know; older ones go without.
    borrowing func setIfKnown(_ key: String, _ value: String) {
        _ = withErrorText { rd_kafka_conf_set(handle, key, value, $0, $1) }
    }

    /// Lends the C object for the length of `body`, to register callbacks.
    borrowing func lend(_ body: (OpaquePointer) -> Void) { body(handle) }

    consuming func makeClient(
        _ kind: rd_kafka_type_t, _ redaction: Redaction
    ) throws(KafkaError) -> OpaquePointer {
        let handle = self.handle
        let (client, reason) = withErrorText { rd_kafka_new(kind, handle, $0, $1) }
        guard let client else {
            _ = consume self  // refused: the handle is still ours, free it
            throw KafkaError.settings("create a client", redaction(reason))
        }
        discard self  // librdkafka owns the handle now
        return client
    }
}

/// Calls something that reports an error as text into a buffer.
func withErrorText<Result>(
    _ body: (UnsafeMutablePointer<CChar>, Int) -> Result
) -> (Result, String) {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 512) { buffer in
        buffer.initialize(repeating: 0)
        let result = body(buffer.baseAddress!, buffer.count)
        return (result, String(cString: buffer.baseAddress!))
    }
}
