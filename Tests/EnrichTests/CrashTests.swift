// Any schedule of crashes, restarts and rebalances leaves what an undisturbed run leaves.

import Bytes
import Contracts
import JSON
import Streams
import Testing

@testable import Enrich

/// Everything that can come in, in an order that a seed decides.
struct RandomTraffic {
    var events: [TestEvent] = []
    /// Lines, and those of them that a reader refuses.
    var broken = 0

    init(seed: UInt64, count: Int) {
        var random = TestRandom(seed &* 77)
        var time: Int64 = 1_000_000
        var shown: [TestEvent] = []
        for i in 0..<count {
            time += Int64(random.below(3_000))
            let user = "u\(random.below(12))"
            let domain = "d\(random.below(4))"
            let event: TestEvent
            switch random.below(20) {
            case 0..<8:
                var impression = TestEvent.impression(
                    "i\(i)", time, item: "item\(random.below(30))", user: user, domain: domain,
                    request: random.happens(0.5) ? "r\(random.below(40))" : nil)
                if random.happens(0.5) { impression["query"] = .text("q\(random.below(8))") }
                event = impression
                shown.append(impression)
            case 8:
                event = .slate(
                    "s\(i)", time, items: (0...random.below(4)).map { "item\($0)" }, user: user,
                    domain: domain)
                shown.append(event.with("items", nil).with("impression_id", .text("s\(i)#1")))
            case 9..<14:
                // Mostly of the last few, some long past.
                let recent = shown.suffix(random.happens(0.8) ? 12 : shown.count)
                guard let target = recent.randomElement(using: &random) else { continue }
                let type = random.happens(0.8) ? "click" : "conversion"
                var click = TestEvent(
                    type, time, domain, user: target["user_id"]!.text!)
                click["id"] = .text("c\(i)")
                if random.happens(0.6) || target["request_id"] == nil || target["item_id"] == nil {
                    click["impression_id"] = target["impression_id"]
                } else {
                    click["request_id"] = target["request_id"]
                    click["item_id"] = target["item_id"]
                }
                event = click
            case 14: event = .click("nobody\(i)", time, user: user, domain: domain)
            case 15: event = .judgment(query: "q\(i % 5)", item: "item1", grade: 0.5, time)
            case 16:
                event = .raw(["{", "null", #"{"type":"x"}"#][random.below(3)], key: user)
                broken += 1
            case 17:
                guard let again = events.randomElement(using: &random) else { continue }
                event = again
                if again.raw != nil { broken += 1 }
            case 18: event = .tick(time)
            default: event = .impression("late\(i)", time - Int64(random.below(60_000)), user: user)
            }
            // Out of order: a click may come before its impression.
            if random.happens(0.1), events.count > 3 {
                events.insert(event, at: events.count - 1 - random.below(3))
            } else {
                events.append(event)
            }
        }
    }

    func append(to log: MemoryLog) throws {
        let partitions = log.partitionCount(Topic.events)
        for event in events {
            guard event["type"]?.text == "tick", event.raw == nil else {
                try event.append(to: log)
                continue
            }
            for partition in 0..<partitions { try event.append(to: log, partition: partition) }
        }
        for partition in 0..<partitions {
            try TestEvent.tick(0, close: true).append(to: log, partition: partition)
        }
    }
}

/// What a run left: bytes by source and domain-log partition; texts, which have no source, sorted.
struct Leavings: Equatable {
    var bySource: [String: [String]] = [:]
    var texts: [String: [String]] = [:]
    var deadLetters: [String] = []

    init(_ log: MemoryLog) throws {
        for partition in 0..<log.partitionCount(Topic.domainLog) {
            try log.read(Topic.domainLog, partition: partition) { record in
                let value = try JSONValue(parsing: record.value!)
                let text = "\(record.key?.text ?? "-") \(record.value!.text)"
                if let source = value["source"]?.integer {
                    bySource["\(source)/\(partition)", default: []].append(text)
                } else {
                    texts["\(partition)", default: []].append(text)
                }
            }
        }
        for partition in texts.keys { texts[partition]!.sort() }
        try log.read(Topic.deadLetters, partition: 0) { deadLetters.append($0.value!.text) }
        deadLetters.sort()
    }
}

/// Runs enrich over `log` to its end, workers dying and coming back as the seed says.
private func run(
    _ settings: EnrichSettings, _ log: MemoryLog, seed: UInt64, workers count: Int
) throws -> (counts: EnrichCounts, crashes: Int, replayed: Int64) {
    var random = TestRandom(seed)
    var limits = WorkerLimits()
    limits.collectRecords = 1 + random.below(20)
    limits.checkpointRecords = Int64(20 + random.below(200))
    var chance = 0.0
    log.crashes = { _ in random.happens(chance) }
    defer { log.crashes = nil }
    var workers = (0..<count).map { makeWorker(settings, log, limits: limits, slot: $0) }
    var crashes = 0
    var replayed: Int64 = 0
    var idle = 0
    while idle < 12 {
        chance = seed == 0 || crashes > 60 ? 0 : 0.05
        for slot in workers.indices {
            do {
                let stepped = try workers[slot].turn()
                idle = stepped == 0 ? idle + 1 : 0
            } catch is Crash {
                crashes += 1
                idle = 0
                workers[slot].client.leave()
                workers[slot] = makeWorker(settings, log, limits: limits, slot: slot)
            } catch MemoryLogError.staleGeneration {
                idle = 0
                workers[slot].client.leave()
                workers[slot] = makeWorker(settings, log, limits: limits, slot: slot)
            }
            replayed += workers[slot].takeRecoveries().reduce(0) { $0 + $1.replayed }
        }
    }
    var total = EnrichCounts()
    for worker in workers {
        for (partition, _) in worker.ordinals {
            total.add(worker.state(of: partition)!.counts)
            #expect(worker.state(of: partition)!.waitingEvents == 0)
            #expect(worker.state(of: partition)!.openImpressions == 0)
            #expect(worker.state(of: partition)!.labelsToCome == 0)
        }
    }
    return (total, crashes, replayed)
}

extension EnrichCounts {
    fileprivate mutating func add(_ other: EnrichCounts) {
        lines += other.lines
        used += other.used
        duplicates += other.duplicates
        orphans += other.orphans
        deadLetters += other.deadLetters
        impressions += other.impressions
        clicks += other.clicks
        labels += other.labels
        corrections += other.corrections
        late += other.late
        ticks += other.ticks
        conversions += other.conversions
        evictedImpressions += other.evictedImpressions
    }
}

@Suite struct CrashTests {
    static func settings(_ seed: UInt64) -> EnrichSettings {
        .test.with {
            $0.domains["d1"] = $0.domainDefaults
            $0.domains["d1"]!.tasks = [.click, .conversion]
            $0.domains["d1"]!.labelWindowMilliseconds = 5_000
            $0.domains["d1"]!.conversionWindowMilliseconds = 150_000
            $0.duplicateWindowMilliseconds = 100_000
            if seed % 3 == 0 {
                $0.caps.openImpressions = 20
                $0.caps.users = 5
                $0.caps.items = 6
                $0.caps.queries = 4
                $0.caps.duplicates = 30
                $0.caps.waitingClicks = 3
            }
            $0.domainLogPartitions = 3
        }
    }

    @Test(arguments: 1...60 as ClosedRange<UInt64>)
    func `crashes and rebalances change no byte`(seed: UInt64) throws {
        let traffic = RandomTraffic(seed: seed, count: 400)
        let settings = CrashTests.settings(seed)
        func log() throws -> MemoryLog {
            let log = makeLog(events: 2, domainLog: 3)
            try traffic.append(to: log)
            return log
        }
        let calm = try log()
        let undisturbed = try run(settings, calm, seed: 0, workers: 1)
        let stormy = try log()
        let disturbed = try run(settings, stormy, seed: seed, workers: 1 + Int(seed % 2))
        #expect(disturbed.crashes > 0, "seed \(seed) injected nothing")
        let expected = try Leavings(calm)
        let found = try Leavings(stormy)
        #expect(expected.bySource == found.bySource, "seed \(seed)")
        #expect(expected.texts == found.texts, "seed \(seed)")
        #expect(expected.deadLetters == found.deadLetters, "seed \(seed)")
        #expect(undisturbed.counts == disturbed.counts, "seed \(seed)")
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func `every line ends as exactly one thing, every impression gets one first label a task`(
        seed: UInt64
    ) throws {
        let traffic = RandomTraffic(seed: seed, count: 600)
        let settings = CrashTests.settings(seed)
        let log = makeLog(events: 2, domainLog: 3)
        try traffic.append(to: log)
        let lines = Int64(
            traffic.events.filter { $0.raw != nil || $0["type"]!.text != "tick" }.count)
        let counts = try run(settings, log, seed: seed, workers: 1).counts
        #expect(counts.lines == lines, "seed \(seed)")
        #expect(
            counts.used + counts.duplicates + counts.orphans + counts.deadLetters == lines,
            "seed \(seed): \(counts)")
        #expect(counts.deadLetters == Int64(traffic.broken), "seed \(seed)")
        #expect(counts.duplicates > 0 && counts.orphans > 0 && counts.corrections > 0)

        var shown: [String: Int] = [:]
        var clicked: Set<String> = []
        var first: [String: Int] = [:]
        var corrected: [String: Int] = [:]
        for partition in 0..<3 {
            try log.read(Topic.domainLog, partition: partition) { record in
                let value = try JSONValue(parsing: record.value!)
                guard let id = value["impression_id"]?.text else { return }
                let domain = value["domain"]!.text!
                if value["kind"]!.text == "impression" {
                    shown["\(domain) \(id)", default: 0] += 1
                    return
                }
                let task = value["task"]!.text!
                let name = "\(task) \(domain) \(id)"
                let isFirst = value["revision"]!.integer == 0
                if isFirst {
                    first[name, default: 0] += 1
                } else {
                    corrected[name, default: 0] += 1
                }
                if task == "click", value["value"]!.integer == 1 {
                    clicked.insert("\(domain) \(id)")
                }
                if !isFirst {
                    #expect(value["value"]!.integer == 1)
                    #expect(first[name] != nil, "a correction comes after what it corrects")
                }
            }
        }
        // An impression may be shown again after it was closed; it then gets a label again.
        for (name, times) in shown {
            #expect(first["click \(name)"] == times, "seed \(seed): \(name)")
            #expect(corrected["click \(name)", default: 0] <= times, "seed \(seed): \(name)")
        }
        #expect(shown.values.reduce(0, +) == Int(counts.impressions))
        // Where conversion is a task, every clicked impression gets that label too.
        for name in clicked where name.hasPrefix("d1 ") && shown[name] == 1 {
            #expect(first["conversion \(name)"] == 1, "seed \(seed): \(name)")
        }
    }

    @Test func `a worker that comes back with other settings does not replay`() throws {
        let log = makeLog()
        var limits = WorkerLimits()
        limits.checkpointRecords = 3
        let worker = makeWorker(.test, log, limits: limits)
        _ = try worker.turn()
        for i in 0..<4 {
            try TestEvent.impression("i\(i)", 0).append(to: log)
            _ = try worker.turn()
        }
        try TestEvent.impression("i9", 0).append(to: log)
        _ = try worker.turn()
        worker.client.leave()
        let changed = EnrichSettings.test.with { $0.latenessMilliseconds = 3_000 }
        let other = makeWorker(changed, log, limits: limits)
        #expect(throws: Quarantine.self) { _ = try other.turn() }
    }

    @Test func `every setting is part of the step's version`() {
        let changes: [(inout EnrichSettings) -> Void] = [
            { $0.fleet = "x" }, { $0.latenessMilliseconds = 1 },
            { $0.publishPeriodMilliseconds = 1 },
            { $0.futureMilliseconds = 1 }, { $0.duplicateWindowMilliseconds = 1 },
            { $0.history = 1 },
            { $0.userHashKey = (1, 2) }, { $0.newDomains = .deadLetter }, { $0.domainsMaximum = 1 },
            { $0.caps.users = 1 }, { $0.caps.items = 1 }, { $0.caps.openImpressions = 1 },
            { $0.caps.queries = 1 }, { $0.caps.duplicates = 1 }, { $0.caps.waitingClicks = 1 },
            { $0.domainDefaults.tasks = [] }, { $0.domainDefaults.labelWindowMilliseconds = 1 },
            { $0.domainDefaults.attributionWindowMilliseconds = 1 },
            { $0.domainDefaults.conversionWindowMilliseconds = 1 },
            { $0.domains["a"] = EnrichSettings.Domain() }, { $0.domainLogPartitions = 2 },
        ]
        var versions: Set<String> = [Enrich(EnrichSettings()).stepVersion]
        for change in changes {
            versions.insert(Enrich(EnrichSettings().with(change)).stepVersion)
        }
        #expect(versions.count == changes.count + 1)
    }
}
