// The settings record: FinetuneSettings to canonical JSON and back.

import Bytes
import JSON

extension FinetuneSettings {
    /// The record's `settings`: equal settings, equal bytes.
    public var canonical: [UInt8] {
        JSONValue.object([
            JSONMember("publish_period_ms", .integer(publishPeriod)),
            JSONMember("prior_period_ms", .integer(priorPeriod)),
            JSONMember("domain_defaults", defaults.json),
            JSONMember(
                "domains",
                .object(domains.keys.sorted().map { JSONMember($0, domains[$0]!.json) })),
        ]).canonicalBytes
    }

    /// Reads what `canonical` wrote.
    public init(canonical bytes: ByteSlice) throws(JSONError) {
        let root = try JSONValue(parsing: bytes)
        publishPeriod = root["publish_period_ms"]?.integer ?? publishPeriod
        priorPeriod = root["prior_period_ms"]?.integer ?? priorPeriod
        if let value = root["domain_defaults"] { defaults = DomainParameters(json: value) }
        for member in root["domains"]?.members ?? [] {
            domains[member.name] = DomainParameters(json: member.value)
        }
    }
}

extension DomainParameters {
    var json: JSONValue {
        .object([
            JSONMember("surface", .text(surface == .search ? "search" : "recommendation")),
            JSONMember("correction_horizon_ms", .integer(correctionHorizon)),
            JSONMember(
                "half_lives_s",
                .array((0..<5).map { halfLives[$0] }.filter { $0 > 0 }.map { .integer($0) })),
            JSONMember("rate", .number(Double(rate))),
            JSONMember("negative_share", .number(Double(negativeShare))),
            JSONMember("threshold", .number(Double(threshold))),
            JSONMember("micro_batch", .integer(Int64(microBatch))),
            JSONMember("contexts", .integer(Int64(contexts))),
            JSONMember("reference_position", .integer(Int64(referencePosition))),
            JSONMember("head_queries", .integer(Int64(headQueries))),
            JSONMember("parts", .text(learnsOwnWeights ? "head" : "shared")),
        ])
    }

    init(json value: JSONValue) {
        self.init()
        surface = value["surface"]?.text == "search" ? .search : .recommendation
        correctionHorizon = value["correction_horizon_ms"]?.integer ?? correctionHorizon
        if let given = value["half_lives_s"]?.array {
            for i in 0..<5 { halfLives[i] = i < given.count ? given[i].integer ?? 0 : 0 }
        }
        rate = value["rate"]?.double.map { Float($0) } ?? rate
        negativeShare = value["negative_share"]?.double.map { Float($0) } ?? negativeShare
        threshold = value["threshold"]?.double.map { Float($0) } ?? threshold
        microBatch = value["micro_batch"]?.integer.map { Int32($0) } ?? microBatch
        contexts = value["contexts"]?.integer.map { Int32($0) } ?? contexts
        referencePosition =
            value["reference_position"]?.integer.map { Int32($0) } ?? referencePosition
        headQueries = value["head_queries"]?.integer.map { Int32($0) } ?? headQueries
        learnsOwnWeights = value["parts"]?.text != "shared"
    }
}
