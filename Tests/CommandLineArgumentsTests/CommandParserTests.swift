// What people type, and what it comes to.

import Testing

@testable import CommandLineArguments

enum Role: String, CaseIterable, ArgumentValue { case gateway, enrich, finetune }

enum Sample {
    static let format = Option<OutputFormat>.format
    static let quiet = Flag("quiet", help: "say nothing").short("q")
    static let dryRun = Flag("dry-run", help: "change nothing").short("n")
    static let out = Option<String>("out", "DIR", help: "where to write").short("o")
        .completing(.directories)
    static let seed = Option<Int>("seed", "N", default: 1, help: "equal seeds give equal bytes")
        .within(0...99)
    static let domains = Option<[String]>("domain", "NAME", help: "only this domain")
    static let slot = Option<Int?>("slot", "N", help: "which of the workers this is").within(0...9)
    static let speed = Option<Double>("speed", "X", default: 2, help: "times event time")
    static let role = Argument<Role>("ROLE", help: "what the worker does")
    static let file = Argument<String>("FILE", help: "events, or - for standard input")
        .completing(.files)
    static let others = Argument<[String]>("MORE", help: "further files").completing(.files)
    static let item = Argument<String?>("ITEM", help: "one item")

    static let tool = Command<String>(
        "tool", "Does things.", [format, quiet],
        subcommands: [
            Command(
                "simulate", "Writes traffic.", [out, seed, domains, dryRun], action: "simulate"),
            Command("worker", "Runs one role.", [role, slot, speed], action: "worker"),
            Command("ingest", "Reads events.", [file, others], action: "ingest"),
            Command(
                "scores", "Shows scores.",
                subcommands: [
                    Command("top", "Shows the best items.", [item], action: "top"),
                    Command("tail", "Follows the scores.", action: "tail"),
                ]),
        ])
}

@Suite struct CommandParserTests {
    func run(_ line: String) throws -> (String, Arguments) {
        switch Sample.tool.parse(line.split(separator: " ").map(String.init)) {
        case .run(let action, let arguments): return (action, arguments)
        case .help(let text): throw UsageError("unexpected help: \(text)", path: [])
        case .failure(let error): throw error
        }
    }

    func message(_ line: String) -> String {
        switch Sample.tool.parse(line.split(separator: " ").map(String.init)) {
        case .run(let action, _): return "ran \(action)"
        case .help: return "helped"
        case .failure(let error):
            #expect(error.exitCode == 64)
            return error.message
        }
    }

    @Test func `options are read with a space and with an equals sign`() throws {
        for line in ["simulate --out a/b --seed 7", "simulate --seed=7 --out=a/b"] {
            let (action, arguments) = try run(line)
            #expect(action == "simulate")
            #expect(arguments[Sample.out] == "a/b")
            #expect(arguments[Sample.seed] == 7)
        }
        #expect(try run("simulate --out=a=b").1[Sample.out] == "a=b", "only the first sign divides")
    }

    @Test func `what is left out has its default and is known to be left out`() throws {
        let (_, arguments) = try run("simulate --out x")
        #expect(arguments[Sample.seed] == 1)
        #expect(!arguments.contains(Sample.seed))
        #expect(arguments.contains(Sample.out))
        #expect(arguments[Sample.domains] == [])
        #expect(!arguments[Sample.dryRun])
        #expect(try run("worker enrich").1[Sample.slot] == nil)
        #expect(try run("worker enrich --slot 0").1[Sample.slot] == 0)
    }

    @Test func `options may be repeated only where that is declared`() throws {
        let (_, arguments) = try run("simulate --out x --domain a --domain=b")
        #expect(arguments[Sample.domains] == ["a", "b"])
        #expect(message("simulate --out x --out y") == "--out is given twice")
        #expect(message("simulate --out x --dry-run --dry-run") == "ran simulate")
    }

    @Test func `options of the tool stand before or behind the subcommand`() throws {
        for line in [
            "--format json scores top", "scores --format=json top", "scores top --format json",
        ] {
            #expect(try run(line).1[Sample.format] == .json)
        }
        #expect(message("scores --out x top").hasPrefix("unknown option --out"))
    }

    @Test func `one-letter names take values and stand in clusters`() throws {
        let (_, arguments) = try run("simulate -nq -o x")
        #expect(arguments[Sample.dryRun] && arguments[Sample.quiet])
        #expect(arguments[Sample.out] == "x")
        #expect(try run("simulate -o=x").1[Sample.out] == "x")
        #expect(message("simulate -on x") == "-o needs a value DIR")
        #expect(message("simulate -x").hasPrefix("unknown option -x"))
    }

    @Test func `a lone dash is a file, and so is everything behind two`() throws {
        #expect(try run("ingest -").1[Sample.file] == "-")
        let (_, arguments) = try run("ingest --quiet a -- --b -c")
        #expect(arguments[Sample.file] == "a")
        #expect(arguments[Sample.others] == ["--b", "-c"])
        #expect(message("ingest -- --help") == "ran ingest")
    }

    @Test func `negative numbers are values`() throws {
        #expect(try run("worker enrich --speed -1.5").1[Sample.speed] == -1.5)
        #expect(try run("ingest -5").1[Sample.file] == "-5")
    }

    @Test func `a missing value is not taken from the next option`() {
        #expect(
            message("simulate --out --seed 1")
                == "--out needs a value DIR, not the option --seed; "
                + "a value that begins with a dash is given as --out=--seed")
        #expect(message("simulate --out") == "--out needs a value DIR")
        #expect(message("simulate --out x --dry-run=yes") == "--dry-run takes no value")
    }

    @Test func `words that are not known name the nearest one that is`() {
        #expect(message("simulat --out x") == "unknown command 'simulat'; did you mean simulate?")
        #expect(message("scores tpo") == "unknown command 'tpo'; did you mean top?")
        #expect(message("simulate --sede 1") == "unknown option --sede; did you mean --seed?")
        #expect(message("simulate -seed 1") == "unknown option -s; did you mean --seed?")
        #expect(
            message("worker enrihc")
                == "ROLE: 'enrihc' is none of gateway, enrich, finetune; did you mean enrich?")
        #expect(message("scores --format yaml top").hasSuffix("'yaml' is none of table, json"))
        #expect(message("banana") == "unknown command 'banana'")
    }

    @Test func `values that do not fit say what would`() {
        #expect(message("simulate --out x --seed many") == "--seed: 'many' is not a whole number")
        #expect(message("simulate --out x --seed 100") == "--seed: '100' is not in 0…99")
        #expect(message("simulate --out x --seed 99") == "ran simulate")
        #expect(message("worker enrich --slot 10") == "--slot: '10' is not in 0…9")
        #expect(message("worker enrich --speed nan") == "--speed: 'nan' is not a number")
        #expect(message("worker enrich --speed inf") == "--speed: 'inf' is not a number")
    }

    @Test func `what is missing or too much is named`() {
        #expect(message("simulate") == "needs --out DIR: where to write")
        #expect(message("worker") == "needs ROLE: what the worker does")
        #expect(message("worker enrich finetune") == "does not know what to do with 'finetune'")
        #expect(message("scores") == "needs a subcommand: top, tail")
        #expect(message("") == "needs a subcommand: simulate, worker, ingest, scores")
    }

    @Test func `an error says where its help is`() {
        guard case .failure(let error) = Sample.tool.parse(["scores", "top", "a", "b"]) else {
            Issue.record("must fail")
            return
        }
        #expect(
            error.description
                == "tool scores top: does not know what to do with 'b'\nSee 'tool scores top --help'."
        )
    }

    @Test(arguments: ["", "-", "--", "=", "--=", "-=", "--=x", "---", "-é", "--out=", "\u{0}"])
    func `odd words are errors, never traps`(word: String) {
        for words in [[word], ["simulate", word], ["simulate", "--out", word], ["ingest", word]] {
            _ = Sample.tool.parse(words)
        }
    }

    @Test func `where a command takes a subcommand or arguments, the first word decides`() {
        let folder = Argument<String>("DIR", help: "what to measure")
        let other = Argument<String>("DIR", help: "the data set")
        let tool = Command<String>(
            "tool", "Measures.",
            subcommands: [
                Command(
                    "evaluate", "Measures quality.", [folder],
                    subcommands: [Command("films", "On films.", [other], action: "films")],
                    action: "folder")
            ])
        func run(_ words: String...) -> (String, Arguments)? {
            guard case .run(let action, let arguments) = tool.parse(words) else { return nil }
            return (action, arguments)
        }
        #expect(run("evaluate", "out")?.0 == "folder")
        #expect(run("evaluate", "out")?.1[folder] == "out")
        #expect(run("evaluate", "films", "data")?.0 == "films")
        #expect(run("evaluate", "films", "data")?.1[other] == "data")
        #expect(run("evaluate", "./films")?.1[folder] == "./films")
        #expect(run("evaluate", "--", "films")?.1[folder] == "films")
        #expect(run("evaluate") == nil)
        #expect(run("evaluate", "out", "films") == nil)
        guard case .help(let help) = tool.parse(["evaluate", "-h"]) else {
            Issue.record("no help")
            return
        }
        #expect(help.contains("USAGE: tool evaluate COMMAND | DIR\n"))
    }
}
