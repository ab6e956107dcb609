// What encode shows beside the metrics of every worker.

import Encode
import WorkerRuntime

extension Metric {
    static let itemsSent = Metric(
        "coldstream_items_sent_total", .counter,
        "Records of the catalog sent on, deleted items among them.")
    static let itemsLate = Metric(
        "coldstream_items_late_total", .counter,
        "Items that were sent before the vector of their text was known, and once more with it.")
    static let textsSent = Metric(
        "coldstream_texts_sent_total", .counter, "Texts sent to a partition with their vector.")
    static let textsEncoded = Metric(
        "coldstream_texts_encoded_total", .counter, "Texts whose vector was made.")
    static let textsWithoutVector = Metric(
        "coldstream_texts_without_vector_total", .counter,
        "Texts that hold nothing the encoder knows, or that it refused.")
    static let vectorHits = Metric(
        "coldstream_vector_hits_total", .counter, "Records whose vector was known already.")
    static let encodeSeconds = Metric(
        "coldstream_encode_seconds_total", .counter, "Time spent in the encoder.")
    static let encoderFailures = Metric(
        "coldstream_encoder_failures_total", .counter, "Calls of the encoder that failed.",
        labels: ["reason"])
    static let owedTexts = Metric(
        "coldstream_owed_vectors", .gauge, "Items and texts that wait for their vectors.")
    static let keptVectors = Metric(
        "coldstream_kept_vectors", .gauge, "Vectors that are remembered.")

    static let ofEncode = [
        itemsSent, itemsLate, textsSent, textsEncoded, textsWithoutVector, vectorHits,
        encodeSeconds, encoderFailures, owedTexts, keptVectors,
    ]
}

extension MetricValues {
    init(encode counts: EncodeCounts, _ made: MakerCounts) {
        self.init(Metric.ofEncode)
        add(.itemsSent, counts.items)
        add(.itemsLate, counts.late)
        add(.textsSent, counts.texts)
        add(.textsEncoded, made.texts)
        add(.textsWithoutVector, made.withoutVector)
        add(.vectorHits, counts.hits)
        add(.encodeSeconds, made.seconds)
        for (reason, count) in made.failures.sorted(by: { $0.key < $1.key }) {
            add(.encoderFailures, count, reason)
        }
    }
}
