// Where an embedding server is, and how it is asked.

/// Settings of an `EmbeddingClient`.
public struct EmbeddingSettings: Sendable {
    /// With its path.
    public var url: String
    public var model: String
    public var dimension: Int
    /// Texts of one request, at most.
    public var batch = 64
    /// Requests at a time.
    public var concurrency = 4
    public var connectMilliseconds = 1_000
    public var timeoutMilliseconds = 30_000
    /// How often one request is tried before its texts wait for the next call.
    public var attempts = 4
    /// The first wait; each further one is twice as long, and jitter takes up to half of it away.
    public var backoffMilliseconds = 500
    /// A server that asks for a longer wait is not waited for here.
    public var longestWaitMilliseconds = 60_000
    public var seed: UInt64 = 1

    /// - Parameter url: an address, or one with a path; `/v1/embeddings` is added where it has none.
    /// - Throws: what is wrong with the address or the model's name.
    public init(url: String, model: String, dimension: Int) throws(EmbeddingError) {
        func refuse(_ sentence: String) -> EmbeddingError {
            EmbeddingError("settings", .fixSettings, sentence)
        }
        guard let scheme = ["http://", "https://"].first(where: { url.hasPrefix($0) }) else {
            throw refuse(
                "text.url must begin with http:// or https://; say where the server is, as "
                    + "http://localhost:8000")
        }
        let rest = url.dropFirst(scheme.count)
        let address = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        guard !address.isEmpty, !url.utf8.contains(where: { $0 <= 32 || $0 == 127 }) else {
            throw refuse("text.url names no server; say where it is, as http://localhost:8000")
        }
        guard !address.contains("@") else {
            throw refuse(
                "text.url must not hold a name or a password; put the key into an environment "
                    + "variable and name that in text.secret_env")
        }
        guard !model.isEmpty else {
            throw refuse(
                "text.model is empty; name the server's model, which its vectors belong to")
        }
        let path = String(rest.dropFirst(address.count))
        switch path {
        case "", "/": self.url = scheme + address + "/v1/embeddings"
        case "/v1", "/v1/": self.url = scheme + address + "/v1/embeddings"
        default: self.url = url
        }
        self.model = model
        self.dimension = dimension
    }
}
