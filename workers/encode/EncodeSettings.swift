// What a fleet can set about encode.

/// Settings of encode.
public struct EncodeSettings: Sendable, Equatable {
    /// Records of one input taken into one transaction, at most.
    public var recordsPerTurn = 1_000
    /// What an item's text is made of.
    public var template = ItemTextTemplate()
    /// Distinct texts whose vectors are kept, in memory and in `text-vectors`: the longest unused are
    /// forgotten, and encoded again should they come again.
    public var vectorsMaximum = 1_200_000
    /// Ways of texts to partitions that are remembered as gone.
    public var waysMaximum = 1_000_000
    /// How long records wait for their vectors before they go without; what is late comes behind.
    public var patienceMilliseconds = 1_000
    /// Records that wait for their vectors in memory, at most; the others wait in their topic.
    public var debtsPerTurn = 1_000

    public init() {}

    /// Bytes that the vectors of a full cache take.
    ///
    /// - Parameter dimension: numbers of a vector.
    public func vectorBytes(dimension: Int) -> Int {
        VectorMemory.vectorTable(rows: vectorsMaximum, dimension: dimension).maximumBytes
    }
}
