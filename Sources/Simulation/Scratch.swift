// Bytes that stay where they are until the next line is written: what an `Event`'s slices point to.

import Bytes

/// Memory for the texts of one record.
struct Scratch: ~Copyable {
    private let base: UnsafeMutablePointer<UInt8>
    private var used = 0
    private static let capacity = 1 << 15

    init() { base = .allocate(capacity: Self.capacity) }

    deinit { base.deallocate() }

    /// Forgets all slices.
    mutating func removeAll() { used = 0 }

    /// The text, then the number if there is one, then the same again: `i12`, `i12-3`, `i12#3`.
    mutating func text(
        _ text: StaticString, _ number: Int? = nil, _ separator: StaticString = "",
        _ second: Int? = nil
    ) -> ByteSlice {
        let start = used
        append(ByteSlice(text.utf8Start, count: text.utf8CodeUnitCount))
        if let number { append(number) }
        append(ByteSlice(separator.utf8Start, count: separator.utf8CodeUnitCount))
        if let second { append(second) }
        return ByteSlice(base + start, count: used - start)
    }

    /// Bytes, then a separator and a number: `list#3`.
    mutating func text(_ bytes: ByteSlice, _ separator: StaticString, _ number: Int) -> ByteSlice {
        let start = used
        append(bytes)
        append(ByteSlice(separator.utf8Start, count: separator.utf8CodeUnitCount))
        append(number)
        return ByteSlice(base + start, count: used - start)
    }

    mutating func text(_ string: String) -> ByteSlice {
        let start = used
        string.lend { append($0) }
        return ByteSlice(base + start, count: used - start)
    }

    private mutating func append(_ number: Int) {
        precondition(number >= 0)
        var divisor = 1
        while number / divisor >= 10 { divisor *= 10 }
        while divisor > 0 {
            var digit = UInt8(ascii: "0") + UInt8(number / divisor % 10)
            withUnsafeBytes(of: &digit) { append(ByteSlice($0)) }
            divisor /= 10
        }
    }

    private mutating func append(_ bytes: ByteSlice) {
        precondition(
            used + bytes.count <= Self.capacity, "a record of more than \(Self.capacity) bytes")
        (base + used).update(from: bytes.base, count: bytes.count)
        used += bytes.count
    }
}
