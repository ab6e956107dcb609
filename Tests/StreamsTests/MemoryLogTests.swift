// Kafka's contract, as far as a MemoryLog promises it.

import Bytes
import Testing

@testable import Streams

@Suite struct MemoryLogTests {
    private let log = MemoryLog(topics: [
        MemoryTopic(name: "input", partitions: 3), MemoryTopic(name: "output", partitions: 2),
        MemoryTopic(name: "checkpoints", partitions: 1, isCompacted: true),
        MemoryTopic(name: "other", partitions: 1),
    ])

    private func client(_ slot: String) -> MemoryLogClient {
        MemoryLogClient(log, group: "g", input: TestTopic.input, transactionalID: slot)
    }

    private func texts(_ topic: TestTopic, _ partition: Int) throws -> [String] {
        var texts: [String] = []
        try log.read(topic, partition: partition) { texts.append($0.value?.text ?? "(gone)") }
        return texts
    }

    private func append(_ topic: TestTopic, _ partition: Int, _ key: String?, _ value: String?)
        throws
    {
        let key = key.map { Array($0.utf8) }
        let value = value.map { Array($0.utf8) }
        try (key ?? []).lend { keyBytes in
            try (value ?? []).lend {
                _ = try log.append(
                    topic, partition: partition, key: key == nil ? nil : keyBytes,
                    value: value == nil ? nil : $0)
            }
        }
    }

    /// An outbox with one record to each partition of the output.
    private func withOutbox<Result>(
        _ text: String, _ body: (borrowing Outbox) throws -> Result
    ) rethrows -> Result {
        var outbox = Outbox()
        for partition in 0..<2 {
            outbox.begin(TestTopic.output, partition: partition)
            outbox.bytes.append("k")
            outbox.beginValue()
            outbox.bytes.append(text)
            outbox.end()
        }
        return try body(outbox)
    }

    @Test func `records keep key, value, headers and time, and null stays null`() throws {
        var headers = ByteBuffer()
        "h".lend { h in "1".lend { Headers.append(h, $0, to: &headers) } }
        log.now = 77
        _ = try "k".lend { key in
            try log.append(
                TestTopic.input, partition: 1, key: key, value: .empty,
                headers: Headers(encoded: headers.slice), timestamp: 5)
        }
        try log.append(TestTopic.input, partition: 1, key: nil, value: nil)
        var seen: [Record] = []
        let next = try log.read(TestTopic.input, partition: 1) { seen.append($0) }
        #expect(next == 2 && seen.map(\.offset) == [0, 1] && seen.map(\.timestamp) == [5, 77])
        #expect(seen[0].key?.text == "k" && seen[0].value?.count == 0)
        #expect(seen[0].headers.first("h")?.text == "1")
        #expect(seen[1].key == nil && seen[1].value == nil && seen[1].headers.isEmpty)
    }

    @Test func `a key's partition is murmur2's, and none is the first`() throws {
        for i in 0..<50 {
            let partition = try "user \(i)".lend {
                try log.append(TestTopic.input, key: $0, value: $0)
            }
            #expect(partition == "user \(i)".lend { Murmur2.partition($0, of: 3) })
        }
        #expect(try log.append(TestTopic.input, key: nil, value: .empty) == 0)
        #expect(throws: MemoryLogError.unknownPartition(topic: "input", partition: 3)) {
            try log.append(TestTopic.input, partition: 3, key: nil, value: nil)
        }
    }

    @Test func `a transaction is seen whole or not at all`() throws {
        let producer = client("a")
        _ = try producer.collect(limit: 1, into: &scratch)
        for point in [CrashPoint.beforeCommit, .insideCommit, .beforeEndOfCommit] {
            log.crashes = { $0 == point }
            #expect(throws: Crash(point: point)) {
                try withOutbox("lost") {
                    try producer.commit($0, positions: [.init(partition: 0, next: 9)])
                }
            }
            #expect(try texts(.output, 0) == [] && texts(.output, 1) == [])
            #expect(try producer.committedOffset(partition: 0) == nil)
        }
        log.crashes = nil
        let successor = client("a")
        _ = try successor.collect(limit: 1, into: &scratch)
        try withOutbox("kept") {
            try successor.commit($0, positions: [.init(partition: 0, next: 9)])
        }
        #expect(try texts(.output, 0) == ["kept"] && texts(.output, 1) == ["kept"])
        #expect(try successor.committedOffset(partition: 0) == 9)
    }

    @Test func `a crash after the commit has committed`() throws {
        let producer = client("a")
        log.crashes = { $0 == .afterCommit }
        #expect(throws: Crash(point: .afterCommit)) {
            try withOutbox("kept") { try producer.commit($0, positions: []) }
        }
        #expect(try texts(.output, 1) == ["kept"])
    }

    @Test func `aborted records and markers take offsets and hold readers back until the end`()
        throws
    {
        let producer = client("a")
        try append(.output, 0, "k", "first")
        log.crashes = { $0 == .beforeEndOfCommit }
        _ = withOutbox("open") { outbox in
            #expect(throws: Crash.self) { try producer.commit(outbox, positions: []) }
        }
        log.crashes = nil
        try append(.output, 0, "k", "behind")
        #expect(try log.endOffset(TestTopic.output, partition: 0) == 3)
        #expect(try log.lastStableOffset(TestTopic.output, partition: 0) == 1)
        #expect(try texts(.output, 0) == ["first"])
        log.abortOpenTransactions()
        #expect(try log.lastStableOffset(TestTopic.output, partition: 0) == 4)
        var offsets: [Int64] = []
        let next = try log.read(TestTopic.output, partition: 0) { offsets.append($0.offset) }
        #expect(offsets == [0, 2] && next == 4)
        #expect(throws: MemoryLogError.fenced("a"), "its transaction timed out") {
            try withOutbox("late") { try producer.commit($0, positions: []) }
        }
    }

    @Test func `a newer producer with the same id fences the older`() throws {
        let older = client("a")
        let newer = client("a")
        #expect(throws: MemoryLogError.fenced("a")) {
            try withOutbox("x") { try older.commit($0, positions: []) }
        }
        try withOutbox("y") { try newer.commit($0, positions: []) }
        #expect(try texts(.output, 0) == ["y"])
    }

    @Test func `positions of an older generation are refused with all outputs`() throws {
        let first = client("a")
        #expect(try first.collect(limit: 1, into: &scratch) == .assigned([0, 1, 2]))
        _ = client("b")
        #expect(throws: MemoryLogError.staleGeneration("g")) {
            try withOutbox("x") {
                try first.commit($0, positions: [.init(partition: 0, next: 1)])
            }
        }
        log.abortOpenTransactions()
        #expect(try texts(.output, 0) == [])
        #expect(try first.committedOffset(partition: 0) == nil)
    }

    @Test func `a change of members revokes everything, then assigns ranges`() throws {
        let a = client("a")
        #expect(try a.collect(limit: 1, into: &scratch) == .assigned([0, 1, 2]))
        let b = client("b")
        #expect(try a.collect(limit: 1, into: &scratch) == .revoked([0, 1, 2]))
        #expect(try a.collect(limit: 1, into: &scratch) == .assigned([0, 1]))
        #expect(try b.collect(limit: 1, into: &scratch) == .assigned([2]))
        let others = ["c", "d"].map { client($0) }
        #expect(try b.collect(limit: 1, into: &scratch) == .revoked([2]))
        #expect(try a.collect(limit: 1, into: &scratch) == .revoked([0, 1]))
        #expect(try a.collect(limit: 1, into: &scratch) == .assigned([0]))
        #expect(try b.collect(limit: 1, into: &scratch) == .assigned([1]))
        #expect(try others[0].collect(limit: 1, into: &scratch) == .assigned([2]))
        #expect(try others[1].collect(limit: 1, into: &scratch) == .assigned([]))
        a.leave()
        #expect(try others[1].collect(limit: 1, into: &scratch) == .assigned([2]))
        #expect(try a.collect(limit: 1, into: &scratch) == .revoked([0]))
        #expect(try a.collect(limit: 1, into: &scratch) == .assigned([]), "no longer a member")
    }

    private final class Box { var batch: [Record] = [] }
    private let box = Box()
    private var scratch: [Record] {
        get { box.batch }
        nonmutating set { box.batch = newValue }
    }

    @Test func `collecting takes turns and never more than the limit`() throws {
        for i in 0..<30 { try append(.input, i % 3, nil, "\(i)") }
        let reader = client("a")
        _ = try reader.collect(limit: 4, into: &scratch)
        for partition in 0..<3 { try reader.start(partition: partition, at: 0) }
        var seen: [Int: [Int64]] = [:]
        var first: Set<Int> = []
        for turn in 0..<20 {
            var batch: [Record] = []
            #expect(try reader.collect(limit: 4, into: &batch) == .records)
            #expect(batch.count <= 4)
            if turn < 3 { first.insert(batch[0].partition) }
            for record in batch { seen[record.partition, default: []].append(record.offset) }
        }
        #expect(first == [0, 1, 2])
        for partition in 0..<3 { #expect(seen[partition] == Array(0..<10)) }
    }

    @Test func `records survive many chunks and records larger than one`() throws {
        let large = [UInt8](repeating: 7, count: 3 << 20)
        for i in 0..<40 {
            try append(.input, 0, "k", String(repeating: "x", count: i * 5_000))
            if i == 20 {
                try large.lend {
                    _ = try log.append(TestTopic.input, partition: 0, key: nil, value: $0)
                }
            }
        }
        var lengths: [Int] = []
        try log.read(TestTopic.input, partition: 0, from: 15, upTo: 30) {
            lengths.append($0.value!.count)
        }
        #expect(lengths == (15...20).map { $0 * 5_000 } + [3 << 20] + (21..<29).map { $0 * 5_000 })
        #expect(log.allocatedBytes > 7 << 20)
    }

    @Test
    func `what is trimmed is gone, and reading it is an error that says where the log starts`()
        throws
    {
        for i in 0..<6_000 {
            try append(.input, 0, "k", String(repeating: "\(i % 10)", count: 1_000))
        }
        let before = log.allocatedBytes
        try log.trim(TestTopic.input, partition: 0, before: 5_900)
        #expect(log.allocatedBytes < before / 2)
        #expect(try log.startOffset(TestTopic.input, partition: 0) == 5_900)
        #expect(
            throws: MemoryLogError.offsetOutOfRange(
                topic: "input", partition: 0, offset: 0, start: 5_900)
        ) { try log.read(TestTopic.input, partition: 0, from: 0) { _ in } }
        var count = 0
        try log.read(TestTopic.input, partition: 0) { _ in count += 1 }
        #expect(count == 100)
        try log.trim(TestTopic.input, partition: 0, before: 9_999)
        #expect(try log.startOffset(TestTopic.input, partition: 0) == 6_000)
        #expect(log.allocatedBytes == 0)
        try append(.input, 0, nil, "next")
        #expect(try texts(.input, 0) == ["next"])
    }

    @Test func `a trim stops at an open transaction`() throws {
        let producer = client("a")
        try append(.output, 0, "k", "1")
        log.crashes = { $0 == .beforeEndOfCommit }
        _ = withOutbox("open") { outbox in
            #expect(throws: Crash.self) { try producer.commit(outbox, positions: []) }
        }
        log.crashes = nil
        try append(.output, 0, "k", "2")
        try log.trim(TestTopic.output, partition: 0, before: 3)
        #expect(try log.startOffset(TestTopic.output, partition: 0) == 1)
        log.abortOpenTransactions()
        #expect(try texts(.output, 0) == ["2"])
    }

    @Test
    func `compaction keeps the newest of every key at its offset, and readers where they are`()
        throws
    {
        var random = SplitMix64(seed: 3)
        var newest: [String: (offset: Int64, value: String?)] = [:]
        var cursor = MemoryLogPartition.Cursor(offset: 0)
        var read: [Int64] = []
        for i in 0..<6_000 {
            let key = "k\(random.below(40))"
            let value = random.below(9) == 0 ? nil : String(repeating: "v", count: i % 90)
            newest[key] = (try log.endOffset(TestTopic.checkpoints, partition: 0), value)
            try append(.checkpoints, 0, key, value)
            if i % 7 == 0 {
                var batch: [Record] = []
                try log.fetch(
                    TestTopic.checkpoints.rawValue, 0, &cursor, limit: 5, into: &batch)
                read += batch.map(\.offset)
            }
            if i % 700 == 699 {
                try log.compact()
                var kept: [Int64] = []
                try log.read(TestTopic.checkpoints, partition: 0) { record in
                    kept.append(record.offset)
                    #expect(newest[record.key!.text]?.value == record.value?.text)
                }
                let expected = newest.values.filter { $0.value != nil }.map(\.offset).sorted()
                #expect(kept == expected)
                #expect(try log.endOffset(TestTopic.checkpoints, partition: 0) == Int64(i + 1))
            }
        }
        #expect(read == read.sorted() && Set(read).count == read.count && !read.isEmpty)
        #expect(log.allocatedBytes <= 1 << 17)
    }

    @Test func `compaction waits for open transactions and for enough growth`() throws {
        let producer = MemoryLogClient(
            log, group: "g", input: TestTopic.input, transactionalID: "a")
        for _ in 0..<10 { try append(.checkpoints, 0, "k", "v") }
        try log.compact(after: 1 << 20)
        #expect(try texts(.checkpoints, 0).count == 10)
        log.crashes = { $0 == .beforeEndOfCommit }
        var outbox = Outbox()
        outbox.begin(TestTopic.checkpoints, partition: 0)
        outbox.bytes.append("k")
        outbox.beginValue()
        outbox.end()
        let error = Result { try producer.commit(outbox, positions: []) }
        #expect(throws: Crash.self) { try error.get() }
        log.crashes = nil
        try log.compact()
        #expect(try texts(.checkpoints, 0).count == 10)
        log.abortOpenTransactions()
        try log.compact()
        #expect(try texts(.checkpoints, 0) == ["v"])
        #expect(try log.startOffset(TestTopic.checkpoints, partition: 0) == 0)
    }
}
