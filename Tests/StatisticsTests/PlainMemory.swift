// The law of every summary, and the bytes that it is about.

import Statistics
import Testing

/// The bytes of a plain value.
func bytes<Value: BitwiseCopyable>(of value: Value) -> [UInt8] {
    withUnsafeBytes(of: value) { Array($0) }
}

/// Checks that a zeroed row is the summary of nothing, that it has no padding at its end, and that
/// merging two halves of a stream gives the bytes of feeding the whole of it.
func checkLaw<Summary: Mergeable, Input>(
    _ type: Summary.Type, size: Int, inputs: [Input], cut: Int,
    feed: (inout Summary, Input) -> Void,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    #expect(
        bytes(of: Summary()).allSatisfy { $0 == 0 }, "zeros are nothing",
        sourceLocation: sourceLocation)
    #expect(MemoryLayout<Summary>.size == size, sourceLocation: sourceLocation)
    #expect(MemoryLayout<Summary>.stride == size, sourceLocation: sourceLocation)
    var whole = Summary()
    var first = Summary()
    var second = Summary()
    for (i, input) in inputs.enumerated() {
        feed(&whole, input)
        if i < cut { feed(&first, input) } else { feed(&second, input) }
    }
    var merged = first
    merged.merge(second)
    #expect(
        bytes(of: merged) == bytes(of: whole), "merge is feeding", sourceLocation: sourceLocation)
    var swapped = second
    swapped.merge(first)
    #expect(
        bytes(of: swapped) == bytes(of: whole), "in either order", sourceLocation: sourceLocation)
    var withNothing = whole
    withNothing.merge(Summary())
    #expect(
        bytes(of: withNothing) == bytes(of: whole), "nothing adds nothing",
        sourceLocation: sourceLocation)
}
