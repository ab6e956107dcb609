// Reads what a fleet has published, as any consumer may: no group is joined, nothing is written.

import Bytes
import Contracts
import KafkaTransactions

/// A read-committed reader of a fleet's topics. Not `Sendable`: one thread.
public final class TopicReader {
    private let fleet: KafkaFleet
    private let admin: Admin
    private let offsets: Offsets
    private let consumer: Consumer
    /// How long the broker may stay silent about records that it says it has.
    private let patienceMilliseconds: Int

    /// - Throws: `.fixSettings` where credentials are refused, `.retry` where no broker answered.
    public init(_ fleet: KafkaFleet, patienceMilliseconds: Int = 30_000) throws(KafkaError) {
        self.fleet = fleet
        self.patienceMilliseconds = patienceMilliseconds
        admin = try Admin(fleet.client)
        try admin.connect()
        let group = "\(fleet.settings.fleet).reader"
        offsets = try Offsets(fleet.client, group: group)
        var settings = ConsumerSettings(client: fleet.client, group: group)
        settings.reportsEnds = true
        settings.queueBytes = 32 << 20
        // Of a log that retention has cut meanwhile, what is still there.
        settings.startPolicy = .earliest
        // A fetch that waits at the end of one partition holds up the next one.
        settings.client.set("fetch.wait.max.ms", "10")
        consumer = try Consumer(settings)
    }

    private func places(_ topic: Topic) throws(KafkaError) -> [TopicPartition] {
        let name = fleet.topics[topic]
        return (0..<(try admin.partitionCount(ofTopic: name))).map { TopicPartition(name, $0) }
    }

    /// Lends every committed record of a topic, partition by partition, up to where each ended at the
    /// call; what an open transaction holds back is not among them.
    ///
    /// - Parameters:
    ///   - key: only the partition of that key is read.
    ///   - body: returns false where it has seen enough.
    public func read(
        _ topic: Topic, key: [UInt8]? = nil, _ body: (RecordView) throws -> Bool
    ) throws {
        var places = try places(topic)
        if let key {
            places = [places[key.lend { Murmur2.partition($0, of: places.count) }]]
        }
        let bounds = try offsets.offsets(of: places)
        defer { try? consumer.unassign() }
        for place in places {
            let (first, end) = (bounds[place]!.first, bounds[place]!.committedEnd)
            guard first < end else { continue }
            try consumer.assign([Position(place, first)])
            guard try read(place, upTo: end, body) else { return }
        }
    }

    /// - Returns: false where `body` has seen enough.
    private func read(
        _ place: TopicPartition, upTo end: Int64, _ body: (RecordView) throws -> Bool
    ) throws -> Bool {
        var newest = ContinuousClock.now
        while true {
            switch try consumer.poll(timeoutMilliseconds: 100) {
            case .record(let record):
                let view = record.view
                guard view.partition == place.partition else { continue }
                guard view.offset < end else { return true }
                guard try body(view) else { return false }
                if view.offset + 1 == end { return true }
                newest = .now
            case .end(let position):
                // Behind the last record stand only the ends of transactions.
                if position.partition == place, position.offset >= end { return true }
            default:
                guard ContinuousClock.now - newest < .milliseconds(patienceMilliseconds) else {
                    throw KafkaError(
                        operation: "read \(place)", code: -185,  // _TIMED_OUT
                        reason: "no record came for \(patienceMilliseconds) ms", remedy: .retry)
                }
            }
        }
    }

    /// The newest committed values of a compacted topic, by key in the order of its bytes; deleted keys
    /// are left out.
    ///
    /// - Parameter isWanted: which keys to keep in memory.
    public func newest(
        of topic: Topic, where isWanted: (ByteSlice) -> Bool = { _ in true }
    ) throws -> [(key: [UInt8], value: [UInt8])] {
        var values: [[UInt8]: [UInt8]] = [:]
        try read(topic) { record in
            if let key = record.key, isWanted(key) { values[key.copy()] = record.value?.copy() }
            return true
        }
        return values.sorted { $0.key.lexicographicallyPrecedes($1.key) }
            .map { (key: $0.key, value: $0.value) }
    }

    /// The newest committed value of one key of a compacted topic; nil: there is none.
    public func newest(of topic: Topic, key: [UInt8]) throws -> [UInt8]? {
        var value: [UInt8]?
        try key.lend { key in
            try read(topic, key: key.copy()) { record in
                if record.key?.equals(key) ?? false { value = record.value?.copy() }
                return true
            }
        }
        return value
    }

    /// Lends every record that is committed to a topic from now on, until `body` returns false or
    /// `stop` is raised.
    ///
    /// - Parameter started: called once, when what is appended from then on will be seen.
    public func follow(
        _ topic: Topic, until stop: () -> Bool, started: () -> Void = {},
        _ body: (RecordView) throws -> Bool
    ) throws {
        let bounds = try offsets.offsets(of: try places(topic))
        try consumer.assign(bounds.keys.sorted().map { Position($0, bounds[$0]!.committedEnd) })
        defer { try? consumer.unassign() }
        started()
        while !stop() {
            if case .record(let record) = try consumer.poll(timeoutMilliseconds: 100) {
                guard try body(record.view) else { return }
            }
        }
    }
}
