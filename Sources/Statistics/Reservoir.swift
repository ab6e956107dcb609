// Which of a fixed number of slots a stream's next value takes, decided by its number and a seed alone.

import DeterministicMath

/// Sampling of a stream into slots that somebody else keeps.
///
/// A choice depends on the seed and on how many values came before, not on a generator's history: the
/// state is one count, and any place in the stream can be decided again.
public enum Reservoir {
    /// Slot of the value that follows `seen` others, nil where it is left out: every value of the stream
    /// stays with the same chance, capacity / count.
    ///
    /// - Source: J. S. Vitter, Random sampling with a reservoir, TOMS 1985, algorithm R.
    @inlinable
    public static func uniformSlot(seen: UInt64, capacity: Int, seed: UInt64) -> Int? {
        if seen < UInt64(capacity) { return Int(seen) }
        var random = Random(seed: seed, stream: seen)
        return random.reservoirSlot(seen: Int(clamping: seen), capacity: capacity)
    }

    /// Slot of the value that follows `seen` others, nil where it is left out: a value that is a values
    /// old is in the sample with chance `capacity / memory · e^(−a / memory)`.
    ///
    /// - Parameters:
    ///   - memory: mean age of the sample in values, at least `capacity` (then every value enters).
    /// - Source: C. C. Aggarwal, On biased reservoir sampling in the presence of stream evolution,
    ///   VLDB 2006, §2.
    @inlinable
    public static func recentSlot(seen: UInt64, capacity: Int, memory: Int, seed: UInt64) -> Int? {
        precondition(
            memory >= capacity, "a sample of \(capacity) cannot remember less: \(memory)")
        if seen < UInt64(capacity) { return Int(seen) }
        var random = Random(seed: seed, stream: seen)
        let slot = random.below(memory)
        return slot < capacity ? slot : nil
    }
}
