// How long a takeover and a recovery take on a real broker. Run with
//
//   swift build -c release --product CountingWorker
//   COLDSTREAM_COUNTING_WORKER=.build/release/CountingWorker COLDSTREAM_MEASURE_RUNS=20 \
//     KAFKA_HOME=… swift test --filter 'KafkaMeasurements'

import Foundation
import JSON
import KafkaTestBroker
import Testing

@testable import WorkerRuntime

@Suite(.serialized, .enabled(if: RealBroker.isAvailable, Comment(rawValue: RealBroker.absence)))
struct KafkaMeasurements {
    static let runs =
        ProcessInfo.processInfo.environment["COLDSTREAM_MEASURE_RUNS"].flatMap { Int($0) }

    let fleet: Fleet

    init() throws { fleet = try Fleet(RealBroker.shared()) }

    func milliseconds(since start: ContinuousClock.Instant) -> Double {
        let taken = (ContinuousClock.now - start).components
        return Double(taken.seconds) * 1e3 + Double(taken.attoseconds) / 1e15
    }

    func report(_ what: String, _ times: [Double]) {
        let sorted = times.sorted()
        func at(_ part: Double) -> Int {
            Int(sorted[min(sorted.count - 1, Int((Double(sorted.count) * part).rounded(.up)) - 1)])
        }
        print(
            "\(what): \(sorted.count) runs, median \(at(0.5)) ms, p95 \(at(0.95)) ms, "
                + "most \(Int(sorted.last!)) ms")
    }

    @Test(.enabled(if: runs != nil, "COLDSTREAM_MEASURE_RUNS is not set"))
    func `a killed worker's own slot is back at work within three seconds`() throws {
        try fleet.start(slot: 0)
        try fleet.start(slot: 1)
        try fleet.feedAndProveWork(4_000)
        var times: [Double] = []
        for _ in 0..<Self.runs! {
            try fleet.feedAndProveWork(2_000)
            try fleet.drain()
            try fleet.feed(2_000)
            let before = try fleet.committed()
            let start = ContinuousClock.now
            fleet.signal(slot: 1, SIGKILL)
            try fleet.feed(2_000)
            // Back at work: every partition has gone on, the killed worker's too.
            while try zip(before, fleet.committed()).contains(where: { $0 >= $1 }) {
                try fleet.tend()
            }
            times.append(milliseconds(since: start))
        }
        report("takeover by the same slot after kill -9", times)
        try fleet.drain()
        for slot in 0..<2 { #expect(fleet.stop(slot: slot) == 0) }
        #expect(try fleet.differences() == [])
        #expect(times.sorted()[times.count * 95 / 100 - 1] <= 3_000)
    }

    @Test(.enabled(if: runs != nil, "COLDSTREAM_MEASURE_RUNS is not set"))
    func `another slot takes over when the session has ended`() throws {
        try fleet.start(slot: 0)
        var times: [Double] = []
        for _ in 0..<max(10, Self.runs! / 2) {
            try fleet.start(slot: 1)
            let joined = try fleet.committed()
            while try zip(joined, fleet.committed()).contains(where: { $0 >= $1 })
                || !fleet.isAssigned(slot: 1)
            {
                try fleet.feed(100)
            }
            try fleet.drain()
            try fleet.feed(2_000)
            let before = try fleet.committed()
            let start = ContinuousClock.now
            fleet.end(slot: 1)
            try fleet.feed(2_000)
            while try zip(before, fleet.committed()).contains(where: { $0 >= $1 }) {}
            times.append(milliseconds(since: start))
        }
        report("takeover by another slot after kill -9 (session 6 s, transaction 5 s)", times)
        try fleet.drain()
        #expect(fleet.stop(slot: 0) == 0)
        #expect(try fleet.differences() == [])
    }

    @Test(
        .enabled(if: runs != nil, "COLDSTREAM_MEASURE_RUNS is not set"),
        arguments: [10_000, 100_000, 1_000_000])
    func `a recovery takes its time and memory by the keys of its state`(keys: Int) throws {
        try fleet.start(slot: 0)
        try fleet.feed(keys, keys: keys)
        try fleet.drain(within: 300)
        #expect(fleet.stop(slot: 0) == 0)
        for round in ["after SIGTERM", "after kill -9"] {
            let start = ContinuousClock.now
            let restored = fleet.assignments(of: 0)
            try fleet.start(slot: 0)
            while fleet.assignments(of: 0) == restored {}
            let time = milliseconds(since: start)
            let (now, most) = fleet.memory(slot: 0)
            print(
                "recovery \(round), \(keys) keys in \(fleet.partitions) partitions: "
                    + "\(Int(time)) ms, \(now) MB resident, \(most) MB at most")
            // Something to replay for the next round.
            try fleet.feedAndProveWork(4_000)
            fleet.end(slot: 0)
        }
    }
}
