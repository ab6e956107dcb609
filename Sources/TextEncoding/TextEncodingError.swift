// What is wrong with a model folder, in a sentence.

/// A model that is not used, and why.
public struct TextEncodingError: Error, Equatable, CustomStringConvertible {
    public let path: String
    public let reason: String

    public init(_ path: String, _ reason: String) {
        self.path = path
        self.reason = reason
    }

    public var description: String { "\(path) \(reason)" }
}
