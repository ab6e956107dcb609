// The real command line against the secure broker: settings files, processes, what they say.

import Foundation
import KafkaFleet
import KafkaTransactions
import Testing

@testable import WorkerRuntime

/// How a user comes to the cluster.
struct Credentials {
    var user: String
    /// The environment variable with the password.
    var passwordVariable: String
    var authority: String
    var mechanism = SecureCluster.mechanism
    var keyPasswordVariable = "COLDSTREAM_TEST_KEY_PASSWORD"

    init(_ cluster: SecureCluster, _ user: String) {
        self.user = user
        passwordVariable = SecureCluster.variable(user)
        authority = "\(cluster.folder)/ca.pem"
    }
}

/// What a command left when it ended.
struct Ended {
    let code: Int32
    let output: String
    let errors: String
}

/// Processes of the fleet, whose outputs stay in one folder.
final class SecureFleet {
    let cluster: SecureCluster
    let folder: String
    private var count = 0
    private(set) var running: [String: pid_t] = [:]

    init(_ cluster: SecureCluster) throws {
        self.cluster = cluster
        folder = NSTemporaryDirectory() + "coldstream-secure-run-\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: outputs, withIntermediateDirectories: true)
    }

    deinit {
        for id in running.values {
            kill(id, SIGKILL)
            var status: Int32 = 0
            waitpid(id, &status, 0)
        }
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// What processes wrote.
    var outputs: String { "\(folder)/outputs" }

    private static let program = URL(fileURLWithPath: CommandLine.arguments[0])
        .deletingLastPathComponent().appendingPathComponent("coldstream").path

    /// A settings file; the passwords stand in it by the names of environment variables.
    func settings(_ credentials: Credentials, more: String = "") throws -> String {
        count += 1
        let path = "\(folder)/settings-\(count).json"
        try """
        {"version": 1, "fleet": "\(SecureCluster.fleet)", "cluster": {"client_properties": {
          "bootstrap.servers": "\(cluster.address)", "security.protocol": "SASL_SSL",
          "sasl.mechanism": "\(credentials.mechanism)", "sasl.username": "\(credentials.user)",
          "sasl.password": "${env:\(credentials.passwordVariable)}",
          "ssl.ca.location": "\(credentials.authority)",
          "ssl.certificate.location": "\(cluster.folder)/client.pem",
          "ssl.key.location": "\(cluster.folder)/client.key",
          "ssl.key.password": "${env:\(credentials.keyPasswordVariable)}"\(more)}},
         "user_hash_key_env": "COLDSTREAM_TEST_HASH_KEY",
         "topics": {"events": {"partitions": 2}, "domain-log": {"partitions": 2},
          "checkpoints": {"partitions": 2}, "scores": {"partitions": 2},
          "domain-statistics": {"partitions": 1}, "evaluations": {"partitions": 1},
          "examples": {"partitions": 1}, "heads": {"partitions": 1}},
         "roles": {"enrich": {"users_max": 10000, "items_max": 10000, "duplicates_max": 10000,
           "open_impressions_max": 10000},
          "finetune": {"items_max": 10000, "open_impressions_max": 10000,
           "corrections_max": 10000}},
         "domain_defaults": {"label_window_s": 2, "attribution_window_s": 5}}
        """.write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    /// Starts a command; its output is found under `name`.
    func start(_ name: String, _ words: [String]) throws {
        var id: pid_t = 0
        let code = WorkerRuntime.spawn(
            &id, [Self.program] + words, output: "\(outputs)/\(name).out",
            errors: "\(outputs)/\(name).err")
        try #require(code == 0, "\(Self.program): \(String(cString: strerror(code)))")
        running[name] = id
    }

    /// Waits for a command to end by itself; kills it when that takes too long.
    func end(_ name: String, seconds: Int = 180) throws -> Ended {
        let started = running.removeValue(forKey: name)
        let id = try #require(started, "\(name) was not started")
        let deadline = ContinuousClock.now + .seconds(seconds)
        var status: Int32 = 0
        while waitpid(id, &status, WNOHANG) != id {
            if ContinuousClock.now > deadline { kill(id, SIGKILL) }
            usleep(5_000)
        }
        return Ended(
            code: status & 0x7F == 0 ? status >> 8 & 0xFF : -(status & 0x7F),
            output: text("\(name).out"), errors: text("\(name).err"))
    }

    func run(_ name: String, _ words: [String]) throws -> Ended {
        try start(name, words)
        return try end(name)
    }

    func signal(_ name: String, _ number: Int32) {
        if let id = running[name] { kill(id, number) }
    }

    /// Lets a process crash and waits for what its runtime says of it. A signal from outside does not
    /// come again when Swift's handler returns, so it is killed then.
    func crash(_ name: String, _ number: Int32) throws {
        signal(name, number)
        let deadline = ContinuousClock.now + .seconds(20)
        while isRunning(name), !text("\(name).err").contains("Backtrace took"),
            ContinuousClock.now < deadline
        {
            usleep(20_000)
        }
        signal(name, SIGKILL)
        let ended = try end(name)
        #expect(ended.code < 0, "\(ended.errors)")
    }

    /// Whether a process is still there; its end is left to `end`.
    func isRunning(_ name: String) -> Bool {
        guard let id = running[name] else { return false }
        var information = siginfo_t()
        return waitid(P_PID, id_t(id), &information, WEXITED | WNOHANG | WNOWAIT) == 0
            && information.si_signo == 0
    }

    func text(_ file: String) -> String {
        (try? String(contentsOfFile: "\(outputs)/\(file)", encoding: .utf8)) ?? ""
    }

    /// Waits until every role has read its input, or a process has ended.
    func waitUntilRead(_ fleet: KafkaFleet, seconds: Int = 120) throws {
        let deadline = ContinuousClock.now + .seconds(seconds)
        while true {
            for name in running.keys.sorted() where !isRunning(name) {
                throw CommandFailure(description: "\(name) has ended: \(text("\(name).err"))")
            }
            let found = Result { () throws(KafkaError) in try fleet.lag(now: 0) }
            switch found {
            case .success(let rows): if rows.allSatisfy({ $0.records == 0 }) { return }
            case .failure(let error): if error.remedy != .retry { throw error }
            }
            guard ContinuousClock.now < deadline else {
                throw CommandFailure(description: "not read after \(seconds) s: \(found)")
            }
        }
    }

    /// Input of the fleet: catalog, impressions, clicks.
    func writeInput(from first: Int, count: Int) throws -> (events: String, catalog: String) {
        let start: Int64 = 1_700_000_000_000
        var events: [String] = []
        for n in first..<first + count {
            let time = start + Int64(n) * 20
            let common =
                "\"domain\":\"d\(n % 3)\",\"user_id\":\"u\(n * 7 % 50)\",\"item_id\":\"i\(n % 20)\""
            events.append(
                "{\"id\":\"e\(n)\",\"type\":\"impression\",\"time_ms\":\(time),\"position\":1,\(common)}"
            )
            if n % 4 == 0 {
                events.append(
                    "{\"id\":\"c\(n)\",\"type\":\"click\",\"time_ms\":\(time + 1),\"impression_id\":\"e\(n)\",\(common)}"
                )
            }
        }
        let catalog = (0..<20).map {
            "{\"item_id\":\"i\($0)\",\"time_ms\":\(start),\"title\":\"item \($0)\"}\n"
        }
        let paths = (
            events: "\(folder)/events-\(first).jsonl", catalog: "\(folder)/catalog.jsonl"
        )
        try (events.joined(separator: "\n") + "\n").write(
            toFile: paths.events, atomically: true, encoding: .utf8)
        try catalog.joined().write(toFile: paths.catalog, atomically: true, encoding: .utf8)
        return paths
    }
}
