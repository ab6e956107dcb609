// A log, an encoder whose failures and identity the test decides, and what came of it.

import Bytes
import Contracts
import Encode
import JSON
import Streams
import TextEncoding

/// Vectors that follow from the text; counts how often each text was encoded.
final class CountingEncoder: TextEncoder {
    let identity: EncoderIdentity
    let dimension = 4
    /// How often each text was encoded with success.
    var encoded: [String: Int] = [:]
    var calls = 0
    /// The error of the next call; nil = it succeeds.
    var failure: () -> (any Error)? = { nil }

    init(_ hash: UInt64 = 0xA1) { identity = EncoderIdentity(name: "counting/\(hash)", hash: hash) }

    /// What the vector of a text is; of "none" there is none.
    static func vector(_ text: String, _ hash: UInt64) -> [Float] {
        guard text != "none" else { return [0, 0, 0, 0] }
        let bits = text.lend { Hash128($0, seed: hash) }
        return (0..<4).map { Float((bits.low >> UInt64(8 * $0)) & 0xFF) / 256 + 1 / 512 }
    }

    func encode(_ texts: [[UInt8]], into vectors: UnsafeMutableBufferPointer<Float>) throws {
        calls += 1
        if let error = failure() { throw error }
        for (row, bytes) in texts.enumerated() {
            let text = String(decoding: bytes, as: UTF8.self)
            encoded[text, default: 0] += 1
            for (i, value) in CountingEncoder.vector(text, identity.hash).enumerated() {
                vectors[row * 4 + i] = value
            }
        }
    }
}

struct EncoderIsAway: EncodingFailure { var reason: String { "unreachable" } }

/// One record of domain-log as the tests compare it.
struct Sent: Hashable {
    var kind: String
    /// Of an item its id, of a text the text.
    var name: String
    var time: Int64
    var vector: [Float]?
    var encoder: UInt64?
    var isDeleted = false
    var title = ""
}

/// The log and its encode worker.
final class VectorRun {
    let log: MemoryLog
    var settings = EncodeSettings()
    let domainLog: Int
    var encoder: CountingEncoder?
    private(set) var encode: Encode<MemoryLogClient>!

    init(
        domainLog: Int = 2, inputs: Int = 1, encoder: CountingEncoder? = CountingEncoder()
    ) throws {
        self.domainLog = domainLog
        self.encoder = encoder
        settings.template = ItemTextTemplate("{title}")!
        log = MemoryLog(
            topics: Topic.allCases.map {
                let partitions =
                    switch $0 {
                    case .domainLog: domainLog
                    case .catalog, .texts, .textVectors: inputs
                    default: 1
                    }
                return MemoryTopic(
                    name: $0.name, partitions: partitions, isCompacted: $0.isCompacted)
            })
        log.now = 4_000
    }

    /// A new worker in the slot of the last one.
    func restart(maker: (any VectorMaker)? = nil) throws {
        encode?.client.leave()
        encode?.textsClient?.leave()
        encode = try makeEncode(slot: 0, maker: maker)
    }

    func makeEncode(slot: Int, maker: (any VectorMaker)? = nil) throws -> Encode<MemoryLogClient> {
        func client(_ role: String, _ topic: Topic) -> MemoryLogClient {
            MemoryLogClient(log, group: role, input: topic, transactionalID: "\(role).\(slot)")
        }
        return try Encode(
            settings, client: client("encode", .catalog), texts: client("encode-texts", .texts),
            maker: maker ?? encoder.map { InlineVectorMaker($0, batch: 3) })
    }

    func drain() throws {
        if encode == nil { try restart() }
        var idle = 0
        while idle < 3 { idle = try encode.turn() > 0 ? 0 : idle + 1 }
    }

    func item(_ id: String, _ title: String, time: Int64 = 7, available: Bool = true) throws {
        let hidden = available ? "" : #""available":false,"#
        try append(
            .catalog, id, #"{\#(hidden)"item_id":"\#(id)","time_ms":\#(time),"title":"\#(title)"}"#)
    }

    func delete(_ id: String) throws {
        _ = try id.lend { try log.append(Topic.catalog, key: $0, value: nil) }
    }

    func ask(
        _ text: String, _ domain: String? = "d", time: Int64 = 9, again: Bool = false
    ) throws {
        var bytes = ByteBuffer()
        var key = ByteBuffer()
        text.lend { text in
            (domain ?? "").lend { name in
                var record = TextRecord()
                record.time_ms = time
                record.hash = TextHash.of(text)
                record.text = text
                record.domain = domain == nil ? nil : name
                record.again = again
                record.append(to: &bytes)
                record.appendKey(to: &key)
            }
        }
        try log.append(Topic.texts, key: key.slice, value: bytes.slice)
    }

    private func append(_ topic: Topic, _ key: String, _ value: String) throws {
        try key.lend { key in try value.lend { _ = try log.append(topic, key: key, value: $0) } }
    }

    func partition(of domain: String) -> Int {
        domain.lend { Murmur2.partition($0, of: domainLog) }
    }

    func sent(_ partition: Int = 0) throws -> [Sent] {
        let reader = DomainLogReader()
        var sent: [Sent] = []
        func values(_ vector: TextVector?) -> [Float]? {
            vector.map { vector in (0..<vector.dimension).map { vector[$0] } }
        }
        try log.read(Topic.domainLog, partition: partition) { record in
            switch try reader.read(record.value!) {
            case .item:
                let item = reader.item
                sent.append(
                    Sent(
                        kind: "item", name: item.record.item_id.text, time: item.record.time_ms,
                        vector: values(item.vector), encoder: item.vector?.encoder,
                        isDeleted: item.deleted, title: item.record.title.text))
            case .text:
                let text = reader.text
                sent.append(
                    Sent(
                        kind: "text", name: text.text.text, time: text.time_ms,
                        vector: values(text.vector), encoder: text.vector?.encoder))
            default: break
            }
        }
        return sent
    }

    /// Keys of `text-vectors` that are there now.
    func keys() throws -> [String] {
        var newest: [String: Bool] = [:]
        for partition in 0..<log.partitionCount(Topic.textVectors) {
            try log.read(Topic.textVectors, partition: partition) { record in
                newest[record.key!.text] = record.value != nil
            }
        }
        return newest.filter(\.value).keys.sorted()
    }
}

/// Numbers that follow from a seed.
struct Draws {
    var state: UInt64

    mutating func below(_ limit: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int((state >> 33) % UInt64(limit))
    }
}
