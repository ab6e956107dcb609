// The one door to librdkafka; only the target KafkaTransactions (and its tests) imports it.
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

/// `rd_kafka_producev` is variadic, which Swift cannot call. Its twin for arrays,
/// `rd_kafka_produceva`, frees the headers twice before 2.12.0 when the partition does not exist.
///
/// Key, value and headers are copied; `headers` stays the caller's. A null key or value is sent as
/// null. `timestamp_ms` 0 means now. `token` comes back with the delivery report.
static inline rd_kafka_resp_err_t crdkafka_produce(
    rd_kafka_t *client, rd_kafka_topic_t *topic, int32_t partition, const void *key,
    size_t key_bytes, const void *value, size_t value_bytes, int64_t timestamp_ms,
    const rd_kafka_headers_t *headers, void *token) {
    if (!headers)
        return rd_kafka_producev(
            client, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_PARTITION(partition),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY((void *)key, key_bytes),
            RD_KAFKA_V_VALUE((void *)value, value_bytes), RD_KAFKA_V_TIMESTAMP(timestamp_ms),
            RD_KAFKA_V_OPAQUE(token), RD_KAFKA_V_END);
    rd_kafka_headers_t *copy = rd_kafka_headers_copy(headers);
    rd_kafka_resp_err_t error = rd_kafka_producev(
        client, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_PARTITION(partition),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY((void *)key, key_bytes),
        RD_KAFKA_V_VALUE((void *)value, value_bytes), RD_KAFKA_V_TIMESTAMP(timestamp_ms),
        RD_KAFKA_V_HEADERS(copy), RD_KAFKA_V_OPAQUE(token), RD_KAFKA_V_END);
    if (error) rd_kafka_headers_destroy(copy);  // librdkafka takes them only when it succeeds
    return error;
}
