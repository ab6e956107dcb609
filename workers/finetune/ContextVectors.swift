// What the histories of a domain's contexts say in vectors, put into one: the mean over the contexts of
// their cosines with an item is then one product.

import VectorKernels

/// The sum, over a domain's contexts, of the unit vectors into which their histories point.
///
/// In whole numbers, so that it is the same whether contexts were exchanged one by one or all are taken
/// anew. Derived: made again when a vector has changed, and where contexts were exchanged.
final class ContextVectors {
    /// Length that a history's sum is rounded to: 64 of them fit 16 bits.
    private static let length: Float = 511

    private let dimension: Int
    /// (contexts, dimension): where each context's history points; zeros without one.
    private let units: UnsafeMutablePointer<Int16>
    /// Bit c: the history of context c has a vector.
    private var known: UInt64 = 0
    /// Their sum.
    private let sum: UnsafeMutablePointer<Int16>
    private let unit: UnsafeMutablePointer<Int16>
    private let rows = HistoryRows()
    private var count = 0
    private var encoder: UInt64 = 0
    private var version = UInt64.max

    init(dimension: Int) {
        self.dimension = dimension
        units = .allocate(capacity: DomainParameters.contextsMaximum * dimension)
        sum = .allocate(capacity: dimension)
        unit = .allocate(capacity: dimension)
    }

    deinit {
        units.deallocate()
        sum.deallocate()
        unit.deallocate()
    }

    /// Takes the contexts as they are now; only vectors of `encoder` count.
    ///
    /// - Parameter exchanged: bit c: context c is another than at the last update.
    func update(
        _ state: FinetuneState, _ contexts: UnsafeMutablePointer<ContextRow>, _ count: Int,
        exchanged: UInt64, encoder: UInt64
    ) {
        var exchanged = exchanged
        if version != state.vectorsVersion || self.encoder != encoder || count < self.count {
            version = state.vectorsVersion
            self.encoder = encoder
            self.count = 0
            known = 0
            exchanged = .max
            sum.update(repeating: 0, count: dimension)
        }
        while self.count < count {
            (units + self.count * dimension).update(repeating: 0, count: dimension)
            exchanged |= 1 << UInt64(self.count)
            self.count += 1
        }
        for c in 0..<count where exchanged >> UInt64(c) & 1 == 1 {
            take(state, contexts + c, c)
        }
    }

    private func take(
        _ state: FinetuneState, _ context: UnsafeMutablePointer<ContextRow>, _ c: Int
    ) {
        let found = rows.find(Int(context.pointee.historyCount), of: encoder, state) {
            state.item(in: context, $0)
        }
        let squares =
            found > 0 ? sumRows(unit, rows.rows, rowCount: found, count: dimension) : 0
        let scale = squares > 0 ? ContextVectors.length / Float(squares).squareRoot() : 0
        for i in 0..<dimension {
            unit[i] = scale > 0 ? Int16((Float(unit[i]) * scale).rounded(.toNearestOrEven)) : 0
        }
        exchange(sum, unit, for: units + c * dimension, count: dimension)
        (units + c * dimension).update(from: unit, count: dimension)
        let bit: UInt64 = 1 << UInt64(c)
        known = squares > 0 ? known | bit : known & ~bit
    }

    /// The mean over all contexts of the head's input for an item; a context without a vector counts 0.
    func meanInput(_ vector: UnsafeMutablePointer<VectorRow>, _ mean: CosineMean) -> Float {
        guard known != 0, vector.pointee.encoder == encoder, vector.pointee.inverseLength > 0
        else { return 0 }
        let product = dot(sum, vector.numbers, count: dimension)
        let cosines = Float(product) * (vector.pointee.inverseLength / ContextVectors.length)
        return mean.input(sum: cosines, of: Float(known.nonzeroBitCount), encoder) / Float(count)
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
