// A real broker that lets nobody in without TLS, a SCRAM password and rights, and who has which.

import CRdKafka
import Foundation
import KafkaTestBroker

@testable import KafkaTransactions

/// A command that a test needs and that failed.
struct CommandFailure: Error, CustomStringConvertible {
    let description: String
}

/// One broker with certificates made for it, users with passwords, and the rights of `ops/README.md`.
final class SecureCluster: Sendable {
    static let fleet = "secure"

    /// Users and their passwords; what is made up is the same in no two runs.
    static let users = [
        "admin", "operator", "ingest", "encode", "enrich", "finetune", "nobody",
        "without-group", "without-output", "without-id",
    ]

    static var absence: String? {
        guard RealBroker.isAvailable else { return RealBroker.absence }
        let isThere = ["/usr/bin/openssl", "/usr/local/bin/openssl", "/bin/openssl"].contains {
            FileManager.default.isExecutableFile(atPath: $0)
        }
        return isThere ? nil : "openssl is not there: nothing was tested behind TLS"
    }

    /// How workers log in: by SCRAM wherever the library can.
    static var mechanism: String { canSCRAM ? "SCRAM-SHA-512" : "PLAIN" }

    static var canSCRAM: Bool { LibraryVersion.running.scramLimit == nil || !isKafka4 }

    /// Since Kafka 4 the tools are jars of their own.
    static var isKafka4: Bool {
        let jars = try? FileManager.default.contentsOfDirectory(atPath: "\(RealBroker.home!)/libs")
        return jars?.contains { $0.hasPrefix("kafka-tools-") && !$0.contains("api") } == true
    }

    static let shared = Result { try SecureCluster() }

    let broker: RealBroker
    let folder: String
    /// By user.
    let passwords: [String: String]

    var address: String { broker.address }

    private init() throws {
        folder = NSTemporaryDirectory() + "coldstream-secure-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        passwords = Dictionary(
            uniqueKeysWithValues: Self.users.map { ($0, Canary.make("password-of-\($0)")) })
        let port = RealBroker.freePort()
        try Self.makeCertificates(folder)
        let properties = "\(folder)/server.properties"
        let data = "\(folder)/log"
        try Self.serverProperties(port, folder, data, passwords)
            .write(toFile: properties, atomically: true, encoding: .utf8)
        var arguments = ["--properties", properties]
        for user in Self.users {
            arguments += ["--format", "--add-scram"]
            arguments += ["--format", "SCRAM-SHA-512=[name=\(user),password=\(passwords[user]!)]"]
        }
        broker = try RealBroker(port: port, arguments: arguments)
        // The environment is where passwords live: children inherit it.
        for (user, password) in passwords { setenv(Self.variable(user), password, 1) }
        try """
        security.protocol=SASL_SSL
        sasl.mechanism=SCRAM-SHA-512
        ssl.truststore.type=PEM
        ssl.truststore.location=\(folder)/ca.pem
        sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \
        username="admin" password="\(passwords["admin"]!)";
        """.write(toFile: "\(folder)/admin.properties", atomically: true, encoding: .utf8)
        atexit {
            guard let cluster = try? SecureCluster.shared.get() else { return }
            cluster.broker.end()
            try? FileManager.default.removeItem(atPath: cluster.folder)
        }
    }

    /// The environment variable with a user's password.
    static func variable(_ user: String) -> String {
        "COLDSTREAM_TEST_PASSWORD_OF_\(user.uppercased().replacingOccurrences(of: "-", with: "_"))"
    }

    // Certificates

    /// A certificate authority, a broker certificate for this machine, a client's key behind a
    /// password, and an authority that nobody should believe.
    private static func makeCertificates(_ folder: String) throws {
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        for authority in ["ca", "foreign-ca"] {
            try openssl(
                ["req", "-x509"] + key + [
                    "-nodes", "-keyout", "\(folder)/\(authority).key", "-out",
                    "\(folder)/\(authority).pem", "-days", "2", "-subj", "/CN=\(authority)",
                ])
        }
        try openssl(
            ["req"] + key + [
                "-nodes", "-keyout", "\(folder)/broker.key", "-out", "\(folder)/broker.csr",
                "-subj", "/CN=localhost",
            ])
        try "subjectAltName=DNS:localhost,IP:127.0.0.1\n".write(
            toFile: "\(folder)/san.txt", atomically: true, encoding: .utf8)
        try sign("broker", folder, ["-extfile", "\(folder)/san.txt"])
        let leaf = try String(contentsOfFile: "\(folder)/broker.pem", encoding: .utf8)
        let secret = try String(contentsOfFile: "\(folder)/broker.key", encoding: .utf8)
        try (secret + leaf).write(
            toFile: "\(folder)/broker-store.pem", atomically: true, encoding: .utf8)
        setenv("COLDSTREAM_TEST_KEY_PASSWORD", Canary.make("key-password"), 1)
        try openssl(
            ["req"] + key + [
                "-passout", "env:COLDSTREAM_TEST_KEY_PASSWORD", "-keyout",
                "\(folder)/client.key", "-out", "\(folder)/client.csr", "-subj", "/CN=client",
            ])
        try sign("client", folder, [])
    }

    private static func sign(_ name: String, _ folder: String, _ more: [String]) throws {
        try openssl(
            [
                "x509", "-req", "-in", "\(folder)/\(name).csr", "-CA", "\(folder)/ca.pem",
                "-CAkey", "\(folder)/ca.key", "-CAcreateserial", "-days", "2", "-out",
                "\(folder)/\(name).pem",
            ] + more)
    }

    private static func openssl(_ words: [String]) throws {
        try run("/usr/bin/env", ["openssl"] + words)
    }

    /// Runs a program to its end.
    static func run(_ program: String, _ words: [String]) throws {
        let process = try start(program, words)
        process.process.waitUntilExit()
        let said = process.said()
        guard process.process.terminationStatus == 0 else {
            throw CommandFailure(description: "\(words.prefix(4)): \(said)")
        }
    }

    private static func start(
        _ program: String, _ words: [String]
    ) throws -> (process: Process, said: () -> String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = words
        let path = NSTemporaryDirectory() + "coldstream-said-\(UUID().uuidString)"
        _ = FileManager.default.createFile(atPath: path, contents: nil)
        let file = FileHandle(forWritingAtPath: path)!
        process.standardOutput = file
        process.standardError = file
        process.standardInput = FileHandle.nullDevice
        try process.run()
        return (
            process,
            {
                defer { try? FileManager.default.removeItem(atPath: path) }
                return (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
            }
        )
    }

    // The broker

    private static func serverProperties(
        _ port: Int, _ folder: String, _ data: String, _ passwords: [String: String]
    ) -> String {
        let password = passwords["admin"]!
        let users = passwords.sorted { $0.key < $1.key }
            .map { "user_\($0.key)=\"\($0.value)\"" }.joined(separator: " ")
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule"
        let plain = "org.apache.kafka.common.security.plain.PlainLoginModule"
        return """
            process.roles=broker,controller
            node.id=1
            controller.quorum.voters=1@127.0.0.1:\(port + 1)
            listeners=SASL_SSL://127.0.0.1:\(port),CONTROLLER://127.0.0.1:\(port + 1)
            advertised.listeners=SASL_SSL://127.0.0.1:\(port)
            listener.security.protocol.map=SASL_SSL:SASL_SSL,CONTROLLER:SASL_PLAINTEXT
            controller.listener.names=CONTROLLER
            inter.broker.listener.name=SASL_SSL
            sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
            sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
            sasl.mechanism.controller.protocol=PLAIN
            listener.name.controller.sasl.enabled.mechanisms=PLAIN
            listener.name.controller.plain.sasl.jaas.config=\(plain) required username="admin" \
            password="\(password)" user_admin="\(password)";
            listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\(scram) required \
            username="admin" password="\(password)";
            listener.name.sasl_ssl.plain.sasl.jaas.config=\(plain) required \
            username="admin" password="\(password)" \(users);
            ssl.keystore.type=PEM
            ssl.keystore.location=\(folder)/broker-store.pem
            ssl.truststore.type=PEM
            ssl.truststore.location=\(folder)/ca.pem
            authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
            super.users=User:admin
            allow.everyone.if.no.acl.found=false
            log.dirs=\(data)
            auto.create.topics.enable=false
            offsets.topic.replication.factor=1
            offsets.topic.num.partitions=4
            transaction.state.log.replication.factor=1
            transaction.state.log.min.isr=1
            transaction.state.log.num.partitions=4
            group.initial.rebalance.delay.ms=0
            group.min.session.timeout.ms=1000
            transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
            num.network.threads=2
            num.io.threads=4
            log.cleaner.dedupe.buffer.size=4194304

            """
    }

    // Rights

    /// Gives rights: those on topics and groups in one request, those on transactional ids, which
    /// librdkafka does not know before 2.6, by Kafka's own tool, all at once.
    func allow(_ rights: [Right]) throws {
        let byTool = try rights.filter { !$0.transactionalIDs.isEmpty }.map { right in
            try Self.start(
                "/usr/bin/env",
                [
                    "java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx128m", "-cp",
                    "\(RealBroker.home!)/libs/*",
                    Self.isKafka4 ? "org.apache.kafka.tools.AclCommand" : "kafka.admin.AclCommand",
                    "--bootstrap-server", address, "--command-config",
                    "\(folder)/admin.properties", "--add",
                ] + right.wordsForTransactionalIDs)
        }
        try allowOnTopicsAndGroups(rights)
        for each in byTool {
            each.process.waitUntilExit()
            let said = each.said()
            guard each.process.terminationStatus == 0, !said.contains("ERROR") else {
                throw CommandFailure(description: said)
            }
        }
    }

    private func allowOnTopicsAndGroups(_ rights: [Right]) throws {
        var properties = ClientProperties(bootstrapServers: address)
        properties.set("security.protocol", "SASL_SSL")
        properties.set("sasl.mechanism", Self.mechanism)
        properties.set("sasl.username", "admin")
        properties.set("sasl.password", passwords["admin"]!)
        properties.set("ssl.ca.location", "\(folder)/ca.pem")
        let admin = try Admin(properties)
        try admin.connect()
        var bindings: [OpaquePointer?] = []
        defer { rd_kafka_AclBinding_destroy_array(&bindings, bindings.count) }
        for right in rights {
            for (kind, names) in [
                (RD_KAFKA_RESOURCE_TOPIC, right.topics), (RD_KAFKA_RESOURCE_GROUP, right.groups),
            ] {
                for name in names {
                    for operation in right.operations {
                        bindings.append(
                            rd_kafka_AclBinding_new(
                                kind, name,
                                right.isPrefix
                                    ? RD_KAFKA_RESOURCE_PATTERN_PREFIXED
                                    : RD_KAFKA_RESOURCE_PATTERN_LITERAL,
                                "User:\(right.user)", "*", Self.operations[operation]!,
                                RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, nil, 0))
                    }
                }
            }
        }
        let client = admin.client.handle
        let queue = rd_kafka_queue_new(client)
        defer { rd_kafka_queue_destroy(queue) }
        rd_kafka_CreateAcls(client, &bindings, bindings.count, nil, queue)
        let event = rd_kafka_queue_poll(queue, 30_000)
        defer { if let event { rd_kafka_event_destroy(event) } }
        var count = 0
        let results = rd_kafka_CreateAcls_result_acls(
            rd_kafka_event_CreateAcls_result(event), &count)
        guard count == bindings.count else {
            throw CommandFailure(description: "\(count) of \(bindings.count) rights were given")
        }
        for result in UnsafeBufferPointer(start: results, count: count) {
            if let error = rd_kafka_acl_result_error(result) {
                throw CommandFailure(description: String(cString: rd_kafka_error_string(error)))
            }
        }
    }

    private static let operations = [
        "Read": RD_KAFKA_ACL_OPERATION_READ, "Write": RD_KAFKA_ACL_OPERATION_WRITE,
        "Create": RD_KAFKA_ACL_OPERATION_CREATE, "Describe": RD_KAFKA_ACL_OPERATION_DESCRIBE,
        "DescribeConfigs": RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS,
        "AlterConfigs": RD_KAFKA_ACL_OPERATION_ALTER_CONFIGS,
    ]
}

/// Operations that a user may do on topics, groups and transactional ids.
struct Right {
    var user: String
    var operations: [String]
    var topics: [String] = []
    var groups: [String] = []
    var transactionalIDs: [String] = []
    var isPrefix = false

    /// As Kafka's `kafka-acls` takes them.
    var wordsForTransactionalIDs: [String] {
        var words = ["--allow-principal", "User:\(user)"]
        for operation in operations { words += ["--operation", operation] }
        for id in transactionalIDs { words += ["--transactional-id", id] }
        if isPrefix { words += ["--resource-pattern-type", "prefixed"] }
        return words
    }
}
