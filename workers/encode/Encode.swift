// Encode: the catalog, item by item, into every partition of domain-log.

import Bytes
import Contracts
import Streams

/// The job of the role encode; a member of its group, used from one thread.
///
/// An error from the log ends it, and a new one goes on where the last transaction ended.
public final class Encode<Client: LogClient> {
    private let settings: EncodeSettings
    public let client: Client
    private let reader = CatalogReader()
    private let domainLogPartitions: Int
    private let itemHeaders = OwnedHeaders([TopicContract.header(.domainLog)])
    private let deadLetterHeaders: OwnedHeaders
    private let schema = Array(TopicContract.header(.catalog).value.utf8)
    private var letterHeaders = ByteBuffer()
    private var batch: [Record] = []
    private var outbox = Outbox()

    /// Items written (once, however many partitions there are), deleted ones among them.
    public private(set) var items: Int64 = 0
    public private(set) var deadLetters: Int64 = 0

    /// - Parameters:
    ///   - client: consumes `catalog`.
    ///   - identity: headers that say which worker writes, for dead letters.
    public init(
        _ settings: EncodeSettings = EncodeSettings(), client: Client,
        identity: [(name: String, value: String)] = []
    ) throws {
        self.settings = settings
        self.client = client
        domainLogPartitions = try client.partitionCount(Topic.domainLog)
        deadLetterHeaders = OwnedHeaders([TopicContract.header(.deadLetters)] + identity)
    }

    /// Takes what is there; returns how many records of `catalog` that were.
    ///
    /// A change of assignment is handled first and counts as 0 records; call again.
    @discardableResult
    public func turn() throws -> Int {
        batch.removeAll(keepingCapacity: true)
        switch try client.collect(limit: settings.recordsPerTurn, into: &batch) {
        case .assigned(let partitions):
            for partition in partitions {
                let next = try client.committedOffset(partition: partition)
                try client.start(
                    partition: partition, at: next ?? client.startOffset(partition: partition))
            }
            return 0
        case .revoked: return 0
        case .records:
            guard !batch.isEmpty else { return 0 }
            outbox.removeAll()
            for record in batch { append(record) }
            try client.commit(outbox, positions: positions())
            return batch.count
        }
    }

    /// Where the group goes on: behind the last record of each partition in the batch.
    private func positions() -> [InputPosition] {
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

    private func append(_ record: Record) {
        do throws(ContractError) {
            guard let key = record.key, !key.isEmpty, key.count <= Limit.idBytes else {
                throw ContractError(
                    .key_missing, path: "",
                    "The key must be the item_id, 1 to \(Limit.idBytes) bytes.")
            }
            guard let value = record.value else {
                let bounds = Limit.time_ms
                let time = min(max(record.timestamp, bounds.lowerBound), bounds.upperBound)
                appendItem(Item(CatalogItem(item_id: key, time_ms: time), deleted: true))
                return
            }
            if let schema = record.headers.first("coldstream-schema"),
                !self.schema.lend({ $0.equals(schema) })
            {
                throw ContractError(
                    .unknown_version, path: "",
                    "The header coldstream-schema is \(schema.text); this worker reads another version."
                )
            }
            try reader.read(value)
            guard reader.item.item_id.equals(key) else {
                throw ContractError(
                    .key_mismatch, path: "/item_id",
                    "The key differs from the item_id; it must be equal to it.")
            }
            appendItem(Item(reader.item))
        } catch {
            appendDeadLetter(error, record)
        }
    }

    /// Writes the item to every partition: which domains it is for, finetune decides by the list.
    ///
    /// Vectors of the item's texts join here: those that `text-vectors` lacks are computed and written
    /// in the same transaction, ahead of the item.
    private func appendItem(_ item: Item) {
        items += 1
        for partition in 0..<domainLogPartitions {
            outbox.begin(Topic.domainLog, partition: partition, hasKey: false)
            outbox.beginValue()
            item.append(to: &outbox.bytes)
            outbox.end(headers: itemHeaders.headers)
        }
    }

    private func appendDeadLetter(_ error: ContractError, _ record: Record) {
        deadLetters += 1
        letterHeaders.removeAll()
        letterHeaders.append(deadLetterHeaders.headers.encoded)
        Headers.append("coldstream-offset", "\(record.offset)", to: &letterHeaders)
        Headers.append("coldstream-timestamp", "\(record.timestamp)", to: &letterHeaders)
        letterHeaders.append(record.headers.encoded)
        error.message.lend { message in
            Topic.catalog.name.lend { topic in
                var letter = DeadLetter(
                    error.reason, message: message, topic: topic, key: record.key,
                    value: record.value)
                letter.partition = record.partition
                // The original key; a record without one goes to the first partition.
                if let key = record.key {
                    outbox.begin(Topic.deadLetters)
                    outbox.bytes.append(key)
                } else {
                    outbox.begin(Topic.deadLetters, partition: 0, hasKey: false)
                }
                outbox.beginValue()
                letter.append(to: &outbox.bytes)
                outbox.end(headers: Headers(encoded: letterHeaders.slice))
            }
        }
    }
}
