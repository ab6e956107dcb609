// What every summary of this module is: a plain value of fixed size that two workers' halves of a stream
// can be joined in.

/// A summary of a stream in a fixed number of bytes.
///
/// - It is plain memory: `BitwiseCopyable`, no padding, and all bytes 0 mean "nothing seen", the same as
///   `init()`. Rows of summaries can be zeroed, changed in place through a pointer, compared and
///   checkpointed as raw bytes.
/// - `a.merge(b)` leaves what feeding b's inputs to `a` would: the same bytes where the summary counts,
///   within the tolerance that its documentation states otherwise.
public protocol Mergeable: BitwiseCopyable, Sendable {
    /// The summary of nothing; all bytes are 0.
    init()

    /// Joins what `other` has seen into this summary.
    mutating func merge(_ other: Self)
}
