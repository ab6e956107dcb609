// `coldstream worker ROLE`: one slot of one role on Kafka, for systemd, Kubernetes or a terminal.

import CommandLineArguments
import FleetSettings
import KafkaFleet
import KafkaTransactions
import Streams
import WorkerRuntime

#if canImport(Glibc)
    import Glibc
#endif

enum WorkerCommand {
    enum Role: String, CaseIterable, ArgumentValue, Sendable { case enrich, finetune, encode }

    static let role = Argument<Role>("ROLE", help: "enrich, finetune or encode")
    static let brokers = Option<String?>(
        "brokers", "HOST:PORT,…",
        help: "where Kafka is; without it what cluster.client_properties of the settings say")
    static let fleet = Option<String?>("fleet", "NAME", help: "the fleet, over the settings'")
    static let slot = Option<Int?>(
        "slot", "N",
        help:
            "which slot this process holds; without it the number at the end of the host's name, or 0"
    ).within(0...9_999)
    static let http = Option<String?>(
        "http", "ADDR:PORT",
        help:
            "serve /metrics, /health/live, /health/ready and /status there; `up` gives the ports behind to its processes"
    )

    static let supervisor = Option<Int?>(
        "supervisor", "PID",
        help: "drain and end when that process is not this one's parent any more")

    static let command = Command<Action>(
        "worker", "Runs one slot of a role on Kafka.",
        discussion: """
            Exactly once: outputs, checkpoints and positions are one transaction. Any error from one ends
            the process with 75 (start again) or 76 (another process holds this slot); SIGTERM writes a
            checkpoint and ends with 0. Write the settings once with `topics apply` before the first
            worker starts.
            """,
        [role, UpCommand.config, UpCommand.set, brokers, fleet, slot, http, supervisor],
        action: { arguments in
            let signal = WorkerRuntime.StopSignal.ofProcess()
            let parent = arguments[supervisor].map { pid_t($0) }
            let stop = WorkerRuntime.StopSignal {
                signal.isRaised || parent.map { getppid() != $0 } ?? false
            }
            do {
                let fleet = try kafkaFleet(
                    arguments, warnsOfFixedKey: arguments[supervisor] == nil,
                    worker: arguments[role])
                try run(arguments[role], fleet, arguments, until: stop)
                return .done
            } catch let error as SettingsError {
                throw error
            } catch {
                say("coldstream worker: \(error)")
                exit(WorkerRuntime.ExitCode(error).rawValue)
            }
        })

    /// The fleet of the settings and flags.
    ///
    /// - Parameter worker: the role whose caps must fit into memory; nil: nobody fills tables.
    static func kafkaFleet(
        _ arguments: Arguments, warnsOfFixedKey: Bool = true, worker: Role? = nil
    ) throws -> KafkaFleet {
        var settings = try SettingsFile.read(
            arguments[UpCommand.config], inputFolder: nil, arguments[UpCommand.set])
        if let name = arguments[fleet] { try settings.rename(fleet: name) }
        if let worker {
            settings = try MemoryLimit.fit(
                settings, MemoryLimit.layout(settings), role: worker.rawValue)
        }
        return try KafkaFleet(
            settings, brokers: arguments[brokers],
            userHashKey: try UserHashKey.read(settings, warns: warnsOfFixedKey),
            environment: ProcessFacts.environment)
    }

    private static func run(
        _ role: Role, _ fleet: KafkaFleet, _ arguments: Arguments,
        until stop: WorkerRuntime.StopSignal
    ) throws {
        let slot = arguments[slot] ?? ProcessFacts.slotOfHost ?? 0
        let name = "\(fleet.settings.fleet).\(role.rawValue).\(slot)"
        let around = KafkaFleet.Surroundings(
            status: WorkerStatus(
                fleet: fleet.settings.fleet, worker: name, version: VersionCommand.version,
                library: "\(LibraryVersion.running)"),
            journal: Journal(worker: name))
        let server = try arguments[http].map { try StatusServer(around.status, address: $0) }
        // Only told to who looks at the page, so only asked for then; a broker that does not answer now
        // is the worker's own to wait for.
        if server != nil,
            let broker = try? BrokerFeatures(asking: fleet.client, timeoutMilliseconds: 1_000)
        {
            around.status.describe { $0.broker = broker.release }
        }
        defer { withExtendedLifetime(server) {} }
        switch role {
        case .enrich: try fleet.enrich(slot: slot, around).runAndExit(until: stop)
        case .finetune: try fleet.finetune(slot: slot, around).runAndExit(until: stop)
        case .encode: try fleet.encode(slot: slot, around).runAndExit(until: stop)
        }
    }
}
