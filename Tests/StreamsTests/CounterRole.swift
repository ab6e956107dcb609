// A small role with everything a real one has: named rows with eviction, a due queue, totals, pages
// of weights, publish points.

import Bytes

@testable import Streams

final class CounterState: PartitionState {
    struct Counter: BitwiseCopyable {
        var count: Int64
        var sum: Int64
        var due: Int64
        /// 0: not waiting.
        var dueSequence: UInt64
    }

    struct Totals: BitwiseCopyable {
        var time: Int64
        var lastPublished: Int64
        var evicted: Int64
        var nextSequence: UInt64
        var records: Int64
    }

    let counters: Table<Counter>
    let totals = Block(
        "totals", Totals(time: 0, lastPublished: 0, evicted: 0, nextSequence: 1, records: 0))
    let weights = Pages<Float>("weights", count: 100, elementsPerPage: 8, initial: 1)
    let due = DueQueue()

    init(maximumRows: Int) {
        counters = Table(
            "counters", maximumRows: maximumRows, tailBytes: 8, isNamed: true, initialRows: 2)
    }

    var tables: [any StateTable] { [counters, totals, weights] }

    func rebuild() {
        due.removeAll()
        for row in 0..<counters.rowLimit
        where counters.isLive(row) && counters[row].pointee.dueSequence != 0 {
            push(row)
        }
    }

    func push(_ row: UInt32) {
        due.push(
            .init(
                due: counters[row].pointee.due, sequence: counters[row].pointee.dueSequence,
                row: row))
    }
}

/// Values are "time amount"; a record without a key is a tick, one without a value removes its key.
final class CounterRole: Step {
    let stepVersion: String
    let maximumRows: Int
    /// Anything but zero makes the step depend on how often this very process has stepped.
    let nonDeterminism: Int64
    private var steps: Int64 = 0

    init(stepVersion: String = "counter 1", maximumRows: Int = 9, nonDeterminism: Int64 = 0) {
        self.stepVersion = stepVersion
        self.maximumRows = maximumRows
        self.nonDeterminism = nonDeterminism
    }

    func makeState(partition: Int) -> CounterState { CounterState(maximumRows: maximumRows) }

    func step(_ state: CounterState, _ record: Record, into outbox: inout Outbox) {
        steps += 1
        let totals = state.totals.value
        totals.pointee.records += 1
        guard let value = record.value else {
            remove(record.key!, state, record, &outbox)
            return
        }
        let parts = value.text.split(separator: " ").map { Int64($0)! }
        totals.pointee.time = max(totals.pointee.time, parts[0])
        settleDue(state, record, &outbox)
        if let key = record.key { count(key, parts[1], state, record, &outbox) }
        if totals.pointee.time >= totals.pointee.lastPublished + 20
            || totals.pointee.records % 64 == 0
        {
            publish(state, record, &outbox)
        }
    }

    private func count(
        _ name: ByteSlice, _ amount: Int64, _ state: CounterState, _ record: Record,
        _ outbox: inout Outbox
    ) {
        let key = Hash128(name)
        if state.counters.find(key) == nil, state.counters.isFull {
            let oldest = state.counters.oldest!
            write("evicted", oldest, state, record, &outbox)
            state.counters.remove(oldest)
            state.totals.value.pointee.evicted += 1
        }
        let row = state.counters.find(key) ?? state.counters.insert(key, name: name)
        let counter = state.counters[row]
        counter.pointee.count += 1
        counter.pointee.sum += amount + (steps % 5 == 0 ? nonDeterminism : 0)
        counter.pointee.due = state.totals.value.pointee.time + 7
        counter.pointee.dueSequence = state.totals.value.pointee.nextSequence
        state.totals.value.pointee.nextSequence += 1
        state.counters.tail(row, as: Int64.self).pointee = record.ordinal
        state.counters.touch(row)
        state.counters.markChanged(row)
        state.push(row)
        let index = Int(key.low % 100)
        state.weights.elements[index] += Float(amount) * 0.25
        state.weights.markChanged(index)
    }

    private func remove(
        _ name: ByteSlice, _ state: CounterState, _ record: Record, _ outbox: inout Outbox
    ) {
        guard let row = state.counters.find(Hash128(name)) else { return }
        state.counters.remove(row)
        outbox.begin(TestTopic.output)
        outbox.bytes.append(name)
        outbox.endTombstone()
    }

    private func settleDue(_ state: CounterState, _ record: Record, _ outbox: inout Outbox) {
        while let entry = state.due.popDue(at: state.totals.value.pointee.time) {
            guard state.counters.isLive(entry.row),
                state.counters[entry.row].pointee.dueSequence == entry.sequence
            else { continue }
            write("due", entry.row, state, record, &outbox)
            // Said in the row, or a restored queue would let it fall due again.
            state.counters[entry.row].pointee.dueSequence = 0
            state.counters.markChanged(entry.row)
        }
    }

    private func publish(_ state: CounterState, _ record: Record, _ outbox: inout Outbox) {
        state.totals.value.pointee.lastPublished = state.totals.value.pointee.time
        for row in 0..<state.counters.rowLimit where state.counters.isLive(row) {
            write("count", row, state, record, &outbox)
        }
        outbox.begin(TestTopic.other, partition: 0, hasKey: false)
        outbox.beginValue()
        outbox.bytes.append("\(record.partition) \(state.weights.elements[7])")
        outbox.end()
        outbox.markPublishPoint()
    }

    private func write(
        _ what: String, _ row: UInt32, _ state: CounterState, _ record: Record,
        _ outbox: inout Outbox
    ) {
        let counter = state.counters[row].pointee
        outbox.begin(TestTopic.output)
        outbox.bytes.append(state.counters.name(row))
        outbox.beginValue()
        outbox.bytes.append(
            "\(record.partition) \(what) \(record.ordinal) \(counter.count) \(counter.sum) "
                + "\(state.counters.age(row)) \(state.counters.tail(row, as: Int64.self).pointee)")
        outbox.end()
    }
}
