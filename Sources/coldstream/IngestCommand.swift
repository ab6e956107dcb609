// `coldstream ingest`: the gateway alone, appending lines to a log that is kept in a folder.

import Bytes
import CommandLineArguments
import Contracts
import EmbeddedFleet
import EventMapping
import FleetSettings
import Gateway
import KafkaFleet
import Reports
import Streams

#if canImport(Glibc)
    import Glibc
#endif

enum IngestCommand {
    static let file = Argument<String>(
        "FILE", help: "JSON lines, plain or gzip; - is standard input")
    static let data = Option<String?>(
        "data", "DIR", help: "a folder that keeps the log; up --embedded --data DIR runs over it"
    ).completing(.directories)

    static let catalog = Option<String?>(
        "catalog", "FILE",
        help: "catalog lines, each appended before the first event that is not older"
    ).completing(.files)

    static let name = Option<String?>(
        "name", "NAME",
        help: "under which the position is kept; the file's full path if left out")

    static let lockstep = Flag(
        "lockstep",
        help:
            "with --brokers: wait after every thousand lines until encode and enrich have read them"
    )

    static let command = Command<Action>(
        "ingest", "Appends events or catalog lines to Kafka, or to a log in a folder.",
        discussion: """
            Every line is appended once, whatever happens in between: the position stands in the same
            transaction, and the same command goes on where the last one stopped. An input is known by
            its path (or --name) and by its content: other content under a known name is refused,
            a catalog read again from its beginning. Standard input has no name of its own: what begins
            like the last content goes on behind it, everything else is new. Lines that cannot be used
            become dead letters with the reason.
            """,
        subcommands: [
            Command(
                "events", "Appends events.",
                [
                    file, name, catalog, data, UpCommand.config, UpCommand.set,
                    WorkerCommand.brokers, WorkerCommand.fleet, UpCommand.partitions,
                    UpCommand.map, UpCommand.speed, UpCommand.close, lockstep,
                    WorkerCommand.supervisor,
                ],
                action: { arguments in
                    var input = input(arguments)
                    input.events = arguments[file]
                    input.catalog = arguments[catalog]
                    input.closes = arguments.contains(UpCommand.close)
                    if let map = try arguments[UpCommand.map].map(MapFile.read) {
                        MapFile.apply(map, to: &input)
                    }
                    return try run(input, arguments, speed: arguments[UpCommand.speed])
                }),
            Command(
                "catalog", "Appends catalog lines.",
                [
                    file, name, data, UpCommand.config, UpCommand.set, WorkerCommand.brokers,
                    WorkerCommand.fleet, UpCommand.partitions,
                ],
                action: { arguments in
                    var input = input(arguments)
                    input.catalog = arguments[file]
                    return try run(input, arguments, speed: nil)
                }),
        ])

    private static func input(_ arguments: Arguments) -> IngestInput {
        var input = IngestInput(name: arguments[name] ?? FolderFiles.resolved(arguments[file]))
        input.label = arguments[file]
        input.isNameShared = arguments[name] == nil && arguments[file] == "-"
        return input
    }

    private static func run(
        _ input: IngestInput, _ arguments: Arguments, speed: Double?
    ) throws -> ExitCode {
        StopSignal.watch(
            supervisor: arguments.contains(WorkerCommand.supervisor)
                ? arguments[WorkerCommand.supervisor] : nil)
        guard let folder = arguments[data] else {
            guard arguments[WorkerCommand.brokers] != nil || arguments[UpCommand.config] != nil
            else {
                throw arguments.usageError("needs --brokers HOST:PORT, or --data DIR")
            }
            let fleet = try WorkerCommand.kafkaFleet(
                arguments, warnsOfFixedKey: !arguments.contains(WorkerCommand.supervisor))
            let isInStep = arguments.contains(lockstep)
            return try drive(
                try fleet.ingest(input), speed, try isInStep ? Lockstep(fleet) : nil)
        }
        guard !arguments.contains(lockstep) else {
            throw arguments.usageError("--lockstep needs --brokers: nobody reads a log in a folder")
        }
        let settings = try SettingsFile.read(
            arguments[UpCommand.config], inputFolder: nil, arguments[UpCommand.set])
        try FolderFiles.make(folder)
        let log = try MemoryLog(topics: UpCommand.layout(arguments).topics, folder: folder)
        let ingest = try Ingest(
            GatewaySettings(settings),
            client: MemoryLogClient(
                log, group: "\(settings.fleet).gateway", input: Topic.events,
                transactionalID: "\(settings.fleet).gateway.0"),
            input: input, moveClock: { log.now = max(log.now, $0) })
        defer { withExtendedLifetime(log) {} }
        let code = try drive(ingest, speed)
        try log.flush()
        return code
    }

    private static func drive<Client: LogClient>(
        _ ingest: Ingest<Client>, _ speed: Double?, _ lockstep: Lockstep? = nil
    ) throws -> ExitCode {
        var bar = ProgressBar()
        try ingest.run(
            pace: speed.map { Pace(speed: $0) },
            clock: { Int64(ProcessFacts.seconds * 1_000) },
            sleep: { milliseconds in
                var left = milliseconds
                while left > 0, !StopSignal.isRaised {
                    usleep(UInt32(min(100, left)) * 1_000)
                    left -= 100
                }
                return !StopSignal.isRaised
            },
            report: { progress in
                bar.show(nil) { _ in
                    "\(Formatted.count(progress.eventLines + progress.catalogLines)) lines"
                }
            },
            hasCaughtUp: {
                let progress = ingest.progress
                return try lockstep?.allowsMore(
                    after: progress.eventLines + progress.catalogLines) ?? true
            })
        bar.end()
        let progress = ingest.progress
        print(
            """
            \(progress.eventLines + progress.catalogLines) lines read, \
            \(progress.linesSkipped) appended before, \(progress.eventsAppended) events appended, \
            \(progress.deadLetters) dead letters
            """)
        return progress.isDone ? .done : .restart
    }
}
