// The first head: what it looks at, and the weights it learns. `logit = content + item effect + cross`.

import Bytes
import DeterministicMath

/// The inputs of the head, in the order of its weights.
///
/// The *content part* is an online logistic regression that never sees the item's own counts, so it is
/// right for an item without labels. The *item effect* (ItemEffect.swift) is the posterior of how much
/// better the item does than its content says. The *cross part* adds what needs the item's own rate.
///
/// `lo(p) = ln(p / (1 − p))`, `p0` = global rate, `R_i = lo(rate_i) − lo(p0)` with
/// `rate_i = min(.98, (clicks + κ p0) / (impressions + κ))`. Source: model-spec §12; where we depart from it, and
/// what each input is worth on RankLens: DECISIONS.md.
enum HeadInput {
    /// `lo` of the user's shrunken rate over all domains, − lo(p0).
    static let userRate = 0
    /// `ln(1 + impressions) / 3` of the user.
    static let userCount = 1
    /// Mean of R over the items of the user's history: does this user click what all click?
    static let historyRate = 2
    /// Mean over the item's tokens of `lo` of their shrunken rate, − lo(p0).
    static let contentRate = 3
    /// How much more often the item's tokens are in this user's clicks than in all clicks.
    static let taste = 4
    /// Share of the query's words that are in the item's title or tags.
    static let match = 5
    /// Cosine of the item's text with the sum of the history's, − its mean, × `cosineScale`.
    static let historyCosine = 6
    /// Cosine of the query's text with the item's, in the same way.
    static let queryCosine = 7
    static let count = 8

    /// Behind the dense inputs: the bias, and for each surface 25 positions of which row 0 is "unknown".
    static let bias = 8
    static let positions = 9
    static let weights = 59
    /// Cross part: R · user rate, R · history rate, whether the item is in the history.
    static let crossCount = 3
    /// What an example says in `dense`: dense and cross inputs, content logit, item content, effect.
    static let toldCount = 14
    /// Dense and cross weights together, as partitions tell each other.
    static let toldWeights = 62

    static func position(_ surface: DomainParameters.Surface, row: Int) -> Int {
        positions + row + (surface == .search ? 25 : 0)
    }
}

/// The head's constants; DECISIONS.md says what was measured. None is sensitive.
enum HeadConstant {
    /// Pseudo-counts of an item's and a user's rate.
    static let rateStrength: Double = 6
    /// Pseudo-counts of a token's rate.
    static let tokenStrength: Double = 20
    static let largestRate: Double = 0.98
    static let smallestRate: Double = 1e-12
    /// What a cosine is multiplied by, so that Adagrad's steps suit it.
    static let cosineScale: Float = 4
    /// A domain's own part learns at this share of the rate, its bias excepted.
    static let ownShare: Float = 0.2
    /// What a micro-batch's gradient is divided by, also where a tick cut the batch short.
    static let batchDivisor: Float = 32
    static let sharedAccumulator: Float = 1e-10
    static let ownAccumulator: Float = 0.01
    static let hashedAccumulator: Float = 1e-3
    /// Labels after which half the precision of a domain's biases is forgotten.
    static let biasHalfLife: Double = 10_000
    /// Precision at which a domain's own bias and final bias start, and below which they never fall.
    static let ownBiasPrecision: Double = 4
    static let finalBiasPrecision: Double = 20
}

/// Dense weights with their Adagrad accumulators: the shared part, or a domain's own.
struct HeadPart: BitwiseCopyable {
    var weights: InlineArray<59, Float>
    var accumulators: InlineArray<59, Float>

    /// The shared part's start: the user's rate counts as it is, all else not at all.
    static var sharedStart: HeadPart {
        var part = HeadPart(
            weights: InlineArray(repeating: 0),
            accumulators: InlineArray(repeating: HeadConstant.sharedAccumulator))
        part.weights[HeadInput.userRate] = 1
        return part
    }

    /// A domain's own part deviates from the shared one by nothing at first.
    static var ownStart: HeadPart {
        HeadPart(
            weights: InlineArray(repeating: 0),
            accumulators: InlineArray(repeating: HeadConstant.ownAccumulator))
    }
}

/// The shared weights, and what they have learned since the other partitions were told (where there are
/// others).
struct SharedHead: BitwiseCopyable {
    var part = HeadPart.sharedStart
    /// Sums of micro-batch gradients and of their squares: dense weights, then the cross part's.
    var gradient: InlineArray<62, Double> = InlineArray(repeating: 0)
    var square: InlineArray<62, Double> = InlineArray(repeating: 0)
    var cross: InlineArray<3, Float> = InlineArray(repeating: 0)
    var crossAccumulators: InlineArray<3, Float> = InlineArray(
        repeating: HeadConstant.sharedAccumulator)
    var examples: Int64 = 0
    var spread = EffectSpread()
    var historyCosines = CosineMean()
    var queryCosines = CosineMean()
}

/// The two biases of a domain, learned by Newton steps: found within a hundred labels, and with a
/// variance (1 / precision).
struct DomainBiases: BitwiseCopyable {
    /// Of the content part.
    var own: Double = 0
    var ownPrecision = HeadConstant.ownBiasPrecision
    /// Of the whole logit.
    var final: Double = 0
    var finalPrecision = HeadConstant.finalBiasPrecision
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
    /// User, query, query × item, and at most 16 scalars each of user and context.
    static let otherMaximum = 36
    /// No input can be larger, all are logits, products of two or sums of few: what is, comes of numbers
    /// that are wrong.
    static let largestInput: Float = 1e6

    var dense: InlineArray<8, Float> = InlineArray(repeating: 0)
    var cross: InlineArray<3, Float> = InlineArray(repeating: 0)
    /// The content part's logit, and the part of that which comes from the item's content.
    var content: Float = 0
    var itemContent: Float = 0
    /// The item effect as it was, and the effect of the pair of query and item (search).
    var effect: Float = 0
    var pairEffect: Float = 0
    /// Weight of the position's bias.
    var position: UInt16 = 0
    var hashedCount: UInt16 = 0
    /// Others first, then the item's tokens.
    var hashed: InlineArray<84, PackedFeature> = InlineArray(
        repeating: PackedFeature(bucket: 0, shareOf: 0))
}

/// What is known of an item's content.
struct ItemFeatures: BitwiseCopyable {
    static let tokenMaximum = 48
    static let domainMaximum = 16

    var tokenCount: UInt16 = 0
    /// Tokens of title and tags come first: a query's words are looked for there.
    var wordCount: UInt16 = 0
    /// Domains that the catalog lists; more than `domainMaximum` count as all.
    var domainCount: UInt32 = 0
    /// The domains' name hashes, lower half.
    var domains: InlineArray<16, UInt64> = InlineArray(repeating: 0)
    var tokens: InlineArray<48, PackedFeature> = InlineArray(
        repeating: PackedFeature(bucket: 0, shareOf: 0))
}

extension Math {
    /// `lo` of a shrunken rate (model-spec §12); finite whatever it is given.
    @inline(__always)
    static func shrunkenLogit(
        _ clicks: Double, _ impressions: Double, strength: Double, towards mean: Double
    ) -> Double {
        let given = (clicks + strength * mean) / (impressions + strength)
        let rate =
            given < HeadConstant.largestRate
            ? max(HeadConstant.smallestRate, given) : HeadConstant.largestRate
        return Math.log(rate / (1 - rate))
    }
}

/// The weights in reach of one domain, and the arithmetic over them.
struct HeadView {
    let shared: UnsafeMutablePointer<SharedHead>
    let own: UnsafeMutablePointer<HeadPart>
    let biases: UnsafeMutablePointer<DomainBiases>
    let hashed: UnsafeMutablePointer<HashedWeight>
    let shares: UnsafePointer<Float>

    @inline(__always)
    func weight(_ i: Int) -> Float { shared.part.weights[i] + own.weights[i] }

    /// Bias of the content part: shared and own.
    var bias: Float { shared.part.weights[HeadInput.bias] + Float(biases.pointee.own) }

    /// The content part's logit at the present weights.
    func content(_ features: UnsafeMutablePointer<KeptFeatures>) -> Float {
        var z = bias + weight(Int(features.pointee.position))
        let dense = features.dense
        for k in 0..<HeadInput.count { z += dense[k] * weight(k) }
        let list = features.hashed
        for j in 0..<Int(features.pointee.hashedCount) {
            z += hashed[list[j].bucket].weight * shares[list[j].share]
        }
        return z
    }

    /// Cross part and final bias: what comes on top of content and effect.
    func top(_ features: UnsafeMutablePointer<KeptFeatures>) -> Float {
        var z = Float(biases.pointee.final)
        let cross = features.cross
        for k in 0..<HeadInput.crossCount { z += cross[k] * shared.cross[k] }
        return z
    }

    /// What the item's tokens say: `contentRate` and the hashed weights of its tokens.
    func itemContent(
        _ rate: Float, _ features: UnsafeMutablePointer<ItemFeatures>
    ) -> Float {
        var z = weight(HeadInput.contentRate) * rate
        let tokens = features.tokens
        for j in 0..<Int(features.pointee.tokenCount) {
            z += hashed[tokens[j].bucket].weight * shares[tokens[j].share]
        }
        return z
    }
}
