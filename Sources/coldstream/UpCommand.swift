// `coldstream up`: a whole fleet, in this process over files or on Kafka as one process a slot.

import CommandLineArguments
import EmbeddedFleet
import EventMapping
import FleetSettings
import JSON
import LineFiles
import Reports

#if canImport(Glibc)
    import Glibc
#endif

enum UpCommand {
    static let embedded = Flag(
        "embedded", help: "all roles in this process, on a log in memory: nothing to install")
    static let input = Option<String?>(
        "input", "DIR",
        help: "a folder with events.jsonl[.gz] and, if you have one, catalog.jsonl[.gz]"
    ).short("i").completing(.directories)
    static let output = Option<String?>(
        "output", "DIR",
        help: "where to leave one JSON-lines file for each output topic, and summary.json"
    ).short("o").completing(.directories)
    static let config = Option<String?>(
        "config", "FILE",
        help: "the settings; without it coldstream.json of the input folder, if there"
    ).short("c").completing(.files)
    static let set = Option<[String]>(
        "set", "PATH=VALUE", help: "one setting, over the file's: --set publish_period_ms=40")
    static let partitions = Option<String?>(
        "partitions", "LIST", help: "events=N,domain-log=M; 1 each if left out")
    static let data = Option<String?>(
        "data", "DIR", help: "keep the log there: a second run goes on where this one ends"
    ).completing(.directories)
    static let close = Flag(
        "close", help: "with --data: the input ends here, settle every open window")
    static let speed = Option<Double?>(
        "speed", "X", help: "replay at the pace of the events' times, X times as fast"
    ).within(0.001...1_000_000)
    static let map = Option<String?>(
        "map", "FILE",
        help: "how lines become events: a file, or one of "
            + ShippedMap.allCases.map(\.rawValue).joined(separator: ", ")
    ).completing(.files)

    static let command = Command<Action>(
        "up", "Runs a fleet on your own data and prints a report.",
        discussion: """
            With --embedded it reads the input until everything is drained and the last windows have
            closed. Two runs over the same input leave the same bytes, but for summary.json.

            With --brokers (or with addresses in cluster.client_properties) the fleet runs on Kafka:
            missing topics are made, every role gets its processes, and what dies is started again.
            With --input that folder is appended, each line once however often it is started; with
            --output it waits until everything is drained and leaves the same files and report as
            embedded, without it the fleet works until SIGTERM. A batch (--input and --output without
            --speed) sets tick_period_ms to 0: the end of the input closes every window.
            """,
        [
            embedded, WorkerCommand.brokers, WorkerCommand.fleet, KafkaRun.slots,
            WorkerCommand.http, input, output, config, set, partitions, data, close, speed, map,
        ],
        action: { arguments in
            let isOnKafka = arguments[WorkerCommand.brokers] != nil || !arguments[embedded]
            return isOnKafka ? try runOnKafka(arguments) : try runEmbedded(arguments)
        })

    private static func runOnKafka(_ arguments: Arguments) throws -> ExitCode {
        guard arguments[WorkerCommand.brokers] != nil || arguments[config] != nil else {
            throw arguments.usageError(
                "needs --embedded for a fleet in this process, or --brokers HOST:PORT for one on Kafka"
            )
        }
        let run = try KafkaRun.parse(arguments)
        let code = try run.run()
        if code == .done, let output = arguments[output] {
            printReport(try RunReport(folder: output), arguments)
        }
        return code
    }

    /// The events of an input folder.
    static func events(in folder: String, _ arguments: Arguments) throws -> String {
        guard FolderFiles.isFolder(folder) else {
            throw arguments.usageError("--input \(folder) is not a folder")
        }
        guard let events = FolderFiles.input("events.jsonl", in: folder) else {
            throw LineFileError(
                "open", "\(folder)/events.jsonl", "neither it nor events.jsonl.gz is there")
        }
        return events
    }

    private static func runEmbedded(_ arguments: Arguments) throws -> ExitCode {
        for (isGiven, name) in [
            (arguments[KafkaRun.slots] != nil, "--slots"),
            (arguments[WorkerCommand.http] != nil, "--http"),
            (arguments[WorkerCommand.fleet] != nil, "--fleet"),
        ] where isGiven {
            throw arguments.usageError("\(name) needs --brokers")
        }
        guard arguments[data] != nil || !arguments[close] else {
            throw arguments.usageError(
                "--close needs --data; without it every run ends with closed windows")
        }
        let folder = arguments[input]
        guard folder != nil || arguments[data] != nil else {
            throw arguments.usageError("needs --input DIR, or --data DIR with a log to go on from")
        }
        let events = try folder.map { try Self.events(in: $0, arguments) }
        var run = EmbeddedRun(
            settings: try SettingsFile.read(
                arguments[config], inputFolder: folder, arguments[set]),
            layout: try layout(arguments), events: events)
        run.catalog = folder.flatMap { FolderFiles.input("catalog.jsonl", in: $0) }
        run.data = arguments[data]
        run.closes = arguments[data] == nil || arguments[close]
        run.speed = arguments[speed]
        run.map = try arguments[map].map(MapFile.read)
        let output = try arguments[output] ?? FolderFiles.makeTemporary()
        defer { if arguments[Self.output] == nil { FolderFiles.remove(output) } }
        try FolderFiles.make(output)
        StopSignal.watch()
        guard try run.run(into: output) else {
            say(
                arguments[data] == nil
                    ? "coldstream: stopped before the end; nothing was written to \(output)"
                    : "coldstream: stopped before the end; the same command goes on from here")
            return .restart
        }
        let report = try RunReport(folder: output)
        printReport(report, arguments)
        return .done
    }

    /// Reads `events=4,domain-log=9`.
    static func layout(_ arguments: Arguments) throws -> FleetLayout {
        var layout = FleetLayout()
        for part in (arguments[partitions] ?? "").split(separator: ",") {
            let words = part.split(separator: "=", omittingEmptySubsequences: false)
            guard words.count == 2, let count = Int(words[1]), (1...1_000).contains(count) else {
                throw arguments.usageError(
                    "--partitions: \(part) is not TOPIC=COUNT with a count of 1…1000")
            }
            switch words[0] {
            case "events": layout.eventsPartitions = count
            case "domain-log": layout.domainLogPartitions = count
            default:
                let nearest = nearestWord(to: String(words[0]), in: ["events", "domain-log"])
                throw arguments.usageError(
                    "--partitions: there is no topic \(words[0]) to divide"
                        + (nearest.map { "; did you mean \($0)?" } ?? "; events and domain-log are")
                )
            }
        }
        return layout
    }
}

/// Prints a report as the command line asks for it.
func printReport(_ report: RunReport, _ arguments: Arguments) {
    print(
        arguments.isJSON ? report.json.canonicalText + "\n" : report.text(textStyle),
        terminator: "")
}

/// Bold headings on a terminal, unless its owner wants none (no-color.org).
var textStyle: ReportStyle {
    ProcessFacts.isTerminal(1) && ProcessFacts.environment("NO_COLOR") == nil ? .terminal : .plain
}
