// The ways in which others write times.

import Bytes
import Contracts

/// How a time is written.
enum TimeUnit: String, CaseIterable, Sendable {
    case ms, s, us, ns
    /// RFC 3339, or the same with a space for the T, and UTC where it names no offset.
    case iso8601

    /// A number of units since 1970 as whole milliseconds, rounded down.
    func milliseconds(_ integer: Int64) -> Int64? {
        switch self {
        case .ms: return integer
        case .s:
            let (product, overflow) = integer.multipliedReportingOverflow(by: 1_000)
            return overflow ? nil : product
        case .us: return floorDivide(integer, 1_000)
        case .ns: return floorDivide(integer, 1_000_000)
        case .iso8601: return nil
        }
    }

    func milliseconds(_ number: Double) -> Int64? {
        let scaled: Double
        switch self {
        case .ms: scaled = number
        // Rounded to a microsecond first: 1.001 s must not become 1,000 ms.
        case .s: scaled = (number * 1e6).rounded() / 1e3
        case .us: scaled = number / 1e3
        case .ns: scaled = number / 1e6
        case .iso8601: return nil
        }
        return Int64(exactly: scaled.rounded(.down))
    }

    private func floorDivide(_ a: Int64, _ b: Int64) -> Int64 {
        a >= 0 ? a / b : -((-(a + 1)) / b) - 1
    }

    /// A date as text.
    static func milliseconds(iso8601 text: ByteSlice, _ scratch: inout ByteBuffer) -> Int64? {
        if let time = Timestamp.milliseconds(text) { return time }
        guard text.count >= 19, text.count < 40 else { return nil }
        scratch.removeAll()
        scratch.append(text.slice(0, 10))
        scratch.append(UInt8(ascii: "T"))
        scratch.append(text.slice(11, text.count))
        guard text[10] == UInt8(ascii: " ") || text[10] == UInt8(ascii: "T") else { return nil }
        if let time = Timestamp.milliseconds(scratch.slice) { return time }
        scratch.append(UInt8(ascii: "Z"))
        return Timestamp.milliseconds(scratch.slice)
    }
}
