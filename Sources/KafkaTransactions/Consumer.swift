// A consumer whose `poll` returns everything that can happen as a value.

import Bytes
import CRdKafka

/// What a consumer is to do; the defaults are those of exactly-once.
public struct ConsumerSettings: Sendable {
    /// What a consumer does where its group has committed nothing, or what it committed is gone.
    public enum StartPolicy: String, Sendable {
        /// `poll` throws `.fixSettings`: neither skip nor repeat silently.
        case fail = "error"
        case earliest
        case latest
    }

    public enum Isolation: String, Sendable {
        case committed = "read_committed"
        case uncommitted = "read_uncommitted"
    }

    public var client: ClientProperties
    public var group: String
    /// Static membership: a process that comes back under the same name within the session timeout
    /// gets its partitions without a rebalance; a second one under the same name fences the first.
    public var instance: String?
    public var isolation = Isolation.committed
    public var startPolicy = StartPolicy.fail
    public var sessionTimeoutMilliseconds = 6_000
    /// Longer than the longest recovery: who does not poll for so long is expelled from the group.
    public var maximumPollIntervalMilliseconds = 300_000
    /// Whether `poll` reports that the end of a partition was reached.
    public var reportsEnds = false
    /// Whether `condition` is to tell how many bytes wait.
    public var reportsQueues = false
    /// Bytes of fetched records that may wait for `poll`. librdkafka pauses for a second when its
    /// thresholds are passed (before 2.2), so this should be as large as memory allows.
    public var queueBytes = 64 << 20

    public init(client: ClientProperties, group: String) {
        self.client = client
        self.group = group
    }
}

/// What `poll` found.
public enum Polled: ~Copyable {
    /// Nothing in the time given.
    case nothing
    case record(FetchedRecord)
    /// All records of a partition have been returned; `Position` is where the next one will be, behind
    /// any markers. Only where `reportsEnds` is set.
    case end(Position)
    /// These partitions are this consumer's now. Answer with `assign` before the next `poll`.
    case assigned([TopicPartition])
    /// These partitions are to be given back. `isLost`: this member was expelled and somebody else may
    /// have them already. Answer with `unassign` before the next `poll`.
    case revoked([TopicPartition], isLost: Bool)
}

/// What happened to a consumer's assignment.
enum Rebalance {
    case assigned([TopicPartition])
    case revoked([TopicPartition], isLost: Bool)
}

/// A member of a consumer group, or a reader of partitions that it chooses itself (`assign` without
/// `subscribe`).
///
/// The assignor is eager `range`: a rebalance takes everything away and then gives everything. Offsets
/// are committed by the transaction that holds the outputs, never by the consumer on its own. Not
/// `Sendable`: one thread.
public final class Consumer {
    let client: Client
    private let reportsEnds: Bool
    /// The rebalance that `poll` returned and the caller has not answered.
    private var unanswered = false
    private var missing: [MissingTopic] = []

    public init(_ settings: ConsumerSettings) throws(KafkaError) {
        // librdkafka refuses to fetch less at once than one record of what producers may send.
        let largestRecord = settings.client["message.max.bytes"].flatMap { Int($0) } ?? 0
        let fetchBytes = max(1 << 20, largestRecord, min(50 << 20, settings.queueBytes / 4))
        let queueKilobytes = max(1, (settings.queueBytes - fetchBytes) / 1024)
        var decided = [
            "group.id": settings.group,
            "enable.auto.commit": "false",
            "enable.auto.offset.store": "false",
            "isolation.level": settings.isolation.rawValue,
            "auto.offset.reset": settings.startPolicy.rawValue,
            "partition.assignment.strategy": "range",
            "session.timeout.ms": "\(settings.sessionTimeoutMilliseconds)",
            "heartbeat.interval.ms": "\(max(1, settings.sessionTimeoutMilliseconds / 4))",
            "max.poll.interval.ms":
                "\(max(settings.maximumPollIntervalMilliseconds, settings.sessionTimeoutMilliseconds))",
            "enable.partition.eof": settings.reportsEnds ? "true" : "false",
            // Bounded in bytes alone: what is counted in records stops fetching for a second.
            "queued.min.messages": "10000000",
            "queued.max.messages.kbytes": "\(min(queueKilobytes, 2_097_151))",
            "fetch.max.bytes": "\(fetchBytes)",
            "fetch.message.max.bytes": "\(min(1 << 20, fetchBytes))",
        ]
        decided["group.instance.id"] = settings.instance
        client = try Client(
            .consumer, settings.client, decided: decided,
            preferred: settings.reportsQueues ? Client.reportingQueues : [:],
            ifKnown: ["fetch.queue.backoff.ms": "5"]
        ) { conf in rd_kafka_conf_set_rebalance_cb(conf, keepRebalance) }
        reportsEnds = settings.reportsEnds
        // From here on `poll` serves the log and the errors too.
        let code = rd_kafka_poll_set_consumer(client.handle)
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else {
            throw client.error("create a consumer", code)
        }
    }

    /// Waits until a broker answers; for the start of a process, before `subscribe`.
    ///
    /// - Throws: `.fixSettings` when credentials or certificates are refused, `.retry` when nobody
    ///   answered in time.
    public func connect(timeoutMilliseconds: Int = 10_000) throws(KafkaError) {
        let handle = client.handle
        try client.connect(timeoutMilliseconds: timeoutMilliseconds) {
            if let message = rd_kafka_consumer_poll(handle, 0) { rd_kafka_message_destroy(message) }
        }
    }

    public func subscribe(to topics: [String]) throws(KafkaError) {
        let list = PartitionList(topics.map { TopicPartition($0, -1) })
        let code = list.lend { rd_kafka_subscribe(client.handle, $0) }
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else {
            throw client.error("subscribe to \(topics.joined(separator: ", "))", code)
        }
    }

    /// Waits for the next record or event, at most so long.
    ///
    /// Errors that pass by themselves are kept (`takeLog`, `lastError`) and do not end a poll.
    ///
    /// - Throws: `.standBack` when another process has taken the instance name, `.restart` when the
    ///   client cannot go on, `.fixSettings` for missing topics and rights, and for a position that the
    ///   log does not have.
    public func poll(timeoutMilliseconds: Int) throws(KafkaError) -> Polled {
        precondition(
            !unanswered, "a rebalance was polled and not answered: call assign or unassign first")
        if !missing.isEmpty { try lookForMissingTopics() }
        if let rebalance = nextRebalance() { return rebalance }
        guard let message = rd_kafka_consumer_poll(client.handle, Int32(timeoutMilliseconds)) else {
            return nextRebalance() ?? .nothing
        }
        if message.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR {
            return .record(FetchedRecord(owning: message, of: client))
        }
        return try handle(FetchedRecord(owning: message, of: client))
    }

    private func nextRebalance() -> Polled? {
        guard !client.events.rebalances.isEmpty else { return nil }
        unanswered = true
        return switch client.events.rebalances.removeFirst() {
        case .assigned(let partitions): .assigned(partitions)
        case .revoked(let partitions, let isLost): .revoked(partitions, isLost: isLost)
        }
    }

    /// What librdkafka says in the place of a record.
    private func handle(_ said: consuming FetchedRecord) throws(KafkaError) -> Polled {
        let message = said.view.message
        let code = message.pointee.err
        let place = message.pointee.rkt.map { " from \(String(cString: rd_kafka_topic_name($0)))" }
        if code == RD_KAFKA_RESP_ERR__PARTITION_EOF {
            return .end(Position(said.view.topicName.text, said.view.partition, said.view.offset))
        }
        let operation = "read\(place ?? "")"
        if code == RD_KAFKA_RESP_ERR__FATAL, let fatal = client.fatalError(operation) {
            throw fatal
        }
        let reason = rd_kafka_message_errstr(message).map { String(cString: $0) }
        let error = client.error(operation, code, reason: reason)
        client.events.lastError = error
        if error.remedy == .retry { return .nothing }
        if error.isUnknownTopic, let topic = message.pointee.rkt {
            let name = String(cString: rd_kafka_topic_name(topic))
            if !missing.contains(where: { $0.name == name }) {
                missing.append(MissingTopic(name, partition: said.view.partition, error))
            }
            return .nothing
        }
        throw error
    }

    /// A topic that a broker did not know. librdkafka says so once, and then keeps silent.
    private struct MissingTopic {
        let name: String
        /// The partition that must be there; -1 where any will do.
        let partition: Int
        let error: KafkaError
        let patience = Deadline(milliseconds: KafkaError.unknownTopicMilliseconds)
        var next = Deadline(milliseconds: 0)

        init(_ name: String, partition: Int, _ error: KafkaError) {
            self.name = name
            self.partition = partition
            self.error = error
        }
    }

    /// Asks again twice a second; the answer also tells librdkafka that the topic is there.
    private func lookForMissingTopics() throws(KafkaError) {
        var still: [MissingTopic] = []
        for var topic in missing {
            if topic.next.isOver {
                topic.next = Deadline(milliseconds: 500)
                if try isThere(topic) { continue }
            }
            still.append(topic)
        }
        missing = still
    }

    /// Asks a broker whether all of these partitions are there; nil: it did not answer.
    func hasPartitions(
        _ partitions: [TopicPartition], _ deadline: Deadline
    ) throws(KafkaError) -> Bool? {
        var last: [String: Int] = [:]
        for place in partitions { last[place.topic] = max(last[place.topic] ?? 0, place.partition) }
        for (name, partition) in last {
            guard let handle = rd_kafka_topic_new(client.handle, name, nil) else { continue }
            defer { rd_kafka_topic_destroy(handle) }
            do {
                let count = try client.partitionCount(
                    handle, name, max(1, min(1_000, deadline.remaining)))
                if count <= partition { return false }
            } catch {
                if error.isUnknownTopic { return false }
                if error.remedy != .retry { throw error }
                return nil
            }
        }
        return true
    }

    /// - Throws: what librdkafka said of the topic, when it has been missing for long enough.
    private func isThere(_ topic: MissingTopic) throws(KafkaError) -> Bool {
        let place = TopicPartition(topic.name, topic.partition)
        // No answer is no proof that it is missing.
        guard let isThere = try hasPartitions([place], Deadline(milliseconds: 500)) else {
            return false
        }
        if !isThere, topic.patience.isOver { throw topic.error }
        return isThere
    }

    /// Reads these partitions from these offsets on; replaces what was assigned before.
    ///
    /// Answers `.assigned`. Without a group subscription it chooses what a reader reads.
    public func assign(_ positions: [Position]) throws(KafkaError) {
        let list = PartitionList(positions)
        let code = list.lend { rd_kafka_assign(client.handle, $0) }
        unanswered = false
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else {
            throw client.fatalError("take partitions")
                ?? client.error("take partitions", code, .harmful)
        }
    }

    /// Reads these partitions from the group's committed offsets on; where there is none, the start
    /// policy decides.
    public func assign(_ partitions: [TopicPartition]) throws(KafkaError) {
        try assign(partitions.map { Position($0, Int64(RD_KAFKA_OFFSET_STORED)) })
    }

    /// Stops reading everything. Answers `.revoked`.
    public func unassign() throws(KafkaError) {
        let code = rd_kafka_assign(client.handle, nil)
        unanswered = false
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else {
            throw client.fatalError("give partitions back")
                ?? client.error("give partitions back", code, .harmful)
        }
    }

    /// Commits positions outside any transaction: at-least-once, for what needs no more.
    public func commit(_ positions: [Position]) throws(KafkaError) {
        let list = PartitionList(positions)
        let code = list.lend { rd_kafka_commit(client.handle, $0, 0) }
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else { throw client.error("commit offsets", code) }
    }

    /// The group's committed offsets; a partition without one is absent.
    ///
    /// Waits out offsets of a transaction that has not ended yet.
    public func committed(
        _ partitions: [TopicPartition], timeoutMilliseconds: Int = 10_000
    ) throws(KafkaError) -> [TopicPartition: Int64] {
        let list = PartitionList(partitions)
        let code = list.lend { rd_kafka_committed(client.handle, $0, Int32(timeoutMilliseconds)) }
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else {
            throw client.error("read committed offsets", code)
        }
        if let (partition, code) = list.firstError {
            throw client.error("read the committed offset of \(partition)", code)
        }
        return list.offsets
    }

    /// Where the partition ended when the broker last answered a fetch; nil before the first answer.
    public func knownEnd(of partition: TopicPartition) -> Int64? {
        var low: Int64 = 0
        var high: Int64 = 0
        let code = rd_kafka_get_watermark_offsets(
            client.handle, partition.topic, Int32(partition.partition), &low, &high)
        return code == RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0 ? high : nil
    }

    /// Ends the membership. A static member keeps its partitions until the session timeout.
    ///
    /// May wait for a coordinator that does not answer: bound it by a watchdog, or let the process
    /// end without it.
    public func close() {
        client.events.isClosing = true
        _ = rd_kafka_consumer_close(client.handle)
    }

    /// Lines of librdkafka's log since the last call, at most 256.
    public func takeLog() -> [LogLine] { client.takeLog() }

    public var condition: ClientCondition { client.condition }

    /// The newest error that did not end a poll.
    public var lastError: KafkaError? { client.events.lastError }
}

/// Runs on the polling thread, inside `poll` or `close`; the answer follows later, from the caller.
private func keepRebalance(
    _ client: OpaquePointer?, _ code: rd_kafka_resp_err_t,
    _ partitions: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>?,
    _ opaque: UnsafeMutableRawPointer?
) {
    let events = ClientEvents.of(opaque)
    guard !events.isClosing else {
        rd_kafka_assign(client, nil)
        return
    }
    let names = partitions.map { PartitionList.partitions($0).sorted() } ?? []
    if code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
        events.rebalances.append(.assigned(names))
    } else {
        events.rebalances.append(.revoked(names, isLost: rd_kafka_assignment_lost(client) != 0))
    }
    rd_kafka_yield(client)  // so that `poll` returns now and not at its timeout
}
