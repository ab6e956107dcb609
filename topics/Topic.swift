// The topics by name and number: one enumeration for outboxes, logs and settings.

/// A topic of the fleet. Its number is its place in every list of topics; its name is the file's in
/// topics/contracts and, behind the fleet's prefix, Kafka's.
public enum Topic: UInt16, CaseIterable, Sendable {
    case events, catalog, texts
    case textVectors
    case domainLog
    case scores
    case domainStatistics
    case heads, examples, evaluations, releases
    case deadLetters
    case checkpoints

    public var name: String {
        switch self {
        case .textVectors: "text-vectors"
        case .domainLog: "domain-log"
        case .domainStatistics: "domain-statistics"
        case .deadLetters: "dead-letters"
        default: "\(self)"
        }
    }

    /// Compacted topics keep the newest record of each key; the others keep records for a time.
    public var isCompacted: Bool {
        switch self {
        case .catalog, .texts, .textVectors, .scores, .domainStatistics, .heads, .releases,
            .checkpoints:
            true
        case .events, .domainLog, .examples, .evaluations, .deadLetters: false
        }
    }

    public init?(name: String) {
        guard let topic = Topic.allCases.first(where: { $0.name == name }) else { return nil }
        self = topic
    }
}
