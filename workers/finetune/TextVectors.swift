// Vectors of items' and queries' texts, and their cosines. Whole numbers of eight bits, so that products
// are exact: the bits of a prediction do not depend on the kernels that made it.

import Bytes
import Contracts
import Streams
import VectorKernels

/// A text's vector. Named by nothing: its owner knows the row. Tail: one `Int8` a dimension.
struct VectorRow: BitwiseCopyable {
    /// Who made it; vectors of different encoders are not comparable.
    var encoder: UInt64 = 0
    /// 1 / length of the whole numbers; 0 where all are 0: a text without a token.
    var inverseLength: Float = 0
    var padding: UInt32 = 0

    /// Length of the numbers that a vector is rounded to where none of them passes 127. One length, which
    /// 99 of 100 vectors of a sentence encoder reach, lets a history's items weigh the same in their sum.
    static let length: Float = 512

    /// Rounds a vector to whole numbers.
    ///
    /// - Parameter numbers: `vector.dimension` numbers, overwritten, each within ±127.
    /// - Returns: 1 / their length, 0 where all are 0; nil where a number of the vector is not finite.
    static func round(_ vector: TextVector, into numbers: UnsafeMutablePointer<Int8>) -> Float? {
        var largest: Float = 0
        var squares = 0.0
        for i in 0..<vector.dimension {
            let x = vector[i]
            guard x.isFinite else { return nil }
            largest = max(largest, abs(x))
            squares += Double(x) * Double(x)
        }
        let scale =
            largest > 0 ? min(127 / largest, length / Float(squares.squareRoot())) : 0
        for i in 0..<vector.dimension {
            numbers[i] = Int8((vector[i] * scale).rounded(.toNearestOrEven))
        }
        let sum = dot(numbers, numbers, count: vector.dimension)
        return sum > 0 ? 1 / Float(sum).squareRoot() : 0
    }
}

/// The mean of a kind of cosine over the impressions that had one: cosines of sentence encoders lie
/// around a positive mean, which says nothing.
struct CosineMean: BitwiseCopyable {
    /// Whose vectors they are of; another encoder's cosines begin anew.
    private(set) var encoder: UInt64 = 0
    private var count: Double = 0
    private var mean: Double = 0

    /// After so many the mean forgets.
    private static let memory = 10_000.0

    /// The cosine as an input of the head; 0 while there is no mean of its encoder.
    @inline(__always)
    func input(_ cosine: Float, _ encoder: UInt64) -> Float {
        input(sum: cosine, of: 1, encoder)
    }

    /// The sum of the inputs that so many cosines give.
    @inline(__always)
    func input(sum cosines: Float, of number: Float, _ encoder: UInt64) -> Float {
        guard count > 0, encoder == self.encoder else { return 0 }
        return HeadConstant.cosineScale * (cosines - number * Float(mean))
    }

    mutating func add(_ cosine: Float, _ encoder: UInt64) {
        if encoder != self.encoder {
            self.encoder = encoder
            count = 0
            mean = 0
        }
        count = min(count + 1, CosineMean.memory)
        mean += (Double(cosine) - mean) / count
    }
}

/// Where the vectors of a history's items lie, to be summed: reused memory.
final class HistoryRows {
    /// Only the newest ten items count: so sums fit 16 bits, and the products of sums 32.
    static let maximum = ContextRow.historyMaximum
    let rows = UnsafeMutablePointer<UnsafePointer<Int8>>.allocate(capacity: maximum)

    deinit { rows.deallocate() }

    /// Finds the vectors of one encoder; returns how many there are.
    ///
    /// - Parameter item: the row of an item of the history, the newest last, `UInt32.max` for an unknown
    ///   one.
    @inline(__always)
    func find(
        _ count: Int, of encoder: UInt64, _ state: FinetuneState, _ item: (Int) -> UInt32
    ) -> Int {
        var found = 0
        for i in max(0, count - HistoryRows.maximum)..<count {
            guard let vector = state.itemVector(item(i)), vector.pointee.encoder == encoder,
                vector.pointee.inverseLength > 0
            else { continue }
            rows[found] = UnsafePointer(vector.numbers)
            found += 1
        }
        return found
    }
}

extension UnsafeMutablePointer where Pointee == VectorRow {
    /// The tail, which lies behind the row.
    @inline(__always)
    var numbers: UnsafeMutablePointer<Int8> { field(at: MemoryLayout<VectorRow>.stride) }
}

extension FinetuneState {
    /// An item's vector; nil where it has none or the item is not known.
    @inline(__always)
    func itemVector(_ item: UInt32) -> UnsafeMutablePointer<VectorRow>? {
        guard let itemVectors, item != UInt32.max else { return nil }
        let row = items[item].pointee.vector
        return row == 0 ? nil : itemVectors[row - 1]
    }

    /// The vector of a query's text.
    func textVector(_ text: UInt32) -> UnsafeMutablePointer<VectorRow>? {
        guard let textVectors else { return nil }
        let row = texts[text].pointee.vector
        return row == 0 ? nil : textVectors[row - 1]
    }
}

extension FinetuneStep {
    /// Keeps, replaces or forgets the vector of an item.
    func keep(_ vector: TextVector?, of item: UInt32, _ state: FinetuneState) {
        guard let table = state.itemVectors else { return }
        let place = state.items[item]
        guard vector != nil || place.pointee.vector != 0 else { return }
        place.pointee.vector = keep(
            vector, table, row: place.pointee.vector, key: state.items.key(item), state)
        state.vectorsVersion += 1
        state.items.markChanged(item)
    }

    /// Keeps or replaces the vector of a query's text. A record without one takes none away: a hash
    /// never names another text.
    func keep(_ vector: TextVector, ofText text: UInt32, _ state: FinetuneState) {
        guard let table = state.textVectors else { return }
        state.texts[text].pointee.vector = keep(
            vector, table, row: state.texts[text].pointee.vector, key: state.texts.key(text), state)
        state.texts.markChanged(text)
    }

    /// - Parameter row: one more than the row of the vector before, 0 for none; so is what is returned.
    private func keep(
        _ vector: TextVector?, _ table: Table<VectorRow>, row: UInt32, key: Hash128,
        _ state: FinetuneState
    ) -> UInt32 {
        var inverseLength: Float?
        if let vector {
            if vector.dimension == caps.textDimension {
                inverseLength = VectorRow.round(vector, into: scratch.vector)
            }
            if inverseLength == nil { state.clock.value.pointee.counters.vectorsMasked += 1 }
        }
        guard let vector, let inverseLength else {
            if row > 0 { table.remove(row - 1) }
            return 0
        }
        let found = row > 0 ? row - 1 : table.insert(key)
        let place = table[found]
        place.pointee.encoder = vector.encoder
        place.pointee.inverseLength = inverseLength
        place.numbers.update(from: scratch.vector, count: caps.textDimension)
        table.markChanged(found)
        return found + 1
    }

    /// Writes the cosines of an impression to `scratch.features`, and takes them into their means.
    func addCosines(_ state: FinetuneState, _ item: UInt32, query: UInt64?) {
        let features = scratch.features
        features.dense[HeadInput.historyCosine] = 0
        features.dense[HeadInput.queryCosine] = 0
        guard let vector = state.itemVector(item), vector.pointee.inverseLength > 0 else { return }
        let encoder = vector.pointee.encoder
        let shared = state.shared.value
        let known = scratch.historyRows.find(scratch.history.count, of: encoder, state) {
            scratch.history[$0]
        }
        if known > 0 {
            let (squares, product) = sumProducts(
                scratch.historyRows.rows, rowCount: known, vector.numbers,
                count: caps.textDimension)
            if squares > 0 {
                let cosine =
                    Float(product) / Float(squares).squareRoot() * vector.pointee.inverseLength
                features.dense[HeadInput.historyCosine] =
                    shared.pointee.historyCosines.input(cosine, encoder)
                shared.pointee.historyCosines.add(cosine, encoder)
            }
        }
        if let query, let cosine = queryCosine(state, query, vector) {
            features.dense[HeadInput.queryCosine] =
                shared.pointee.queryCosines.input(cosine, encoder)
            shared.pointee.queryCosines.add(cosine, encoder)
        }
    }

    /// The cosine of a query's text with an item's; nil where a vector is missing or of another encoder.
    private func queryCosine(
        _ state: FinetuneState, _ query: UInt64, _ item: UnsafeMutablePointer<VectorRow>
    ) -> Float? {
        guard let text = state.texts.find(FinetuneState.textKey(query)),
            let vector = state.textVector(text), vector.pointee.encoder == item.pointee.encoder,
            vector.pointee.inverseLength > 0
        else { return nil }
        let product = dot(vector.numbers, item.numbers, count: caps.textDimension)
        return Float(product) * vector.pointee.inverseLength * item.pointee.inverseLength
    }

    /// The head's input from a query's and an item's text as they are now.
    func queryInput(_ state: FinetuneState, _ query: UInt64, _ item: UInt32) -> Float {
        guard let vector = state.itemVector(item), vector.pointee.inverseLength > 0,
            let cosine = queryCosine(state, query, vector)
        else { return 0 }
        return state.shared.value.pointee.queryCosines.input(cosine, vector.pointee.encoder)
    }
}
