// The contracts of the topics: the files in topics/contracts, embedded in the binary.

import Bytes
import JSON

/// What one topic promises to those who write and read it.
public struct TopicContract: Sendable {
    public enum Cleanup: String, Sendable {
        /// The newest record of a key counts, a tombstone deletes it.
        case compact
        /// Records are kept for a time.
        case delete
    }

    public enum Encoding: String, Sendable {
        /// Every value is canonical JSON by the schema.
        case json
        /// No value is JSON; `format` says what it is.
        case binary
        /// Values whose key ends in `/manifest` are JSON by the schema, the others as `format`
        /// says.
        case mixed
    }

    /// A record as it would be on the wire.
    public struct Example: Sendable {
        public let key: String?
        public let value: [UInt8]
        /// Whether the value is JSON by the schema.
        public let isJSON: Bool
    }

    public let topic: Topic
    /// The number in the header `coldstream-schema`; a change that is not an optional field raises
    /// it.
    public let major: Int
    /// One sentence.
    public let purpose: String
    /// What the key is made of.
    public let key: String
    /// How many partitions the topic is created with on Kafka.
    public let partitions: Int
    public let cleanup: Cleanup
    /// nil: for ever.
    public let retentionHours: Int?
    /// A usual record, key and value, for sizing.
    public let bytesPerRecord: Int
    public let encoding: Encoding
    /// What a value that is not JSON looks like.
    public let format: String?
    /// JSON Schema, draft 2020-12; nil where no value is JSON.
    public let schema: JSONValue?
    public let examples: [Example]

    /// The contract of `topic`.
    ///
    /// - Precondition: the embedded file is well formed, which the tests check of each.
    public init(_ topic: Topic) {
        do {
            try self.init(topic, parsing: TopicContract.file(of: topic))
        } catch {
            preconditionFailure("topics/contracts/\(topic.name).json: \(error)")
        }
    }

    public static let all = Topic.allCases.map { TopicContract($0) }

    /// The name of the header that says which contract a record follows.
    public static let schemaHeaderName = "coldstream-schema"

    /// The value of the header `coldstream-schema` on the topic's records.
    public var schemaHeader: String { "\(topic.name)/\(major)" }

    /// The header that the fleet puts on every record of `topic`.
    public static func header(_ topic: Topic) -> (name: String, value: String) {
        (schemaHeaderName, all[Int(topic.rawValue)].schemaHeader)
    }

    init(_ topic: Topic, parsing file: [UInt8]) throws {
        let fields = ContractFields(try JSONValue(parsing: file))
        guard try fields.text("topic") == topic.name else {
            throw ContractError(.invalid_value, path: "/topic", "/topic must be \(topic.name).")
        }
        self.topic = topic
        major = try fields.integer("major")
        purpose = try fields.text("purpose")
        key = try fields.text("key")
        partitions = try fields.integer("partitions")
        cleanup = try fields.word("cleanup")
        retentionHours =
            fields.isNull("retention_hours") ? nil : try fields.integer("retention_hours")
        bytesPerRecord = try fields.integer("bytes_per_record")
        encoding = try fields.word("encoding")
        format = fields.root["format"]?.text
        schema = fields.root["schema"]
        guard let list = fields.root["examples"]?.array else {
            throw fields.wrong("examples", "a list")
        }
        examples = try list.map { try TopicContract.example($0) }
    }

    private static func example(_ value: JSONValue) throws(ContractError) -> Example {
        let key = value["key"]?.text
        if let json = value["value"] {
            return Example(key: key, value: json.canonicalBytes, isJSON: true)
        }
        guard let digits = value["value_hex"]?.text, let bytes = bytes(hexadecimal: digits) else {
            throw ContractError(
                .missing_field, path: "/examples",
                "/examples need value, or value_hex with whole bytes.")
        }
        return Example(key: key, value: bytes, isJSON: false)
    }

    private static func bytes(hexadecimal text: String) -> [UInt8]? {
        let digits = text.compactMap(\.hexDigitValue)
        guard digits.count == text.count && digits.count % 2 == 0 else { return nil }
        return stride(from: 0, to: digits.count, by: 2).map {
            UInt8(digits[$0] << 4 | digits[$0 + 1])
        }
    }

    /// The embedded file.
    static func file(of topic: Topic) -> [UInt8] {
        switch topic {
        case .events: PackageResources.events_json
        case .catalog: PackageResources.catalog_json
        case .texts: PackageResources.texts_json
        case .textVectors: PackageResources.text_vectors_json
        case .domainLog: PackageResources.domain_log_json
        case .scores: PackageResources.scores_json
        case .domainStatistics: PackageResources.domain_statistics_json
        case .heads: PackageResources.heads_json
        case .examples: PackageResources.examples_json
        case .evaluations: PackageResources.evaluations_json
        case .releases: PackageResources.releases_json
        case .deadLetters: PackageResources.dead_letters_json
        case .checkpoints: PackageResources.checkpoints_json
        }
    }
}

/// Reads the top of a contract file.
private struct ContractFields {
    let root: JSONValue

    init(_ root: JSONValue) { self.root = root }

    func isNull(_ name: String) -> Bool { root[name]?.kind == .null }

    func text(_ name: String) throws(ContractError) -> String {
        guard let text = root[name]?.text, !text.isEmpty else { throw wrong(name, "text") }
        return text
    }

    func integer(_ name: String) throws(ContractError) -> Int {
        guard let integer = root[name]?.integer, integer >= 1 else {
            throw wrong(name, "an integer from 1")
        }
        return Int(integer)
    }

    func word<Word: RawRepresentable>(_ name: String) throws(ContractError) -> Word
    where Word.RawValue == String {
        guard let word = Word(rawValue: try text(name)) else { throw wrong(name, "a known word") }
        return word
    }

    func wrong(_ name: String, _ wanted: String) -> ContractError {
        ContractError(.invalid_value, path: "/\(name)", "/\(name) must be \(wanted).")
    }
}
