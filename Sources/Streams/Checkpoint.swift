// What a worker writes about itself: changed rows, a manifest that seals them, and a position with
// every commit.

import Bytes

/// Keys and small records of the checkpoint topic.
///
/// | key | value |
/// |---|---|
/// | `<group>/<partition>/position` | `PositionRecord`, in every commit |
/// | `<group>/<partition>/manifest` | `Manifest`, last in the transaction of a checkpoint |
/// | `<group>/<partition>/rows/<table>/<row, 8 hexadecimal digits>` | a row, or a tombstone |
/// | `<group>/<partition>/crashes` | `CrashNote`, by a process that a record is ending |
/// | `<group>/<partition>/skipped/<offset, 16 hexadecimal digits>` | ordinal (8 bytes) of a record that was skipped |
///
/// All are addressed to the checkpoint topic's partition of the same number.
enum CheckpointKey {
    static func prefix(_ group: String, _ partition: Int) -> String { "\(group)/\(partition)/" }

    static func appendRow(
        _ prefix: ByteSlice, _ table: ByteSlice, _ row: UInt32, to b: inout ByteBuffer
    ) {
        b.append(prefix)
        b.append("rows/")
        b.append(table)
        b.append(UInt8(ascii: "/"))
        appendDigits(UInt64(row), 8, to: &b)
    }

    static func appendSkipped(_ prefix: ByteSlice, _ offset: Int64, to b: inout ByteBuffer) {
        b.append(prefix)
        b.append("skipped/")
        appendDigits(UInt64(bitPattern: offset), 16, to: &b)
    }

    private static func appendDigits(_ value: UInt64, _ count: Int, to b: inout ByteBuffer) {
        for shift in stride(from: 4 * (count - 1), through: 0, by: -4) {
            let digit = UInt8(truncatingIfNeeded: value >> UInt64(shift)) & 15
            b.append(digit < 10 ? 48 + digit : 87 + digit)
        }
    }

    /// Table name and row of the part of a key behind `rows/`.
    static func parseRow(_ rest: ByteSlice) -> (table: ByteSlice, row: UInt32)? {
        guard rest.count > 9, rest[rest.count - 9] == UInt8(ascii: "/") else { return nil }
        var row: UInt32 = 0
        for i in rest.count - 8..<rest.count {
            let byte = rest[i]
            switch byte {
            case 48...57: row = row << 4 | UInt32(byte - 48)
            case 97...102: row = row << 4 | UInt32(byte - 87)
            default: return nil
            }
        }
        return (rest.slice(0, rest.count - 9), row)
    }
}

/// Where a partition stands after a commit.
@usableFromInline
struct Position: Equatable {
    /// The next offset to read.
    @usableFromInline var next: Int64
    /// Committed records processed so far.
    @usableFromInline var ordinal: Int64
    /// Hash of everything published so far.
    @usableFromInline var rollingHash: Hash128

    static let bytes = 32

    func append(to buffer: inout ByteBuffer) {
        buffer.append(raw: next)
        buffer.append(raw: ordinal)
        buffer.append(raw: rollingHash)
    }

    init(next: Int64, ordinal: Int64, rollingHash: Hash128) {
        self.next = next
        self.ordinal = ordinal
        self.rollingHash = rollingHash
    }

    init(_ bytes: ByteSlice) throws(StateError) {
        guard bytes.count == Position.bytes else {
            throw StateError(
                "a position record has \(bytes.count) bytes, expected \(Position.bytes)")
        }
        let raw = UnsafeRawPointer(bytes.base)
        next = raw.loadUnaligned(as: Int64.self)
        ordinal = raw.loadUnaligned(fromByteOffset: 8, as: Int64.self)
        rollingHash = raw.loadUnaligned(fromByteOffset: 16, as: Hash128.self)
    }
}

/// The record that was processed last.
@usableFromInline
struct LastRecord {
    /// Of key, value and timestamp: tells it from another one at the same offset, of a topic that was
    /// deleted and made again. Zero: there was none.
    var identity = Hash128.zero
    var offset: Int64 = -1

    init() {}

    @usableFromInline
    init(_ record: Record) {
        let key = record.key.map { Hash128($0, seed: 1) } ?? .zero
        let value = record.value.map { Hash128($0, seed: 2) } ?? .zero
        identity = key.combined(with: value).combined(
            with: Hash128(high: 3, low: UInt64(bitPattern: record.timestamp)))
        offset = record.offset
    }
}

/// What a commit says of a partition: where it stands, and what it stands behind.
struct PositionRecord {
    var position: Position
    var last: LastRecord

    static let bytes = Position.bytes + MemoryLayout<Hash128>.size + 8

    init(_ position: Position, last: LastRecord) {
        self.position = position
        self.last = last
    }

    func append(to buffer: inout ByteBuffer) {
        position.append(to: &buffer)
        buffer.append(raw: last.identity)
        buffer.append(raw: last.offset)
    }

    init(_ bytes: ByteSlice) throws(StateError) {
        guard bytes.count == PositionRecord.bytes else {
            throw StateError(
                "a position record has \(bytes.count) bytes, expected \(PositionRecord.bytes)")
        }
        position = try Position(bytes.slice(0, Position.bytes))
        let raw = UnsafeRawPointer(bytes.base)
        last = LastRecord()
        last.identity = raw.loadUnaligned(fromByteOffset: Position.bytes, as: Hash128.self)
        last.offset = raw.loadUnaligned(fromByteOffset: Position.bytes + 16, as: Int64.self)
    }
}

/// That a record has ended the process, and how often by now.
public struct CrashNote: Equatable, Sendable {
    public var offset: Int64
    public var count: Int64

    public init(offset: Int64, count: Int64) {
        self.offset = offset
        self.count = count
    }

    public static func key(group: String, partition: Int) -> String {
        CheckpointKey.prefix(group, partition) + "crashes"
    }

    public func append(to buffer: inout ByteBuffer) {
        buffer.append(raw: offset)
        buffer.append(raw: count)
    }

    init(_ bytes: ByteSlice) throws(StateError) {
        var reader = PlainReader(bytes)
        offset = try reader.number()
        count = try reader.number()
    }
}

/// What seals a checkpoint: which step wrote it, at which position, and what must be there.
struct Manifest: Equatable {
    /// Changes when rows or these fields are laid out anew.
    static let format: UInt32 = 1

    var position: Position
    var stepVersion: String
    /// Per table: name, bytes a row, hash of all rows, the number beside them.
    var tables: [TableSeal]

    struct TableSeal: Equatable {
        var name: String
        var rowBytes: Int
        var savedHash: UInt64
        var sequence: UInt64

        init(name: String, rowBytes: Int, savedHash: UInt64, sequence: UInt64) {
            self.name = name
            self.rowBytes = rowBytes
            self.savedHash = savedHash
            self.sequence = sequence
        }

        init(_ table: any StateTable) {
            self.init(
                name: table.name, rowBytes: table.rowBytes, savedHash: table.savedHash,
                sequence: table.sequence)
        }
    }

    init(position: Position, stepVersion: String, tables: [TableSeal]) {
        self.position = position
        self.stepVersion = stepVersion
        self.tables = tables
    }

    func append(to buffer: inout ByteBuffer) {
        let start = buffer.count
        buffer.append(raw: Manifest.format)
        position.append(to: &buffer)
        appendText(stepVersion, to: &buffer)
        buffer.append(raw: UInt32(tables.count))
        for table in tables {
            appendText(table.name, to: &buffer)
            buffer.append(raw: UInt32(table.rowBytes))
            buffer.append(raw: table.savedHash)
            buffer.append(raw: table.sequence)
        }
        buffer.append(raw: Hash128(buffer.slice(from: start)))
    }

    init(_ bytes: ByteSlice) throws(StateError) {
        guard bytes.count > 16,
            Hash128(bytes.slice(0, bytes.count - 16))
                == UnsafeRawPointer(bytes.base).loadUnaligned(
                    fromByteOffset: bytes.count - 16, as: Hash128.self)
        else { throw StateError("the checkpoint's manifest is torn or was altered") }
        var reader = PlainReader(bytes.slice(0, bytes.count - 16))
        let format: UInt32 = try reader.number()
        guard format == Manifest.format else {
            throw StateError(
                "the checkpoint has format \(format), this binary writes \(Manifest.format); start the "
                    + "binary that wrote it once and stop it with SIGTERM, or restore a snapshot")
        }
        position = try Position(try reader.bytes(Position.bytes))
        stepVersion = try reader.text()
        let count: UInt32 = try reader.number()
        tables = []
        for _ in 0..<count {
            let name = try reader.text()
            let rowBytes: UInt32 = try reader.number()
            let savedHash: UInt64 = try reader.number()
            tables.append(
                TableSeal(
                    name: name, rowBytes: Int(rowBytes), savedHash: savedHash,
                    sequence: try reader.number()))
        }
        guard reader.remaining == 0 else {
            throw StateError("the checkpoint's manifest has \(reader.remaining) bytes too many")
        }
    }
}

func appendText(_ text: String, to buffer: inout ByteBuffer) {
    text.lend { bytes in
        buffer.append(raw: UInt32(bytes.count))
        buffer.append(bytes)
    }
}

/// Reads plain little-endian values one after the other.
struct PlainReader {
    private let all: ByteSlice
    private(set) var position = 0

    init(_ bytes: ByteSlice) { all = bytes }

    var remaining: Int { all.count - position }

    mutating func bytes(_ count: Int) throws(StateError) -> ByteSlice {
        guard count >= 0, remaining >= count else {
            throw StateError(
                "\(count) bytes expected at byte \(position) of \(all.count): it is torn")
        }
        defer { position += count }
        return all.slice(position, position + count)
    }

    mutating func number<Number: FixedWidthInteger & BitwiseCopyable>() throws(StateError) -> Number
    {
        let slice = try bytes(MemoryLayout<Number>.size)
        return UnsafeRawPointer(slice.base).loadUnaligned(as: Number.self)
    }

    mutating func text() throws(StateError) -> String {
        let count: UInt32 = try number()
        return try bytes(Int(count)).text
    }
}
