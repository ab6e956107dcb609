// A worker's place on a Kafka cluster: what `MemoryLogClient` is in memory.

import Bytes
import Contracts
import KafkaTransactions
import Streams

/// A log that is not what the group's offsets say it is.
public struct KafkaLogError: Error, Equatable, CustomStringConvertible {
    public let description: String
}

/// A `LogClient` over a consumer and the transactional producer of the same slot.
///
/// Any error it throws ends the process (`ExitCode`); neither client is used again.
public final class KafkaLogClient: LogClient {
    public let settings: KafkaLogSettings
    public private(set) var counters = LogCounters()
    /// When the newest assignment came; at first when this client was made.
    private var assignedAt = ContinuousClock.now
    /// Told now and then during a recovery: topic, partition, records read, end that is read up to.
    public var recoveryProgress:
        ((_ topic: String, _ partition: Int, _ at: Int64, _ end: Int64) -> Void)?
    /// Told every `waitReportMilliseconds` of a recovery in which nothing happens.
    public var recoveryWaits: ((RecoveryWait) -> Void)?
    private static let waitReportMilliseconds = 2_000
    /// Ends a process that hangs in a commit.
    public var watchdog: Watchdog?

    private let inputNumber: UInt16
    private let inputName: String
    private let consumer: Consumer
    private let output: Output
    private let offsets: Offsets
    private var mark: TransactionMark
    /// Reads what a recovery needs; gone when records flow.
    private var reader: Consumer?
    private var producerTopics: [ProducerTopic?] = []
    private var window: CollectWindow

    private var fetched = RecordBatch()
    private var fetchedHeaders = HeaderArena()
    private var order = ProduceOrder()
    /// By topic: what goes with its records.
    private var outgoing: [OutgoingHeaders] = []

    /// Partitions of the newest assignment, and where to start the ones that are recovered.
    private var assigned: [Int] = []
    private var starts: [Int: Int64] = [:]
    private var isUnanswered = false
    private var hasJoined = false
    /// Whether the group has told this worker its partitions, were it none.
    public private(set) var hasAssignment = false

    /// Since when no broker has been connected.
    private var brokerless: ContinuousClock.Instant?

    /// Partitions whose committed offset waits for a transaction that seems to hang.
    private var pending: Set<Int> = []
    /// What the commit that is under way, or has failed, was to commit.
    public private(set) var uncommitted: [InputPosition] = []

    private enum Output {
        case transactions(TransactionalProducer)
        case atLeastOnce(IdempotentProducer)
    }

    /// Connects and takes the slot over; joins the group at the first `collect`, so a job that only
    /// writes never does.
    ///
    /// - Throws: `.fixSettings` where credentials, rights or topics are wrong, `.retry` where no broker
    ///   answered in `connectMilliseconds`.
    public init<Topic: RawRepresentable>(
        _ settings: KafkaLogSettings, input: Topic, connectMilliseconds: Int = 15_000
    ) throws where Topic.RawValue == UInt16 {
        self.settings = settings
        window = CollectWindow(
            minimumMilliseconds: settings.collectMinimumMilliseconds,
            maximumMilliseconds: settings.collectMaximumMilliseconds)
        mark = TransactionMark(slot: settings.slotName)
        inputNumber = input.rawValue
        inputName = settings.topics[number: input.rawValue]
        output = try Self.makeOutput(settings, connectMilliseconds)
        offsets = try Offsets(settings.client, group: settings.group)
        var member = ConsumerSettings(client: settings.client, group: settings.group)
        member.instance = settings.slotName
        member.sessionTimeoutMilliseconds = settings.sessionTimeoutMilliseconds
        member.maximumPollIntervalMilliseconds = settings.recoveryMilliseconds
        member.queueBytes = settings.queueBytes
        member.reportsEnds = true
        member.reportsQueues = true
        consumer = try Consumer(member)
        for topic in settings.outputs { counters.writes(to: topic.rawValue) }
        try endRemains()
    }

    /// Ends what the slot's last process has left open where it writes, before anything is committed.
    private func endRemains() throws {
        guard case .transactions(let producer) = output else { return }
        var places: [TopicPartition] = []
        for topic in settings.outputs {
            let topic = try self.topic(topic.rawValue)
            places += (0..<topic.partitionCount).map { TopicPartition(topic.name, $0) }
        }
        let remains = Remains(settings: settings, input: inputName, offsets: offsets)
        // Some may be open by other slots, and stay as they are.
        let open = try remains.find(in: places)
        guard !open.isEmpty else { return }
        let wasCommitted = try remains.wasCommitted(among: places)
        try producer.endRemains(in: open, commits: wasCommitted)
        if !wasCommitted { counters.aborts += 1 }
    }

    private static func makeOutput(
        _ settings: KafkaLogSettings, _ connectMilliseconds: Int
    ) throws -> Output {
        var shared = ProducerSettings(client: settings.client)
        shared.queueBytes = settings.queueBytes
        shared.compression = settings.compression
        shared.reportsQueues = true
        switch settings.guarantee {
        case .exactlyOnce:
            var transactional = TransactionalProducerSettings(
                client: settings.client, transactionalID: settings.slotName)
            transactional.producer = shared
            transactional.transactionTimeoutMilliseconds = settings.transactionTimeoutMilliseconds
            let producer = try TransactionalProducer(transactional)
            try producer.connect(timeoutMilliseconds: connectMilliseconds)
            try producer.initialise()
            return .transactions(producer)
        case .atLeastOnce:
            let producer = try IdempotentProducer(shared)
            try producer.connect(timeoutMilliseconds: connectMilliseconds)
            return .atLeastOnce(producer)
        }
    }

    /// Ends the membership; the static member's partitions stay reserved until the session timeout.
    public func close() { consumer.close() }

    /// Lines of librdkafka's logs since the last call.
    public func takeLog() -> [LogLine] {
        let produced =
            switch output {
            case .transactions(let producer): producer.takeLog()
            case .atLeastOnce(let producer): producer.takeLog()
            }
        return consumer.takeLog() + produced
    }

    /// Takes note of what librdkafka has told of its queues and connections.
    func readQueues() {
        let producer =
            switch output {
            case .transactions(let producer): producer.condition
            case .atLeastOnce(let producer): producer.condition
            }
        let consumer = consumer.condition
        counters.producedBytes = producer.queueBytes
        counters.fetchedBytes = consumer.queueBytes
        counters.connectionsLost = producer.connectionsLost + consumer.connectionsLost
    }

    /// What it has done, for a worker that steps over nothing.
    public func inputMoment() -> InputMoment {
        readQueues()
        return InputMoment(topic: inputTopic, counters: counters)
    }

    /// Its partitions, with the next offset in the place of an ordinal.
    public func partitionStatuses() -> [PartitionStatus] {
        let (lags, now) = (lags, wallClock())
        return counters.next.sorted { $0.key < $1.key }.map { partition, next in
            let lag = lags[partition] ?? 0
            let age = counters.newestTimestamp.map { max(0, Double(now - $0) / 1e3) }
            return PartitionStatus(
                topic: inputTopic, partition: partition, ordinal: next, lag: lag,
                lagSeconds: lag > 0 ? age ?? 0 : 0)
        }
    }

    /// The contract's name of the input.
    var inputTopic: String { Topic(rawValue: inputNumber)?.name ?? inputName }

    private func topic(_ number: UInt16) throws -> ProducerTopic {
        while producerTopics.count <= Int(number) { producerTopics.append(nil) }
        if let known = producerTopics[Int(number)] { return known }
        let name = settings.topics[number: number]
        let found =
            switch output {
            case .transactions(let producer): try producer.topic(name)
            case .atLeastOnce(let producer): try producer.topic(name)
            }
        producerTopics[Int(number)] = found
        return found
    }

    /// How far the worker is behind, by partition, as the last answers of the broker told: an upper
    /// bound in records, 0 where everything has been processed.
    public var lags: [Int: Int64] {
        counters.lags { consumer.knownEnd(of: TopicPartition(inputName, $0)) }
    }

    // LogClient

    public func partitionCount<Topic: RawRepresentable>(_ topic: Topic) throws -> Int
    where Topic.RawValue == UInt16 { try self.topic(topic.rawValue).partitionCount }

    public func collect(limit: Int, into batch: inout [Record]) throws -> Collected {
        discard(&batch)
        if !hasJoined {
            try consumer.subscribe(to: [inputName])
            hasJoined = true
        }
        try answerAssignment()
        var wait = 0
        var hasWaited = false
        while batch.count < limit {
            switch try consumer.poll(timeoutMilliseconds: wait) {
            case .record(let record):
                if record.view.endsRemains { continue }
                append(record, to: &batch)
                if batch.count == 1 {
                    brokerless = nil
                    window.began(at: .now, wasWaiting: !hasWaited)
                } else if batch.count & 63 == 0, window.isOver(at: .now) {
                    return .records
                }
                wait = 0
            case .nothing:
                let now = ContinuousClock.now
                if batch.isEmpty {
                    guard !hasWaited else {
                        try checkConnections(now)
                        return .records
                    }
                    hasWaited = true
                    wait = settings.idleMilliseconds
                } else if let more = window.wait(at: now) {
                    wait = max(1, milliseconds(more))
                } else {
                    window.foundEmpty(at: now)
                    return .records
                }
            case .end(let position):
                counters.reached(end: position.offset, partition: position.partition.partition)
            case .assigned(let partitions):
                discard(&batch)
                counters.forgetEnds()
                window.forget()
                assigned = partitions.map(\.partition)
                starts = [:]
                isUnanswered = true
                assignedAt = ContinuousClock.now
                return .assigned(assigned)
            case .revoked(let partitions, let isLost):
                discard(&batch)
                counters.forgetEnds()
                window.forget()
                try consumer.unassign()
                assigned = []
                hasAssignment = false
                if isLost {
                    throw KafkaLogError(
                        description:
                            "the group \(settings.group) has expelled \(settings.slotName): it "
                            + "did not answer in time")
                }
                return .revoked(partitions.map(\.partition))
            }
        }
        return .records
    }

    private func checkConnections(_ now: ContinuousClock.Instant) throws {
        guard hasAssignment, !assigned.isEmpty, consumer.condition.brokersConnected == 0 else {
            brokerless = nil
            return
        }
        let since = brokerless ?? now
        brokerless = since
        guard milliseconds(now - since) >= settings.brokerlessMilliseconds else { return }
        throw KafkaLogError(
            description:
                "no broker has been connected for \(settings.brokerlessMilliseconds) ms: they are away, "
                + "or this client has lost sight of them; exit and let the supervisor start it again"
        )
    }

    private func age(of moment: ContinuousClock.Instant) -> Int {
        milliseconds(ContinuousClock.now - moment)
    }

    private func milliseconds(_ duration: Duration) -> Int {
        let parts = duration.components
        return Int(parts.seconds) * 1_000 + Int(parts.attoseconds / 1_000_000_000_000_000)
    }

    private func discard(_ batch: inout [Record]) {
        counters.discarded(batch.count)
        batch.removeAll(keepingCapacity: true)
        fetched.removeAll()
        fetchedHeaders.removeAll()
    }

    private func append(_ record: consuming FetchedRecord, to batch: inout [Record]) {
        let view = record.view
        fetched.append(record)
        counters.received(view.timestamp)
        let headers = settings.readsHeaders ? fetchedHeaders.encode(view) : Headers()
        batch.append(
            Record(
                topic: inputNumber, partition: view.partition, offset: view.offset,
                timestamp: view.timestamp ?? 0, key: view.key, value: view.value, headers: headers))
    }

    public func start(partition: Int, at offset: Int64) throws { starts[partition] = offset }

    /// Tells librdkafka where to start, once every assigned partition has been recovered.
    private func answerAssignment() throws {
        guard isUnanswered else { return }
        let positions = assigned.compactMap { partition in
            starts[partition].map { Position(inputName, partition, $0) }
        }
        precondition(positions.count == assigned.count, "assigned \(assigned), started \(starts)")
        isUnanswered = false
        reader = nil
        counters.assigned(starts)
        counters.recoverySeconds += (ContinuousClock.now - assignedAt) / .seconds(1)
        try consumer.assign(positions)
        hasAssignment = true
    }

    public func commit(_ outbox: borrowing Outbox, positions: [InputPosition]) throws {
        guard !outbox.isEmpty || !positions.isEmpty else { return }
        let started = ContinuousClock.now
        uncommitted = positions
        if let watchdog {
            try watchdog.limit(
                toMilliseconds: settings.commitMilliseconds, "a commit took too long"
            ) { try write(outbox, positions) }
        } else {
            try write(outbox, positions)
        }
        uncommitted = []
        let ended = ContinuousClock.now
        window.hasCommitted(at: ended)
        counters.committed(outbox, positions, taking: ended - started)
    }

    private func write(_ outbox: borrowing Outbox, _ positions: [InputPosition]) throws {
        switch output {
        case .transactions(let producer):
            try commit(outbox, positions, by: producer)
        case .atLeastOnce(let producer):
            for entry in outbox.entries { try produce(outbox, entry, by: producer) }
            try producer.flush()
            try consumer.commit(positions.map { Position(inputName, $0.partition, $0.next) })
        }
    }

    private func commit(
        _ outbox: borrowing Outbox, _ positions: [InputPosition], by producer: TransactionalProducer
    ) throws {
        order.removeAll()
        for entry in outbox.entries {
            let topic = try topic(entry.topic)
            order.append(
                topic: entry.topic,
                partition: entry.partition
                    ?? Murmur2.partition(outbox.key(of: entry)!, of: topic.partitionCount),
                of: topic.partitionCount)
        }
        var transaction = try producer.begin()
        mark.begin()
        try order.forEach {
            let entry = outbox.entries[$0]
            try produce(
                outbox, entry, Int(order.partitions[$0]), in: &transaction,
                hasPositions: !positions.isEmpty)
        }
        if !positions.isEmpty {
            try transaction.send(
                positions.map { Position(inputName, $0.partition, $0.next) }, of: consumer)
        }
        try transaction.commit()
    }

    private func produce(
        _ outbox: borrowing Outbox, _ entry: Outbox.Entry, _ partition: Int,
        in transaction: inout Transaction, hasPositions: Bool
    ) throws {
        let topic = try topic(entry.topic)
        if hasPositions, isRow(outbox, entry) {
            return try transaction.produce(
                topic, partition: partition, key: outbox.key(of: entry),
                value: outbox.value(of: entry), timestampMilliseconds: entry.timestamp)
        }
        let own = headers(outbox.headers(of: entry), of: entry.topic)
        if mark.takes(
            topic: entry.topic, partition: partition, key: outbox.key(of: entry),
            hasPositions: hasPositions, besides: own)
        {
            try transaction.produce(
                topic, partition: partition, key: outbox.key(of: entry),
                value: outbox.value(of: entry), headers: mark.headers,
                timestampMilliseconds: entry.timestamp)
        } else {
            try transaction.produce(
                topic, partition: partition, key: outbox.key(of: entry),
                value: outbox.value(of: entry), headers: own.list,
                timestampMilliseconds: entry.timestamp)
        }
    }

    /// Whether a record is a checkpoint's row, which goes without headers: they are three allocations, and
    /// rows are half of what a worker writes. Position and manifest say for all of them what contract it is.
    private func isRow(_ outbox: borrowing Outbox, _ entry: Outbox.Entry) -> Bool {
        entry.topic == Topic.checkpoints.rawValue && outbox.headers(of: entry).isEmpty
            && outbox.key(of: entry).flatMap(CheckpointNote.kind(ofKey:)) == nil
    }

    private func produce(
        _ outbox: borrowing Outbox, _ entry: Outbox.Entry, by producer: IdempotentProducer
    ) throws {
        let topic = try topic(entry.topic)
        if isRow(outbox, entry) {
            return try producer.produce(
                topic, partition: entry.partition, key: outbox.key(of: entry),
                value: outbox.value(of: entry), timestampMilliseconds: entry.timestamp)
        }
        try producer.produce(
            topic, partition: entry.partition, key: outbox.key(of: entry),
            value: outbox.value(of: entry),
            headers: headers(outbox.headers(of: entry), of: entry.topic).list,
            timestampMilliseconds: entry.timestamp)
    }

    /// What goes with a record: its own headers, or its topic's contract where it says nothing.
    private func headers(_ own: Headers, of topic: UInt16) -> OutgoingHeaders {
        while outgoing.count <= Int(topic) {
            outgoing.append(OutgoingHeaders(Topic(rawValue: UInt16(outgoing.count))))
        }
        outgoing[Int(topic)].take(own)
        return outgoing[Int(topic)]
    }

    /// The headers of a record of the last batch, read now where `readsHeaders` leaves them out.
    public func headers(of record: Record) -> Headers {
        guard !settings.readsHeaders else { return record.headers }
        for i in 0..<fetched.count
        where fetched[i].offset == record.offset && fetched[i].partition == record.partition {
            return fetchedHeaders.encode(fetched[i])
        }
        return Headers()
    }

    public func committedOffset(partition: Int) throws -> Int64? {
        let place = TopicPartition(inputName, partition)
        pending.remove(partition)
        // A transaction that the slot's last process left open is settled by now; another slot's may
        // take until its timeout. It was begun before this slot had the partition: what was waited for
        // one partition counts for the others.
        let began = ContinuousClock.now
        let limit = max(
            settings.hangingMilliseconds - age(of: assignedAt),
            min(settings.hangingMilliseconds, 2 * Self.waitReportMilliseconds))
        var reported = 0
        while true {
            let left = max(1, limit - age(of: began))
            do throws(KafkaError) {
                return try consumer.committed(
                    [place], timeoutMilliseconds: min(left, Self.waitReportMilliseconds))[place]
            } catch {
                let waited = age(of: began)
                if error.remedy == .retry, waited < limit {
                    if waited - reported >= Self.waitReportMilliseconds {
                        reported = waited
                        recoveryWaits?(
                            RecoveryWait(
                                partition: place, reason: .pendingOffset, milliseconds: waited,
                                limitMilliseconds: limit))
                    }
                    continue
                }
                // Who answers without regard to open transactions shows that one of them is why.
                let offset = try offsets.committedIgnoringPending([place])[place]
                pending.insert(partition)
                return offset
            }
        }
    }

    /// The group's offset waits for a transaction that nobody will end (KAFKA-20734). What this slot's
    /// last process left undecided is decided here, as its position record was: that is visible, then
    /// so is what was committed with it; or not, then nothing is.
    public func settle(partition: Int, committed: Int64?, position: Int64?) throws -> Int64? {
        guard pending.remove(partition) != nil, case .transactions(let producer) = output else {
            return committed
        }
        let isVisible = position.map { $0 > committed ?? -1 } ?? false
        let settled = isVisible ? position : committed
        var transaction = try producer.begin()
        try transaction.send([Position(inputName, partition, settled ?? 0)], of: consumer)
        if isVisible {
            try transaction.commit()
        } else {
            try transaction.abort()
            counters.aborts += 1
        }
        return settled
    }

    public func endReached(partition: Int) -> Int64? { counters.endReached(partition: partition) }

    public func startOffset(partition: Int) throws -> Int64 {
        let place = TopicPartition(inputName, partition)
        return try offsets.offsets(of: [place])[place]!.first
    }

    public func read<Topic: RawRepresentable>(
        _ topic: Topic, partition: Int, from first: Int64?, upTo end: Int64?,
        _ body: (Record) throws -> Void
    ) throws where Topic.RawValue == UInt16 {
        let name = settings.topics[number: topic.rawValue]
        let place = TopicPartition(name, partition)
        let bounds = try offsets.offsets(of: [place])[place]!
        let stop = end ?? bounds.end
        if stop > bounds.end {
            throw KafkaLogError(
                description:
                    "\(place) ends at offset \(bounds.end), before offset \(stop) that the group "
                    + "\(settings.group) has committed: the topic was deleted and made again, or its log "
                    + "was cut; restore a snapshot or reset the group and its checkpoints")
        }
        let start = max(first ?? bounds.first, 0)
        guard start < stop else { return }
        try read(topic.rawValue, Position(place, start), upTo: stop, body)
    }

    /// One reader for all partitions of a recovery: a new client takes half a second to find its way.
    private func recoveryReader() throws -> Consumer {
        if let reader { return reader }
        var reading = ConsumerSettings(client: settings.client, group: settings.group)
        reading.reportsEnds = true
        reading.queueBytes = min(settings.queueBytes, 64 << 20)
        // A fetch that waits at the end of one partition holds up the next one.
        reading.client.set("fetch.wait.max.ms", "10")
        let made = try Consumer(reading)
        reader = made
        return made
    }

    private func read(
        _ number: UInt16, _ start: Position, upTo stop: Int64, _ body: (Record) throws -> Void
    ) throws {
        let place = start.partition
        var reader = try recoveryReader()
        try reader.assign([start])
        defer { try? reader.unassign() }
        var headers = HeaderArena()
        var next = start.offset
        var progressed = Int64.min
        var count = 0
        var lastProgress = ContinuousClock.now
        var lastReader = lastProgress
        var lastReport = lastProgress
        var isHeldBack = false
        while true {
            switch try reader.poll(timeoutMilliseconds: 100) {
            case .record(let record):
                let view = record.view
                guard view.offset < stop else { return }
                // A new reader may begin with the rest of a batch.
                guard view.offset >= next else { continue }
                if !view.endsRemains {
                    headers.removeAll()
                    try body(
                        Record(
                            topic: number, partition: view.partition, offset: view.offset,
                            timestamp: view.timestamp ?? 0, key: view.key, value: view.value,
                            headers: settings.readsHeaders ? headers.encode(view) : Headers()))
                }
                next = view.offset + 1
                isHeldBack = false
                count += 1
                if count & 4095 == 0 {
                    recoveryProgress?(place.topic, view.partition, view.offset, stop)
                }
                if next == stop { return }
            case .end(let position):
                // Behind the last record stand only markers; or an open transaction holds the rest back.
                if position.offset >= stop { return }
                next = max(next, position.offset)
                isHeldBack = true
            default:
                if age(of: lastReport) >= Self.waitReportMilliseconds, next == progressed {
                    lastReport = .now
                    recoveryWaits?(
                        RecoveryWait(
                            partition: place,
                            reason: isHeldBack
                                ? .openTransaction(offset: next) : .records(offset: next),
                            milliseconds: age(of: lastProgress),
                            limitMilliseconds: settings.recoveryStallMilliseconds))
                }
                if next > progressed {
                    progressed = next
                    lastProgress = ContinuousClock.now
                    lastReader = lastProgress
                    lastReport = lastProgress
                } else if age(of: lastProgress) > settings.recoveryStallMilliseconds {
                    throw stalled(place, at: next, before: stop)
                } else if age(of: lastReader) > settings.recoveryRereadMilliseconds {
                    self.reader = nil
                    reader = try recoveryReader()
                    try reader.assign([Position(place, next)])
                    lastReader = ContinuousClock.now
                }
            }
        }
    }

    private func stalled(_ place: TopicPartition, at next: Int64, before stop: Int64)
        -> KafkaLogError
    {
        let bounds = try? offsets.offsets(of: [place])[place]
        let why =
            bounds.map {
                $0.committedEnd < stop
                    ? "a transaction is open there at offset \($0.committedEnd): start the slot that "
                        + "left it, or end it with kafka-transactions.sh"
                    : "the log goes on to offset \($0.end) and no transaction is open"
            } ?? "the broker does not answer"
        return KafkaLogError(
            description:
                "\(place) could not be read from offset \(next) up to \(stop): no record came for "
                + "\(settings.recoveryStallMilliseconds) ms; \(why)")
    }
}
