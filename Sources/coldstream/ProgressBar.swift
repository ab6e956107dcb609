// A line on the terminal that says how far a run has come; nothing where there is no terminal.

import Reports

struct ProgressBar {
    private let isShown = ProcessFacts.isTerminal(2)
    private let start = ProcessFacts.seconds
    private var last = 0.0

    /// - Parameters:
    ///   - part: 0 to 1; nil where the end is not known.
    ///   - text: what is written behind the bar, made of the seconds since the beginning.
    mutating func show(_ part: Double?, _ text: (Double) -> String) {
        guard isShown else { return }
        let now = ProcessFacts.seconds
        guard now - last >= 0.1 else { return }
        last = now
        var line = "\r\u{1B}[K"
        if let part {
            let width = 30
            let done = min(width, max(0, Int(part * Double(width))))
            line += "[" + String(repeating: "█", count: done)
            line += String(repeating: "·", count: width - done) + "] "
            line += Formatted.percent(min(1, max(0, part)), 0) + "  "
        }
        writeToStandardError(line + text(now - start))
    }

    /// Takes the line away.
    func end() {
        guard isShown, last > 0 else { return }
        writeToStandardError("\r\u{1B}[K")
    }
}
