// How many items and texts wait for their vectors, as `text-vectors` says.

import Bytes
import Contracts
import KafkaTransactions
import WorkerRuntime

/// Follows `text-vectors`. Joins no group; one thread.
public final class OwedVectors {
    private let topic: String
    private let offsets: Offsets
    private let consumer: Consumer
    private var next: [TopicPartition: Int64] = [:]
    private var owed: Set<TextVectorSubject> = []

    public init(_ fleet: KafkaFleet) throws(KafkaError) {
        topic = fleet.topics[.textVectors]
        let group = "\(fleet.settings.fleet).encode"
        let admin = try Admin(fleet.client)
        let count = try admin.describe(topics: [topic]).first?.partitions ?? 0
        offsets = try Offsets(fleet.client, group: group)
        var reading = ConsumerSettings(client: fleet.client, group: group)
        reading.reportsEnds = true
        consumer = try Consumer(reading)
        for partition in 0..<count { next[TopicPartition(topic, partition)] = 0 }
        try consumer.assign(next.keys.sorted().map { Position($0, 0) })
    }

    /// How many wait now.
    ///
    /// - Returns: nil where the topic could not be read to its end in time.
    public func count(timeoutMilliseconds: Int = 5_000) throws(KafkaError) -> Int? {
        guard !next.isEmpty else { return 0 }
        let bounds = try offsets.offsets(of: next.keys.sorted())
        let deadline = ContinuousClock.now + .milliseconds(timeoutMilliseconds)
        while next.contains(where: { $0.value < bounds[$0.key]!.committedEnd }) {
            switch try consumer.poll(timeoutMilliseconds: 100) {
            case .record(let record):
                let view = record.view
                next[TopicPartition(topic, view.partition)] = view.offset + 1
                note(view.key, view.value)
            case .end(let position): next[position.partition] = position.offset
            default: if ContinuousClock.now > deadline { return nil }
            }
        }
        return owed.count
    }

    private func note(_ key: ByteSlice?, _ value: ByteSlice?) {
        guard let key, let subject = TextVectorSubject(key: key) else { return }
        switch subject {
        case .item, .text:
            // Without a place in its input it has been sent.
            if value?.count == 24 { owed.insert(subject) } else { owed.remove(subject) }
        case .vector, .catalog, .texts: break
        }
    }
}
