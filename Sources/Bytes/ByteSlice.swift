// A borrowed run of bytes: what a record, a JSON string or a key is while somebody else owns it.

#if canImport(Glibc)
    import Glibc
#endif

/// Bytes that belong to somebody else, lent for the length of a call.
///
/// Nothing is copied and nothing is freed. Whoever hands out a slice says how long it lives; whoever
/// wants to keep it copies it (`copy()`).
@frozen
public struct ByteSlice {
    public let base: UnsafePointer<UInt8>
    public let count: Int

    @inlinable @inline(__always)
    public init(_ base: UnsafePointer<UInt8>, count: Int) {
        self.base = base
        self.count = count
    }

    @inlinable @inline(__always)
    public init(_ buffer: UnsafeRawBufferPointer) {
        guard let base = buffer.baseAddress else {
            self.init(("" as StaticString).utf8Start, count: 0)
            return
        }
        self.init(base.assumingMemoryBound(to: UInt8.self), count: buffer.count)
    }

    /// The bytes of a literal, which live as long as the process.
    @inlinable public init(_ text: StaticString) {
        self.init(text.utf8Start, count: text.utf8CodeUnitCount)
    }

    /// No bytes, at an address that can be read from.
    public static var empty: ByteSlice { ByteSlice(("" as StaticString).utf8Start, count: 0) }

    @inlinable public var isEmpty: Bool { count == 0 }

    @inlinable @inline(__always)
    public subscript(_ index: Int) -> UInt8 { base[index] }

    /// The bytes from `lower` up to, not including, `upper`.
    @inlinable public func slice(_ lower: Int, _ upper: Int) -> ByteSlice {
        precondition(
            lower >= 0 && lower <= upper && upper <= count, "\(lower)..<\(upper) of \(count)")
        return ByteSlice(base + lower, count: upper - lower)
    }

    @inlinable public var raw: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: base, count: count)
    }

    public func copy() -> [UInt8] { Array(UnsafeBufferPointer(start: base, count: count)) }

    /// The bytes as text; bytes that are not UTF-8 become U+FFFD.
    public var text: String {
        String(decoding: UnsafeBufferPointer(start: base, count: count), as: UTF8.self)
    }

    @inlinable public func equals(_ other: ByteSlice) -> Bool {
        count == other.count && memcmp(base, other.base, count) == 0
    }

    @inlinable public func equals(_ text: StaticString) -> Bool {
        count == text.utf8CodeUnitCount && memcmp(base, text.utf8Start, count) == 0
    }

    /// Byte-wise order, shorter first where one is a prefix of the other.
    public func precedes(_ other: ByteSlice) -> Bool {
        let order = memcmp(base, other.base, min(count, other.count))
        return order < 0 || (order == 0 && count < other.count)
    }
}

extension [UInt8] {
    /// Lends the array's bytes for the length of `body`.
    @inlinable public func lend<Result>(_ body: (ByteSlice) throws -> Result) rethrows -> Result {
        try withUnsafeBytes { try body(ByteSlice($0)) }
    }
}

extension String {
    /// Lends the text's UTF-8 bytes for the length of `body`.
    @inlinable public func lend<Result>(_ body: (ByteSlice) throws -> Result) rethrows -> Result {
        var copy = self
        return try copy.withUTF8 { try body(ByteSlice(UnsafeRawBufferPointer($0))) }
    }
}
