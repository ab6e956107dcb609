// The texts of one record while it is made: what an `Event`'s slices point to.

import Bytes
import JSON

/// Makes ids and keeps texts until the next record.
struct Scratch: ~Copyable {
    private var arena = ByteArena()
    private var composed = ByteBuffer()

    /// Forgets all slices.
    mutating func removeAll() { arena.removeAll() }

    mutating func text(_ string: String) -> ByteSlice { arena.keep(string) }

    /// The text, then the number if there is one, then the same again: `i12`, `i12-3`, `i12#3`.
    mutating func text(
        _ text: StaticString, _ number: Int? = nil, _ separator: StaticString = "",
        _ second: Int? = nil
    ) -> ByteSlice {
        composed.removeAll()
        composed.append(text)
        if let number { composed.appendJSON(Int64(number)) }
        composed.append(separator)
        if let second { composed.appendJSON(Int64(second)) }
        return arena.keep(composed.slice)
    }

    /// Bytes, then a separator and a number: `list#3`.
    mutating func text(_ bytes: ByteSlice, _ separator: StaticString, _ number: Int) -> ByteSlice {
        composed.removeAll()
        composed.append(bytes)
        composed.append(separator)
        composed.appendJSON(Int64(number))
        return arena.keep(composed.slice)
    }
}
