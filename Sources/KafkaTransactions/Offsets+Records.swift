// What stands at an offset, and which offset stands for a time.

import CRdKafka

/// The record that a reader finds first.
public struct FirstRecord: Equatable, Sendable {
    public let offset: Int64
    /// Milliseconds since the epoch; nil where the log keeps none.
    public let timestamp: Int64?
}

extension Offsets {
    /// The first record that a read-committed reader finds from each position on; a partition where
    /// only markers, or nothing, is left is absent.
    public func firstRecords(
        from positions: [Position], timeoutMilliseconds: Int = 10_000
    ) throws(KafkaError) -> [TopicPartition: FirstRecord] {
        try firstRecords(from: positions, Deadline(milliseconds: timeoutMilliseconds))
    }

    func firstRecords(
        from positions: [Position], _ deadline: Deadline
    ) throws(KafkaError) -> [TopicPartition: FirstRecord] {
        guard !positions.isEmpty else { return [:] }
        var found: [TopicPartition: FirstRecord] = [:]
        var open = Set(positions.map(\.partition))
        try committedReader.assign(positions)
        while !open.isEmpty {
            guard !deadline.isOver else {
                try committedReader.unassign()
                throw committedReader.client.error(
                    "look for a first record", RD_KAFKA_RESP_ERR__TIMED_OUT)
            }
            switch try committedReader.poll(timeoutMilliseconds: min(100, deadline.remaining)) {
            case .record(let record):
                let view = record.view
                let place = TopicPartition(view.topicName.text, view.partition)
                if !view.endsRemains, open.remove(place) != nil {
                    found[place] = FirstRecord(offset: view.offset, timestamp: view.timestamp)
                }
            case .end(let position): open.remove(position.partition)
            default: break
            }
        }
        try committedReader.unassign()
        return found
    }

    /// The first offset whose record, or marker, has a timestamp of at least `time`; nil where none has.
    ///
    /// - Parameter time: milliseconds since the epoch, at least 0.
    public func firstOffset(
        of partition: TopicPartition, notBefore time: Int64, timeoutMilliseconds: Int = 10_000
    ) throws(KafkaError) -> Int64? {
        precondition(time >= 0, "\(time) is before the epoch, and would mean something else")
        let list = PartitionList([Position(partition, time)])
        let code = list.lend {
            rd_kafka_offsets_for_times(
                committedReader.client.handle, $0, Int32(timeoutMilliseconds))
        }
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else {
            throw committedReader.client.error("ask for the offset of a time", code)
        }
        if let (partition, code) = list.firstError {
            throw committedReader.client.error("ask for the offset of a time in \(partition)", code)
        }
        return list.offsets[partition]
    }
}

extension Offsets {
    /// Every record that a reader finds between two offsets, in order.
    ///
    /// - Parameters:
    ///   - end: where to stop; markers below it are no records.
    ///   - stallMilliseconds: how long nothing may come before it is given up.
    ///   - isolation: whether records of aborted and open transactions are found too.
    public func forEachRecord(
        of partition: TopicPartition, from start: Int64, upTo end: Int64,
        stallMilliseconds: Int = 20_000,
        isolation: ConsumerSettings.Isolation = .committed, _ body: (RecordView) throws -> Void
    ) throws {
        guard start < end else { return }
        let reader = isolation == .committed ? committedReader : uncommittedReader
        try reader.assign([Position(partition, start)])
        defer { try? reader.unassign() }
        var deadline = Deadline(milliseconds: stallMilliseconds)
        while true {
            guard !deadline.isOver else {
                throw reader.client.error("read \(partition)", RD_KAFKA_RESP_ERR__TIMED_OUT)
            }
            switch try reader.poll(timeoutMilliseconds: min(100, deadline.remaining)) {
            case .record(let record):
                guard record.view.offset < end else { return }
                try body(record.view)
                if record.view.offset == end - 1 { return }
                deadline = Deadline(milliseconds: stallMilliseconds)
            // The end of what is committed: what is behind it belongs to an open transaction.
            case .end: return
            default: break
            }
        }
    }
}
