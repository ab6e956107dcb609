// The judge: steps over the committed inputs again, and compares what comes out with what is in the topics.

import Bytes
import Contracts
import EmbeddedFleet
import Enrich
import Finetune
import FleetSettings
import JSON
import KafkaTransactions
import Streams
import Testing

@testable import KafkaFleet

/// A committed record.
struct CommittedRecord: Equatable {
    var key: [UInt8]?
    var value: [UInt8]?
    var headers: [UInt8] = []
    var timestamp: Int64 = 0

    /// What must be equal: headers carry what may differ.
    func isSame(as other: CommittedRecord) -> Bool { key == other.key && value == other.value }
}

/// All committed records of a fleet, and whether its outputs follow from its inputs.
///
/// Nothing of a log, a checkpoint or a recovery helps here: a new state steps over the records in
/// order. Compared are keys and values, in order, for each partition of the input and of the output.
struct Verifier {
    let fleet: KafkaFleet
    /// By topic and partition; open to tests that plant faults.
    var records: [Topic: [[CommittedRecord]]] = [:]

    /// Reads every topic with a read-committed reader.
    init(reading under: FleetUnderTest) throws {
        fleet = under.fleet
        let offsets = try Offsets(fleet.client, group: "judge")
        for topic in Topic.allCases {
            let places = (0..<under.partitions(of: topic)).map {
                TopicPartition(fleet.topics[topic], $0)
            }
            // The markers of the last commits follow their answers.
            var bounds = try offsets.offsets(of: places)
            let patience = ContinuousClock.now + .seconds(30)
            while !bounds.values.allSatisfy(\.isSettled), ContinuousClock.now < patience {
                bounds = try offsets.offsets(of: places)
            }
            let isSettled = bounds.values.allSatisfy { $0.isSettled }
            #expect(isSettled, "\(topic.name) has an open transaction")
            records[topic] = try places.map {
                try Self.read($0, upTo: bounds[$0]!.end, fleet.client)
            }
        }
    }

    private static func read(
        _ place: TopicPartition, upTo end: Int64, _ client: ClientProperties
    ) throws -> [CommittedRecord] {
        guard end > 0 else { return [] }
        var settings = ConsumerSettings(client: client, group: "judge")
        settings.reportsEnds = true
        let consumer = try Consumer(settings)
        try consumer.assign([Position(place, 0)])
        var result: [CommittedRecord] = []
        let deadline = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < deadline {
            switch try consumer.poll(timeoutMilliseconds: 200) {
            case .record(let record):
                let view = record.view
                if view.endsRemains { continue }
                var headers = ByteBuffer()
                view.forEachHeader { Headers.append($0, $1 ?? .empty, to: &headers) }
                result.append(
                    CommittedRecord(
                        key: view.key?.copy(), value: view.value?.copy(),
                        headers: headers.slice.copy(), timestamp: view.timestamp ?? 0))
            case .end(let position): if position.offset >= end { return result }
            default: break
            }
        }
        Issue.record("\(place) could not be read")
        return result
    }

    // What must have come out

    private struct Place: Hashable {
        var topic: Topic
        var partition: Int
    }

    private struct Outcome {
        var outputs: [Place: [CommittedRecord]] = [:]
        var ordinal: Int64 = 0
        var hash = Hash128.zero
    }

    private func recompute<Role: Step>(
        _ role: Role, _ input: Topic, _ partition: Int
    ) -> Outcome {
        let state = role.makeState(partition: partition)
        state.rebuild()
        var outcome = Outcome()
        var outbox = Outbox()
        for record in records[input]![partition] {
            outbox.removeAll()
            lend(record.key) { key in
                lend(record.value) { value in
                    record.headers.lend { headers in
                        var next = Record(
                            topic: input.rawValue, partition: partition, offset: outcome.ordinal,
                            timestamp: record.timestamp, key: key, value: value,
                            headers: Headers(encoded: headers))
                        next.ordinal = outcome.ordinal
                        role.step(state, next, into: &outbox)
                    }
                }
            }
            outcome.ordinal += 1
            for entry in outbox.entries {
                let topic = Topic(rawValue: entry.topic)!
                let key = outbox.key(of: entry)
                let at =
                    entry.partition ?? Murmur2.partition(key!, of: records[topic]!.count)
                outcome.outputs[Place(topic: topic, partition: at), default: []].append(
                    CommittedRecord(key: key?.copy(), value: outbox.value(of: entry)?.copy()))
            }
        }
        outcome.hash = outbox.rollingHash
        return outcome
    }

    private func lend(_ bytes: [UInt8]?, _ body: (ByteSlice?) -> Void) {
        if let bytes { bytes.lend { body($0) } } else { body(nil) }
    }

    /// Everything that is not as it must be; empty is exactly once.
    func differences() throws -> [String] {
        try enrichDifferences() + finetuneDifferences()
    }

    // Enrich: per source partition and partition of domain-log. Texts name no source: what all sources
    // wrote must be there, each as often.

    private func enrichDifferences() throws -> [String] {
        var result: [String] = []
        let domainLogPartitions = records[.domainLog]!.count
        let sources = records[.domainLog]!.map { $0.map { number("source", of: $0) } }
        var texts: [String: [CommittedRecord]] = [:]
        for partition in records[.events]!.indices {
            let role = fleet.enrichRole(domainLogPartitions: domainLogPartitions)
            let outcome = recompute(role, .events, partition)
            result += try positionDifferences("enrich", partition, outcome)
            for target in 0..<domainLogPartitions {
                let found = zip(records[.domainLog]![target], sources[target])
                    .filter { $0.1 == Int64(partition) }.map(\.0)
                let place = Place(topic: .domainLog, partition: target)
                result += difference(
                    "enrich \(partition) in domain-log/\(target)",
                    (outcome.outputs[place] ?? []).filter { !isText($0) }, found)
                texts["texts in domain-log/\(target)", default: []] +=
                    (outcome.outputs[place] ?? []).filter(isText)
            }
            let letters = records[.deadLetters]!.joined().filter {
                number("partition", of: $0) == Int64(partition) && number("line", of: $0) == nil
            }
            let expected = outcome.outputs.filter { $0.key.topic == .deadLetters }
            result += difference(
                "dead letters of enrich \(partition)",
                expected.sorted { $0.key.partition < $1.key.partition }.flatMap(\.value), letters)
            texts["texts", default: []] += outcome.outputs.filter { $0.key.topic == .texts }
                .flatMap(\.value)
        }
        func sorted(_ records: [CommittedRecord]) -> [CommittedRecord] {
            records.sorted { ($0.value ?? []).lexicographicallyPrecedes($1.value ?? []) }
        }
        for target in 0..<domainLogPartitions {
            let what = "texts in domain-log/\(target)"
            result += difference(
                what, sorted(texts[what] ?? []), sorted(records[.domainLog]![target].filter(isText))
            )
        }
        return result
            + difference(
                "texts", sorted(texts["texts"] ?? []), sorted(records[.texts]!.flatMap { $0 }))
    }

    /// What enrich writes of a new query; a text with a vector is encode's.
    private func isText(_ record: CommittedRecord) -> Bool {
        record.value?.lend {
            $0.text.contains("\"kind\":\"text\"") && !$0.text.contains("\"vector\":")
        } ?? false
    }

    private func number(_ name: String, of record: CommittedRecord) -> Int64? {
        record.value.flatMap { try? $0.lend { try JSONValue(parsing: $0) }[name]?.integer }
    }

    // Finetune: per partition of domain-log

    private static let finetuneTopics: [Topic] = [
        .scores, .domainStatistics, .evaluations, .examples, .heads,
    ]

    private func finetuneDifferences() throws -> [String] {
        var result: [String] = []
        let partitions = records[.domainLog]!.count
        // A domain lives in one partition, so keys say who wrote: tombstones say nothing else.
        var owners: [Place: [[UInt8]?: Int]] = [:]
        var outcomes: [Outcome] = []
        for partition in 0..<partitions {
            let outcome = recompute(
                fleet.finetuneRole(domainLogPartitions: partitions), .domainLog, partition)
            result += try positionDifferences("finetune", partition, outcome)
            for (place, outputs) in outcome.outputs where place.topic != .domainLog {
                for output in outputs { owners[place, default: [:]][output.key] = partition }
            }
            outcomes.append(outcome)
        }
        for topic in Self.finetuneTopics {
            for (at, found) in records[topic]!.enumerated() {
                let place = Place(topic: topic, partition: at)
                for (partition, outcome) in outcomes.enumerated() {
                    result += difference(
                        "finetune \(partition) in \(topic.name)/\(at)",
                        outcome.outputs[place] ?? [],
                        found.filter { owners[place]?[$0.key] == partition })
                }
                let strays = found.filter { owners[place]?[$0.key] == nil }
                if !strays.isEmpty {
                    result.append("\(topic.name)/\(at): \(strays.count) records that nobody writes")
                }
            }
        }
        for target in 0..<partitions {
            let priors = records[.domainLog]![target].filter {
                $0.value?.lend { $0.text.contains("\"kind\":\"prior\"") } ?? false
            }
            for (partition, outcome) in outcomes.enumerated() {
                let place = Place(topic: .domainLog, partition: target)
                result += difference(
                    "priors of \(partition) for \(target)", outcome.outputs[place] ?? [],
                    priors.filter { number("sender", of: $0) == Int64(partition) })
            }
        }
        return result
    }

    // Comparing

    /// Ordinal and hash of all outputs as the worker wrote them with its last commit.
    private func positionDifferences(
        _ role: String, _ partition: Int, _ outcome: Outcome
    ) throws -> [String] {
        let key = Array("\(fleet.settings.fleet).\(role)/\(partition)/position".utf8)
        let position = records[.checkpoints]![partition].last { $0.key == key }?.value
        guard let position else {
            return outcome.ordinal == 0 ? [] : ["\(role) \(partition) has no position record"]
        }
        let (ordinal, hash) = position.withUnsafeBytes {
            (
                $0.loadUnaligned(fromByteOffset: 8, as: Int64.self),
                $0.loadUnaligned(fromByteOffset: 16, as: Hash128.self)
            )
        }
        var result: [String] = []
        if ordinal != outcome.ordinal {
            result.append("\(role) \(partition): ordinal \(ordinal) of \(outcome.ordinal)")
        }
        if hash != outcome.hash {
            result.append("\(role) \(partition): the hash of its outputs is another")
        }
        return result
    }

    private func difference(
        _ what: String, _ expected: [CommittedRecord], _ found: [CommittedRecord]
    ) -> [String] {
        func text(_ record: CommittedRecord?) -> String {
            guard let record else { return "nothing" }
            let value = record.value.map { String(decoding: $0.prefix(160), as: UTF8.self) }
            return value ?? "a tombstone"
        }
        let count = max(expected.count, found.count)
        for i in 0..<count {
            let (a, b) = (
                i < expected.count ? expected[i] : nil, i < found.count ? found[i] : nil
            )
            if let a, let b, a.isSame(as: b) { continue }
            return [
                "\(what): \(found.count) records, \(expected.count) expected; number \(i) is "
                    + "\(text(b)), expected \(text(a))"
            ]
        }
        return []
    }
}

/// Shows what differs, which `#expect` would leave out.
func expectNone(_ differences: [String], _ context: String = "") {
    if !differences.isEmpty {
        Issue.record("\(context) \(differences.joined(separator: "\n"))")
    }
}
