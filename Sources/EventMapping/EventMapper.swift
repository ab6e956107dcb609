// Applies a map to lines.

import Bytes
import Contracts
import JSON
import LineFiles

/// Turns lines into events, one line at a time; a line knows nothing of the line before.
///
/// Not `Sendable`: it lives on one thread and reuses its memory.
public final class EventMapper {
    public let map: EventMap
    private let parser = JSONParser(maximumDepth: 64)
    private let reader = EventReader()
    private var fields: DelimitedLine
    /// For each of the map's column names, where it stands in a line.
    private var columnPlaces: [Int]?
    /// The line that named the columns.
    private var header: [UInt8] = []
    private var values = ValueReading()
    private var event = ByteBuffer()

    public init(_ map: EventMap) {
        self.map = map
        fields = DelimitedLine(separator: UInt8(ascii: map.input == .tsv ? "\t" : ","))
        values.absent = map.absent
        if let columns = map.columns {
            columnPlaces = map.columnNames.map { columns.firstIndex(of: $0)! }
        }
    }

    /// Reads the first line of a file whose lines are mapped from the middle on.
    ///
    /// Where this is not called, the first line to be mapped is the header. A line equal to the header
    /// makes no event wherever it stands, so files may be joined.
    public func readHeader(of path: String) throws {
        guard map.needsHeader else { return }
        var reader = try LineReader.open(path)
        guard let line = try reader.next() else { throw EventMapError("", "\(path) is empty") }
        try readHeader(line.bytes)
    }

    /// Reads the line that names the columns.
    public func readHeader(_ line: ByteSlice) throws(EventMapError) {
        precondition(map.needsHeader, "\(map.name) needs no header")
        header = line.copy()
        var line = line
        let mark: [UInt8] = [0xEF, 0xBB, 0xBF]  // UTF-8's byte order mark, which spreadsheets write
        if line.count >= 3, (0..<3).allSatisfy({ line[$0] == mark[$0] }) {
            line = line.slice(3, line.count)
        }
        if let fault = fields.split(line) { throw EventMapError("", "the header: \(fault)") }
        let names = (0..<fields.count).map { fields[$0].text }
        var places: [Int] = []
        for name in map.columnNames {
            guard let place = names.firstIndex(of: name) else {
                throw EventMapError("", "the file has no column \(name)")
            }
            places.append(place)
        }
        columnPlaces = places
    }

    /// Maps one line.
    ///
    /// - Parameters:
    ///   - line: without its newline.
    ///   - events: the line's events are appended as canonical JSON, each with a newline.
    /// - Returns: how many there are; 0 where the map skips the line, and for a header.
    /// - Throws: why the line is a dead letter; then nothing was appended.
    public func map(_ line: ByteSlice, into events: inout ByteBuffer) throws(ContractError) -> Int {
        let start = events.count
        do throws(ContractError) {
            return try mapAll(line, &events)
        } catch {
            events.truncate(to: start)
            throw error
        }
    }

    private func mapAll(_ line: ByteSlice, _ events: inout ByteBuffer) throws(ContractError) -> Int
    {
        guard try !isHeader(line) else { return 0 }
        let root = try read(line)
        var count = 0
        for rule in map.rules {
            guard try rule.conditions.allHold(root, &values) else { continue }
            guard let each = rule.each else {
                try apply(rule, root, &events)
                count += 1
                continue
            }
            guard let list = try root.list(each) else { continue }
            for (place, element) in list.elements.enumerated() {
                let line = root.inside(element, place)
                guard try rule.elementConditions.allHold(line, &values) else { continue }
                try apply(rule, line, &events)
                count += 1
            }
        }
        if count == 0, map.unmatched == .deadLetter {
            throw ContractError(
                .not_mapped, path: "", "No rule of the map \(map.name) applies to the line.")
        }
        return count
    }

    /// Whether the line names the columns; the first one does.
    private func isHeader(_ line: ByteSlice) throws(ContractError) -> Bool {
        guard map.needsHeader else { return false }
        if columnPlaces != nil { return header.lend { $0.equals(line) } }
        do throws(EventMapError) { try readHeader(line) } catch {
            throw ContractError(
                .not_mapped, path: "", "The line names the columns, but \(error.reason).")
        }
        return true
    }

    private func read(_ line: ByteSlice) throws(ContractError) -> InputLine {
        if map.input == .json {
            do throws(JSONError) { return InputLine(json: try parser.parse(line)) } catch {
                throw ContractError(error)
            }
        }
        guard let columnPlaces else {
            preconditionFailure("\(map.name): a line before its header")
        }
        if line.isEmpty { throw ContractError(.empty, path: "", "The line is blank.") }
        if let fault = fields.split(line) {
            throw ContractError(.not_mapped, path: "", "The line cannot be split: \(fault).")
        }
        for (name, place) in zip(map.columnNames, columnPlaces) where place >= fields.count {
            throw ContractError(
                .not_mapped, path: "",
                "The line has \(fields.count) fields and ends before the column \(name).")
        }
        return InputLine(columns: columnPlaces.map { fields[$0] })
    }

    /// Makes one event, and reads it as whoever gets it will.
    private func apply(
        _ rule: EventRule, _ line: InputLine, _ events: inout ByteBuffer
    ) throws(ContractError) {
        values.removeAll()
        event.removeAll()
        var draft = try values.draft(rule, line)
        let slate = try rule.slate.map { (slate) throws(ContractError) in
            try values.slate(slate, line)
        }
        let user = try values.scalars(rule.user, line, "user")
        let context = try values.scalars(rule.context, line, "context")
        (slate ?? []).withUnsafeBufferPointer { slate in
            user.withUnsafeBufferPointer { user in
                context.withUnsafeBufferPointer { context in
                    draft.items = BorrowedList(slate)
                    draft.user = BorrowedList(user)
                    draft.context = BorrowedList(context)
                    draft.append(to: &event)
                }
            }
        }
        try reader.read(event.slice)
        events.append(event.slice)
        events.append(UInt8(ascii: "\n"))
    }
}

extension [Condition] {
    fileprivate func allHold(
        _ line: InputLine, _ values: inout ValueReading
    ) throws(ContractError) -> Bool {
        for condition in self {
            let value = try values.read(condition.locator, line)
            switch condition.expectation {
            case .present: if value.isAbsent { return false }
            case .absent: if !value.isAbsent { return false }
            case .oneOf(let words):
                guard let text = values.text(value) else { return false }
                if !words.contains(where: { $0.lend { $0.equals(text) } }) { return false }
            }
        }
        return true
    }
}
