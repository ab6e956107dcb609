// What a command takes: options with a value, flags without one, and arguments by position. Each is
// a value that is used twice: in the declaration of the command and to read what was given.

/// How a shell completes a value.
public enum Completion: Sendable, Equatable {
    case none, files, directories
    case words([String])
}

/// The parts of a parameter that do not depend on its type; what parsing, help and completion read.
public struct Declaration: Sendable {
    enum Kind: Sendable { case option, flag, argument }

    let kind: Kind
    /// Of an option or flag without the dashes; of an argument the word in the usage line.
    let name: String
    var short: Character?
    /// The word that stands for the value in help: `DIR`, `N`.
    let placeholder: String
    let help: String
    let isRequired: Bool
    let isRepeated: Bool
    let defaultText: String?
    var allowed: String?
    var completion: Completion
    /// Turns the words that were given into the parameter's value.
    var read: @Sendable ([String]) throws(ValueProblem) -> any Sendable

    /// What a message calls it: `--seed`, `ROLE`.
    var label: String { kind == .argument ? name : "--\(name)" }

    init<Value: ArgumentValue>(
        _ kind: Kind, _ name: String, _ placeholder: String, _ help: String, isRequired: Bool,
        isRepeated: Bool = false, defaultText: String? = nil, as type: Value.Type,
        read: @escaping @Sendable ([String]) throws(ValueProblem) -> any Sendable
    ) {
        precondition(!name.isEmpty && !name.hasPrefix("-"), "a parameter called '\(name)'")
        self.kind = kind
        self.name = name
        self.placeholder = placeholder
        self.help = help
        self.isRequired = isRequired
        self.isRepeated = isRepeated
        self.defaultText = defaultText
        self.read = read
        let choices = kind == .flag ? [] : type.choices
        allowed = choices.isEmpty ? nil : choices.joined(separator: ", ")
        completion = choices.isEmpty ? .none : .words(choices)
    }

    var labels: [String] { short.map { ["-\($0)", label] } ?? [label] }
}

/// An option, flag or argument of some type.
public protocol DeclaredParameter: Sendable {
    associatedtype Value: Sendable
    var declaration: Declaration { get }
}

/// `--name VALUE` or `--name=VALUE`.
///
/// `Option<Int>` with a default may be left out; without one it is required. `Option<Int?>` may be
/// left out and is nil then. `Option<[Int]>` may be given any number of times. Where any other option
/// is given twice, that is an error.
public struct Option<Value: Sendable>: DeclaredParameter {
    public var declaration: Declaration

    public init(_ name: String, _ placeholder: String, default value: Value? = nil, help: String)
    where Value: ArgumentValue {
        declaration = .init(
            .option, name, placeholder, help, isRequired: value == nil,
            defaultText: value.map { $0.argumentText },
            as: Value.self
        ) { (words) throws(ValueProblem) in
            if let word = words.first { return try Value.read(word) }
            return value!
        }
    }

    public init<Wrapped: ArgumentValue>(_ name: String, _ placeholder: String, help: String)
    where Value == Wrapped? {
        declaration = .init(
            .option, name, placeholder, help, isRequired: false, as: Wrapped.self
        ) { (words) throws(ValueProblem) in
            guard let word = words.first else { return Wrapped?.none }
            return try Wrapped?.some(Wrapped.read(word))
        }
    }

    public init<Element: ArgumentValue>(_ name: String, _ placeholder: String, help: String)
    where Value == [Element] {
        declaration = .init(
            .option, name, placeholder, help, isRequired: false, isRepeated: true, as: Element.self
        ) { (words) throws(ValueProblem) in try Element.readAll(words) }
    }

    /// The same option with a one-letter name too: `-o VALUE`.
    public func short(_ letter: Character) -> Self { changed { $0.short = letter } }
}

/// `--name`: true when given.
public struct Flag: DeclaredParameter {
    public typealias Value = Bool
    public var declaration: Declaration

    public init(_ name: String, help: String) {
        declaration = .init(.flag, name, "", help, isRequired: false, as: Bool.self) {
            (words) throws(ValueProblem) in !words.isEmpty
        }
    }

    /// The same flag with a one-letter name too: `-q`.
    public func short(_ letter: Character) -> Self { changed { $0.short = letter } }
}

/// A value by position. Required as `Argument<String>`, optional as `Argument<String?>` or with a
/// default, and as `Argument<[String]>` all that are left (none are allowed).
public struct Argument<Value: Sendable>: DeclaredParameter {
    public var declaration: Declaration

    public init(_ name: String, default value: Value? = nil, help: String)
    where Value: ArgumentValue {
        declaration = .init(
            .argument, name, name, help, isRequired: value == nil,
            defaultText: value.map { $0.argumentText },
            as: Value.self
        ) { (words) throws(ValueProblem) in
            if let word = words.first { return try Value.read(word) }
            return value!
        }
    }

    public init<Wrapped: ArgumentValue>(_ name: String, help: String) where Value == Wrapped? {
        declaration = .init(
            .argument, name, name, help, isRequired: false, as: Wrapped.self
        ) { (words) throws(ValueProblem) in
            guard let word = words.first else { return Wrapped?.none }
            return try Wrapped?.some(Wrapped.read(word))
        }
    }

    public init<Element: ArgumentValue>(_ name: String, help: String) where Value == [Element] {
        declaration = .init(
            .argument, name, name, help, isRequired: false, isRepeated: true, as: Element.self
        ) { (words) throws(ValueProblem) in try Element.readAll(words) }
    }
}

/// Parameters whose declaration can be refined after it was made.
public protocol RefinableParameter: DeclaredParameter {
    var declaration: Declaration { get set }
}

extension Option: RefinableParameter {}
extension Flag: RefinableParameter {}
extension Argument: RefinableParameter {}

extension RefinableParameter {
    func changed(_ change: (inout Declaration) -> Void) -> Self {
        var copy = self
        change(&copy.declaration)
        return copy
    }

    /// The same parameter, completed by a shell in the given way.
    public func completing(_ completion: Completion) -> Self {
        changed { $0.completion = completion }
    }
}

extension RefinableParameter where Value: Comparable & ArgumentValue {
    /// The same parameter; a value outside of `range` is a usage error.
    public func within(_ range: ClosedRange<Value>) -> Self {
        limited(to: range) { [$0 as! Value] }
    }
}

extension RefinableParameter {
    /// The same parameter; a value outside of `range` is a usage error.
    public func within<Bound: Comparable & ArgumentValue>(_ range: ClosedRange<Bound>) -> Self
    where Value == Bound? {
        limited(to: range) { ($0 as! Bound?).map { [$0] } ?? [] }
    }

    /// The same parameter; one value outside of `range` is a usage error.
    public func within<Bound: Comparable & ArgumentValue>(_ range: ClosedRange<Bound>) -> Self
    where Value == [Bound] {
        limited(to: range) { $0 as! [Bound] }
    }

    private func limited<Bound: Comparable & ArgumentValue>(
        to range: ClosedRange<Bound>, _ values: @escaping @Sendable (any Sendable) -> [Bound]
    ) -> Self {
        changed { declaration in
            let read = declaration.read
            let allowed = "\(range.lowerBound.argumentText)…\(range.upperBound.argumentText)"
            declaration.allowed = allowed
            declaration.read = { (words) throws(ValueProblem) in
                let value = try read(words)
                for bound in values(value) where !range.contains(bound) {
                    throw ValueProblem(word: bound.argumentText, reason: "is not in \(allowed)")
                }
                return value
            }
        }
    }
}
