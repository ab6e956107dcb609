// The simulated log against what it promises: same seed same bytes, formats that read, and behaviour
// that follows the truth.

import Bytes
import Contracts
import FleetSettings
import Foundation
import JSON
import LineFiles
import Testing

@testable import Simulation

/// A line that was read, with what the tests look at.
struct SeenEvent {
    var type: EventType
    var time: Int64
    var domain: String
    var key: String
    var query: String?
    /// Of an impression line: identity, item and position of each place.
    var shown: [(id: String, item: String, position: Int)] = []
    var references: String?
    var request: String?
    var item: String?
    var value: Double?
}

func read(_ lines: [[UInt8]]) throws -> [SeenEvent] {
    let reader = EventReader()
    return try lines.map { bytes in
        try bytes.lend { try reader.read($0) }
        let event = reader.event
        #expect(event.unknownFields == 0)
        var seen = SeenEvent(
            type: event.type, time: event.time_ms, domain: event.domain.text,
            key: event.key?.text ?? "")
        seen.query = event.query?.text
        seen.request = event.request_id?.text
        seen.item = event.item_id?.text
        seen.references = event.impression_id?.text
        seen.value = event.value
        if event.type == .impression {
            let identity = (event.impression_id ?? event.id).text
            seen.shown = event.items.map {
                ("\(identity)#\($0.position)", $0.item_id.text, $0.position)
            }
            if let item = event.item_id {
                seen.shown = [(identity, item.text, event.position ?? 0)]
            }
        }
        return seen
    }
}

@Suite struct SimulationTests {
    static let quiet = quietLog(seed: 5, impressions: 20_000)

    /// Without faults, so that everything that happened is in the log.
    static func quietLog(seed: UInt64, impressions: Int) -> (SimulatedLog, [SeenEvent]) {
        var settings = SimulationSettings()
        settings.seed = seed
        settings.impressions = impressions
        settings.items = 600
        settings.users = 2_000
        settings.queries = 60
        settings.judgments = 50
        settings.faults = .none
        let log = SimulatedLog(settings)
        return (log, try! read(log.events))
    }

    @Test func `equal seeds give equal bytes and others do not`() {
        let one = SimulatedLog(.tiny(seed: 1))
        let same = SimulatedLog(.tiny(seed: 1))
        let other = SimulatedLog(.tiny(seed: 2))
        #expect(one.events == same.events && one.catalog == same.catalog)
        #expect(one.truth == same.truth && one.truthItems == same.truthItems)
        #expect(one.tally == same.tally)
        #expect(one.events != other.events && one.catalog != other.catalog)
    }

    @Test func `the bytes of seed 1 are the same on every machine`() {
        let log = SimulatedLog(.tiny(seed: 1))
        var all = ByteBuffer()
        for line in log.events + log.catalog + log.truth + log.truthItems {
            line.lend { all.append($0) }
        }
        #expect(
            SHA256.hex(all.slice)
                == "43988378ad575df3634a9b2a20babf156d03681dde350fafaa538eddd52b4a7f",
            "a change of the simulation changes this line")
    }

    @Test(arguments: 1...6) func `a tiny simulation has about its size and all its domains`(
        domains: Int
    ) throws {
        let log = SimulatedLog(.tiny(seed: 7, impressions: 300, domains: domains, faults: .none))
        let events = try read(log.events)
        #expect((200...400).contains(log.tally.impressions), "\(log.tally.impressions)")
        #expect(Set(events.map(\.domain)).count == domains)
        #expect(log.tally.lines == log.events.count)
    }

    @Test func `without faults every line reads and stands in order of time`() throws {
        let (log, events) = Self.quiet
        #expect(zip(events, events.dropFirst()).allSatisfy { $0.time <= $1.time })
        #expect(log.tally.broken + log.tally.duplicates + log.tally.lost + log.tally.orphans == 0)
        #expect(Set(events.map(\.type)) == [.impression, .click, .conversion, .judgment])
        #expect(events.allSatisfy { !$0.key.isEmpty })
    }

    @Test func `every click finds its impression the way its domain names it`() throws {
        let (log, events) = Self.quiet
        var byID: [String: Int64] = [:]
        var byRequest: [String: Int64] = [:]
        for event in events where event.type == .impression {
            for shown in event.shown {
                #expect(byID.updateValue(event.time, forKey: shown.id) == nil, "\(shown.id) twice")
                byRequest["\(event.request!) \(shown.item)"] = event.time
                if event.shown.count > 1 || shown.id.contains("#") {
                    byID["\(shown.id.split(separator: "#")[0]) \(shown.item)"] = event.time
                }
            }
        }
        let windows = Dictionary(
            uniqueKeysWithValues: log.settings.domains.map { ($0.name, $0.labelWindowSeconds) })
        var clicks = 0
        var withinWindow = 0
        for event in events where event.type == .click || event.type == .conversion {
            let shown =
                switch (event.references, event.item) {
                case (let id?, nil): byID[id]
                case (let id?, let item?): byID["\(id) \(item)"]
                case (nil, let item?): byRequest["\(event.request!) \(item)"]
                case (nil, nil): Int64?.none
                }
            guard let shown else {
                Issue.record("a \(event.type) in \(event.domain) without its impression")
                continue
            }
            #expect(event.time > shown)
            if event.type == .conversion { #expect(event.value! > 0) }
            guard event.type == .click else { continue }
            clicks += 1
            if event.time - shown <= Int64(windows[event.domain]!) * 1_000 { withinWindow += 1 }
        }
        #expect(clicks == log.tally.clicks)
        #expect(withinWindow == log.tally.clicks(in: .label))
        let part = Double(withinWindow) / Double(clicks)
        #expect((0.93...0.97).contains(part), "the label window is the 95 % point; got \(part)")
        #expect(log.tally.clicks(in: .attribution) > 8 * log.tally.clicks(in: .beyond))
        #expect(Double(log.tally.clicks(in: .beyond)) < 0.005 * Double(clicks))
    }

    @Test func `every domain is clicked at its rate, and the truth says so`() throws {
        let (log, events) = Self.quiet
        var truth: [String: Double] = [:]
        for (id, probability) in try pairs(log.truth, "impression_id", "probability") {
            truth[id] = probability
        }
        for plan in log.settings.domains {
            let shown = events.filter { $0.domain == plan.name }.flatMap(\.shown)
            let clicks = events.count { $0.domain == plan.name && $0.type == .click }
            let expected = shown.reduce(0) { $0 + truth[$1.id]! }
            let spread = expected.squareRoot()
            #expect(abs(Double(clicks) - expected) < 4 * spread, "\(plan.name)")
            let rate = expected / Double(shown.count)
            #expect(
                abs(rate - plan.clickRate) < 0.2 * plan.clickRate, "\(plan.name): \(rate)")
        }
        #expect(truth.count == log.tally.impressions)
    }

    @Test func `the late domain opens in the middle and is new to nobody`() throws {
        let (log, events) = Self.quiet
        let middle = log.settings.startMilliseconds + Int64(log.settings.seconds) * 500
        let late = events.filter { $0.domain == "new-cards" }
        #expect(late.count > 200)
        #expect(late.allSatisfy { $0.time >= middle })
        let users = Set(late.map(\.key))
        let known = Set(events.filter { $0.time < middle }.map(\.key))
        #expect(3 * users.intersection(known).count > users.count, "many were elsewhere before")
    }

    @Test func `users move between domains`() throws {
        let (_, events) = Self.quiet
        var domains: [String: Set<String>] = [:]
        for event in events where event.type == .impression {
            domains[event.key, default: []].insert(event.domain)
        }
        let known = domains.filter { $0.key.hasPrefix("u") }
        #expect(3 * known.values.count { $0.count > 1 } > known.count)
    }

    @Test func `a search shows what belongs to its query`() throws {
        let (log, events) = Self.quiet
        var text: [String: String] = [:]
        for line in log.catalog {
            let record = try JSONSerialization.jsonObject(with: Data(line)) as! [String: Any]
            let tags = record["tags"] as! [String]
            text[record["item_id"] as! String] = tags.joined(separator: " ")
        }
        let subjects = Subject.all.map { Set($0.words + [$0.name]) }
        var matching = 0
        var all = 0
        for event in events where event.query != nil && event.type == .impression {
            let words = Set(event.query!.split(separator: " ").map(String.init))
            let subject = subjects.max {
                $0.intersection(words).count < $1.intersection(words).count
            }!
            for shown in event.shown {
                all += 1
                if text[shown.item]!.split(separator: " ").contains(where: {
                    subject.contains(String($0))
                }) {
                    matching += 1
                }
            }
        }
        #expect(all > 2_000)
        #expect(Double(matching) > 0.7 * Double(all))
    }

    @Test func `items are published all the time, before they are shown`() throws {
        let (log, events) = Self.quiet
        var published: [String: Int64] = [:]
        let reader = CatalogReader()
        var previous = Int64.min
        var unavailable = 0
        for line in log.catalog {
            try line.lend { try reader.read($0) }
            let item = reader.item
            #expect(item.time_ms >= previous)
            previous = item.time_ms
            if !item.available { unavailable += 1 }
            let id = item.item_id.text
            if published[id] == nil { published[id] = item.time_ms }
        }
        #expect(published.count == log.settings.items)
        #expect(unavailable > 0)
        let start = log.settings.startMilliseconds
        for quarter in 0..<4 {
            let from = start + Int64(log.settings.seconds * 250 * quarter)
            let to = from + Int64(log.settings.seconds * 250)
            #expect(published.values.count { $0 >= from && $0 < to } > log.settings.items / 20)
        }
        for event in events {
            for shown in event.shown { #expect(published[shown.item]! <= event.time) }
        }
    }

    @Test func `the truth of items at the end is the average that it claims to be`() throws {
        var settings = SimulationSettings.tiny(
            seed: 3, impressions: 2_000, domains: 2, faults: .none)
        settings.drift = 0
        let log = SimulatedLog(settings)
        let events = try read(log.events)
        let truth = Dictionary(
            uniqueKeysWithValues: try pairs(log.truth, "impression_id", "probability"))
        var sums: [String: (Double, Double)] = [:]
        for event in events where event.query != nil {
            for shown in event.shown {
                let key = "\(event.query!)|\(shown.item)"
                let (sum, count) = sums[key] ?? (0, 0)
                sums[key] = (sum + truth[shown.id]!, count + 1)
            }
        }
        var searched = 0
        var recommended = 0
        for line in log.truthItems {
            let record = try JSONSerialization.jsonObject(with: Data(line)) as! [String: Any]
            let probability = record["probability"] as! Double
            guard let query = record["query"] as? String else {
                recommended += 1
                #expect(probability > 0 && probability < 1)
                continue
            }
            searched += 1
            let (sum, count) = sums["\(query)|\(record["item_id"]!)"]!
            #expect(abs(sum / count - probability) < 2e-9)
        }
        #expect(searched == sums.count)
        #expect(recommended > 30)
    }

    @Test func `files hold the same lines as memory`() throws {
        let folder = NSTemporaryDirectory() + "simulation-\(UUID().uuidString)/a/b"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let settings = SimulationSettings.tiny(seed: 9)
        let log = SimulatedLog(settings)
        var parts: [Double] = []
        let tally = try SimulationFiles.write(settings, to: folder) { parts.append($0) }
        #expect(tally == log.tally)
        #expect(parts.last == 1)
        func lines(_ name: String) throws -> [[UInt8]] {
            var reader = try LineReader.open(folder + "/" + name)
            var lines: [[UInt8]] = []
            while let line = try reader.next() { lines.append(line.bytes.copy()) }
            return lines
        }
        #expect(try lines("events.jsonl.gz") == log.events)
        #expect(try lines("catalog.jsonl") == log.catalog)
        #expect(try lines("truth.jsonl") == log.truth)
        #expect(try lines("truth-items.jsonl") == log.truthItems)
        let file = try Data(contentsOf: URL(fileURLWithPath: folder + "/coldstream.json"))
        #expect(Array(file) == log.settingsFile)
    }

    @Test func `the settings file fits the delays`() throws {
        let file = Array(SimulationSettings().settingsFile.text.utf8)
        let settings = try FleetSettings(parsing: file, file: "coldstream.json")
        #expect(settings.integer("lateness_s") == 2)
        #expect(settings.domains.sorted() == DomainPlan.standard.map(\.name).sorted())
        for plan in DomainPlan.standard {
            let window = Int64(plan.labelWindowSeconds)
            #expect(settings.integer("label_window_s", domain: plan.name) == window)
            #expect(settings.integer("attribution_window_s", domain: plan.name) == 5 * window)
            #expect(
                settings.text("surface", domain: plan.name)
                    == (plan.surface == .search ? "search" : "recommendation"))
        }
        #expect(settings.integer("label_window_s", domain: "video-feed") == 90)
        #expect(settings.integer("label_window_s", domain: "cards") == 60)
        for domains in 1...6 {
            let tiny = SimulationSettings.tiny(seed: 1, domains: domains).settingsFile.text
            _ = try FleetSettings(parsing: Array(tiny.utf8), file: "coldstream.json")
        }
    }

    func pairs(_ lines: [[UInt8]], _ key: String, _ value: String) throws -> [(String, Double)] {
        try lines.map { line in
            let record = try JSONSerialization.jsonObject(with: Data(line)) as! [String: Any]
            return (record[key] as! String, record[value] as! Double)
        }
    }
}
