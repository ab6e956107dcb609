// The first head: an online logistic regression over live statistics and hashed features.

import Bytes
import DeterministicMath

/// The dense inputs of the head, in the order of its weights.
///
/// `lo(p) = ln(p / (1 − p))`, `p0` = global rate, `rate(c, n, κ, m) = min(.98, (c + κ m) / (n + κ))`.
/// Source: model-spec §12; the inputs behind `itemDomain` are ours, chosen on RankLens (DECISIONS.md).
enum HeadInput {
    /// `R_i = lo(rate(clicks, impressions, κ, p0)) − lo(p0)` of the item over all domains.
    static let itemRate = 0
    /// The same of the user.
    static let userRate = 1
    /// `ln(1 + impressions) / 3` of the item.
    static let itemCount = 2
    /// `ln(1 + impressions) / 3` of the user.
    static let userCount = 3
    /// The domain's own deviation of the item: `lo(rate_domain) − lo(rate_item)`.
    static let itemDomain = 4
    static let itemUser = 5
    /// Mean of R over the items of the user's history: does this user click what all click?
    static let historyRate = 6
    static let itemHistory = 7
    /// 1 if the item is in the history.
    static let inHistory = 8
    /// Mean over the item's tokens of their shrunken rate, as a difference to `lo(p0)`.
    static let contentRate = 9
    /// How much more often the item's tokens are in this user's clicks than in all clicks.
    static let taste = 10
    static let count = 11

    /// Behind the dense inputs: the bias, and 25 positions of which row 0 is "unknown".
    static let bias = 11
    static let positions = 12
    static let weights = 37
}

/// The head's constants; see DECISIONS.md for what was measured.
enum HeadConstant {
    /// Pseudo-counts of an item's, a user's and a domain deviation's rate.
    static let rateStrength: Double = 6
    /// Pseudo-counts of a token's rate.
    static let tokenStrength: Double = 20
    static let largestRate: Double = 0.98
    /// A domain's own part learns at this share of the rate, its bias excepted.
    static let ownShare: Float = 0.2
    /// What a micro-batch's gradient is divided by, also where a tick cut the batch short.
    static let batchDivisor: Float = 32
    static let sharedAccumulator: Float = 1e-10
    static let ownAccumulator: Float = 0.01
    static let hashedAccumulator: Float = 1e-3
}

/// Dense weights with their Adagrad accumulators: the shared part, or a domain's own.
struct HeadPart: BitwiseCopyable {
    var weights: InlineArray<37, Float>
    var accumulators: InlineArray<37, Float>

    /// The shared part's start values: the rates count as they are, all else not at all.
    static var sharedStart: HeadPart {
        var part = HeadPart(
            weights: InlineArray(repeating: 0),
            accumulators: InlineArray(repeating: HeadConstant.sharedAccumulator))
        part.weights[HeadInput.itemRate] = 1
        part.weights[HeadInput.userRate] = 1
        return part
    }

    /// A domain's own part deviates from the shared one by nothing at first.
    static var ownStart: HeadPart {
        var part = HeadPart(
            weights: InlineArray(repeating: 0),
            accumulators: InlineArray(repeating: HeadConstant.ownAccumulator))
        part.accumulators[HeadInput.bias] = HeadConstant.sharedAccumulator
        return part
    }
}

/// The shared part, and what it has learned since the other partitions were told.
struct SharedHead: BitwiseCopyable {
    var part = HeadPart.sharedStart
    /// Sums of micro-batch gradients and of their squares.
    var gradient: InlineArray<37, Float> = InlineArray(repeating: 0)
    var square: InlineArray<37, Float> = InlineArray(repeating: 0)
    var examples: Int64 = 0
}

/// A hashed weight with its accumulator.
struct HashedWeight: BitwiseCopyable {
    var weight: Float = 0
    var accumulator: Float = HeadConstant.hashedAccumulator
}

/// A hashed feature in four bytes: bucket in the lower 24 bits, above it n of its value 1/√n.
struct PackedFeature: BitwiseCopyable {
    var bits: UInt32

    @inline(__always)
    init(bucket: UInt32, shareOf n: Int) { bits = bucket | UInt32(n) << 24 }

    @inline(__always) var bucket: Int { Int(bits & 0xFF_FFFF) }
    @inline(__always) var share: Int { Int(bits >> 24) }
}

/// What an impression was predicted from, kept with it until it can no longer be corrected.
struct KeptFeatures: BitwiseCopyable {
    static let hashedMaximum = ItemFeatures.tokenMaximum + otherMaximum
    /// Item, user, query, query × item, and at most 16 scalars each of user and context.
    static let otherMaximum = 36

    var dense: InlineArray<11, Float> = InlineArray(repeating: 0)
    /// Row of the position table.
    var position: UInt16 = 0
    var hashedCount: UInt16 = 0
    var hashed: InlineArray<76, PackedFeature> = InlineArray(
        repeating: PackedFeature(bucket: 0, shareOf: 0))
}

/// What is known of an item's content.
struct ItemFeatures: BitwiseCopyable {
    static let tokenMaximum = 40
    static let domainMaximum = 16

    var tokenCount: UInt16 = 0
    /// Domains that the catalog lists; more than `domainMaximum` count as all.
    var domainCount: UInt16 = 0
    /// Rows are the domains' name hashes, lower half.
    var domains: InlineArray<16, UInt64> = InlineArray(repeating: 0)
    var tokens: InlineArray<40, PackedFeature> = InlineArray(
        repeating: PackedFeature(bucket: 0, shareOf: 0))
}

extension Math {
    /// `lo` of a shrunken rate (model-spec §12).
    @inline(__always)
    static func shrunkenLogit(
        _ clicks: Double, _ impressions: Double, strength: Double, towards mean: Double
    ) -> Double {
        let rate = min(
            HeadConstant.largestRate, (clicks + strength * mean) / (impressions + strength))
        return Math.log(rate / (1 - rate))
    }
}

/// The weights in reach of one domain, and the arithmetic over them.
struct HeadView {
    let shared: UnsafeMutablePointer<SharedHead>
    let own: UnsafeMutablePointer<HeadPart>
    let hashed: UnsafeMutablePointer<HashedWeight>
    let shares: UnsafePointer<Float>

    @inline(__always)
    func weight(_ i: Int) -> Float { shared.part.weights[i] + own.weights[i] }

    /// The logit of kept features at the present weights.
    func logit(_ features: UnsafeMutablePointer<KeptFeatures>) -> Float {
        var z =
            weight(HeadInput.bias) + weight(HeadInput.positions + Int(features.pointee.position))
        let dense = features.dense
        for k in 0..<HeadInput.count { z += dense[k] * weight(k) }
        let list = features.hashed
        for j in 0..<Int(features.pointee.hashedCount) {
            z += hashed[list[j].bucket].weight * shares[list[j].share]
        }
        return z
    }
}
