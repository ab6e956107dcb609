import Bytes
import Contracts
import FleetSettings
import Foundation
import Gateway
import JSON
import KafkaTestBroker
import KafkaTransactions
import Streams
import Testing
import WorkerRuntime

@testable import KafkaFleet

/// A fleet of few partitions and small tables.
private func smallFleet(_ brokers: String, name: String = "doctor-test") throws -> KafkaFleet {
    let settings = try FleetSettings(
        parsing: Array(
            """
            {"version": 1, "fleet": "\(name)", "topics": {"events": {"partitions": 2},
             "domain-log": {"partitions": 1}, "checkpoints": {"partitions": 2},
             "scores": {"partitions": 1}, "heads": {"partitions": 1}, "examples": {"partitions": 1},
             "evaluations": {"partitions": 1}, "domain-statistics": {"partitions": 1}},
             "roles": {"enrich": {"users_max": 10000, "items_max": 10000, "duplicates_max": 10000,
                                  "open_impressions_max": 10000},
                       "finetune": {"items_max": 10000, "open_impressions_max": 10000,
                                    "corrections_max": 10000}}}
            """.utf8), file: "test.json")
    return try KafkaFleet(settings, brokers: brokers)
}

private let now: Int64 = 1_700_000_000_000

private func doctor(_ fleet: KafkaFleet, memoryLimit: Int64 = 1 << 40) -> Doctor {
    Doctor(
        fleet, Doctor.Surroundings(clock: { now }, pause: { _ in }, memoryLimit: memoryLimit))
}

@Suite struct DoctorRuleTests {
    let fleet: KafkaFleet
    init() throws { fleet = try smallFleet("127.0.0.1:1") }

    private func description(
        _ wanted: WantedTopic, partitions: Int? = nil, _ changes: [String: String] = [:]
    ) -> TopicDescription {
        TopicDescription(
            name: wanted.name, partitions: partitions ?? wanted.partitions, replicas: 1,
            settings: wanted.settings.merging(changes) { $1 }
                .mapValues { .init(value: $0, isSetHere: true) })
    }

    @Test func `topics as wanted have no difference, and each kind of difference is found`() {
        let wanted = fleet.wantedTopics
        let asWanted = wanted.map { description($0) }
        #expect(fleet.differences(from: asWanted) == [])
        #expect(fleet.differences(from: []) == wanted.map { .missing($0) })
        #expect(wanted.first { $0.topic == .events }?.partitions == 2)
        #expect(wanted.first { $0.topic == .catalog }?.partitions == 3, "as the contract says")

        let events = wanted.first { $0.topic == .events }!
        func differences(_ changed: TopicDescription) -> [TopicDifference] {
            fleet.differences(
                from: asWanted.map { $0.name == changed.name ? changed : $0 })
        }
        #expect(
            differences(description(events, partitions: 3)) == [.partitions(events, found: 3)])
        #expect(
            differences(description(events, ["cleanup.policy": "compact"]))
                == [
                    .setting(events, key: "cleanup.policy", wanted: "delete", found: "compact")
                ])
    }

    @Test func `records may be kept longer than the contract says, not shorter`() {
        let wanted = fleet.wantedTopics
        let events = wanted.first { $0.topic == .events }!
        let week: Int64 = 7 * 24 * 3_600_000
        #expect(events.settings["retention.ms"] == "\(week)")
        func isEnough(_ retention: String) -> Bool {
            let found = wanted.map {
                $0.topic == .events
                    ? description($0, ["retention.ms": retention]) : description($0)
            }
            return fleet.differences(from: found).isEmpty
        }
        #expect(isEnough("\(week)"))
        #expect(isEnough("\(week + 1)"))
        #expect(isEnough("-1"))
        #expect(!isEnough("\(week - 1)"))
    }

    @Test func `a clock is worth a warning above five seconds and fails above future_s`() {
        let doctor = doctor(fleet)
        func outcome(_ ahead: Int64) -> Finding.Outcome {
            doctor.clockFinding(broker: now + ahead, before: now, after: now).outcome
        }
        #expect(outcome(5_000) == .ok)
        #expect(outcome(-5_000) == .ok)
        #expect(outcome(5_001) == .warning)
        #expect(outcome(-5_001) == .warning)
        #expect(outcome(300_000) == .warning)
        #expect(outcome(300_001) == .failed)
        let slow = doctor.clockFinding(broker: now + 7_000, before: now, after: now + 6_000)
        #expect(slow.outcome == .ok, "4 s ahead of the middle, ± 3 s: nothing is certain")
        #expect(
            doctor.clockFinding(broker: now - 7_250, before: now, after: now).finding
                == "the broker's clock is 7.3 s behind ours (± 0.0 s)")
    }

    @Test func `caps that fit nowhere fail, and what needs several processes says how many`() {
        func memory(_ limit: Int64) -> Finding { doctor(fleet, memoryLimit: limit).memory(nil) }
        #expect(memory(1 << 40).outcome == .ok)
        #expect(memory(1 << 20).outcome == .failed)
        let each = Int64(
            memory(1 << 40).finding.split(separator: " ").compactMap { Int64($0) }.max()!)
        let tight = memory(each << 20)
        #expect(tight.outcome != .failed, "a partition of the larger role just fits")
    }

    @Test func `brokers before 2_5 fail, and one that says nothing is a warning`() {
        let doctor = doctor(fleet)
        func outcome(_ versions: [Int: ClosedRange<Int>]) -> Finding.Outcome {
            doctor.version(BrokerFeatures(versions: versions)).outcome
        }
        #expect(outcome([1: 0...11, 28: 0...3]) == .ok)
        #expect(outcome([1: 0...11, 28: 0...2]) == .failed)
        #expect(outcome([:]) == .warning)
    }

    @Test func `a librdkafka that must not be used fails, an old one says what to expect`() {
        let doctor = doctor(fleet)
        #expect(doctor.library(LibraryVersion(2, 5, 0)).outcome == .failed)
        #expect(doctor.library(LibraryVersion(2, 0, 2)).advice?.contains("2.2 or newer") == true)
        #expect(doctor.library(LibraryVersion(2, 2, 0)).advice == nil)
    }

    @Test func `a log may begin at what a role reads next or at its checkpoint, not behind`() {
        func passed(first: Int64, committed: Int64?, checkpoint: Int64?) -> String? {
            doctor(fleet).passed(
                PartitionLag(
                    role: "enrich", topic: "t", partition: 0, first: first, committed: committed,
                    end: 90, records: 0, seconds: 0), checkpoint)
        }
        #expect(passed(first: 50, committed: 50, checkpoint: 50) == nil)
        #expect(
            passed(first: 51, committed: 50, checkpoint: 50)
                == "t/0 begins at 51, enrich has read up to 50")
        #expect(passed(first: 40, committed: 50, checkpoint: 40) == nil)
        #expect(
            passed(first: 41, committed: 50, checkpoint: 40)
                == "t/0 begins at 41, the checkpoint of enrich is at 40")
        #expect(passed(first: 50, committed: nil, checkpoint: nil) == nil, "nothing was read yet")
    }

    @Test func `a disk is worth a warning below a tenth of free room, and fails below a twentieth`()
    {
        func finding(_ disks: (free: Int64?, size: Int64)...) -> Finding {
            var doctor = doctor(fleet)
            doctor.around.disks = disks.enumerated().map {
                DiskSpace(folder: "/disk\($0)", free: $1.free.map { $0 << 20 }, size: $1.size << 20)
            }
            return doctor.disk(keptBytes: 7 << 20)
        }
        #expect(finding((100, 1_000)).outcome == .ok)
        #expect(finding((99, 1_000)).outcome == .warning)
        #expect(finding((50, 1_000)).outcome == .warning)
        #expect(finding((49, 1_000)).outcome == .failed)
        #expect(finding((nil, 0)).outcome == .failed)
        #expect(finding((0, 0)).outcome == .failed, "a file system that has no room for anything")
        let two = finding((500, 1_000), (90, 1_000))
        #expect(two.outcome == .warning)
        #expect(two.finding.hasPrefix("/disk1 has 90 MiB free, 9 %;"), "\(two.finding)")
        #expect(finding().outcome == .ok)
        #expect(finding().finding.contains("at most 7 MiB"))
    }

    @Test func `without a broker it says so, and skips what it could not ask`() throws {
        var doctor = doctor(try smallFleet("127.0.0.1:1"))
        doctor.examine()
        #expect(doctor.isUnreachable)
        let outcomes = Dictionary(
            uniqueKeysWithValues: doctor.findings.map { ($0.check, $0.outcome) })
        #expect(outcomes["brokers"] == .failed)
        #expect(outcomes["retention"] == .skipped)
        #expect(outcomes["user-hash-key"] == .warning)
        #expect(outcomes["memory"] == .ok)
        #expect(outcomes.count == doctor.findings.count, "one line a check")
    }
}

/// On a real broker: each fault is made, and found.
@Suite(.serialized, .enabled(if: RealBroker.isAvailable, Comment(rawValue: RealBroker.absence)))
struct DoctorTests {
    let broker: RealBroker
    let fleet: KafkaFleet

    init() throws {
        broker = try RealBroker.shared()
        fleet = try smallFleet(
            broker.address, name: "fleet-\(UUID().uuidString.lowercased().prefix(8))")
    }

    private func createTopics() throws {
        try Admin(fleet.client).create(
            fleet.wantedTopics.map {
                NewTopic($0.name, partitions: $0.partitions, settings: $0.settings)
            })
    }

    private static func wallClock() -> Int64 { Int64(Date().timeIntervalSince1970 * 1_000) }

    private func examine(
        _ fleet: KafkaFleet? = nil, clockAhead: Int64 = 0, openMilliseconds: Int = 10_000
    ) -> [String: Finding] {
        var around = Doctor.Surroundings(
            clock: { Self.wallClock() + clockAhead },
            pause: { usleep(UInt32($0) * 1_000) }, memoryLimit: 1 << 40)
        around.openTransactionMilliseconds = openMilliseconds
        var doctor = Doctor(fleet ?? self.fleet, around)
        doctor.examine()
        #expect(!doctor.isUnreachable)
        #expect(Set(doctor.findings.map(\.check)).count == doctor.findings.count)
        return Dictionary(uniqueKeysWithValues: doctor.findings.map { ($0.check, $0) })
    }

    private func ingest(_ impressions: Int) throws {
        let folder = NSTemporaryDirectory() + fleet.settings.fleet
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let lines = (0..<impressions).map {
            """
            {"id":"e\($0)","type":"impression","time_ms":\(now + Int64($0)),"domain":"home",\
            "user_id":"u\($0)","item_id":"i"}
            """
        }
        let path = "\(folder)/events.jsonl"
        try (lines.joined(separator: "\n") + "\n").write(
            toFile: path, atomically: true, encoding: .utf8)
        let ingest = try fleet.ingest(IngestInput(name: "test", events: path))
        while try ingest.turn() {}
        // The markers of the last commit follow its answer.
        let offsets = try Offsets(fleet.client, group: "judge")
        let places = (0..<2).map { TopicPartition(fleet.topics[.events], $0) }
        let patience = ContinuousClock.now + .seconds(30)
        while try !offsets.offsets(of: places).values.allSatisfy(\.isSettled),
            ContinuousClock.now < patience
        {}
    }

    /// Runs enrich until nothing is left to read.
    private func enrich() throws {
        let deadline = ContinuousClock.now + .seconds(120)
        let lines = Mutexed<[String]>([])
        let asker = fleet
        try fleet.enrich(slot: 0, KafkaFleetTests.around(fleet, "enrich", lines)).run(
            until: StopSignal {
                let rows = try? asker.lag(now: Self.wallClock(), roles: ["enrich"])
                return rows?.allSatisfy { $0.records == 0 } == true
                    || ContinuousClock.now > deadline
            })
    }

    @Test func `a fleet whose topics are missing fails, and after apply everything is well`() throws
    {
        let before = examine()
        #expect(before["topics"]?.outcome == .failed)
        #expect(before["rights"]?.outcome == .skipped)
        #expect(before["brokers"]?.outcome == .ok)
        #expect(before["broker-version"]?.outcome == .ok)

        try createTopics()
        let unwritten = examine()
        #expect(unwritten["settings"]?.outcome == .failed, "finetune would not step")
        try fleet.writeSettings(time: now)
        let after = examine()
        for (name, finding) in after where name != "user-hash-key" {
            #expect(finding.outcome == .ok, "\(name): \(finding.finding)")
        }
        #expect(after["clock"]?.finding.contains(" s ") == true)
        #expect(after["disk"]?.finding.contains("keep at most 0 MiB") == true)
        try ingest(10_000)
        // Records of the contract's 270 bytes, and a marker a partition and transaction.
        let kept = examine()["disk"]?.finding.split(separator: " ").compactMap { Int64($0) }.first
        #expect(kept.map { (2...3).contains($0) } == true, "\(kept ?? -1)")
    }

    @Test func `a topic with another number of partitions fails, with what to do`() throws {
        try createTopics()
        try fleet.writeSettings(time: now)
        #expect(examine()["topics"]?.outcome == .ok)
        try Admin(fleet.client).grow(topic: fleet.topics[.events], to: 3)
        let topics = examine()["topics"]
        #expect(topics?.outcome == .failed)
        #expect(topics?.finding == "\(fleet.topics[.events]) has 3 partitions, not 2")
    }

    @Test func `settings that differ from the log's are a warning`() throws {
        try createTopics()
        try fleet.writeSettings(time: now)
        var settings = fleet.settings
        try settings.set("domain_defaults.learning.rate", to: "0.07")
        let other = try KafkaFleet(settings, brokers: broker.address)
        #expect(examine(other)["settings"]?.outcome == .warning)
        #expect(examine()["settings"]?.outcome == .ok)
    }

    @Test func `a clock that is off is measured in both directions`() throws {
        try createTopics()
        let behind = examine(clockAhead: 30_000)["clock"]
        #expect(behind?.outcome == .warning)
        #expect(behind?.finding.contains("behind ours") == true)
        let words = behind?.finding.split(separator: " ").compactMap { Double($0) } ?? []
        #expect(words.first.map { (25...35).contains($0) } == true, "\(behind?.finding ?? "")")
        let ahead = examine(clockAhead: -400_000)["clock"]
        #expect(ahead?.outcome == .failed, "beyond future_s")
        #expect(ahead?.finding.contains("ahead of ours") == true)
    }

    @Test func `lag is what nobody has read, and markers are none`() throws {
        try createTopics()
        try ingest(40)
        let before = try fleet.lag(now: Self.wallClock() + 60_000, roles: ["enrich"])
        #expect(before.map(\.partition) == [0, 1])
        #expect(before.reduce(0) { $0 + $1.records } >= 40)
        #expect(before.allSatisfy { $0.committed == nil && $0.seconds! >= 59 })
        try enrich()
        let after = try fleet.lag(now: Self.wallClock() + 60_000, roles: ["enrich"])
        #expect(after.allSatisfy { $0.records == 0 && $0.seconds == 0 }, "\(after)")
        #expect(
            after.allSatisfy { $0.committed ?? .max < $0.end },
            "the ends of the transactions that wrote them stand behind the last records")
    }

    @Test func `retention that passes what was not read fails, what was read does no harm`() throws
    {
        try createTopics()
        try ingest(40)
        try enrich()
        let rows = try fleet.lag(now: Self.wallClock(), roles: ["enrich"])
        #expect(examine()["retention"]?.outcome == .ok)

        let admin = try Admin(fleet.client)
        try admin.deleteRecords(
            before: rows.map { Position($0.topic, $0.partition, $0.committed!) })
        #expect(examine()["retention"]?.outcome == .ok, "everything that is gone was read")

        try ingest(80)
        let ends = try fleet.lag(now: Self.wallClock(), roles: ["enrich"])
        #expect(ends.contains { $0.records > 0 })
        try admin.deleteRecords(before: ends.map { Position($0.topic, $0.partition, $0.end) })
        let passed = examine()["retention"]
        #expect(passed?.outcome == .failed)
        #expect(passed?.finding.contains("enrich has read up to") == true)
    }

    @Test func `little time before retention is a warning that says how many hours`() throws {
        try createTopics()
        try ingest(40)
        try enrich()
        try ingest(80)
        // A quarter of 7 days is left when the unread records are 126 hours old.
        let late = examine(clockAhead: 127 * 3_600_000)["retention"]
        #expect(late?.outcome == .warning)
        #expect(late?.finding.hasPrefix("at least 40 hours") == true, "\(late?.finding ?? "")")
        #expect(examine(clockAhead: 125 * 3_600_000)["retention"]?.outcome == .ok)
    }

    @Test func `a transaction that stays open is found, one that ends is not`() throws {
        try createTopics()
        var opener = TransactionalProducerSettings(
            client: fleet.client, transactionalID: "\(fleet.settings.fleet).test.0")
        opener.transactionTimeoutMilliseconds = 300_000
        let producer = try TransactionalProducer(opener)
        try producer.connect()
        try producer.initialise()
        let scores = try producer.topic(fleet.topics[.scores])
        var transaction = try producer.begin()
        try "k".lend { try transaction.produce(scores, partition: 0, key: $0, value: $0) }
        try transaction.flush()
        let open = examine(openMilliseconds: 300)["transactions"]
        #expect(open?.outcome == .failed)
        #expect(open?.finding.contains("\(fleet.topics[.scores])/0 since offset 0") == true)
        try transaction.abort()
        #expect(examine()["transactions"]?.outcome == .ok)
    }
}
