// The command line as people meet it: help, mistakes, exit codes.

import CommandLineArguments
import Contracts
import EmbeddedFleet
import EventMapping
import FleetSettings
import Foundation
import LineFiles
import Reports
import Streams
import Testing

@testable import coldstream

@Suite struct CommandTests {
    private func help(_ words: String...) -> String {
        guard case .help(let text) = commandLineTool.parse(words) else { return "no help" }
        return text
    }

    private func mistake(_ words: String...) -> String {
        guard case .failure(let error) = commandLineTool.parse(words) else { return "no mistake" }
        #expect(error.exitCode == ExitCode.usage.rawValue)
        return error.message
    }

    @Test func `the tool's help says in one line each what every command does`() {
        let text = help("--help")
        #expect(
            text.hasPrefix(
                """
                Turns a live stream of impressions and clicks into fresh item scores.

                USAGE: coldstream [options] COMMAND

                COMMANDS:
                  up               Runs a fleet on your own data and prints a report.

                """))
        for command in commandLineTool.subcommands {
            #expect(command.summary.hasSuffix(".") || command.summary.hasSuffix(")"))
            #expect(text.contains("\n  \(command.name) "), "\(command.name)")
            #expect(help(command.name, "-h").hasPrefix(command.summary + "\n"))
        }
        #expect(text.split(separator: "\n").allSatisfy { $0.count <= 100 })
    }

    @Test func `a file has one name from every folder, and standard input none`() throws {
        let folder = try FolderFiles.makeTemporary()
        defer { FolderFiles.remove(folder) }
        try "x\n".lend { try LineWriter.write($0, to: "\(folder)/a") }
        let name = FolderFiles.resolved("\(folder)/a")
        #expect(name.hasPrefix("/"))
        #expect(
            FolderFiles.resolved("\(folder)/./../\(folder.split(separator: "/").last!)/a") == name)
        #expect(FolderFiles.resolved("\(folder)/nowhere") == "\(folder)/nowhere")
        #expect(FolderFiles.resolved("-") == "-")
        #expect(help("ingest", "events", "-h").contains("--name NAME"))
    }

    @Test func `up's help says what is required and what may be left out`() {
        let text = help("up", "-h")
        #expect(text.contains("USAGE: coldstream up [options]\n"))
        #expect(text.contains("a folder with events.jsonl[.gz]"))
        #expect(text.contains("1 each if left out"))
        #expect(text.contains("ranklens, ga4, snowplow"))
    }

    @Test func `a mistyped word is answered with the nearest known one`() {
        #expect(mistake("simulat") == "unknown command 'simulat'; did you mean simulate?")
        #expect(mistake("up", "--inptu", "x").hasSuffix("did you mean --input?"))
        #expect(mistake("scores", "topp").hasSuffix("did you mean top?"))
        #expect(mistake("report").hasPrefix("needs DIR"))
        #expect(mistake("report", "out", "--format", "jsno").hasSuffix("did you mean json?"))
    }

    @Test func `partitions are read by topic`() throws {
        func layout(_ text: String) throws -> FleetLayout {
            guard
                case .run(_, let arguments) = commandLineTool.parse(
                    ["up", "--embedded", "--input", ".", "--partitions", text])
            else { return FleetLayout() }
            return try UpCommand.layout(arguments)
        }
        let both = try layout("events=4,domain-log=9")
        #expect(both.eventsPartitions == 4 && both.domainLogPartitions == 9)
        #expect(try layout("domain-log=2").eventsPartitions == 1)
        let error = #expect(throws: UsageError.self) { try layout("event=4") }
        #expect(error?.message.hasSuffix("did you mean events?") == true)
        #expect(throws: UsageError.self) { try layout("events=0") }
        #expect(throws: UsageError.self) { try layout("events") }
    }

    @Test func `an error decides the exit code by its kind`() {
        #expect(ExitCode(of: SettingsError("x")).rawValue == 78)
        #expect(ExitCode(of: LineFileError("open", "x", "it is not there")).rawValue == 65)
        #expect(ExitCode(of: ReportError("x")).rawValue == 65)
        #expect(ExitCode(of: MemoryLogError.fenced("x")).rawValue == 70)
    }

    @Test func `default caps are halved until they fit, caps that were given are not`() throws {
        var settings = FleetSettings()
        let layout = FleetLayout()
        let whole = FleetMemory(settings, layout).bytes
        #expect(settings.fitting(whole, layout)?.halvings == 0)
        let fitted = try #require(settings.fitting(whole / 3, layout))
        #expect(fitted.halvings == 2)
        #expect(FleetMemory(fitted.settings, layout).bytes <= whole / 3)
        #expect(fitted.settings.integer("users_max", role: "enrich") == 500_000)
        try settings.set("roles.enrich.users_max", to: "2000000")
        let kept = try #require(settings.fitting(whole / 3, layout))
        #expect(kept.settings.integer("users_max", role: "enrich") == 2_000_000)
        try settings.set("roles.enrich.users_max", to: "1000000000")
        #expect(settings.fitting(whole, layout) == nil)
    }

    @Test func `a worker's caps are halved until its role fits, those that were given are refused`()
        throws
    {
        var settings = FleetSettings()
        let layout = MemoryLimit.layout(settings)
        #expect(layout.eventsPartitions == TopicContract(.events).partitions)
        for role in WorkerCommand.Role.allCases.map(\.rawValue) {
            let whole = FleetMemory(settings, layout, role: role).bytes
            for (limit, halvings) in [(whole, 0), (whole - 1, 1)] {
                var limited = settings
                try limited.set("limits.memory_bytes", to: "\(limit)")
                let fitted = try MemoryLimit.fit(limited, layout, role: role)
                #expect(FleetMemory(fitted, layout, role: role).bytes <= limit)
                #expect(fitted.changedCaps(from: limited).isEmpty == (halvings == 0), "\(role)")
                #expect(fitted.changedCaps(from: limited).allSatisfy { $0.path.contains(role) })
            }
        }
        let whole = FleetMemory(settings, layout, role: "enrich").bytes
        try settings.set("limits.memory_bytes", to: "\(whole)")
        try settings.set("roles.enrich.users_max", to: "1000000000")
        let error = #expect(throws: SettingsError.self) {
            try MemoryLimit.fit(settings, layout, role: "enrich")
        }
        #expect(error!.description.contains("roles.enrich.users_max"))
        #expect(ExitCode(of: error!).rawValue == 78)
    }

    @Test
    func
        `a worker refuses caps that do not fit before it asks for a broker, an operator's command does not`()
        throws
    {
        guard
            case .run(_, let arguments) = commandLineTool.parse([
                "worker", "enrich", "--brokers", "127.0.0.1:1", "--set",
                "limits.memory_bytes=100000000", "--set", "roles.enrich.users_max=1000000000",
            ])
        else {
            Issue.record("worker enrich is no command")
            return
        }
        #expect(throws: SettingsError.self) {
            try WorkerCommand.kafkaFleet(arguments, warnsOfFixedKey: false, worker: .enrich)
        }
        _ = try WorkerCommand.kafkaFleet(arguments, warnsOfFixedKey: false)
    }

    @Test(arguments: [([], true), (["--speed", "10"], false)])
    func `a fleet on Kafka reads a backlog in lockstep, and a replay at its pace`(
        words: [String], isInStep: Bool
    ) throws {
        let folder = NSTemporaryDirectory() + "backlog-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try "".write(toFile: "\(folder)/events.jsonl", atomically: true, encoding: .utf8)
        guard
            case .run(_, let arguments) = commandLineTool.parse(
                ["up", "--brokers", "127.0.0.1:1", "--input", folder] + words)
        else {
            Issue.record("up --brokers is no command")
            return
        }
        let job = try #require(try KafkaRun.parse(arguments).ingest)
        #expect(job.contains("--lockstep") == isInStep, "\(job)")
    }

    @Test func `lockstep without a broker is refused`() throws {
        guard
            case .run(let command, let arguments) = commandLineTool.parse([
                "ingest", "events", "x.jsonl", "--lockstep", "--data", "/nowhere/at/all",
            ])
        else {
            Issue.record("ingest events --lockstep is no command")
            return
        }
        let error = #expect(throws: (any Error).self) { try command(arguments) }
        #expect(error.map { "\($0)".contains("--lockstep needs --brokers") } == true)
    }

    @Test func `caps that were halved reach other processes as flags`() throws {
        var settings = FleetSettings()
        let layout = MemoryLimit.layout(settings)
        let whole = FleetMemory(settings, layout).bytes
        try settings.set("limits.memory_bytes", to: "\(whole / 3)")
        let fitted = try MemoryLimit.fit(settings, layout)
        var told = settings
        for (path, value) in fitted.changedCaps(from: settings) { try told.set(path, to: value) }
        #expect(told.changedCaps(from: fitted).isEmpty)
        for role in WorkerCommand.Role.allCases.map(\.rawValue) {
            let again = try MemoryLimit.fit(told, layout, role: role)
            #expect(again.changedCaps(from: told).isEmpty, "each fits where all do")
        }
    }

    @Test func `every contract in the binary passes its own check`() {
        guard case .run(let action, let arguments) = commandLineTool.parse(["topics", "check"])
        else {
            Issue.record("topics check is no command")
            return
        }
        #expect((try? action(arguments)) == .done)
    }
}
