// Finds out where in a JSON text a byte is. Only the way to an error message comes here.

import Bytes

/// A tolerant walk over a text whose tokens may be broken at some point: it keeps the names and
/// indices that lead to the value it is in.
struct PathFinder {
    private struct Level {
        var isArray: Bool
        var index = 0
        var name = ""
        var hasName = false
    }

    private let bytes: ByteSlice
    private var levels: [Level] = []

    init(_ bytes: ByteSlice) { self.bytes = bytes }

    /// JSON Pointer to the value that holds the byte at `offset`.
    static func path(in bytes: ByteSlice, at offset: Int) -> String {
        var finder = PathFinder(bytes)
        finder.run(to: offset)
        return finder.path
    }

    /// The byte after the text whose opening quote is at `start`.
    static func endOfText(_ bytes: ByteSlice, at start: Int) -> Int {
        PathFinder(bytes).text(from: start).1
    }

    var path: String {
        levels.map { level in
            let step = level.isArray ? String(level.index) : level.name
            // An object whose first name has not come yet adds nothing.
            return !level.isArray && !level.hasName ? "" : "/" + step
        }.joined()
    }

    private mutating func run(to end: Int) {
        var i = 0
        while i < min(end, bytes.count) {
            switch bytes[i] {
            case UInt8(ascii: "{"): levels.append(Level(isArray: false))
            case UInt8(ascii: "["): levels.append(Level(isArray: true))
            case UInt8(ascii: "}"), UInt8(ascii: "]"): if !levels.isEmpty { levels.removeLast() }
            case UInt8(ascii: ","): if let last = levels.indices.last { levels[last].index += 1 }
            case UInt8(ascii: "\""):
                let (name, after) = text(from: i)
                if let last = levels.indices.last, !levels[last].isArray, isColon(after: after) {
                    levels[last].name = PathFinder.escape(String(decoding: name, as: UTF8.self))
                    levels[last].hasName = true
                }
                i = after
                continue
            default: break
            }
            i += 1
        }
    }

    /// The characters of the text at `start`, escapes resolved, and the byte after it.
    private func text(from start: Int) -> ([UInt8], Int) {
        var unit: [UInt8] = []
        var i = start + 1
        while i < bytes.count && bytes[i] != UInt8(ascii: "\"") {
            guard bytes[i] == UInt8(ascii: "\\"), i + 1 < bytes.count else {
                unit.append(bytes[i])
                i += 1
                continue
            }
            let (characters, after) = escaped(at: i)
            unit += characters
            i = after
        }
        return (unit, i + 1)
    }

    private func escaped(at i: Int) -> ([UInt8], Int) {
        switch bytes[i + 1] {
        case UInt8(ascii: "b"): return ([0x08], i + 2)
        case UInt8(ascii: "f"): return ([0x0C], i + 2)
        case UInt8(ascii: "n"): return ([0x0A], i + 2)
        case UInt8(ascii: "r"): return ([0x0D], i + 2)
        case UInt8(ascii: "t"): return ([0x09], i + 2)
        case UInt8(ascii: "u"):
            var units: [UInt16] = []
            var position = i
            while position + 6 <= bytes.count, bytes[position] == UInt8(ascii: "\\"),
                bytes[position + 1] == UInt8(ascii: "u"),
                let unit = UInt16(bytes.slice(position + 2, position + 6).text, radix: 16)
            {
                units.append(unit)
                position += 6
            }
            return (Array(String(decoding: units, as: UTF16.self).utf8), max(position, i + 2))
        default: return ([bytes[i + 1]], i + 2)
        }
    }

    private func isColon(after position: Int) -> Bool {
        var i = position
        while i < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[i]) { i += 1 }
        return i < bytes.count && bytes[i] == UInt8(ascii: ":")
    }

    /// RFC 6901: `~` and `/` inside a name.
    static func escape(_ name: String) -> String {
        var escaped = ""
        for scalar in name.unicodeScalars {
            switch scalar {
            case "~": escaped += "~0"
            case "/": escaped += "~1"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}

/// The step of a JSON Pointer that leads to the member `name`.
public func jsonPointerStep(_ name: String) -> String { "/" + PathFinder.escape(name) }
