// Where trainable tensors live in a block: one declaration gives memory, checkpoint key and shape.

/// Named tensors in one block of floats, in the order of their declaration.
///
/// Gradients and optimizer moments are blocks of the same layout.
public struct Layout: Sendable {
    /// One tensor: its name, its shape, and where it lives.
    public struct Tensor: Sendable, Equatable {
        public let name: String
        public let shape: [Int]
        public let range: Range<Int>

        /// Floats in one row of the first axis.
        public var rowCount: Int { shape.count > 1 ? range.count / max(1, shape[0]) : 1 }
    }

    public private(set) var tensors: [Tensor] = []
    /// Floats of a block; every tensor starts at a multiple of 16.
    public private(set) var count = 0
    private var places: [String: Int] = [:]

    public init() {}

    /// Declares a tensor; its floats follow those declared before.
    ///
    /// - Precondition: `name` is new and all sizes are positive.
    @discardableResult
    public mutating func add(_ name: String, _ shape: Int...) -> Range<Int> {
        add(name, shape: shape)
    }

    @discardableResult
    public mutating func add(_ name: String, shape: [Int]) -> Range<Int> {
        precondition(places[name] == nil, "\(name) is declared twice")
        precondition(shape.allSatisfy { $0 > 0 }, "\(name) has the shape \(shape)")
        let size = shape.reduce(1, *)
        let range = count..<count + size
        places[name] = tensors.count
        tensors.append(Tensor(name: name, shape: shape, range: range))
        count = (range.upperBound + 15) & ~15
        return range
    }

    public func tensor(_ name: String) -> Tensor? { places[name].map { tensors[$0] } }
}

/// Floats with one owner, aligned to 64 bytes, zero at first; behind them lie 16 more zeros, because
/// kernels read whole lanes and may pass the end by that much.
public final class Block {
    public let base: UnsafeMutablePointer<Float>
    public let count: Int

    public init(count: Int) {
        self.count = count
        let room = count + 16
        let raw = UnsafeMutableRawPointer.allocate(byteCount: room * 4, alignment: 64)
        base = raw.bindMemory(to: Float.self, capacity: room)
        base.initialize(repeating: 0, count: room)
    }

    public convenience init(copying other: Block) {
        self.init(count: other.count)
        base.update(from: other.base, count: count)
    }

    deinit { UnsafeMutableRawPointer(base).deallocate() }

    public func clear() { base.update(repeating: 0, count: count) }

    public func copy(from other: Block) {
        precondition(count == other.count, "copy \(other.count) floats to \(count)")
        base.update(from: other.base, count: count)
    }

    public var floats: UnsafeMutableBufferPointer<Float> {
        UnsafeMutableBufferPointer(start: base, count: count)
    }
}
