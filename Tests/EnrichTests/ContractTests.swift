// What enrich writes is what the contracts say, whatever comes in.

import Bytes
import Contracts
import JSON
import Streams
import Testing

@testable import Enrich

@Suite struct ContractTests {
    @Test(arguments: 1...5 as ClosedRange<UInt64>)
    func `everything that is written can be read`(seed: UInt64) throws {
        let traffic = RandomTraffic(seed: seed, count: 500)
        let log = makeLog()
        try traffic.append(to: log)
        let worker = makeWorker(CrashTests.settings(seed).with { $0.domainLogPartitions = 1 }, log)
        _ = try worker.turn()
        while try worker.turn() > 0 {}
        let reader = DomainLogReader()
        var kinds: Set<DomainLogKind> = []
        try log.read(Topic.domainLog, partition: 0) { record in
            let kind = try reader.read(record.value!)
            kinds.insert(kind)
            switch kind {
            case .impression: #expect(record.key!.equals(reader.impression.domain))
            case .label: #expect(record.key!.equals(reader.label.domain))
            case .judgment: #expect(record.key!.equals(reader.judgment.domain))
            default: #expect(record.key == nil)
            }
            #expect(record.headers.first("coldstream-schema")!.equals("domain-log/1"))
        }
        #expect(kinds == [.impression, .label, .judgment, .text, .tick])
        try log.read(Topic.texts, partition: 0) { record in
            let text = try JSONValue(parsing: record.value!)
            #expect(
                "\(text["hash"]!.text!)/\(text["domain"]!.text!)" == record.key!.text)
        }
    }

    @Test func `a record of another major version is a dead letter`() throws {
        var run = try EnrichRun()
        var event = TestEvent.impression("i1", 0)
        event.headers = [("coldstream-schema", "events/2")]
        #expect(try run.deadLetters(after: event) == ["unknown_version"])
        event.headers = [("coldstream-schema", "events/1")]
        #expect(try run.after(event) == ["impression i1 a"])
    }

    /// Every byte of a good line changed, dropped or doubled: used or a dead letter, never the end.
    @Test func `no mutation of a line stops a worker`() throws {
        var run = try EnrichRun()
        var random = TestRandom(7)
        let lines = RandomTraffic(seed: 9, count: 200).events.map(\.bytes)
        var sent: Int64 = 0
        for _ in 0..<20_000 {
            var bytes = lines.randomElement(using: &random)!
            for _ in 0...random.below(3) {
                guard !bytes.isEmpty else { break }
                let at = random.below(bytes.count)
                switch random.below(4) {
                case 0: bytes[at] = UInt8(truncatingIfNeeded: random.next())
                case 1: bytes.remove(at: at)
                case 2: bytes.insert(bytes[at], at: at)
                default: bytes.removeSubrange(at..<min(bytes.count, at + random.below(20)))
                }
            }
            _ = try "u1".lend { key in
                try bytes.lend { try run.log.append(Topic.events, key: key, value: $0) }
            }
            sent += 1
        }
        try run.send([.tick(0, close: true)])
        let counts = run.counts
        #expect(counts.lines == sent)
        #expect(counts.used + counts.duplicates + counts.orphans + counts.deadLetters == sent)
        #expect(counts.used > 0 && counts.deadLetters > 0)
    }
}
