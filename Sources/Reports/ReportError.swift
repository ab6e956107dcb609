// A folder that no report can be made of.

/// What is missing or wrong in a folder of outputs; one sentence.
public struct ReportError: Error, Equatable, Sendable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}
