// The tape that a scan leaves: one token a value, in the order of the text.

/// One value, or one name of a member, on the tape.
///
/// An object is followed by its members, name and value in turn, an array by its elements.
@frozen
@usableFromInline
struct JSONToken: BitwiseCopyable {
    /// The bits of an integer, a number or a truth value; the address of a text; how many members
    /// or elements a container has.
    @usableFromInline var payload: UInt64
    /// The bytes of a text; for a container, the tokens that it takes up with all that is inside.
    @usableFromInline var extent: UInt32
    @usableFromInline var kind: JSONKind

    @inlinable @inline(__always)
    init(_ kind: JSONKind, payload: UInt64, extent: UInt32 = 1) {
        self.payload = payload
        self.extent = extent
        self.kind = kind
    }
}

extension JSONToken {
    /// The characters of a text.
    @inlinable @inline(__always)
    var text: UnsafePointer<UInt8> {
        UnsafePointer(bitPattern: UInt(truncatingIfNeeded: payload)).unsafelyUnwrapped
    }

    /// How many tokens the value takes up.
    @inlinable @inline(__always)
    var tokens: Int { kind == .array || kind == .object ? Int(extent) : 1 }
}
