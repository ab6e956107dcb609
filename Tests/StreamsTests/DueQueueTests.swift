// Who is due first, and who of those that are due together.

import Testing

@testable import Streams

@Suite struct DueQueueTests {
    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func `entries come out by due time, ties by sequence`(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let queue = DueQueue()
        var model: [DueQueue.Entry] = []
        for sequence in 0..<3_000 as Range<UInt64> {
            let entry = DueQueue.Entry(
                due: Int64(random.below(200)), sequence: sequence, row: UInt32(sequence))
            queue.push(entry)
            model.append(entry)
            if random.below(4) == 0 {
                let time = Int64(random.below(120))
                model.sort { ($0.due, $0.sequence) < ($1.due, $1.sequence) }
                while let due = queue.popDue(at: time) { #expect(due == model.removeFirst()) }
                #expect(model.first.map { $0.due > time } ?? true)
                #expect(queue.firstDue == model.first?.due)
            }
        }
        model.sort { ($0.due, $0.sequence) < ($1.due, $1.sequence) }
        #expect(queue.count == model.count)
        for entry in model { #expect(queue.popDue(at: .max) == entry) }
        #expect(queue.isEmpty && queue.popDue(at: .max) == nil)
    }

    @Test func `an entry is due at its time, not before`() {
        let queue = DueQueue()
        queue.push(.init(due: 10, sequence: 0, row: 1))
        #expect(queue.popDue(at: 9) == nil)
        #expect(queue.popDue(at: 10)?.row == 1)
    }
}
