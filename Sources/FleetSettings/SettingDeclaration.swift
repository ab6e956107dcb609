// Every setting there is, declared once: default, what is allowed, where it stands and when it applies.

import JSON

/// What a setting may be.
public enum SettingKind: Sendable {
    case integer(ClosedRange<Int64>)
    case number(ClosedRange<Double>)
    case boolean
    case text
    /// One of these words.
    case word([String])
    /// A list of these words, at least one, none twice.
    case words([String])
    /// A list of integers in a range, of a length in a range, strictly ascending.
    case integers(ClosedRange<Int64>, count: ClosedRange<Int>)
}

/// One setting.
public struct SettingDeclaration: Sendable {
    /// Where in the file it stands.
    public enum Section: String, CaseIterable, Sendable {
        /// At the top of the file.
        case fleet
        /// In `roles.<role>`.
        case role
        /// In `domain_defaults` and `domains.<name>`.
        case domain
        /// In `learning` of a domain.
        case learning
        /// In `publish` of a domain.
        case publish
        case limits
        /// In `text`.
        case text
    }

    public let name: String
    public let section: Section
    public let kind: SettingKind
    /// `nil`: there is no value unless one is given.
    public let defaultValue: JSONValue?
    /// Takes effect while running; the others at a restart.
    public let isLive: Bool
    public let summary: String

    init(
        _ name: String, _ section: Section, _ kind: SettingKind, _ defaultValue: JSONValue?,
        live: Bool = false, _ summary: String
    ) {
        self.name = name
        self.section = section
        self.kind = kind
        self.defaultValue = defaultValue
        isLive = live
        self.summary = summary
    }

    private static let seconds: ClosedRange<Int64> = 0...31_536_000
    private static let rows: ClosedRange<Int64> = 1_000...1_000_000_000

    /// All of them; names are unique within a section.
    public static let all: [SettingDeclaration] =
        fleet + role + domain + learning + publish + limits + text

    static let fleet: [SettingDeclaration] = [
        .init(
            "lateness_s", .fleet, .integer(0...3_600), .integer(2),
            "how far behind its newest event a partition's watermark stays"),
        .init(
            "tick_period_ms", .fleet, .integer(0...60_000), .integer(250),
            "how often a quiet partition gets a tick; 0 = never, else at least 10"),
        .init(
            "publish_period_ms", .fleet, .integer(10...60_000), .integer(250),
            "event time between two publish points"),
        .init(
            "prior_period_ms", .fleet, .integer(10...60_000), .integer(1_000),
            "event time between the priors that partitions tell each other"),
        .init(
            "future_s", .fleet, .integer(1...31_536_000), .integer(300),
            "how far an event may be ahead of its record's own timestamp"),
        .init(
            "jump_s", .fleet, .integer(1...31_536_000), .integer(86_400),
            "how far a line may jump ahead before 100 lines must agree"),
        .init(
            "duplicate_window_s", .fleet, .integer(seconds), .integer(3_600),
            "how long an event's id is remembered"),
        .init(
            "history", .fleet, .integer(0...50), .integer(10),
            "clicked items remembered per user"),
        .init(
            "user_hash_key_env", .fleet, .text, nil,
            "environment variable with the key under which user ids are hashed; none = a fixed key"),
        .init(
            "new_domains", .fleet, .word(["accept", "dead_letter"]), .text("accept"),
            "what happens to events of a domain never seen"),
        .init("domains_max", .fleet, .integer(1...65_536), .integer(256), "domains of the fleet"),
        .init(
            "hash_bits", .fleet, .integer(10...24), .integer(18),
            "log2 of the number of buckets of hashed weights"),
        .init(
            "numerics", .fleet, .word(["haswell", "skylakex"]), .text("haswell"),
            "kernel class in which every step computes"),
    ]

    static let role: [SettingDeclaration] = [
        .init(
            "collect_min_ms", .role, .integer(0...60_000), .integer(20), live: true,
            "records are collected at least this long after the first"),
        .init(
            "collect_max_ms", .role, .integer(0...60_000), .integer(100), live: true,
            "and at most this long"),
        .init(
            "collect_records", .role, .integer(1...1_000_000), .integer(10_000), live: true,
            "records of one commit at most"),
        .init(
            "users_max", .role, .integer(rows), .integer(2_000_000), "users a partition remembers"),
        .init(
            "items_max", .role, .integer(rows), .integer(1_000_000), "items a partition remembers"),
        .init(
            "open_impressions_max", .role, .integer(rows), .integer(4_000_000),
            "impressions that wait for a label, a click or a conversion"),
        .init(
            "queries_max", .role, .integer(rows), .integer(200_000), "queries a partition remembers"
        ),
        .init(
            "duplicates_max", .role, .integer(rows), .integer(4_000_000), "ids remembered as seen"),
        .init(
            "waiting_clicks_max", .role, .integer(rows), .integer(100_000),
            "clicks that wait for their impression"),
        .init(
            "corrections_max", .role, .integer(rows), .integer(1_000_000),
            "labeled impressions whose features wait for a correction"),
        .init(
            "checkpoint_records", .role, .integer(1...1_000_000_000), .integer(50_000),
            "records after which a checkpoint is due"),
        .init(
            "checkpoint_bytes", .role, .integer(1...1_000_000_000), .integer(4_194_304),
            "changed bytes after which a checkpoint is due"),
        .init(
            "checkpoint_s", .role, .integer(1...86_400), .integer(600),
            "seconds after which a partition that has moved gets a checkpoint; on Kafka"),
    ]

    static let domain: [SettingDeclaration] = [
        .init(
            "tasks", .domain, .words(["click", "conversion", "relevance"]),
            .array([.text("click")]),
            "what is predicted"),
        .init(
            "surface", .domain, .word(["recommendation", "search"]), .text("recommendation"),
            "whether items are shown for a query"),
        .init(
            "label_window_s", .domain, .integer(seconds), .integer(60),
            "how long an impression waits for its label; about the p95 of the click delay"),
        .init(
            "attribution_window_s", .domain, .integer(seconds), .integer(1_800),
            "how long after the impression a click still counts"),
        .init(
            "conversion_window_s", .domain, .integer(seconds), .integer(86_400),
            "how long after the click a conversion still counts"),
        .init(
            "correction_horizon_s", .domain, .integer(seconds), .integer(3_600),
            "how long after its label an impression's features wait for a correction"),
        .init(
            "half_lives_s", .domain, .integers(1...31_536_000, count: 1...5),
            .array([.integer(3_600), .integer(86_400), .integer(604_800)]),
            "half-lives of the decayed rates"),
        .init(
            "negative_share", .domain, .number(0.01...1), .number(1),
            "share of the negatives that is learned from; all are judged and written"),
    ]

    static let learning: [SettingDeclaration] = [
        .init(
            "micro_batch", .learning, .integer(1...64), .integer(32), "labels learned from at once"),
        .init("rate", .learning, .number(0.0001...1), .number(0.05), "Adagrad's step size"),
        .init(
            "parts", .learning, .word(["head", "shared"]), .text("head"),
            "what a domain learns: its own part of the head too, or the shared part alone"),
    ]

    static let publish: [SettingDeclaration] = [
        .init(
            "threshold", .publish, .number(0...1), .number(0.02),
            "share of its own value by which a score must move to be published"),
        .init(
            "contexts", .publish, .integer(1...64), .integer(64),
            "recent contexts over which a score is averaged"),
        .init(
            "reference_position", .publish, .integer(1...24), .integer(1),
            "the position at which items of a recommendation domain are compared"),
        .init(
            "head_queries", .publish, .integer(0...1_000), .integer(100),
            "most frequent queries that get scores of their own"),
    ]

    static let limits: [SettingDeclaration] = [
        .init(
            "memory_bytes", .limits, .integer(67_108_864...1_099_511_627_776), nil,
            "memory a worker may plan with; default 80 % of the machine or cgroup")
    ]

    static let text: [SettingDeclaration] = [
        .init(
            "encoder", .text, .word(["ngrams", "minilm", "http", "none"]), .text("ngrams"),
            "who makes the texts' vectors: hashed n-grams (no weights), a sentence encoder of the BERT family from a folder, a server with POST /v1/embeddings, or nobody"
        ),
        .init(
            "model", .text, .text, nil,
            "minilm: the folder with config.json, vocab.txt and model.safetensors; http: the model's name at the server"
        ),
        .init(
            "url", .text, .text, nil,
            "http: the server's address, as http://localhost:8000 or with the path /v1/embeddings"),
        .init(
            "secret_env", .text, .text, nil,
            "http: environment variable with the server's key; none = no key is sent"),
        .init(
            "dimension", .text, .integer(0...4_096), .integer(384),
            "numbers of a vector; 0 = no vectors, and no memory for them"),
        .init(
            "template", .text, .text, .text("{title}. {description}. {tags}"),
            "an item's text; what stands around a missing part goes with it"),
        .init(
            "batch", .text, .integer(1...1_024), .integer(64), "texts encoded at once, at most"),
        .init(
            "timeout_s", .text, .integer(1...600), .integer(30),
            "http: how long one request may take; a second of it to connect"),
        .init(
            "concurrency", .text, .integer(1...64), .integer(4), "http: requests at a time"),
    ]

    static func find(_ name: String, in section: Section) -> SettingDeclaration? {
        all.first { $0.section == section && $0.name == name }
    }

    static func names(of section: Section) -> [String] {
        all.filter { $0.section == section }.map(\.name)
    }

    /// What is allowed, in words.
    public var allowed: String {
        switch kind {
        case .integer(let range): "a whole number \(range.lowerBound)…\(range.upperBound)"
        case .number(let range): "a number \(range.lowerBound)…\(range.upperBound)"
        case .boolean: "true or false"
        case .text: "a text"
        case .word(let words): words.joined(separator: " or ")
        case .words(let words): "a list of " + words.joined(separator: ", ")
        case .integers(let range, let count):
            "a list of \(count.lowerBound) to \(count.upperBound) ascending whole numbers "
                + "\(range.lowerBound)…\(range.upperBound)"
        }
    }

    /// Whether a value is allowed.
    func allows(_ value: JSONValue) -> Bool {
        switch kind {
        case .integer(let range):
            let given = value.integer
            if name == "tick_period_ms", let given, given > 0, given < 10 { return false }
            return given.map(range.contains) ?? false
        case .number(let range): return value.double.map(range.contains) ?? false
        case .boolean: return value.boolean != nil
        case .text: return value.text != nil
        case .word(let words): return value.text.map(words.contains) ?? false
        case .words(let words):
            guard let given = value.array?.map(\.text), !given.isEmpty else { return false }
            return given.allSatisfy { $0.map(words.contains) ?? false }
                && Set(given).count == given.count
        case .integers(let range, let count):
            guard let given = value.array?.compactMap(\.integer), given.count == value.array?.count,
                count.contains(given.count)
            else { return false }
            return given.allSatisfy(range.contains)
                && zip(given, given.dropFirst()).allSatisfy { $0 < $1 }
        }
    }

    /// The value's JSON Schema.
    var schema: JSONValue {
        func object(_ members: (String, JSONValue)...) -> [JSONMember] {
            members.map { JSONMember($0.0, $0.1) }
        }
        var members: [JSONMember]
        switch kind {
        case .integer(let range):
            members = object(
                ("type", .text("integer")), ("minimum", .integer(range.lowerBound)),
                ("maximum", .integer(range.upperBound)))
        case .number(let range):
            members = object(
                ("type", .text("number")), ("minimum", .number(range.lowerBound)),
                ("maximum", .number(range.upperBound)))
        case .boolean: members = object(("type", .text("boolean")))
        case .text: members = object(("type", .text("string")))
        case .word(let words): members = object(("enum", .array(words.map { .text($0) })))
        case .words(let words):
            members = object(
                ("type", .text("array")), ("minItems", .integer(1)),
                ("uniqueItems", .boolean(true)),
                ("items", .object(object(("enum", .array(words.map { .text($0) }))))))
        case .integers(let range, let count):
            members = object(
                ("type", .text("array")), ("minItems", .integer(Int64(count.lowerBound))),
                ("maxItems", .integer(Int64(count.upperBound))),
                (
                    "items",
                    .object(
                        object(
                            ("type", .text("integer")), ("minimum", .integer(range.lowerBound)),
                            ("maximum", .integer(range.upperBound))))
                ))
        }
        members.append(
            JSONMember("description", .text("\(summary) (\(isLive ? "live" : "restart"))")))
        if let defaultValue { members.append(JSONMember("default", defaultValue)) }
        return .object(members)
    }
}
