// Who makes the texts' vectors: from the settings' word to an encoder.

import FleetSettings
import TextEncoding

extension FleetSettings {
    /// The encoder that `text` of the settings asks for; nil where nobody encodes.
    ///
    /// - Parameter environment: where the variable that `text.secret_env` names is looked up.
    public func makeEncoder(environment: [String: String] = [:]) throws -> (any TextEncoder)? {
        let dimension = Int(integer("dimension"))
        guard dimension > 0 else { return nil }
        switch text("encoder") {
        case "ngrams": return HashedNGrams(dimension: dimension)
        default: return nil
        }
    }
}
