// How many different ones there were, in two kilobytes.

import DeterministicMath

/// Counts distinct hashes. 2,048 bytes; standard error 2.3 % at every size; merges exactly.
///
/// Each hash chooses one of 2^11 registers, which keeps the longest run of zeros that the other 53 bits
/// began with. The estimate is Ertl's improved raw estimator: it corrects both ends of the range by its
/// own series, so that no tables and no switch to linear counting are needed. From a few dozen down it is
/// nearly exact.
///
/// - Source: P. Flajolet et al., HyperLogLog, AofA 2007; O. Ertl, New cardinality estimation algorithms
///   for HyperLogLog sketches, 2017 (arXiv 1702.01284), algorithm 6.
@frozen
public struct HyperLogLog: Mergeable {
    @usableFromInline var registers: InlineArray<2048, UInt8>

    @inlinable
    public init() { registers = InlineArray(repeating: 0) }

    /// Adds one, by any 64 bits that are equal for equal ones (they are mixed here).
    @inlinable @inline(__always)
    public mutating func add(_ hash: UInt64) {
        let mixed = SplitMix64.mix(hash)
        let register = Int(truncatingIfNeeded: mixed &>> 53)
        // The bit set below ends the run of zeros after 53 places at the latest.
        let rest = (mixed &<< 11) | 0x400
        let run = UInt8(truncatingIfNeeded: rest.leadingZeroBitCount &+ 1)
        if run > registers[register] { registers[register] = run }
    }

    public mutating func merge(_ other: HyperLogLog) {
        registers.combine(other.registers) { $0 = max($0, $1) }
    }

    /// How many different hashes were added.
    public var estimate: Double {
        var multiplicity = [Double](repeating: 0, count: 55)
        registers.read { for i in 0..<2048 { multiplicity[Int($0[i])] += 1 } }
        let m = 2048.0
        if multiplicity[0] == m { return 0 }
        var z = m * Self.tau(1 - multiplicity[54] / m)
        for k in stride(from: 53, through: 1, by: -1) { z = 0.5 * (z + multiplicity[k]) }
        z += m * Self.sigma(multiplicity[0] / m)
        let alpha = 0.72134752044448170368  // 1 / (2 ln 2)
        return alpha * m * m / z
    }

    private static func sigma(_ share: Double) -> Double {
        var x = share
        var y = 1.0
        var z = x
        while true {
            x *= x
            let next = z + x * y
            if next == z { return z }
            z = next
            y += y
        }
    }

    private static func tau(_ share: Double) -> Double {
        if share == 0 || share == 1 { return 0 }
        var x = share
        var y = 1.0
        var z = 1 - x
        while true {
            x = Math.sqrt(x)
            y *= 0.5
            let next = z - (1 - x) * (1 - x) * y
            if next == z { return z / 3 }
            z = next
        }
    }
}
