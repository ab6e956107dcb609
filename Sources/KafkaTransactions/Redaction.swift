// Keeps passwords and keys out of everything that is printed.

/// Replaces the secrets of one client in any text that leaves this module.
struct Redaction: Sendable {
    static let mark = "[redacted]"

    /// Longest first, so that a secret that contains another goes as a whole.
    private let secrets: [[UInt8]]

    init(_ secrets: [String]) {
        self.secrets = Set(secrets).filter { !$0.isEmpty }.map { Array($0.utf8) }
            .sorted { $0.count > $1.count }
    }

    /// `text` without the secrets.
    func callAsFunction(_ text: String) -> String {
        secrets.reduce(text) { Self.replace($1, in: $0) }
    }

    private static func replace(_ secret: [UInt8], in text: String) -> String {
        let bytes = Array(text.utf8)
        var result: [UInt8] = []
        var index = 0
        var found = false
        while index < bytes.count {
            if bytes.count - index >= secret.count,
                bytes[index..<index + secret.count].elementsEqual(secret)
            {
                result += Array(mark.utf8)
                index += secret.count
                found = true
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return found ? String(decoding: result, as: UTF8.self) : text
    }

    /// Whether the value of a setting is a secret, judged by its name, in Java's names and ours.
    static func isSecret(_ key: String) -> Bool {
        let key = key.lowercased()
        return [
            "password", "secret", "jaas", "token", "credential", "ssl.key.pem", "ssl.keystore.key",
            "oauthbearer.config", "assertion.private",
        ].contains { key.contains($0) }
            && key != "sasl.oauthbearer.token.endpoint.url"
    }
}
