import Bytes
import Contracts
import EmbeddedFleet
import FleetSettings
import Foundation
import Gateway
import JSON
import Streams

func trial() throws {
    let dir = CommandLine.arguments[1]
    let out = CommandLine.arguments[2]
    let settings = try FleetSettings(
        parsing: Array(Data(contentsOf: URL(fileURLWithPath: dir + "/coldstream.json"))),
        file: "coldstream.json")
    var layout = FleetLayout()
    if CommandLine.arguments.count > 4 {
        layout.eventsPartitions = Int(CommandLine.arguments[3])!
        layout.domainLogPartitions = Int(CommandLine.arguments[4])!
    }
    let log = MemoryLog(topics: layout.topics)
    let fleet = try EmbeddedFleet(settings, layout: layout, log: log)
    let events =
        FileManager.default.fileExists(atPath: dir + "/events.jsonl")
        ? "/events.jsonl" : "/events.jsonl.gz"
    var input = IngestInput(name: "trial", events: dir + events, catalog: dir + "/catalog.jsonl")
    input.closes = true
    try fleet.begin(input)
    let files = try OutputFiles(log, folder: out, keepsLog: false)
    let start = clock()
    while try fleet.turn() {
        try files.drain()
        try fleet.trim()
    }
    try files.finish()
    let seconds = Double(clock() - start) / 1e6
    let summary = RunSummary(fleet)
    print(summary.json(seconds: seconds, memoryPeakBytes: Int64(log.allocatedBytes)).canonicalText)
}
