// `coldstream up --brokers`: a whole fleet on Kafka, one process a slot, kept running by this one.

import CommandLineArguments
import EmbeddedFleet
import FleetSettings
import JSON
import KafkaFleet
import KafkaTransactions
import LineFiles
import Reports
import Streams
import WorkerRuntime

#if canImport(Glibc)
    import Glibc
#endif

/// What is run, where, and what it leaves.
struct KafkaRun {
    let fleet: KafkaFleet
    /// Flags that every process of the fleet gets.
    let common: [String]
    /// How many processes each role has.
    var slots: [(role: String, count: Int)] = WorkerCommand.Role.allCases.map { ($0.rawValue, 1) }
    /// The supervisor serves its pages there, the first process at the port behind it, and so on.
    var http: (host: String, port: Int)?
    /// Words of `coldstream ingest`; nil: nothing is ingested.
    var ingest: [String]?
    /// Where files are left when everything is drained; nil: it runs until a signal.
    var output: String?

    /// Brings topics and settings to the cluster, then runs the fleet.
    ///
    /// - Returns: how it ended; `done` where everything was drained, or where nobody waited for that.
    func run() throws -> ExitCode {
        let start = ProcessFacts.seconds
        try fleet.applyTopics { say("coldstream: \($0)") }
        let written = try fleet.writeSettings(time: ProcessFacts.milliseconds)
        if !written.isEmpty {
            say("coldstream: settings written to \(written.count) partitions of domain-log")
        }
        let stop = WorkerRuntime.StopSignal.ofProcess()
        let name = "\(fleet.settings.fleet).up"
        let status = SupervisorStatus(
            fleet: fleet.settings.fleet, worker: name, version: VersionCommand.version,
            library: "\(LibraryVersion.running)")
        let server = try http.map { try StatusServer(status, address: "\($0.host):\($0.port)") }
        defer { withExtendedLifetime(server) {} }
        let supervisor = Supervisor(
            try processes(), journal: Journal(worker: name), status: status)
        let check = try output.map { _ in try DrainCheck(fleet) }
        let end = supervise(supervisor, check, until: stop)
        guard end == nil else { return end! }
        guard let output else { return .done }
        guard !stop.isRaised else {
            say("coldstream: stopped before the end; the same command goes on from here")
            return .restart
        }
        try write(to: output, seconds: ProcessFacts.seconds - start)
        return .done
    }

    private static let job = "ingest"

    private func processes() throws -> [SupervisedProcess] {
        guard let program = ProcessFacts.program else {
            throw WorkerSettingsError("the path of this program is not known: /proc is not there")
        }
        var processes: [SupervisedProcess] = []
        for (role, count) in slots {
            for slot in 0..<count {
                var words = ["worker", role, "--slot", "\(slot)"] + common
                let address = http.map { "\($0.host):\($0.port + 1 + processes.count)" }
                if let address { words += ["--http", address] }
                var process = SupervisedProcess(
                    name: "\(fleet.settings.fleet).\(role).\(slot)", path: program,
                    arguments: words)
                process.http = address
                processes.append(process)
            }
        }
        if let ingest {
            var job = SupervisedProcess(
                name: Self.job, path: program, arguments: ["ingest"] + ingest + common)
            job.isJob = true
            processes.append(job)
        }
        return processes
    }

    /// Keeps the processes running until a signal comes, everything is drained, or one of them ends for
    /// good; then stops them all.
    ///
    /// - Returns: nil for the first two.
    private func supervise(
        _ supervisor: Supervisor, _ check: DrainCheck?, until stop: WorkerRuntime.StopSignal
    ) -> ExitCode? {
        defer { supervisor.stopAll() }
        var nextLook = ProcessFacts.seconds
        while !stop.isRaised {
            if let code = supervisor.turn() { return ExitCode(rawValue: code.rawValue) ?? .bug }
            if let check, ProcessFacts.seconds >= nextLook,
                ingest == nil || supervisor.hasFinished(Self.job)
            {
                // A broker that does not answer now may do so at the next look.
                if (try? check.isDrained()) == true {
                    if check.owed > 0 {
                        say(
                            "coldstream: text: \(Formatted.count(Int64(check.owed))) items and queries "
                                + "have no vector: the encoder made none for a minute; its worker's lines "
                                + "say why")
                    }
                    return nil
                }
                nextLook = ProcessFacts.seconds + 0.2
            }
            usleep(20_000)
        }
        return nil
    }

    /// What an embedded run leaves, read from the topics.
    private func write(to output: String, seconds: Double) throws {
        try FolderFiles.make(output)
        try OutputFiles(fleet.outputs(), folder: output).finish()
        let summary = try fleet.summary(heldBack: RunFolder.heldBackLines(in: output))
        try RunFolder.write(
            summary.json(
                seconds: seconds,
                memoryPeakBytes: max(ProcessFacts.memoryPeak, ProcessFacts.memoryPeakOfChildren)),
            to: output)
    }
}

/// Options that only a fleet on Kafka has.
extension KafkaRun {
    static let slots = Option<String?>(
        "slots", "LIST", help: "processes a role: enrich=2,finetune=2; 1 each if left out")

    /// The run that a command line asks for.
    static func parse(_ arguments: Arguments) throws -> KafkaRun {
        for (isGiven, name) in [
            (arguments[UpCommand.embedded], "--embedded"),
            (arguments[UpCommand.data] != nil, "--data"),
        ] where isGiven {
            throw arguments.usageError("\(name) and --brokers exclude each other")
        }
        let folder = arguments[UpCommand.input]
        let output = arguments[UpCommand.output]
        guard folder != nil || (!arguments[UpCommand.close] && arguments[UpCommand.speed] == nil)
        else {
            throw arguments.usageError("--close and --speed need --input DIR")
        }
        var common: [String] = []
        func add(_ path: String, _ value: String) { common += ["--set", "\(path)=\(value)"] }
        if let file = SettingsFile.path(arguments[UpCommand.config], inputFolder: folder) {
            common += ["--config", file]
        }
        let layout = try UpCommand.layout(arguments)
        if arguments[UpCommand.partitions] != nil {
            add("topics.events.partitions", "\(layout.eventsPartitions)")
            add("topics.domain-log.partitions", "\(layout.domainLogPartitions)")
            add(
                "topics.checkpoints.partitions",
                "\(max(layout.eventsPartitions, layout.domainLogPartitions))")
        }
        // The end of a batch closes every window; nobody has to tell the time before.
        if folder != nil, output != nil, arguments[UpCommand.speed] == nil {
            add("tick_period_ms", "0")
        }
        for change in arguments[UpCommand.set] { common += ["--set", change] }
        var settings = try SettingsFile.read(
            arguments[UpCommand.config], inputFolder: folder, common.changes)
        if let name = arguments[WorkerCommand.fleet] {
            try settings.rename(fleet: name)
            common += ["--fleet", name]
        }
        // All processes are on this machine; what they are told, everything that reads their state is.
        let fitted = try MemoryLimit.fit(settings, MemoryLimit.layout(settings))
        for (path, value) in fitted.changedCaps(from: settings) { add(path, value) }
        settings = fitted
        if let brokers = arguments[WorkerCommand.brokers] { common += ["--brokers", brokers] }
        common += ["--supervisor", "\(getpid())"]
        var run = KafkaRun(
            fleet: try KafkaFleet(
                settings, brokers: arguments[WorkerCommand.brokers],
                userHashKey: try UserHashKey.read(settings), environment: ProcessFacts.environment),
            common: common)
        run.output = output
        run.ingest = try folder.map { try ingestWords($0, arguments) }
        try run.readSlots(arguments)
        run.http = try arguments[WorkerCommand.http].map { address in
            guard let colon = address.lastIndex(of: ":"),
                let port = Int(address[address.index(after: colon)...])
            else { throw arguments.usageError("--http \(address) is not of the form ADDRESS:PORT") }
            return (String(address[..<colon]), port)
        }
        return run
    }

    private static func ingestWords(_ folder: String, _ arguments: Arguments) throws -> [String] {
        var words = ["events", try UpCommand.events(in: folder, arguments)]
        if let catalog = FolderFiles.input("catalog.jsonl", in: folder) {
            words += ["--catalog", catalog]
        }
        if arguments[UpCommand.output] != nil || arguments[UpCommand.close] { words += ["--close"] }
        if let map = arguments[UpCommand.map] { words += ["--map", map] }
        if let speed = arguments[UpCommand.speed] {
            words += ["--speed", "\(speed)"]
        } else {
            words += ["--lockstep"]
        }
        return words
    }

    private mutating func readSlots(_ arguments: Arguments) throws {
        for part in (arguments[Self.slots] ?? "").split(separator: ",") {
            let words = part.split(separator: "=", omittingEmptySubsequences: false)
            guard words.count == 2, let count = Int(words[1]), (0...1_000).contains(count) else {
                throw arguments.usageError(
                    "--slots: \(part) is not ROLE=COUNT with a count of 0…1000")
            }
            guard let place = slots.firstIndex(where: { $0.role == words[0] }) else {
                let nearest = nearestWord(to: String(words[0]), in: slots.map(\.role))
                throw arguments.usageError(
                    "--slots: there is no role \(words[0])"
                        + (nearest.map { "; did you mean \($0)?" } ?? ""))
            }
            slots[place].count = count
        }
    }
}

extension [String] {
    /// The values of every `--set` among words.
    fileprivate var changes: [String] {
        zip(self, dropFirst()).filter { $0.0 == "--set" }.map(\.1)
    }
}
