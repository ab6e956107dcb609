// `--format table|json`, which every command that prints results has.

/// How results are printed.
public enum OutputFormat: String, CaseIterable, ArgumentValue {
    case table, json
}

extension Option where Value == OutputFormat {
    /// `--format table|json`; declare it once, at the tool.
    public static var format: Self {
        Option("format", "FORMAT", default: .table, help: "how results are printed")
    }
}
