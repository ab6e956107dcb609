// What went wrong with a file.

#if canImport(Glibc)
    import Glibc
#endif

/// A file that could not be read or written.
public struct LineFileError: Error, Equatable, Sendable, CustomStringConvertible {
    /// "open", "read", "write", "replace".
    public let operation: String
    public let path: String
    public let reason: String

    public init(_ operation: String, _ path: String, _ reason: String) {
        self.operation = operation
        self.path = path
        self.reason = reason
    }

    /// With the reason that the last system call left in `errno`.
    init(_ operation: String, _ path: String) {
        self.init(operation, path, String(cString: strerror(errno)))
    }

    public var description: String { "could not \(operation) \(path): \(reason)" }
}
