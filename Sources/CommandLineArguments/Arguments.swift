// What was given on the command line, read with the parameters that declared it.

/// The values of one command line.
public struct Arguments: Sendable {
    /// The names from the tool down to the command that runs: `["coldstream", "scores", "top"]`.
    public let path: [String]
    let values: [String: any Sendable]
    let given: Set<String>

    /// The value of a parameter: what was given, else its default.
    ///
    /// - Precondition: the command, or one above it, declares the parameter.
    public subscript<Parameter: DeclaredParameter>(_ parameter: Parameter) -> Parameter.Value {
        let label = parameter.declaration.label
        guard let value = values[label] as? Parameter.Value else {
            preconditionFailure("\(path.joined(separator: " ")) does not declare \(label)")
        }
        return value
    }

    /// Whether the parameter was given rather than left to its default: a flag goes before a file.
    public func contains(_ parameter: some DeclaredParameter) -> Bool {
        given.contains(parameter.declaration.label)
    }
}
