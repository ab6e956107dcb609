// Who makes the texts' vectors: from the settings' word to an encoder.

import EmbeddingClient
import FleetSettings
import TextEncoding

extension FleetSettings {
    /// The encoder that `text` of the settings asks for; nil where nobody encodes.
    ///
    /// - Parameter environment: where the variable that `text.secret_env` names is looked up.
    /// - Throws: a sentence that names the setting to correct.
    public func makeEncoder(environment: [String: String] = [:]) throws -> (any TextEncoder)? {
        let dimension = Int(integer("dimension"))
        guard dimension > 0 else { return nil }
        switch text("encoder") {
        case "ngrams": return HashedNGrams(dimension: dimension)
        case "minilm": return try makeModel(dimension, environment)
        case "http": return try makeClient(dimension, environment)
        default: return nil
        }
    }

    private func makeModel(
        _ dimension: Int, _ environment: [String: String]
    ) throws -> BertEncoder {
        let installed = InstalledModel.folder(environment)
        guard
            let folder = text("model")
                ?? installed.flatMap({ InstalledModel.isThere($0) ? $0 : nil })
        else {
            throw SettingsError(
                "\(file): text.encoder: minilm needs a model and none is installed; run `coldstream text "
                    + "install`, or name a folder in text.model")
        }
        let encoder: BertEncoder
        do { encoder = try BertEncoder(folder: folder) } catch {
            throw SettingsError("\(file): text.model: \(error)")
        }
        guard encoder.dimension == dimension else {
            throw SettingsError(
                "\(file): text.dimension is \(dimension) and the model in \(folder) makes "
                    + "\(encoder.dimension) numbers; set it to \(encoder.dimension)")
        }
        return encoder
    }

    private func makeClient(
        _ dimension: Int, _ environment: [String: String]
    ) throws -> EmbeddingClient {
        guard let url = text("url") else {
            throw SettingsError(
                "\(file): text.url: with text.encoder http, say where the server is")
        }
        guard let model = text("model") else {
            throw SettingsError(
                "\(file): text.model: with text.encoder http, name the server's model")
        }
        var secret: String?
        if let name = text("secret_env") {
            guard let found = environment[name] else {
                throw SettingsError(
                    "\(file): text.secret_env: the environment has no variable \(name); set it to the "
                        + "server's key")
            }
            secret = found
        }
        do throws(EmbeddingError) {
            var client = try EmbeddingSettings(url: url, model: model, dimension: dimension)
            client.batch = Int(integer("batch"))
            client.concurrency = Int(integer("concurrency"))
            client.timeoutMilliseconds = Int(integer("timeout_s")) * 1_000
            return try EmbeddingClient(client, secret: secret)
        } catch {
            throw SettingsError("\(file): \(error)")
        }
    }
}
