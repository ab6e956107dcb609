// What a broker can do, as it says itself when a client connects.

import CRdKafka

/// The requests that a broker answers, and the versions of each.
///
/// librdkafka keeps a broker's answer to ApiVersions to itself; it only tells its log. Kafka's protocol
/// has no request for a broker's release, so `release` is read off what changed between releases.
public struct BrokerFeatures: Equatable, Sendable {
    /// By the number of the request in Kafka's protocol.
    public let versions: [Int: ClosedRange<Int>]

    public init(versions: [Int: ClosedRange<Int>]) { self.versions = versions }

    /// Asks the first broker that answers.
    ///
    /// - Throws: `.fixSettings` when credentials or certificates are refused, `.retry` when nobody
    ///   answered in time.
    public init(
        asking properties: ClientProperties, timeoutMilliseconds: Int = 10_000
    ) throws(KafkaError) {
        let client = try Client(.producer, properties, decided: ["debug": "feature"])
        let handle = client.handle
        try client.connect(timeoutMilliseconds: timeoutMilliseconds) { rd_kafka_poll(handle, 0) }
        rd_kafka_poll(handle, 0)
        self.init(log: client.takeLog())
    }

    /// Reads lines as in "…:   ApiKey Fetch (1) Versions 0..17"; of several brokers the first counts.
    init(log: [LogLine]) {
        var versions: [Int: ClosedRange<Int>] = [:]
        for line in log where line.subject == "APIVERSION" {
            guard let name = line.text.firstRange(of: "ApiKey ") else { continue }
            let words = line.text[name.upperBound...].split(separator: " ")
            guard words.count == 4, words[2] == "Versions",
                let key = Int(words[1].dropFirst().dropLast()),
                let dots = words[3].firstRange(of: ".."),
                let first = Int(words[3][..<dots.lowerBound]),
                let last = Int(words[3][dots.upperBound...]), first <= last, versions[key] == nil
            else { continue }
            versions[key] = first...last
        }
        self.versions = versions
    }

    private static let fetch = 1
    private static let txnOffsetCommit = 28

    /// The release of Kafka as far as its requests tell; nil where they could not be read.
    ///
    /// Source: `clients/src/main/resources/common/message` of the releases named.
    public var release: String? {
        guard let fetch = versions[Self.fetch] else { return nil }
        if fetch.lowerBound >= 4 { return "4.0 or newer" }
        if versions[80] != nil { return "3.9" }
        if versions[75] != nil { return "3.8" }
        if versions[74] != nil { return "3.7" }
        return switch fetch.upperBound {
        case 15...: "3.5 or 3.6"
        case 13...: "3.1 to 3.4"
        case 12: "2.7 to 3.0"
        case 11: "2.3 to 2.6"
        default: "older than 2.3"
        }
    }

    /// Whether a transaction's offsets carry the group's generation (KIP-447), which one producer for
    /// all partitions of a worker rests on; nil where the broker's requests could not be read.
    public var fencesByGeneration: Bool? {
        guard !versions.isEmpty else { return nil }
        return (versions[Self.txnOffsetCommit]?.upperBound ?? 0) >= 3
    }
}
