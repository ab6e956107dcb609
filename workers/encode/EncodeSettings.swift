// What a fleet can set about encode.

/// Settings of encode.
public struct EncodeSettings: Sendable, Equatable {
    /// Records of `catalog` taken into one transaction, at most.
    public var recordsPerTurn = 1_000

    public init() {}
}
