// What one check found, and what to do about it.

/// One line of `coldstream doctor`.
public struct Finding: Equatable, Sendable {
    public enum Outcome: String, Sendable {
        case ok
        /// Works now, and may not for ever.
        case warning
        case failed
        /// What it rests on failed before.
        case skipped
    }

    /// A short name that stays: scripts look for it.
    public let check: String
    public let outcome: Outcome
    /// What was found, without a full stop.
    public let finding: String
    /// What to do; nil where nothing needs to be done.
    public let advice: String?

    public init(_ check: String, _ outcome: Outcome, _ finding: String, _ advice: String? = nil) {
        self.check = check
        self.outcome = outcome
        self.finding = finding
        self.advice = advice
    }

    /// The first three of a list, and how many more there are.
    static func list(_ items: [String]) -> String {
        let shown = items.prefix(3).joined(separator: "; ")
        return items.count > 3 ? "\(shown); and \(items.count - 3) more" : shown
    }
}
