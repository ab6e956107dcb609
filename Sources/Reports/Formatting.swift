// How numbers look in a report: fixed widths, no locale, "–" for what is not known.

/// Numbers as people read them.
public enum Formatted {
    static let nothing = "–"

    /// `1,234,567`.
    public static func count(_ value: Int64) -> String {
        let digits = String(value.magnitude)
        var out = ""
        for (i, digit) in digits.enumerated() {
            if i > 0, (digits.count - i) % 3 == 0 { out += "," }
            out.append(digit)
        }
        return value < 0 ? "-" + out : out
    }

    /// So many decimals, rounded half away from zero.
    public static func fixed(_ value: Double?, _ decimals: Int) -> String {
        guard let value, value.isFinite else { return nothing }
        var scale = 1.0
        for _ in 0..<decimals { scale *= 10 }
        let scaled = (abs(value) * scale).rounded()
        guard scaled < 1e15 else { return String(value) }
        let (whole, part) = Int64(scaled).quotientAndRemainder(dividingBy: Int64(scale))
        let sign = value < 0 && scaled > 0 ? "-" : ""
        guard decimals > 0 else { return sign + String(whole) }
        let digits = String(part)
        return sign + String(whole) + "."
            + String(repeating: "0", count: decimals - digits.count) + digits
    }

    /// `.7679`: what lies between 0 and 1, without the 0 in front.
    public static func unit(_ value: Double?, _ decimals: Int = 4) -> String {
        let text = fixed(value, decimals)
        return text.hasPrefix("0.") ? String(text.dropFirst()) : text
    }

    /// `12.3%`.
    public static func percent(_ value: Double?, _ decimals: Int = 1) -> String {
        value.map { fixed($0 * 100, decimals) + "%" } ?? nothing
    }

    /// `312 MiB`.
    public static func bytes(_ value: Int64) -> String {
        let units = ["bytes", "KiB", "MiB", "GiB", "TiB"]
        var (size, unit) = (Double(value), 0)
        while size >= 1_024, unit < units.count - 1 {
            size /= 1_024
            unit += 1
        }
        return fixed(size, unit > 2 ? 1 : 0) + " " + units[unit]
    }

    /// `2 d 3 h`, `1 h 05 min`, `4 min 10 s`, `12.3 s`.
    public static func duration(_ seconds: Double) -> String {
        guard seconds >= 60 else { return fixed(seconds, 1) + " s" }
        let whole = Int64(seconds.rounded())
        func two(_ value: Int64) -> String { value < 10 ? "0\(value)" : "\(value)" }
        if whole >= 86_400 { return "\(whole / 86_400) d \(whole % 86_400 / 3_600) h" }
        if whole >= 3_600 { return "\(whole / 3_600) h \(two(whole % 3_600 / 60)) min" }
        return "\(whole / 60) min \(two(whole % 60)) s"
    }
}

extension String {
    /// Filled up with spaces behind the text; a longer text loses its end to a "…".
    func left(_ width: Int) -> String {
        let length = count
        if length > width { return String(prefix(max(0, width - 1))) + "…" }
        return self + String(repeating: " ", count: width - length)
    }

    /// Filled up with spaces before the text.
    func right(_ width: Int) -> String {
        String(repeating: " ", count: max(0, width - count)) + self
    }

    func centered(_ width: Int) -> String {
        let room = max(0, width - count)
        return String(repeating: " ", count: room / 2) + self
            + String(repeating: " ", count: room - room / 2)
    }

    func withoutTrailingSpaces() -> String {
        var text = self
        while text.last == " " { text.removeLast() }
        return text
    }
}
