// The catalog of a simulation as its records.

import Bytes
import Contracts

/// Writes the lines of `catalog.jsonl`, ordered by time: an item when it is published, and once more,
/// unavailable, when it leaves the shelves.
struct CatalogLines {
    private enum Change: Int { case published, withdrawn }

    private let world: World
    private let changes: [(time: Int64, item: Int, change: Change)]

    init(_ world: World) {
        self.world = world
        let start = world.settings.startMilliseconds
        var changes: [(time: Int64, item: Int, change: Change)] = []
        for (i, item) in world.items.enumerated() {
            changes.append((start + Int64((item.published * 1_000).rounded(.down)), i, .published))
            if item.withdrawn < Double(world.settings.seconds) {
                changes.append((start + Int64(item.withdrawn * 1_000), i, .withdrawn))
            }
        }
        self.changes = changes.sorted {
            ($0.time, $0.item, $0.change.rawValue) < ($1.time, $1.item, $1.change.rawValue)
        }
    }

    /// Calls `body` with each line, without a newline; the bytes live until it returns.
    func forEach<E: Error>(_ body: (ByteSlice) throws(E) -> Void) throws(E) {
        var scratch = Scratch()
        var line = ByteBuffer()
        for (time, i, change) in changes {
            scratch.removeAll()
            line.removeAll()
            write(i, at: time, available: change == .published, &scratch, &line)
            try body(line.slice)
        }
    }

    private func write(
        _ i: Int, at time: Int64, available: Bool, _ scratch: inout Scratch,
        _ line: inout ByteBuffer
    ) {
        let item = world.items[i]
        let text = world.texts[i]
        var record = CatalogItem(
            item_id: scratch.text(item.shelf.prefix, i), time_ms: time,
            title: scratch.text(text.title))
        record.description = scratch.text(text.description)
        record.language = scratch.text("en")
        record.available = available
        record.published_ms =
            world.settings.startMilliseconds + Int64((item.published * 1_000).rounded(.down))
        let tags = text.tags.map { scratch.text($0) }
        let domains = world.domains.filter { $0.shelves.contains(item.shelf) }
            .map { scratch.text($0.name) }
        var values: [(name: ByteSlice, value: Scalar)] = []
        if let brand = item.brand {
            values.append((scratch.text("brand"), .text(scratch.text(Words.brands[brand]))))
        }
        values.append(
            (scratch.text("category"), .text(scratch.text(Subject.all[item.primarySubject].name))))
        if item.shelf == .product {
            values.append((scratch.text("price"), .number(item.price)))
        }
        values.append((scratch.text("shelf"), .text(scratch.text("\(item.shelf)"))))
        let scalars = values.map(\.value)
        scalars.withUnsafeBufferPointer { scalars in
            let attributes = values.indices.map { place in
                Attribute(
                    name: values[place].name, isList: false,
                    values: BorrowedList(scalars.baseAddress! + place, count: 1))
            }
            attributes.withUnsafeBufferPointer { attributes in
                record.attributes = BorrowedList(attributes)
                tags.lendList { tags in
                    record.tags = tags
                    domains.lendList { domains in
                        record.domains = domains
                        record.append(to: &line)
                    }
                }
            }
        }
    }
}
