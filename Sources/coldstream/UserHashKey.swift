// The key under which user ids are hashed: from the environment, where secrets live.

import Bytes
import FleetSettings

enum UserHashKey {
    /// The key that `user_hash_key_env` leads to; nil: the fixed one, and a warning.
    ///
    /// - Parameter warns: whether the warning is written; doctor has a line of its own for it.
    static func read(
        _ settings: FleetSettings, warns: Bool = true
    ) throws -> (UInt64, UInt64)? {
        guard let name = settings.text("user_hash_key_env") else {
            guard warns else { return nil }
            say(
                """
                coldstream: user ids are hashed under a fixed key that everybody knows; \
                name an environment variable with a secret in user_hash_key_env
                """)
            return nil
        }
        guard let secret = ProcessFacts.environment(name), !secret.isEmpty else {
            throw SettingsError(
                "\(settings.file): user_hash_key_env names \(name), which the environment does not have"
            )
        }
        let digits = secret.lend { SHA256.hex($0) }
        return (
            UInt64(digits.prefix(16), radix: 16)!,
            UInt64(digits.dropFirst(16).prefix(16), radix: 16)!
        )
    }
}
