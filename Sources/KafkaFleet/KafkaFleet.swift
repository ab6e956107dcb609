// The roles of a fleet on Kafka: the same steps and jobs as in `EmbeddedFleet`, one a process.

import Bytes
import Contracts
import EmbeddedFleet
import Encode
import Enrich
import Finetune
import FleetSettings
import Gateway
import KafkaTransactions
import Streams
import TextEncoding
import WorkerRuntime

/// What all roles of a fleet share, and how each is made.
public struct KafkaFleet: Sendable {
    public let settings: FleetSettings
    public let client: ClientProperties
    public let topics: TopicNames
    /// The key under which user ids are hashed; nil = the fixed one.
    public let userHashKey: (UInt64, UInt64)?
    private let environment: [String: String]
    /// Of every role; anything but exactly-once is for comparison.
    public var guarantee = KafkaLogSettings.Guarantee.exactlyOnce
    /// Without a head finetune counts and publishes shrunken rates; for comparison.
    public var usesHead = true

    /// - Parameters:
    ///   - brokers: addresses that stand above those of the settings.
    ///   - environment: where `${env:NAME}` in client properties and an encoder's secret are looked up.
    public init(
        _ settings: FleetSettings, brokers: String? = nil, userHashKey: (UInt64, UInt64)? = nil,
        environment: [String: String] = [:]
    ) throws {
        self.settings = settings
        self.userHashKey = userHashKey
        self.environment = environment
        var entries = settings.clientProperties
        if let brokers { entries["bootstrap.servers"] = brokers }
        var client = try ClientProperties(
            entries: entries, source: "cluster.client_properties of \(settings.file)",
            environment: environment)
        // What the topics take (`WantedTopic`), or more; less would end a worker, for ever again.
        let given = client["message.max.bytes"].flatMap { Int($0) } ?? 0
        client.set("message.max.bytes", "\(max(given, Limit.messageBytes))")
        self.client = client
        var mapping: [Topic: String] = [:]
        for (name, mapped) in settings.topicNames {
            if let topic = Topic(name: name) { mapping[topic] = mapped }
        }
        topics = TopicNames(fleet: settings.fleet, mapping: mapping)
    }

    /// What each role writes in transactions.
    private static let outputs: [String: [Topic]] = [
        "enrich": [.domainLog, .texts, .deadLetters, .checkpoints],
        "finetune": [
            .scores, .domainStatistics, .evaluations, .examples, .domainLog, .deadLetters,
            .checkpoints,
        ],
        "encode": [.domainLog, .textVectors, .deadLetters],
        "encode-texts": [.domainLog, .textVectors, .deadLetters],
        "gateway": [.events, .catalog, .deadLetters, .checkpoints],
        "settings": [.domainLog, .checkpoints],
    ]

    /// One slot's place on the cluster.
    public func place(role: String, slot: Int) -> KafkaLogSettings {
        var place = KafkaLogSettings(
            client: client, fleet: settings.fleet, role: role, slot: slot, topics: topics)
        place.guarantee = guarantee
        place.queueBytes = queueBytes
        place.outputs = Self.outputs[role] ?? []
        if settingsRoles.contains(role) {
            place.collectMinimumMilliseconds = Int(settings.integer("collect_min_ms", role: role))
            place.collectMaximumMilliseconds = Int(settings.integer("collect_max_ms", role: role))
        }
        return place
    }

    /// Fetched records that may wait, and produced ones: librdkafka stops fetching for a second where this
    /// is passed (before 2.2), so a sixteenth of the role's memory, and no more than drains in two seconds.
    private var queueBytes: Int {
        let memory = settings.value("memory_bytes").value?.integer ?? 4 << 30
        return Int(min(max(memory / 16, 16 << 20), 256 << 20))
    }

    /// What goes around a worker: what an operator sees, and what ends it when it hangs.
    public struct Surroundings: Sendable {
        public var status: WorkerStatus
        public var journal: Journal
        public var watchdog: Watchdog

        public init(status: WorkerStatus, journal: Journal, watchdog: Watchdog = Watchdog()) {
            self.status = status
            self.journal = journal
            self.watchdog = watchdog
        }
    }

    public func enrich(slot: Int, _ around: Surroundings) throws -> KafkaWorker<Enrich> {
        let place = place(role: "enrich", slot: slot)
        let log = try KafkaLogClient(place, input: Topic.events)
        try refuseOtherPartitions(log, of: [.events, .domainLog, .checkpoints])
        let role = enrichRole(
            domainLogPartitions: try log.partitionCount(Topic.domainLog),
            identity: place.identity)
        return KafkaWorker(
            role: role, log: log, input: Topic.events, checkpoints: Topic.checkpoints,
            limits: WorkerLimits(settings, role: "enrich"), ticks: enrichTicks,
            metrics: .enrich, status: around.status, journal: around.journal,
            watchdog: around.watchdog)
    }

    func enrichRole(
        domainLogPartitions: Int, identity: WriterIdentity? = nil
    ) -> Enrich {
        Enrich(
            EnrichSettings(
                settings, domainLogPartitions: domainLogPartitions, userHashKey: userHashKey),
            identity: identity)
    }

    /// Time goes on in a quiet partition of events while something waits for it.
    private var enrichTicks: TickRule<EnrichState>? {
        let period = Int(settings.integer("tick_period_ms"))
        guard period > 0 else { return nil }
        return TickRule(
            periodMilliseconds: period,
            headers: [TopicContract.header(.events), ("coldstream-tick", settings.fleet)],
            waitingSince: { $0.needsTicks ? $0.newestTime : nil },
            appendValue: { time, bytes in Event(type: .tick, time_ms: time).append(to: &bytes) })
    }

    public func finetune(slot: Int, _ around: Surroundings) throws -> KafkaWorker<FinetuneStep> {
        var place = place(role: "finetune", slot: slot)
        place.readsHeaders = false  // nothing in domain-log's headers concerns the step
        let log = try KafkaLogClient(place, input: Topic.domainLog)
        try refuseOtherPartitions(log, of: [.domainLog, .checkpoints])
        let role = finetuneRole(
            domainLogPartitions: try log.partitionCount(Topic.domainLog), identity: place.identity)
        role.headersOf = { log.headers(of: $0) }
        around.status.describe { $0.numerics = settings.text("numerics") }
        return KafkaWorker(
            role: role, log: log, input: Topic.domainLog, checkpoints: Topic.checkpoints,
            limits: WorkerLimits(settings, role: "finetune"),
            metrics: .finetune(domainsMaximum: Int(settings.integer("domains_max"))),
            status: around.status,
            journal: around.journal, watchdog: around.watchdog)
    }

    func finetuneRole(
        domainLogPartitions: Int, identity: WriterIdentity? = nil
    ) -> FinetuneStep {
        FinetuneStep(
            caps: FinetuneCaps(settings), domainLogPartitions: domainLogPartitions,
            hashBits: Int(settings.integer("hash_bits")),
            numerics: settings.text("numerics") ?? "haswell", usesHead: usesHead,
            identity: identity)
    }

    /// The role encode: one client for each of its inputs, each in a group of its own.
    ///
    /// Hashed n-grams are made in its turns; every other encoder has a thread of its own.
    public func encode(slot: Int, _ around: Surroundings) throws -> EncodeWorker {
        let encoder = try settings.makeEncoder(environment: environment)
        let batch = Int(settings.integer("batch"))
        let maker: (any VectorMaker)?
        switch settings.text("encoder") {
        case "ngrams": maker = encoder.map { InlineVectorMaker($0, batch: batch) }
        case "http":
            // One call sends as many requests as may be on their way.
            let calls = Int(settings.integer("concurrency"))
            maker = encoder.map { background($0, batch: batch * calls) }
        default: maker = encoder.map { background($0, batch: batch) }
        }
        let place = place(role: "encode", slot: slot)
        var texts = self.place(role: "encode-texts", slot: slot)
        texts.collectMinimumMilliseconds = place.collectMinimumMilliseconds
        texts.collectMaximumMilliseconds = place.collectMaximumMilliseconds
        let job = try Encode(
            EncodeSettings(settings), client: try KafkaLogClient(place, input: Topic.catalog),
            texts: try KafkaLogClient(texts, input: Topic.texts),
            maker: maker, identity: place.identity)
        return EncodeWorker(job, maker, around)
    }

    private func background(_ encoder: any TextEncoder, batch: Int) -> BackgroundVectorMaker {
        // Made here, and used on the maker's thread alone.
        nonisolated(unsafe) let encoder = encoder
        return BackgroundVectorMaker(encoder, batch: batch)
    }

    /// The job that appends an input; at most one at a time has a slot.
    public func ingest(_ input: IngestInput, slot: Int = 0) throws -> Ingest<KafkaLogClient> {
        let log = try KafkaLogClient(place(role: "gateway", slot: slot), input: Topic.events)
        return try Ingest(GatewaySettings(settings), client: log, input: input)
    }

    /// The hash of what finetune's step uses of the settings.
    var settingsHash: String { FinetuneSettings(settings).canonical.lend { SHA256.hex($0) } }

    /// Where `checkpoints` keeps the hash of the newest settings of a domain-log partition.
    func settingsKey(_ partition: Int) -> String { "\(settings.fleet).settings/\(partition)" }

    /// Users have their place in `events` and domains theirs in `domain-log` by the number of partitions.
    ///
    /// - Parameter uses: topics that the role has rights to look up and that its place depends on.
    private func refuseOtherPartitions(_ log: KafkaLogClient, of uses: [Topic]) throws {
        for wanted in wantedTopics where uses.contains(wanted.topic) {
            let found = try log.partitionCount(wanted.topic)
            guard found != wanted.partitions else { continue }
            throw WorkerSettingsError(
                "\(TopicDifference.partitions(wanted, found: found).description); "
                    + refusalOfPartitions(wanted.topic, found: found))
        }
    }

    func refusalOfPartitions(_ topic: Topic, found: Int) -> String {
        "another number sends keys elsewhere, where nothing is known of them. If it has had \(found) from "
            + "the fleet's beginning, say so in the settings (topics.\(topic.name).partitions); else begin "
            + "a new fleet under another name"
    }

    /// Writes the settings of the step into every domain-log partition where they are not the newest:
    /// the first record there, before any worker of the fleet starts.
    ///
    /// The hash of the newest stands in `checkpoints`, written in the same transaction, so that a long
    /// domain-log need not be read; so does the number of partitions with which the fleet began.
    ///
    /// - Returns: the partitions that were written to.
    /// - Throws: `WorkerSettingsError` where `events` or `domain-log` has grown since the fleet began.
    @discardableResult
    public func writeSettings(time: Int64) throws -> [Int] {
        let log = try KafkaLogClient(place(role: "settings", slot: 0), input: Topic.domainLog)
        let canonical = FinetuneSettings(settings).canonical
        let hash = settingsHash
        var outbox = Outbox()
        var written: [Int] = []
        func note(_ key: String, _ value: String, in partition: Int) {
            outbox.begin(Topic.checkpoints, partition: partition)
            outbox.bytes.append(key)
            outbox.beginValue()
            outbox.bytes.append(value)
            outbox.end()
        }
        for partition in 0..<(try log.partitionCount(Topic.domainLog)) {
            let key = settingsKey(partition)
            let notes = try notes(log, partition)
            if partition == 0 {
                for topic in [Topic.events, .domainLog] {
                    let now = try log.partitionCount(topic)
                    try refuseGrowth(of: topic, from: notes[partitionsKey(topic)], to: now)
                    if notes[partitionsKey(topic)] == nil {
                        note(partitionsKey(topic), "\(now)", in: 0)
                    }
                }
            }
            guard notes[key] != hash else { continue }
            append(canonical, hash, time, partition, to: &outbox)
            note(key, hash, in: partition)
            written.append(partition)
        }
        try log.commit(outbox, positions: [])
        return written
    }

    /// Where `checkpoints` keeps with how many partitions a topic began.
    private func partitionsKey(_ topic: Topic) -> String {
        "\(settings.fleet).settings/partitions/\(topic.name)"
    }

    private func refuseGrowth(of topic: Topic, from first: String?, to now: Int) throws {
        guard let first, first != "\(now)" else { return }
        throw WorkerSettingsError(
            "\(topics[topic]) has \(now) partitions, and the fleet began with \(first); another number "
                + "sends keys elsewhere, where nothing is known of them: begin a new fleet under another "
                + "name, or make the topic again with \(first) and append its records")
    }

    /// What `writeSettings` has noted in a partition of `checkpoints`: the newest value by key.
    private func notes(_ log: KafkaLogClient, _ partition: Int) throws -> [String: String] {
        let prefix = Array("\(settings.fleet).settings/".utf8)
        var notes: [String: String] = [:]
        try log.read(Topic.checkpoints, partition: partition, from: nil, upTo: nil) { record in
            guard let key = record.key, key.count > prefix.count,
                prefix.lend({ $0.equals(key.slice(0, $0.count)) })
            else { return }
            notes[key.text] = record.value?.text
        }
        return notes
    }

    private func append(
        _ canonical: [UInt8], _ hash: String, _ time: Int64, _ partition: Int,
        to outbox: inout Outbox
    ) {
        var headers = ByteBuffer()
        let (name, value) = TopicContract.header(.domainLog)
        name.lend { name in value.lend { Headers.append(name, $0, to: &headers) } }
        outbox.begin(Topic.domainLog, partition: partition, hasKey: false)
        outbox.beginValue()
        Array(hash.utf8).lend { hash in
            canonical.lend { bytes in
                var record = SettingsRecord()
                record.time_ms = time
                record.hash = hash
                record.settings = bytes
                record.append(to: &outbox.bytes)
            }
        }
        outbox.end(headers: Headers(encoded: headers.slice))
    }
}
