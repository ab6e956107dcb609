// Hashes of bytes that are the same on every machine: names, partitions, keyed ids, checksums.

/// 128 bits that stand for a name.
///
/// Tables find rows by these bits alone: with 4 million names the chance that any two share them is
/// below 1e-25. Not keyed and not cryptographic; what must not be guessed uses `SipHash`.
@frozen
public struct Hash128: Hashable, BitwiseCopyable, Sendable {
    public var high: UInt64
    public var low: UInt64

    @inlinable @inline(__always)
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    public static let zero = Hash128(high: 0, low: 0)

    /// Hash of `bytes`; different seeds give independent hashes.
    @inlinable
    public init(_ bytes: ByteSlice, seed: UInt64 = 0) {
        var first = 0x9E37_79B9_7F4A_7C15 ^ seed
        var second = 0xD6E8_FEB8_6659_FD93 &+ seed
        var raw = UnsafeRawPointer(bytes.base)
        var left = bytes.count
        while left > 16 {
            let a = raw.loadUnaligned(as: UInt64.self)
            let b = raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
            first = Hash128.fold(a ^ 0xA076_1D64_78BD_642F ^ second, b ^ first)
            second = Hash128.fold(b ^ 0xE703_7ED1_A0B4_28DB ^ first, a ^ second)
            raw += 16
            left &-= 16
        }
        // The last 16 bytes or fewer in two loads that may overlap; the count makes it unambiguous.
        var a: UInt64 = 0
        var b: UInt64 = 0
        if left >= 8 {
            a = raw.loadUnaligned(as: UInt64.self)
            b = raw.loadUnaligned(fromByteOffset: left &- 8, as: UInt64.self)
        } else if left >= 4 {
            a = UInt64(raw.loadUnaligned(as: UInt32.self))
            b = UInt64(raw.loadUnaligned(fromByteOffset: left &- 4, as: UInt32.self))
        } else if left > 0 {
            a =
                UInt64(raw.load(as: UInt8.self))
                | UInt64(raw.load(fromByteOffset: left &>> 1, as: UInt8.self)) &<< 8
                | UInt64(raw.load(fromByteOffset: left &- 1, as: UInt8.self)) &<< 16
        }
        self.init(mixing: a, b, first, second, count: UInt64(bytes.count))
    }

    /// Hash of two numbers, as if their bytes had been hashed.
    @inlinable
    public init(_ a: UInt64, _ b: UInt64, seed: UInt64 = 0) {
        self.init(
            mixing: a, b, 0x9E37_79B9_7F4A_7C15 ^ seed, 0xD6E8_FEB8_6659_FD93 &+ seed, count: 16)
    }

    @inlinable @inline(__always)
    init(mixing a: UInt64, _ b: UInt64, _ first: UInt64, _ second: UInt64, count: UInt64) {
        let x = Hash128.fold(a ^ 0xA076_1D64_78BD_642F ^ second, b ^ first)
        let y = Hash128.fold(b ^ 0xE703_7ED1_A0B4_28DB ^ x, a ^ second ^ count)
        self.init(
            high: Hash128.fold(x ^ 0x8EBC_6AF0_9C88_C6E3, y ^ count),
            low: Hash128.fold(y ^ 0x5899_65CC_7537_4CC3, x &+ 0x1D8E_4E27_C47D_124F))
    }

    /// High and low half of the 128-bit product, folded into one word (Wang Yi, wyhash, public domain).
    @inlinable @inline(__always)
    static func fold(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let product = a.multipliedFullWidth(by: b)
        return product.high ^ product.low
    }

    /// Chains hashes: `a.combined(with: b)` differs from `b.combined(with: a)`.
    @inlinable
    public func combined(with other: Hash128) -> Hash128 {
        Hash128(
            mixing: other.high, other.low, high ^ 0x2545_F491_4F6C_DD1D, low, count: 32)
    }

    /// 32 hexadecimal digits.
    public var hex: String { hexadecimal(high) + hexadecimal(low) }
}

/// 16 lower-case hexadecimal digits.
public func hexadecimal(_ value: UInt64) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(
        decoding: (0..<16).map { digits[Int((value >> UInt64(60 - 4 * $0)) & 15)] }, as: UTF8.self)
}

/// Two lower-case hexadecimal digits a byte.
public func hexadecimal(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(
        decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
}

/// The partitioner of Kafka's Java clients, `murmur2_random` in librdkafka, for records with a key.
public enum Murmur2 {
    /// Murmur2, 32 bits, seed 0x9747b28c. Source: `org.apache.kafka.common.utils.Utils.murmur2`.
    @inlinable
    public static func hash(_ key: ByteSlice) -> UInt32 {
        let m: UInt32 = 0x5BD1_E995
        let raw = UnsafeRawPointer(key.base)
        var h: UInt32 = 0x9747_B28C ^ UInt32(truncatingIfNeeded: key.count)
        let words = key.count / 4
        for i in 0..<words {
            var k = raw.loadUnaligned(fromByteOffset: i &* 4, as: UInt32.self)
            k = k &* m
            k ^= k >> 24
            k = k &* m
            h = h &* m
            h ^= k
        }
        let tail = words * 4
        switch key.count & 3 {
        case 3:
            h ^= UInt32(key[tail + 2]) << 16
            fallthrough
        case 2:
            h ^= UInt32(key[tail + 1]) << 8
            fallthrough
        case 1:
            h ^= UInt32(key[tail])
            h = h &* m
        default: break
        }
        h ^= h >> 13
        h = h &* m
        h ^= h >> 15
        return h
    }

    @inlinable
    public static func partition(_ key: ByteSlice, of partitions: Int) -> Int {
        Int(hash(key) & 0x7FFF_FFFF) % partitions
    }
}

/// SipHash-2-4, a keyed hash: without the key nobody can tell which user a value stands for.
///
/// Source: Aumasson and Bernstein, 2012; the reference test vectors are in the tests.
@frozen
public struct SipHash: Sendable {
    @usableFromInline let k0: UInt64
    @usableFromInline let k1: UInt64

    public init(key k0: UInt64, _ k1: UInt64) {
        self.k0 = k0
        self.k1 = k1
    }

    public func callAsFunction(_ bytes: ByteSlice) -> UInt64 {
        var v0 = k0 ^ 0x736F_6D65_7073_6575
        var v1 = k1 ^ 0x646F_7261_6E64_6F6D
        var v2 = k0 ^ 0x6C79_6765_6E65_7261
        var v3 = k1 ^ 0x7465_6462_7974_6573
        func round() {
            v0 = v0 &+ v1
            v1 = (v1 << 13 | v1 >> 51) ^ v0
            v0 = v0 << 32 | v0 >> 32
            v2 = v2 &+ v3
            v3 = (v3 << 16 | v3 >> 48) ^ v2
            v0 = v0 &+ v3
            v3 = (v3 << 21 | v3 >> 43) ^ v0
            v2 = v2 &+ v1
            v1 = (v1 << 17 | v1 >> 47) ^ v2
            v2 = v2 << 32 | v2 >> 32
        }
        let raw = UnsafeRawPointer(bytes.base)
        let words = bytes.count / 8
        for i in 0..<words {
            let m = raw.loadUnaligned(fromByteOffset: i * 8, as: UInt64.self)
            v3 ^= m
            round()
            round()
            v0 ^= m
        }
        var last = UInt64(truncatingIfNeeded: bytes.count) << 56
        for i in words * 8..<bytes.count { last |= UInt64(bytes[i]) << UInt64(8 * (i - words * 8)) }
        v3 ^= last
        round()
        round()
        v0 ^= last
        v2 ^= 0xFF
        round()
        round()
        round()
        round()
        return v0 ^ v1 ^ v2 ^ v3
    }
}
