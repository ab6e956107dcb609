// What operators copy (units, compose file, runbook) against what this binary really accepts.

import CommandLineArguments
import EmbeddedFleet
import FleetSettings
import Foundation
import JSON
import Reports
import Testing
import WorkerRuntime

@testable import coldstream

/// The files of `ops/`, and what is wrong with them.
private enum Deployment {
    static let ops = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("ops")
    static let program = "/usr/bin/coldstream"

    static func text(_ name: String) throws -> String {
        try String(contentsOf: ops.appendingPathComponent(name), encoding: .utf8)
    }

    static var services: [String] {
        get throws {
            try FileManager.default.contentsOfDirectory(
                atPath: ops.appendingPathComponent("systemd").path
            ).filter { $0.hasSuffix(".service") }.sorted()
        }
    }

    /// Why the binary would not take these words; nil where it would run.
    static func refusal(of words: [String]) -> String? {
        guard case .failure(let error) = commandLineTool.parse(words) else { return nil }
        return "\(words.joined(separator: " ")): \(error.message)"
    }

    /// The values of a key in a unit, in order.
    static func values(_ key: String, in unit: String) -> [String] {
        unit.split(separator: "\n").filter { $0.hasPrefix("\(key)=") }
            .map { String($0.dropFirst(key.count + 1)) }
    }

    /// A unit's command line as systemd would pass it on for slot 3.
    static func commandLine(of unit: String) -> [String]? {
        guard var line = values("ExecStart", in: unit).last else { return nil }
        for variable in values("Environment", in: unit) {
            guard let equals = variable.firstIndex(of: "=") else { continue }
            line = line.replacingOccurrences(
                of: "${\(variable[..<equals])}", with: variable[variable.index(after: equals)...])
        }
        return line.replacingOccurrences(of: "%i", with: "3")
            .split(separator: " ").map(String.init)
    }

    static func faults(ofService unit: String, named name: String) -> [String] {
        guard let words = commandLine(of: unit), words.first == program else {
            return ["\(name) does not start \(program)"]
        }
        var faults: [String] = []
        if let refusal = refusal(of: Array(words.dropFirst())) { faults.append(refusal) }
        if words.contains(where: { $0.contains("$") || $0.contains("%") }) {
            faults.append("\(name): something in \(words) is not known")
        }
        if name.hasSuffix("@.service") {
            let role = name.dropFirst("coldstream-".count).dropLast("@.service".count)
            if Array(words.dropFirst().prefix(2)) != ["worker", String(role)] {
                faults.append("\(name) does not run the role \(role)")
            }
        }
        return faults
    }

    /// What a drop-in says of exit codes, against what the code says of them.
    static func faults(ofExitCodesIn unit: String) -> [String] {
        let prevented = Set(
            values("RestartPreventExitStatus", in: unit).flatMap { $0.split(separator: " ") }
                .compactMap { Int32($0) })
        let final = Set(
            WorkerRuntime.ExitCode.allCases.filter { !$0.allowsRestart && $0 != .done }
                .map(\.rawValue)
        ).union([coldstream.ExitCode.usage.rawValue])
        var faults: [String] = []
        if prevented != final {
            faults.append("exit codes \(prevented.sorted()) end a unit, not \(final.sorted())")
        }
        let pauses = values("ExecStopPost", in: unit).joined()
        if !pauses.contains("\(WorkerRuntime.ExitCode.fenced.rawValue)) exec sleep") {
            faults.append("a fenced worker does not wait")
        }
        return faults
    }

    /// The arguments of every `command:` of the compose file.
    static func commands(ofCompose text: String) throws -> [[String]] {
        try text.split(separator: "\n").compactMap { line in
            let line = line.trimmingCharacters(in: .whitespaces)
            guard line.hasPrefix("command: ") else { return nil }
            return try JSONValue(parsing: String(line.dropFirst(9))).array?.compactMap(\.text)
        }
    }

    /// Command lines of the runbook: what stands behind `coldstream` in its shell blocks.
    static func commands(ofRunbook text: String) -> [[String]] {
        var commands: [[String]] = []
        var isShell = false
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasPrefix("```") { isShell = line == "```sh" }
            guard isShell, line.hasPrefix("coldstream ") else { continue }
            let command = line.prefix { $0 != "#" && $0 != "|" && $0 != ">" }
            commands.append(command.split(separator: " ").dropFirst().map(String.init))
        }
        return commands
    }

    static func run(_ words: [String], environment: [String: String] = [:]) throws
        -> (code: Int32, errors: String)
    {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = words
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let errors = Pipe()
        process.standardError = errors
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        let text = errors.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: text, as: UTF8.self))
    }

    static let hasSystemd = (try? run(["systemd-analyze", "--version"]).code) == 0
    static let hasCompose = (try? run(["docker", "compose", "version"]).code) == 0
}

@Suite struct DeploymentTests {
    @Test func `every unit starts a command line that this binary accepts, of its own role`()
        throws
    {
        let names = try Deployment.services
        for name in names {
            let unit = try Deployment.text("systemd/\(name)")
            #expect(Deployment.faults(ofService: unit, named: name) == [])
        }
        let roles = WorkerCommand.Role.allCases.map { "coldstream-\($0)@.service" }
        #expect(Set(names) == Set(roles + ["coldstream-up.service"]))
    }

    @Test func `units do not restart what only a person can mend, and wait where fenced`() throws {
        let common = try Deployment.text("systemd/coldstream-.service.d/fleet.conf")
        #expect(Deployment.faults(ofExitCodesIn: common) == [])
        #expect(Deployment.values("Restart", in: common) == ["on-failure"])
    }

    @Test func `a broken unit is found`() throws {
        let name = "coldstream-enrich@.service"
        let unit = try Deployment.text("systemd/\(name)")
        func faults(_ old: String, _ new: String) -> [String] {
            #expect(unit.contains(old))
            return Deployment.faults(
                ofService: unit.replacingOccurrences(of: old, with: new), named: name)
        }
        #expect(faults("--slot", "--slto").first?.contains("did you mean --slot?") == true)
        #expect(faults("worker enrich", "worker finetune").count == 1)
        #expect(faults("worker enrich", "worker rank").count == 2)
        #expect(faults("Environment=HTTP", "Environment=HTPT").count == 1)
        #expect(faults(Deployment.program, "/usr/bin/true").count == 1)
        let common = try Deployment.text("systemd/coldstream-.service.d/fleet.conf")
        for (old, new) in [("=64 65 78", "=64 78"), ("=64 65 78", "=64 65 75 78"), ("76)", "67)")] {
            let broken = common.replacingOccurrences(of: old, with: new)
            #expect(Deployment.faults(ofExitCodesIn: broken).count == 1)
        }
    }

    @Test(.enabled(if: Deployment.hasSystemd, "systemd-analyze is not installed"))
    func `systemd finds nothing to say about the units, and little that they may do`() throws {
        let folder = URL(fileURLWithPath: NSTemporaryDirectory() + "units-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        try FileManager.default.copyItem(
            at: Deployment.ops.appendingPathComponent("systemd"), to: folder)
        func verify() throws -> [String] {
            var said: [String] = []
            for name in try Deployment.services {
                let file = folder.appendingPathComponent(name)
                // The program of a machine that has it installed.
                let unit = try String(contentsOf: file, encoding: .utf8)
                    .replacingOccurrences(of: Deployment.program, with: "/bin/true")
                try unit.write(to: file, atomically: true, encoding: .utf8)
                let instance = name.replacingOccurrences(of: "@.", with: "@0.")
                let where_ = ["SYSTEMD_UNIT_PATH": "\(folder.path):"]
                let verified = try Deployment.run(
                    ["systemd-analyze", "verify", instance], environment: where_)
                let secure = try Deployment.run(
                    ["systemd-analyze", "security", "--offline=true", "--threshold=15", instance],
                    environment: where_)
                if verified.code != 0 || secure.code != 0 || verified.errors.contains("coldstream")
                {
                    said.append("\(instance): \(verified.errors)\(secure.errors)")
                }
            }
            return said
        }
        #expect(try verify() == [])
        let common = folder.appendingPathComponent("coldstream-.service.d/fleet.conf")
        let right = try String(contentsOf: common, encoding: .utf8)
        for (old, new) in [("RestartSec", "RestrtSec"), ("CapabilityBoundingSet=", "#")] {
            try right.replacingOccurrences(of: old, with: new)
                .write(to: common, atomically: true, encoding: .utf8)
            #expect(try !verify().isEmpty, "\(old) became \(new), and nobody saw it")
        }
    }

    @Test func `every command of the compose file is one that this binary accepts`() throws {
        let text = try Deployment.text("compose.yaml")
        let commands = try Deployment.commands(ofCompose: text)
        for command in commands { #expect(Deployment.refusal(of: command) == nil) }
        let roles = commands.filter { $0.first == "worker" }.map { $0[1] }
        #expect(roles == WorkerCommand.Role.allCases.map(\.rawValue))
        #expect(
            commands.map(\.[0]) == ["topics", "worker", "worker", "worker", "ingest", "doctor"])
        #expect(Deployment.refusal(of: ["worker", "rank"]) != nil)
    }

    @Test(.enabled(if: Deployment.hasCompose, "docker compose is not installed"))
    func `docker compose reads the compose file`() throws {
        let file = Deployment.ops.appendingPathComponent("compose.yaml").path
        let read = try Deployment.run(
            ["docker", "compose", "-f", file, "config", "--quiet"],
            environment: ["COLDSTREAM_USER_KEY": "x"])
        #expect(read.code == 0, "\(read.errors)")
    }

    @Test func `every command of the runbook is one that this binary accepts`() throws {
        let commands = Deployment.commands(ofRunbook: try Deployment.text("README.md"))
        #expect(commands.count >= 15)
        for command in commands { #expect(Deployment.refusal(of: command) == nil) }
        let broken = "```sh\ncoldstream doctr --brokers x   # no such command\n```\ncoldstream x"
        let refusals = Deployment.commands(ofRunbook: broken).compactMap(Deployment.refusal)
        #expect(refusals.count == 1)
    }

    @Test func `the runbook says how much memory the default caps allow`() throws {
        func mebibytes(_ role: String) throws -> String {
            let settings = try FleetSettings(parsing: Array("{}".utf8), file: "test.json")
            return Formatted.count(FleetMemory.bytes(settings, FleetLayout(), role) >> 20)
        }
        let (enrich, finetune) = (try mebibytes("enrich"), try mebibytes("finetune"))
        let sentence = "with the defaults \(enrich) MiB in enrich, \(finetune) MiB in finetune"
        #expect(try Deployment.text("README.md").contains(sentence), "\(sentence)")
    }

    @Test func `the runbook has a row for every exit code, and no metric that does not exist`()
        throws
    {
        let text = try Deployment.text("README.md")
        for code in coldstream.ExitCode.allCases {
            #expect(text.contains("\n| \(code.rawValue) |"), "exit code \(code.rawValue)")
        }
        let sources = Deployment.ops.deletingLastPathComponent().appendingPathComponent("Sources")
        var code = ""
        for folder in ["WorkerRuntime", "KafkaFleet"] {
            let files = FileManager.default.enumerator(
                at: sources.appendingPathComponent(folder), includingPropertiesForKeys: nil)
            for case let file as URL in files! where file.pathExtension == "swift" {
                code += try String(contentsOf: file, encoding: .utf8)
            }
        }
        let named = text.matches(of: /coldstream_[a-z_]+/).map { String($0.output) }
        #expect(Set(named).count >= 5)
        for metric in Set(named) {
            #expect(code.contains("\"\(metric)\""), "\(metric) is not a metric of a worker")
        }
    }
}
