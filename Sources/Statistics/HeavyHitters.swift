// The keys that come most often, in a fixed number of counters.

/// A key that was counted, with what is known of its weight: it is between `weight − error` and `weight`.
@frozen
public struct HeavyHitter: Equatable, BitwiseCopyable, Sendable {
    public var key: UInt64
    /// At least the key's true weight.
    public var weight: Double
    /// By how much `weight` may be too high.
    public var error: Double

    @inlinable
    public init(key: UInt64, weight: Double, error: Double) {
        self.key = key
        self.weight = weight
        self.error = error
    }
}

/// Space-Saving: the heaviest keys of a stream in `capacity` counters.
///
/// A key without a counter takes over the lightest one with its weight, which becomes its error. With
/// total weight W: `weight − error ≤ true weight ≤ weight`, `error ≤ W / capacity`, and every key heavier
/// than W / capacity has a counter. Of equally light counters the one with the greatest key goes, so the
/// result follows from the stream alone. Whole weights are exact up to 2^53.
///
/// Merging keeps the bounds (errors add) and is feeding exactly while all keys of both find a counter;
/// beyond that the counters depend on the order, as they do when feeding. To let weights fade, call
/// `fade(by:)` once per step of time: all bounds fade alike. An update looks through the keys: 64 of them
/// take about 20 ns.
///
/// Memory: 24 bytes a counter and 8.
///
/// - Source: A. Metwally, D. Agrawal, A. El Abbadi, Efficient computation of frequent and top-k elements,
///   ICDT 2005; merging: P. Agarwal et al., Mergeable summaries, PODS 2012.
@frozen
public struct HeavyHitters<let capacity: Int>: Mergeable {
    /// A counter with weight 0 is free.
    @usableFromInline var keys: InlineArray<capacity, UInt64>
    @usableFromInline var weights: InlineArray<capacity, Double>
    @usableFromInline var errors: InlineArray<capacity, Double>
    /// The weight of everything added.
    public var totalWeight: Double

    @inlinable
    public init() {
        keys = InlineArray(repeating: 0)
        weights = InlineArray(repeating: 0)
        errors = InlineArray(repeating: 0)
        totalWeight = 0
    }

    /// Adds `weight` > 0 to `key`; other weights are ignored.
    @inlinable
    public mutating func add(_ key: UInt64, weight: Double = 1) {
        guard weight > 0 else { return }
        totalWeight += weight
        add(key, weight: weight, error: 0)
    }

    @inlinable
    mutating func add(_ key: UInt64, weight: Double, error: Double) {
        for i in 0..<capacity where keys[i] == key && weights[i] > 0 {
            weights[i] += weight
            errors[i] += error
            return
        }
        var lightest = 0
        for i in 1..<capacity {
            if weights[i] < weights[lightest]
                || (weights[i] == weights[lightest] && keys[i] > keys[lightest])
            {
                lightest = i
            }
        }
        errors[lightest] = weights[lightest] + error
        weights[lightest] += weight
        keys[lightest] = key
    }

    /// Multiplies all weights by `factor` in 0 … 1, as time passes.
    @inlinable
    public mutating func fade(by factor: Double) {
        totalWeight *= factor
        for i in 0..<capacity {
            weights[i] *= factor
            errors[i] *= factor
        }
    }

    /// Joins another summary. A key that has a counter in one of two full summaries may have had up to the
    /// lightest weight in the other: both bounds take that in.
    public mutating func merge(_ other: HeavyHitters<capacity>) {
        let (mine, theirs) = (lightestWeight, other.lightestWeight)
        var joined: [HeavyHitter] = []
        for i in 0..<capacity where weights[i] > 0 {
            var hitter = HeavyHitter(key: keys[i], weight: weights[i], error: errors[i])
            if let match = other.find(keys[i]) {
                hitter.weight += match.weight
                hitter.error += match.error
            } else {
                hitter.weight += theirs
                hitter.error += theirs
            }
            joined.append(hitter)
        }
        for i in 0..<capacity where other.weights[i] > 0 && find(other.keys[i]) == nil {
            joined.append(
                HeavyHitter(
                    key: other.keys[i], weight: other.weights[i] + mine,
                    error: other.errors[i] + mine))
        }
        joined.sort(by: Self.isHeavier)
        let total = totalWeight + other.totalWeight
        self = HeavyHitters()
        totalWeight = total
        for (i, hitter) in joined.prefix(capacity).enumerated() {
            keys[i] = hitter.key
            weights[i] = hitter.weight
            errors[i] = hitter.error
        }
    }

    /// What a key without a counter may weigh at most; 0 while a counter is free.
    public var lightestWeight: Double {
        var lightest = weights[0]
        for i in 1..<capacity where weights[i] < lightest { lightest = weights[i] }
        return lightest
    }

    /// What is known of `key`, or nil without a counter.
    public func find(_ key: UInt64) -> HeavyHitter? {
        for i in 0..<capacity where keys[i] == key && weights[i] > 0 {
            return HeavyHitter(key: key, weight: weights[i], error: errors[i])
        }
        return nil
    }

    /// The `count` heaviest keys, the heaviest first, equal weights by key.
    public func top(_ count: Int) -> [HeavyHitter] {
        var all: [HeavyHitter] = []
        for i in 0..<capacity where weights[i] > 0 {
            all.append(HeavyHitter(key: keys[i], weight: weights[i], error: errors[i]))
        }
        all.sort(by: Self.isHeavier)
        return Array(all.prefix(count))
    }

    private static func isHeavier(_ a: HeavyHitter, _ b: HeavyHitter) -> Bool {
        a.weight != b.weight ? a.weight > b.weight : a.key < b.key
    }
}
