// A map that cannot be used.

/// What is wrong with a map, and where.
public struct EventMapError: Error, Equatable, Sendable, CustomStringConvertible {
    /// JSON Pointer into the map; "" is the map.
    public let path: String
    public let reason: String

    public init(_ path: String, _ reason: String) {
        self.path = path
        self.reason = reason
    }

    public var description: String { "the map\(path.isEmpty ? "" : " at \(path)"): \(reason)" }
}
