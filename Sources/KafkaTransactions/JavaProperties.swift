// The format of Java's .properties files, and the login entries that Kafka puts into one of their values.

#if canImport(Glibc)
    import Glibc
#endif

/// A parsed .properties file: keys and values in the order of the file.
///
/// Source: `java.util.Properties.load`: comments, three separators, continued lines, escapes.
struct JavaProperties {
    let entries: [(key: String, value: String)]

    init(parsing text: String) {
        var entries: [(key: String, value: String)] = []
        var continued: [Unicode.Scalar] = []
        // "\r\n" is one Character but two scalars; lines are split by scalars.
        let lines = text.unicodeScalars.split(omittingEmptySubsequences: false) {
            $0 == "\n" || $0 == "\r"
        }
        for line in lines {
            let line = line.drop { Self.isBlank($0) }
            if continued.isEmpty, line.first == nil || line.first == "#" || line.first == "!" {
                continue
            }
            let backslashes = line.reversed().prefix { $0 == "\\" }.count
            if backslashes % 2 == 1 {
                continued += line.dropLast()
            } else {
                entries.append(Self.entry(continued + line))
                continued = []
            }
        }
        if !continued.isEmpty { entries.append(Self.entry(continued)) }
        self.entries = entries
    }

    private static func isBlank(_ scalar: Unicode.Scalar) -> Bool {
        scalar == " " || scalar == "\t" || scalar == "\u{0C}"
    }

    private static func entry(_ line: [Unicode.Scalar]) -> (key: String, value: String) {
        var end = 0
        while end < line.count, line[end] != "=", line[end] != ":", !isBlank(line[end]) {
            end += line[end] == "\\" ? 2 : 1
        }
        end = min(end, line.count)
        var start = end
        while start < line.count, isBlank(line[start]) { start += 1 }
        if start < line.count, line[start] == "=" || line[start] == ":" { start += 1 }
        while start < line.count, isBlank(line[start]) { start += 1 }
        return (unescape(line[..<end]), unescape(line[start...]))
    }

    private static func unescape(_ scalars: ArraySlice<Unicode.Scalar>) -> String {
        var units: [UInt16] = []
        var rest = scalars
        while let scalar = rest.popFirst() {
            guard scalar == "\\", let escaped = rest.popFirst() else {
                if scalar != "\\" { units += Array(String(scalar).utf16) }
                continue
            }
            switch escaped {
            case "t": units.append(0x09)
            case "n": units.append(0x0A)
            case "r": units.append(0x0D)
            case "f": units.append(0x0C)
            case "u":
                let digits = String(String.UnicodeScalarView(rest.prefix(4)))
                if digits.utf8.count == 4, let unit = UInt16(digits, radix: 16) {
                    units.append(unit)
                    rest = rest.dropFirst(4)
                } else {
                    units.append(0x75)
                }
            default: units += Array(String(escaped).utf16)
            }
        }
        return String(decoding: units, as: UTF16.self)
    }
}

/// One login entry: `org.apache…ScramLoginModule required username="u" password="p";`
struct JaasEntry {
    /// The last part of the login module's class name.
    let module: String
    let options: [String: String]

    /// nil where the text has not the form of an entry.
    init?(parsing text: String) {
        guard let words = Self.words(text), words.count >= 2 else { return nil }
        guard ["required", "requisite", "sufficient", "optional"].contains(words[1].lowercased())
        else { return nil }
        var options: [String: String] = [:]
        var index = 2
        while index < words.count {
            guard index + 2 < words.count, words[index + 1] == "=" else { return nil }
            options[words[index]] = words[index + 2]
            index += 3
        }
        module = words[0].split(separator: ".").last.map(String.init) ?? words[0]
        self.options = options
    }

    /// Names, quoted values and "=", up to the semicolon; nil where a quote is not closed.
    private static func words(_ text: String) -> [String]? {
        var words: [String] = []
        var rest = Substring(text)
        while let next = rest.popFirst() {
            switch next {
            case ";": return words
            case "=": words.append("=")
            case "\"", "'":
                var value = ""
                while true {
                    guard let character = rest.popFirst() else { return nil }
                    if character == next { break }
                    if character == "\\" {
                        guard let escaped = rest.popFirst() else { return nil }
                        value.append(escaped)
                    } else {
                        value.append(character)
                    }
                }
                words.append(value)
            case _ where next.isWhitespace: break
            default:
                let tail = rest.prefix { !$0.isWhitespace && $0 != "=" && $0 != ";" }
                rest = rest.dropFirst(tail.count)
                words.append(String(next) + tail)
            }
        }
        return words
    }
}
