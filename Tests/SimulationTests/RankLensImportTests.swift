// The RankLens importer on a few rows of its format, and on the data set itself where it is at hand.

import Bytes
import Contracts
import FleetSettings
import Foundation
import LineFiles
import Testing

@testable import Simulation

@Suite struct RankLensImportTests {
    func inFolder(_ body: (String) throws -> Void) throws {
        let folder = NSTemporaryDirectory() + "ranklens-\(UUID().uuidString)"
        try makeFolder(folder)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try body(folder)
    }

    func lines(_ path: String) throws -> [String] {
        var reader = try LineReader.open(path)
        var lines: [String] = []
        while let line = try reader.next() { lines.append(line.bytes.text) }
        return lines
    }

    let header = "ts_ms,user,list_id,position,item,click,query_tag,domain,cluster\n"

    @Test func `rows are ordered by time, list and position, with clicks five seconds later`()
        throws
    {
        try inFolder { folder in
            // List "b" occurs first in the file, so it precedes "a" at the same time.
            let rows = [
                "9000,u3,c,0,7,0,,comedy,1", "1000,u2,b,1,5,1,war,comedy,1",
                "1000,u1,a,0,4,0,,scifi,2", "1000,u2,b,0,3,0,war,comedy,1",
                "6000,u1,a,1,4,1,,scifi,2",
            ]
            try (header + rows.joined(separator: "\n") + "\n").writeFile(folder + "/events.csv.gz")
            try "".writeFile(folder + "/items.jsonl")
            let summary = try RankLensImport.run(from: folder, to: folder + "/out")
            #expect(summary == .init(impressions: 5, clicks: 2, lists: 3, items: 0))
            let events = try lines(folder + "/out/events.jsonl.gz")
            let seen = try read(events.map { Array($0.utf8) })
            #expect(
                seen.map { "\($0.type) \($0.time) \($0.references ?? "")" } == [
                    "impression 1000 b#0", "impression 1000 b#1", "impression 1000 a#0",
                    "click 6000 b#1", "impression 6000 a#1", "impression 9000 c#0",
                    "click 11000 a#1",
                ])
            #expect(
                events[1]
                    == #"{"domain":"comedy","impression_id":"b#1","item_id":"5","position":2,"#
                    + #""query":"war","request_id":"b","time_ms":1000,"type":"impression","user_id":"u2"}"#
            )
        }
    }

    @Test func `films lose their aggregates and keep their texts`() throws {
        try inFolder { folder in
            try (header + "5000,u,l,0,3,0,,comedy,1\n").writeFile(folder + "/events.csv.gz")
            let film =
                #"{"item": "3", "title": "Grumpier", "popularity": 9.9, "vote_avg": 6.5, "#
                + #""release_date": 819590400.0, "genres": ["romance", "comedy"], "tags": ["fishing"], "#
                + #""actors": [], "description": "Old men.", "director": "howard deutch"}"#
            try (film + "\n").writeFile(folder + "/items.jsonl")
            #expect(try RankLensImport.run(from: folder, to: folder + "/out").items == 1)
            #expect(
                try lines(folder + "/out/catalog.jsonl") == [
                    #"{"attributes":{"director":"howard deutch","genres":["romance","comedy"]},"#
                        + #""description":"Old men.","item_id":"3","published_ms":819590400000,"#
                        + #""tags":["fishing"],"time_ms":5000,"title":"Grumpier"}"#
                ])
            let file = try Data(
                contentsOf: URL(fileURLWithPath: folder + "/out/coldstream.json"))
            let settings = try FleetSettings(parsing: Array(file), file: "coldstream.json")
            #expect(settings.integer("lateness_s") == 0 && settings.integer("history") == 10)
            #expect(settings.integer("label_window_s", domain: "comedy") == 6)
            #expect(settings.integer("attribution_window_s", domain: "comedy") == 10)
            #expect(settings.domains == ["comedy"])
        }
    }

    @Test func `what is not RankLens is refused with the line`() throws {
        try inFolder { folder in
            func message(_ events: String, _ items: String = "") -> String {
                do throws(LineFileError) {
                    try events.writeFile(folder + "/events.csv.gz")
                    try items.writeFile(folder + "/items.jsonl")
                    _ = try RankLensImport.run(from: folder, to: folder + "/out")
                    return "imported"
                } catch { return error.reason }
            }
            #expect(message("") == "it has no header")
            #expect(message("ts_ms,user\n") == "it has no column list_id")
            #expect(message(header + "1,u,l\n") == "line 2 is not a row of the log")
            #expect(message(header + "x,u,l,0,3,0,,comedy,1\n") == "line 2 is not a row of the log")
            #expect(message(header, "{\"item\":\"3\"}\n") == "line 1 has no item or no title")
            #expect(message(header, "{").hasPrefix("line 1: "))
        }
    }

    static let folder = ProcessInfo.processInfo.environment["COLDSTREAM_RANKLENS"]

    @Test(.enabled(if: folder != nil)) func `the data set has its known sizes`() throws {
        try inFolder { folder in
            let summary = try RankLensImport.run(from: Self.folder!, to: folder)
            #expect(
                summary == .init(impressions: 235_200, clicks: 46_125, lists: 9_800, items: 2_512))
            let reader = EventReader()
            var events = try LineReader.open(folder + "/events.jsonl.gz")
            var previous: Int64 = 0
            while let line = try events.next() {
                try reader.read(line.bytes)
                #expect(reader.event.time_ms >= previous)
                previous = reader.event.time_ms
            }
            #expect(previous == 1_636_995_045_000, "16:50:45, when the last list was shown")
            let catalog = CatalogReader()
            var items = try LineReader.open(folder + "/catalog.jsonl")
            while let line = try items.next() {
                try catalog.read(line.bytes)
                #expect(catalog.item.unknownFields == 0)
            }
        }
    }
}
