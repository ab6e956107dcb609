// A client that can break one promise: each must be seen by the checker of the crash tests.

import Bytes

@testable import Streams

final class TamperingClient: LogClient {
    enum Fault { case none, commitsApart, readsNoInput, losesRow, altersRow }

    let inner: MemoryLogClient
    private let fault: Fault

    init(_ inner: MemoryLogClient, _ fault: Fault) {
        self.inner = inner
        self.fault = fault
    }

    func partitionCount<Topic: RawRepresentable>(_ topic: Topic) throws -> Int
    where Topic.RawValue == UInt16 { try inner.partitionCount(topic) }

    func collect(limit: Int, into batch: inout [Record]) throws -> Collected {
        try inner.collect(limit: limit, into: &batch)
    }

    func start(partition: Int, at offset: Int64) throws {
        try inner.start(partition: partition, at: offset)
    }

    func commit(_ outbox: borrowing Outbox, positions: [InputPosition]) throws {
        if fault == .commitsApart {
            try inner.commit(Outbox(), positions: positions)
            try inner.commit(outbox, positions: [])
        } else {
            try inner.commit(outbox, positions: positions)
        }
    }

    func committedOffset(partition: Int) throws -> Int64? {
        try inner.committedOffset(partition: partition)
    }

    func startOffset(partition: Int) throws -> Int64 { try inner.startOffset(partition: partition) }

    func read<Topic: RawRepresentable>(
        _ topic: Topic, partition: Int, from first: Int64?, upTo end: Int64?,
        _ body: (Record) throws -> Void
    ) throws where Topic.RawValue == UInt16 {
        if fault == .readsNoInput, topic.rawValue == TestTopic.input.rawValue { return }
        try inner.read(topic, partition: partition, from: first, upTo: end) { record in
            guard fault == .losesRow || fault == .altersRow,
                record.key?.text.contains("/rows/counters/00000001") == true,
                let value = record.value
            else { return try body(record) }
            if fault == .losesRow { return }
            var bytes = value.copy()
            bytes[bytes.count - 9] ^= 1
            try bytes.lend {
                try body(
                    Record(
                        topic: record.topic, partition: record.partition, offset: record.offset,
                        timestamp: record.timestamp, key: record.key, value: $0))
            }
        }
    }
}
