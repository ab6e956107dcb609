// What every test of finetune works with: records of a domain-log from a few words, stepped over by hand.

import Bytes
import Contracts
import Foundation
import JSON
import Streams

@testable import Finetune

/// One partition of a domain-log and the finetune that owns it.
final class FinetuneRun {
    struct Output {
        var topic: Topic
        var partition: Int?
        var key: String?
        /// nil: a tombstone.
        var value: JSONValue?
    }

    let role: FinetuneStep
    private(set) var state: FinetuneState
    private var outbox = Outbox()
    private(set) var ordinal: Int64 = 0
    private(set) var outputs: [Output] = []
    /// Every record as bytes, for another run to step over.
    private(set) var records: [[UInt8]] = []

    /// - Parameter settings: changes the settings of the first record; nil: no such record.
    init(
        caps: FinetuneCaps = .small, partitions: Int = 1, partition: Int = 0, hashBits: Int = 12,
        settings change: ((inout FinetuneSettings) -> Void)? = { _ in }
    ) {
        role = FinetuneStep(caps: caps, domainLogPartitions: partitions, hashBits: hashBits)
        state = role.makeState(partition: partition)
        state.rebuild()
        guard let change else { return }
        var settings = FinetuneSettings()
        change(&settings)
        self.settings(settings)
    }

    /// Steps over a record; returns what it gives.
    @discardableResult
    func step(_ bytes: [UInt8]) -> [Output] {
        records.append(bytes)
        outbox.removeAll()
        bytes.lend { value in
            role.step(
                state,
                Record(
                    topic: Topic.domainLog.rawValue, partition: state.partition, offset: ordinal,
                    timestamp: 0, ordinal: ordinal, key: nil, value: value),
                into: &outbox)
        }
        ordinal += 1
        let given = outbox.entries.map { entry in
            Output(
                topic: Topic(rawValue: entry.topic)!, partition: entry.partition,
                key: outbox.key(of: entry)?.text,
                value: outbox.value(of: entry).map { try! JSONValue(parsing: $0) })
        }
        outputs += given
        return given
    }

    @discardableResult
    func step(_ members: [(String, JSONValue?)]) -> [Output] {
        step(
            JSONValue.object(members.compactMap { m in m.1.map { JSONMember(m.0, $0) } })
                .canonicalBytes)
    }

    /// Puts the state into rows and back, as a checkpoint and a recovery do.
    func recover() {
        let copy = role.makeState(partition: state.partition)
        for (from, to) in zip(state.tables, copy.tables) {
            from.forEachRow { row, bytes in try! to.restoreRow(row, bytes) }
            to.finishRestore(sequence: from.sequence)
        }
        copy.rebuild()
        state = copy
    }

    // Records

    @discardableResult
    func settings(_ settings: FinetuneSettings, time: Int64 = 0) -> [Output] {
        let bytes = settings.canonical
        return step([
            ("kind", .text("settings")), ("time_ms", .integer(time)),
            ("hash", .text(bytes.lend { SHA256.hex($0) })),
            ("settings", bytes.lend { try! JSONValue(parsing: $0) }),
        ])
    }

    @discardableResult
    func impression(
        _ id: String, item: String = "a", domain: String = "d", time: Int64 = 1_000,
        user: UInt64 = 7, request: String? = nil, query: UInt64? = nil, position: Int64? = nil,
        userImpressions: Double = 0, userClicks: Double = 0, history: [String] = [],
        context: [(String, String)] = []
    ) -> [Output] {
        step([
            ("kind", .text("impression")), ("time_ms", .integer(time)), ("source", .integer(0)),
            ("ordinal", .integer(ordinal)), ("impression_id", .text(id)), ("domain", .text(domain)),
            ("item_id", .text(item)), ("user", .text(hex(user))),
            ("request_id", request.map { .text($0) }), ("query", query.map { .text(hex($0)) }),
            ("position", position.map { .integer($0) }),
            ("user_impressions", .number(userImpressions)), ("user_clicks", .number(userClicks)),
            ("history", .array(history.map { .text($0) })),
            ("context", .object(context.map { JSONMember($0.0, .text($0.1)) })),
            ("user_attributes", .object([])),
        ])
    }

    @discardableResult
    func label(
        _ id: String, _ value: Int64, revision: Int64 = 0, domain: String = "d",
        time: Int64 = 7_000, clicked: Int64? = nil, task: String = "click"
    ) -> [Output] {
        step([
            ("kind", .text("label")), ("time_ms", .integer(time)), ("source", .integer(0)),
            ("ordinal", .integer(ordinal)), ("impression_id", .text(id)), ("domain", .text(domain)),
            ("task", .text(task)), ("value", .integer(value)), ("revision", .integer(revision)),
            ("click_time_ms", clicked.map { .integer($0) }),
        ])
    }

    @discardableResult
    func tick(_ time: Int64, close: Bool = false, counts: [JSONMember] = []) -> [Output] {
        step([
            ("kind", .text("tick")), ("time_ms", .integer(time)), ("source", .integer(0)),
            ("ordinal", .integer(ordinal)), ("close", close ? .boolean(true) : nil),
            ("domains", counts.isEmpty ? nil : .object(counts)),
        ])
    }

    @discardableResult
    func item(
        _ id: String, tags: [String] = [], attributes: [JSONMember] = [], domains: [String]? = nil,
        available: Bool = true, deleted: Bool = false, vector: [Float]? = nil, encoder: UInt64 = 1
    ) -> [Output] {
        var members: [(String, JSONValue?)] = [
            ("kind", .text("item")), ("time_ms", .integer(0)), ("item_id", .text(id)),
        ]
        if deleted {
            members.append(("deleted", .boolean(true)))
        } else {
            members += [
                ("title", .text(id)), ("tags", .array(tags.map { .text($0) })),
                ("attributes", .object(attributes)),
                ("domains", domains.map { .array($0.map { .text($0) }) }),
                ("available", available ? nil : .boolean(false)),
                ("vector", vector.map { .text(FinetuneRun.base64($0)) }),
                ("encoder", vector.map { _ in .text(hex(encoder)) }),
            ]
        }
        return step(members)
    }

    @discardableResult
    func text(_ text: String, vector: [Float]? = nil, encoder: UInt64 = 1) -> [Output] {
        step([
            ("kind", .text("text")), ("time_ms", .integer(0)),
            ("hash", .text(hex(FinetuneRun.hash(of: text)))), ("text", .text(text)),
            ("vector", vector.map { .text(FinetuneRun.base64($0)) }),
            ("encoder", vector.map { _ in .text(hex(encoder)) }),
        ])
    }

    /// A vector as records carry it.
    static func base64(_ vector: [Float]) -> String {
        Data(
            vector.flatMap { value -> [UInt8] in
                let half = HalfPrecision.bits(of: value)
                return [UInt8(half & 255), UInt8(half >> 8)]
            }
        ).base64EncodedString()
    }

    static func hash(of text: String) -> UInt64 { Array(text.utf8).lend { TextHash.of($0) } }

    @discardableResult
    func prior(
        sender: Int64 = 1, block: Int64 = 0, of blocks: Int64 = 1,
        items: [(id: String, impressions: Double, clicks: Double)] = [],
        total: (Double, Double)? = nil,
        weights: [(String, [Double])] = [], examples: Double? = nil
    ) -> [Output] {
        step([
            ("kind", .text("prior")), ("time_ms", .integer(0)), ("sender", .integer(sender)),
            ("first_ordinal", .integer(0)), ("last_ordinal", .integer(0)),
            ("block", .integer(block)), ("blocks", .integer(blocks)),
            (
                "items",
                .array(items.map { .array([.text($0.0), .number($0.1), .number($0.2)]) })
            ),
            ("impressions", total.map { .number($0.0) }), ("clicks", total.map { .number($0.1) }),
            (
                "weights",
                weights.isEmpty
                    ? nil
                    : .object(
                        weights.map { JSONMember($0.0, .array($0.1.map { .number($0) })) })
            ), ("examples", examples.map { .number($0) }),
        ])
    }

    // Asking

    func values(_ topic: Topic) -> [JSONValue] {
        outputs.filter { $0.topic == topic }.compactMap(\.value)
    }

    /// All examples that were written, of all micro-batches.
    var examples: [JSONValue] { values(.examples).flatMap { $0["examples"]!.array! } }

    /// What an impression was predicted from, as its example will say it: dense and cross inputs,
    /// content logit, item content, effect.
    func dense(_ id: String) -> [Float] {
        let row = state.pending.find(key(id))!
        return (0..<HeadInput.toldCount).map { state.kept(row).told($0) }
    }

    /// The logit that an impression was predicted with.
    func logit(_ id: String) -> Float { state.pending[state.pending.find(key(id))!].pointee.logit }

    func domain(_ name: String = "d") -> UnsafeMutablePointer<DomainRow> {
        state.domains[state.domains.find(key(name))!]
    }

    func item(row name: String) -> ItemRow { state.items[state.items.find(key(name))!].pointee }

    func cell(_ item: String, _ domain: String = "d") -> DomainItemRow {
        let key = FinetuneState.domainItemKey(
            state.domains.find(key(domain))!, state.items.find(self.key(item))!)
        return state.domainItems[state.domainItems.find(key)!].pointee
    }

    func quality(_ domain: String = "d", slice: Int = 0) -> QualityRow {
        let key = FinetuneState.qualityKey(state.domains.find(key(domain))!, slice)
        return state.quality[state.quality.find(key)!].pointee
    }

    var clock: Clock { state.clock.value.pointee }
    /// Shared dense weights: inputs, bias, positions of both surfaces.
    var shared: [Float] { (0..<HeadInput.weights).map { state.shared.value.part.weights[$0] } }

    func own(_ name: String = "d") -> [Float] {
        (0..<HeadInput.weights).map { domain(name).own.weights[$0] }
    }

    var cross: [Float] { (0..<HeadInput.crossCount).map { state.shared.value.cross[$0] } }
    func biases(_ name: String = "d") -> DomainBiases { domain(name).pointee.biases }

    var hashed: [HashedWeight] { (0..<state.hashed.count).map { state.hashed.elements[$0] } }

    private func key(_ name: String) -> Hash128 { Array(name.utf8).lend { Hash128($0) } }
    private func hex(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

extension FinetuneCaps {
    /// Small tables, so that a run costs little.
    static var small: FinetuneCaps {
        var caps = FinetuneCaps()
        caps.domains = 16
        caps.items = 4_000
        caps.queries = 1_000
        caps.openImpressions = 4_000
        caps.corrections = 4_000
        caps.textDimension = 32
        return caps
    }
}
