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

    /// The order of telling: by weight, equal weights by key.
    func isHeavier(_ other: HeavyHitter) -> Bool {
        weight > other.weight || (weight == other.weight && key < other.key)
    }
}

/// Space-Saving: the heaviest keys of a stream in `capacity` counters.
///
/// A key without a counter takes over the lightest one with its weight, which becomes its error. With
/// total weight W: `weight − error ≤ true weight ≤ weight`, `error ≤ W / capacity`, and every key heavier
/// than W / capacity has a counter. Which of several equally light ones goes follows from the stream
/// alone. Whole weights are exact up to 2^53.
///
/// Merging keeps the bounds (errors add) and is feeding exactly while all keys of both find a counter;
/// beyond that the counters depend on the order, as they do when feeding. To let weights fade, call
/// `fade(by:)` once per step of time (all bounds fade alike), or add with weights that grow with time,
/// `2^((time − start) / half-life)`, and fade only when they get large.
///
/// Counters stand in the order of their weights, so that frequent keys are found at once and the lightest
/// is the last.
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
        change { keys, weights, errors in
            var place = 0
            while place < capacity, keys[place] != key || weights[place] == 0 { place &+= 1 }
            if place == capacity { place = capacity &- 1 }
            let old = weights[place]
            let newError = error + (keys[place] == key ? errors[place] : old)
            let newWeight = weight + old
            // Lighter ones stand before it now: the first of them changes places with it if all of them
            // weigh the same, else they move down by one.
            var first = place
            while first > 0, weights[first &- 1] < newWeight { first &-= 1 }
            if first < place, weights[first] == weights[place &- 1] {
                keys[place] = keys[first]
                weights[place] = weights[first]
                errors[place] = errors[first]
                place = first
            }
            while place > first {
                keys[place] = keys[place &- 1]
                weights[place] = weights[place &- 1]
                errors[place] = errors[place &- 1]
                place &-= 1
            }
            keys[place] = key
            weights[place] = newWeight
            errors[place] = newError
        }
    }

    @inlinable @inline(__always)
    mutating func change(
        _ body: (
            _ keys: UnsafeMutablePointer<UInt64>, _ weights: UnsafeMutablePointer<Double>,
            _ errors: UnsafeMutablePointer<Double>
        ) -> Void
    ) {
        keys.change { keys in
            weights.change { weights in errors.change { body(keys, weights, $0) } }
        }
    }

    /// Multiplies all weights by `factor` in 0 … 1, as time passes; what is left of less than 1e-100 goes.
    public mutating func fade(by factor: Double) {
        let old = top(capacity)
        let total = totalWeight * factor
        self = HeavyHitters()
        totalWeight = total
        for hitter in old where hitter.weight * factor >= 1e-100 {
            add(hitter.key, weight: hitter.weight * factor, error: hitter.error * factor)
        }
    }

    /// Joins another summary. A key that has a counter in one of two full summaries may have had up to the
    /// lightest weight in the other: both bounds take that in.
    public mutating func merge(_ other: HeavyHitters<capacity>) {
        let (ours, theirs) = (top(capacity), other.top(capacity))
        let (ourLightest, theirLightest) = (lightestWeight, other.lightestWeight)
        var joined: [HeavyHitter] = []
        for hitter in ours {
            let match = theirs.first { $0.key == hitter.key }
            joined.append(
                HeavyHitter(
                    key: hitter.key, weight: hitter.weight + (match?.weight ?? theirLightest),
                    error: hitter.error + (match?.error ?? theirLightest)))
        }
        for hitter in theirs where !ours.contains(where: { $0.key == hitter.key }) {
            joined.append(
                HeavyHitter(
                    key: hitter.key, weight: hitter.weight + ourLightest,
                    error: hitter.error + ourLightest))
        }
        joined.sort { $0.isHeavier($1) }
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
    public var lightestWeight: Double { weights.read { $0[capacity - 1] } }

    /// What is known of `key`, or nil without a counter.
    public func find(_ key: UInt64) -> HeavyHitter? { top(capacity).first { $0.key == key } }

    /// The `count` heaviest keys, the heaviest first, equal weights by key.
    public func top(_ count: Int) -> [HeavyHitter] {
        let used = keys.read { keys in
            weights.read { weights in
                errors.read { errors in
                    (0..<capacity).prefix { weights[$0] > 0 }
                        .map { HeavyHitter(key: keys[$0], weight: weights[$0], error: errors[$0]) }
                }
            }
        }
        return Array(used.sorted { $0.isHeavier($1) }.prefix(count))
    }
}
