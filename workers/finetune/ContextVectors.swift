// What the histories of a domain's contexts say in vectors: a sum each, and its cosines with an item's.

import VectorKernels

/// Sums of the vectors in the histories of a domain's contexts. Derived; made again when the contexts,
/// or any vector, have changed.
final class ContextVectors {
    private let dimension: Int
    /// (contexts, dimension).
    private let sums: UnsafeMutablePointer<Int16>
    /// 1 / length of each sum; 0 where a context's history has no vector.
    private let inverseLengths: UnsafeMutablePointer<Float>
    private let item: UnsafeMutablePointer<Int16>
    private let products: UnsafeMutablePointer<Int32>
    private var count = 0
    private var encoder: UInt64 = 0
    private var builtFrom: (UInt64, UInt64, UInt64) = (.max, .max, .max)

    init(dimension: Int) {
        let contexts = DomainParameters.contextsMaximum
        self.dimension = dimension
        sums = .allocate(capacity: contexts * dimension)
        inverseLengths = .allocate(capacity: contexts)
        item = .allocate(capacity: dimension)
        products = .allocate(capacity: contexts)
    }

    deinit {
        sums.deallocate()
        inverseLengths.deallocate()
        item.deallocate()
        products.deallocate()
    }

    /// Takes the contexts as they are now; only vectors of `encoder` count.
    func update(
        _ state: FinetuneState, _ contexts: UnsafeMutablePointer<ContextRow>, _ count: Int,
        version contextsVersion: UInt64, encoder: UInt64
    ) {
        let version = (state.vectorsVersion, state.historiesVersion, contextsVersion)
        guard builtFrom != version || self.encoder != encoder else { return }
        builtFrom = version
        self.count = count
        self.encoder = encoder
        for c in 0..<count {
            let context = contexts + c
            inverseLengths[c] = HistorySum.add(
                Int(context.pointee.historyCount), { state.item(in: context, $0) }, encoder, state,
                to: sums + c * dimension, dimension)
        }
    }

    /// Adds to each context's logit what the cosine of its history with an item is worth.
    func add(
        to logits: UnsafeMutablePointer<Float>, _ vector: UnsafeMutablePointer<VectorRow>,
        weight: Float, _ mean: CosineMean
    ) {
        guard vector.pointee.encoder == encoder, vector.pointee.inverseLength > 0 else { return }
        widen(item, vector.numbers, count: dimension)
        dots(products, sums, rows: count, item, count: dimension)
        for c in 0..<count where inverseLengths[c] > 0 {
            let cosine = Float(products[c]) * inverseLengths[c] * vector.pointee.inverseLength
            logits[c] += weight * mean.input(cosine, encoder)
        }
    }
}

extension FinetuneState {
    /// The row of an item in a context's history; `UInt32.max` where it is not known any more.
    func item(in context: UnsafeMutablePointer<ContextRow>, _ i: Int) -> UInt32 {
        let item = context.history[i]
        guard item != UInt32.max, items.isLive(item),
            UInt32(truncatingIfNeeded: items.key(item).low) == context.historyKeys[i]
        else { return UInt32.max }
        return item
    }
}
