// Every file in topics/contracts: complete, in step with the code, and with examples that the
// readers read.

import Bytes
import JSON
import Testing

@testable import Contracts

@Suite struct TopicContractTests {
    @Test(arguments: Topic.allCases)
    func `every topic has a contract that says what it promises`(topic: Topic) throws {
        let contract = try TopicContract(topic, parsing: TopicContract.file(of: topic))
        #expect(contract.purpose.hasSuffix("."))
        #expect(contract.examples.count >= 2)
        #expect((contract.cleanup == .compact) == topic.isCompacted)
        #expect((contract.cleanup == .compact) == (contract.retentionHours == nil))
        #expect((contract.schema == nil) == (contract.encoding == .binary))
        #expect((contract.format == nil) == (contract.encoding == .json))
        for example in contract.examples {
            let isManifest = example.key?.hasSuffix("/manifest") == true
            #expect(
                example.isJSON
                    == (contract.encoding == .json || (contract.encoding == .mixed && isManifest)))
        }
    }

    @Test(arguments: Topic.allCases)
    func `every example of JSON stands in the file in the bytes of the wire`(topic: Topic) throws {
        let file = String(decoding: TopicContract.file(of: topic), as: UTF8.self)
        for example in TopicContract(topic).examples where example.isJSON {
            let wire = String(decoding: example.value, as: UTF8.self)
            #expect(file.contains("\"value\": " + wire + "}"), "\(wire)")
        }
    }

    @Test(arguments: [
        Topic.events, .catalog, .domainLog, .scores, .domainStatistics, .evaluations, .examples,
        .deadLetters, .texts,
    ])
    func `every example is read by its reader and written as the same bytes`(topic: Topic) throws {
        var rewriter = Rewriter()
        for example in TopicContract(topic).examples {
            let written = try rewriter.rewrite(topic, example.value)
            #expect(
                String(decoding: written, as: UTF8.self)
                    == String(decoding: example.value, as: UTF8.self))
        }
    }

    @Test func `the examples show every type of event and every kind of record`() throws {
        let events = try types(.events, "type")
        #expect(Set(events) == Set(EventType.allCases.map { "\($0.word)" }))
        let kinds = try types(.domainLog, "kind")
        #expect(Set(kinds) == Set(DomainLogKind.allCases.map { "\($0.word)" }))
    }

    private func types(_ topic: Topic, _ field: String) throws -> [String] {
        try TopicContract(topic).examples.map {
            try JSONValue(parsing: $0.value)[field]?.text ?? ""
        }
    }

    @Test func `the contract of dead letters lists the reasons that the code knows`() throws {
        let words = TopicContract(.deadLetters).schema?["properties"]?["reason"]?["enum"]?.array
        #expect(words == DeadLetterReason.allCases.map { JSONValue.text("\($0.word)") })
        for reason in DeadLetterReason.allCases {
            #expect("\(reason.sentence)".hasSuffix("."))
            let word = "\(reason.word)"
            #expect(word.lend { DeadLetterReason($0) } == reason)
            #expect("\(reason)" == word)
        }
    }

    @Test func `keys of examples are what the code makes of their records`() throws {
        let reader = RecordReader()
        for example in TopicContract(.scores).examples {
            var key = ByteBuffer()
            try example.value.lend { try reader.score($0).appendKey(to: &key) }
            #expect(key.slice.text == example.key)
        }
        for example in TopicContract(.evaluations).examples {
            var key = ByteBuffer()
            try example.value.lend { try reader.evaluation($0).appendKey(to: &key) }
            #expect(key.slice.text == example.key)
        }
        let events = EventReader()
        for example in TopicContract(.events).examples {
            try example.value.lend { try events.read($0) }
            #expect(events.event.key?.text == example.key)
        }
    }

    @Test func `a settings record carries the hash of its canonical settings`() throws {
        let reader = DomainLogReader()
        for example in TopicContract(.domainLog).examples {
            guard try example.value.lend({ try reader.read($0) }) == .settings else { continue }
            #expect(reader.settings.hash.text == SHA256.hex(reader.settings.settings))
        }
    }

    @Test func `a contract without a field or with a wrong word is refused by name`() throws {
        let file = String(decoding: TopicContract.file(of: .texts), as: UTF8.self)
        for (from, to, path) in [
            ("\"purpose\"", "\"porpoise\"", "/purpose"), ("\"compact\"", "\"compost\"", "/cleanup"),
            ("\"texts\"", "\"tests\"", "/topic"),
            ("\"partitions\": 3", "\"partitions\": 0", "/partitions"),
        ] {
            let broken = file.replacing(from, with: to)
            let error = #expect(throws: ContractError.self) {
                try TopicContract(.texts, parsing: Array(broken.utf8))
            }
            #expect(error?.path == path)
        }
    }
}

/// Reads a record with its reader and writes it again.
struct Rewriter {
    let events = EventReader()
    let catalog = CatalogReader()
    let domainLog = DomainLogReader()
    let records = RecordReader()

    mutating func rewrite(_ topic: Topic, _ value: [UInt8]) throws -> [UInt8] {
        var buffer = ByteBuffer()
        try value.lend { value in
            switch topic {
            case .events:
                try events.read(value)
                events.event.append(to: &buffer)
            case .catalog:
                try catalog.read(value)
                catalog.item.append(to: &buffer)
            case .domainLog: try rewriteDomainLog(value, &buffer)
            case .scores: try records.score(value).append(to: &buffer)
            case .domainStatistics: try records.domainStatistics(value).append(to: &buffer)
            case .evaluations: try records.evaluation(value).append(to: &buffer)
            case .examples: try records.exampleBatch(value).append(to: &buffer)
            case .deadLetters: try records.deadLetter(value).append(to: &buffer)
            case .texts: try records.text(value).append(to: &buffer)
            default: preconditionFailure("\(topic.name) has no reader")
            }
        }
        return buffer.slice.copy()
    }

    private func rewriteDomainLog(_ value: ByteSlice, _ buffer: inout ByteBuffer) throws {
        switch try domainLog.read(value) {
        case .impression: domainLog.impression.append(to: &buffer)
        case .label: domainLog.label.append(to: &buffer)
        case .judgment: domainLog.judgment.append(to: &buffer)
        case .item: domainLog.item.append(to: &buffer)
        case .text: domainLog.text.append(to: &buffer)
        case .prior: domainLog.prior.append(to: &buffer)
        case .release: domainLog.release.append(to: &buffer)
        case .settings: domainLog.settings.append(to: &buffer)
        case .tick: domainLog.tick.append(to: &buffer)
        }
    }
}
