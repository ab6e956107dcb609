// All roles in one process on a MemoryLog: the embedded default, the tests' fleet and the replay's.

import Bytes
import Contracts
import Encode
import Enrich
import Finetune
import FleetSettings
import Gateway
import Streams
import TextEncoding

/// How an embedded fleet is laid out.
public struct FleetLayout: Sendable, Equatable {
    public var eventsPartitions = 1
    public var domainLogPartitions = 1
    /// Input lines that the gateway appends before the other roles have their turn.
    public var linesPerTurn = 1_000

    public init() {}

    /// Topics of the log; checkpoints have as many partitions as the largest input.
    public var topics: [MemoryTopic] {
        Topic.allCases.map { topic in
            let partitions: Int
            switch topic {
            case .events: partitions = eventsPartitions
            case .domainLog: partitions = domainLogPartitions
            case .checkpoints: partitions = max(eventsPartitions, domainLogPartitions)
            default: partitions = 1
            }
            return MemoryTopic(
                name: topic.name, partitions: partitions, isCompacted: topic.isCompacted)
        }
    }
}

/// Gateway, encode, enrich and finetune over one log, turn by turn on the caller's thread.
///
/// A crash of a role (an injected one, or any error from the log) is the caller's to catch: it calls
/// `restart` and goes on. Nothing is lost and nothing comes twice.
public final class EmbeddedFleet {
    public typealias EnrichWorker = StepWorker<Enrich, MemoryLogClient>
    public typealias FinetuneWorker = StepWorker<FinetuneStep, MemoryLogClient>

    public let log: MemoryLog
    public let layout: FleetLayout
    public let settings: FleetSettings
    private let userHashKey: (UInt64, UInt64)?
    public private(set) var enrich: EnrichWorker
    public private(set) var finetune: FinetuneWorker
    public private(set) var encode: Encode<MemoryLogClient>
    /// Makes the texts' vectors, in encode's turns; nil where the settings want none.
    public let maker: InlineVectorMaker?
    /// The input that is being appended; `nil` before `begin`.
    public private(set) var ingest: Ingest<MemoryLogClient>?
    private var input: IngestInput?

    /// - Parameters:
    ///   - log: has `layout.topics`, and may hold what an earlier run left.
    ///   - userHashKey: the key under which user ids are hashed; `nil` = the fixed one.
    ///   - environment: where an encoder looks for its secret.
    public init(
        _ settings: FleetSettings, layout: FleetLayout, log: MemoryLog,
        userHashKey: (UInt64, UInt64)? = nil, environment: [String: String] = [:]
    ) throws {
        self.settings = settings
        self.layout = layout
        self.log = log
        self.userHashKey = userHashKey
        try EmbeddedFleet.appendSettings(settings, layout, log)
        enrich = EmbeddedFleet.makeEnrich(settings, layout, log, userHashKey)
        finetune = EmbeddedFleet.makeFinetune(settings, layout, log)
        maker = try settings.makeEncoder(environment: environment).map {
            InlineVectorMaker($0, batch: Int(settings.integer("batch")))
        }
        encode = try EmbeddedFleet.makeEncode(settings, log, maker)
    }

    private static func client(
        _ settings: FleetSettings, _ log: MemoryLog, _ role: String, _ input: Topic
    ) -> MemoryLogClient {
        MemoryLogClient(
            log, group: "\(settings.fleet).\(role)", input: input,
            transactionalID: "\(settings.fleet).\(role).0")
    }

    private static func makeEnrich(
        _ settings: FleetSettings, _ layout: FleetLayout, _ log: MemoryLog, _ key: (UInt64, UInt64)?
    ) -> EnrichWorker {
        StepWorker(
            role: Enrich(
                EnrichSettings(
                    settings, domainLogPartitions: layout.domainLogPartitions, userHashKey: key),
                identity: WriterIdentity(worker: "\(settings.fleet).enrich")),
            client: client(settings, log, "enrich", .events), group: "\(settings.fleet).enrich",
            input: Topic.events, checkpoints: Topic.checkpoints,
            limits: WorkerLimits(settings, role: "enrich"))
    }

    private static func makeFinetune(
        _ settings: FleetSettings, _ layout: FleetLayout, _ log: MemoryLog
    ) -> FinetuneWorker {
        StepWorker(
            role: FinetuneStep(
                caps: FinetuneCaps(settings), domainLogPartitions: layout.domainLogPartitions,
                hashBits: Int(settings.integer("hash_bits")),
                numerics: settings.text("numerics") ?? "haswell",
                identity: WriterIdentity(worker: "\(settings.fleet).finetune")),
            client: client(settings, log, "finetune", .domainLog),
            group: "\(settings.fleet).finetune", input: Topic.domainLog,
            checkpoints: Topic.checkpoints, limits: WorkerLimits(settings, role: "finetune"))
    }

    private static func makeEncode(
        _ settings: FleetSettings, _ log: MemoryLog, _ maker: InlineVectorMaker?
    ) throws -> Encode<MemoryLogClient> {
        try Encode(
            EncodeSettings(settings), client: client(settings, log, "encode", .catalog),
            texts: client(settings, log, "encode-texts", .texts), maker: maker,
            identity: WriterIdentity(worker: "\(settings.fleet).encode"))
    }

    /// The first record of every domain-log partition is the settings; a later one where they changed.
    static func appendSettings(
        _ settings: FleetSettings, _ layout: FleetLayout, _ log: MemoryLog
    ) throws {
        let canonical = FinetuneSettings(settings).canonical
        let reader = DomainLogReader()
        for partition in 0..<layout.domainLogPartitions {
            var newest: [UInt8]?
            try log.read(Topic.domainLog, partition: partition) { record in
                if let value = record.value, try reader.read(value) == .settings {
                    newest = reader.settings.settings.copy()
                }
            }
            guard newest != canonical else { continue }
            var buffer = ByteBuffer()
            let hash = Array(canonical.lend { SHA256.hex($0) }.utf8)
            hash.lend { hash in
                canonical.lend { bytes in
                    var record = SettingsRecord()
                    record.time_ms = log.now
                    record.hash = hash
                    record.settings = bytes
                    record.append(to: &buffer)
                }
            }
            try log.append(Topic.domainLog, partition: partition, key: nil, value: buffer.slice)
        }
    }

    /// Opens an input; what an earlier run has appended of it is not appended again.
    public func begin(_ input: IngestInput) throws {
        self.input = input
        var gateway = GatewaySettings(settings)
        gateway.linesPerTurn = layout.linesPerTurn
        let log = log
        ingest = try Ingest(
            gateway, client: EmbeddedFleet.client(settings, log, "gateway", .events), input: input,
            moveClock: { log.now = max(log.now, $0) })
    }

    /// All roles anew, as after a crash of the process.
    public func restart() throws {
        enrich.client.leave()
        finetune.client.leave()
        encode.client.leave()
        encode.textsClient?.leave()
        enrich = EmbeddedFleet.makeEnrich(settings, layout, log, userHashKey)
        finetune = EmbeddedFleet.makeFinetune(settings, layout, log)
        encode = try EmbeddedFleet.makeEncode(settings, log, maker)
        if let input { try begin(input) }
    }

    /// One round of the schedule: the gateway appends its lines, then every role drains.
    ///
    /// - Returns: false when the input has ended and nothing is left to do.
    public func turn() throws -> Bool {
        let goesOn = try ingest?.turn() ?? false
        let stepped = try drain()
        return goesOn || stepped > 0
    }

    /// Lets encode, enrich and finetune drain what is there; returns how many records they took.
    @discardableResult
    public func drain() throws -> Int {
        var total = 0
        while true {
            var round = 0
            round += try drain { try encode.turn() }
            round += try drain { try enrich.turn() }
            round += try drain { try finetune.turn() }
            total += round
            if round == 0 { return total }
        }
    }

    /// Turns until three in a row found nothing: changes of assignment take turns and count nothing.
    private func drain(_ turn: () throws -> Int) throws -> Int {
        var (total, idle) = (0, 0)
        while idle < 3 {
            let taken = try turn()
            idle = taken == 0 ? idle + 1 : 0
            total += taken
        }
        return total
    }

    /// Forgets what no role needs to recover, so that memory stays bounded.
    public func trim() throws {
        for partition in 0..<layout.eventsPartitions {
            if let offset = enrich.recoveryOffset(of: partition) {
                try log.trim(Topic.events, partition: partition, before: offset)
            }
        }
        for partition in 0..<layout.domainLogPartitions {
            if let offset = finetune.recoveryOffset(of: partition) {
                try log.trim(Topic.domainLog, partition: partition, before: offset)
            }
        }
        try log.compact(after: 32 << 20)
    }
}
