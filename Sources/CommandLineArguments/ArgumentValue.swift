// What a word on the command line can be read as.

/// A type that one word of a command line can be turned into.
public protocol ArgumentValue: Sendable {
    /// Nil when the word does not stand for a value.
    init?(argument: String)
    /// What a message asks for: "a whole number".
    static var expectation: String { get }
    /// All words that are accepted, or none if they cannot be listed.
    static var choices: [String] { get }
    /// The word that gives this value.
    var argumentText: String { get }
}

extension ArgumentValue {
    public static var choices: [String] { [] }

    static func read(_ word: String) throws(ValueProblem) -> Self {
        if let value = Self(argument: word) { return value }
        guard !choices.isEmpty else {
            throw ValueProblem(word: word, reason: "is not \(expectation)")
        }
        let guess = nearestWord(to: word, in: choices).map { "; did you mean \($0)?" } ?? ""
        throw ValueProblem(
            word: word, reason: "is none of \(choices.joined(separator: ", "))\(guess)")
    }

    static func readAll(_ words: [String]) throws(ValueProblem) -> [Self] {
        var values: [Self] = []
        for word in words { values.append(try read(word)) }
        return values
    }
}

/// A word that does not stand for a value of its parameter, and why.
struct ValueProblem: Error {
    let word: String
    let reason: String
}

extension String: ArgumentValue {
    public init?(argument: String) { self = argument }
    public static var expectation: String { "text" }
    public var argumentText: String { self }
}

extension Int: ArgumentValue {
    public init?(argument: String) { self.init(argument) }
    public static var expectation: String { "a whole number" }
    public var argumentText: String { String(self) }
}

extension UInt64: ArgumentValue {
    public init?(argument: String) { self.init(argument) }
    public static var expectation: String { "a whole number of at least 0" }
    public var argumentText: String { String(self) }
}

extension Double: ArgumentValue {
    public init?(argument: String) {
        self.init(argument)
        if !isFinite { return nil }
    }
    public static var expectation: String { "a number" }
    public var argumentText: String {
        self == rounded() && abs(self) < 1e15 ? String(Int(self)) : String(self)
    }
}

extension Bool: ArgumentValue {
    public init?(argument: String) { self.init(argument) }
    public static var expectation: String { "true or false" }
    public static var choices: [String] { ["true", "false"] }
    public var argumentText: String { String(self) }
}

/// An enumeration of words needs no code: `enum Role: String, CaseIterable, ArgumentValue { … }`.
extension ArgumentValue where Self: RawRepresentable & CaseIterable, RawValue == String {
    public init?(argument: String) { self.init(rawValue: argument) }
    public static var expectation: String { choices.joined(separator: ", ") }
    public static var choices: [String] { allCases.map(\.rawValue) }
    public var argumentText: String { rawValue }
}
