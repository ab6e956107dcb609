// `coldstream bench stream --brokers`: the same steps as workers on a real Kafka, beside what others
// reach there.

import CommandLineArguments
import FleetSettings
import JSON
import KafkaBenchmarks
import KafkaFleet
import KafkaTransactions
import Reports
import Streams
import WorkerRuntime

#if canImport(Glibc)
    import Glibc
#endif

enum KafkaStreamFigures {
    static func run(_ brokers: String, _ arguments: Arguments) throws -> ExitCode {
        let folder = try makeFolder()
        defer { remove(folder) }
        let around = BenchmarkSurroundings(
            brokers: brokers, program: "/proc/self/exe", stop: .ofProcess(),
            progress: { say("bench: \($0)") })
        let name = "coldstream-bench-\(hexadecimal(UInt32.random(in: .min ... .max)))"
        do {
            var figures: [Figure] = []
            if arguments[BenchCommand.events] > 0 {
                figures += try Throughput(
                    around, events: arguments[BenchCommand.events], name: name, folder: folder
                ).run()
            }
            if arguments[BenchCommand.seconds] > 0 {
                figures += try Freshness(
                    around, seconds: arguments[BenchCommand.seconds],
                    eventsPerSecond: arguments[BenchCommand.pace], name: "\(name).live",
                    folder: folder
                ).run()
            }
            show(figures, json: arguments.isJSON)
            return .done
        } catch let error as BenchmarkError {
            say("coldstream bench: \(error)")
            return .checkFailed
        } catch {
            say("coldstream bench: \(error)")
            remove(folder)
            exit(WorkerRuntime.ExitCode(error).rawValue)
        }
    }

    private static func show(_ figures: [Figure], json: Bool) {
        guard json else {
            var table = TextTable(
                [("", .left), ("", .right), ("", .left), ("others", .left), ("", .left)],
                widest: 120)
            for figure in figures {
                let value =
                    abs(figure.value) < 100
                    ? Formatted.fixed(figure.value, 1) : Formatted.count(Int64(figure.value))
                table.append([figure.name, value, figure.unit, figure.others, figure.detail])
            }
            return print(table.text, terminator: "")
        }
        StreamFigures.printJSON(
            figures.map {
                let others = $0.others.isEmpty ? "" : "; \($0.others)"
                return ($0.name, $0.value, $0.unit, $0.detail + others)
            })
    }

    private static func hexadecimal(_ number: UInt32) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }

    /// A temporary folder for settings and what workers write.
    private static func makeFolder() throws -> String {
        var path =
            Array("\(ProcessFacts.environment("TMPDIR") ?? "/tmp")/coldstream-XXXXXX".utf8)
            .map(CChar.init) + [0]
        guard mkdtemp(&path) != nil else {
            throw SettingsError("no temporary folder could be made; set TMPDIR to one")
        }
        return String(decoding: path.dropLast().map(UInt8.init), as: UTF8.self)
    }

    private static func remove(_ folder: String) {
        if let listing = opendir(folder) {
            while let entry = readdir(listing) {
                let name = withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                unlink("\(folder)/\(name)")
            }
            closedir(listing)
        }
        rmdir(folder)
    }

    // One worker

    static let statistics = Flag("statistics", help: "finetune without a head")
    static let atLeastOnce = Flag(
        "at-least-once", help: "outputs first, positions after, no transactions")

    static let workerCommand = Command<Action>(
        "worker",
        "One worker as `bench stream --brokers` starts it; prints what it did at its end.",
        [
            WorkerCommand.role, UpCommand.config, UpCommand.set, WorkerCommand.brokers,
            WorkerCommand.fleet, statistics, atLeastOnce,
        ], action: runWorker)

    private static func runWorker(_ arguments: Arguments) throws -> ExitCode {
        let signal = WorkerRuntime.StopSignal.ofProcess()
        let parent = getppid()
        // Nobody is left to stop it where whoever started it is gone.
        let stop = WorkerRuntime.StopSignal { signal.isRaised || getppid() != parent }
        do {
            var fleet = try WorkerCommand.kafkaFleet(arguments)
            fleet.usesHead = !arguments[statistics]
            if arguments[atLeastOnce] { fleet.guarantee = .atLeastOnce }
            let name = "\(fleet.settings.fleet).\(arguments[WorkerCommand.role].rawValue).0"
            let around = KafkaFleet.Surroundings(
                status: WorkerStatus(
                    fleet: fleet.settings.fleet, worker: name, version: VersionCommand.version,
                    library: "\(LibraryVersion.running)"),
                journal: Journal(worker: name))
            switch arguments[WorkerCommand.role] {
            case .enrich: try fleet.enrich(slot: 0, around).run(until: stop)
            case .finetune: try fleet.finetune(slot: 0, around).run(until: stop)
            case .encode: throw arguments.usageError("encode is a job, it has no steps to measure")
            }
            let counters = around.status.newest.counters
            print(
                JSONValue.object([
                    JSONMember("records_in", .integer(counters.recordsIn)),
                    JSONMember("records_out", .integer(counters.recordsOut)),
                    JSONMember("commits", .integer(counters.commits)),
                    JSONMember("commit_seconds", .number(counters.commitSeconds)),
                    JSONMember("longest_commit_seconds", .number(counters.longestCommitSeconds)),
                ]).canonicalText)
            fflush(nil)
            _exit(0)
        } catch let error as UsageError {
            throw error
        } catch {
            say("bench worker: \(error)")
            _exit(WorkerRuntime.ExitCode(error).rawValue)
        }
    }
}
