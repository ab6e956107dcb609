import Foundation
import Testing

@testable import KafkaTransactions

private func parse(_ text: String, environment: [String: String] = [:]) throws -> ClientProperties {
    try ClientProperties(
        parsing: "bootstrap.servers=h:9092\n" + text, environment: environment)
}

private func reason(_ text: String) -> String {
    do {
        _ = try parse(text)
        return "accepted"
    } catch let error as KafkaError {
        return error.remedy == .fixSettings ? error.reason : "\(error)"
    } catch { return "\(error)" }
}

@Suite struct ClientPropertiesTests {
    @Test func `comments, separators, continued lines and escapes are Java's`() throws {
        let entries = JavaProperties(
            parsing: """
                # comment
                ! comment too

                a=1
                b : 2
                c 3
                  d =  4\u{20}
                e=one \\
                   two
                f\\ g=h\\=i\\tj\\u00e9\\
                """
        ).entries
        #expect(entries.map(\.key) == ["a", "b", "c", "d", "e", "f g"])
        #expect(entries.map(\.value) == ["1", "2", "3", "4 ", "one two", "h=i\tj\u{E9}"])
    }

    @Test func `windows line ends and a last line without end are read`() {
        let entries = JavaProperties(parsing: "a=1\r\nb=2\r\n\r\nc=3").entries
        #expect(entries.map(\.key) == ["a", "b", "c"])
        #expect(entries.map(\.value) == ["1", "2", "3"])
    }

    @Test func `a SCRAM login in Java's words becomes a user name and a password`() throws {
        let properties = try parse(
            """
            security.protocol=SASL_SSL
            sasl.mechanism=SCRAM-SHA-512
            sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\
              username="alice" \\
              password="p;=w";
            """)
        #expect(properties.settings["security.protocol"] == "SASL_SSL")
        #expect(properties.settings["sasl.mechanisms"] == "SCRAM-SHA-512")
        #expect(properties.settings["sasl.username"] == "alice")
        #expect(properties.settings["sasl.password"] == "p;=w")
        #expect(properties.settings["sasl.jaas.config"] == nil)
    }

    @Test func `an escaped quote inside a password needs two backslashes, as in Java`() throws {
        let properties = try parse(
            #"sasl.jaas.config=a.b.PlainLoginModule required username='u' password="p\\"w";"#)
        #expect(properties.settings["sasl.password"] == #"p"w"#)
    }

    @Test func `librdkafka's own names pass`() throws {
        let properties = try parse(
            "sasl.mechanisms=PLAIN\nsasl.username=u\nsasl.password=p\nssl.ca.location=/ca.pem")
        #expect(properties.settings["sasl.password"] == "p")
        #expect(properties.settings["ssl.ca.location"] == "/ca.pem")
    }

    @Test func `PEM stores and inline certificates are translated`() throws {
        let properties = try parse(
            """
            ssl.truststore.type=PEM
            ssl.truststore.location=/ca.pem
            ssl.keystore.type=PEM
            ssl.keystore.location=/me.pem
            ssl.key.password=x
            ssl.endpoint.identification.algorithm=
            """)
        #expect(properties.settings["ssl.ca.location"] == "/ca.pem")
        #expect(properties.settings["ssl.certificate.location"] == "/me.pem")
        #expect(properties.settings["ssl.key.location"] == "/me.pem")
        #expect(properties.settings["ssl.endpoint.identification.algorithm"] == "none")
        let inline = try parse(
            "ssl.truststore.certificates=C\nssl.keystore.certificate.chain=D\nssl.keystore.key=K")
        #expect(inline.settings["ssl.ca.pem"] == "C")
        #expect(inline.settings["ssl.certificate.pem"] == "D")
        #expect(inline.settings["ssl.key.pem"] == "K")
        let store = try parse("ssl.keystore.location=/me.p12\nssl.keystore.password=x")
        #expect(store.settings["ssl.keystore.location"] == "/me.p12")
        #expect(store.settings["ssl.keystore.password"] == "x")
    }

    @Test func `Java key stores and login classes are refused with what to do instead`() {
        #expect(
            reason("ssl.truststore.location=/t.jks\nssl.truststore.password=x").contains(
                "keytool -exportcert"))
        #expect(reason("ssl.keystore.location=/t.jks").contains("keytool -importkeystore"))
        #expect(
            reason("sasl.jaas.config=software.amazon.msk.auth.iam.IAMLoginModule required;")
                .contains("IAMLoginModule is a Java class"))
        #expect(reason("sasl.jaas.config=nonsense").contains("is not of the form"))
        #expect(
            reason("sasl.jaas.config=a.ScramLoginModule required username=\"u\";")
                .contains("needs password"))
    }

    @Test func `what means nothing to librdkafka or is ours to decide is left out and listed`()
        throws
    {
        let properties = try parse(
            "key.serializer=x\nmax.poll.records=5\ngroup.id=theirs\ntransactional.id=theirs\nclient.id=c"
        )
        #expect(
            properties.ignored == [
                "group.id", "key.serializer", "max.poll.records", "transactional.id",
            ])
        #expect(properties.settings["group.id"] == nil)
        #expect(properties.settings["client.id"] == "c")
    }

    @Test func `a file without an address is refused`() {
        #expect(throws: KafkaError.self) { try ClientProperties(parsing: "client.id=c") }
    }

    @Test func `a misspelt key is named when a client is made`() throws {
        let properties = try parse("sasl.mechnism=PLAIN")
        let error = #expect(throws: KafkaError.self) { _ = try Admin(properties) }
        #expect(error?.remedy == .fixSettings)
        #expect(error?.description.contains("sasl.mechnism") == true)
    }

    @Test func `a value can come from the environment`() throws {
        let properties = try parse("sasl.password=x${env:SECRET}y", environment: ["SECRET": "abc"])
        #expect(properties.settings["sasl.password"] == "xabcy")
        #expect(reason("sasl.password=${env:MISSING}").contains("environment variable MISSING"))
    }

    @Test func `a file is read, and a missing one is named`() throws {
        let path = NSTemporaryDirectory() + "coldstream-\(UUID().uuidString).properties"
        try "bootstrap.servers=a:1,b:2\n".write(toFile: path, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: path) }
        #expect(try ClientProperties(file: path)["bootstrap.servers"] == "a:1,b:2")
        let error = #expect(throws: KafkaError.self) {
            try ClientProperties(file: "/nowhere/client.properties")
        }
        #expect(error?.description.contains("/nowhere/client.properties") == true)
    }
}

@Suite struct SecretTests {
    static let canaries = ["c4nary-jaas", "c4nary-key", "c4nary-store"]

    func properties() throws -> ClientProperties {
        try ClientProperties(
            parsing: """
                bootstrap.servers=127.0.0.1:1
                security.protocol=SASL_PLAINTEXT
                sasl.mechanism=PLAIN
                sasl.jaas.config=a.PlainLoginModule required username="u" password="c4nary-jaas";
                ssl.key.password=c4nary-key
                """)
    }

    func leaks(_ text: String) -> [String] { Self.canaries.filter { text.contains($0) } }

    @Test func `no way of printing settings shows a secret`() throws {
        let properties = try properties()
        var settings = TransactionalProducerSettings(client: properties, transactionalID: "t")
        settings.producer.compression = "lz4"
        var text = "\(properties) \(settings) \(ConsumerSettings(client: properties, group: "g"))"
        text += String(reflecting: properties) + String(reflecting: settings)
        dump(settings, to: &text)
        dump(properties, to: &text)
        #expect(leaks(text) == [])
        #expect(text.contains("sasl.password=[redacted]"))
        #expect(properties["sasl.password"] == Redaction.mark)
        #expect(properties["sasl.username"] == "u")
    }

    @Test func `no error and no log line shows a secret, not even with debugging on`() throws {
        var properties = try properties()
        properties.set("debug", "all")
        var text = ""
        let admin = try Admin(properties)
        do { try admin.connect(timeoutMilliseconds: 600) } catch { text += "\(error)" }
        text += admin.takeLog().map(\.text).joined(separator: "\n")
        properties.set("sasl.mechanisms", "c4nary-jaas")
        do { _ = try Admin(properties) } catch { text += "\(error)" }
        #expect(text.contains("no broker answered"))
        #expect(text.contains("brokerlist") || text.contains("127.0.0.1:1"), "the log was read")
        #expect(leaks(text) == [])
    }

    @Test func `a secret inside another text is taken out as a whole`() {
        let redaction = Redaction(["abc", "abcdef", ""])
        #expect(redaction("x abcdef y abc z") == "x [redacted] y [redacted] z")
        #expect(redaction("nothing here") == "nothing here")
    }

    @Test func `Java's and librdkafka's names of secrets are known`() {
        for key in [
            "sasl.password", "ssl.key.password", "ssl.keystore.password", "ssl.truststore.password",
            "sasl.jaas.config", "sasl.oauthbearer.client.secret", "ssl.key.pem", "ssl.keystore.key",
            "sasl.oauthbearer.config",
        ] { #expect(Redaction.isSecret(key), "\(key)") }
        for key in ["sasl.username", "bootstrap.servers", "ssl.ca.location", "client.id"] {
            #expect(!Redaction.isSecret(key), "\(key)")
        }
    }
}
