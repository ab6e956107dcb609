// The first head on RankLens, recomputed from examples; needs the data set and a release build.

import Bytes
import Contracts
import EmbeddedFleet
import FleetSettings
import Foundation
import Gateway
import JSON
import Simulation
import Streams
import Testing

private let source: String? = {
    guard let folder = ProcessInfo.processInfo.environment["COLDSTREAM_RANKLENS"], !folder.isEmpty
    else {
        print(
            "SKIPPED: COLDSTREAM_RANKLENS does not name a folder with RankLens; its checks did not run"
        )
        return nil
    }
    #if DEBUG
        print("SKIPPED: the checks on RankLens run in release builds alone")
        return nil
    #else
        return folder
    #endif
}()

@Suite(.serialized, .enabled(if: source != nil)) struct RankLensTests {
    /// RankLens as an input, imported once.
    private final class Imported: @unchecked Sendable {
        static let shared = Result { try Imported() }
        let folder = TestFolder()
        let settings: FleetSettings

        init() throws {
            _ = try RankLensImport.run(from: source!, to: folder.path, compressed: false)
            settings = try FleetSettings(
                parsing: Array(folder.contents("coldstream.json")!), file: "coldstream.json")
        }

        func run(
            _ layout: FleetLayout, keepsDomainLog: Bool = false
        ) throws -> (EmbeddedFleet, Prequential) {
            let fleet = try EmbeddedFleet(
                settings, layout: layout, log: MemoryLog(topics: layout.topics))
            var input = IngestInput(
                name: "ranklens", events: "\(folder.path)/events.jsonl",
                catalog: "\(folder.path)/catalog.jsonl")
            input.closes = true
            var prequential = Prequential()
            try fleet.run([input]) {
                try prequential.drain(fleet.log, keepsLog: false)
                if keepsDomainLog {
                    try fleet.log.compact(after: 32 << 20)
                } else {
                    try fleet.trim()
                }
            }
            try prequential.drain(fleet.log, keepsLog: false)
            return (fleet, prequential)
        }
    }

    /// The suite is serialized: one thread at a time looks at it.
    nonisolated(unsafe) private static let one = Result {
        try Imported.shared.get().run(FleetLayout(events: 1, domainLog: 1), keepsDomainLog: true)
    }

    private func say(_ name: String, _ run: Prequential) -> (auc: Double, gauc: Double) {
        let all = run.predictions
        let first = Prequential.firstFifth(all)
        let (auc, gauc) = (Prequential.auc(all), Prequential.gauc(all))
        print(
            "RankLens, \(name): \(all.count) impressions, AUC \(auc), GAUC \(gauc), first fifth "
                + "\(Prequential.auc(first)), calibration \(Prequential.calibration(all)), first fifth "
                + "\(Prequential.calibration(first))")
        return (auc, gauc)
    }

    @Test func `the first head reaches what the issue asks for`() throws {
        let (fleet, run) = try Self.one.get()
        let (auc, gauc) = say("one partition", run)
        #expect(auc >= 0.768)
        #expect(gauc >= 0.730)
        #expect(Prequential.auc(Prequential.firstFifth(run.predictions)) >= 0.718)
        #expect((0.95...1.05).contains(Prequential.calibration(run.predictions)))
        let summary = RunSummary(fleet)
        #expect(abs(summary.overall.report.auc! - auc) < 0.001, "the summary says the same")
        #expect(abs(summary.overall.report.gauc! - gauc) < 0.001)
        #expect(
            abs(summary.overall.report.calibration! - Prequential.calibration(run.predictions))
                < 0.001)
        #expect(summary.used == summary.events && summary.deadLetters == 0)
    }

    @Test func `nine partitions lose no more than .003`() throws {
        let (_, one) = try Self.one.get()
        let (_, many) = try Imported.shared.get().run(FleetLayout(events: 4, domainLog: 9))
        let (auc, gauc) = say("events=4,domain-log=9", many)
        #expect(many.predictions.count == one.predictions.count)
        #expect(auc >= Prequential.auc(one.predictions) - 0.003)
        #expect(gauc >= Prequential.gauc(one.predictions) - 0.003)
    }

    @Test func `shuffled labels cannot be predicted`() throws {
        let (fleet, _) = try Self.one.get()
        var records: [[UInt8]] = []
        var labels: [Int] = []
        var values: [[UInt8]] = []
        try fleet.log.read(Topic.domainLog, partition: 0) { record in
            let bytes = record.value!.copy()
            if bytes.lend({ $0.text }).contains("\"kind\":\"label\"") {
                labels.append(records.count)
                values.append(bytes)
            }
            records.append(bytes)
        }
        // Values change places; everything else of a label stays.
        let ones = values.map { String(decoding: $0, as: UTF8.self).contains("\"value\":1") }
        var random = ShuffleRandom(state: 7)
        let shuffled = ones.shuffled(using: &random)
        for (i, at) in labels.enumerated() {
            let text = String(decoding: records[at], as: UTF8.self)
            let value = shuffled[i] ? "\"value\":1" : "\"value\":0"
            records[at] = Array(
                text.replacing("\"value\":\(ones[i] ? 1 : 0)", with: value).utf8)
        }
        let again = FinetuneAgain(
            fleet.settings, layout: fleet.layout, partition: 0, keepsOutputs: false)
        var run = Prequential()
        for (i, bytes) in records.enumerated() {
            for (topic, value) in again.step(bytes, offset: Int64(i)) where topic == .examples {
                run.take(try JSONValue(parsing: value))
            }
        }
        let (auc, gauc) = say("shuffled labels", run)
        #expect(abs(auc - 0.5) < 0.01)
        #expect(abs(gauc - 0.5) < 0.01)
    }
}

/// A generator for `shuffled`.
private struct ShuffleRandom: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state ^ state >> 31
    }
}
