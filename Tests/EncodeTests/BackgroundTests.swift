// Vectors made on a thread of their own: a slow encoder holds nobody up, a failing one tries again.

import Bytes
import Contracts
import Dispatch
import Encode
import Streams
import Synchronization
import TextEncoding
import Testing

/// An encoder that waits at a gate, fails as long as it is told to, and counts its calls.
private final class GatedEncoder: TextEncoder, @unchecked Sendable {
    let identity = EncoderIdentity(name: "gated", hash: 0xA1)
    let dimension = 4
    let gate = DispatchSemaphore(value: 0)
    let calls = Atomic(0)
    let failures = Atomic(0)
    private let seen = Mutex<[String]>([])

    var encoded: [String] { seen.withLock { $0 } }

    func encode(_ texts: [[UInt8]], into vectors: UnsafeMutableBufferPointer<Float>) throws {
        gate.wait()
        calls.add(1, ordering: .sequentiallyConsistent)
        if failures.load(ordering: .sequentiallyConsistent) > 0 {
            failures.subtract(1, ordering: .sequentiallyConsistent)
            throw EncoderIsAway()
        }
        for (row, bytes) in texts.enumerated() {
            let text = String(decoding: bytes, as: UTF8.self)
            seen.withLock { $0.append(text) }
            for (i, value) in CountingEncoder.vector(text, 0xA1).enumerated() {
                vectors[row * 4 + i] = value
            }
        }
    }
}

@Suite struct BackgroundTests {
    private func turns(_ run: VectorRun, _ maker: BackgroundVectorMaker, until isDone: () -> Bool)
        throws
    {
        let deadline = ContinuousClock.now + .seconds(30)
        repeat { try run.encode.turn() } while !isDone() && ContinuousClock.now < deadline
    }

    @Test func `a slow encoder holds up no item, and its vectors come behind`() throws {
        let encoder = GatedEncoder()
        let maker = BackgroundVectorMaker(encoder, batch: 2)
        let run = try VectorRun(domainLog: 1)
        run.settings.patienceMilliseconds = 1
        try run.restart(maker: maker)
        for i in 0..<9 { try run.item("i\(i)", "t\(i % 5)") }
        for _ in 0..<4 { try run.encode.turn() }
        #expect(try run.sent().count == 9)
        #expect(try run.sent().allSatisfy { $0.vector == nil })
        #expect(run.encode.owed == 9)
        for _ in 0..<100 { encoder.gate.signal() }
        try turns(run, maker) { run.encode.owed == 0 }
        #expect(run.encode.owed == 0)
        #expect(try run.sent().filter { $0.vector != nil }.count == 9)
        #expect(encoder.encoded.sorted() == ["t0", "t1", "t2", "t3", "t4"], "each text once")
        maker.stop()
    }

    @Test func `a failing encoder is tried again by itself, after growing waits`() throws {
        let encoder = GatedEncoder()
        encoder.failures.store(3, ordering: .sequentiallyConsistent)
        for _ in 0..<100 { encoder.gate.signal() }
        let waits = Mutex<[Int]>([])
        let maker = BackgroundVectorMaker(encoder, batch: 8) { failures in
            waits.withLock { $0.append(failures) }
            return 1
        }
        let run = try VectorRun(domainLog: 1)
        try run.restart(maker: maker)
        try run.item("a", "a")
        try turns(run, maker) {
            encoder.calls.load(ordering: .sequentiallyConsistent) >= 4 && run.encode.owed == 0
                && run.encode.counts.items > 0
        }
        #expect(waits.withLock { $0 } == [1, 2, 3])
        #expect(maker.counts.failures == ["unreachable": 3])
        #expect(maker.counts.lastError == nil)
        #expect(try run.sent().last?.vector == CountingEncoder.vector("a", 0xA1))
        maker.stop()
    }

    @Test func `a maker that is stopped ends its thread`() {
        let encoder = GatedEncoder()
        encoder.gate.signal()
        let maker = BackgroundVectorMaker(encoder, batch: 8)
        maker.stop()
        "a".lend { maker.request(Hash128.zero, $0) }
        #expect(maker.take(patienceMilliseconds: 1).isEmpty)
        #expect(encoder.calls.load(ordering: .sequentiallyConsistent) == 0)
    }
}
