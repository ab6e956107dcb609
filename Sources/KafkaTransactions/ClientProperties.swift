// How to reach a cluster and prove who one is: what every Kafka tool takes as client.properties.

#if canImport(Glibc)
    import Glibc
#endif

/// Addresses and credentials of a cluster, under librdkafka's names.
///
/// Made from the file that Kafka's own tools take (`--command-config client.properties`), with Java's
/// names or librdkafka's. What only means something to a Java client is left out and listed in
/// `ignored`; what Java understands and librdkafka cannot do is refused with a sentence. Printing a
/// value of this type, dumping it or anything that holds it shows no secret.
public struct ClientProperties: Sendable, Equatable {
    private(set) var settings: [String: String] = [:]

    /// Keys of the file that have no meaning for librdkafka or that the clients decide themselves.
    public private(set) var ignored: [String] = []

    /// Properties of a cluster that asks for nothing but its address, `host:port,host:port`.
    public init(bootstrapServers: String) { settings["bootstrap.servers"] = bootstrapServers }

    /// Sets one of librdkafka's settings, under its name there.
    ///
    /// The dozen settings that exactly-once rests on cannot be changed this way: the clients set them
    /// last. A misspelt name is refused when a client is made.
    public mutating func set(_ key: String, _ value: String) { settings[key] = value }

    /// What one of librdkafka's settings is here; secrets read as "[redacted]".
    public subscript(key: String) -> String? {
        settings[key].map { Redaction.isSecret(key) ? Redaction.mark : $0 }
    }

    /// Whether we log in by a password that is never sent.
    public var usesSCRAM: Bool {
        (settings["sasl.mechanisms"] ?? settings["sasl.mechanism"] ?? "").uppercased()
            .hasPrefix("SCRAM")
    }

    var redaction: Redaction {
        Redaction(settings.filter { Redaction.isSecret($0.key) }.map(\.value))
    }
}

extension ClientProperties: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable
{
    public var description: String {
        settings.keys.sorted().map { "\($0)=\(self[$0] ?? "")" }.joined(separator: " ")
    }
    public var debugDescription: String { description }
    public var customMirror: Mirror {
        Mirror(self, children: ["settings": description, "ignored": ignored])
    }
}

// MARK: - Reading a file

extension ClientProperties {
    /// Reads a file; `${env:NAME}` in a value is taken from `environment`.
    public init(
        file path: String, environment: [String: String] = [:]
    ) throws(KafkaError) {
        try self.init(
            parsing: try Self.contents(of: path), source: path, environment: environment)
    }

    /// Parses the text of a file; errors name `source` and the key, never a value.
    public init(
        parsing text: String, source: String = "client.properties",
        environment: [String: String] = [:]
    ) throws(KafkaError) {
        let entries = JavaProperties(parsing: text).entries
        try self.init(
            entries: Dictionary(entries.map { ($0.key, $0.value) }) { $1 }, source: source,
            environment: environment)
    }

    /// From keys and values that were written somewhere else; as in a file.
    public init(
        entries: [String: String], source: String, environment: [String: String] = [:]
    ) throws(KafkaError) {
        var java: [String: String] = [:]
        for (key, value) in entries.sorted(by: { $0.key < $1.key }) {
            java[key] = try Self.substitute(value, of: key, source, environment)
        }
        let reader = PropertiesReader(source: source, java: java)
        (settings, ignored) = try reader.translate()
        guard settings["bootstrap.servers"] != nil else {
            throw KafkaError.settings("read \(source)", "bootstrap.servers is missing")
        }
    }

    private static func contents(of path: String) throws(KafkaError) -> String {
        guard let file = fopen(path, "r") else {
            throw KafkaError.settings("read \(path)", String(cString: strerror(errno)))
        }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        let count = fread(&bytes, 1, bytes.count, file)
        guard ferror(file) == 0 else {
            throw KafkaError.settings("read \(path)", String(cString: strerror(errno)))
        }
        guard count < bytes.count else {
            throw KafkaError.settings(
                "read \(path)", "a file of 1 MiB or more is no client.properties")
        }
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    /// Kafka's own notation for a value that must not stand in a file (KIP-421, KIP-887).
    private static func substitute(
        _ value: String, of key: String, _ source: String, _ environment: [String: String]
    ) throws(KafkaError) -> String {
        var result = ""
        var rest = Substring(value)
        while let start = rest.firstRange(of: "${env:") {
            guard let end = rest[start.upperBound...].firstIndex(of: "}") else { break }
            let name = String(rest[start.upperBound..<end])
            guard let found = environment[name] else {
                throw KafkaError.settings(
                    "read \(source)",
                    "\(key) needs the environment variable \(name), which is not set")
            }
            result += rest[..<start.lowerBound] + found
            rest = rest[rest.index(after: end)...]
        }
        return result + rest
    }
}

/// Turns Java's names into librdkafka's.
private struct PropertiesReader {
    let source: String
    let java: [String: String]

    func translate() throws(KafkaError) -> (settings: [String: String], ignored: [String]) {
        var settings: [String: String] = [:]
        var ignored: [String] = []
        for (key, value) in java.sorted(by: { $0.key < $1.key }) {
            if Self.translatedTogether.contains(key) { continue }
            if Self.meaningless.contains(key)
                || Self.meaninglessFamilies.contains(where: { key.hasPrefix($0) })
            {
                ignored.append(key)
            } else if key == "ssl.endpoint.identification.algorithm" {
                settings[key] = value.isEmpty ? "none" : value
            } else {
                settings[Self.renamed[key] ?? key] = value
            }
        }
        if let text = java["sasl.jaas.config"] { try login(text, into: &settings) }
        try trust(into: &settings)
        try identity(into: &settings)
        return (settings, ignored)
    }

    func refuse(_ reason: String) -> KafkaError { KafkaError.settings("read \(source)", reason) }

    private func login(
        _ text: String, into settings: inout [String: String]
    ) throws(KafkaError) {
        guard let entry = JaasEntry(parsing: text) else {
            throw refuse("sasl.jaas.config is not of the form 'module required name=\"value\";'")
        }
        func option(_ name: String) throws(KafkaError) -> String {
            guard let value = entry.options[name] else {
                throw refuse("sasl.jaas.config: \(entry.module) needs \(name)=\"…\"")
            }
            return value
        }
        switch entry.module {
        case "PlainLoginModule", "ScramLoginModule":
            settings["sasl.username"] = try option("username")
            settings["sasl.password"] = try option("password")
        case "OAuthBearerLoginModule":
            settings["sasl.oauthbearer.method"] = "oidc"
            settings["sasl.oauthbearer.client.id"] = try option("clientId")
            settings["sasl.oauthbearer.client.secret"] = try option("clientSecret")
            settings["sasl.oauthbearer.scope"] = entry.options["scope"]
        case "Krb5LoginModule":
            settings["sasl.kerberos.keytab"] = try option("keyTab")
            settings["sasl.kerberos.principal"] = try option("principal")
            settings["sasl.kerberos.service.name"] =
                entry.options["serviceName"] ?? settings["sasl.kerberos.service.name"]
        default:
            throw refuse(
                "sasl.jaas.config: \(entry.module) is a Java class that only a Java client can run; "
                    + "known here are PlainLoginModule, ScramLoginModule, OAuthBearerLoginModule and Krb5LoginModule"
            )
        }
    }

    private func isPEM(_ location: String, _ type: String?) -> Bool {
        type?.uppercased() == "PEM"
            || (type == nil
                && [".pem", ".crt", ".cer"].contains { location.lowercased().hasSuffix($0) })
    }

    /// Whom to believe.
    private func trust(into settings: inout [String: String]) throws(KafkaError) {
        if let certificates = java["ssl.truststore.certificates"] {
            settings["ssl.ca.pem"] = certificates
        }
        guard let location = java["ssl.truststore.location"] else { return }
        guard isPEM(location, java["ssl.truststore.type"]) else {
            throw refuse(
                "ssl.truststore.location: librdkafka reads certificates as PEM, not from a Java key store; "
                    + "'keytool -exportcert -rfc -keystore STORE -alias NAME -file ca.pem' writes one, "
                    + "then set ssl.truststore.type=PEM and ssl.truststore.location to it")
        }
        settings["ssl.ca.location"] = location
    }

    /// Who we are, by certificate.
    private func identity(into settings: inout [String: String]) throws(KafkaError) {
        if let chain = java["ssl.keystore.certificate.chain"] {
            settings["ssl.certificate.pem"] = chain
        }
        if let key = java["ssl.keystore.key"] { settings["ssl.key.pem"] = key }
        guard let location = java["ssl.keystore.location"] else { return }
        let type = java["ssl.keystore.type"]
        if isPEM(location, type) {
            settings["ssl.certificate.location"] = location
            settings["ssl.key.location"] = location
        } else if type?.uppercased() == "JKS" || (type == nil && location.hasSuffix(".jks")) {
            throw refuse(
                "ssl.keystore.location: librdkafka reads PKCS12 and PEM, not JKS; 'keytool -importkeystore "
                    + "-srckeystore STORE -destkeystore client.p12 -deststoretype PKCS12' converts it, "
                    + "then set ssl.keystore.type=PKCS12 and ssl.keystore.location to it")
        } else {
            settings["ssl.keystore.location"] = location
            settings["ssl.keystore.password"] = java["ssl.keystore.password"]
        }
    }

    private static let translatedTogether: Set<String> = [
        "sasl.jaas.config", "ssl.truststore.location", "ssl.truststore.type",
        "ssl.truststore.password", "ssl.truststore.certificates", "ssl.keystore.location",
        "ssl.keystore.type", "ssl.keystore.password", "ssl.keystore.certificate.chain",
        "ssl.keystore.key",
    ]

    private static let renamed = [
        "sasl.mechanism": "sasl.mechanisms",
        "sasl.oauthbearer.scope": "sasl.oauthbearer.scope",
        "send.buffer.bytes": "socket.send.buffer.bytes",
        "receive.buffer.bytes": "socket.receive.buffer.bytes",
        "request.timeout.ms": "socket.timeout.ms",
        "max.request.size": "message.max.bytes",
        "fetch.max.wait.ms": "fetch.wait.max.ms",
    ]

    /// Java's own, or decided by the clients of this module.
    private static let meaningless: Set<String> = [
        "auto.include.jmx.reporter", "auto.offset.reset", "buffer.memory", "client.dns.lookup",
        "config.providers", "default.api.timeout.ms", "enable.auto.commit", "enable.idempotence",
        "enable.metrics.push", "exclude.internal.topics", "group.id", "group.instance.id",
        "group.protocol", "interceptor.classes", "isolation.level", "key.deserializer",
        "key.serializer", "max.block.ms", "max.poll.interval.ms", "max.poll.records",
        "metric.reporters", "partition.assignment.strategy", "partitioner.class",
        "sasl.client.callback.handler.class", "sasl.kerberos.min.time.before.relogin.java",
        "sasl.login.callback.handler.class", "sasl.login.class", "security.providers",
        "session.timeout.ms", "ssl.enabled.protocols", "ssl.engine.factory.class",
        "ssl.keymanager.algorithm", "ssl.protocol", "ssl.provider",
        "ssl.secure.random.implementation",
        "ssl.trustmanager.algorithm", "transaction.timeout.ms", "transactional.id",
        "value.deserializer", "value.serializer",
    ]

    private static let meaninglessFamilies = [
        "config.providers.", "metrics.", "partitioner.", "sasl.kerberos.ticket.", "sasl.login.",
        "schema.registry.", "basic.auth.",
    ]
}
