// What every maker of text vectors looks like from outside, and how its vectors are told apart.

import Bytes

/// Turns texts into vectors of unit length; a text without any token becomes zeros.
public protocol TextEncoder: AnyObject {
    /// What made the vector: equal identity = equal vectors.
    var identity: EncoderIdentity { get }
    /// Floats of a vector.
    var dimension: Int { get }
    /// Encodes `texts`, each UTF-8; what is not UTF-8 in it is left out.
    ///
    /// - Parameter vectors: (texts.count, dimension), row-major, overwritten; row i is the vector of
    ///   texts[i]. What stands in a row depends on its own text alone up to the last bits.
    func encode(_ texts: [[UInt8]], into vectors: UnsafeMutableBufferPointer<Float>) throws
}

/// Names an encoder: two of one identity may be compared by cosine, two of different ones never.
public struct EncoderIdentity: Sendable, Hashable {
    /// For people: "all-MiniLM-L6-v2/mean".
    public let name: String
    /// Of model content, pooling and dimension.
    public let hash: UInt64

    public init(name: String, hash: UInt64) {
        self.name = name
        self.hash = hash
    }

    /// The identity of whatever `parts` name, in this order: files by their SHA-256, constants as text.
    public init(name: String, parts: [String]) {
        var hash = Hash128.zero
        for part in parts { hash = hash.combined(with: part.lend { Hash128($0) }) }
        self.init(name: name, hash: hash.low)
    }

    /// 16 hexadecimal digits, as records carry it.
    public var hex: String { hexadecimal(hash) }
}
