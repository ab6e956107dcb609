// In which order the records of one transaction are handed to librdkafka.

/// Where each record goes, and which ones are the first of their partitions.
///
/// librdkafka announces a partition to the transaction's coordinator when its first record comes, one set
/// of partitions after the other, and spins on a timer between two of them (2.0.2: a processor for 1 ms).
/// With the first record of every partition in front, all partitions are one set; the order within a
/// partition stays as it is.
struct ProduceOrder {
    /// Partition by record.
    private(set) var partitions: [Int32] = []
    /// Numbers of the records that are the first of their partitions, ascending.
    private(set) var openers: [Int] = []
    /// By topic and partition.
    private var isOpen: [[Bool]] = []

    mutating func removeAll() {
        partitions.removeAll(keepingCapacity: true)
        openers.removeAll(keepingCapacity: true)
        for topic in isOpen.indices {
            for partition in isOpen[topic].indices { isOpen[topic][partition] = false }
        }
    }

    /// Adds the next record, whose topic has `count` partitions.
    mutating func append(topic: UInt16, partition: Int, of count: Int) {
        let topic = Int(topic)
        while isOpen.count <= topic { isOpen.append([]) }
        while isOpen[topic].count < max(count, partition + 1) { isOpen[topic].append(false) }
        if !isOpen[topic][partition] {
            isOpen[topic][partition] = true
            openers.append(partitions.count)
        }
        partitions.append(Int32(truncatingIfNeeded: partition))
    }

    /// Calls `body` with the number of every record, openers first, the others as they came.
    func forEach(_ body: (Int) throws -> Void) rethrows {
        for record in openers { try body(record) }
        var next = 0
        for record in partitions.indices {
            if next < openers.count, openers[next] == record {
                next += 1
            } else {
                try body(record)
            }
        }
    }
}
