// Why texts could not be encoded, as those who wait for their vectors count it.

/// An error of an encoder that says of which sort it is. The texts are not at fault: they are encoded
/// again later.
public protocol EncodingFailure: Error {
    /// One word of a closed list, for metrics: `unreachable`, `timeout`, `throttled`, `server`,
    /// `answer`, `settings`.
    var reason: String { get }
}
