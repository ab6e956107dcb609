// Names of places in a log, and librdkafka's list of them.

import CRdKafka

/// A partition of a topic.
public struct TopicPartition: Hashable, Comparable, Sendable, CustomStringConvertible {
    public let topic: String
    public let partition: Int

    public init(_ topic: String, _ partition: Int) {
        self.topic = topic
        self.partition = partition
    }

    public var description: String { "\(topic)/\(partition)" }

    public static func < (a: TopicPartition, b: TopicPartition) -> Bool {
        (a.topic, a.partition) < (b.topic, b.partition)
    }
}

/// The next offset to read in a partition.
public struct Position: Hashable, Sendable, CustomStringConvertible {
    public let partition: TopicPartition
    public let offset: Int64

    public init(_ partition: TopicPartition, _ offset: Int64) {
        self.partition = partition
        self.offset = offset
    }

    public init(_ topic: String, _ partition: Int, _ offset: Int64) {
        self.init(TopicPartition(topic, partition), offset)
    }

    public var description: String { "\(partition)@\(offset)" }
}

/// An `rd_kafka_topic_partition_list_t` with exactly one owner.
struct PartitionList: ~Copyable {
    typealias Pointer = UnsafeMutablePointer<rd_kafka_topic_partition_list_t>
    private let pointer: Pointer

    init(_ partitions: some Collection<TopicPartition>) {
        pointer = rd_kafka_topic_partition_list_new(Int32(partitions.count))
        for each in partitions {
            rd_kafka_topic_partition_list_add(pointer, each.topic, Int32(each.partition))
        }
    }

    init(_ positions: some Collection<Position>) {
        pointer = rd_kafka_topic_partition_list_new(Int32(positions.count))
        for each in positions {
            let added = rd_kafka_topic_partition_list_add(
                pointer, each.partition.topic, Int32(each.partition.partition))
            added!.pointee.offset = each.offset
        }
    }

    /// Takes over a list that librdkafka made for us.
    init(owning pointer: Pointer) { self.pointer = pointer }

    deinit { rd_kafka_topic_partition_list_destroy(pointer) }

    /// Lends the C list for the length of `body`. Do not let the pointer escape.
    borrowing func lend<Result>(_ body: (Pointer) -> Result) -> Result { body(pointer) }

    /// The first partition that librdkafka marked with an error, if any.
    var firstError: (partition: TopicPartition, code: rd_kafka_resp_err_t)? {
        for each in Self.elements(pointer) where each.err != RD_KAFKA_RESP_ERR_NO_ERROR {
            return (Self.name(each), each.err)
        }
        return nil
    }

    var partitions: [TopicPartition] { Self.partitions(pointer) }

    /// Offset by partition, where librdkafka knows one (negative numbers are its words for none).
    var offsets: [TopicPartition: Int64] {
        Self.elements(pointer).reduce(into: [:]) { result, each in
            if each.offset >= 0 { result[Self.name(each)] = each.offset }
        }
    }

    /// The partitions of a list that somebody else owns.
    static func partitions(_ pointer: Pointer) -> [TopicPartition] {
        elements(pointer).map(name)
    }

    private static func elements(
        _ pointer: Pointer
    ) -> UnsafeBufferPointer<rd_kafka_topic_partition_t> {
        UnsafeBufferPointer(start: pointer.pointee.elems, count: Int(pointer.pointee.cnt))
    }

    private static func name(_ element: rd_kafka_topic_partition_t) -> TopicPartition {
        TopicPartition(String(cString: element.topic), Int(element.partition))
    }
}
