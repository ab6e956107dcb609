// The strict scan: one pass over the bytes that accepts RFC 8259 and nothing else, and writes down
// where every value is. Hot readers read this tape; json-c builds trees only from what the scan has
// accepted.
//
// json-c 0.16 in its strict mode still accepts NaN and Infinity, numbers beyond Double, single
// quotes and unquoted control characters; it saturates big integers, replaces lone surrogates, cuts
// names at NUL and keeps the last of two equal members. A look at every byte closes these holes,
// and is most of a parser.

import Bytes

#if canImport(Glibc)
    import Glibc
#endif

/// Scans a copy of a text that ends in at least eight NUL bytes, resolving escapes where they
/// stand.
struct JSONScan {
    typealias Bytes = UnsafeMutablePointer<UInt8>

    /// A container that is still open.
    struct Level {
        var token: UnsafeMutablePointer<JSONToken>
        var count: UInt64
        /// A bit for each hash of a name so far: where it is not set, the name is new.
        var names: UInt64
    }

    /// Objects with more members look for equal names when they close, by sorting.
    static let membersComparedSingly: UInt64 = 64

    let base: Bytes
    let end: Bytes
    private let levels: UnsafeMutablePointer<Level>
    private let maximumDepth: Int
    var fault: JSONFault?
    /// The byte at which `fault` was seen.
    var offset = 0

    /// Scans `count` bytes at `base` into `tokens`, which has room for `count` of them.
    ///
    /// - Parameter levels: room for `maximumDepth` containers.
    init(
        _ base: Bytes, count: Int, into tokens: UnsafeMutablePointer<JSONToken>,
        levels: UnsafeMutablePointer<Level>, maximumDepth: Int
    ) {
        self.base = base
        end = base + count
        self.levels = levels
        self.maximumDepth = maximumDepth
        run(tokens)
    }

    private mutating func run(_ tokens: UnsafeMutablePointer<JSONToken>) {
        var i = base
        var token = tokens
        var depth = 0
        var level = Level(token: tokens, count: 0, names: 0)
        var inObject = false

        value: while true {
            skipSpace(&i)
            switch i.pointee {
            case UInt8(ascii: "\""):
                let start = i + 1
                guard let close = text(start) else { return }
                token.pointee = JSONToken(
                    .text, payload: address(start), extent: length(start, close))
                token += 1
                i = after(close)
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
                guard let next = number(i, token) else { return }
                token += 1
                i = next
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                guard depth < maximumDepth else { return fail(.tooDeep, at: i) }
                levels[depth] = level
                depth &+= 1
                inObject = i.pointee == UInt8(ascii: "{")
                level = Level(token: token, count: 0, names: 0)
                token.pointee = JSONToken(inObject ? .object : .array, payload: 0)
                token += 1
                i += 1
                skipSpace(&i)
                if inObject {
                    guard i.pointee != UInt8(ascii: "}") else { break }
                    guard name(&i, &token, &level) else { return }
                    continue value
                }
                guard i.pointee == UInt8(ascii: "]") else { continue value }
            case UInt8(ascii: "t"):
                guard word("true", i) else { return }
                token.pointee = JSONToken(.boolean, payload: 1)
                token += 1
                i += 4
            case UInt8(ascii: "f"):
                guard word("false", i) else { return }
                token.pointee = JSONToken(.boolean, payload: 0)
                token += 1
                i += 5
            case UInt8(ascii: "n"):
                guard word("null", i) else { return }
                token.pointee = JSONToken(.null, payload: 0)
                token += 1
                i += 4
            default: return failAtValue(i)
            }

            // After a value, or inside an empty container.
            while true {
                skipSpace(&i)
                guard depth > 0 else {
                    if i != end { fail(.trailing, at: i) }
                    return
                }
                let byte = i.pointee
                if byte == UInt8(ascii: ",") {
                    i += 1
                    level.count &+= 1
                    guard inObject else { continue value }
                    skipSpace(&i)
                    guard name(&i, &token, &level) else { return }
                    continue value
                }
                guard byte == (inObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) else {
                    return failAfterValue(i)
                }
                i += 1
                let isEmpty = token == level.token + 1
                level.token.pointee.payload = isEmpty ? 0 : level.count &+ 1
                level.token.pointee.extent = UInt32(truncatingIfNeeded: token - level.token)
                if level.count >= JSONScan.membersComparedSingly && inObject {
                    guard namesDiffer(level, end: token) else { return }
                }
                depth &-= 1
                level = levels[depth]
                inObject = depth > 0 && level.token.pointee.kind == .object
            }
        }
    }

    /// Scans a member's name and its colon.
    @inline(__always)
    mutating func name(
        _ i: inout Bytes, _ token: inout UnsafeMutablePointer<JSONToken>, _ level: inout Level
    ) -> Bool {
        guard i.pointee == UInt8(ascii: "\"") else { return failAtName(i) }
        let start = i + 1
        guard let close = text(start) else { return false }
        let length = length(start, close)
        i = after(close)
        // Escapes are rare in names; the closing quote has moved if there were any.
        if i != close + 1, memchr(start, 0, Int(length)) != nil {
            return refuse(.nulInName, at: start - 1)
        }
        skipSpace(&i)
        guard i.pointee == UInt8(ascii: ":") else { return failAtColon(i) }
        i += 1
        // The first eight bytes, those behind the name cut off: there are eight NUL bytes at the
        // end.
        var word = UnsafeRawPointer(start).loadUnaligned(as: UInt64.self)
        if length < 8 { word &= (1 &<< (UInt64(length) &* 8)) &- 1 }
        let bit: UInt64 = 1 &<< (((word ^ (UInt64(length) &<< 56)) &* 0x9E37_79B9_7F4A_7C15) &>> 58)
        if level.names & bit != 0, level.count < JSONScan.membersComparedSingly,
            !nameDiffers(start, length, level, end: token)
        {
            return refuse(.duplicateMember, at: start - 1)
        }
        level.names |= bit
        token.pointee = JSONToken(.text, payload: address(start), extent: length)
        token += 1
        return true
    }

    /// Whether no earlier member of the object has this name.
    @inline(never)
    func nameDiffers(
        _ start: Bytes, _ length: UInt32, _ level: Level, end: UnsafeMutablePointer<JSONToken>
    ) -> Bool {
        var token = level.token + 1
        while token < end {
            if token.pointee.extent == length, memcmp(token.pointee.text, start, Int(length)) == 0 {
                return false
            }
            token += 1
            token += token.pointee.tokens
        }
        return true
    }

    /// Whether the names of a closed object all differ; for large objects.
    @inline(never)
    mutating func namesDiffer(_ level: Level, end: UnsafeMutablePointer<JSONToken>) -> Bool {
        var names: [ByteSlice] = []
        var token = level.token + 1
        while token < end {
            names.append(ByteSlice(token.pointee.text, count: Int(token.pointee.extent)))
            token += 1
            token += token.pointee.tokens
        }
        names.sort { $0.precedes($1) }
        for (a, b) in zip(names, names.dropFirst()) where a.equals(b) {
            return refuse(
                .duplicateMember, at: UnsafeMutablePointer(mutating: max(a.base, b.base)) - 1)
        }
        return true
    }

    @inline(__always)
    func skipSpace(_ i: inout Bytes) {
        while i.pointee <= 0x20 {
            switch i.pointee {
            case 0x20, 0x0A, 0x0D, 0x09: i += 1
            default: return
            }
        }
    }

    @inline(__always)
    mutating func word(_ word: StaticString, _ i: Bytes) -> Bool {
        if memcmp(i, word.utf8Start, word.utf8CodeUnitCount) == 0 { return true }
        failAtValue(i)
        return false
    }

    @inline(__always)
    func address(_ bytes: Bytes) -> UInt64 { UInt64(UInt(bitPattern: bytes)) }

    @inline(__always)
    func length(_ start: Bytes, _ close: Bytes) -> UInt32 {
        UInt32(truncatingIfNeeded: close - start)
    }

    mutating func fail(_ fault: JSONFault, at i: Bytes) {
        self.fault = fault
        offset = i - base
    }

    /// As `fail`, for those who answer whether the scan goes on.
    mutating func refuse(_ fault: JSONFault, at i: Bytes) -> Bool {
        fail(fault, at: i)
        return false
    }
}
