// Encode: the catalog, item by item, into every partition of domain-log, with the vectors of its texts;
// and the vectors of queries to the partitions that asked.

import Bytes
import Contracts
import Streams
import TextEncoding

/// What encode has done since it was made.
public struct EncodeCounts: Sendable, Equatable {
    /// Records of the catalog written (once, however many partitions there are), deleted items among them.
    public var items: Int64 = 0
    /// Texts sent to a partition with their vector.
    public var texts: Int64 = 0
    public var deadLetters: Int64 = 0
    /// Records whose vector was known already.
    public var hits: Int64 = 0
    /// Items that went without the vector of their text.
    public var late: Int64 = 0
    /// Texts whose debt was forgotten for newer ones; they ask again when they are seen again.
    public var forgotten: Int64 = 0

    public init() {}
}

/// The job of the role encode; a member of its groups, used from one thread.
///
/// Every turn is a transaction: vectors, records, what is owed, positions. An error from the log ends
/// the object, and a new one goes on where the last transaction ended.
public final class Encode<Client: LogClient> {
    let settings: EncodeSettings
    let catalog: Lane<Client>
    let texts: Lane<Client>?
    let maker: (any VectorMaker)?
    let memory: VectorMemory
    /// Who encodes: the hash of its identity, 0 = nobody.
    let encoder: UInt64
    let reader = CatalogReader()
    let textReader = RecordReader()
    let domainLogPartitions: Int
    private let domainLogHeaders = OwnedHeaders([TopicContract.header(.domainLog)])
    private let letters: DeadLetterWriter
    private var batch: [Record] = []
    var outbox = Outbox()
    var text = ByteBuffer()

    public internal(set) var counts: EncodeCounts {
        get {
            var counts = theCounts
            counts.forgotten = memory.forgottenDebts
            return counts
        }
        set { theCounts = newValue }
    }
    private var theCounts = EncodeCounts()

    /// The client of `catalog`.
    public var client: Client { catalog.client }
    /// The client of `texts`.
    public var textsClient: Client? { texts?.client }

    /// - Parameters:
    ///   - client: consumes `catalog`.
    ///   - texts: consumes `texts` in a group of its own; only needed where vectors are made.
    ///   - maker: nil = no vectors.
    ///   - identity: which worker writes, for the headers of dead letters.
    public init(
        _ settings: EncodeSettings = EncodeSettings(), client: Client, texts: Client? = nil,
        maker: (any VectorMaker)? = nil, identity: WriterIdentity? = nil
    ) throws {
        self.settings = settings
        self.maker = maker
        catalog = Lane(client, .catalog)
        self.texts = texts.map { Lane($0, .texts) }
        encoder = maker?.identity.hash ?? 0
        memory = VectorMemory(settings, dimension: maker?.dimension ?? 0)
        domainLogPartitions = try client.partitionCount(Topic.domainLog)
        letters = DeadLetterWriter(identity)
    }

    /// Items and texts that wait for their vectors.
    public var owed: Int {
        maker == nil ? 0 : memory.items.liveRows + memory.owedWays
    }

    /// Distinct texts whose vectors are known.
    public var vectors: Int { memory.vectors.liveRows }

    /// Takes what is there; returns how many records were taken from the inputs, or written because
    /// their vector has come.
    ///
    /// A change of assignment is handled first and counts as 0 records; call again.
    @discardableResult
    public func turn() throws -> Int {
        keepWhatWasMade(patienceMilliseconds: 0)
        var taken = try turn(catalog)
        if let texts { taken += try turn(texts) }
        if taken > 0 { maker?.recordsCame() }
        taken += try pay(catalog)
        if let texts { taken += try pay(texts) }
        return taken
    }

    private func turn(_ lane: Lane<Client>) throws -> Int {
        batch.removeAll(keepingCapacity: true)
        switch try lane.client.collect(limit: settings.recordsPerTurn, into: &batch) {
        case .assigned(let partitions):
            try assign(lane, partitions)
            return 0
        case .revoked:
            lane.revoke()
            return 0
        case .records:
            lane.isIdle = batch.isEmpty
            guard !batch.isEmpty else { return 0 }
            requestVectors(of: batch, lane)
            outbox.removeAll()
            memory.flush(&outbox)
            for record in batch {
                lane.next[record.partition] = record.offset + 1
                append(record, lane)
            }
            for partition in lane.needsMark.sorted() {
                guard batch.contains(where: { $0.partition == partition }) else { continue }
                lane.needsMark.remove(partition)
                memory.mark(
                    lane.subject(partition),
                    ReadingMark(
                        encoder: identity(of: lane),
                        deliveredBefore: lane.deliveredBefore[partition] ?? 0),
                    &outbox)
            }
            try lane.client.commit(outbox, positions: positions(of: batch))
            return batch.count
        }
    }

    /// Where the group goes on: behind the last record of each partition in the batch.
    private func positions(of batch: [Record]) -> [InputPosition] {
        var positions: [InputPosition] = []
        for record in batch {
            if let at = positions.firstIndex(where: { $0.partition == record.partition }) {
                positions[at].next = record.offset + 1
            } else {
                positions.append(
                    InputPosition(partition: record.partition, next: record.offset + 1))
            }
        }
        return positions
    }

    // Reading an input from where it was left, or from its beginning for a new encoder

    private func assign(_ lane: Lane<Client>, _ partitions: [Int]) throws {
        lane.revoke()
        // Also where nobody encodes: an earlier worker may have.
        try memory.catchUp(lane.client)
        for partition in partitions {
            let committed = try lane.client.committedOffset(partition: partition)
            let first = try lane.client.startOffset(partition: partition)
            let mark = memory.marks[lane.subject(partition)]
            var next = committed ?? first
            var deliveredBefore = mark?.deliveredBefore ?? 0
            if mark?.encoder ?? 0 != identity(of: lane) {
                // Everything is encoded again, of texts and items that the topics still hold. Where
                // nobody encodes, there is nothing to do again.
                if maker != nil {
                    deliveredBefore = max(deliveredBefore, committed ?? 0)
                    next = first
                }
                lane.needsMark.insert(partition)
            }
            lane.next[partition] = next
            lane.deliveredBefore[partition] = deliveredBefore
            try lane.client.start(partition: partition, at: next)
        }
        collectDebts(lane)
    }

    /// What the vectors of an input depend on; 0 where nobody encodes.
    private func identity(of lane: Lane<Client>) -> UInt64 {
        guard maker != nil, lane.topic == .catalog else { return encoder }
        return Hash128(encoder, settings.template.hash).low
    }

    /// Debts behind the position are found again when the records there are read.
    private func collectDebts(_ lane: Lane<Client>) {
        guard maker != nil else { return }
        func collect(_ table: Table<Debt>, _ subject: (Hash128) -> TextVectorSubject) {
            for row in 0..<table.rowLimit where table.isLive(row) {
                let debt = table[row].pointee
                guard !debt.isPaid, debt.offset < lane.next[Int(debt.partition)] ?? 0 else {
                    continue
                }
                lane.owe(
                    subject(table.key(row)), offset: debt.offset, partition: Int(debt.partition))
            }
        }
        if lane.topic == .catalog {
            collect(memory.items) { .item($0) }
        } else {
            collect(memory.ways) { .text($0) }
        }
        for partition in lane.owed.keys { lane.owed[partition]!.sort { $0.offset < $1.offset } }
    }

    // Records of the inputs

    /// Asks for what is missing and waits a moment for it, unless others wait already.
    private func requestVectors(of batch: [Record], _ lane: Lane<Client>) {
        guard let maker, catalog.owesNothing, texts?.owesNothing ?? true, !maker.isFailing else {
            return
        }
        var hasAsked = false
        for record in batch {
            guard maker.room > 0 else { break }
            guard record.offset >= lane.deliveredBefore[record.partition] ?? 0,
                let value = record.value, readText(value, lane)
            else { continue }
            let key = TextVectorSubject.vector(of: text.slice, encoder: encoder)
            guard memory.vectors.find(key) == nil else { continue }
            maker.request(key, text.slice)
            hasAsked = true
        }
        guard hasAsked else { return }
        keepWhatWasMade(patienceMilliseconds: settings.patienceMilliseconds)
    }

    func keepWhatWasMade(patienceMilliseconds: Int) {
        guard let maker else { return }
        for made in maker.take(patienceMilliseconds: patienceMilliseconds) { memory.keep(made) }
    }

    /// Puts the text of a record into `text`; false where it has none.
    func readText(_ value: ByteSlice, _ lane: Lane<Client>) -> Bool {
        if lane.topic == .catalog {
            guard (try? reader.read(value)) != nil else { return false }
            settings.template.write(reader.item, to: &text)
        } else {
            guard let record = try? textReader.text(value) else { return false }
            text.removeAll()
            text.append(record.text)
        }
        return !text.slice.isEmpty
    }

    private func append(_ record: Record, _ lane: Lane<Client>) {
        let isAgain = record.offset < lane.deliveredBefore[record.partition] ?? 0
        do throws(ContractError) {
            if lane.topic == .catalog {
                try appendItem(record, isAgain: isAgain)
            } else {
                try appendText(record)
            }
        } catch {
            guard !isAgain else { return }
            counts.deadLetters += 1
            letters.append(error, record, ordinal: nil, to: &outbox)
        }
    }

    private func appendItem(_ record: Record, isAgain: Bool) throws(ContractError) {
        guard let key = record.key, !key.isEmpty, key.count <= Limit.idBytes else {
            throw ContractError(
                .key_missing, path: "",
                "The key must be the item_id, 1 to \(Limit.idBytes) bytes.")
        }
        let id = Hash128(key)
        guard let value = record.value else {
            memory.paidItem(id, &outbox)
            if isAgain { return }
            let bounds = Limit.time_ms
            let time = min(max(record.timestamp, bounds.lowerBound), bounds.upperBound)
            write(Item(CatalogItem(item_id: key, time_ms: time), deleted: true))
            return
        }
        try checkSchema(record, .catalog)
        try reader.read(value)
        guard reader.item.item_id.equals(key) else {
            throw ContractError(
                .key_mismatch, path: "/item_id",
                "The key differs from the item_id; it must be equal to it.")
        }
        if value.count > Limit.recordBytes / 4 { try refuseGrown(Item(reader.item)) }
        guard maker != nil else {
            write(Item(reader.item))
            return
        }
        settings.template.write(reader.item, to: &text)
        guard !text.slice.isEmpty else {
            memory.paidItem(id, &outbox)
            if !isAgain { write(Item(reader.item)) }
            return
        }
        let vector = TextVectorSubject.vector(of: text.slice, encoder: encoder)
        // Of what is read again only the newest record goes out, with its vector: finetune keeps what it
        // knows until then.
        if !isAgain, let halves = memory.vector(vector) {
            counts.hits += 1
            memory.paidItem(id, &outbox)
            write(Item(reader.item, vector: textVector(halves)))
            return
        }
        // In time, though without its vector.
        if !isAgain {
            counts.late += 1
            write(Item(reader.item))
        }
        owe(.item(id), record, catalog)
    }

    /// A record may be longer when it is written again: `9e15` takes 16 digits.
    private func refuseGrown(_ item: Item) throws(ContractError) {
        var bytes = ByteBuffer()
        item.append(to: &bytes)
        guard bytes.count <= Limit.itemBytes else {
            throw ContractError(
                .too_large, path: "",
                "The record takes \(bytes.count) bytes with its numbers written out; \(Limit.itemBytes) are allowed."
            )
        }
    }

    private func appendText(_ record: Record) throws(ContractError) {
        guard let value = record.value, maker != nil else { return }
        try checkSchema(record, .texts)
        let asked = try textReader.text(value)
        guard !asked.text.isEmpty else { return }
        let vector = TextVectorSubject.vector(of: asked.text, encoder: encoder)
        for partition in targets(of: asked) {
            let way = TextVectorSubject.way(of: asked.text, to: partition)
            if !asked.again, let row = memory.ways.find(way), memory.ways[row].pointee.isPaid,
                memory.ways[row].pointee.encoder == encoder
            {
                memory.ways.touch(row)
                continue
            }
            if let halves = memory.vector(vector) {
                counts.hits += 1
                write(asked, textVector(halves), to: partition)
                memory.paidText(way, encoder: encoder, &outbox)
            } else {
                owe(.text(way), record, texts!)
            }
        }
    }

    /// Where a text is wanted: in the partition of the domain that asks.
    func targets(of text: TextRecord) -> Range<Int> {
        guard let domain = text.domain else { return 0..<domainLogPartitions }
        let partition = Murmur2.partition(domain, of: domainLogPartitions)
        return partition..<partition + 1
    }

    private func owe(_ subject: TextVectorSubject, _ record: Record, _ lane: Lane<Client>) {
        memory.owe(
            subject,
            Debt(encoder: encoder, offset: record.offset, partition: Int64(record.partition)),
            &outbox)
        lane.owe(subject, offset: record.offset, partition: record.partition)
        lane.forget(record.partition, beyond: memory.owedMaximum) {
            !isDue($1, $0, record.partition)
        }
    }

    private func checkSchema(_ record: Record, _ topic: Topic) throws(ContractError) {
        guard let schema = record.headers.first("coldstream-schema") else { return }
        let ours = TopicContract.header(topic).value
        guard ours.lend({ $0.equals(schema) }) else {
            throw ContractError(
                .unknown_version, path: "",
                "The header coldstream-schema is \(schema.text); this worker reads another version."
            )
        }
    }

    /// A vector of zeros is none.
    func textVector(_ halves: ByteSlice) -> TextVector? {
        for i in 0..<halves.count where halves[i] & (i & 1 == 1 ? 0x7F : 0xFF) != 0 {
            return TextVector(halves: halves, encoder: encoder)
        }
        return nil
    }

    // Writing

    /// Writes the item to every partition: which domains it is for, finetune decides by the list.
    func write(_ item: Item) {
        counts.items += 1
        for partition in 0..<domainLogPartitions {
            outbox.begin(Topic.domainLog, partition: partition, hasKey: false)
            outbox.beginValue()
            item.append(to: &outbox.bytes)
            outbox.end(headers: domainLogHeaders.headers)
        }
    }

    func write(_ asked: TextRecord, _ vector: TextVector?, to partition: Int) {
        // Without a vector the partition has the text from enrich already.
        guard let vector else { return }
        counts.texts += 1
        var record = Text()
        record.time_ms = asked.time_ms
        record.hash = asked.hash
        record.text = asked.text
        record.vector = vector
        outbox.begin(Topic.domainLog, partition: partition, hasKey: false)
        outbox.beginValue()
        record.append(to: &outbox.bytes)
        outbox.end(headers: domainLogHeaders.headers)
    }
}
