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

/// What a record of `text-vectors` is about, as its key says.
///
/// Beside the vectors stands what encode remembers across restarts: whom it owes one, and how far it
/// has read its inputs with which encoder.
public enum TextVectorSubject: Hashable, Sendable {
    /// A vector: hash of the text and of who made it. 32 hexadecimal digits.
    case vector(Hash128)
    /// An item that waits for its vector: hash of its id. `item/` and 32 digits.
    case item(Hash128)
    /// A text on its way to one partition of domain-log. `text/` and 32 digits.
    case text(Hash128)
    /// A partition of `catalog`. `catalog/` and its number.
    case catalog(Int)
    /// A partition of `texts`. `texts/` and its number.
    case texts(Int)

    /// The vector of a text by an encoder.
    public static func vector(of text: ByteSlice, encoder: UInt64) -> Hash128 {
        Hash128(text).combined(with: Hash128(encoder, 0))
    }

    /// A text's way to a partition of domain-log.
    public static func way(of text: ByteSlice, to partition: Int) -> Hash128 {
        Hash128(text).combined(with: Hash128(UInt64(partition), 1))
    }

    /// nil where the key is none of these.
    public init?(key: ByteSlice) {
        func hash(behind prefix: Int) -> Hash128? {
            guard key.count == prefix + 32,
                let high = key.slice(prefix, prefix + 16).hexadecimal64,
                let low = key.slice(prefix + 16, prefix + 32).hexadecimal64
            else { return nil }
            return Hash128(high: high, low: low)
        }
        func number(behind prefix: Int) -> Int? {
            guard key.count <= prefix + 9 else { return nil }
            return Int(key.slice(prefix, key.count).text)
        }
        if let hash = hash(behind: 0) {
            self = .vector(hash)
        } else if key.starts(with: "item/"), let hash = hash(behind: 5) {
            self = .item(hash)
        } else if key.starts(with: "text/"), let hash = hash(behind: 5) {
            self = .text(hash)
        } else if key.starts(with: "catalog/"), let number = number(behind: 8) {
            self = .catalog(number)
        } else if key.starts(with: "texts/"), let number = number(behind: 6) {
            self = .texts(number)
        } else {
            return nil
        }
    }

    public func appendKey(to buffer: inout ByteBuffer) {
        func append(_ hash: Hash128) {
            buffer.append(hexadecimal: hash.high)
            buffer.append(hexadecimal: hash.low)
        }
        switch self {
        case .vector(let hash): append(hash)
        case .item(let hash):
            buffer.append("item/" as StaticString)
            append(hash)
        case .text(let hash):
            buffer.append("text/" as StaticString)
            append(hash)
        case .catalog(let partition):
            buffer.append("catalog/" as StaticString)
            buffer.appendJSON(Int64(partition))
        case .texts(let partition):
            buffer.append("texts/" as StaticString)
            buffer.appendJSON(Int64(partition))
        }
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

extension ByteSlice {
    fileprivate func starts(with prefix: StaticString) -> Bool {
        let length = prefix.utf8CodeUnitCount
        return count >= length && slice(0, length).equals(prefix)
    }
}
