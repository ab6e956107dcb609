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
        letters.append(
            ContractError(reason, path: "", message), record, ordinal: record.ordinal, to: &outbox)
    }
}

/// The headers of what enrich writes.
final class OutputHeaders {
    let domainLog: Headers
    let texts: Headers
    private let owners: [OwnedHeaders]
    @exclusivity(unchecked) private var passing = ByteBuffer()

    init() {
        let owners = [
            OwnedHeaders([TopicContract.header(.domainLog)]),
            OwnedHeaders([TopicContract.header(.texts)]),
        ]
        self.owners = owners
        domainLog = owners[0].headers
        texts = owners[1].headers
    }

    /// Ours and the foreign ones, as many of them as `Limit.passedHeaderBytes` allow; valid until the
    /// next call.
    func domainLog(passing headers: Headers) -> Headers {
        if headers.isEmpty { return domainLog }
        passing.removeAll()
        passing.append(domainLog.encoded)
        var left = Limit.passedHeaderBytes
        headers.forEach { name, value in
            let prefix: StaticString = "coldstream-"
            let isOurs =
                name.count >= prefix.utf8CodeUnitCount
                && name.slice(0, prefix.utf8CodeUnitCount).equals(prefix)
            guard !isOurs, name.count + value.count <= left else { return }
            left -= name.count + value.count
            Headers.append(name, value, to: &passing)
        }
        return Headers(encoded: passing.slice)
    }
}
