// What is owed: records that went, or wait to go, without their vector are read again from their topic
// and sent when the vector is there.

import Bytes
import Contracts
import Streams
import TextEncoding

extension Encode {
    /// Writes what has its vector now; returns how many records that were.
    ///
    /// The transaction names the positions of the partitions it is about, unmoved: who has lost them
    /// to another worker meanwhile is refused by the group.
    func pay(_ lane: Lane<Client>) throws -> Int {
        guard let maker else { return 0 }
        outbox.removeAll()
        memory.flush(&outbox)
        if !lane.owesNothing, !maker.isFailing {
            if lane.waiting.isEmpty { try readOwed(lane) }
            for record in lane.waiting where memory.vectors.find(record.vector) == nil {
                guard maker.room > 0 else { break }
                record.text.lend { maker.request(record.vector, $0) }
            }
            keepWhatWasMade(patienceMilliseconds: 0)
            memory.flush(&outbox)
        }
        var paid = 0
        var partitions: Set<Int> = []
        lane.waiting.removeAll { record in
            // A newer record may have taken its place.
            guard isDue(record.subject, record.offset, record.partition) else { return true }
            guard let halves = memory.vector(record.vector) else { return false }
            pay(record, halves)
            partitions.insert(record.partition)
            paid += 1
            return true
        }
        guard !outbox.isEmpty else { return 0 }
        let positions = partitions.sorted().map {
            InputPosition(partition: $0, next: lane.next[$0]!)
        }
        try lane.client.commit(outbox, positions: positions)
        return paid
    }

    private func pay(_ record: WaitingRecord, _ halves: ByteSlice) {
        let vector = textVector(halves)
        record.value.lend { value in
            switch record.subject {
            case .item(let id):
                memory.paidItem(id, &outbox)
                // It has gone without one already, and a text without a vector adds nothing.
                guard vector != nil, (try? reader.read(value)) != nil else { return }
                write(Item(reader.item, vector: vector))
            case .text(let way):
                if let asked = try? textReader.text(value) {
                    write(asked, vector, to: record.target)
                }
                memory.paidText(way, encoder: encoder, &outbox)
            default: break
            }
        }
    }

    /// Reads the next records that are owed. One that its topic no longer holds was followed by a newer
    /// one of its key, which is dealt with where it stands.
    private func readOwed(_ lane: Lane<Client>) throws {
        for partition in lane.owed.keys.sorted() where !lane.isReadAgain(partition) {
            let room = settings.debtsPerTurn - lane.waiting.count
            guard room > 0 else { return }
            let owed = lane.takeOwed(partition, limit: room) { isDue($1, $0, partition) }
            guard let first = owed.first, let last = owed.last else { continue }
            let offsets = Set(owed.map(\.offset))
            let start = try lane.client.startOffset(partition: partition)
            if last.offset >= start {
                try lane.client.read(
                    lane.topic, partition: partition, from: max(start, first.offset),
                    upTo: last.offset + 1
                ) { record in
                    if offsets.contains(record.offset) { wait(for: record, lane) }
                }
            }
            let found = Set(lane.waiting.map(\.subject))
            for debt in owed where !found.contains(debt.subject) {
                memory.drop(debt.subject, &outbox)
            }
        }
    }

    func isDue(_ subject: TextVectorSubject, _ offset: Int64, _ partition: Int) -> Bool {
        let (table, key): (Table<Debt>, Hash128)
        switch subject {
        case .item(let id): (table, key) = (memory.items, id)
        case .text(let way): (table, key) = (memory.ways, way)
        default: return false
        }
        guard let row = table.find(key) else { return false }
        let now = table[row].pointee
        return now.offset == offset && now.partition == Int64(partition)
    }

    private func wait(for record: Record, _ lane: Lane<Client>) {
        guard let value = record.value, readText(value, lane) else { return }
        let vector = TextVectorSubject.vector(of: text.slice, encoder: encoder)
        func wait(_ subject: TextVectorSubject, target: Int) {
            guard isDue(subject, record.offset, record.partition) else { return }
            lane.waiting.append(
                WaitingRecord(
                    subject: subject, offset: record.offset, partition: record.partition,
                    value: value.copy(), vector: vector, text: text.slice.copy(), target: target))
        }
        if lane.topic == .catalog {
            wait(.item(Hash128(record.key ?? .empty)), target: 0)
            return
        }
        guard let asked = try? textReader.text(value) else { return }
        for target in targets(of: asked) {
            wait(.text(TextVectorSubject.way(of: asked.text, to: target)), target: target)
        }
    }
}
