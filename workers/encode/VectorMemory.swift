// What encode remembers, all of it read back from `text-vectors`: vectors, whom it owes one, and with
// which encoder its inputs have been read.

import Bytes
import Contracts
import Streams

/// A record that goes out again, or at last, when its vector is there.
struct Debt: BitwiseCopyable {
    /// Who has to make the vector; of a paid one, who made it.
    var encoder: UInt64
    /// Where the record stands in its input; -1 = paid.
    var offset: Int64
    var partition: Int64

    var isPaid: Bool { offset < 0 }
}

/// How far an input partition has been read, and with which encoder.
struct ReadingMark: Equatable {
    /// 0: nobody encodes.
    var encoder: UInt64
    /// Records before this one had been delivered before the encoder changed: they go out again only
    /// with their vector.
    var deliveredBefore: Int64
}

/// The memory of one encode, a copy of what stands in `text-vectors`.
///
/// Between turns it equals what has been committed. Its size: `VectorMemory.vectorTable` says it of
/// vectors; a text's way takes 92 bytes, and so does an item that waits.
final class VectorMemory {
    /// By `TextVectorSubject.vector`; the row's tail is the vector. The row is 1 until it is written.
    let vectors: Table<UInt64>
    /// By `TextVectorSubject.item`: items that wait.
    let items = Table<Debt>("owed items", maximumRows: Int(UInt32.max) - 1)
    /// By `TextVectorSubject.text`: ways of texts, paid or owed.
    let ways = Table<Debt>("ways", maximumRows: Int(UInt32.max) - 1)
    /// Ways that are owed.
    private(set) var owedWays = 0
    /// Ways that were owed and are forgotten, since this memory was made.
    private(set) var forgottenDebts: Int64 = 0
    private(set) var marks: [TextVectorSubject: ReadingMark] = [:]
    private let dimension: Int
    private let waysMaximum: Int

    /// Vectors that no transaction has written yet.
    private var unwritten: [Hash128] = []
    /// What the next transaction ends: vectors and ways that were forgotten.
    private var forgotten: [TextVectorSubject] = []
    private var nextOffsets: [Int64] = []

    static func vectorTable(rows: Int, dimension: Int) -> Table<UInt64> {
        Table("vectors", maximumRows: rows, tailBytes: dimension * 2)
    }

    init(_ settings: EncodeSettings, dimension: Int) {
        vectors = VectorMemory.vectorTable(rows: settings.vectorsMaximum, dimension: dimension)
        waysMaximum = settings.waysMaximum
        self.dimension = dimension
    }

    // Reading back

    /// Reads what `text-vectors` has grown by: what this worker wrote, and others of its role.
    func catchUp(_ client: some LogClient) throws {
        let partitions = try client.partitionCount(Topic.textVectors)
        while nextOffsets.count < partitions { nextOffsets.append(-1) }
        for partition in 0..<partitions {
            let from = nextOffsets[partition]
            try client.read(
                Topic.textVectors, partition: partition, from: from < 0 ? nil : from, upTo: nil
            ) { record in
                nextOffsets[partition] = record.offset + 1
                guard let key = record.key, let subject = TextVectorSubject(key: key) else {
                    return
                }
                restore(subject, record.value)
            }
        }
    }

    private func restore(_ subject: TextVectorSubject, _ value: ByteSlice?) {
        switch subject {
        case .vector(let key):
            if let value {
                // Another length is another encoder's.
                if value.count == dimension * 2 { keep(key, value, isWritten: true) }
            } else if let row = vectors.find(key) {
                vectors.remove(row)
            }
        case .item(let key): restore(items, key, value)
        case .text(let key): restore(ways, key, value)
        case .catalog, .texts:
            guard let value, value.count == 16 else { return }
            marks[subject] = ReadingMark(
                encoder: value.number(at: 0),
                deliveredBefore: Int64(bitPattern: value.number(at: 8)))
        }
    }

    private func restore(_ table: Table<Debt>, _ key: Hash128, _ value: ByteSlice?) {
        guard let value, value.count == 8 || value.count == 24 else {
            if let row = table.find(key) { remove(table, row) }
            return
        }
        set(
            table, key,
            Debt(
                encoder: value.number(at: 0),
                offset: value.count == 8 ? -1 : Int64(bitPattern: value.number(at: 16)),
                partition: value.count == 8 ? 0 : Int64(bitPattern: value.number(at: 8))))
    }

    private func set(_ table: Table<Debt>, _ key: Hash128, _ debt: Debt) {
        let found = table.find(key)
        let row = found ?? insertWay(table, key)
        if table === ways {
            if found != nil, !table[row].pointee.isPaid { owedWays -= 1 }
            if !debt.isPaid { owedWays += 1 }
            table.touch(row)
        }
        table[row].pointee = debt
    }

    private func remove(_ table: Table<Debt>, _ row: UInt32) {
        if table === ways, !table[row].pointee.isPaid { owedWays -= 1 }
        table.remove(row)
    }

    // Vectors

    /// The vector of a text, which counts as used; nil where it is not known. Valid until the next
    /// vector is kept.
    func vector(_ key: Hash128) -> ByteSlice? {
        guard dimension > 0, let row = vectors.find(key) else { return nil }
        vectors.touch(row)
        return ByteSlice(vectors.tail(row, as: UInt8.self), count: dimension * 2)
    }

    /// Keeps a vector that was made; the next transaction writes it.
    func keep(_ made: MadeVector) {
        made.halves.lend { keep(made.key, $0, isWritten: false) }
        unwritten.append(made.key)
    }

    private func keep(_ key: Hash128, _ halves: ByteSlice, isWritten: Bool) {
        if let row = vectors.find(key) {
            vectors.touch(row)
            vectors[row].pointee = isWritten ? 0 : 1
            vectors.tail(row, as: UInt8.self).update(from: halves.base, count: halves.count)
            return
        }
        if vectors.isFull, let oldest = vectors.oldest {
            if vectors[oldest].pointee == 0 { forgotten.append(.vector(vectors.key(oldest))) }
            vectors.remove(oldest)
        }
        let row = vectors.insert(key)
        vectors[row].pointee = isWritten ? 0 : 1
        vectors.tail(row, as: UInt8.self).update(from: halves.base, count: halves.count)
    }

    // Debts

    func owe(_ subject: TextVectorSubject, _ debt: Debt, _ outbox: inout Outbox) {
        let (table, key) = place(subject)
        set(table, key, debt)
        outbox.begin(Topic.textVectors)
        subject.appendKey(to: &outbox.bytes)
        outbox.beginValue()
        outbox.bytes.append(raw: debt.encoder.littleEndian)
        outbox.bytes.append(raw: debt.partition.littleEndian)
        outbox.bytes.append(raw: debt.offset.littleEndian)
        outbox.end(headers: VectorMemory.headers.headers)
    }

    /// A text has gone its way.
    func paidText(_ key: Hash128, encoder: UInt64, _ outbox: inout Outbox) {
        set(ways, key, Debt(encoder: encoder, offset: -1, partition: 0))
        outbox.begin(Topic.textVectors)
        TextVectorSubject.text(key).appendKey(to: &outbox.bytes)
        outbox.beginValue()
        outbox.bytes.append(raw: encoder.littleEndian)
        outbox.end(headers: VectorMemory.headers.headers)
    }

    /// An item is owed nothing (any more).
    func paidItem(_ key: Hash128, _ outbox: inout Outbox) { drop(.item(key), &outbox) }

    /// Ends a debt whose record is gone.
    func drop(_ subject: TextVectorSubject, _ outbox: inout Outbox) {
        let (table, key) = place(subject)
        guard let row = table.find(key) else { return }
        remove(table, row)
        appendTombstone(subject, &outbox)
    }

    private func place(_ subject: TextVectorSubject) -> (Table<Debt>, Hash128) {
        switch subject {
        case .item(let key): (items, key)
        case .text(let key): (ways, key)
        case .vector, .catalog, .texts: preconditionFailure("\(subject) is no debt")
        }
    }

    /// Of many ways the longest unused is forgotten, paid or not: a text that is still owed its vector goes
    /// without one until it is asked for again. Items are as many as the catalog has.
    private func insertWay(_ table: Table<Debt>, _ key: Hash128) -> UInt32 {
        if table === ways, ways.liveRows >= waysMaximum, let oldest = ways.oldest {
            if !ways[oldest].pointee.isPaid { forgottenDebts += 1 }
            forgotten.append(.text(ways.key(oldest)))
            remove(ways, oldest)
        }
        return table.insert(key)
    }

    /// Debts that can be due at a time.
    var owedMaximum: Int { items.liveRows + ways.liveRows }

    // Writing

    func mark(_ subject: TextVectorSubject, _ mark: ReadingMark, _ outbox: inout Outbox) {
        marks[subject] = mark
        outbox.begin(Topic.textVectors)
        subject.appendKey(to: &outbox.bytes)
        outbox.beginValue()
        outbox.bytes.append(raw: mark.encoder.littleEndian)
        outbox.bytes.append(raw: mark.deliveredBefore.littleEndian)
        outbox.end(headers: VectorMemory.headers.headers)
    }

    /// Writes vectors that are new, and ends what was forgotten.
    func flush(_ outbox: inout Outbox) {
        for subject in forgotten {
            // It may have come back since.
            switch subject {
            case .vector(let key): if vectors.find(key) != nil { continue }
            case .text(let key): if ways.find(key) != nil { continue }
            default: break
            }
            appendTombstone(subject, &outbox)
        }
        forgotten.removeAll()
        for key in unwritten {
            guard let row = vectors.find(key), vectors[row].pointee == 1 else { continue }
            vectors[row].pointee = 0
            outbox.begin(Topic.textVectors)
            TextVectorSubject.vector(key).appendKey(to: &outbox.bytes)
            outbox.beginValue()
            outbox.bytes.append(
                ByteSlice(vectors.tail(row, as: UInt8.self), count: dimension * 2))
            outbox.end(headers: VectorMemory.headers.headers)
        }
        unwritten.removeAll()
    }

    private func appendTombstone(_ subject: TextVectorSubject, _ outbox: inout Outbox) {
        outbox.begin(Topic.textVectors)
        subject.appendKey(to: &outbox.bytes)
        outbox.endTombstone()
    }

    private nonisolated(unsafe) static let headers = OwnedHeaders([
        TopicContract.header(.textVectors)
    ])
}

extension ByteSlice {
    /// Eight bytes, little-endian.
    fileprivate func number(at offset: Int) -> UInt64 {
        UInt64(
            littleEndian: UnsafeRawPointer(base).loadUnaligned(
                fromByteOffset: offset, as: UInt64.self))
    }
}
