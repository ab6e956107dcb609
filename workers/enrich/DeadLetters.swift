// Dead letters and headers: what could not be used, and what travels beside every record.

import Bytes
import Contracts
import Streams

extension Enrich {
    /// Keeps a record that cannot be used, with the reason and a sentence.
    func deadLetter(
        _ state: EnrichState, _ record: Record, _ reason: DeadLetterReason, _ message: String,
        domain: UInt32?, into outbox: inout Outbox
    ) {
        state.totals.value.pointee.counts.lines += 1
        state.totals.value.pointee.counts.deadLetters += 1
        if let domain { state.counting(domain).pointee.dead += 1 }
        message.lend { message in
            Topic.events.name.lend { topic in
                var letter = DeadLetter(
                    reason, message: message, topic: topic, key: record.key, value: record.value)
                letter.partition = record.partition
                letter.ordinal = record.ordinal
                // The original key; a record without one goes to the first partition.
                if let key = record.key {
                    outbox.begin(Topic.deadLetters)
                    outbox.bytes.append(key)
                } else {
                    outbox.begin(Topic.deadLetters, partition: 0, hasKey: false)
                }
                outbox.beginValue()
                letter.append(to: &outbox.bytes)
                outbox.end(headers: headers.deadLetter(of: record))
            }
        }
    }
}

/// The headers of what enrich writes, encoded once.
final class OutputHeaders {
    let domainLog: Headers
    let texts: Headers
    private let memory: UnsafeMutablePointer<UInt8>
    private let deadLetters: [UInt8]
    @exclusivity(unchecked) private var passing = ByteBuffer()
    private var letter = ByteBuffer()

    init(identity: [(name: String, value: String)]) {
        var all = ByteBuffer()
        OutputHeaders.appendSchema(Topic.domainLog, to: &all)
        let domainLogBytes = all.count
        OutputHeaders.appendSchema(Topic.texts, to: &all)
        memory = .allocate(capacity: all.count)
        memory.update(from: all.slice.base, count: all.count)
        domainLog = Headers(encoded: ByteSlice(memory, count: domainLogBytes))
        texts = Headers(
            encoded: ByteSlice(memory + domainLogBytes, count: all.count - domainLogBytes))
        all.removeAll()
        OutputHeaders.appendSchema(Topic.deadLetters, to: &all)
        for (name, value) in identity { OutputHeaders.append(name, value, to: &all) }
        deadLetters = all.slice.copy()
    }

    deinit { memory.deallocate() }

    private static func append(_ name: String, _ value: String, to buffer: inout ByteBuffer) {
        name.lend { name in value.lend { Headers.append(name, $0, to: &buffer) } }
    }

    private static func appendSchema(_ topic: Topic, to buffer: inout ByteBuffer) {
        append("coldstream-schema", "\(topic.name)/1", to: &buffer)
    }

    /// Ours and the foreign ones; valid until the next call.
    func domainLog(passing headers: Headers) -> Headers {
        if headers.isEmpty { return domainLog }
        passing.removeAll()
        passing.append(domainLog.encoded)
        headers.forEach { name, value in
            let prefix: StaticString = "coldstream-"
            let isOurs =
                name.count >= prefix.utf8CodeUnitCount
                && name.slice(0, prefix.utf8CodeUnitCount).equals(prefix)
            if !isOurs { Headers.append(name, value, to: &passing) }
        }
        return Headers(encoded: passing.slice)
    }

    /// Ours, where the record stood, and all that it had; valid until the next call.
    func deadLetter(of record: Record) -> Headers {
        letter.removeAll()
        deadLetters.lend { letter.append($0) }
        OutputHeaders.append("coldstream-offset", "\(record.offset)", to: &letter)
        OutputHeaders.append("coldstream-timestamp", "\(record.timestamp)", to: &letter)
        letter.append(record.headers.encoded)
        return Headers(encoded: letter.slice)
    }
}
