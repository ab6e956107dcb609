// Help and completion come from the declaration, so they cannot be out of date.

import Foundation
import Testing

@testable import CommandLineArguments

@Suite struct HelpTextTests {
    func help(_ words: String...) -> String {
        guard case .help(let text) = Sample.tool.parse(words) else { return "no help" }
        return text
    }

    @Test func `the tool's help lists commands and common options`() {
        #expect(
            help("--help") == """
                Does things.

                USAGE: tool [options] COMMAND

                COMMANDS:
                  simulate         Writes traffic.
                  worker           Runs one role.
                  ingest           Reads events.
                  scores           Shows scores.

                OPTIONS:
                  --format FORMAT  how results are printed (table, json; default: table)
                  -q, --quiet      say nothing

                COMMON OPTIONS:
                  -h, --help       show this help

                See 'tool COMMAND --help' for a command.

                """)
    }

    @Test func `a command's help names defaults, ranges and what is required`() {
        let text = help("simulate", "--help")
        #expect(text.hasPrefix("Writes traffic.\n\nUSAGE: tool simulate --out DIR [options]\n"))
        #expect(text.contains("  -o, --out DIR    where to write (required)\n"))
        #expect(
            text.contains("  --seed N         equal seeds give equal bytes (0…99; default: 1)\n"))
        #expect(text.contains("  --domain NAME    only this domain (may be repeated)\n"))
        #expect(text.contains("COMMON OPTIONS:\n  --format FORMAT"))
        #expect(help("ingest", "-h").contains("USAGE: tool ingest FILE [MORE…]\n"))
        #expect(help("scores", "top", "-h").contains("USAGE: tool scores top [ITEM]\n"))
    }

    @Test func `help is found in every way people look for it`() {
        #expect(help("help") == help("--help"))
        #expect(help("help", "scores", "top") == help("scores", "top", "--help"))
        #expect(help("scores", "top", "--nonsense", "-h") == help("scores", "top", "-h"))
        #expect(Sample.tool.help == help("-h"))
    }

    @Test func `long explanations wrap below themselves`() {
        let command = Command<Int>(
            "long", "Long.",
            [Flag("f", help: Array(repeating: "word", count: 40).joined(separator: " "))], action: 0
        )
        #expect(command.help.split(separator: "\n").allSatisfy { $0.count <= 100 })
        #expect(command.help.contains("\n              word"))
    }

    @Test func `bash completes commands, options and values`() throws {
        let script = Sample.tool.completionScript(for: .bash)
        func complete(_ words: String...) throws -> [String] {
            let list = (["tool"] + words).map { "'\($0)'" }.joined(separator: " ")
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/bin/bash")
            process.arguments = [
                "-c",
                script + "\nCOMP_WORDS=(\(list)); COMP_CWORD=\(words.count); _tool\n"
                    + "((${#COMPREPLY[@]} == 0)) || printf '%s\\n' \"${COMPREPLY[@]}\"",
            ]
            let output = Pipe()
            process.standardOutput = output
            try process.run()
            let data = output.fileHandleForReading.readDataToEndOfFile()
            process.waitUntilExit()
            #expect(process.terminationStatus == 0)
            return String(decoding: data, as: UTF8.self).split(separator: "\n").map(String.init)
        }
        #expect(try complete("s") == ["simulate", "scores"])
        #expect(try complete("scores", "t") == ["top", "tail"])
        #expect(try complete("simulate", "--s") == ["--seed"])
        #expect(try complete("scores", "top", "--f") == ["--format"], "inherited")
        #expect(try complete("--format", "j") == ["json"])
        #expect(try complete("worker", "e") == ["enrich"])
        #expect(try complete("--format", "json", "wor") == ["worker"])
        #expect(try complete("simulate", "-o", "/us") == ["/usr"])
        #expect(try complete("simulate", "--seed", "") == [])
    }

    @Test func `zsh gets the same script behind its own preamble`() {
        let bash = Sample.tool.completionScript(for: .bash)
        let zsh = Sample.tool.completionScript(for: .zsh)
        #expect(zsh.hasPrefix("autoload -U +X compinit bashcompinit"))
        #expect(
            zsh.hasSuffix(bash.split(separator: "\n").dropFirst().joined(separator: "\n") + "\n"))
    }
}

@Suite struct NearestWordTests {
    @Test func `a swap of neighbours is one edit`() {
        #expect(editDistance("sede", "seed") == 1)
        #expect(editDistance("kitten", "sitting") == 3)
        #expect(editDistance("", "abc") == 3)
        #expect(editDistance("Same", "same") == 0)
    }

    @Test func `words that are far away are not offered`() {
        #expect(nearestWord(to: "lateness", in: ["lateness_s", "history"]) == "lateness_s")
        #expect(nearestWord(to: "xyz", in: ["lateness_s", "history"]) == nil)
        #expect(nearestWord(to: "ab", in: []) == nil)
        #expect(nearestWord(to: "hist", in: ["list", "history"]) == "list", "one edit, and first")
    }
}
