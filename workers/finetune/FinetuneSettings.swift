// What finetune's step uses of the fleet's settings. It arrives as a record of the log, so that a
// replay knows it.

import Bytes

/// A domain's settings as plain numbers, part of the domain's row.
public struct DomainParameters: BitwiseCopyable, Sendable {
    public enum Surface: UInt8, BitwiseCopyable, Sendable { case recommendation, search }

    /// Milliseconds after the label during which a correction is still learned from.
    public var correctionHorizon: Int64 = 3_600_000
    /// Half-lives of the decayed rates in seconds; 0 = unused.
    public var halfLives: InlineArray<5, Int64> = [3_600, 86_400, 604_800, 0, 0]
    /// Adagrad's step size.
    public var rate: Float = 0.05
    /// Kept share of negatives, (0, 1].
    public var negativeShare: Float = 1
    /// A score is published when it moved by more than this share of its own value.
    public var threshold: Float = 0.02
    /// Labels a micro-batch holds before it is learned from, at most `microBatchMaximum`.
    public var microBatch: Int32 = 32
    /// Recent contexts over which a score is averaged, at most `contextsMaximum`.
    public var contexts: Int32 = 64
    public var referencePosition: Int32 = 1
    /// How many of the most frequent queries get scores of their own (search).
    public var headQueries: Int32 = 100
    public var surface: Surface = .recommendation
    /// Whether the domain's own weights are learned (`learning.parts`: `head`) or only the shared ones.
    public var learnsOwnWeights = true
    /// Rows have no padding: their bytes are hashed.
    private var filler: UInt16 = 0

    /// Of the counts of queries, milliseconds: the first of the half-lives.
    var queryHalfLife: Double { Double(max(1, halfLives[0])) * 1_000 }

    public static let microBatchMaximum = 64
    public static let contextsMaximum = 64

    public init() {}
}

/// Everything a settings record says.
public struct FinetuneSettings: Sendable {
    /// Milliseconds of event time between publish points.
    public var publishPeriod: Int64 = 250
    /// Milliseconds of event time between the sets of priors that partitions send each other.
    public var priorPeriod: Int64 = 1_000
    public var defaults = DomainParameters()
    public var domains: [String: DomainParameters] = [:]

    public init() {}

    public func parameters(of domain: ByteSlice) -> DomainParameters {
        domains.isEmpty ? defaults : domains[domain.text] ?? defaults
    }
}

/// Bounds in rows. They are the role's and decide what is evicted, so they are part of the step's
/// version.
public struct FinetuneCaps: Sendable, Equatable {
    public var domains = 256
    public var items = 1_000_000
    public var queries = 200_000
    /// Impressions whose label is still to come.
    public var openImpressions = 4_000_000
    /// Labeled impressions whose features wait for a correction.
    public var corrections = 1_000_000
    /// Numbers in a text's vector; 0 = texts have no vectors, and no memory for them.
    public var textDimension = 384

    public init() {}
}
