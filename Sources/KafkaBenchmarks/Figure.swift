// What a benchmark tells.

/// One number, with how it came about and what others reach.
public struct Figure: Sendable {
    public var name: String
    public var value: Double
    public var unit: String
    public var detail: String
    /// What the best of the others reach on such a machine, and what we want; empty where nobody says.
    public var others = ""

    init(_ name: String, _ value: Double, _ unit: String, _ detail: String, others: String = "") {
        self.name = name
        self.value = value
        self.unit = unit
        self.detail = detail
        self.others = others
    }
}

func thousands(_ value: Double) -> String { "\(Int((value / 1_000).rounded())) k" }

/// One decimal.
func tenths(_ value: Double) -> String {
    let scaled = (value * 10).rounded() / 10
    return "\(scaled)"
}
