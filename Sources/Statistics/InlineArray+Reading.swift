// Reading many elements of a summary without copying it for each.

extension InlineArray where Element: BitwiseCopyable {
    /// Lends the elements for the length of `body`, at the price of at most one copy of the array.
    ///
    /// A subscript on an array that is not being changed copies all of it for every element read (Swift
    /// 6.3; trivial values are loaded whole). Changing in place does not.
    @inlinable @inline(__always)
    func read<Result>(_ body: (UnsafePointer<Element>) -> Result) -> Result {
        withUnsafePointer(to: self) {
            body(UnsafeRawPointer($0).assumingMemoryBound(to: Element.self))
        }
    }

    /// Lends the elements for changing in place, without checks of bounds.
    @inlinable @inline(__always)
    mutating func change(_ body: (UnsafeMutablePointer<Element>) -> Void) {
        withUnsafeMutablePointer(to: &self) {
            body(UnsafeMutableRawPointer($0).assumingMemoryBound(to: Element.self))
        }
    }

    /// Changes each element with the element of `other` at the same place.
    @inlinable @inline(__always)
    mutating func combine(_ other: Self, _ body: (inout Element, Element) -> Void) {
        other.read { theirs in
            change { ours in for i in 0..<Self.count { body(&ours[i], theirs[i]) } }
        }
    }
}
