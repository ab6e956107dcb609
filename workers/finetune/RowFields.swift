// Arrays inside rows, as pointers: reading an element of an `InlineArray` that is not being changed
// copies the whole array in Swift 6.3.1.

extension UnsafeMutablePointer where Pointee == KeptFeatures {
    @inline(__always) var dense: UnsafeMutablePointer<Float> { field(at: 0) }
    @inline(__always) var cross: UnsafeMutablePointer<Float> { field(at: 32) }
    @inline(__always) var hashed: UnsafeMutablePointer<PackedFeature> { field(at: 64) }

    /// Whether every input is a number within `KeptFeatures.largestInput`; slopes are finite then, and so
    /// are their squares.
    var isUsable: Bool {
        var isUsable = true
        for k in 0..<HeadInput.count where !(abs(dense[k]) <= KeptFeatures.largestInput) {
            isUsable = false
        }
        for k in 0..<HeadInput.crossCount where !(abs(cross[k]) <= KeptFeatures.largestInput) {
            isUsable = false
        }
        return isUsable
    }

    /// Forgets all inputs but position and hashed features.
    func maskInputs() {
        for k in 0..<HeadInput.count { dense[k] = 0 }
        for k in 0..<HeadInput.crossCount { cross[k] = 0 }
    }
}

extension UnsafeMutablePointer where Pointee == ItemFeatures {
    @inline(__always) var domains: UnsafeMutablePointer<UInt64> { field(at: 8) }
    @inline(__always) var tokens: UnsafeMutablePointer<PackedFeature> { field(at: 136) }
}

extension UnsafeMutablePointer where Pointee == ContextRow {
    @inline(__always) var history: UnsafeMutablePointer<UInt32> { field(at: 16) }
    @inline(__always) var historyKeys: UnsafeMutablePointer<UInt32> { field(at: 56) }
    @inline(__always) var others: UnsafeMutablePointer<PackedFeature> { field(at: 96) }
}

extension UnsafeMutablePointer where Pointee == HeadPart {
    @inline(__always) var weights: UnsafeMutablePointer<Float> { field(at: 0) }
    @inline(__always) var accumulators: UnsafeMutablePointer<Float> { field(at: 236) }
}

extension UnsafeMutablePointer where Pointee == SharedHead {
    @inline(__always) var part: UnsafeMutablePointer<HeadPart> { field(at: 0) }
    @inline(__always) var gradient: UnsafeMutablePointer<Double> { field(at: 472) }
    @inline(__always) var square: UnsafeMutablePointer<Double> { field(at: 968) }
    @inline(__always) var cross: UnsafeMutablePointer<Float> { field(at: 1_464) }
    @inline(__always) var crossAccumulators: UnsafeMutablePointer<Float> { field(at: 1_476) }
}

extension UnsafeMutablePointer where Pointee == GradientSums {
    @inline(__always) var all: UnsafeMutablePointer<Float> { field(at: 0) }
}

extension UnsafeMutablePointer where Pointee == GroupLabels {
    @inline(__always) var entries: UnsafeMutablePointer<UInt32> { field(at: 0) }
}

extension UnsafeMutablePointer where Pointee == DomainRow {
    @inline(__always) var batch: UnsafeMutablePointer<UInt32> { field(at: RowFields.batch) }
    @inline(__always) var own: UnsafeMutablePointer<HeadPart> { field(at: RowFields.own) }
    @inline(__always) var biases: UnsafeMutablePointer<DomainBiases> { field(at: RowFields.biases) }
}

extension UnsafeMutablePointer {
    @inline(__always)
    func field<Field>(at offset: Int) -> UnsafeMutablePointer<Field> {
        UnsafeMutableRawPointer(self).advanced(by: offset).assumingMemoryBound(to: Field.self)
    }
}

/// Where the fields above lie; checked once, when a step is made.
enum RowFields {
    static let batch = MemoryLayout<DomainRow>.offset(of: \.batch)!
    static let own = MemoryLayout<DomainRow>.offset(of: \.own)!
    static let biases = MemoryLayout<DomainRow>.offset(of: \.biases)!

    static func check() {
        precondition(MemoryLayout<KeptFeatures>.offset(of: \.cross) == 32)
        precondition(MemoryLayout<KeptFeatures>.offset(of: \.hashed) == 64)
        precondition(MemoryLayout<ItemFeatures>.offset(of: \.domains) == 8)
        precondition(MemoryLayout<ItemFeatures>.offset(of: \.tokens) == 136)
        precondition(MemoryLayout<ContextRow>.offset(of: \.history) == 16)
        precondition(MemoryLayout<ContextRow>.offset(of: \.historyKeys) == 56)
        precondition(MemoryLayout<ContextRow>.offset(of: \.others) == 96)
        precondition(MemoryLayout<HeadPart>.offset(of: \.accumulators) == 236)
        precondition(MemoryLayout<SharedHead>.offset(of: \.gradient) == 472)
        precondition(MemoryLayout<SharedHead>.offset(of: \.square) == 968)
        precondition(MemoryLayout<SharedHead>.offset(of: \.cross) == 1_464)
        precondition(MemoryLayout<SharedHead>.offset(of: \.crossAccumulators) == 1_476)
    }
}

/// Small tables of numbers that are looked up for every feature.
struct Lookups {
    /// 1/√n for n from 0 (0) to 255: what a hashed feature's value is.
    let shares: UnsafePointer<Float>
    /// ln(n + 1) for n from 0 to 255.
    let logs: UnsafePointer<Float>
    /// 10ⁿ for n from 0 to 22, which are exact.
    let powersOfTen: UnsafePointer<Double>
}
