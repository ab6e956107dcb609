// text-vectors, and the vectors inside records of domain-log: numbers of half precision.

import Bytes
import JSON

/// The vector of a text, as records of domain-log carry it beside the text.
///
/// Borrowed: it lives as long as what it was read from.
@frozen
public struct TextVector: BitwiseCopyable {
    /// One half-precision number a dimension, little-endian.
    public var halves: ByteSlice
    /// Who made it: the hash of the encoder's identity. Vectors of different encoders are not comparable.
    public var encoder: UInt64

    public init(halves: ByteSlice, encoder: UInt64) {
        self.halves = halves
        self.encoder = encoder
    }

    public var dimension: Int { halves.count / 2 }

    /// Number `i`.
    @inlinable
    public subscript(i: Int) -> Float {
        HalfPrecision.value(
            of: UInt16(
                littleEndian: UnsafeRawPointer(halves.base)
                    .loadUnaligned(fromByteOffset: i &* 2, as: UInt16.self)))
    }

    /// Writes all numbers to `values`, which must have room for `dimension`.
    public func copy(into values: UnsafeMutableBufferPointer<Float>) {
        precondition(values.count >= dimension, "\(dimension) numbers into \(values.count)")
        for i in 0..<dimension { values[i] = self[i] }
    }

    /// Appends numbers as halves, the nearest ones.
    public static func append(_ values: UnsafeBufferPointer<Float>, to buffer: inout ByteBuffer) {
        for value in values { buffer.append(raw: HalfPrecision.bits(of: value).littleEndian) }
    }
}

/// The key of a vector in `text-vectors`.
public enum TextVectorKey {
    /// The hash of a text and of the identity of who made its vector: model, pooling and dimension.
    public static func hash(of text: ByteSlice, encoder: UInt64) -> Hash128 {
        Hash128(text).combined(with: Hash128(encoder, 0))
    }

    /// Writes 32 hexadecimal digits.
    public static func append(_ hash: Hash128, to buffer: inout ByteBuffer) {
        buffer.append(hexadecimal: hash.high)
        buffer.append(hexadecimal: hash.low)
    }
}

extension ByteBuffer {
    /// Writes a vector's member; an absent one writes nothing.
    mutating func member(_ name: StaticString, vector: TextVector?) {
        guard let vector else { return }
        self.name(name)
        element(base64: vector.halves)
    }
}

extension TextVector {
    /// The vector of a record's two fields; nil where it has neither.
    ///
    /// - Parameters:
    ///   - halves: memory for the vector's bytes, overwritten.
    static func read(
        vector: JSONView?, encoder: UInt64?, what: String, into halves: inout ByteBuffer
    ) throws(ContractError) -> TextVector? {
        guard let vector else {
            guard encoder == nil else { throw .missing("/vector", in: "\(what) with /encoder") }
            return nil
        }
        guard let encoder else { throw .missing("/encoder", in: "\(what) with /vector") }
        let text = try vector.text(Place("vector"))
        halves.removeAll()
        guard Base64.decode(text, into: &halves), halves.count > 0, halves.count % 2 == 0 else {
            throw vector.wrongValue(Place("vector"), "half-precision numbers in base64")
        }
        return TextVector(halves: halves.slice, encoder: encoder)
    }
}
