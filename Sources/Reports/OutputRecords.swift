// Records of an output folder as the commands show them: a domain's statistics, and dead letters.

import Bytes
import JSON

public enum OutputRecords {
    /// The record of a domain in `domain-statistics`.
    ///
    /// - Returns: nil where the domain is not in it, with the domains that are.
    public static func statistics(
        _ records: some PublishedRecords, domain: String
    ) throws -> (record: JSONValue?, domains: [String]) {
        var found: JSONValue?
        var domains: [String] = []
        try records.forEach(of: "domain-statistics", keyPrefix: nil) { line in
            guard let name = line.member("domain")?.text?.text else { return true }
            domains.append(name)
            if name == domain { found = JSONValue(line) }
            return true
        }
        return (found, domains)
    }

    /// A statistics record for people: one line a number, lists as tables.
    public static func text(ofStatistics record: JSONValue) -> String {
        func plain(_ value: JSONValue) -> String {
            switch value {
            case .null: Formatted.nothing
            case .integer(let integer): Formatted.count(integer)
            case .number(let number):
                number == number.rounded() && abs(number) < 1e15
                    ? Formatted.count(Int64(number)) : Formatted.fixed(number, 4)
            case .text(let text): text
            default: value.canonicalText
            }
        }
        var scalars = TextTable([("", .left), ("", .right)])
        var lists: [String] = []
        for member in record.members ?? [] {
            switch member.value {
            case .array(let rows):
                let names = rows.first?.members?.map(\.name) ?? []
                var table = TextTable(
                    names.map { ($0, $0 == "item_id" ? .left : .right) }, indent: 2)
                for row in rows { table.append(names.map { plain(row[$0] ?? .null) }) }
                if !rows.isEmpty { lists.append("\(member.name)\n\(table.text)") }
            case .object(let parts):
                for part in parts {
                    scalars.append(["\(member.name).\(part.name)", plain(part.value)])
                }
            default: scalars.append([member.name, plain(member.value)])
            }
        }
        return ([scalars.text] + lists).joined(separator: "\n")
    }

    /// Calls `body` with every dead letter; stops when it returns false.
    public static func forEachDeadLetter(
        _ records: some PublishedRecords, _ body: (DeadLetterLine) -> Bool
    ) throws {
        try records.forEach(of: "dead-letters", keyPrefix: nil) { body(DeadLetterLine($0)) }
    }
}

/// One record of `dead-letters`.
public struct DeadLetterLine: Sendable {
    public let reason: String
    public let message: String
    /// `events, partition 0, ordinal 12` or `data/events.jsonl.gz, line 12`.
    public let origin: String
    /// That it was meant for or read from, by its name in a fleet.
    public let topic: String
    /// Whether it is a line that was never appended.
    public let isHeldBack: Bool
    public let key: [UInt8]?
    /// What could not be used, as far as it was kept; nil: a tombstone.
    public let value: [UInt8]?
    public let valueBytes: Int64
    public let json: JSONValue

    public init(_ line: JSONView) {
        reason = line.member("reason")?.text?.text ?? ""
        message = line.member("message")?.text?.text ?? ""
        topic = line.member("topic")?.text?.text ?? ""
        key = line.member("key_base64")?.text.flatMap { Base64.decode($0) }
        isHeldBack = line.member("input")?.text != nil
        if let input = line.member("input")?.text?.text {
            origin = "\(input), line \(line.member("line")?.integer ?? 0)"
        } else {
            origin =
                "\(topic), partition \(line.member("partition")?.integer ?? 0), "
                + "ordinal \(line.member("ordinal")?.integer ?? 0)"
        }
        value = line.member("value_base64")?.text.flatMap { Base64.decode($0) }
        valueBytes = line.member("value_bytes")?.integer ?? 0
        json = JSONValue(line)
    }

    /// Whether all of the value was kept.
    public var isWhole: Bool { Int64(value?.count ?? 0) == valueBytes }

    /// The value for a terminal: what is no plain text is written as `\xHH`.
    public var printableValue: String {
        guard let value else { return "(no value)" }
        guard let text = String(validating: value, as: UTF8.self) else {
            return value.map { byte in
                (32...126).contains(byte)
                    ? String(UnicodeScalar(byte)) : "\\x" + hexadecimal(byte)
            }.joined()
        }
        return text.unicodeScalars.map { scalar in
            scalar.value < 32 || scalar.value == 127
                ? "\\x" + hexadecimal(UInt8(scalar.value)) : String(scalar)
        }.joined()
    }

    private func hexadecimal(_ byte: UInt8) -> String {
        let digits = String(byte, radix: 16)
        return digits.count == 1 ? "0" + digits : digits
    }
}
