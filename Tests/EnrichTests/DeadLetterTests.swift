// What cannot be used is kept, with the reason, and stops nothing.

import Bytes
import Contracts
import JSON
import Streams
import Testing

@testable import Enrich

@Suite struct DeadLetterTests {
    @Test(arguments: [
        ("", "empty"), ("{", "invalid_json"), ("[]", "not_an_object"), ("\u{0}", "invalid_json"),
        (#"{"type":"impression"}"#, "missing_field"),
        (#"{"type":"view","time_ms":1}"#, "unknown_type"),
        (
            #"{"type":"click","time_ms":1.5,"domain":"d","user_id":"u","impression_id":"i"}"#,
            "wrong_type"
        ),
        (
            #"{"type":"click","time_ms":-1,"domain":"d","user_id":"u","impression_id":"i"}"#,
            "out_of_range"
        ),
        (
            #"{"type":"click","time_ms":1,"domain":"D!","user_id":"u","impression_id":"i"}"#,
            "invalid_value"
        ),
        (
            #"{"type":"click","type":"click","time_ms":1,"domain":"d","user_id":"u","impression_id":"i"}"#,
            "duplicate_field"
        ),
    ])
    func `broken bytes are a dead letter with the reason`(text: String, reason: String) throws {
        var run = try EnrichRun()
        #expect(try run.deadLetters(after: .raw(text)) == [reason])
        #expect(run.counts.lines == 1)
        #expect(run.counts.deadLetters == 1)
        #expect(try run.after(.impression("i1", 0)) == ["impression i1 a"], "and nothing stops")
    }

    @Test func `a record without key, or with another, is a dead letter that says so`() throws {
        var run = try EnrichRun()
        var event = TestEvent.impression("i1", 0)
        event.key = nil
        try run.send([event])
        event.key = "v"
        try run.send([event])
        let letters = try run.records(.deadLetters)
        #expect(letters.map { $0["reason"]!.text! } == ["key_missing", "key_mismatch"])
        #expect(letters[1]["message"]!.text!.contains("user_id"))
        #expect(letters[1]["key_base64"]!.text == "dg==")
        #expect(letters[1]["ordinal"]!.integer == 1)
        #expect(letters[1]["topic"]!.text == "events")
        #expect(letters[1]["value_bytes"]!.integer == Int64(event.bytes.count))
        #expect(
            try run.after(.impression("i1", 0)) == ["impression i1 a"], "it was not used before")
    }

    @Test func `a tombstone is a dead letter`() throws {
        var run = try EnrichRun()
        _ = try "u".lend { try run.log.append(Topic.events, key: $0, value: nil) }
        try run.send([])
        let letters = try run.records(.deadLetters)
        #expect(letters.map { $0["reason"]!.text! } == ["empty"])
        #expect(letters[0]["value_base64"] == nil)
    }

    @Test func `a dead letter has the original headers and says where the record stood`() throws {
        var run = try EnrichRun()
        var event = TestEvent.raw("{")
        event.headers = [
            ("traceparent", "00-1"), ("coldstream-tick", "x"), ("coldstream-schema", "events/1"),
        ]
        event.timestamp = 77
        try run.send([event])
        var headers: [String: String] = [:]
        try run.log.read(Topic.deadLetters, partition: 0) { record in
            #expect(record.key!.text == "events/0")
            record.headers.forEach { headers[$0.text] = $1.text }
        }
        #expect(
            headers == [
                "traceparent": "00-1", "coldstream-tick": "x", "coldstream-offset": "0",
                "coldstream-timestamp": "77", "coldstream-schema": "dead-letters/1",
            ])
    }

    @Test func `foreign headers pass through to the impression`() throws {
        var run = try EnrichRun()
        var event = TestEvent.impression("i1", 0)
        event.headers = [("traceparent", "00-1"), ("coldstream-schema", "events/1")]
        try run.send([event])
        var headers: [[String]] = []
        try run.log.read(Topic.domainLog, partition: 0) { record in
            guard record.key != nil else { return }
            record.headers.forEach { headers.append([$0.text, $1.text]) }
        }
        #expect(headers == [["coldstream-schema", "domain-log/1"], ["traceparent", "00-1"]])
    }

    @Test func `at most 8 KiB of foreign headers pass, and what does not fit is left out`() throws {
        var run = try EnrichRun()
        var event = TestEvent.impression("i1", 0)
        let most = Limit.passedHeaderBytes - 2
        event.headers = [
            ("a", String(repeating: "x", count: most + 2)),
            ("b", String(repeating: "x", count: most)), ("c", ""), ("d", ""),
        ]
        try run.send([event])
        var names: [String] = []
        try run.log.read(Topic.domainLog, partition: 0) { record in
            guard record.key != nil else { return }
            record.headers.forEach { name, _ in names.append(name.text) }
        }
        #expect(names == ["coldstream-schema", "b", "c"])
    }

    @Test func `where new domains are not accepted an unknown one is a dead letter`() throws {
        var run = try EnrichRun(
            .test.with {
                $0.newDomains = .deadLetter
                $0.domains["known"] = $0.domainDefaults
            })
        #expect(
            try run.deadLetters(after: .impression("i1", 0), .impression("i2", 0, domain: "known"))
                == ["new_domain"])
        #expect(run.counts.used == 1)
    }

    @Test func `one domain more than domains_max is a dead letter, those before go on`() throws {
        var run = try EnrichRun(.test.with { $0.domainsMaximum = 2 })
        #expect(
            try run.deadLetters(
                after: .impression("i1", 0, domain: "a"), .impression("i2", 0, domain: "b"),
                .impression("i3", 0, domain: "c"), .impression("i4", 0, domain: "a"))
                == ["too_many_domains"])
        #expect(run.counts.used == 3)
    }
}
