// Invariants 3, 5 and 6: a replay from a snapshot gives the hashes of the run; a bad file is refused.

import Bytes
import Foundation
import Testing

@testable import Streams

@Suite struct SnapshotTests {
    private func rows(_ state: CounterState) -> [[UInt32: [UInt8]]] {
        state.tables.map { table in
            var rows: [UInt32: [UInt8]] = [:]
            table.forEachRow { rows[$0] = $1.copy() }
            return rows
        }
    }

    @Test func `a replay from any snapshot or none meets the run at every publish point`() throws {
        let folder = TemporaryFolder()
        let fleet = Fleet()
        let worker = fleet.makeWorker(slot: 0, limits: Fleet.limits())
        var snapshots: [Snapshot] = []
        for i in 0..<300 {
            try Fleet.append(i, to: fleet.log)
            if i % 60 == 59 {
                try fleet.drain(worker)
                snapshots.append(
                    try worker.writeSnapshot(of: 2, to: folder.file("\(snapshots.count)")))
            }
        }
        try fleet.drain(worker)
        let whole = try worker.replay(from: nil, partition: 2, upTo: nil)
        #expect(whole.points.count > 3)
        #expect(whole.outputHash == worker.outputHash(of: 2))
        #expect(rows(whole.state) == rows(worker.state(of: 2)!))
        for (i, snapshot) in snapshots.enumerated() {
            #expect(try Snapshot(readingFrom: folder.file("\(i)")) == snapshot)
            let replay = try worker.replay(from: folder.file("\(i)"), partition: 2, upTo: nil)
            #expect(replay.points == whole.points.filter { $0.ordinal > snapshot.ordinal })
            #expect(replay.outputHash == whole.outputHash && replay.ordinal == whole.ordinal)
            #expect(rows(replay.state) == rows(whole.state))
            #expect(replay.state.counters.sequence == whole.state.counters.sequence)
            // Invariant 5: what stood at a later snapshot is met on the way.
            guard i + 1 < snapshots.count else { continue }
            let part = try worker.replay(
                from: folder.file("\(i)"), partition: 2, upTo: snapshots[i + 1].next)
            #expect(part.outputHash == snapshots[i + 1].outputHash)
            #expect(part.ordinal == snapshots[i + 1].ordinal)
        }
    }

    @Test func `a snapshot made after crashes is the one of an undisturbed run`() throws {
        let folder = TemporaryFolder()
        var fleet = Fleet()
        _ = try fleet.run(seed: 3, records: 200)
        let worker = fleet.makeWorker(slot: 1, limits: Fleet.limits())
        for worker in fleet.slots { worker?.client.inner.leave() }
        try worker.turn()
        let plain = Fleet()
        for i in 0..<200 { try Fleet.append(i, to: plain.log) }
        let other = plain.makeWorker(slot: 0, limits: Fleet.limits())
        try plain.drain(other)
        let partition = worker.ordinals.last!.partition
        let first = try worker.writeSnapshot(of: partition, to: folder.file("a"))
        let second = try other.writeSnapshot(of: partition, to: folder.file("b"))
        #expect(first == second)
        #expect(
            try Data(contentsOf: URL(fileURLWithPath: folder.file("a")))
                == Data(contentsOf: URL(fileURLWithPath: folder.file("b"))))
    }

    @Test func `every flipped or missing byte of a snapshot is refused with a sentence`() throws {
        let folder = TemporaryFolder()
        let fleet = Fleet()
        for i in 0..<30 { try Fleet.append(i, to: fleet.log) }
        let worker = fleet.makeWorker(slot: 0, limits: Fleet.limits())
        try fleet.drain(worker)
        _ = try worker.writeSnapshot(of: 3, to: folder.file("whole"))
        let whole = try Data(contentsOf: URL(fileURLWithPath: folder.file("whole")))
        let path = folder.file("bad")
        func refused(_ bytes: Data) throws {
            try bytes.write(to: URL(fileURLWithPath: path))
            let error = #expect(throws: StateError.self) {
                try Replay(role: CounterRole(), snapshot: path)
            }
            #expect(error?.description.hasPrefix("snapshot \(path) ") == true)
        }
        for at in whole.indices {
            var flipped = whole
            flipped[at] ^= 1 << UInt8(at % 8)
            try refused(flipped)
        }
        for length in stride(from: 0, to: whole.count, by: 3) { try refused(whole[..<length]) }
        try refused(whole + Data([0]))
    }

    @Test func `a snapshot of another step version, layout or partition is refused`() throws {
        let folder = TemporaryFolder()
        let fleet = Fleet()
        for i in 0..<80 { try Fleet.append(i, to: fleet.log) }
        let worker = fleet.makeWorker(slot: 0, limits: Fleet.limits())
        try fleet.drain(worker)
        let path = folder.file("s")
        _ = try worker.writeSnapshot(of: 3, to: path)
        #expect(throws: StateError.self) {
            try Replay(role: CounterRole(stepVersion: "counter 2"), snapshot: path)
        }
        #expect(throws: StateError.self) {
            try Replay(role: CounterRole(maximumRows: 1), snapshot: path)
        }
        #expect(throws: StateError.self) {
            try worker.replay(from: path, partition: 2, upTo: nil)
        }
        #expect(throws: StateError.self) { try Snapshot(readingFrom: folder.file("none")) }
    }

    @Test func `a snapshot that cannot be written leaves nothing behind`() throws {
        let folder = TemporaryFolder()
        let fleet = Fleet()
        for i in 0..<30 { try Fleet.append(i, to: fleet.log) }
        let worker = fleet.makeWorker(slot: 0, limits: Fleet.limits())
        try fleet.drain(worker)
        #expect(throws: StateError.self) {
            try worker.writeSnapshot(of: 1, to: folder.file("none/s"))
        }
        // A folder stands in its place: the rename fails.
        try FileManager.default.createDirectory(
            atPath: folder.file("s/x"), withIntermediateDirectories: true)
        #expect(throws: StateError.self) { try worker.writeSnapshot(of: 1, to: folder.file("s")) }
        #expect(throws: StateError.self) { try worker.writeSnapshot(of: 9, to: folder.file("t")) }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["s"])
    }
}
