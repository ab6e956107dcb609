// Encode: each catalog record once in every partition of domain-log.

import Bytes
import Contracts
import Encode
import JSON
import Streams
import Testing

private func makeLog(domainLog: Int = 2) -> MemoryLog {
    let log = MemoryLog(
        topics: Topic.allCases.map {
            MemoryTopic(
                name: $0.name, partitions: $0 == .domainLog ? domainLog : $0 == .catalog ? 3 : 1,
                isCompacted: $0.isCompacted)
        })
    log.now = 4_000
    return log
}

private func makeEncode(_ log: MemoryLog, records: Int = 1_000) throws -> Encode<MemoryLogClient> {
    var settings = EncodeSettings()
    settings.recordsPerTurn = records
    return try Encode(
        settings,
        client: MemoryLogClient(
            log, group: "encode", input: Topic.catalog, transactionalID: "encode.0"))
}

private func send(_ log: MemoryLog, _ key: String?, _ value: String?) throws {
    func append(_ key: ByteSlice?, _ value: ByteSlice?) throws {
        try log.append(Topic.catalog, key: key, value: value)
    }
    switch (key, value) {
    case (let key?, let value?): try key.lend { key in try value.lend { try append(key, $0) } }
    case (let key?, nil): try key.lend { try append($0, nil) }
    case (nil, let value?): try value.lend { try append(nil, $0) }
    case (nil, nil): try append(nil, nil)
    }
}

private func item(_ id: String, domains: String = "") -> String {
    #"{\#(domains)"item_id":"\#(id)","time_ms":7,"title":"The \#(id)"}"#
}

private func records(_ log: MemoryLog, _ topic: Topic, _ partition: Int) throws -> [String] {
    var values: [String] = []
    try log.read(topic, partition: partition) { record in
        values.append(record.value!.text)
        if topic == .domainLog { #expect(record.key == nil) }
    }
    return values
}

private func drain(_ encode: Encode<MemoryLogClient>) throws {
    _ = try encode.turn()
    while try encode.turn() > 0 {}
}

@Suite struct EncodeTests {
    @Test func `an item goes to every partition of domain-log, with its domains`() throws {
        let log = makeLog()
        try send(log, "i1", item("i1", domains: #""domains":["a","b"],"#))
        try send(log, "i2", item("i2"))
        try drain(makeEncode(log))
        let first = try records(log, .domainLog, 0)
        #expect(first == (try records(log, .domainLog, 1)))
        #expect(
            first.sorted() == [
                #"{"domains":["a","b"],"item_id":"i1","kind":"item","time_ms":7,"title":"The i1"}"#,
                #"{"item_id":"i2","kind":"item","time_ms":7,"title":"The i2"}"#,
            ])
    }

    @Test func `a tombstone becomes a deleted item`() throws {
        let log = makeLog()
        try send(log, "i1", nil)
        try drain(makeEncode(log))
        #expect(
            try records(log, .domainLog, 0)
                == [#"{"deleted":true,"item_id":"i1","kind":"item","time_ms":4000}"#])
    }

    @Test func `what cannot be used is a dead letter and stops nothing`() throws {
        let log = makeLog(domainLog: 1)
        try send(log, "i1", "{")
        try send(log, "i2", item("i3"))
        try send(log, nil, item("i4"))
        try send(log, nil, nil)
        try send(log, "i5", item("i5"))
        let encode = try makeEncode(log)
        try drain(encode)
        #expect(try records(log, .domainLog, 0).count == 1)
        let reasons = try records(log, .deadLetters, 0)
            .map { try JSONValue(parsing: $0)["reason"]!.text! }
        #expect(reasons.sorted() == ["invalid_json", "key_mismatch", "key_missing", "key_missing"])
        #expect(encode.counts.deadLetters == 4)
        #expect(encode.counts.items == 1)
    }

    @Test func `an item that is too large with its numbers written out is a dead letter`() throws {
        let log = makeLog(domainLog: 1)
        // "9e15," takes 17 bytes when it is written again.
        func numbers(_ id: String, _ count: Int) -> String {
            let list = Array(repeating: "9e15", count: count).joined(separator: ",")
            return #"{"attributes":{"a":[\#(list)]},"item_id":"\#(id)","time_ms":7,"title":""}"#
        }
        let frame = #"{"attributes":{"a":[]},"item_id":"i1","kind":"item","time_ms":7,"title":""}"#
        let most = (Limit.itemBytes - frame.utf8.count + 1) / 17
        try send(log, "i1", numbers("i1", most))
        try send(log, "i2", numbers("i2", most + 1))
        try drain(makeEncode(log))
        #expect(try records(log, .domainLog, 0).count == 1)
        let letter = try JSONValue(parsing: try records(log, .deadLetters, 0)[0])
        #expect(letter["reason"]!.text == "too_large")
        #expect(letter["ordinal"] == nil, "encode counts none")
        var keys: [String] = []
        try log.read(Topic.deadLetters, partition: 0) { keys.append($0.key!.text) }
        #expect(keys == ["catalog/\("i2".lend { Murmur2.partition($0, of: 2) })"])
    }

    @Test func `a new worker goes on where the last one stopped`() throws {
        let log = makeLog(domainLog: 1)
        func work() throws {
            let client = MemoryLogClient(
                log, group: "encode", input: Topic.catalog, transactionalID: "encode.0")
            try drain(Encode(client: client))
            client.leave()
        }
        try send(log, "i1", item("i1"))
        try work()
        try send(log, "i2", item("i2"))
        try work()
        #expect(
            try records(log, .domainLog, 0).map { try JSONValue(parsing: $0)["item_id"]!.text! }
                == ["i1", "i2"])
    }

    @Test(arguments: 1...40 as ClosedRange<UInt64>)
    func `crashes lose no item and double none`(seed: UInt64) throws {
        let log = makeLog()
        for i in 0..<120 { try send(log, "i\(i)", item("i\(i)")) }
        var state = seed
        log.crashes = { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state >> 33 & 7 == 0
        }
        var crashes = 0
        var client: MemoryLogClient?
        while true {
            client?.leave()
            client = MemoryLogClient(
                log, group: "encode", input: Topic.catalog, transactionalID: "encode.0")
            var settings = EncodeSettings()
            settings.recordsPerTurn = 10
            do {
                try drain(Encode(settings, client: client!))
                break
            } catch is Crash {
                crashes += 1
            }
        }
        log.crashes = nil
        #expect(crashes > 0, "seed \(seed)")
        for partition in 0..<2 {
            let found = try records(log, .domainLog, partition)
            #expect(found.count == 120, "seed \(seed)")
            #expect(Set(found).count == 120, "seed \(seed)")
        }
    }
}
