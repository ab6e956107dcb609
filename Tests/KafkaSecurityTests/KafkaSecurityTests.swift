import Contracts
import FleetSettings
import Foundation
import JSON
import KafkaFleet
import KafkaTestBroker
import KafkaTransactions
import Testing

/// The real roles, as processes, behind TLS and SCRAM with the rights of `ops/README.md`; and those who
/// must not get in.
@Suite(
    .serialized,
    .enabled(
        if: SecureCluster.absence == nil, Comment(rawValue: SecureCluster.absence ?? "")))
struct KafkaSecurityTests {
    let cluster: SecureCluster
    let run: SecureFleet
    /// In this process, with an operator's rights.
    let operatorsView: KafkaFleet

    init() throws {
        cluster = try SecureCluster.shared.get()
        setenv("COLDSTREAM_TEST_HASH_KEY", Self.hashKey, 1)
        run = try SecureFleet(cluster)
        let file = try run.settings(Credentials(cluster, "operator"))
        operatorsView = try KafkaFleet(
            FleetSettings(
                parsing: Array(try Data(contentsOf: URL(fileURLWithPath: file))), file: file),
            environment: ProcessInfo.processInfo.environment)
        try Self.prepared.get()
    }

    private static let hashKey = Canary.make("user-hash-key")

    /// Rights and topics, once.
    private static let prepared = Result {
        let cluster = try SecureCluster.shared.get()
        let table = try RightsTable.rights(fleet: SecureCluster.fleet)
        #expect(table.keys.sorted() == ["encode", "enrich", "finetune", "ingest"])
        let rights =
            try RightsTable.operatorRights(fleet: SecureCluster.fleet)
            + table.values.flatMap { $0 } + lacking()
        try cluster.allow(rights)
        let run = try SecureFleet(cluster)
        let file = try run.settings(Credentials(cluster, "operator"))
        let applied = try run.run("apply", ["topics", "apply", "--config", file])
        guard applied.code == 0 else {
            throw CommandFailure(description: "topics apply: \(applied.output)\(applied.errors)")
        }
    }

    /// Users with all rights of enrich but one.
    private static func lacking() throws -> [Right] {
        let all = try RightsTable.rights(fleet: SecureCluster.fleet)["enrich"]!
        return ["without-group", "without-output", "without-id"].flatMap { user in
            all.compactMap { right in
                var right = right
                right.user = user
                switch user {
                case "without-group": right.groups = []
                case "without-output": right.topics.removeAll { $0.hasSuffix(".domain-log") }
                default: right.transactionalIDs = []
                }
                return right.topics + right.groups + right.transactionalIDs == [] ? nil : right
            }
        }
    }

    private func file(_ user: String) throws -> String {
        try run.settings(Credentials(cluster, user))
    }

    private func worker(_ role: String, slot: Int = 0, _ file: String) -> [String] {
        ["worker", role, "--slot", "\(slot)", "--config", file]
    }

    /// Starts the three roles, appends input and waits until it is read.
    private func startFleet(_ first: Int, http: [String: Int] = [:]) throws {
        for role in ["enrich", "finetune", "encode"] {
            var words = worker(role, try file(role))
            if let port = http[role] { words += ["--http", "127.0.0.1:\(port)"] }
            try run.start(role, words)
        }
        try ingest(first)
    }

    private func ingest(_ first: Int) throws {
        let input = try run.writeInput(from: first, count: 400)
        let settings = try file("ingest")
        for (kind, path) in [("catalog", input.catalog), ("events", input.events)] {
            let ended = try run.run(
                "ingest-\(kind)-\(first)", ["ingest", kind, path, "--config", settings])
            #expect(ended.code == 0, "\(ended.errors)")
        }
        try run.waitUntilRead(operatorsView)
    }

    private func stopFleet() throws {
        for role in ["enrich", "finetune", "encode"] {
            run.signal(role, SIGTERM)
            let ended = try run.end(role)
            #expect(ended.code == 0, "\(role): \(ended.errors)")
        }
    }

    @Test func `every role works with exactly the rights of the table`() throws {
        try startFleet(0)
        let scores = operatorsView.topics[.scores]
        let places = (0..<2).map { TopicPartition(scores, $0) }
        let bounds = try Offsets(operatorsView.client, group: "\(SecureCluster.fleet).look")
            .offsets(of: places)
        #expect(bounds.values.contains { $0.end > 20 }, "scores of 20 items in 3 domains")

        let doctor = try run.run(
            "doctor", ["doctor", "--config", try file("operator"), "--format", "json"])
        #expect(doctor.code == 0, "\(doctor.output)")
        let checks = try JSONValue(parsing: doctor.output)["checks"]?.array ?? []
        #expect(checks.count >= 10)
        for check in checks {
            let isScramLimit =
                check["check"]?.text == "librdkafka" && operatorsView.client.usesSCRAM
            #expect(
                check["outcome"]?.text == "ok" || isScramLimit, "\(check.canonicalText)")
        }
        let lag = try run.run("lag", ["lag", "--config", try file("operator"), "--format", "json"])
        #expect(lag.code == 0)
        #expect(try JSONValue(parsing: lag.output).array?.count == 3 + 3 + 2 + 2)
        try stopFleet()
    }

    @Test func `SCRAM works, or its refusal names the library that can`() throws {
        var credentials = Credentials(cluster, "operator")
        credentials.mechanism = "SCRAM-SHA-512"
        let settings = try run.settings(credentials)
        let lag = try run.run("scram", ["lag", "--config", settings])
        if SecureCluster.canSCRAM {
            #expect(lag.code == 0, "\(lag.errors)")
        } else {
            #expect(lag.code == 78)
            #expect(lag.errors.contains("install 2.6.1 or newer"), "\(lag.errors)")
            let doctor = try run.run("scram-doctor", ["doctor", "--config", settings])
            #expect(doctor.code == 1)
            #expect(doctor.output.contains("warning  librdkafka"), "\(doctor.output)")
        }
    }

    @Test(arguments: [
        ("without-group", "GROUP_AUTHORIZATION_FAILED"),
        ("without-output", "TOPIC_AUTHORIZATION_FAILED"),
        ("without-id", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"),
    ])
    func `with one right less a role ends with 78 and says which`(
        user: String, reason: String
    ) throws {
        let ended = try run.run(user, worker("enrich", slot: 1, try file(user)))
        #expect(ended.code == 78, "\(ended.errors)")
        #expect(ended.errors.contains(reason), "\(ended.errors)")
        #expect(ended.errors.contains("correct the settings"), "\(ended.errors)")
    }

    @Test func `who must not get in is refused with 78, and fences nobody`() throws {
        try startFleet(1_000)
        let workers = run.running

        var wrongPassword = Credentials(cluster, "enrich")
        wrongPassword.passwordVariable = SecureCluster.variable("nobody")
        var wrongAuthority = Credentials(cluster, "enrich")
        wrongAuthority.authority = "\(cluster.folder)/foreign-ca.pem"
        let intruders = [
            ("wrong-password", wrongPassword, "SASL authentication error"),
            ("no-rights", Credentials(cluster, "nobody"), "AUTHORIZATION_FAILED"),
            ("wrong-authority", wrongAuthority, "certificate verify failed"),
        ]
        for (name, credentials, sentence) in intruders {
            let settings = try run.settings(credentials)
            let ended = try run.run(name, worker("enrich", settings))
            #expect(ended.code == 78, "\(name): \(ended.errors)")
            #expect(ended.errors.contains(sentence), "\(name): \(ended.errors)")
            let doctor = try run.run("doctor-\(name)", ["doctor", "--config", settings])
            #expect(doctor.code == 1, "\(name): \(doctor.output)")
            let lag = try run.run("lag-\(name)", ["lag", "--config", settings])
            #expect(lag.code == 78, "\(name): \(lag.errors)")
        }
        for (name, id) in workers {
            #expect(run.running[name] == id && run.isRunning(name), "\(name) has ended")
        }
        try ingest(2_000)
        try stopFleet()
    }

    // Secrets

    private var secrets: [String] {
        Array(cluster.passwords.values) + [
            Self.hashKey, String(cString: getenv("COLDSTREAM_TEST_KEY_PASSWORD")!),
        ]
    }

    private func search() throws -> [CanarySearch.Hit] {
        let search = CanarySearch(secrets: secrets)
        return try search.hits(inFolder: run.outputs) + search.hitsInCommandLines()
    }

    @Test func `no secret stands in any output, status page, metric, command line or crash`() throws
    {
        let ports = ["enrich": RealBroker.freePort(), "finetune": RealBroker.freePort()]
        try startFleet(3_000, http: ports)
        for (role, port) in ports {
            for path in ["metrics", "status", "health/ready", "nowhere"] {
                let answer = try http(port, "GET /\(path)")
                try answer.write(
                    toFile:
                        "\(run.outputs)/\(role)-\(path.replacingOccurrences(of: "/", with: "-"))",
                    atomically: true, encoding: .utf8)
            }
        }
        #expect(run.text("enrich-metrics").contains("coldstream_records_in_total"))
        #expect(try search() == [])

        try lookAround(try file("operator"))
        try failInEveryWay()
        try run.crash("finetune", SIGSEGV)
        try run.crash("encode", SIGABRT)
        run.signal("enrich", SIGTERM)
        #expect(try run.end("enrich").code == 0)
        #expect(try search() == [])
        #expect(try FileManager.default.contentsOfDirectory(atPath: run.outputs).count > 30)
    }

    /// Commands that show settings or talk about the cluster.
    private func lookAround(_ settings: String) throws {
        for format in ["table", "json"] {
            for (name, words) in [
                ("show", ["config", "show", "--effective"]), ("check", ["config", "check"]),
                ("plan", ["topics", "plan"]), ("doctor", ["doctor"]), ("lag", ["lag"]),
            ] {
                let ended = try run.run(
                    "\(name)-\(format)", words + ["--config", settings, "--format", format])
                #expect(ended.code == 0, "\(name): \(ended.output)\(ended.errors)")
            }
        }
    }

    /// Every mistake that comes near a secret.
    private func failInEveryWay() throws {
        var wrongPassword = Credentials(cluster, "enrich")
        wrongPassword.passwordVariable = SecureCluster.variable("nobody")
        var wrongKeyPassword = Credentials(cluster, "enrich")
        wrongKeyPassword.keyPasswordVariable = SecureCluster.variable("nobody")
        let password = cluster.passwords["enrich"]!
        let mistakes: [(name: String, file: String)] = [
            ("password", try run.settings(wrongPassword)),
            ("key-password", try run.settings(wrongKeyPassword)),
            (
                "unknown-key",
                try run.settings(
                    Credentials(cluster, "enrich"), more: ", \"sasl.passwort\": \"\(password)\"")
            ),
            (
                "java-login",
                try run.settings(
                    Credentials(cluster, "enrich"),
                    more: ", \"sasl.jaas.config\": \"Odd required password=\\\"\(password)\\\";\"")
            ),
            (
                "no-variable",
                try run.settings(
                    Credentials(cluster, "enrich"),
                    more: ", \"sasl.oauthbearer.client.secret\": \"\(password)${env:NOT_THERE}\"")
            ),
            (
                "no-text",
                try run.settings(
                    Credentials(cluster, "enrich"), more: ", \"ssl.key.pem\": [\"\(password)\"]")
            ),
            (
                "no-json",
                try run.settings(
                    Credentials(cluster, "enrich"),
                    more: ", \"sasl.password\": \"\(password)\" oops")
            ),
        ]
        for (name, file) in mistakes {
            for (command, words) in [
                ("worker", ["worker", "enrich", "--slot", "1"]), ("doctor", ["doctor"]),
                ("lag", ["lag"]), ("plan", ["topics", "plan"]),
            ] {
                let ended = try run.run(
                    "wrong-\(name)-\(command)", words + ["--config", file])
                #expect(ended.code != 0, "\(name)")
            }
        }
    }

    @Test func `a secret that leaks is found, in outputs and in command lines`() throws {
        // A secret where it must not be: in a word of the command line, which the answer repeats.
        let leak = cluster.passwords["nobody"]!
        try run.start(
            "leak", ["doctor", "--brokers", "127.0.0.1:1", "--fleet", leak, "--format", "json"])
        let deadline = ContinuousClock.now + .seconds(10)
        var hits: [CanarySearch.Hit] = []
        while hits.isEmpty, ContinuousClock.now < deadline {
            hits = CanarySearch(secrets: secrets).hitsInCommandLines()
        }
        #expect(hits.contains { $0.place == "/proc/\(run.running["leak"]!)/cmdline" })
        #expect(try run.end("leak").code == 69)
        #expect(try search().map(\.place) == ["leak.out"])
    }
}
