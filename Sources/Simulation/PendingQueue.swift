// What is going to happen, by time; of equal times, what was announced first.

/// A binary heap of things that are due.
struct PendingQueue<Element> {
    private struct Entry {
        let time: Int64
        let sequence: Int
        let element: Element

        func precedes(_ other: Entry) -> Bool { (time, sequence) < (other.time, other.sequence) }
    }

    private var entries: [Entry] = []
    private var announced = 0

    var count: Int { entries.count }

    /// When the first element is due.
    var nextTime: Int64? { entries.first?.time }

    mutating func push(_ element: Element, at time: Int64) {
        entries.append(Entry(time: time, sequence: announced, element: element))
        announced += 1
        var child = entries.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard entries[child].precedes(entries[parent]) else { break }
            entries.swapAt(child, parent)
            child = parent
        }
    }

    mutating func pop() -> (time: Int64, element: Element)? {
        guard !entries.isEmpty else { return nil }
        entries.swapAt(0, entries.count - 1)
        let first = entries.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < entries.count {
                if entries[child].precedes(entries[least]) { least = child }
            }
            guard least != parent else { return (first.time, first.element) }
            entries.swapAt(parent, least)
            parent = least
        }
    }
}
