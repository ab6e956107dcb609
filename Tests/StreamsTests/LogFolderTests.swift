// A log that survives its process: everything comes back, and a transaction whole or not at all.

import Bytes
import Foundation
import Testing

@testable import Streams

/// A log in a folder with one producer, and everything about it that must survive.
private struct Kept {
    static let topics = [
        MemoryTopic(name: "input", partitions: 2), MemoryTopic(name: "output", partitions: 2),
        MemoryTopic(name: "checkpoints", partitions: 1, isCompacted: true),
        MemoryTopic(name: "other", partitions: 1),
    ]

    let log: MemoryLog
    let client: MemoryLogClient

    init(_ path: String, observer: ((FolderChange) throws -> Void)? = nil) throws {
        log = MemoryLog(topics: Kept.topics)
        let folder = try LogFolder(path)
        folder.observer = observer
        try log.openFolder(folder)
        client = MemoryLogClient(log, group: "g", input: TestTopic.input, transactionalID: "p")
        var none: [Record] = []
        _ = try client.collect(limit: 0, into: &none)
    }

    /// Records to both outputs and the checkpoints, and an offset.
    func commit(_ i: Int, bytes: Int = 20) throws {
        var outbox = Outbox()
        for (topic, partition) in [
            (TestTopic.output, 0), (.output, 1), (.checkpoints, 0), (.output, 0),
        ] {
            outbox.begin(topic, partition: partition, timestamp: Int64(i))
            outbox.bytes.append("key \(i % 5)")
            outbox.beginValue()
            outbox.bytes.append("\(i) " + String(repeating: "v", count: bytes))
            outbox.end()
        }
        try client.commit(outbox, positions: [.init(partition: i % 2, next: Int64(i))])
    }

    func dump() throws -> [String] { try Kept.dump(log) }

    static func dump(_ log: MemoryLog) throws -> [String] {
        var lines = ["now \(log.now)"]
        for (number, topic) in topics.enumerated() {
            let name = TestTopic(rawValue: UInt16(number))!
            for partition in 0..<topic.partitions {
                lines.append(
                    "\(name) \(partition): \(try log.startOffset(name, partition: partition)) "
                        + "\(try log.endOffset(name, partition: partition)) "
                        + "\(try log.lastStableOffset(name, partition: partition))")
                try log.read(name, partition: partition) { record in
                    lines.append(
                        "\(record.offset) \(record.timestamp) \(record.key?.text ?? "-") "
                            + "\(record.value?.text ?? "-") \(record.headers.encoded.copy())")
                }
                if let next = try log.committedOffset("g", UInt16(number), partition) {
                    lines.append("committed \(next)")
                }
            }
        }
        return lines
    }
}

@Suite struct LogFolderTests {
    @Test(arguments: 1...8 as ClosedRange<UInt64>)
    func `everything comes back`(seed: UInt64) throws {
        let folder = TemporaryFolder()
        var random = SplitMix64(seed: seed)
        var dump: [String]?
        var epochs: [String: Int] = [:]
        for _ in 0..<12 {
            let kept = try Kept(folder.path)
            if let dump { #expect(try kept.dump() == dump, "seed \(seed)") }
            for (id, epoch) in epochs {
                #expect(kept.log.producers[id]!.epoch >= epoch)
            }
            for i in 0..<random.below(12) {
                switch random.below(8) {
                case 0:
                    kept.log.now += 5
                    var headers = ByteBuffer()
                    "h".lend { h in Headers.append(h, h, to: &headers) }
                    _ = try kept.log.append(
                        TestTopic.input, partition: 1, key: nil, value: nil,
                        headers: Headers(encoded: headers.slice))
                case 1:
                    try kept.log.trim(
                        TestTopic.output, partition: 0,
                        before: kept.log.endOffset(TestTopic.output, partition: 0) - 1)
                case 2: try kept.log.compact()
                case 3:
                    kept.log.commitOffset(group: "g", TestTopic.other, partition: 0, next: Int64(i))
                default: try kept.commit(i, bytes: random.below(40_000))
                }
            }
            try kept.log.flush()
            dump = try kept.dump()
            epochs = kept.log.producers.mapValues(\.epoch)
        }
    }

    @Test func `what is open when the process dies is aborted when the log is opened`() throws {
        let folder = TemporaryFolder()
        do {
            let kept = try Kept(folder.path)
            try kept.commit(1)
            kept.log.crashes = { $0 == .beforeEndOfCommit }
            #expect(throws: Crash.self) { try kept.commit(2) }
            kept.log.crashes = nil
            let other = MemoryLogClient(
                kept.log, group: "h", input: TestTopic.input, transactionalID: "q")
            var outbox = Outbox()
            outbox.begin(TestTopic.output, partition: 0, hasKey: false)
            outbox.beginValue()
            outbox.bytes.append("behind what is open")
            outbox.end()
            try other.commit(outbox, positions: [])
        }
        for _ in 0..<2 {
            let kept = try Kept(folder.path)
            var texts: [String] = []
            try kept.log.read(TestTopic.output, partition: 0) { texts.append($0.value!.text) }
            #expect(texts.count == 3 && texts.last == "behind what is open")
            #expect(
                try kept.log.lastStableOffset(TestTopic.output, partition: 0)
                    == kept.log.endOffset(TestTopic.output, partition: 0))
            try kept.log.flush()
        }
    }

    @Test func `a last transaction cut or altered at any byte is there whole or not at all`() throws
    {
        let folder = TemporaryFolder()
        let before: [String]
        let after: [String]
        let earlier: [String: Data]
        do {
            let kept = try Kept(folder.path)
            for i in 0..<4 { try kept.commit(i) }
            before = try kept.dump()
            earlier = folder.contents()
            try kept.commit(4)
            after = try kept.dump()
        }
        let files = folder.contents()
        var whole = 0
        var gone = 0
        func opens(_ changed: [String: Data]) throws {
            try folder.replace(with: changed)
            let dump: [String]
            do {
                let kept = try Kept(folder.path)
                dump = try kept.dump()
                #expect(dump == before || dump == after)
                try kept.commit(5)
            }
            dump == after ? (whole += 1) : (gone += 1)
            let again = try Kept(folder.path)
            #expect(try again.dump().count == dump.count + 4)
        }
        try opens(files)
        #expect(whole == 1)
        for (name, data) in files where data != earlier[name] {
            for at in earlier[name]!.count..<data.count {
                var cut = files
                cut[name] = data[..<at]
                try opens(cut)
                var flipped = files
                flipped[name]![at] ^= 1 << UInt8(at % 8)
                try opens(flipped)
            }
        }
        #expect(whole == 1 && gone > 500)
    }

    @Test func `an earlier byte altered or cut is damage, and refused with a sentence`() throws {
        let folder = TemporaryFolder()
        let length: [String: Int]
        do {
            let kept = try Kept(folder.path)
            for i in 0..<3 { try kept.commit(i) }
            length = folder.contents().mapValues(\.count)
            try kept.commit(3)
        }
        let files = folder.contents()
        func refused(_ changed: [String: Data]) throws {
            try folder.replace(with: changed)
            let error = #expect(throws: LogFolderError.self) { try Kept(folder.path) }
            #expect(error?.kind == .damaged)
            #expect(error?.description.contains("committed data is missing or altered") == true)
        }
        for (name, data) in files {
            for at in stride(from: 0, to: length[name]!, by: 7) {
                var changed = files
                changed[name]![at] ^= 1 << UInt8(at % 8)
                try refused(changed)
            }
            if !data.isEmpty, name != "journal" {
                var changed = files
                changed[name] = nil
                try refused(changed)
            }
        }
        var changed = files
        changed["journal"] = nil
        try refused(changed)
        try folder.replace(with: files)
        #expect(throws: Never.self) { try Kept(folder.path) }
    }

    @Test func `trimmed and compacted records leave the disk`() throws {
        let folder = TemporaryFolder()
        func size() -> Int { folder.contents().values.reduce(0) { $0 + $1.count } }
        do {
            let kept = try Kept(folder.path)
            for i in 0..<150 { try kept.commit(i, bytes: 20_000) }
            #expect(size() > 12_000_000 - 1_000_000)
            for partition in 0..<2 {
                try kept.log.trim(
                    TestTopic.output, partition: partition,
                    before: kept.log.endOffset(TestTopic.output, partition: partition))
            }
            try kept.log.compact()
            #expect(size() < 150_000)
        }
        let kept = try Kept(folder.path)
        var count = 0
        try kept.log.read(TestTopic.checkpoints, partition: 0) { _ in count += 1 }
        #expect(count == 5)
        #expect(try kept.log.startOffset(TestTopic.output, partition: 1) == 300)
    }

    @Test func `a long journal is written anew`() throws {
        let folder = TemporaryFolder()
        do {
            let kept = try Kept(folder.path)
            for i in 0..<5_000 {
                kept.log.commitOffset(
                    group: String(repeating: "g", count: 400), TestTopic.input, partition: 0,
                    next: Int64(i))
                try kept.log.flush()
            }
        }
        #expect(folder.contents()["journal"]!.count < 1_200_000)
        let kept = try Kept(folder.path)
        #expect(
            try kept.log.committedOffset(String(repeating: "g", count: 400), 0, 0) == 4_999)
    }

    @Test func `a folder has one process, and its topics keep their partitions`() throws {
        let folder = TemporaryFolder()
        do {
            let kept = try Kept(folder.path)
            try kept.commit(1)
            let error = #expect(throws: LogFolderError.self) { try Kept(folder.path) }
            #expect(error?.kind == .inUse)
            _ = kept
        }
        var topics = Kept.topics
        topics[0].partitions = 3
        let more = #expect(throws: LogFolderError.self) {
            try MemoryLog(topics: topics, folder: folder.path)
        }
        #expect(more?.kind == .otherTopics && more!.description.contains("input has 2 partitions"))
        let fewer = #expect(throws: LogFolderError.self) {
            try MemoryLog(topics: Array(Kept.topics[..<2]), folder: folder.path)
        }
        #expect(fewer?.kind == .otherTopics)
        // Other numbers, and a new topic: found by name.
        let moved = try MemoryLog(
            topics: [MemoryTopic(name: "new", partitions: 1)] + Kept.topics.reversed(),
            folder: folder.path)
        var texts: [String] = []
        try moved.read(TopicNumber(rawValue: 3), partition: 1) { texts.append($0.value!.text) }
        #expect(texts.count == 1)
        #expect(
            throws: LogFolderError.self,
            performing: { try MemoryLog(topics: topics, folder: "/proc/none/such") })
    }

    @Test func `after a failure of the disk nothing more is committed, and nothing is lost`() throws
    {
        let folder = TemporaryFolder()
        struct Full: Error {}
        var isFull = false
        let kept = try Kept(folder.path) { _ in if isFull { throw Full() } }
        try kept.commit(1)
        let before = try kept.dump()
        isFull = true
        #expect(throws: Full.self) { try kept.commit(2) }
        isFull = false
        #expect(throws: Full.self) { try kept.commit(3) }
        #expect(throws: Full.self) { try kept.log.flush() }
        let copy = TemporaryFolder()
        try copy.replace(with: folder.contents())
        #expect(try Kept(copy.path).dump() == before)
    }
}

/// A disk that may lose whatever was not synced, file by file and write by write.
private final class PowerCut {
    final class File {
        var durable: [UInt8] = []
        var pending: [(offset: Int, bytes: [UInt8])] = []
    }

    private var names: [String: File] = [:]
    private var durableNames: [String: File] = [:]
    private var folders: Set<String> = []
    private var durableFolders: Set<String> = []
    private(set) var changes = 0

    private func folder(_ name: String) -> String {
        name.split(separator: "/").count > 1 ? String(name.split(separator: "/")[0]) : ""
    }

    func observe(_ change: FolderChange) {
        changes += 1
        switch change {
        case .makeFolder(let name): folders.insert(name)
        case .write(let name, let offset, let bytes):
            if names[name] == nil { names[name] = File() }
            names[name]!.pending.append((offset, bytes))
        case .truncate: break
        case .sync(let name):
            let file = names[name]!
            for write in file.pending {
                PowerCut.apply(write.offset, write.bytes, to: &file.durable)
            }
            file.pending = []
        case .syncFolder(let name):
            for key in Set(names.keys).union(durableNames.keys) where folder(key) == name {
                durableNames[key] = names[key]
            }
            if name.isEmpty { durableFolders = folders }
        case .rename(let old, let new): names[new] = names.removeValue(forKey: old)
        case .remove(let name): names[name] = nil
        }
    }

    private static func apply(_ offset: Int, _ bytes: [UInt8], to file: inout [UInt8]) {
        while file.count < offset + bytes.count { file.append(0) }
        file.replaceSubrange(offset..<offset + bytes.count, with: bytes)
    }

    /// What a disk could hold after the power went.
    func remains(_ random: inout SplitMix64) -> [String: Data] {
        var files: [String: Data] = [:]
        for name in Set(names.keys).union(durableNames.keys).sorted() {
            let parent = folder(name)
            guard parent.isEmpty || durableFolders.contains(parent) || random.below(2) == 0 else {
                continue
            }
            guard let file = random.below(2) == 0 ? names[name] : durableNames[name] else {
                continue
            }
            var bytes = file.durable
            for write in file.pending {
                switch random.below(3) {
                case 0: break
                case 1: PowerCut.apply(write.offset, write.bytes, to: &bytes)
                default:
                    PowerCut.apply(
                        write.offset,
                        Array(write.bytes.prefix(random.below(write.bytes.count + 1))),
                        to: &bytes)
                }
            }
            files[name] = Data(bytes)
        }
        return files
    }
}

@Suite struct PowerCutTests {
    private struct Cut: Error {}

    /// Commits, trims and compacts; the power goes before the given change of the folder.
    private func run(
        cutBefore limit: Int, seed: UInt64
    ) throws -> (isFinished: Bool, allowed: [[String]], remains: [String: Data]) {
        let folder = TemporaryFolder()
        let disk = PowerCut()
        var allowed: [[String]] = [try Kept.dump(MemoryLog(topics: Kept.topics))]
        var log: MemoryLog?
        var isFinished = false
        do {
            let kept = try Kept(folder.path) { change in
                if disk.changes == limit { throw Cut() }
                disk.observe(change)
            }
            log = kept.log
            for i in 0..<9 {
                switch i {
                case 4: try kept.log.compact()
                case 6:
                    try kept.log.trim(
                        TestTopic.output, partition: 0,
                        before: kept.log.endOffset(TestTopic.output, partition: 0))
                default: try kept.commit(i, bytes: i == 3 ? 70_000 : 30)
                }
                allowed = [try kept.dump()]
            }
            isFinished = true
        } catch is Cut {
            if let log { allowed.append(try Kept.dump(log)) }
        }
        var random = SplitMix64(seed: seed &* 1_000 + UInt64(limit))
        return (isFinished, allowed, disk.remains(&random))
    }

    @Test(arguments: 1...6 as ClosedRange<UInt64>)
    func `a power cut before any change of the folder loses nothing and halves nothing`(
        seed: UInt64
    )
        throws
    {
        let folder = TemporaryFolder()
        var limit = 0
        while true {
            let (isFinished, allowed, remains) = try run(cutBefore: limit, seed: seed)
            try folder.replace(with: remains)
            let kept = try Kept(folder.path)
            let dump = try kept.dump()
            #expect(allowed.contains(dump), "seed \(seed), before change \(limit)")
            try kept.commit(50)
            if isFinished { break }
            limit += 1
        }
        #expect(limit > 40)
    }
}

@Suite struct LogFolderRecoveryTests {
    @Test(arguments: 1...6 as ClosedRange<UInt64>)
    func `a fleet whose whole process is killed goes on from its folder`(seed: UInt64) throws {
        let folder = TemporaryFolder()
        var random = SplitMix64(seed: seed)
        var appended = 0
        while appended < 200 {
            let log = try MemoryLog(topics: Fleet.topics, folder: folder.path)
            // What was appended and not flushed when the process died is appended again.
            appended = try (0..<4).reduce(0) {
                $0 + Int(try log.endOffset(TestTopic.input, partition: $1))
            }
            let fleet = Fleet(log: log)
            let worker = fleet.makeWorker(
                slot: 0, limits: Fleet.limits(collect: 1 + random.below(9)))
            for _ in 0..<random.below(30) {
                for _ in 0..<random.below(4) where appended < 200 {
                    try Fleet.append(appended, to: log)
                    appended += 1
                }
                try worker.turn()
                if random.below(9) == 0 { try log.compact() }
            }
        }
        let log = try MemoryLog(topics: Fleet.topics, folder: folder.path)
        appended = try (0..<4).reduce(0) {
            $0 + Int(try log.endOffset(TestTopic.input, partition: $1))
        }
        for i in appended..<200 { try Fleet.append(i, to: log) }
        let fleet = Fleet(log: log)
        let worker = fleet.makeWorker(slot: 1, limits: Fleet.limits())
        try fleet.drain(worker)
        #expect(try fleet.outcome(worker) == Fleet.undisturbed(records: 200), "seed \(seed)")
    }
}
