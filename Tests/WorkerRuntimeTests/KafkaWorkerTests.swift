import Bytes
import Contracts
import CountingRole
import Foundation
import JSON
import KafkaTestBroker
import KafkaTransactions
import Streams
import Synchronization
import Testing

@testable import WorkerRuntime

/// A worker on a thread of this process.
final class BackgroundWorker: Sendable {
    let lines = Lines()
    /// What its watchdog would have ended the process for.
    let hangs = Lines()
    private let stop = Atomic<Bool>(false)
    private let ended = DispatchSemaphore(value: 0)
    private let code = Mutex(ExitCode.bug)

    init(_ process: CountingProcess) {
        let thread = Thread { [self] in
            let (lines, hangs) = (lines, hangs)
            let code = process.run(
                until: StopSignal { self.stop.load(ordering: .relaxed) },
                journal: Journal(worker: "w", level: .debug) { lines.append($0) },
                watchdog: Watchdog { hangs.append($0) })
            self.code.withLock { $0 = code }
            ended.signal()
        }
        thread.start()
    }

    /// Asks it to drain and waits.
    func end() -> ExitCode {
        stop.store(true, ordering: .relaxed)
        return wait()
    }

    /// Waits until it ends by itself.
    func wait() -> ExitCode {
        guard ended.wait(timeout: .now() + 60) == .success else {
            Issue.record("the worker did not end")
            return .bug
        }
        return code.withLock { $0 }
    }
}

/// Workers on a real broker, in this process and in processes that are killed.
@Suite(.serialized, .enabled(if: RealBroker.isAvailable, Comment(rawValue: RealBroker.absence)))
struct KafkaWorkerTests {
    let broker: RealBroker
    let fleet: Fleet

    init() throws {
        broker = try RealBroker.shared()
        fleet = try Fleet(broker)
    }

    /// A fleet on a broker of its own: other suites are at work on the shared one.
    func killable() throws -> (RealBroker, Fleet) {
        let broker = try RealBroker()
        return (broker, try Fleet(broker))
    }

    func process(slot: Int = 0) -> CountingProcess {
        CountingProcess(address: broker.address, fleet: fleet.name, slot: slot)
    }

    /// Runs a worker here until nothing is left to read, then drains it.
    func run(_ process: CountingProcess) throws -> BackgroundWorker {
        let worker = BackgroundWorker(process)
        try fleet.drain()
        #expect(worker.end() == .done, "\(worker.lines.all)")
        return worker
    }

    func replayed(_ worker: BackgroundWorker) -> [Int64] {
        worker.lines.all.compactMap { try? JSONValue(parsing: $0) }
            .filter { $0["event"]?.text == "restored" }.compactMap { $0["replayed"]?.integer }
    }

    @Test func `a worker that is stopped and started again counts on, and replays nothing`() throws
    {
        try fleet.feed(5_000)
        let first = try run(process())
        #expect(replayed(first) == [])
        #expect(first.lines.events.contains("assigned") && first.lines.events.last == "stop")
        try fleet.feed(3_000)
        let second = try run(process())
        #expect(replayed(second) == [0, 0, 0, 0], "SIGTERM left a checkpoint")
        #expect(try fleet.differences() == [])
        let scores = try fleet.read(.scores, 0).count + fleet.read(.scores, 1).count
        #expect(try scores + fleet.read(.scores, 2).count == 8_000)
    }

    @Test func `the judge sees a record that is doubled, lost or altered`() throws {
        try fleet.feed(500)
        _ = try run(process())
        #expect(try fleet.differences() == [])
        let producer = try IdempotentProducer(ProducerSettings(client: fleet.client))
        let topic = try producer.topic(fleet.topics[.scores])
        try "k1".lend { key in
            try "6".lend { value in try producer.produce(topic, key: key, value: value) }
        }
        try producer.flush()
        #expect(try fleet.differences().contains { $0.hasPrefix("k1: ") })
    }

    @Test func `a worker killed in mid-flight loses and repeats nothing`() throws {
        try fleet.start(slot: 0, "checkpoint-s=600")
        for _ in 0..<4 {
            try fleet.feedAndProveWork(4_000)
            fleet.signal(slot: 0, SIGKILL)
            try fleet.feedAndProveWork(1_000)
        }
        try fleet.drain()
        #expect(fleet.stop(slot: 0) == 0, "\(fleet.newestLines)")
        #expect(fleet.exits.filter { $0 == -SIGKILL }.count == 4, "\(fleet.exits)")
        #expect(try fleet.differences() == [])
        let replayed = fleet.journal.filter { $0["event"]?.text == "restored" }
            .compactMap { $0["replayed"]?.integer }
        #expect(replayed.contains { $0 > 0 }, "some recovery had to replay")
    }

    @Test func `the second process in a slot fences the first, which says so`() throws {
        try fleet.start(slot: 0)
        try fleet.feedAndProveWork(500)
        var twin: pid_t? = try fleet.startTwin(slot: 0)
        defer { if let twin { kill(twin, SIGKILL) } }
        // Both are tended: they come back, are fenced or fence, until one of them says so.
        let deadline = ContinuousClock.now + .seconds(90)
        var twinExits: [Int32] = []
        func isFenced() -> Bool { (fleet.exits + twinExits).contains(76) }
        while !isFenced(), ContinuousClock.now < deadline {
            try fleet.feed(50)
            try fleet.tend()
            guard let code = fleet.end(of: twin!) else { continue }
            twinExits.append(code)
            twin = code == 76 ? nil : try fleet.startTwin(slot: 0)
        }
        #expect(isFenced(), "\(fleet.exits) \(twinExits) \(fleet.newestLines)")
        let failed = fleet.journal.filter { $0["event"]?.text == "commit failed" }
        #expect(failed.allSatisfy { $0["offset"]?.integer ?? 0 > 0 && $0["partition"] != nil })
        fleet.signal(slot: 0, SIGKILL)
        if let ended = twin {
            twin = nil
            kill(ended, SIGKILL)
            _ = fleet.wait(ended)
        }
        try fleet.drain()
        #expect(fleet.stop(slot: 0) == 0, "\(fleet.newestLines)")
        #expect(try fleet.differences() == [])
    }

    @Test func `a worker that slept beyond its session never commits again`() throws {
        try fleet.start(slot: 0)
        try fleet.start(slot: 1)
        try fleet.feedAndProveWork(4_000)
        fleet.signal(slot: 0, SIGSTOP)
        // The other slot takes over once the session (6 s) has ended.
        try fleet.feed(4_000)
        try fleet.drain(within: 60)
        fleet.signal(slot: 0, SIGCONT)
        try fleet.feed(4_000)
        try fleet.drain(within: 60)
        // It may learn only now that it was expelled (75), or has been started again since.
        #expect([0, 75].contains(fleet.stop(slot: 0)), "\(fleet.exits) \(fleet.newestLines)")
        #expect(fleet.stop(slot: 1) == 0, "\(fleet.newestLines)")
        #expect(try fleet.differences() == [])
    }

    @Test func `workers that join and leave share the partitions, and nothing is lost or repeated`()
        throws
    {
        try fleet.start(slot: 0)
        try fleet.feedAndProveWork(3_000)
        try fleet.start(slot: 1)
        try fleet.feedAndProveWork(3_000)
        try fleet.start(slot: 2)
        try fleet.feed(3_000)
        try fleet.drain()
        #expect(fleet.stop(slot: 1) == 0, "\(fleet.newestLines)")
        try fleet.feed(3_000)
        // A static member keeps its partitions until its session ends; then the others have them.
        try fleet.drain(within: 60)
        #expect(fleet.stop(slot: 0) == 0, "\(fleet.newestLines)")
        #expect(fleet.stop(slot: 2) == 0, "\(fleet.newestLines)")
        #expect(try fleet.differences() == [])
    }

    @Test func `a broker that is killed comes back to the same counts`() throws {
        let (broker, fleet) = try killable()
        defer { broker.end() }
        try fleet.start(slot: 0)
        try fleet.start(slot: 1)
        try fleet.feedAndProveWork(3_000)
        broker.kill()
        try broker.restart()
        try fleet.feed(3_000)
        try fleet.drain(within: 90)
        try fleet.tend(untilAssigned: [0, 1])
        #expect(fleet.stop(slot: 0) == 0, "\(fleet.newestLines)")
        #expect(fleet.stop(slot: 1) == 0, "\(fleet.newestLines)")
        #expect(try fleet.differences() == [])
    }

    @Test
    func
        `a broker that is killed while partitions are taken over comes back to the same counts`()
        throws
    {
        let (broker, fleet) = try killable()
        defer { broker.end() }
        try fleet.start(slot: 0)
        try fleet.feedAndProveWork(3_000)
        try fleet.start(slot: 1)
        // Slot 0 gives its partitions back when the other one joins.
        try wait("the rebalance") { fleet.journal.contains { $0["event"]?.text == "revoked" } }
        broker.kill()
        try broker.restart()
        try fleet.feed(3_000)
        try fleet.drain(within: 90)
        try fleet.tend(untilAssigned: [0, 1])
        for slot in 0..<2 {
            #expect([0, 75].contains(fleet.stop(slot: slot)), "\(fleet.newestLines)")
        }
        #expect(try fleet.differences() == [])
    }

    @Test func `at-least-once is caught by the same judge`() throws {
        try fleet.start(slot: 0, "at-least-once")
        // A kill parts outputs and positions where it falls between the two: one in eight or so does.
        for _ in 0..<100 {
            guard try fleet.feedAndProveWorkOrEnd(500) else { break }
            try fleet.feed(2_000)
            fleet.signal(slot: 0, SIGKILL)
        }
        // Either the worker itself sees that outputs and offsets parted, or the outputs show it.
        var flagged = fleet.exits.contains(ExitCode.badData.rawValue)
        if !flagged { flagged = try !fleet.differences().isEmpty }
        #expect(flagged)
    }

    @Test func `a topic that was deleted and made again is refused with a sentence`() throws {
        try fleet.feed(1_000)
        _ = try run(process())
        try fleet.makeInputAgain()
        let worker = BackgroundWorker(process())
        let code = worker.wait()
        #expect(code == .badData || code == .settings || code == .restart, "\(worker.lines.all)")
        #expect(worker.lines.events.last == "end")
        #expect(!worker.lines.events.contains("restored"))
    }

    /// A producer whose transactions stay open as long as a test takes, however busy the machine is.
    func opener(_ id: String) throws -> TransactionalProducer {
        var settings = TransactionalProducerSettings(client: fleet.client, transactionalID: id)
        settings.transactionTimeoutMilliseconds = 300_000
        let producer = try TransactionalProducer(settings)
        try producer.initialise()
        return producer
    }

    func wait(_ what: Comment, until isThere: () throws -> Bool) throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while try !isThere() {
            try #require(ContinuousClock.now < deadline, what)
        }
    }

    /// What a recovery reads of the checkpoints of partition 0.
    func recover(_ log: KafkaLogClient) throws -> [String?] {
        var keys: [String?] = []
        try log.read(Topic.checkpoints, partition: 0, from: nil, upTo: nil) {
            keys.append($0.key?.text)
        }
        return keys
    }

    @Test func `a recovery reads to the end behind aborted records, again and again`() throws {
        var settings = process().settings
        // A second reader would hide that the first one waits.
        settings.recoveryRereadMilliseconds = 60_000
        let log = try KafkaLogClient(settings, input: Topic.events)
        #expect(try recover(log) == [])
        let producer = try opener(fleet.name)
        let topic = try producer.topic(fleet.topics[.checkpoints])
        let offsets = try Offsets(fleet.client, group: "reader")
        let place = TopicPartition(topic.name, 0)
        func transaction(_ key: String, count: Int, commits: Bool) throws {
            var transaction = try producer.begin()
            let start = try offsets.offsets(of: [place])[place]!.end
            for _ in 0..<count {
                try key.lend {
                    try transaction.produce(topic, partition: 0, key: $0, value: .empty)
                }
            }
            // librdkafka 2.0.2 fails to abort what has not reached the broker.
            try wait("the records") {
                try offsets.offsets(of: [place])[place]!.end >= start + Int64(count)
            }
            if commits { try transaction.commit() } else { try transaction.abort() }
        }
        var wanted: [String] = []
        for round in 0..<4 {
            try transaction("a\(round)", count: 1 + round, commits: true)
            wanted += Array(repeating: "a\(round)", count: 1 + round)
            #expect(try recover(log) == wanted, "behind a marker")
            try transaction("b\(round)", count: 300, commits: false)
            let start = ContinuousClock.now
            #expect(try recover(log) == wanted, "behind aborted records")
            #expect(try recover(log) == wanted, "and once more")
            #expect(ContinuousClock.now - start < .seconds(30))
        }
    }

    @Test func `a recovery waits for an open transaction and reads every record once`() throws {
        var settings = process().settings
        settings.recoveryRereadMilliseconds = 1_000
        let log = try KafkaLogClient(settings, input: Topic.events)
        var opener = TransactionalProducerSettings(
            client: fleet.client, transactionalID: fleet.name)
        opener.transactionTimeoutMilliseconds = 300_000
        let producer = try TransactionalProducer(opener)
        try producer.initialise()
        let topic = try producer.topic(fleet.topics[.checkpoints])
        var first = try producer.begin()
        for i in 0..<1_000 {
            try "k\(i)".lend { try first.produce(topic, partition: 0, key: $0, value: .empty) }
        }
        try first.commit()
        var open = try producer.begin()
        try "open".lend { try open.produce(topic, partition: 0, key: $0, value: .empty) }
        let offsets = try Offsets(fleet.client, group: "reader")
        let place = TopicPartition(fleet.topics[.checkpoints], 0)
        try wait("the open record") { try offsets.offsets(of: [place])[place]!.end >= 1_002 }
        // Ended while the recovery waits, when its reader has been a new one several times.
        let successor = try TransactionalProducer(opener)
        var waits: [RecoveryWait] = []
        var failure: (any Error)?
        log.recoveryWaits = {
            guard case .openTransaction = $0.reason else { return }
            waits.append($0)
            guard waits.count == 1 else { return }
            do { try successor.initialise() } catch { failure = error }
        }
        #expect(try recover(log) == (0..<1_000).map { "k\($0)" })
        #expect(failure == nil)
        #expect(waits.first?.reason == .openTransaction(offset: 1_001), "behind the first's marker")
        #expect(waits.first.map { $0.milliseconds >= 2_000 } ?? false)
        withExtendedLifetime(producer) {}
    }

    @Test func `a recovery that cannot end says that a transaction is open`() throws {
        var settings = process().settings
        settings.recoveryRereadMilliseconds = 300
        settings.recoveryStallMilliseconds = 1_000
        let log = try KafkaLogClient(settings, input: Topic.events)
        var opener = TransactionalProducerSettings(
            client: fleet.client, transactionalID: fleet.name)
        // Open for longer than this test takes, however busy the machine is.
        opener.transactionTimeoutMilliseconds = 300_000
        let producer = try TransactionalProducer(opener)
        try producer.initialise()
        var open = try producer.begin()
        let topic = try producer.topic(fleet.topics[.checkpoints])
        try "open".lend { try open.produce(topic, partition: 0, key: $0, value: .empty) }
        let offsets = try Offsets(fleet.client, group: "reader")
        let place = TopicPartition(fleet.topics[.checkpoints], 0)
        try wait("the open record") { try offsets.offsets(of: [place])[place]!.end >= 1 }
        let error = #expect(throws: KafkaLogError.self) { _ = try recover(log) }
        #expect(
            error?.description.contains("a transaction is open there at offset 0") == true,
            "\(error?.description ?? "none")")
        try open.abort()
    }

    /// Kafka 4.0 to 4.3 leaves markers out when it ends a transaction behind its own restart
    /// (KAFKA-20734); what was aborted would be seen at the next commit into the same partition.
    @Test func `what a killed broker leaves open is taken back at the slot's next start`() throws {
        // Looks for overdue transactions at once, as soon as it is there and before it leads anything.
        let broker = try RealBroker(
            settings: ["transaction.abort.timed.out.transaction.cleanup.interval.ms": "50"])
        defer { broker.end() }
        let fleet = try Fleet(broker)
        let settings =
            CountingProcess(address: broker.address, fleet: fleet.name, slot: 0).settings
        var opener = TransactionalProducerSettings(
            client: fleet.client, transactionalID: settings.slotName)
        let first = try TransactionalProducer(opener)
        try first.initialise()
        func write(_ key: String, by producer: TransactionalProducer, commits: Bool) throws {
            let scores = try producer.topic(fleet.topics[.scores])
            var transaction = try producer.begin()
            for partition in 0..<3 {
                try key.lend {
                    try transaction.produce(scores, partition: partition, key: $0, value: .empty)
                }
            }
            if commits { return try transaction.commit() }
            // It may have come and gone on a busy machine: what follows holds either way.
            let deadline = ContinuousClock.now + .seconds(10)
            while try !fleet.hasOpenTransactions(.scores, 3), ContinuousClock.now < deadline {}
        }
        try write("seen", by: first, commits: true)
        // What a broker is killed before it has marked may hang as well.
        try fleet.settle()
        opener.transactionTimeoutMilliseconds = 1_000
        let producer = try TransactionalProducer(opener)
        try producer.initialise()
        try? write("lost", by: producer, commits: false)
        broker.kill()
        try broker.restart()
        let deadline = ContinuousClock.now + .seconds(4)
        var hangs = true
        while hangs, ContinuousClock.now < deadline {
            hangs = try fleet.hasOpenTransactions(.scores, 3)
        }
        print("a transaction that the broker ended behind its restart hangs: \(hangs)")
        let log = try KafkaLogClient(settings, input: Topic.events)
        try fleet.settle()
        var outbox = Outbox()
        for partition in 0..<3 {
            outbox.begin(Topic.scores, partition: partition)
            outbox.bytes.append("behind")
            outbox.beginValue()
            outbox.end()
        }
        try log.commit(outbox, positions: [])
        for partition in 0..<3 {
            let keys = try fleet.read(.scores, partition).map(\.key)
            #expect(keys == ["seen", "behind"])
        }
    }

    @Test func `a record that ends the process three times becomes a dead letter, for ever`() throws
    {
        try Admin(fleet.client).create([NewTopic(fleet.topics[.deadLetters], partitions: 1)])
        try fleet.start(slot: 0, "crash-on=poison", "checkpoint-s=600")
        try fleet.feedAndProveWork(1_000)
        try fleet.feed(key: "poison")
        try fleet.feed(1_000)
        try fleet.drain()
        let crashes = fleet.exits.filter { [-SIGILL, -SIGTRAP].contains($0) }
        #expect(crashes.count == 3 && fleet.exits.count == 3, "\(fleet.exits)")
        let noted = fleet.journal.filter { $0["event"]?.text == "crashed" }
        #expect(noted.map { $0["times"]?.integer } == [1, 2, 3])
        #expect(Set(noted.map { $0["offset"]?.integer }).count == 1)
        // A recovery that replays it skips it again: outputs and their hash are the same.
        fleet.signal(slot: 0, SIGKILL)
        try fleet.feed(500)
        try fleet.drain()
        #expect(fleet.stop(slot: 0) == 0, "\(fleet.newestLines)")
        let replayed = fleet.journal.filter { $0["event"]?.text == "restored" }
            .compactMap { $0["replayed"]?.integer }
        #expect(replayed.suffix(4).contains { $0 > 0 }, "the poison was replayed")
        let letters = try fleet.read(.deadLetters, 0)
        #expect(letters.count == 1)
        let letter = try JSONValue(
            parsing: String(decoding: letters.first?.value ?? [], as: UTF8.self))
        #expect(letter["reason"]?.text == "crashed")
        #expect(letter["key_base64"]?.text == "cG9pc29u")
        #expect(try fleet.differences() == [])
    }

    @Test func `a longer log behind a topic that was made again is not taken for the old one`()
        throws
    {
        try fleet.feed(1_000)
        _ = try run(process())
        let places = (0..<4).map { TopicPartition(fleet.topics[.events], $0) }
        let group = "\(fleet.name).counter"
        let committed = try Offsets(fleet.client, group: group).committed(places)
        try fleet.makeInputAgain()
        try fleet.feed(4_000)
        // Kafka has forgotten the offsets with the topic; a cluster that mirrors them has not.
        let mirror = try Consumer(ConsumerSettings(client: fleet.client, group: group))
        // In a transaction, which a group takes offsets of whoever its members are.
        let producer = try TransactionalProducer(
            TransactionalProducerSettings(
                client: fleet.client, transactionalID: "\(fleet.name).mirror"))
        try producer.initialise()
        var transaction = try producer.begin()
        try transaction.send(committed.map { Position($0.key, $0.value) }, of: mirror)
        try transaction.commit()
        let worker = BackgroundWorker(process())
        #expect(worker.wait() == .badData, "\(worker.lines.all)")
        #expect(
            worker.lines.all.last?.contains("the topic was deleted and made again") == true,
            "\(worker.lines.all)")
    }

    @Test func `quiet partitions get ticks while something waits`() throws {
        var ticking = process()
        ticking.tickMilliseconds = 50
        try fleet.feed(400)
        let start = ContinuousClock.now
        let worker = BackgroundWorker(ticking)
        func ticks() throws -> [Int] {
            try (0..<4).map { try fleet.read(.events, $0).filter { $0.key == nil }.count }
        }
        let deadline = start + .seconds(30)
        while try ticks().contains(where: { $0 < 3 }), ContinuousClock.now < deadline {}
        #expect(worker.end() == .done)
        // At most one a period and partition, however long that took.
        let periods = Int((ContinuousClock.now - start) / .milliseconds(50)) + 1
        let counts = try ticks()
        #expect(counts.allSatisfy { (3...periods).contains($0) }, "\(counts) in \(periods) periods")
        // Those that came behind the worker's last turn are nobody's yet.
        _ = try run(process())
        #expect(
            try fleet.differences() == [], "ticks are records: they are replayed like any other")
    }

    @Test func `status over HTTP shows a worker at work`() throws {
        let port = RealBroker.freePort()
        var served = process()
        served.http = "127.0.0.1:\(port)"
        try fleet.feed(1_000)
        let worker = BackgroundWorker(served)
        try fleet.drain()
        let deadline = ContinuousClock.now + .seconds(10)
        var status: JSONValue?
        while ContinuousClock.now < deadline, status?["records_in"]?.integer != 1_000 {
            let answer = try http(port, "GET /status")
            status = try JSONValue(parsing: String(answer.split(separator: "\r\n\r\n").last!))
        }
        #expect(status?["state"]?.text == "assigned")
        #expect(status?["records_in"]?.integer == 1_000)
        #expect(status?["lag_records"]?.integer == 0)
        #expect(status?["partitions"]?.array?.count == 4)
        #expect(try http(port, "GET /health/ready").hasPrefix("HTTP/1.1 200"))
        #expect(worker.end() == .done)
    }

    @Test func `a worker without a broker says that it cannot be reached`() throws {
        var settings = KafkaLogSettings(
            client: ClientProperties(bootstrapServers: "127.0.0.1:1"), fleet: "f", role: "r",
            slot: 0)
        settings.queueBytes = 1 << 20
        let started = ContinuousClock.now
        let error = #expect(throws: KafkaError.self) {
            _ = try KafkaLogClient(settings, input: Topic.events, connectMilliseconds: 1_000)
        }
        #expect(error.map { ExitCode($0) } == .unavailable)
        #expect(ContinuousClock.now - started < .seconds(10))
    }

    @Test func `a worker that hangs in a commit is ended long before a turn may take`() throws {
        let (broker, fleet) = try killable()
        defer { broker.end() }
        var process = CountingProcess(address: broker.address, fleet: fleet.name, slot: 0)
        process.commitMilliseconds = 500
        process.checkpointSeconds = 600
        try fleet.feed(100)
        let worker = BackgroundWorker(process)
        try fleet.drain()
        // Its last checkpoint waits for the broker; here nobody ends the process.
        broker.suspend()
        #expect(worker.end() != .done)
        #expect(worker.hangs.all.first == "a commit took too long")
    }

    @Test func `an idle worker whose broker stays away ends, to be started again`() throws {
        let (broker, fleet) = try killable()
        defer { broker.end() }
        var process = CountingProcess(address: broker.address, fleet: fleet.name, slot: 0)
        process.brokerlessMilliseconds = 1_000
        try fleet.feed(100)
        let worker = BackgroundWorker(process)
        try fleet.drain()
        broker.kill()
        #expect(worker.wait() == .restart)
        #expect(
            worker.lines.all.last?.contains("no broker has been connected for 1000 ms") == true,
            "\(worker.lines.all.suffix(3))")
    }

    @Test func `a worker without its topics says which one is missing`() throws {
        let lost = CountingProcess(address: broker.address, fleet: "nobody", slot: 0)
        let worker = BackgroundWorker(lost)
        #expect(worker.wait() == .settings)
        #expect(
            worker.lines.all.last?.contains("look topic nobody.") == true, "\(worker.lines.all)")
    }

    /// Twenty seconds where nothing else is asked for.
    static let chaosSeconds =
        ProcessInfo.processInfo.environment["COLDSTREAM_CHAOS_SECONDS"].flatMap { Int($0) }

    @Test func `nothing is lost or repeated while workers and brokers are killed and stopped`()
        throws
    {
        let (broker, fleet) = try killable()
        defer { broker.end() }
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = Seeded(state: seed)
        let start = ContinuousClock.now
        let seconds = Self.chaosSeconds ?? 20
        let brokers = seconds >= 60 ? 2 : 1
        var faults: [String: Int] = [:]
        func count(_ fault: String) { faults[fault, default: 0] += 1 }
        for slot in 0..<3 { try fleet.start(slot: slot) }
        while ContinuousClock.now < start + .seconds(seconds)
            || faults["kill", default: 0] < seconds / 6 || faults["broker", default: 0] < brokers
        {
            // Every fault hits a fleet that works, and the fleet works again behind it.
            guard try fleet.feedAndProveWork(1_500, within: 90) else { break }
            let slot = Int.random(in: 0..<3, using: &random)
            let isHalfOver = ContinuousClock.now > start + .seconds(seconds / 2)
            let needsBroker = isHalfOver && faults["broker", default: 0] < brokers
            switch needsBroker ? 0 : Int.random(in: 0..<12, using: &random) {
            case 0:
                broker.kill()
                try broker.restart()
                count("broker")
            case 1, 2:
                fleet.signal(slot: slot, SIGSTOP)
                // The others go on; the session of the stopped one ends meanwhile, or not.
                try fleet.feed(500)
                _ = try fleet.progress()
                fleet.signal(slot: slot, SIGCONT)
                count("stop")
            case 3:
                fleet.signal(slot: slot, SIGTERM)
                count("term")
            default:
                fleet.signal(slot: slot, SIGKILL)
                count("kill")
            }
        }
        let faulty = ContinuousClock.now - start
        try fleet.revive()
        try fleet.drain(within: 120)
        let drained = ContinuousClock.now - start - faulty
        try fleet.tend(untilAssigned: [0, 1, 2])
        // One that was stopped beyond its session may learn only now that it was expelled (75).
        for slot in 0..<3 {
            let code = fleet.stop(slot: slot)
            #expect([0, 75].contains(code), "seed \(seed) \(fleet.newestLines)")
        }
        try fleet.settle()
        let differences = try fleet.differences()
        #expect(differences == [], "seed \(seed), \(faults)")
        print(
            """
            chaos: seed \(seed), \(faulty) with faults \(faults.sorted { $0.key < $1.key }), \
            drained in \(drained), \(fleet.produced) records, exits \(fleet.exits) \(fleet.finalLines), \
            differences \(differences.count)
            """)
    }
}

/// SplitMix64, so that a seed says what happened.
struct Seeded: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
