// Invariant 2: after any schedule of crashes, restarts, rebalances and zombies, the same bytes.

import Bytes
import Testing

@testable import Streams

private let records = 260
private let undisturbed = Result { try Fleet.undisturbed(records: records) }

@Suite struct CrashTests {
    @Test(arguments: 1...220 as ClosedRange<UInt64>)
    func `crashes change neither outputs nor state nor hashes`(seed: UInt64) throws {
        var fleet = Fleet()
        let outcome = try fleet.run(seed: seed, records: records)
        let expected = try undisturbed.get()
        #expect(outcome.ordinals == expected.ordinals, "seed \(seed)")
        #expect(outcome.outputs == expected.outputs, "seed \(seed)")
        #expect(outcome.rows == expected.rows, "seed \(seed)")
        #expect(outcome.ages == expected.ages, "seed \(seed)")
        #expect(outcome.outputHashes == expected.outputHashes, "seed \(seed)")
    }

    @Test func `the schedules crash at every point and recover with and without replay`() throws {
        var crashes: [CrashPoint: Int] = [:]
        var recoveries: [Recovery] = []
        for seed in 1...40 as ClosedRange<UInt64> {
            var fleet = Fleet()
            _ = try fleet.run(seed: seed, records: records)
            crashes.merge(fleet.crashes, uniquingKeysWith: +)
            recoveries += fleet.recoveries
        }
        for point in CrashPoint.allCases { #expect(crashes[point, default: 0] >= 5, "\(point)") }
        #expect(recoveries.contains { $0.replayed > 0 && $0.rows > 0 })
        #expect(recoveries.contains { $0.replayed == 0 && $0.rows > 0 })
    }

    /// How many of some schedules the checker flags: a partition is quarantined, or bytes differ.
    private func flagged(
        _ fault: TamperingClient.Fault, nonDeterminism: Int64 = 0
    ) throws -> (quarantined: Int, different: Int) {
        var quarantined = 0
        var different = 0
        for seed in 1...12 as ClosedRange<UInt64> {
            var fleet = Fleet(fault: fault, nonDeterminism: nonDeterminism)
            do {
                let outcome = try fleet.run(seed: seed, records: records)
                if try outcome != undisturbed.get() { different += 1 }
            } catch let error as Quarantine {
                #expect(error.description.contains("is quarantined"))
                quarantined += 1
            }
        }
        return (quarantined, different)
    }

    @Test func `no fault, nothing flagged`() throws {
        let found = try flagged(.none)
        #expect(found.quarantined == 0 && found.different == 0)
    }

    @Test func `offsets committed apart from outputs are flagged`() throws {
        let found = try flagged(.commitsApart)
        #expect(found.quarantined + found.different == 12)
    }

    @Test func `recovery without replay is flagged`() throws {
        #expect(try flagged(.readsNoInput).quarantined == 12)
    }

    @Test func `a step that is not deterministic is flagged`() throws {
        let found = try flagged(.none, nonDeterminism: 1)
        #expect(found.quarantined + found.different == 12)
        #expect(found.quarantined > 0)
    }

    @Test func `a lost row of a checkpoint is flagged`() throws {
        #expect(try flagged(.losesRow).quarantined == 12)
    }

    @Test func `an altered row of a checkpoint is flagged`() throws {
        #expect(try flagged(.altersRow).quarantined == 12)
    }
}

@Suite struct RecoveryTests {
    private func filled(_ records: Range<Int>, into fleet: Fleet = Fleet()) throws -> Fleet {
        for i in records { try Fleet.append(i, to: fleet.log) }
        return fleet
    }

    @Test func `a partition that comes back keeps its state`() throws {
        let fleet = try filled(0..<100)
        let worker = fleet.makeWorker(slot: 0, limits: Fleet.limits())
        try fleet.drain(worker)
        let states = (0..<4).map { worker.state(of: $0)! }
        let other = fleet.makeWorker(slot: 1, limits: Fleet.limits())
        for _ in 0..<2 { try worker.turn() }
        #expect(worker.ordinals.map(\.partition) == [0, 1])
        #expect(worker.state(of: 3) == nil)
        for _ in 0..<2 { try other.turn() }
        other.client.inner.leave()
        for i in 100..<140 { try Fleet.append(i, to: fleet.log) }
        _ = worker.takeRecoveries()
        try fleet.drain(worker)
        #expect(worker.state(of: 0) === states[0] && worker.state(of: 1) === states[1])
        #expect(worker.state(of: 2) !== states[2], "given up when it was another's")
        #expect(worker.takeRecoveries().map(\.partition) == [2, 3])
        #expect(try fleet.outcome(worker) == Fleet.undisturbed(records: 140))
    }

    @Test func `a partition that another one has moved on is recovered anew`() throws {
        let fleet = try filled(0..<60)
        let worker = fleet.makeWorker(slot: 0, limits: Fleet.limits())
        try fleet.drain(worker)
        let other = fleet.makeWorker(slot: 1, limits: Fleet.limits())
        worker.client.inner.leave()
        for i in 60..<120 { try Fleet.append(i, to: fleet.log) }
        try fleet.drain(other)
        #expect(try fleet.outcome(other) == Fleet.undisturbed(records: 120))
    }

    @Test func `a step version is refused only when there is something to replay`() throws {
        let fleet = try filled(0..<50)
        let former = fleet.makeWorker(slot: 0, limits: Fleet.limits(checkpoint: 1_000))
        try fleet.drain(former)
        for i in 50..<90 { try Fleet.append(i, to: fleet.log) }
        try fleet.drain(former)
        // Killed: the second batch lies behind the checkpoint of the first commit.
        former.client.inner.leave()
        func newer() -> Fleet.Worker {
            fleet.makeWorker(
                slot: 0, limits: Fleet.limits(checkpoint: 1_000),
                role: CounterRole(stepVersion: "counter 2"))
        }
        let refused = newer()
        let error = #expect(throws: Quarantine.self) { try refused.turn() }
        #expect(error?.reason.contains("counter 1") == true)
        #expect(error?.reason.contains("counter 2") == true)
        refused.client.inner.leave()

        let again = fleet.makeWorker(slot: 0, limits: Fleet.limits(checkpoint: 1_000))
        try fleet.drain(again)
        try again.checkpointAll()
        again.client.inner.leave()

        let accepted = newer()
        try fleet.drain(accepted)
        for i in 90..<120 { try Fleet.append(i, to: fleet.log) }
        try fleet.drain(accepted)
        accepted.client.inner.leave()
        // Killed too, but its first commit wrote a checkpoint of its own version.
        let last = newer()
        try fleet.drain(last)
        #expect(try fleet.outcome(last) == Fleet.undisturbed(records: 120))
    }

    @Test func `a log that does not reach back to the checkpoint is refused`() throws {
        let fleet = try filled(0..<40)
        let worker = fleet.makeWorker(slot: 0, limits: Fleet.limits(checkpoint: 1_000))
        try fleet.drain(worker)
        for i in 40..<80 { try Fleet.append(i, to: fleet.log) }
        try fleet.drain(worker)
        worker.client.inner.leave()
        for partition in 0..<4 {
            try fleet.log.trim(
                TestTopic.input, partition: partition,
                before: fleet.log.endOffset(TestTopic.input, partition: partition))
        }
        let next = fleet.makeWorker(slot: 0, limits: Fleet.limits())
        let error = #expect(throws: Quarantine.self) { try next.turn() }
        #expect(error?.reason.contains("retention has passed it") == true)
    }

    @Test func `a log trimmed up to the checkpoint is enough`() throws {
        let fleet = try filled(0..<80)
        let worker = fleet.makeWorker(slot: 0, limits: Fleet.limits())
        try fleet.drain(worker)
        try worker.checkpointAll()
        worker.client.inner.leave()
        for partition in 0..<4 {
            try fleet.log.trim(
                TestTopic.input, partition: partition,
                before: fleet.log.endOffset(TestTopic.input, partition: partition))
        }
        for i in 80..<120 { try Fleet.append(i, to: fleet.log) }
        let next = fleet.makeWorker(slot: 0, limits: Fleet.limits())
        try fleet.drain(next)
        #expect(try fleet.outcome(next) == Fleet.undisturbed(records: 120))
    }

    @Test func `a group that was reset is refused`() throws {
        let fleet = try filled(0..<40)
        let worker = fleet.makeWorker(slot: 0, limits: Fleet.limits())
        try fleet.drain(worker)
        worker.client.inner.leave()
        fleet.log.commitOffset(group: Fleet.group, TestTopic.input, partition: 0, next: 1)
        let next = fleet.makeWorker(slot: 0, limits: Fleet.limits())
        let error = #expect(throws: Quarantine.self) { try next.turn() }
        #expect(error?.reason.contains("somebody reset the group") == true)
    }

    @Test func `a cap lower than the checkpoint's is refused`() throws {
        let fleet = try filled(0..<80)
        let worker = fleet.makeWorker(slot: 0, limits: Fleet.limits())
        try fleet.drain(worker)
        worker.client.inner.leave()
        let next = fleet.makeWorker(
            slot: 0, limits: Fleet.limits(), role: CounterRole(maximumRows: 2))
        let error = #expect(throws: Quarantine.self) { try next.turn() }
        #expect(error?.reason.contains("cap") == true)
    }

    @Test func `a zombie that wakes inside its commit publishes nothing`() throws {
        for point in [CrashPoint.beforeCommit, .insideCommit, .beforeEndOfCommit] {
            let fleet = try filled(0..<80)
            let zombie = fleet.makeWorker(slot: 0, limits: Fleet.limits())
            try zombie.turn()
            var other: Fleet.Worker?
            fleet.log.crashes = { at in
                guard at == point, other == nil else { return false }
                zombie.client.inner.leave()
                other = fleet.makeWorker(slot: 1, limits: Fleet.limits())
                #expect(throws: Never.self) { try fleet.drain(other!) }
                return false
            }
            #expect(throws: MemoryLogError.self, "\(point)") { try zombie.turn() }
            fleet.log.crashes = nil
            fleet.log.abortOpenTransactions()
            try fleet.drain(other!)
            #expect(try fleet.outcome(other!) == Fleet.undisturbed(records: 80), "\(point)")
        }
    }
}

@Suite struct CheckpointCodecTests {
    private let manifest = Manifest(
        position: Position(next: 7, ordinal: 5, rollingHash: Hash128(1, 2)), stepVersion: "v 1",
        tables: [.init(name: "users", rowBytes: 40, savedHash: 9, sequence: 3)])

    @Test func `a manifest comes back`() throws {
        var buffer = ByteBuffer()
        manifest.append(to: &buffer)
        #expect(try Manifest(buffer.slice) == manifest)
    }

    @Test func `every flipped or missing byte of a manifest is refused`() {
        var buffer = ByteBuffer()
        manifest.append(to: &buffer)
        let whole = buffer.slice.copy()
        for length in 0..<whole.count {
            #expect(throws: StateError.self) {
                try Array(whole[..<length]).lend { try Manifest($0) }
            }
        }
        for at in whole.indices {
            for bit in 0..<8 {
                var flipped = whole
                flipped[at] ^= 1 << UInt8(bit)
                #expect(throws: StateError.self) { try flipped.lend { try Manifest($0) } }
            }
        }
    }

    @Test func `a position of another length is refused`() {
        var buffer = ByteBuffer()
        manifest.position.append(to: &buffer)
        let whole = buffer.slice.copy()
        #expect(throws: Never.self) { try whole.lend { try Position($0) } }
        for length in [0, 31, 33] {
            #expect(throws: StateError.self) {
                try Array((whole + [0])[..<length]).lend { try Position($0) }
            }
        }
    }

    @Test func `keys of rows are read as they were written`() {
        for row in [0, 1, 0xDEAD_BEEF, UInt32.max] {
            var buffer = ByteBuffer()
            "g/1/".lend { prefix in
                "open/impressions".lend { CheckpointKey.appendRow(prefix, $0, row, to: &buffer) }
            }
            let parsed = CheckpointKey.parseRow(buffer.slice(from: "g/1/rows/".utf8.count))
            #expect(parsed?.row == row && parsed?.table.text == "open/impressions")
        }
        for text in ["", "t", "/00000000", "t/0000000", "t/0000000G", "t-00000000"] {
            #expect(text.lend { CheckpointKey.parseRow($0) } == nil || text == "/00000000")
        }
    }

    /// One committed checkpoint, every byte of every record of it altered or cut in turn.
    @Test func `every altered or cut byte of a checkpoint in the log is refused`() throws {
        let fleet = Fleet()
        for i in 0..<60 { try Fleet.append(i, to: fleet.log) }
        let worker = fleet.makeWorker(slot: 0, limits: Fleet.limits())
        try fleet.drain(worker)
        try worker.checkpointAll()
        worker.client.inner.leave()
        try fleet.log.compact()
        var records: [(key: [UInt8], value: [UInt8])] = []
        try fleet.log.read(TestTopic.checkpoints, partition: 3) {
            records.append(($0.key!.copy(), $0.value!.copy()))
        }
        #expect(records.count > 5)
        /// A log that holds these records only, and the same input.
        func recovered(_ records: [(key: [UInt8], value: [UInt8])]) throws {
            let copy = Fleet()
            for i in 0..<60 { try Fleet.append(i, to: copy.log) }
            for record in records {
                try record.key.lend { key in
                    try record.value.lend {
                        _ = try copy.log.append(
                            TestTopic.checkpoints, partition: 3, key: key, value: $0)
                    }
                }
            }
            copy.log.commitOffset(
                group: Fleet.group, TestTopic.input, partition: 3,
                next: try fleet.log.committedOffset(Fleet.group, TestTopic.input.rawValue, 3)!)
            try copy.makeWorker(slot: 0, limits: Fleet.limits()).turn()
        }
        #expect(throws: Never.self) { try recovered(records) }
        for i in records.indices {
            for at in records[i].value.indices {
                var altered = records
                altered[i].value[at] ^= 0x10
                #expect(throws: Quarantine.self, "record \(i), byte \(at)") {
                    try recovered(altered)
                }
                if at % 4 == 0 {
                    altered[i].value = Array(records[i].value[..<at])
                    #expect(throws: Quarantine.self) { try recovered(altered) }
                }
            }
            var lost = records
            lost.remove(at: i)
            #expect(throws: Quarantine.self, "without record \(i)") { try recovered(lost) }
        }
    }
}
