// Columns of text under each other.

/// Rows under headings, each column as wide as its widest cell.
public struct TextTable {
    public enum Alignment: Sendable { case left, right }

    private let columns: [(heading: String, alignment: Alignment)]
    private var rows: [[String]] = []
    /// Spaces before the first column and between two.
    private let indent: Int
    private let gap: Int
    /// A cell of a left column is cut there.
    private let widest: Int

    public init(
        _ columns: [(String, Alignment)], indent: Int = 0, gap: Int = 2, widest: Int = 60
    ) {
        self.columns = columns.map { (heading: $0.0, alignment: $0.1) }
        self.indent = indent
        self.gap = gap
        self.widest = widest
    }

    /// - Precondition: one cell a column.
    public mutating func append(_ cells: [String]) {
        precondition(
            cells.count == columns.count, "\(cells.count) cells in \(columns.count) columns")
        rows.append(cells)
    }

    public var isEmpty: Bool { rows.isEmpty }

    /// The heading, where a column has one, and the rows; no line ends with a space.
    public var lines: [String] {
        var widths = columns.map { $0.heading.count }
        for row in rows {
            for (i, cell) in row.enumerated() {
                widths[i] = max(widths[i], min(cell.count, widest))
            }
        }
        func line(_ cells: [String]) -> String {
            var parts: [String] = []
            for (i, cell) in cells.enumerated() {
                parts.append(
                    columns[i].alignment == .left ? cell.left(widths[i]) : cell.right(widths[i]))
            }
            let text = parts.joined(separator: String(repeating: " ", count: gap))
            return (String(repeating: " ", count: indent) + text).withoutTrailingSpaces()
        }
        let headings = columns.map(\.heading)
        return (headings.allSatisfy(\.isEmpty) ? [] : [line(headings)]) + rows.map(line)
    }

    public var text: String { lines.map { $0 + "\n" }.joined() }
}
