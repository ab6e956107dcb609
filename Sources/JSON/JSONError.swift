// Why bytes were not accepted as JSON: what kind of fault, where, and a sentence for whoever sent
// them.

/// A refusal of `JSONParser`, reduced to what its reader can do about it.
public struct JSONError: Error, Equatable, CustomStringConvertible, Sendable {
    public enum Kind: Sendable {
        case empty, tooLarge, tooDeep, invalidUTF8, syntax, duplicateMember, numberOutOfRange
    }

    public let kind: Kind
    /// JSON Pointer (RFC 6901) to the value in which it happened; "" is the whole text.
    public let path: String
    /// The byte at which it was seen, from 0.
    public let offset: Int
    /// What is wrong there, without a full stop.
    public let reason: String

    public init(_ kind: Kind, path: String, offset: Int, _ reason: String) {
        self.kind = kind
        self.path = path
        self.offset = offset
        self.reason = reason
    }

    public var description: String {
        "\(reason) at byte \(offset)\(path.isEmpty ? "" : ", in \(path)")"
    }
}
