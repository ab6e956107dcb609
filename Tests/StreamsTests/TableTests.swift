// Table, pages and blocks against plain models, through every road a checkpoint can take.

import Bytes
import Testing

@testable import Streams

/// What a table should hold, said in the simplest way.
private struct Model {
    struct Row: Equatable {
        var number: UInt32
        var key: Hash128
        var name: [UInt8]
        var value: UInt64
        var tail: UInt64
    }

    /// Oldest first.
    var rows: [Row] = []

    func lowestFree() -> UInt32 {
        let used = Set(rows.map(\.number))
        return (0...UInt32.max).first { !used.contains($0) }!
    }
}

private func contents(_ table: some StateTable) -> [UInt32: [UInt8]] {
    var rows: [UInt32: [UInt8]] = [:]
    table.forEachRow { row, bytes in rows[row] = bytes.copy() }
    return rows
}

@Suite struct TableTests {
    struct Layout: CustomTestStringConvertible, Sendable {
        var maximumRows: Int
        var tailBytes: Int
        var isNamed: Bool
        var initialRows: Int
        var testDescription: String {
            "\(maximumRows) rows, tail \(tailBytes), named \(isNamed), begun with \(initialRows)"
        }
    }

    static let layouts = [
        Layout(maximumRows: 1, tailBytes: 0, isNamed: false, initialRows: 64),
        Layout(maximumRows: 40, tailBytes: 0, isNamed: false, initialRows: 1),
        Layout(maximumRows: 300, tailBytes: 8, isNamed: true, initialRows: 64),
        Layout(maximumRows: 5_000, tailBytes: 20, isNamed: true, initialRows: 0),
        Layout(maximumRows: 5_000, tailBytes: 16, isNamed: false, initialRows: 5_000),
    ]

    private func make(_ layout: Layout) -> Table<UInt64> {
        Table(
            "table", maximumRows: layout.maximumRows, tailBytes: layout.tailBytes,
            isNamed: layout.isNamed, initialRows: layout.initialRows)
    }

    private func check(_ table: Table<UInt64>, _ model: Model, _ comment: Comment) {
        #expect(table.liveRows == model.rows.count, comment)
        var row = table.oldest
        for expected in model.rows {
            guard let at = row, at == expected.number, table.key(at) == expected.key,
                table.find(expected.key) == at, table[at].pointee == expected.value,
                !table.isNamed || table.name(at).copy() == expected.name,
                table.tailBytes == 0 || table.tail(at, as: UInt64.self).pointee == expected.tail
            else {
                Issue.record("row \(String(describing: row)) is not \(expected), \(comment)")
                return
            }
            row = table.newer(than: at)
        }
        #expect(row == nil, comment)
    }

    @Test(arguments: layouts)
    func `a table does what a plain list of rows does, whatever happens`(layout: Layout) throws {
        var random = SplitMix64(seed: 11)
        var table = make(layout)
        var model = Model()
        var nextKey: UInt64 = 0
        /// The newest record of every row key, as a compacted topic keeps them.
        var topic: [UInt32: [UInt8]?] = [:]
        func checkpoint(_ table: Table<UInt64>) {
            table.takeChangedRows { row, bytes in topic[row] = bytes?.copy() }
        }
        for i in 0..<8_000 {
            let at = model.rows.isEmpty ? 0 : random.below(model.rows.count)
            switch random.below(100) {
            case 0..<55:
                if table.isFull {
                    #expect(model.rows.count == layout.maximumRows)
                    #expect(table.oldest == model.rows[0].number)
                    table.remove(table.oldest!)
                    model.rows.removeFirst()
                }
                // Few different low bits, so that the index has long runs.
                let key = Hash128(high: nextKey, low: nextKey % 37 &* 0x10001)
                nextKey += 1
                let name = Array("name \(nextKey)".utf8.prefix(random.below(12)))
                let row = name.lend { table.insert(key, name: $0) }
                if i % 50 == 0 { #expect(row == model.lowestFree()) }
                #expect(table[row].pointee == 0)
                table[row].pointee = nextKey
                if table.tailBytes > 0 { table.tail(row, as: UInt64.self).pointee = ~nextKey }
                model.rows.append(
                    .init(
                        number: row, key: key, name: layout.isNamed ? name : [], value: nextKey,
                        tail: table.tailBytes > 0 ? ~nextKey : 0))
            case 55..<75 where !model.rows.isEmpty:
                table.remove(model.rows[at].number)
                #expect(table.find(model.rows[at].key) == nil)
                model.rows.remove(at: at)
            case 75..<85 where !model.rows.isEmpty:
                table.touch(model.rows[at].number)
                model.rows.append(model.rows.remove(at: at))
            case 85..<96 where !model.rows.isEmpty:
                model.rows[at].value = random.next()
                table[model.rows[at].number].pointee = model.rows[at].value
                table.markChanged(model.rows[at].number)
            case 96:
                checkpoint(table)
            case 97 where i % 7 == 0:
                checkpoint(table)
                let restored = make(layout)
                for row in topic.keys.shuffled(using: &random) {
                    try (topic[row]! ?? nil).map {
                        try $0.lend { try restored.restoreRow(row, $0) }
                    }
                }
                #expect(restored.savedHash == table.savedHash)
                restored.finishRestore(sequence: table.sequence)
                #expect(contents(restored) == contents(table))
                table = restored
            default: break
            }
            if i % 211 == 0 { check(table, model, "operation \(i)") }
        }
        check(table, model, "at the end")
    }

    @Test func `a row restored over another one leaves no trace of it`() throws {
        let table = Table<UInt64>("t", maximumRows: 10, isNamed: true)
        let other = Table<UInt64>("t", maximumRows: 10, isNamed: true)
        _ = "old".lend { table.insert(Hash128(1, 1), name: $0) }
        _ = "a longer name".lend { other.insert(Hash128(2, 2), name: $0) }
        table.takeChangedRows { _, _ in }
        var row: [UInt8] = []
        other.takeChangedRows { row = $1!.copy() }
        try row.lend { try table.restoreRow(0, $0) }
        table.finishRestore(sequence: other.sequence)
        #expect(contents(table) == contents(other))
        #expect(table.savedHash == other.savedHash)
        #expect(table.find(Hash128(1, 1)) == nil)
        try table.restoreRow(0, nil)
        #expect(table.liveRows == 0 && table.savedHash == 0)
    }

    @Test func `ages go on where they were, even when the newest row was removed`() throws {
        let table = Table<UInt64>("t", maximumRows: 10)
        let first = table.insert(Hash128(1, 0))
        let second = table.insert(Hash128(2, 0))
        table.remove(second)
        var rows: [UInt32: [UInt8]] = [:]
        table.takeChangedRows { if let bytes = $1 { rows[$0] = bytes.copy() } }
        let restored = Table<UInt64>("t", maximumRows: 10)
        for (row, bytes) in rows { try bytes.lend { try restored.restoreRow(row, $0) } }
        restored.finishRestore(sequence: table.sequence)
        for table in [table, restored] {
            table.touch(first)
            _ = table.insert(Hash128(3, 0))
        }
        #expect(contents(table) == contents(restored))
    }

    @Test func `words of zeros at the end of a row are not written, and come back`() throws {
        for used in 0...4 {
            let table = Table<UInt64>("t", maximumRows: 10, tailBytes: 24, isNamed: true)
            let row = "name".lend { table.insert(Hash128(1, 1), name: $0) }
            if used > 0 { table[row].pointee = 1 }
            for i in 0..<max(0, used - 1) { table.tail(row, as: UInt64.self)[i] = UInt64(1) << 63 }
            var written: [UInt8] = []
            table.takeChangedRows { written = $1!.copy() }
            #expect(written.count == 28 + 4 + 8 * used)
            let restored = Table<UInt64>("t", maximumRows: 10, tailBytes: 24, isNamed: true)
            try written.lend { try restored.restoreRow(0, $0) }
            #expect(restored.savedHash == table.savedHash)
            restored.finishRestore(sequence: table.sequence)
            #expect(contents(restored) == contents(table))
            let zeros = written + [UInt8](repeating: 0, count: 8)
            if used < 3 {
                #expect(throws: StateError.self, "a row that nobody would write so") {
                    try zeros.lend { try restored.restoreRow(0, $0) }
                }
            }
        }
    }

    @Test func `a row that was never written leaves no tombstone, one that was leaves one`() {
        let table = Table<UInt64>("t", maximumRows: 10)
        var written: [(row: UInt32, isTombstone: Bool)] = []
        func checkpoint() {
            written = []
            table.takeChangedRows { written.append(($0, $1 == nil)) }
        }
        table.remove(table.insert(Hash128(1, 1)))
        checkpoint()
        #expect(written.isEmpty)
        let row = table.insert(Hash128(2, 2))
        checkpoint()
        #expect(written.map(\.isTombstone) == [false])
        table.remove(row)
        checkpoint()
        #expect(written.map(\.isTombstone) == [true] && table.savedHash == 0)
        checkpoint()
        #expect(written.isEmpty)
    }

    @Test func `a row of any other length is refused with a sentence`() throws {
        let table = Table<UInt64>("users", maximumRows: 10, tailBytes: 8, isNamed: true)
        _ = "name".lend { table.insert(Hash128(1, 1), name: $0) }
        var row: [UInt8] = []
        table.takeChangedRows { row = $1!.copy() }
        for length in 0..<row.count {
            let error = #expect(throws: StateError.self) {
                try Array(row[..<length]).lend { try make().restoreRow(0, $0) }
            }
            #expect(error?.description.contains("users") == true)
        }
        #expect(throws: StateError.self) { try (row + [0]).lend { try make().restoreRow(0, $0) } }
        #expect(throws: StateError.self) { try row.lend { try make().restoreRow(10, $0) } }
        #expect(throws: StateError.self, "a name for a table without names") {
            try row.lend { try Table<UInt64>("t", maximumRows: 9, tailBytes: 8).restoreRow(0, $0) }
        }
        func make() -> Table<UInt64> {
            Table<UInt64>("users", maximumRows: 10, tailBytes: 8, isNamed: true)
        }
    }

    @Test func `allocated bytes are what the rows and names take`() {
        let table = Table<UInt64>("t", maximumRows: 100_000, isNamed: true, initialRows: 100_000)
        let empty = table.allocatedBytes
        #expect(empty >= 100_000 * (8 + 48 + 4 + 8) + 262_144 * 4)
        #expect(empty < 100_000 * (8 + 48 + 4 + 8 + 1) + 262_144 * 4)
        for i in 0..<1_000 {
            _ = "0123456789".lend { table.insert(Hash128(UInt64(i), 0), name: $0) }
        }
        #expect(table.allocatedBytes == empty + 1_000 * 32)
        while let row = table.oldest { table.remove(row) }
        #expect(table.allocatedBytes == empty)
    }

    @Test func `padding in a row is found`() {
        struct Padded: BitwiseCopyable {
            var a: UInt8
            var b: UInt64
        }
        struct Full: BitwiseCopyable {
            var a: SIMD4<Float>
            var b: UInt64
            var c: (UInt32, UInt16, UInt8, Bool)
            var d: Hash128
            var e: (Double, Double)
        }
        #expect(paddingBytes(Padded.self) == 7)
        #expect(paddingBytes(Full.self) == 0)
        #expect(paddingBytes(Int64?.self) == 7)
        #expect(paddingBytes((UInt32, UInt32).self) == 0)
        #expect(paddingBytes(UInt8.self) == 0)
    }
}

@Suite struct BlocksTests {
    @Test func `a block is written once for each change and comes back`() throws {
        let block = Block("clock", (UInt64(1), Int64(2)))
        var written = 0
        block.takeChangedRows { _, _ in written += 1 }
        block.takeChangedRows { _, _ in written += 1 }
        #expect(written == 1)
        block.value.pointee.1 = 7
        var row: [UInt8] = []
        block.takeChangedRows { row = $1!.copy() }
        let restored = Block("clock", (UInt64(0), Int64(0)))
        try row.lend { try restored.restoreRow(0, $0) }
        #expect(restored.value.pointee == (1, 7) && restored.savedHash == block.savedHash)
        for length in 0..<row.count {
            #expect(throws: StateError.self) {
                try Array(row[..<length]).lend { try restored.restoreRow(0, $0) }
            }
        }
        #expect(throws: StateError.self) { try restored.restoreRow(0, nil) }
        #expect(throws: StateError.self) { try row.lend { try restored.restoreRow(1, $0) } }
    }

    @Test func `pages write what was marked, once, and come back`() throws {
        let pages = Pages<Float>("weights", count: 1_000, elementsPerPage: 64, initial: 0.5)
        #expect(pages.liveRows == 0)
        for index in [0, 1, 63, 64, 999] {
            pages.elements[index] = Float(index)
            pages.markChanged(index)
        }
        var topic: [UInt32: [UInt8]] = [:]
        var order: [UInt32] = []
        pages.takeChangedRows {
            order.append($0)
            topic[$0] = $1!.copy()
        }
        #expect(order == [0, 1, 15])
        #expect(pages.changedBytes == 0)
        let restored = Pages<Float>("weights", count: 1_000, elementsPerPage: 64, initial: 0.5)
        for (row, bytes) in topic { try bytes.lend { try restored.restoreRow(row, $0) } }
        #expect(restored.savedHash == pages.savedHash)
        #expect((0..<1_000).allSatisfy { restored.elements[$0] == pages.elements[$0] })
        #expect(contents(restored) == contents(pages))
        #expect(throws: StateError.self) { try topic[0]!.lend { try restored.restoreRow(16, $0) } }
    }
}

@Suite struct LowestFreeRowTests {
    @Test(arguments: [1, 63, 64, 65, 4_095, 4_096, 4_097, 300_000])
    func `the lowest free row is given, at any size`(rows: Int) {
        var free = LowestFreeRow()
        free.grow(to: rows)
        for row in 0..<rows { #expect(free.take() == UInt32(row) || row % 1_000 != 0) }
        for row in [rows - 1, rows / 2, 0, rows / 3] { free.give(UInt32(row)) }
        for row in Set([0, rows / 3, rows / 2, rows - 1]).sorted() {
            #expect(free.take() == UInt32(row))
        }
    }

    @Test func `growing and taking given rows agree with a set`() {
        var random = SplitMix64(seed: 5)
        var free = LowestFreeRow()
        var model: Set<UInt32> = []
        var rows = 0
        for _ in 0..<200 {
            let more = random.below(300)
            free.grow(to: rows + more)
            for row in rows..<rows + more { model.insert(UInt32(row)) }
            rows += more
            for _ in 0..<100 where !model.isEmpty {
                switch random.below(3) {
                case 0:
                    let row = free.take()
                    #expect(row == model.min())
                    model.remove(row)
                case 1:
                    let row = UInt32(random.below(rows))
                    if model.remove(row) != nil { free.take(row) }
                default:
                    let row = UInt32(random.below(rows))
                    if model.insert(row).inserted { free.give(row) }
                }
            }
        }
    }
}
