// Hashed fields: values of which nobody keeps a list.

import Bytes

/// Rows of a hashed sparse field: a value's row follows from its bytes, so no vocabulary is needed and
/// new values have a row at once; values that meet in one row share it.
public struct FieldHash: Sendable {
    public let rows: Int
    private let seed: UInt64

    /// - Parameters:
    ///   - field: the field's name; equal values of different fields fall into independent rows.
    ///   - rows: rows of the field's table.
    public init(field: String, rows: Int) {
        precondition(rows > 0, "\(field) has \(rows) rows")
        self.rows = rows
        seed = field.lend { Hash128($0).low }
    }

    public func row(of value: ByteSlice) -> Int32 {
        Int32(Hash128(value, seed: seed).high.multipliedFullWidth(by: UInt64(rows)).high)
    }
}
