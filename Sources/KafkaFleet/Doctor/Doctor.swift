// Whether a fleet can run on its cluster, and whether it could come back after a crash.

import Contracts
import KafkaTransactions
import Streams
import WorkerRuntime

/// Looks at a fleet and its cluster and changes nothing: the one record that it writes, to learn the
/// broker's clock and whether it may write, is taken back.
///
/// Joins no group and asks no group calls of the admin API, so that workers notice nothing.
public struct Doctor {
    /// What it cannot find out itself.
    public struct Surroundings {
        /// Milliseconds since the epoch.
        public var clock: () -> Int64
        /// Returns after so many milliseconds.
        public var pause: (Int) -> Void
        /// What a process may plan with, in bytes.
        public var memoryLimit: Int64
        /// Folders whose disks are to be looked at.
        public var disks: [DiskSpace] = []
        /// How long a transaction may stay open before it is reported: longer than a worker's
        /// transaction timeout and the broker's search for timed-out ones take together.
        public var openTransactionMilliseconds = 16_000

        public init(
            clock: @escaping () -> Int64, pause: @escaping (Int) -> Void, memoryLimit: Int64
        ) {
            self.clock = clock
            self.pause = pause
            self.memoryLimit = memoryLimit
        }
    }

    let fleet: KafkaFleet
    var around: Surroundings
    public private(set) var findings: [Finding] = []
    /// Whether no broker answered, so that nothing else could be asked.
    public private(set) var isUnreachable = false

    public init(_ fleet: KafkaFleet, _ around: Surroundings) {
        self.fleet = fleet
        self.around = around
    }

    public var hasFailed: Bool { findings.contains { $0.outcome == .failed } }

    /// Makes every check, one finding each.
    public mutating func examine() {
        findings.append(library(LibraryVersion.running))
        findings.append(userHashKey)
        guard let admin = connect() else {
            skip(["broker-version"] + Self.clusterChecks, "no connection")
            findings.append(memory(nil))
            findings.append(disk(keptBytes: nil))
            return
        }
        findings.append(
            checked("broker-version") { try version(BrokerFeatures(asking: fleet.client)) })
        let topics = TopicsFound(fleet, admin)
        findings.append(topics.finding(fleet))
        findings.append(memory(topics))
        guard topics.partitions.count == Topic.allCases.count else {
            skip(Self.clusterChecks.filter { $0 != "topics" }, "topics are missing")
            findings.append(disk(keptBytes: nil))
            return
        }
        findings.append(checked("rights") { try rights(topics) })
        findings.append(checked("clock") { try clock(topics) })
        do {
            let notes = try CheckpointNotes(fleet, topics)
            findings.append(settings(notes, topics))
            findings.append(checked("retention") { try retention(notes, topics) })
        } catch {
            skip(["settings", "retention"], "checkpoints cannot be read: \(error)")
        }
        findings.append(checked("transactions") { try transactions(topics) })
        findings.append(checked("disk") { disk(keptBytes: try keptBytes(topics)) })
    }

    private static let clusterChecks = [
        "topics", "rights", "clock", "settings", "retention", "transactions",
    ]

    private func checked(_ name: String, _ body: () throws -> Finding) -> Finding {
        do { return try body() } catch {
            return Finding(name, .failed, "could not be checked: \(error)")
        }
    }

    private mutating func skip(_ names: [String], _ reason: String) {
        findings += names.map { Finding($0, .skipped, reason) }
    }

    // The way there

    /// Connects to the cluster, then to each of its brokers by the address that it advertises.
    private mutating func connect() -> Admin? {
        let servers = fleet.client["bootstrap.servers"] ?? ""
        do {
            let admin = try Admin(fleet.client)
            try admin.connect()
            let cluster = try admin.describeCluster()
            findings.append(brokers(cluster, servers))
            return admin
        } catch  where error.remedy == .retry {
            isUnreachable = true
            findings.append(
                Finding(
                    "brokers", .failed, "no broker of \(servers) answered: \(error.reason)",
                    "start Kafka, or correct bootstrap.servers, security.protocol, firewall or DNS")
            )
        } catch {
            findings.append(
                Finding(
                    "brokers", .failed, "\(servers) refuses us: \(error.reason) (\(error.name))",
                    "correct user, password, certificates or security.protocol in "
                        + "cluster.client_properties"))
        }
        return nil
    }

    private func brokers(_ cluster: ClusterDescription, _ servers: String) -> Finding {
        var unreachable: [String] = []
        for broker in cluster.brokers {
            var one = fleet.client
            one.set("bootstrap.servers", broker.address)
            do { try Admin(one).connect(timeoutMilliseconds: 5_000) } catch {
                unreachable.append("\(broker.address): \(error.reason)")
            }
        }
        let count = cluster.brokers.count == 1 ? "1 broker" : "\(cluster.brokers.count) brokers"
        guard unreachable.isEmpty else {
            return Finding(
                "brokers", .failed,
                "\(servers) answers, but of \(count) these do not: \(Finding.list(unreachable))",
                "advertised.listeners of a broker must be an address that clients reach")
        }
        return Finding(
            "brokers", .ok,
            "\(count) of cluster \(cluster.id ?? "(no id)") reached: "
                + Finding.list(cluster.brokers.map(\.address)))
    }

    func version(_ features: BrokerFeatures) -> Finding {
        guard let release = features.release, let fences = features.fencesByGeneration else {
            return Finding("broker-version", .warning, "the broker did not say what it can do")
        }
        guard fences else {
            return Finding(
                "broker-version", .failed,
                "Kafka \(release): transactions do not carry the group's generation (KIP-447)",
                "run brokers of Kafka 2.5 or newer")
        }
        return Finding("broker-version", .ok, "speaks the protocol of Kafka \(release)")
    }

    func library(_ version: LibraryVersion) -> Finding {
        if let refusal = version.refusal {
            return Finding("librdkafka", .failed, refusal, "install another librdkafka")
        }
        if fleet.client.usesSCRAM, let limit = version.scramLimit {
            return Finding(
                "librdkafka", .warning, limit, "do so before the brokers are upgraded to Kafka 4")
        }
        guard version < LibraryVersion(2, 2, 0) else {
            return Finding("librdkafka", .ok, "librdkafka \(version)")
        }
        let queue = fleet.place(role: "finetune", slot: 0).queueBytes >> 20
        return Finding(
            "librdkafka", .ok,
            "librdkafka \(version) stops fetching for a second whenever its queue is full; the queue of "
                + "a worker is \(queue) MiB, filled only while it drains a backlog",
            "where backlogs drain slowly with an idle processor, install 2.2 or newer")
    }

    // What needs no cluster

    private var userHashKey: Finding {
        fleet.userHashKey == nil
            ? Finding(
                "user-hash-key", .warning,
                "user ids are hashed under a fixed key that everybody knows",
                "put a secret into an environment variable and name it in user_hash_key_env, before "
                    + "the first event: another key makes every user a new one")
            : Finding("user-hash-key", .ok, "user ids are hashed under a key of your own")
    }
}
