// What can go wrong with an embedding server, and what to do about it.

import TextEncoding

/// Texts that were not encoded; they can be asked for again.
public struct EmbeddingError: EncodingFailure, Equatable, CustomStringConvertible {
    public enum Remedy: Sendable, Equatable {
        /// The server may answer later.
        case retry
        /// A person must correct the settings; until then every text waits.
        case fixSettings
    }

    /// `unreachable`, `timeout`, `throttled`, `server`, `answer` or `settings`.
    public let reason: String
    public let remedy: Remedy
    /// Never holds the secret.
    public let description: String

    init(_ reason: String, _ remedy: Remedy, _ description: String) {
        self.reason = reason
        self.remedy = remedy
        self.description = description
    }
}
