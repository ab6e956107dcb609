// A fleet of one role on a real broker, the faults that befall it, and the judge of what came out.

import Bytes
import Contracts
import CountingRole
import Foundation
import JSON
import KafkaTestBroker
import KafkaTransactions
import Streams
import Testing

@testable import WorkerRuntime

/// Topics of a fleet, something to put into them, and a way to judge what comes out.
final class Fleet {
    let broker: RealBroker
    let name = "fleet-\(UUID().uuidString.lowercased().prefix(8))"
    let partitions: Int
    let client: ClientProperties
    let topics: TopicNames
    private var producer: IdempotentProducer
    private let offsets: Offsets
    private(set) var produced = 0
    private var children: [Int: (id: pid_t, words: [String])] = [:]
    private(set) var exits: [Int32] = []
    /// The last lines of processes that are not to be started again.
    private(set) var finalLines: [String] = []
    /// How long the journal was when a slot's newest process started.
    private var linesAtStart: [Int: Int] = [:]
    private var drained: [(slot: Int, words: [String])] = []

    init(_ broker: RealBroker, partitions: Int = 4) throws {
        self.broker = broker
        self.partitions = partitions
        client = ClientProperties(bootstrapServers: broker.address)
        topics = TopicNames(fleet: name)
        let compacted = ["cleanup.policy": "compact"]
        try Admin(client).create([
            NewTopic(topics[.events], partitions: partitions),
            NewTopic(topics[.scores], partitions: 3),
            NewTopic(topics[.checkpoints], partitions: partitions, settings: compacted),
        ])
        producer = try IdempotentProducer(ProducerSettings(client: client))
        offsets = try Offsets(client, group: "\(name).counter")
    }

    deinit { for (id, _) in children.values { kill(id, SIGKILL) } }

    /// Deletes the input and makes it again, empty.
    func makeInputAgain() throws {
        let admin = try Admin(client)
        try admin.delete(topics: [topics[.events]])
        try admin.create([NewTopic(topics[.events], partitions: partitions)])
        // The old one remembers for a moment that there is no such topic.
        producer = try IdempotentProducer(ProducerSettings(client: client))
    }

    /// Appends records with so many different keys.
    func feed(_ count: Int, keys: Int = 97) throws {
        let topic = try producer.topic(topics[.events])
        var headers = RecordHeaders()
        headers.append("traceparent", "00-abc")
        for _ in 0..<count {
            let value = "{\"n\":\(produced)}"
            try "k\(produced % keys)".lend { key in
                try value.lend { value in
                    try producer.produce(topic, key: key, value: value, headers: headers)
                }
            }
            produced += 1
        }
        try producer.flush(timeoutMilliseconds: 60_000)
    }

    /// Appends one record.
    func feed(key: String) throws {
        let topic = try producer.topic(topics[.events])
        try key.lend { try producer.produce(topic, key: $0, value: $0) }
        try producer.flush(timeoutMilliseconds: 60_000)
    }

    // Workers in processes

    private static let program =
        ProcessInfo.processInfo.environment["COLDSTREAM_COUNTING_WORKER"]
        ?? URL(fileURLWithPath: CommandLine.arguments[0])
        .deletingLastPathComponent().appendingPathComponent("CountingWorker").path

    func start(slot: Int, _ more: String...) throws {
        try start(slot, [Self.program, broker.address, name, "\(slot)"] + more)
    }

    private func start(_ slot: Int, _ words: [String]) throws {
        linesAtStart[slot] = journal.count
        children[slot] = (try spawn(words), words)
    }

    /// A second process in a slot, for `wait`.
    func startTwin(slot: Int) throws -> pid_t {
        try spawn([Self.program, broker.address, name, "\(slot)"])
    }

    private func spawn(_ words: [String]) throws -> pid_t {
        var id: pid_t = 0
        let code = WorkerRuntime.spawn(&id, words, errors: "\(broker.folder)/workers.err")
        try #require(code == 0, "\(words[0]): \(String(cString: strerror(code)))")
        return id
    }

    /// Sends a signal; after SIGKILL the process is gone when this returns.
    func signal(slot: Int, _ number: Int32) {
        if let child = children[slot] { TestProcess.signal(child.id, number) }
    }

    /// `kill -9` of a worker that is not to be started again; returns when it is gone.
    func end(slot: Int) {
        guard let child = children.removeValue(forKey: slot) else { return }
        kill(child.id, SIGKILL)
        _ = wait(child.id)
    }

    /// Megabytes that a worker's process holds in memory, now and at most.
    func memory(slot: Int) -> (now: Int, most: Int) {
        let text =
            (try? String(contentsOfFile: "/proc/\(children[slot]?.id ?? 0)/status", encoding: .utf8))
            ?? ""
        func megabytes(_ name: Substring) -> Int {
            let line = text.split(separator: "\n").first { $0.hasPrefix(name) }
            return line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first
                .flatMap { Int($0) }.map { $0 / 1024 } ?? 0
        }
        return (megabytes("VmRSS:"), megabytes("VmHWM:"))
    }

    private func lines(_ event: String, of slot: Int) -> Int {
        journal.count {
            $0["event"]?.text == event && $0["worker"]?.text == "\(name).counter.\(slot)"
        }
    }

    /// How often a slot's processes have been given partitions.
    func assignments(of slot: Int) -> Int { lines("assigned", of: slot) }

    private func isOf(_ slot: Int, _ line: JSONValue) -> Bool {
        line["worker"]?.text == "\(name).counter.\(slot)"
    }

    /// Whether the slot's newest process has been given partitions.
    func isAssigned(slot: Int) -> Bool {
        let lines = journal.dropFirst(linesAtStart[slot, default: 0])
            .filter { isOf(slot, $0) }
        return lines.last { ["start", "assigned", "end"].contains($0["event"]?.text) }?["event"]?
            .text == "assigned"
    }

    /// Tends the fleet until every slot is at work: one whose process a broker's absence has ended may
    /// have left its share to the others, who drain without it.
    func tend(untilAssigned slots: [Int], within seconds: Int = 60) throws {
        try until(seconds, "partitions for the slots \(slots)") {
            try self.tend()
            return slots.allSatisfy { self.isAssigned(slot: $0) }
        }
    }

    /// Starts again what has ended with a code that allows it; says which codes there were.
    func tend() throws {
        for (slot, child) in children {
            var status: Int32 = 0
            guard waitpid(child.id, &status, WNOHANG) == child.id else { continue }
            let code = Self.code(status)
            exits.append(code)
            let allowsRestart = code < 0 || ExitCode(rawValue: code)?.allowsRestart == true
            if allowsRestart {
                try start(slot, child.words)
            } else {
                children[slot] = nil
                if code != 0 {
                    finalLines += [journal.last { isOf(slot, $0) }?.canonicalText ?? ""]
                }
                if code == 0 { drained.append((slot, child.words)) }
            }
        }
        try revive()
    }

    /// Starts again what has drained after a SIGTERM of `signal`, as an upgrade would.
    func revive() throws {
        for (slot, words) in drained { try start(slot, words) }
        drained = []
    }

    /// The exit code, or minus the signal.
    static func code(_ status: Int32) -> Int32 {
        status & 0x7F == 0 ? status >> 8 & 0xFF : -(status & 0x7F)
    }

    /// How a process has ended; nil while it goes on.
    func end(of id: pid_t) -> Int32? {
        var status: Int32 = 0
        return waitpid(id, &status, WNOHANG) == id ? Self.code(status) : nil
    }

    /// Waits for a process to end by itself; kills it when that takes too long.
    func wait(_ id: pid_t) -> Int32 {
        let deadline = ContinuousClock.now + .seconds(120)
        var status: Int32 = 0
        while waitpid(id, &status, WNOHANG) != id {
            if ContinuousClock.now > deadline { kill(id, SIGKILL) }
            usleep(5_000)
        }
        return Self.code(status)
    }

    /// SIGTERM, once the process heeds it; the exit code.
    func stop(slot: Int) -> Int32 {
        guard let child = children.removeValue(forKey: slot) else { return -1 }
        TestProcess.waitUntilItHeeds(child.id, SIGTERM)
        kill(child.id, SIGTERM)
        return wait(child.id)
    }

    /// Lines that workers wrote.
    var journal: [JSONValue] {
        let text =
            (try? String(contentsOfFile: "\(broker.folder)/workers.err", encoding: .utf8)) ?? ""
        return text.split(separator: "\n").compactMap { try? JSONValue(parsing: String($0)) }
            .filter { $0["worker"]?.text?.hasPrefix(name) == true }
    }

    /// The last lines of the journal, for a failure's message.
    var newestLines: String { journal.suffix(12).map(\.canonicalText).joined(separator: "\n") }

    // Progress

    private var inputs: [TopicPartition] {
        (0..<partitions).map { TopicPartition(topics[.events], $0) }
    }

    /// Records that the group has committed, markers counted in.
    func progress() throws -> Int64 {
        var sum: Int64 = 0
        try until(60, "answer about committed offsets") {
            sum = try self.offsets.committed(self.inputs, timeoutMilliseconds: 30_000).values
                .reduce(0, +)
            return true
        }
        return sum
    }

    /// The group's committed offset of every partition.
    func committed() throws -> [Int64] {
        var result: [Int64] = []
        try until(60, "answer about committed offsets") {
            let offsets = try self.offsets.committedIgnoringPending(self.inputs)
            result = self.inputs.map { offsets[$0] ?? 0 }
            return true
        }
        return result
    }

    /// Appends records and tends the fleet until it has committed some of them; whether it works.
    @discardableResult
    func feedAndProveWork(_ count: Int, within seconds: Int = 60) throws -> Bool {
        let start = try progress()
        let more = Int64(count / 10)
        try feed(count)
        return try until(seconds, "progress beyond \(start)") {
            try self.tend()
            return try self.progress() >= start + more
        }
    }

    /// Feeds, and waits until a process has worked on it or none is left; whether one is.
    func feedAndProveWorkOrEnd(_ count: Int, within seconds: Int = 60) throws -> Bool {
        let start = try progress()
        try feed(count)
        try until(seconds, "progress beyond \(start), or an end") {
            try self.tend()
            return try self.children.isEmpty || self.progress() > start
        }
        return !children.isEmpty
    }

    /// Tends the fleet until nothing is left to read.
    func drain(within seconds: Int = 90) throws {
        try until(seconds, "lag 0") {
            try self.tend()
            let committed = try self.offsets.committed(self.inputs, timeoutMilliseconds: 30_000)
            let lag = try self.offsets.lag(
                behind: self.inputs.map { Position($0, committed[$0] ?? 0) },
                timeoutMilliseconds: 30_000)
            return lag.values.allSatisfy { $0 == .none }
        }
    }

    /// Waits until no transaction is open in any topic: a read-committed reader ends where an
    /// uncommitted one does.
    func settle() throws {
        try until(30, "end of the open transactions") {
            try !self.hasOpenTransactions(.scores, 3)
                && !self.hasOpenTransactions(.checkpoints, self.partitions)
        }
    }

    @discardableResult
    private func until(
        _ seconds: Int, _ what: String, _ condition: () throws -> Bool
    ) throws -> Bool {
        let deadline = ContinuousClock.now + .seconds(seconds)
        var last: (any Error)?
        while ContinuousClock.now < deadline {
            do {
                if try condition() { return true }
            } catch let error as KafkaError where error.remedy == .retry { last = error }
        }
        Issue.record(
            "no \(what) in \(seconds) s; \(last.map { "\($0)" } ?? "no error"); \(exits); \(finalLines); \(newestLines)"
        )
        return false
    }

    /// Whether a read-committed reader of a topic ends before an uncommitted one, anywhere.
    func hasOpenTransactions(_ topic: Topic, _ partitions: Int) throws -> Bool {
        let places = (0..<partitions).map { TopicPartition(topics[topic], $0) }
        return try offsets.offsets(of: places, timeoutMilliseconds: 30_000).values
            .contains { !$0.isSettled }
    }

    // The judge

    /// Everything committed in a partition.
    func read(_ topic: Topic, _ partition: Int) throws -> [(key: String?, value: [UInt8]?)] {
        let place = TopicPartition(topics[topic], partition)
        let end = try offsets.offsets(of: [place])[place]!.end
        var settings = ConsumerSettings(client: client, group: "judge")
        settings.reportsEnds = true
        let consumer = try Consumer(settings)
        try consumer.assign([Position(place, 0)])
        var result: [(key: String?, value: [UInt8]?)] = []
        let deadline = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < deadline {
            switch try consumer.poll(timeoutMilliseconds: 200) {
            case .record(let record):
                if record.view.endsRemains { continue }
                result.append((record.view.key?.text, record.view.value?.copy()))
            case .end(let position):
                if position.offset >= end { return result }
            default: break
            }
        }
        Issue.record("\(place) could not be read up to \(end)")
        return result
    }

    /// What differs from a run that nothing happened to; empty is exactly once.
    ///
    /// Every key must have been counted 1, 2, 3, … in order, as often as it was fed; and the worker's
    /// own hash of its outputs must be that of a worker on a MemoryLog that reads the same records.
    func differences() throws -> [String] {
        var result: [String] = []
        let inputs = try (0..<partitions).map { try read(.events, $0) }
        var wanted: [String: Int] = [:]
        let skipped = try (0..<partitions).map { try skippedOffsets($0) }
        for (partition, records) in inputs.enumerated() {
            for (offset, record) in records.enumerated() where !skipped[partition].contains(offset)
            {
                if let key = record.key { wanted[key, default: 0] += 1 }
            }
        }
        var counted: [String: Int] = [:]
        for partition in 0..<3 {
            for (key, value) in try read(.scores, partition) {
                counted[key!, default: 0] += 1
                let text = String(decoding: value!, as: UTF8.self)
                if text != "\(counted[key!]!)" {
                    result.append("\(key!): \(text) where \(counted[key!]!) was due")
                }
            }
        }
        for (key, count) in wanted.sorted(by: { $0.key < $1.key }) where counted[key] != count {
            result.append("\(key): counted \(counted[key] ?? 0) of \(count)")
        }
        let memory = try memoryRun(inputs, skipping: skipped)
        for partition in 0..<partitions {
            let position = try read(.checkpoints, partition)
                .last { $0.key == "\(name).counter/\(partition)/position" }?.value
            guard let position else {
                if !inputs[partition].isEmpty {
                    result.append("partition \(partition): no position")
                }
                continue
            }
            let (ordinal, hash) = position.withUnsafeBytes {
                (
                    $0.loadUnaligned(fromByteOffset: 8, as: Int64.self),
                    $0.loadUnaligned(fromByteOffset: 16, as: Hash128.self)
                )
            }
            if ordinal != inputs[partition].count {
                result.append(
                    "partition \(partition): ordinal \(ordinal) of \(inputs[partition].count)")
            }
            if hash != memory.outputHash(of: partition) {
                result.append("partition \(partition): outputs differ from those on a MemoryLog")
            }
        }
        return result
    }

    /// What the workers have skipped of a partition (whose input holds no markers).
    func skippedOffsets(_ partition: Int) throws -> Set<Int> {
        let prefix = "\(name).counter/\(partition)/skipped/"
        return Set(
            try read(.checkpoints, partition).compactMap { $0.key }
                .filter { $0.hasPrefix(prefix) }
                .compactMap { Int($0.dropFirst(prefix.count), radix: 16) })
    }

    /// A worker in memory that reads the same records, and skips those that the others have skipped:
    /// it finds a note that they have crashed it.
    private func memoryRun(
        _ inputs: [[(key: String?, value: [UInt8]?)]], skipping skipped: [Set<Int>]
    ) throws -> StepWorker<Counter, MemoryLogClient> {
        let log = MemoryLog(
            topics: Topic.allCases.map {
                MemoryTopic(
                    name: $0.name, partitions: $0 == .scores ? 3 : partitions,
                    isCompacted: $0.isCompacted)
            })
        for (partition, records) in inputs.enumerated() {
            for (key, value) in records {
                try (key ?? "").lend { key in
                    try (value ?? []).lend { value in
                        _ = try log.append(
                            Topic.events, partition: partition, key: key.isEmpty ? nil : key,
                            value: value)
                    }
                }
            }
        }
        for (partition, offsets) in skipped.enumerated() {
            precondition(offsets.count <= 1, "one note a partition")
            for offset in offsets {
                var note = ByteBuffer()
                CrashNote(offset: Int64(offset), count: 3).append(to: &note)
                try CrashNote.key(group: "\(name).counter", partition: partition).lend {
                    _ = try log.append(
                        Topic.checkpoints, partition: partition, key: $0, value: note.slice)
                }
            }
        }
        let worker = StepWorker(
            role: Counter(),
            client: MemoryLogClient(
                log, group: "\(name).counter", input: Topic.events, transactionalID: "t"),
            group: "\(name).counter", input: Topic.events, checkpoints: Topic.checkpoints,
            skip: DeadLetter.appendSkipped)
        try worker.turn()
        while try worker.turn() > 0 {}
        return worker
    }
}
