// A growing run of bytes that is written, read and emptied again without giving its memory back.

#if canImport(Glibc)
    import Glibc
#endif

/// Bytes with one owner; appending is amortised, `removeAll` keeps the memory.
///
/// Passed as `inout`, so that writing a record allocates nothing once the buffer has its size.
public struct ByteBuffer: ~Copyable {
    @usableFromInline var base: UnsafeMutablePointer<UInt8>
    @usableFromInline var capacity: Int
    @usableFromInline var used: Int

    /// How many bytes have been written.
    @inlinable public var count: Int { used }

    public init(capacity: Int = 256) {
        self.capacity = max(16, capacity)
        base = .allocate(capacity: self.capacity)
        used = 0
    }

    deinit { base.deallocate() }

    /// How many bytes of memory the buffer holds, used or not.
    @inlinable public var allocatedBytes: Int { capacity }

    /// All bytes written so far; valid until the next append.
    @inlinable public var slice: ByteSlice { ByteSlice(base, count: count) }

    /// The bytes from `start` on; valid until the next append.
    @inlinable public func slice(from start: Int) -> ByteSlice {
        ByteSlice(base + start, count: count - start)
    }

    @inlinable public func slice(_ range: Range<Int>) -> ByteSlice {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "\(range) of \(count)")
        return ByteSlice(base + range.lowerBound, count: range.count)
    }

    /// The byte written last; nil while nothing is there.
    @inlinable public var lastByte: UInt8? { used == 0 ? nil : base[used - 1] }

    @inlinable public mutating func removeAll() { used = 0 }

    /// Drops everything from `length` on.
    @inlinable public mutating func truncate(to length: Int) {
        precondition(length >= 0 && length <= count, "truncate \(count) bytes to \(length)")
        used = length
    }

    /// Makes room for `more` bytes beyond `count`.
    @inlinable @inline(__always)
    public mutating func reserve(_ more: Int) {
        if count + more > capacity { grow(more) }
    }

    @usableFromInline @inline(never)
    mutating func grow(_ more: Int) {
        let wanted = max(capacity * 2, count + more)
        let larger = UnsafeMutablePointer<UInt8>.allocate(capacity: wanted)
        memcpy(larger, base, count)
        base.deallocate()
        base = larger
        capacity = wanted
    }

    @inlinable public mutating func append(_ byte: UInt8) {
        reserve(1)
        base[count] = byte
        used += 1
    }

    /// Appends a copy of `bytes`, which must not lie in this buffer.
    @inlinable public mutating func append(_ bytes: ByteSlice) {
        reserve(bytes.count)
        memcpy(base + count, bytes.base, bytes.count)
        used += bytes.count
    }

    @inlinable public mutating func append(_ text: StaticString) {
        let length = text.utf8CodeUnitCount
        reserve(length)
        memcpy(base + count, text.utf8Start, length)
        used += length
    }

    public mutating func append(_ text: String) { text.lend { append($0) } }

    /// Appends the memory of a plain value, little-endian as on every machine we run on.
    @inlinable public mutating func append<Value: BitwiseCopyable>(raw value: Value) {
        withUnsafeBytes(of: value) { append(ByteSlice($0)) }
    }

    /// Lends `length` fresh bytes to `body`, which returns how many of them it has written.
    @inlinable public mutating func appendUninitialized(
        _ length: Int, _ body: (UnsafeMutablePointer<UInt8>) -> Int
    ) {
        reserve(length)
        let written = body(base + count)
        precondition(written >= 0 && written <= length, "wrote \(written) of \(length)")
        used += written
    }
}
