import Bytes
import Foundation
import JSON
import KafkaTestBroker
import KafkaTransactions
@testable import Streams
import Synchronization
import Testing

@testable import WorkerRuntime

@Suite struct ExitCodeTests {
    @Test(arguments: [
        (KafkaError.Remedy.fixSettings, ExitCode.settings), (.retry, .unavailable),
        (.restart, .restart), (.standBack, .fenced),
    ])
    func `a remedy has its exit code`(remedy: KafkaError.Remedy, code: ExitCode) {
        let error = KafkaError(operation: "o", code: 0, reason: "r", remedy: remedy)
        #expect(ExitCode(error) == code)
    }

    @Test
    func `a quarantined partition and wrong settings are for a person, the rest starts again`() {
        #expect(ExitCode(Quarantine(partition: 0, reason: "r")) == .badData)
        #expect(ExitCode(WorkerSettingsError("s")) == .settings)
        #expect(ExitCode(KafkaLogError(description: "d")) == .restart)
        #expect(ExitCode(CancellationError()) == .bug)
        #expect(
            [ExitCode.restart, .fenced, .unavailable, .bug, .done, .badData, .settings].map(
                \.allowsRestart)
                == [true, true, true, true, false, false, false])
    }
}

@Suite struct CollectWindowTests {
    private let start = ContinuousClock.now

    private func after(_ milliseconds: Int) -> ContinuousClock.Instant {
        start + .milliseconds(milliseconds)
    }

    private func window(_ minimum: Int = 20, _ maximum: Int = 100) -> CollectWindow {
        CollectWindow(minimumMilliseconds: minimum, maximumMilliseconds: maximum)
    }

    @Test func `a batch is complete so long after its first record`() {
        var window = window()
        window.began(at: after(0), wasWaiting: false)
        #expect(window.wait(at: after(19)) == .milliseconds(1))
        #expect(window.wait(at: after(20)) == nil)
        #expect(!window.isOver(at: after(99)) && window.isOver(at: after(100)))
    }

    @Test func `records that came during a commit do not wait for the minimum once more`() {
        var window = window()
        window.began(at: after(0), wasWaiting: false)
        window.foundEmpty(at: after(20))
        window.hasCommitted(at: after(32))
        window.began(at: after(32), wasWaiting: true)
        #expect(window.wait(at: after(39)) == .milliseconds(1), "20 ms after the queue was empty")
        #expect(window.wait(at: after(40)) == nil)
        #expect(!window.isOver(at: after(131)), "the maximum counts from the first record taken")
    }

    @Test func `a slow commit is left five milliseconds for its markers`() {
        var window = window()
        window.began(at: after(0), wasWaiting: false)
        window.foundEmpty(at: after(20))
        window.hasCommitted(at: after(90))
        window.began(at: after(90), wasWaiting: true)
        #expect(window.wait(at: after(94)) == .milliseconds(1))
        #expect(window.wait(at: after(95)) == nil)
    }

    @Test func `what came after the queue was asked in vain counts from its own time`() {
        var window = window()
        window.began(at: after(0), wasWaiting: false)
        window.foundEmpty(at: after(20))
        window.began(at: after(500), wasWaiting: false)
        #expect(window.wait(at: after(519)) == .milliseconds(1))
    }

    @Test func `a batch that was cut in a full queue says nothing about the next one`() {
        var window = window()
        window.began(at: after(0), wasWaiting: false)
        window.foundEmpty(at: after(20))
        window.began(at: after(30), wasWaiting: true)
        window.began(at: after(80), wasWaiting: true)
        #expect(window.wait(at: after(99)) == .milliseconds(1), "20 ms after it was taken")
    }

    @Test func `without a minimum nothing waits`() {
        var window = window(0, 0)
        window.hasCommitted(at: after(0))
        window.began(at: after(0), wasWaiting: false)
        #expect(window.wait(at: after(0)) == nil && window.isOver(at: after(0)))
    }
}

@Suite struct ProduceOrderTests {
    @Test func `the first record of every partition comes first, then all others as they came`() {
        var order = ProduceOrder()
        var random = SystemRandomNumberGenerator()
        for count in [0, 1, 2, 3, 10, 1_000] {
            let places = (0..<count).map { _ in
                (topic: UInt16.random(in: 0..<3, using: &random), partition: Int.random(in: 0..<6))
            }
            order.removeAll()
            for place in places {
                order.append(topic: place.topic, partition: place.partition, of: 4)
            }
            var produced: [Int] = []
            order.forEach { produced.append($0) }
            #expect(produced.sorted() == Array(0..<count))
            #expect(order.partitions.map(Int.init) == places.map(\.partition))
            for topic in 0..<UInt16(3) {
                for partition in 0..<6 {
                    let mine = { (record: Int) in
                        places[record].topic == topic && places[record].partition == partition
                    }
                    let there = produced.filter(mine)
                    #expect(there == there.sorted(), "the order within a partition")
                    if let first = there.first { #expect(order.openers.contains(first)) }
                }
            }
            let opened = Set(order.openers.map { "\(places[$0])" })
            #expect(opened.count == order.openers.count, "each partition is opened once")
            #expect(Array(produced.prefix(order.openers.count)) == order.openers)
        }
    }
}

@Suite struct RestartPolicyTests {
    @Test func `waits double up to the longest, and start anew after a steady run`() {
        var policy = RestartPolicy()
        let waits = (0..<12).map { _ in
            policy.wait(after: .restart, ranMilliseconds: 100, jitter: 0.5)!
        }
        #expect(waits.prefix(4) == [100, 200, 400, 800])
        #expect(waits.last == 30_000)
        #expect(policy.wait(after: .restart, ranMilliseconds: 60_000, jitter: 0.5) == 100)
    }

    @Test func `jitter keeps a wait between half and one and a half`() {
        var policy = RestartPolicy()
        #expect(policy.wait(after: .restart, ranMilliseconds: 60_000, jitter: 0) == 50)
        #expect(policy.wait(after: .restart, ranMilliseconds: 60_000, jitter: 0.999)! < 150)
    }

    @Test func `who was fenced waits at least ten seconds`() {
        var policy = RestartPolicy()
        #expect(policy.wait(after: .fenced, ranMilliseconds: 100, jitter: 0.5) == 10_000)
    }

    @Test func `what no restart can help is not started again`() {
        var policy = RestartPolicy()
        for code in [ExitCode.done, .badData, .settings] {
            #expect(policy.wait(after: code, ranMilliseconds: 100, jitter: 0.5) == nil)
        }
    }
}

@Suite struct SupervisorTests {
    let lines = Lines()

    func supervisor(_ script: String) -> Supervisor {
        let lines = lines
        return Supervisor(
            [SupervisedProcess(name: "p", path: "/bin/sh", arguments: ["-c", script])],
            journal: Journal(worker: "w") { lines.append($0) })
    }

    @Test func `a process that says restart is started again, one that says settings ends all`() {
        let path = NSTemporaryDirectory() + "coldstream-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        // The third run says that its settings are wrong.
        let code = supervisor(
            "echo >>\(path); [ $(wc -l <\(path)) -lt 3 ] && exit 75; exit 78"
        ).run(until: StopSignal { false })
        #expect(code == .settings)
        #expect(
            lines.events == [
                "process started", "process ended", "process started",
                "process ended", "process started", "process ended",
            ])
    }

    @Test func `a stop drains the processes`() {
        let started = ContinuousClock.now
        let lines = lines
        let code = supervisor("trap 'exit 0' TERM; while :; do sleep 0.05; done")
            .run(until: StopSignal { lines.events.contains("process started") })
        #expect(code == .done)
        #expect(ContinuousClock.now - started < .seconds(20))
    }

    @Test func `a process that a signal ended is started again`() {
        let lines = lines
        let code = supervisor("kill -9 $$")
            .run(until: StopSignal { lines.events.filter { $0 == "process ended" }.count >= 2 })
        #expect(code == .done)
        #expect(lines.all.contains { $0.contains("\"exit\":75") })
    }
}

/// Journal lines of a test.
final class Lines: Sendable {
    private let lines = Mutex<[String]>([])
    func append(_ line: String) { lines.withLock { $0.append(line) } }
    var all: [String] { lines.withLock { $0 } }
    var events: [String] {
        all.compactMap { (try? JSONValue(parsing: $0))?["event"]?.text }
    }
}

@Suite struct StatusTests {
    let status = WorkerStatus(fleet: "f", worker: "f.r.0", version: "1", library: "2.0.2")

    @Test func `a journal line is one JSON object, and less important ones are not written`() throws
    {
        let lines = Lines()
        let journal = Journal(worker: "w", level: .warning) { lines.append($0) }
        journal(.notice, "quiet")
        journal(.error, "loud", ("reason", .text("a \"b\"\nc")), ("count", .integer(3)))
        #expect(lines.all.count == 1)
        #expect(lines.all[0].hasSuffix("\n"))
        let line = try JSONValue(parsing: lines.all[0])
        #expect(line["event"]?.text == "loud" && line["level"]?.text == "error")
        #expect(line["worker"]?.text == "w" && line["count"]?.integer == 3)
        #expect(line["reason"]?.text == "a \"b\"\nc")
        #expect((line["time_ms"]?.integer ?? 0) > 1_600_000_000_000)
    }

    @Test func `lag counts what the log has grown by since its end was reached`() {
        var counters = LogCounters()
        counters.assigned([0: 10, 1: 10, 2: 10])
        #expect(counters.lags { _ in nil } == [0: 0, 1: 0, 2: 0], "nothing is known yet")
        #expect(counters.lags { _ in 15 } == [0: 5, 1: 5, 2: 5])
        counters.committed(0, [InputPosition(partition: 0, next: 14)], taking: .zero)
        counters.reached(end: 15, partition: 0)
        #expect(counters.lags { _ in 15 }[0] == 0, "a marker stands at 14")
        #expect(counters.lags { _ in 18 }[0] == 3)
    }

    @Test func `an address that cannot be listened on is a setting to fix`() throws {
        let server = try StatusServer(status, address: "127.0.0.1:0")
        for address in ["nonsense", "127.0.0.1:\(server.port)", "no.such.address:1"] {
            let error = #expect(throws: WorkerSettingsError.self) {
                _ = try StatusServer(status, address: address)
            }
            #expect(error?.description.contains(address) == true)
        }
    }

    @Test func `a watchdog knows what was expected and when`() {
        let watchdog = Watchdog { _ in }
        let now = ContinuousClock.now
        #expect(watchdog.overdue(at: now + .seconds(1_000)) == nil)
        watchdog.expect(within: 10, "a turn")
        #expect(watchdog.overdue(at: now + .seconds(9)) == nil)
        #expect(watchdog.overdue(at: now + .seconds(11)) == "a turn")
        watchdog.rest()
        #expect(watchdog.overdue(at: now + .seconds(11)) == nil)
    }

    @Test func `what must come back sooner is watched for, and then what was expected before`() {
        let watchdog = Watchdog { _ in }
        let now = ContinuousClock.now
        func commit(_ milliseconds: Int) throws {
            try watchdog.limit(toMilliseconds: milliseconds, "a commit") {
                #expect(watchdog.overdue(at: now + .seconds(9)) == nil)
                #expect(watchdog.overdue(at: now + .seconds(60)) != nil)
                throw CancellationError()
            }
        }
        #expect(throws: CancellationError.self) { try commit(20_000) }
        #expect(watchdog.overdue(at: now + .seconds(1_000)) == nil, "nothing was expected before")
        watchdog.expect(within: 30, "a turn")
        for (milliseconds, reason) in [(20_000, "a commit"), (40_000, "a turn")] {
            watchdog.limit(toMilliseconds: milliseconds, "a commit") {
                #expect(watchdog.overdue(at: now + .seconds(59)) == reason)
                #expect((watchdog.overdue(at: now + .seconds(25)) == nil) == (reason == "a turn"))
            }
            #expect(watchdog.overdue(at: now + .seconds(25)) == nil)
            #expect(watchdog.overdue(at: now + .seconds(31)) == "a turn")
        }
    }
}
