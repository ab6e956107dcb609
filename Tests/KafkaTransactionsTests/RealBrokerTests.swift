import Bytes
import Foundation
import KafkaTestBroker
import Testing

@testable import KafkaTransactions

/// What only a real broker can show. One broker for all of them and for other suites, so nobody ends it.
@Suite(.serialized, .enabled(if: RealBroker.isAvailable, Comment(rawValue: RealBroker.absence)))
struct RealBrokerTests {
    let broker: RealBroker
    let client: ClientProperties
    let admin: Admin
    let topic = uniqueName()

    init() throws {
        broker = try RealBroker.shared()
        client = ClientProperties(bootstrapServers: broker.address)
        admin = try Admin(client)
        try admin.create([NewTopic(topic, partitions: 3, replicas: 1)])
    }

    func offsets(of partition: Int = 0) throws -> PartitionOffsets {
        let place = TopicPartition(topic, partition)
        return try Offsets(client, group: "reader").offsets(of: [place])[place]!
    }

    /// Asks until a produced record has arrived at the broker.
    func waitForEnd(_ end: Int64) throws {
        let deadline = Deadline(milliseconds: 10_000)
        while try offsets().end < end, !deadline.isOver {}
        #expect(try offsets().end == end)
    }

    /// What a read-committed reader sees of partition 0 when no transaction is open any more.
    func values() throws -> [String?] { try client.readSettled(topic).map(\.value) }

    func member(_ group: String, instance: String? = nil) throws -> Consumer {
        var settings = ConsumerSettings(client: client, group: group)
        settings.instance = instance
        let consumer = try Consumer(settings)
        try consumer.subscribe(to: [topic])
        return consumer
    }

    @Test func `a transaction is seen whole or not at all`() throws {
        let producer = try TransactionalProducer.ready(client, uniqueName("id"))
        let target = try producer.topic(topic)
        var transaction = try producer.begin()
        for value in ["a", "b"] { try transaction.add(target, value: value, partition: 0) }
        try waitForEnd(2)
        let other = try IdempotentProducer(ProducerSettings(client: client))
        try "c".lend { try other.produce(other.topic(topic), partition: 0, key: nil, value: $0) }
        try other.flush()
        #expect(
            try client.read(topic) == [],
            "nothing before the commit, not even what stands behind it")
        #expect(try offsets() == PartitionOffsets(first: 0, committedEnd: 0, end: 3))
        try transaction.commit()
        #expect(try values() == ["a", "b", "c"])

        var aborted = try producer.begin()
        try aborted.add(target, value: "never", partition: 0)
        try waitForEnd(5)
        try aborted.abort()
        try producer.write(topic, ["d"])
        #expect(try values().contains("never") == false)
        #expect(try client.read(topic, .uncommitted).map(\.value).contains("never"))
        #expect(try values().last == "d")
    }

    @Test func `an older producer of the same id is fenced and stands back`() throws {
        let id = uniqueName("id")
        let old = try TransactionalProducer.ready(client, id)
        try old.write(topic, ["old 1"])
        let target = try old.topic(topic)
        var transaction = try old.begin()
        try transaction.add(target, value: "old 2", partition: 0)
        let new = try TransactionalProducer.ready(client, id)
        var error: KafkaError?
        do { try transaction.commit() } catch let caught { error = caught }
        #expect(
            error?.remedy == .standBack, "\(error.map(String.init(describing:)) ?? "committed")")
        #expect(old.isSpent)
        try new.write(topic, ["new"])
        #expect(try values() == ["old 1", "new"])
    }

    @Test func `a second member of the same instance name fences the first`() throws {
        let group = uniqueName("g")
        let first = try member(group, instance: "slot-0")
        _ = try first.takeAssignment()
        let second = try member(group, instance: "slot-0")
        let error = failure {
            for _ in 0..<200 {
                if case .assigned(let partitions) = try second.poll(timeoutMilliseconds: 50) {
                    try second.assign(partitions.map { Position($0, 0) })
                }
                _ = try first.poll(timeoutMilliseconds: 50)
            }
        }
        #expect(error?.remedy == .standBack)
        #expect(error?.name == "FENCED_INSTANCE_ID")
    }

    @Test func `headers, null and empty keys, tombstones and timestamps come back as they went`()
        throws
    {
        let producer = try TransactionalProducer.ready(client, uniqueName("id"))
        let target = try producer.topic(topic)
        var headers = RecordHeaders()
        headers.append("coldstream-schema", "scores/1")
        headers.append("coldstream-schema", "again")
        headers.append("null", nil)
        headers.append("empty", "")
        var transaction = try producer.begin()
        try transaction.produce(
            target, partition: 0, key: nil, value: .empty, headers: headers,
            timestampMilliseconds: 1_700_000_000_123)
        try transaction.add(target, key: "k", value: nil, partition: 0)
        try transaction.produce(target, partition: 0, key: .empty, value: nil)
        try transaction.add(target, key: "schlüssel", value: "\u{0}\u{1F600}", partition: 0)
        try transaction.commit()
        let read = try client.readSettled(topic)
        #expect(read.map(\.key) == [nil, "k", "", "schlüssel"])
        #expect(read.map(\.value) == ["", nil, nil, "\u{0}\u{1F600}"])
        #expect(read[0].timestamp == 1_700_000_000_123)
        #expect((read[1].timestamp ?? 0) > 1_700_000_000_123)
        #expect(
            read[0].headers == [
                .init(name: "coldstream-schema", value: "scores/1"),
                .init(name: "coldstream-schema", value: "again"),
                .init(name: "null", value: nil), .init(name: "empty", value: ""),
            ])
        #expect(read[1].headers == [])
    }

    @Test func `a key goes to the partition that Java clients choose`() throws {
        let producer = try TransactionalProducer.ready(client, uniqueName("id"))
        let target = try producer.topic(topic)
        var transaction = try producer.begin()
        let keys = (0..<300).map { String(repeating: "k", count: $0 % 7) + "\($0)" }
        for key in keys { try transaction.add(target, key: key, value: "v") }
        try transaction.commit()
        let read = try client.readSettled(topic, partitions: 0..<3)
        #expect(Set(read.map(\.key)) == Set(keys))
        for record in read {
            #expect(
                record.partition == record.key!.lend { Murmur2.partition($0, of: 3) },
                "\(record.key!)")
        }
        #expect(Set(read.map(\.partition)) == [0, 1, 2])
    }

    @Test func `offsets are committed by the transaction and by nothing else`() throws {
        let group = uniqueName("g")
        let producer = try TransactionalProducer.ready(client, uniqueName("id"))
        try producer.write(topic, ["a", "b"])
        let consumer = try member(group)
        let partitions = try consumer.takeAssignment()
        #expect(partitions == (0..<3).map { TopicPartition(topic, $0) })
        #expect(try consumer.take(2).map(\.value) == ["a", "b"])
        let place = TopicPartition(topic, 0)
        #expect(try consumer.committed([place]) == [:])

        var aborted = try producer.begin()
        try aborted.send([Position(place, 2)], of: consumer)
        try aborted.abort()
        #expect(try consumer.committed([place]) == [:])

        var transaction = try producer.begin()
        try transaction.send([Position(place, 2)], of: consumer)
        try transaction.commit()
        #expect(try consumer.committed(partitions) == [place: 2])
        consumer.close()

        // A new member goes on where the transaction said.
        try producer.write(topic, ["c"])
        let next = try member(group)
        try next.pollEvent { polled in
            guard case .assigned(let partitions) = polled else { return false }
            let known = try next.committed(partitions)
            try next.assign(partitions.map { Position($0, known[$0] ?? 0) })
            return true
        }
        #expect(try next.take(1).map(\.value) == ["c"])
    }

    @Test func `behind committed and aborted transactions the lag is none`() throws {
        let group = uniqueName("g")
        let offsets = try Offsets(client, group: group)
        let producer = try TransactionalProducer.ready(client, uniqueName("id"))
        let place = TopicPartition(topic, 0)
        #expect(try offsets.lag(behind: [Position(place, 0)]) == [place: Lag.none])
        try producer.write(topic, ["a", "b"])
        try client.waitUntilSettled(topic)
        #expect(try offsets.lag(behind: [Position(place, 0)]) == [place: .atMost(3)])
        #expect(try offsets.lag(behind: [Position(place, 1)]) == [place: .atMost(2)])
        // All records are processed; the marker at offset 2 is nobody's.
        #expect(try self.offsets().committedEnd == 3)
        #expect(try offsets.lag(behind: [Position(place, 2)]) == [place: Lag.none])
        let target = try producer.topic(topic)
        var aborted = try producer.begin()
        try aborted.add(target, value: "never", partition: 0)
        try waitForEnd(4)
        try aborted.abort()
        try client.waitUntilSettled(topic)
        #expect(try self.offsets().end == 5)
        #expect(try offsets.lag(behind: [Position(place, 2)]) == [place: Lag.none])
        #expect(
            try offsets.lag(behind: (0..<3).map { Position(topic, $0, 0) })
                == [
                    place: .atMost(5), TopicPartition(topic, 1): Lag.none,
                    TopicPartition(topic, 2): Lag.none,
                ])
    }

    @Test func `an open transaction holds the committed end and not the end`() throws {
        let producer = try TransactionalProducer.ready(client, uniqueName("id"))
        let target = try producer.topic(topic)
        try producer.write(topic, ["a"])
        try client.waitUntilSettled(topic)
        var transaction = try producer.begin()
        try transaction.add(target, value: "b", partition: 0)
        try waitForEnd(3)
        let during = try offsets()
        #expect(during == PartitionOffsets(first: 0, committedEnd: 2, end: 3))
        #expect(!during.isSettled)
        try transaction.commit()
        try client.waitUntilSettled(topic)
        #expect(try offsets() == PartitionOffsets(first: 0, committedEnd: 4, end: 4))
    }

    @Test func `members that come and go are seen as values`() throws {
        let group = uniqueName("g")
        let first = try member(group)
        #expect(try first.takeAssignment().count == 3)
        let second = try member(group)
        var parts: [[TopicPartition]] = []
        var revoked: [TopicPartition] = []
        let deadline = Deadline(milliseconds: 20_000)
        while parts.count < 2, !deadline.isOver {
            for consumer in [first, second] {
                switch try consumer.poll(timeoutMilliseconds: 50) {
                case .revoked(let partitions, _):
                    revoked = partitions
                    try consumer.unassign()
                case .assigned(let partitions):
                    parts.append(partitions)
                    try consumer.assign(partitions.map { Position($0, 0) })
                default: break
                }
            }
        }
        #expect(revoked.count == 3, "eager: everything is given back")
        #expect(Set(parts.joined()).count == 3)
        #expect(parts.map(\.count).sorted() == [1, 2])
        second.close()
        try first.pollEvent { polled in
            guard case .revoked = polled else { return false }
            try first.unassign()
            return true
        }
        #expect(try first.takeAssignment().count == 3)
    }

    @Test func `a member that did not poll in time has lost its partitions`() throws {
        let group = uniqueName("g")
        var settings = ConsumerSettings(client: client, group: group)
        settings.sessionTimeoutMilliseconds = 3_000
        settings.maximumPollIntervalMilliseconds = 3_000
        let slow = try Consumer(settings)
        try slow.subscribe(to: [topic])
        _ = try slow.takeAssignment()
        // A consumer with nothing to read waits on our behalf until the interval has passed.
        let idle = try Consumer(ConsumerSettings(client: client, group: group))
        for _ in 0..<5 { _ = try idle.poll(timeoutMilliseconds: 1_000) }
        var lost: [TopicPartition] = []
        var error: KafkaError?
        for _ in 0..<200 where lost.isEmpty {
            do {
                switch try slow.poll(timeoutMilliseconds: 100) {
                case .revoked(let partitions, let isLost):
                    #expect(isLost)
                    lost = partitions
                    try slow.unassign()
                default: break
                }
            } catch let caught { error = caught }
        }
        #expect(lost.count == 3)
        #expect(error?.remedy == .restart)
        #expect(error?.name == "_MAX_POLL_EXCEEDED")
    }

    @Test func `no committed offset and an expired one are for a person to decide`() throws {
        let producer = try TransactionalProducer.ready(client, uniqueName("id"))
        try producer.write(topic, ["a", "b", "c"])
        let consumer = try Consumer(ConsumerSettings(client: client, group: uniqueName("g")))
        try consumer.assign([TopicPartition(topic, 0)])
        let without = failure {
            for _ in 0..<600 { _ = try consumer.poll(timeoutMilliseconds: 100) }
        }
        #expect(without?.remedy == .fixSettings)
        #expect(without?.name == "_AUTO_OFFSET_RESET")

        try admin.deleteRecords(before: [Position(topic, 0, 2)])
        #expect(try offsets().first == 2)
        try consumer.assign([Position(topic, 0, 0)])
        let expired = failure {
            for _ in 0..<600 { _ = try consumer.poll(timeoutMilliseconds: 100) }
        }
        #expect(expired?.remedy == .fixSettings)
        try consumer.assign([Position(topic, 0, 2)])
        #expect(try consumer.take(1).map(\.value) == ["c"])
    }

    @Test func `topics are created, described, altered, grown and deleted`() throws {
        let name = uniqueName("admin")
        let wanted = NewTopic(
            name, partitions: 2, settings: ["cleanup.policy": "compact", "retention.ms": "5000"])
        try admin.create([wanted], validateOnly: true)
        #expect(try admin.describe(topics: [name]) == [], "asked only")
        try admin.create([wanted])
        let again = failure { try admin.create([wanted]) }
        #expect(again?.name == "TOPIC_ALREADY_EXISTS")
        #expect(again?.operation == "create topic \(name)")

        try admin.alter(
            topic: name, settings: ["retention.ms": "7000", "segment.bytes": "1048576"])
        try admin.grow(topic: name, to: 5)
        var found = try #require(try admin.describe(topics: ["absent", name]).first)
        #expect(found.name == name && found.partitions == 5 && found.replicas == 1)
        #expect(found.settings["retention.ms"] == .init(value: "7000", isSetHere: true))
        #expect(found.settings["cleanup.policy"] == .init(value: "compact", isSetHere: true))
        #expect(found.settings["segment.bytes"]?.isSetHere == true)
        #expect(found.settings["max.message.bytes"]?.isSetHere == false)

        try admin.alter(topic: name, settings: ["retention.ms": nil])
        found = try #require(try admin.describe(topics: [name]).first)
        #expect(found.settings["retention.ms"]?.isSetHere == false)
        #expect(found.settings["cleanup.policy"]?.isSetHere == true, "the others stay")

        let bad = failure { try admin.alter(topic: name, settings: ["retention.ms": "soon"]) }
        #expect(bad?.remedy == .fixSettings)
        #expect(failure { try admin.grow(topic: name, to: 3) }?.remedy == .fixSettings)
        try admin.delete(topics: [name])
        #expect(try admin.topicNames().contains(name) == false)
        #expect(failure { try admin.delete(topics: [name]) }?.name == "UNKNOWN_TOPIC_OR_PART")
    }

    @Test func `the cluster tells its brokers`() throws {
        try admin.connect()
        let cluster = try admin.describeCluster()
        #expect(cluster.brokers == [.init(id: 1, address: broker.address)])
        #expect(cluster.id != nil)
        #expect(cluster.controller == 1)
    }

    @Test func `a topic that does not exist is for a person to create`() throws {
        let producer = try TransactionalProducer.ready(client, uniqueName("id"))
        let start = ContinuousClock.now
        let error = failure { _ = try producer.topic(uniqueName("absent")) }
        #expect(error?.remedy == .fixSettings)
        #expect(error?.name == "UNKNOWN_TOPIC_OR_PART")
        let absent = uniqueName("absent")
        let consumer = try Consumer(ConsumerSettings(client: client, group: uniqueName("g")))
        try consumer.subscribe(to: [absent])
        let other = failure {
            for _ in 0..<500 { _ = try consumer.poll(timeoutMilliseconds: 100) }
        }
        #expect(other?.remedy == .fixSettings)
        #expect(other?.operation == "read from \(absent)")
        let time = milliseconds(since: start)
        #expect(
            (9_500..<60_000).contains(time), "\(time) ms: both have waited for it, not for ever")
    }

    @Test func `a topic that comes late is found by who looked for it before`() throws {
        let late = uniqueName("late")
        let producer = try IdempotentProducer(ProducerSettings(client: client))
        let consumer = try Consumer(ConsumerSettings(client: client, group: uniqueName("g")))
        try consumer.subscribe(to: [late])
        try consumer.pollEvent { _ in consumer.lastError?.isUnknownTopic == true }
        let found = Found()
        found.look { try producer.topic(late).partitionCount }
        let offsets = try Offsets(client, group: "reader")
        let place = TopicPartition(late, 0)
        let asked = Found()
        asked.look { Int(try offsets.offsets(of: [place])[place]!.end) + 7 }
        try admin.create([NewTopic(late, partitions: 1)])
        #expect(found.wait() == 1)
        #expect(asked.wait() == 7)
        #expect(try consumer.takeAssignment() == [TopicPartition(late, 0)])
        try "a".lend { try producer.produce(producer.topic(late), key: nil, value: $0) }
        try producer.flush()
        #expect(try consumer.take(1).map(\.value) == ["a"])
    }

    @Test func `the example of the README consumes, transforms and produces exactly once`() throws {
        let target = uniqueName("out")
        try admin.create([NewTopic(target, partitions: 1)])
        let producer = try TransactionalProducer.ready(client, uniqueName("id"))
        try producer.write(topic, ["a", "b", "stop"])
        try shout(from: topic, to: target, address: broker.address)
        #expect(try client.readSettled(target).map(\.value) == ["A", "B", "STOP"])
        try producer.write(topic, ["c", "stop"])
        try shout(from: topic, to: target, address: broker.address)
        #expect(try client.readSettled(target).map(\.value) == ["A", "B", "STOP", "C", "STOP"])
    }

    @Test
    func
        `a broker that is killed in a transaction ends it in time, and nothing is lost or doubled`()
        throws
    {
        // One of its own: other suites are at work on the shared one.
        let broker = try RealBroker()
        defer { broker.end() }
        let client = ClientProperties(bootstrapServers: broker.address)
        let admin = try Admin(client)
        try admin.create([NewTopic(topic, partitions: 3, replicas: 1)])
        let id = uniqueName("id")
        try TransactionalProducer.ready(client, id).write(topic, ["a"])
        try client.waitUntilSettled(topic)
        let producer = try TransactionalProducer.ready(client, id, timeoutMilliseconds: 2_000)
        let target = try producer.topic(topic)
        var transaction = try producer.begin()
        try transaction.add(target, value: "b", partition: 0)
        broker.kill()
        let start = ContinuousClock.now
        var error: KafkaError?
        do { try transaction.commit() } catch let caught { error = caught }
        let commitTime = milliseconds(since: start)
        #expect(error?.remedy == .restart)
        #expect(commitTime < 6_000, "\(commitTime) ms")

        // Every question to a dead broker ends too.
        let asked = ContinuousClock.now
        let reader = try Offsets(client, group: "reader")
        let unanswered = failure {
            _ = try reader.offsets(of: [TopicPartition(topic, 0)], timeoutMilliseconds: 1_000)
        }
        #expect(unanswered?.remedy == .retry)
        #expect(
            failure {
                _ = try reader.committed([TopicPartition(topic, 0)], timeoutMilliseconds: 1_000)
            }?
            .remedy == .retry)
        #expect(failure { _ = try admin.topicNames(timeoutMilliseconds: 1_000) }?.remedy == .retry)
        let askedTime = milliseconds(since: asked)
        #expect(askedTime < 8_000, "\(askedTime) ms")

        try broker.restart()
        let next = try TransactionalProducer.ready(client, id)
        try next.write(topic, ["b"])
        #expect(try client.readSettled(topic).map(\.value) == ["a", "b"])
    }
}

@Suite struct RealBrokerAbsence {
    /// So that nobody takes a green run without a broker for a full one.
    @Test func `a run without a broker says so`() {
        if !RealBroker.isAvailable {
            FileHandle.standardError.write(Data("SKIPPED: \(RealBroker.absence)\n".utf8))
        }
    }
}
