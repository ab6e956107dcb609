// What can be wrong with a JSON text, and how a scan tells which it is.

import Bytes

enum JSONFault {
    case byteOrderMark, tooDeep, invalidUTF8, controlCharacter, unexpectedByte, singleQuote, comment
    case notANumber, unknownWord, badNumber, leadingZero, integerTooLarge, numberTooLarge
    case badEscape, loneSurrogate, nulInName, unfinishedText
    case blank, incomplete, nameMissing, colonMissing, commaMissing, trailing, duplicateMember
}

extension JSONFault {
    var kind: JSONError.Kind {
        switch self {
        case .blank: .empty
        case .tooDeep: .tooDeep
        case .invalidUTF8: .invalidUTF8
        case .integerTooLarge, .numberTooLarge: .numberOutOfRange
        case .duplicateMember: .duplicateMember
        default: .syntax
        }
    }

    func reason(maximumDepth: Int) -> String {
        switch self {
        case .byteOrderMark: "a byte order mark stands before the JSON text"
        case .tooDeep: "the JSON nests deeper than \(maximumDepth) levels"
        case .invalidUTF8: "the bytes are not UTF-8"
        case .controlCharacter: "a control character stands in text without an escape"
        case .unexpectedByte: "a character that begins no value"
        case .singleQuote: "text stands in single quotes; JSON takes double quotes only"
        case .comment: "a comment; JSON has none"
        case .notANumber: "NaN and Infinity are not JSON"
        case .unknownWord: "a word that is neither true, false nor null"
        case .badNumber: "not a number as JSON writes it"
        case .leadingZero: "a number begins with a needless 0"
        case .integerTooLarge: "an integer does not fit in 64 bits"
        case .numberTooLarge: "a number is too large for a double"
        case .badEscape: "an unknown escape in text"
        case .loneSurrogate: "half of a surrogate pair is escaped without its other half"
        case .nulInName: "a name of a member holds the character NUL"
        case .unfinishedText: "the text is not closed"
        case .blank: "there is nothing but white space"
        case .incomplete: "the JSON text is not complete"
        case .nameMissing: "a name in double quotes is missing in an object"
        case .colonMissing: "a colon is missing after a name"
        case .commaMissing: "a comma or the closing bracket is missing after a value"
        case .trailing: "something follows the JSON text"
        case .duplicateMember: "the member is named twice"
        }
    }
}

extension JSONScan {
    @inline(never)
    mutating func failAtNumber(_ start: Bytes, _ i: Bytes, _ digits: Int) -> Bytes? {
        if digits > 1 {
            fail(.leadingZero, at: start)
        } else {
            fail(i.pointee | 0x20 == UInt8(ascii: "i") ? .notANumber : .badNumber, at: start)
        }
        return nil
    }

    @inline(never)
    mutating func failAtValue(_ i: Bytes) {
        guard i != end else {
            // Nothing but white space, or an end where a value is due.
            var first = base
            skipSpace(&first)
            return fail(first == end ? .blank : .incomplete, at: i)
        }
        switch i.pointee {
        case UInt8(ascii: "'"): fail(.singleQuote, at: i)
        case UInt8(ascii: "/"), UInt8(ascii: "#"): fail(.comment, at: i)
        case UInt8(ascii: "N") where i[1] | 0x20 == UInt8(ascii: "a"), UInt8(ascii: "I"):
            fail(.notANumber, at: i)
        case UInt8(ascii: "n") where i[1] | 0x20 == UInt8(ascii: "a"): fail(.notANumber, at: i)
        case UInt8(ascii: "+"), UInt8(ascii: "."): fail(.badNumber, at: i)
        case 0xEF where i == base && i[1] == 0xBB && i[2] == 0xBF: fail(.byteOrderMark, at: i)
        case 0x80...: fail(utf8Length(i) > 0 ? .unexpectedByte : .invalidUTF8, at: i)
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"):
            fail(end - i < 5 && isBeginningOfWord(i) ? .incomplete : .unknownWord, at: i)
        default: fail(.unexpectedByte, at: i)
        }
    }

    /// Whether the text ends inside `true`, `false` or `null`.
    func isBeginningOfWord(_ i: Bytes) -> Bool {
        let rest = ByteSlice(i, count: end - i).text
        return ["true", "false", "null"].contains { $0.hasPrefix(rest) }
    }

    @inline(never)
    mutating func failAtName(_ i: Bytes) -> Bool {
        switch i.pointee {
        case UInt8(ascii: "'"): fail(.singleQuote, at: i)
        case UInt8(ascii: "/"): fail(.comment, at: i)
        default: fail(i == end ? .incomplete : .nameMissing, at: i)
        }
        return false
    }

    @inline(never)
    mutating func failAtColon(_ i: Bytes) -> Bool {
        fail(i == end ? .incomplete : .colonMissing, at: i)
        return false
    }

    @inline(never)
    mutating func failAfterValue(_ i: Bytes) {
        switch i.pointee {
        case UInt8(ascii: "/"): fail(.comment, at: i)
        default: fail(i == end ? .incomplete : .commaMissing, at: i)
        }
    }
}
