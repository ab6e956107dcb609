// `coldstream bench stream`: what an event costs in the steps, on simulated traffic or one's own.

import Bytes
import EmbeddedFleet
import FleetSettings
import JSON
import LineFiles
import Reports
import Simulation

enum StreamFigures {
    /// - Parameters:
    ///   - folder: with events and catalog; nil: a simulation of about so many impressions.
    static func run(folder: String?, impressions: Int, json: Bool) throws {
        let figures: [StreamBenchmark.Figure]
        if let folder {
            guard let events = FolderFiles.input("events.jsonl", in: folder) else {
                throw ReportError("\(folder) has no events.jsonl[.gz]")
            }
            figures = try StreamBenchmark.run(
                events: lines(events),
                catalog: FolderFiles.input("catalog.jsonl", in: folder).map(lines) ?? [],
                settings: SettingsFile.read(nil, inputFolder: folder))
        } else {
            let log = SimulatedLog(.benchmark(impressions: impressions))
            figures = try StreamBenchmark.run(
                events: log.events, catalog: log.catalog,
                settings: FleetSettings(parsing: log.settingsFile, file: "simulation"))
        }
        guard json else {
            var table = TextTable([("", .left), ("", .right), ("", .left), ("", .left)])
            for figure in figures {
                table.append([
                    figure.name, Formatted.count(Int64(figure.value)), figure.unit, figure.detail,
                ])
            }
            return print(table.text, terminator: "")
        }
        printJSON(figures.map { ($0.name, $0.value, $0.unit, $0.detail) })
    }

    static func printJSON(
        _ figures: [(name: String, value: Double, unit: String, detail: String)]
    ) {
        print(
            JSONValue.array(
                figures.map { figure in
                    .object([
                        JSONMember("name", .text(figure.name)),
                        JSONMember("value", .number(figure.value)),
                        JSONMember("unit", .text(figure.unit)),
                        JSONMember("detail", .text(figure.detail)),
                    ])
                }
            ).canonicalText)
    }

    private static func lines(_ path: String) throws -> [[UInt8]] {
        var reader = try LineReader.open(path)
        var lines: [[UInt8]] = []
        while let line = try reader.next() { lines.append(line.bytes.copy()) }
        return lines
    }
}
