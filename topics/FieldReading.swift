// Reads one field and says what is wrong with it. The good way through is short; sentences are made
// on the way out only.

import Bytes
import JSON

/// What the contracts allow, in one place.
public enum Limit {
    /// Ids and other short texts.
    public static let idBytes = 256
    /// An impression's id as a click names it: of a slate's place it has `#position` behind it.
    public static let impressionIDBytes = 264
    /// An impression's identity in domain-log: that, exploded once more.
    public static let identityBytes = 272
    /// The text of a query.
    public static let queryBytes = 4096
    /// 9999-12-31T23:59:59.999Z
    public static let time_ms: ClosedRange<Int64> = 0...253_402_300_799_999
    public static let position: ClosedRange<Int64> = 1...1_000_000
    public static let scalars = 16
    /// A text among them.
    public static let scalarBytes = 1024
    /// Items of a slate.
    public static let slateItems = 1000
    /// What stands beside the items of a slate, once for each: each becomes a record of its own.
    public static let slateBytes = 1 << 20
    /// Headers that pass through a worker.
    public static let passedHeaderBytes = 8 << 10
    /// What the largest record of ours may take on the wire, of 1 MiB and what is known beside it.
    public static let messageBytes = 2 << 20
    public static let attributes = 32
    public static let recordBytes = 1 << 20
    /// A catalog record written again, which names its kind.
    public static let itemBytes = recordBytes + 1024
    /// What a vector may add to a record: 16,384 half-precision numbers in base64, and names.
    public static let vectorBytes = 44 << 10
    public static let depth = 16
    /// Counts, ordinals and partitions.
    public static let count: ClosedRange<Int64> = 0...Int64.max
}

extension JSONView {
    /// Text of 1 to `limit` bytes.
    @inline(__always)
    func id(_ place: @autoclosure () -> Place, limit: Int = Limit.idBytes) throws(ContractError)
        -> ByteSlice
    {
        guard let text, text.count > 0 && text.count <= limit else {
            throw wrongText(place(), atLeast: 1, atMost: limit)
        }
        return text
    }

    @inline(__always)
    func task(_ place: @autoclosure () -> Place) throws(ContractError) -> Task {
        let word = try text(place())
        guard let task = Task(word) else {
            throw wrongValue(place(), "click, conversion or relevance")
        }
        return task
    }

    /// Text, empty or not.
    @inline(__always)
    func text(_ place: @autoclosure () -> Place, limit: Int = Limit.recordBytes)
        throws(ContractError)
        -> ByteSlice
    {
        guard let text, text.count <= limit else {
            throw wrongText(place(), atLeast: 0, atMost: limit)
        }
        return text
    }

    @inline(__always)
    func integer(_ place: @autoclosure () -> Place, in range: ClosedRange<Int64>)
        throws(ContractError)
        -> Int64
    {
        guard let integer, range.contains(integer) else {
            throw wrongInteger(place(), range)
        }
        return integer
    }

    @inline(__always)
    func time(_ place: @autoclosure () -> Place) throws(ContractError) -> Int64 {
        guard let integer, Limit.time_ms.contains(integer) else {
            throw wrongNumber(
                place(), isInteger: true,
                "milliseconds since 1970, an integer from 0 to \(Limit.time_ms.upperBound)")
        }
        return integer
    }

    @inline(__always)
    func position(_ place: @autoclosure () -> Place) throws(ContractError) -> Int {
        Int(try integer(place(), in: Limit.position))
    }

    /// A count, an ordinal or a partition.
    @inline(__always)
    func count(_ place: @autoclosure () -> Place) throws(ContractError) -> Int64 {
        try integer(place(), in: Limit.count)
    }

    /// Any finite number that a double keeps exactly.
    @inline(__always)
    func number(_ place: @autoclosure () -> Place) throws(ContractError) -> Double {
        guard let double else { throw wrongNumber(place(), isInteger: false, "a number") }
        if let integer, integer.magnitude > 1 << 53 { throw beyondDouble(place(), "") }
        return double
    }

    /// A number in (0, 1].
    @inline(__always)
    func share(_ place: @autoclosure () -> Place) throws(ContractError) -> Double {
        guard let double, double > 0 && double <= 1 else {
            throw wrongNumber(place(), isInteger: false, "a number above 0 and at most 1")
        }
        return double
    }

    /// A number in [0, 1].
    @inline(__always)
    func unit(_ place: @autoclosure () -> Place) throws(ContractError) -> Double {
        guard let double, double >= 0 && double <= 1 else {
            throw wrongNumber(place(), isInteger: false, "a number from 0 to 1")
        }
        return double
    }

    /// A number that is not negative.
    @inline(__always)
    func amount(_ place: @autoclosure () -> Place) throws(ContractError) -> Double {
        let number = try number(place())
        guard number >= 0 else { throw wrongNumber(place(), isInteger: false, "a number from 0") }
        return number
    }

    @inline(__always)
    func truth(_ place: @autoclosure () -> Place) throws(ContractError) -> Bool {
        guard let boolean else { throw wrongType(place(), "true or false") }
        return boolean
    }

    @inline(__always)
    func domain(_ place: @autoclosure () -> Place) throws(ContractError) -> ByteSlice {
        guard let text, DomainName.isValid(text) else {
            guard text != nil else { throw wrongType(place(), "text") }
            throw wrongValue(
                place(),
                "a domain's name: 1 to 64 of a-z, 0-9, '.', '_', '-', the first a letter or digit")
        }
        return text
    }

    /// 16 lower-case hexadecimal digits.
    @inline(__always)
    func hash(_ place: @autoclosure () -> Place) throws(ContractError) -> UInt64 {
        guard let text, let hash = text.hexadecimal64 else {
            guard text != nil else { throw wrongType(place(), "text") }
            throw wrongValue(place(), "16 hexadecimal digits in lower case")
        }
        return hash
    }

    /// A value of `user`, `context` or `attributes`.
    func scalar(
        _ place: @autoclosure () -> Place, limit: Int = Limit.recordBytes
    ) throws(ContractError) -> Scalar {
        switch kind {
        case .text: return .text(try text(place(), limit: limit))
        case .boolean: return .boolean(boolean!)
        case .number: return .number(double!)
        case .integer:
            guard integer!.magnitude <= 1 << 53 else {
                throw beyondDouble(place(), "; send it as text")
            }
            return .number(double!)
        case .null, .array, .object: throw wrongType(place(), "text, a number, true or false")
        }
    }

    @inline(never)
    private func beyondDouble(_ place: Place, _ advice: String) -> ContractError {
        ContractError(
            .out_of_range, path: place.path,
            "\(place.path) is an integer beyond 2^53, which a number cannot keep exactly\(advice).")
    }

    @inline(never)
    func wrongType(_ place: Place, _ wanted: String) -> ContractError {
        ContractError(
            .wrong_type, path: place.path, "\(place.path) must be \(wanted), not \(shown).")
    }

    @inline(never)
    func wrongValue(_ place: Place, _ wanted: String) -> ContractError {
        ContractError(
            .invalid_value, path: place.path, "\(place.path) must be \(wanted), not \(shown).")
    }

    @inline(never)
    private func wrongText(_ place: Place, atLeast: Int, atMost: Int) -> ContractError {
        guard let text else { return wrongType(place, "text") }
        let wanted = "text of \(atLeast) to \(atMost) bytes"
        return ContractError(
            .out_of_range, path: place.path,
            "\(place.path) must be \(wanted), not of \(text.count).")
    }

    @inline(never)
    private func wrongInteger(_ place: Place, _ range: ClosedRange<Int64>) -> ContractError {
        let upper = range.upperBound == Int64.max ? "" : " to \(range.upperBound)"
        return wrongNumber(place, isInteger: true, "an integer from \(range.lowerBound)\(upper)")
    }

    @inline(never)
    private func wrongNumber(_ place: Place, isInteger: Bool, _ wanted: String) -> ContractError {
        guard double != nil else { return wrongType(place, wanted) }
        // 1.5 where an integer is due is of the wrong type; 0 where 1 is the least is out of range.
        let isWrongType = isInteger && integer == nil
        return ContractError(
            isWrongType ? .wrong_type : .out_of_range, path: place.path,
            "\(place.path) must be \(wanted), not \(shown).")
    }

    /// The value as a sentence quotes it: short, and never more than 40 characters of it.
    var shown: String {
        switch kind {
        case .boolean: return boolean! ? "true" : "false"
        case .integer, .number, .text:
            let whole = JSONValue(self).canonicalText
            return whole.count <= 40 ? whole : "\(whole.prefix(39))…"
        default: return kind.noun
        }
    }
}

extension ContractError {
    static func missing(_ path: String, in what: String) -> ContractError {
        ContractError(.missing_field, path: path, "\(path) is missing; \(what) needs it.")
    }
}

extension ByteSlice {
    /// The value of 16 lower-case hexadecimal digits; nil for anything else.
    @inline(__always)
    var hexadecimal64: UInt64? {
        guard count == 16 else { return nil }
        var value: UInt64 = 0
        for i in 0..<16 {
            let byte = base[i]
            let digit = byte &- UInt8(ascii: "0")
            if digit < 10 {
                value = value << 4 | UInt64(digit)
                continue
            }
            let letter = byte &- UInt8(ascii: "a")
            guard letter < 6 else { return nil }
            value = value << 4 | UInt64(letter &+ 10)
        }
        return value
    }
}
