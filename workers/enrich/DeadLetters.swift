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

/// The headers of what enrich writes.
final class OutputHeaders {
    let domainLog: Headers
    let texts: Headers
    private let owners: [OwnedHeaders]
    private let deadLetters: Headers
    @exclusivity(unchecked) private var passing = ByteBuffer()
    private var letter = ByteBuffer()

    init(identity: [(name: String, value: String)]) {
        let owners = [
            OwnedHeaders([TopicContract.header(.domainLog)]),
            OwnedHeaders([TopicContract.header(.texts)]),
            OwnedHeaders([TopicContract.header(.deadLetters)] + identity),
        ]
        self.owners = owners
        domainLog = owners[0].headers
        texts = owners[1].headers
        deadLetters = owners[2].headers
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
        letter.append(deadLetters.encoded)
        Headers.append("coldstream-offset", "\(record.offset)", to: &letter)
        Headers.append("coldstream-timestamp", "\(record.timestamp)", to: &letter)
        letter.append(record.headers.encoded)
        return Headers(encoded: letter.slice)
    }
}
