// Whole runs over a small simulation: from lines of files to files of outputs.

import EmbeddedFleet
import FleetSettings
import JSON
import LineFiles
import Reports
import Simulation
import Testing

@testable import coldstream

@Suite struct EmbeddedRunTests {
    /// A simulation in a folder that goes away with this.
    private final class Input {
        let folder: String
        private var others: [String] = []

        init(seed: UInt64) throws {
            folder = try FolderFiles.makeTemporary()
            _ = try SimulationFiles.write(.tiny(seed: seed), to: folder)
        }

        func temporary() throws -> String {
            others.append(try FolderFiles.makeTemporary())
            return others.last!
        }

        /// Runs over the input; the output folder with its `summary.json`.
        func run(
            data: String? = nil, closes: Bool = true, partitions: Int = 1
        ) throws -> (output: String, summary: JSONValue) {
            var layout = FleetLayout()
            layout.eventsPartitions = partitions
            layout.domainLogPartitions = partitions
            var run = EmbeddedRun(
                settings: try SettingsFile.read(nil, inputFolder: folder), layout: layout,
                events: folder + "/events.jsonl.gz")
            run.catalog = folder + "/catalog.jsonl"
            run.data = data
            run.closes = closes
            let output = try temporary()
            #expect(try run.run(into: output))
            let text = try #require(ProcessFacts.text(output + "/summary.json"))
            return (output, try JSONValue(parsing: text))
        }

        deinit { for folder in others + [folder] { FolderFiles.remove(folder) } }
    }

    private static let outputs = [
        "scores", "domain-statistics", "evaluations", "examples", "dead-letters", "texts",
    ]

    private func differing(_ a: String, _ b: String) -> [String] {
        Self.outputs.filter {
            ProcessFacts.text("\(a)/\($0).jsonl") != ProcessFacts.text("\(b)/\($0).jsonl")
        }
    }

    @Test(arguments: [1, 3])
    func `two runs leave the same bytes`(partitions: Int) throws {
        let input = try Input(seed: 6)
        let first = try input.run(partitions: partitions)
        let second = try input.run(partitions: partitions)
        #expect(differing(first.output, second.output) == [])
        for name in Self.outputs {
            let size = FolderFiles.size("\(first.output)/\(name).jsonl") ?? 0
            #expect(size > 0, "\(name) is empty")
        }
    }

    @Test func `every line is used, a duplicate, an orphan or a dead letter`() throws {
        let summary = try Input(seed: 6).run().summary
        func count(_ name: String) -> Int64 { summary[name]?.integer ?? -1 }
        #expect(count("events") > 100)
        #expect(
            count("used") + count("duplicates") + count("orphans") + count("dead_letters")
                == count("events"))
        #expect(count("labels") == count("impressions"))
    }

    @Test func `a broken line of the catalog is a dead letter and no event`() throws {
        let input = try Input(seed: 6)
        let before = try input.run().summary
        let catalog = try #require(ProcessFacts.text(input.folder + "/catalog.jsonl"))
        try ("{\n" + catalog + "{\n").lend {
            try LineWriter.write($0, to: input.folder + "/catalog.jsonl")
        }
        let data = try input.temporary()
        let run = try input.run(data: data)
        #expect(run.summary["events"] == before["events"])
        #expect(run.summary["dead_letters"] == before["dead_letters"])
        let again = try input.run(data: data)
        #expect(again.summary["events"] == before["events"], "nor what an earlier run held back")
        let letters = try #require(ProcessFacts.text(run.output + "/dead-letters.jsonl"))
        #expect(
            Int64(letters.split(separator: "\n").count)
                == before["dead_letters"]!.integer! + 2)
        removeLog(data)
    }

    @Test func `a run with a data folder goes on where the last one ended`() throws {
        let input = try Input(seed: 7)
        let whole = try input.run().summary
        let data = try input.temporary()
        let open = try input.run(data: data, closes: false).summary
        #expect(open["labels"]?.integer ?? 0 < whole["labels"]?.integer ?? 0, "windows are open")
        let closed = try input.run(data: data)
        for name in [
            "events", "used", "impressions", "clicks", "duplicates", "orphans", "dead_letters",
            "labels", "corrections",
        ] {
            #expect(closed.summary[name] == whole[name], "\(name)")
        }
        let again = try input.run(data: data)
        #expect(differing(closed.output, again.output) == [], "nothing was appended twice")
        removeLog(data)
    }

    @Test func `a report can be made of every run`() throws {
        let input = try Input(seed: 8)
        let run = try input.run()
        let text = try RunReport(folder: run.output).text()
        #expect(text.contains("THE NEWEST DOMAIN"))
        #expect(text.split(separator: "\n").allSatisfy { $0.count <= 100 })
    }

    /// A log's folder has one folder a partition.
    private func removeLog(_ folder: String) {
        for topic in FleetLayout().topics { FolderFiles.remove("\(folder)/\(topic.name)-0") }
    }
}
