// Any schedule of crashes leaves what an undisturbed run leaves, byte for byte (design §1).

import Bytes
import Contracts
import EmbeddedFleet
import FleetSettings
import Foundation
import JSON
import Simulation
import Streams
import Testing

@testable import Finetune

/// A small fleet in bad weather: everything that can arrive arrives, and checkpoints are due often.
private func makeInput(seed: UInt64, domains: Int, encoder: String) throws -> TestInput {
    var simulation = SimulationSettings.tiny(seed: seed, impressions: 120, domains: domains)
    simulation.seconds = 40
    let input = try TestInput(SimulatedLog(simulation))
    _ = try input.set([
        "roles.enrich.collect_records": "\(3 + seed % 30)",
        "roles.finetune.collect_records": "\(2 + seed % 40)",
        "roles.enrich.checkpoint_records": "\(5 + seed % 60)",
        "roles.finetune.checkpoint_records": "\(4 + seed % 90)",
        "publish_period_ms": seed % 2 == 0 ? "250" : "2000",
        "domain_defaults.correction_horizon_s": seed % 3 == 0 ? "5" : "3600",
        "domain_defaults.publish.head_queries": seed % 4 == 0 ? "3" : "100",
        "text.encoder": encoder, "text.dimension": "8",
    ])
    return input
}

/// Runs a fleet through a storm; says what differs from the run without one.
private func differences(
    seed: UInt64, domains: Int, events: Int, domainLog: Int, encoder: String = "ngrams",
    limit: Int = 25
) throws -> [String] {
    let input = try makeInput(seed: seed, domains: domains, encoder: encoder)
    let layout = FleetLayout(
        events: events, domainLog: domainLog, linesPerTurn: 20 + Int(seed % 50))
    let calm = try input.fleet(layout)
    try calm.run(input.catalogFirst)
    let stormy = try input.fleet(layout)
    let storm = Storm(seed: seed, limit: limit)
    do {
        try storm.run(stormy, input.catalogFirst)
    } catch let quarantine as Quarantine {
        return ["\(quarantine)"]
    }
    var found: [String] = []
    if storm.crashes == 0 { found.append("nothing was struck") }
    if events == 1, domainLog == 1, encoder == "none" {
        found += try Leavings(calm.log).differences(Leavings(stormy.log))
    } else {
        found += try enrichDifferences(calm.log, stormy.log)
        // Of several sources that ask for a text the first decides its time.
        if events == 1 { found += try encodeDifferences(calm.log, stormy.log) }
    }
    for partition in 0..<domainLog {
        found += try finetuneDifferences(stormy, partition)
    }
    return found
}

/// For each (source, domain-log partition), the sequence of enrich's records is the same.
private func enrichDifferences(_ calm: MemoryLog, _ stormy: MemoryLog) throws -> [String] {
    func bySource(_ log: MemoryLog) throws -> [String: [String]] {
        var sequences: [String: [String]] = [:]
        for partition in 0..<log.partitionCount(Topic.domainLog) {
            for record in try Leavings.records(log, .domainLog, partition) {
                guard let at = record.range(of: "\"source\":") else { continue }
                let source = record[at.upperBound...].prefix { $0.isNumber }
                sequences["source \(source) in domain-log/\(partition)", default: []].append(record)
            }
        }
        return sequences
    }
    let (expected, found) = (try bySource(calm), try bySource(stormy))
    return Set(expected.keys).union(found.keys).sorted().compactMap {
        difference($0, expected[$0] ?? [], found[$0] ?? [])
    }
}

/// Items, and texts with their vectors, are the same ones in every partition, each as often.
private func encodeDifferences(_ calm: MemoryLog, _ stormy: MemoryLog) throws -> [String] {
    try (0..<calm.partitionCount(Topic.domainLog)).compactMap { partition in
        func written(_ log: MemoryLog) throws -> [String] {
            try Leavings.records(log, .domainLog, partition)
                .filter { $0.contains("\"encoder\":") || $0.contains("\"kind\":\"item\"") }.sorted()
        }
        return difference("encode in \(partition)", try written(calm), try written(stormy))
    }
}

/// Finetune is a pure function of the committed domain-log: outputs and state of a new one are equal.
private func finetuneDifferences(_ fleet: EmbeddedFleet, _ partition: Int) throws -> [String] {
    let again = FinetuneAgain(fleet.settings, layout: fleet.layout, partition: partition)
    try again.run(over: fleet.log)
    let left = try outputsOfFinetune(fleet.log, partition: partition)
    var found: [String] = Set(again.outputs.keys).union(left.keys).sorted().compactMap {
        difference(
            "finetune \(partition): \($0)",
            (again.outputs[$0] ?? []).filter {
                !$0.hasSuffix(" gone") || fleet.layout.domainLogPartitions == 1
            },
            (left[$0] ?? []))
    }
    guard let state = fleet.finetune.state(of: partition) else {
        return found + ["finetune does not own partition \(partition)"]
    }
    found += FinetuneAgain.differences(again.state, state).map { "finetune \(partition): \($0)" }
    return found
}

@Suite struct CrashTests {
    @Test(arguments: 1...200 as ClosedRange<UInt64>)
    func `with one partition everything is the same bytes end to end`(seed: UInt64) throws {
        // A query's vector comes from encode, beside what enrich writes, so a crash moves it.
        let found = try differences(
            seed: seed, domains: 3, events: 1, domainLog: 1, encoder: "none")
        #expect(found.isEmpty, "seed \(seed): \(found.joined(separator: "\n"))")
    }

    @Test(arguments: 241...280 as ClosedRange<UInt64>)
    func `with vectors on their way every role's own records are the same`(seed: UInt64) throws {
        let found = try differences(seed: seed, domains: 3, events: 1, domainLog: 1)
        #expect(found.isEmpty, "seed \(seed): \(found.joined(separator: "\n"))")
    }

    @Test(arguments: 201...240 as ClosedRange<UInt64>)
    func `with more partitions enrich's sequences and finetune's function of its log are the same`(
        seed: UInt64
    ) throws {
        let found = try differences(seed: seed, domains: 5, events: 3, domainLog: 3)
        #expect(found.isEmpty, "seed \(seed): \(found.joined(separator: "\n"))")
    }
}
