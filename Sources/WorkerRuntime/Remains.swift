// What a slot's last process may have left open, and how its last transaction was decided.

import Bytes
import Contracts
import Foundation
import KafkaTransactions
import Streams

/// Says on some records of a transaction whose it is and which one: on its position records, and on the
/// first one in every partition of an output.
struct TransactionMark: ~Copyable {
    static let name: StaticString = "coldstream-transaction"

    private let slot: String
    /// Microseconds since the epoch at which it began: later ones of a slot have higher numbers.
    private var number: UInt64 = 0
    private var value: [UInt8] = []
    /// By topic, a bit for each of the first 64 partitions that have one.
    private var marked = [UInt64](repeating: 0, count: Topic.allCases.count)
    private(set) var headers = RecordHeaders()

    init(slot: String) { self.slot = slot }

    mutating func begin() {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        number = max(number + 1, UInt64(now.tv_sec) * 1_000_000 + UInt64(now.tv_nsec) / 1_000)
        value = Array("\(slot) \(number)".utf8)
        for topic in marked.indices { marked[topic] = 0 }
    }

    /// Whether the next record of the transaction is to say so; `headers` are its own and the mark then.
    ///
    /// - Parameters:
    ///   - partition: where it goes.
    ///   - hasPositions: where a transaction has none, everything in `checkpoints` says so.
    ///   - own: what goes with it anyway.
    mutating func takes(
        topic: UInt16, partition: Int, key: ByteSlice?, hasPositions: Bool,
        besides own: OutgoingHeaders
    ) -> Bool {
        if topic == Topic.checkpoints.rawValue {
            guard !hasPositions || key.flatMap(CheckpointNote.kind(ofKey:)) == .position else {
                return false
            }
        } else {
            let bit = partition < 64 ? UInt64(1) << UInt64(partition) : 0
            guard bit & ~marked[Int(topic)] != 0 else { return false }
            marked[Int(topic)] |= bit
        }
        headers.removeAll()
        own.append(to: &headers)
        value.lend { headers.append(ByteSlice(Self.name), $0) }
        return true
    }

    /// The number of a transaction of `slot`; nil where another one wrote the record, or nobody says so.
    static func number(_ view: RecordView, slot: String) -> UInt64? {
        var number: UInt64?
        view.forEachHeader { name, value in
            guard name.equals(Self.name), let words = value?.text.split(separator: " "),
                words.count == 2, words[0] == slot
            else { return }
            number = UInt64(words[1])
        }
        return number
    }
}

/// Finds out about the transaction that a slot's last process did not see the end of.
///
/// Kafka 4.0 to 4.3 forgets markers behind a broker's restart (KAFKA-20734): of a transaction that the
/// coordinator has decided, a part of the partitions may have its marker and the rest none, for ever.
/// The part that has says how the rest is to be ended.
struct Remains {
    /// How far before the end of what is settled a record of the slot's last transaction is looked for. In
    /// `checkpoints` other roles may have written a whole checkpoint behind it (4 MiB in rows of a hundred
    /// bytes and more), in outputs other slots and roles what they wrote since.
    static let lookedBack: (checkpoints: Int64, outputs: Int64) = (50_000, 10_000)

    let settings: KafkaLogSettings
    let input: String
    let offsets: Offsets

    /// Where a transaction hangs: other slots' open ones end meanwhile, unless they hang too.
    func find(in places: [TopicPartition]) throws -> [TopicPartition] {
        let first = try offsets.offsets(of: places).filter { !$0.value.isSettled }
        let deadline = ContinuousClock.now + .milliseconds(settings.remainsMilliseconds)
        var open = first.keys.sorted()
        while !open.isEmpty, ContinuousClock.now < deadline {
            usleep(5_000)
            let now = try offsets.offsets(of: open)
            // What is open behind the end that was seen first has begun since.
            open = open.filter { now[$0]!.committedEnd < first[$0]!.end }
        }
        return open
    }

    /// A marked record of the slot's last transaction, or of an earlier one.
    private struct Note {
        var place: TopicPartition
        var offset: Int64
        var number: UInt64
        /// The input offset that was committed with it; nil where it is no position record.
        var next: Int64?
        /// Whether it stands behind the end of what is settled.
        var isOpen: Bool
    }

    /// Whether the slot's last transaction was committed. False where nothing says so: it may not be whole.
    ///
    /// - Parameter places: everywhere the slot writes.
    func wasCommitted(among places: [TopicPartition]) throws -> Bool {
        let checkpoints = places.filter { $0.topic == settings.topics[.checkpoints] }
        // encode: to say twice what an item is like does no harm, its offsets without its records would.
        guard !checkpoints.isEmpty else { return true }
        let notes = try newestNotes(checkpoints)
        guard let number = notes.first?.number else { return false }
        // One that has its marker decides.
        for note in notes where !note.isOpen { return try isVisible(note) }
        // Without any, what else was part of it: the group's offsets, and outputs.
        if notes.allSatisfy({ $0.next != nil }) {
            let committed = try offsets.committedIgnoringPending(
                notes.map { TopicPartition(input, $0.place.partition) })
            if notes.allSatisfy({
                committed[TopicPartition(input, $0.place.partition)] == $0.next
            }) {
                return true
            }
        }
        let outputs = places.filter { $0.topic != settings.topics[.checkpoints] }
        let bounds = try offsets.offsets(of: outputs)
        for place in outputs {
            let end = bounds[place]!.committedEnd
            let note = try newestNote(
                in: place, from: max(bounds[place]!.first, end - Self.lookedBack.outputs),
                settledTo: end, upTo: end)
            if let note, note.number == number { return try isVisible(note) }
        }
        return false
    }

    /// The position records of the slot's last transaction that says whose it is.
    private func newestNotes(_ places: [TopicPartition]) throws -> [Note] {
        let bounds = try offsets.offsets(of: places)
        var notes: [Note] = []
        for place in places {
            let settled = bounds[place]!.committedEnd
            let note = try newestNote(
                in: place, from: max(bounds[place]!.first, settled - Self.lookedBack.checkpoints),
                settledTo: settled, upTo: bounds[place]!.end)
            guard let note else { continue }
            if let newest = notes.first?.number {
                if note.number < newest { continue }
                if note.number > newest { notes = [] }
            }
            notes.append(note)
        }
        return notes
    }

    private func newestNote(
        in place: TopicPartition, from start: Int64, settledTo settled: Int64, upTo end: Int64
    ) throws -> Note? {
        var note: Note?
        try offsets.forEachRecord(of: place, from: start, upTo: end, isolation: .uncommitted) {
            guard let number = TransactionMark.number($0, slot: settings.slotName) else { return }
            note = Note(
                place: place, offset: $0.offset, number: number, next: try next($0),
                isOpen: $0.offset >= settled)
        }
        return note
    }

    private func next(_ view: RecordView) throws -> Int64? {
        guard view.topicName.text == settings.topics[.checkpoints], let key = view.key,
            let note = try CheckpointNote(key: key, value: view.value), note.kind == .position
        else { return nil }
        return note.next
    }

    private func isVisible(_ note: Note) throws -> Bool {
        var isVisible = false
        try offsets.forEachRecord(
            of: note.place, from: note.offset, upTo: note.offset + 1
        ) { isVisible = $0.offset == note.offset }
        return isVisible
    }
}
