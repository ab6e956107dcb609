// Reads records of `catalog`, and the catalog's fields inside `item` records of domain-log.

import Bytes
import JSON

/// Turns the bytes of a record into a `CatalogItem`, or says in a sentence why it cannot.
///
/// One reader a thread, reused; the item and its slices live until the next `read`, and no longer
/// than the reader. A tombstone has no bytes to read: the caller sees it first.
public final class CatalogReader {
    private let parser = JSONParser(maximumDepth: Limit.depth, maximumBytes: Limit.recordBytes)
    private let state: UnsafeMutablePointer<CatalogReading>

    public init() {
        state = .allocate(capacity: 1)
        state.initialize(to: CatalogReading())
    }

    deinit {
        state.deinitialize(count: 1)
        state.deallocate()
    }

    /// What the last successful `read` found.
    public var item: CatalogItem { state.pointee.item }

    /// - Throws: why the record is a dead letter; `item` must not be used then.
    public func read(_ value: ByteSlice) throws(ContractError) {
        let root: JSONView
        do throws(JSONError) { root = try parser.parse(value) } catch { throw ContractError(error) }
        guard root.isObject else { throw .notAnObject(root) }
        state.pointee.start()
        for (name, value) in root.members where !value.isNull {
            if name.equals("kind") {
                try state.pointee.readKind(value, "kind")
            } else {
                try state.pointee.read(name, value)
            }
        }
        try state.pointee.finish()
    }
}

/// The reused memory for one catalog record.
struct CatalogReading: ~Copyable {
    private(set) var item = CatalogItem()
    private var tags = ReusedList<ByteSlice>()
    private var domains = ReusedList<ByteSlice>()
    private var attributes = ReusedList<Attribute>(capacity: Limit.attributes)
    private var values = ReusedList<Scalar>()
    /// Where the values of each attribute begin in `values`, until all of them are there.
    private var starts = ReusedList<Int>(capacity: Limit.attributes + 1)
    private var hasTime = false
    private var hasTitle = false

    mutating func start() {
        item = CatalogItem()
        tags.removeAll()
        domains.removeAll()
        attributes.removeAll()
        values.removeAll()
        starts.removeAll()
        hasTime = false
        hasTitle = false
    }

    /// Reads one member that is not null and not the kind.
    mutating func read(_ name: ByteSlice, _ value: JSONView) throws(ContractError) {
        if name.equals("item_id") {
            item.item_id = try value.id(Place("item_id"))
        } else if name.equals("time_ms") {
            item.time_ms = try value.time(Place("time_ms"))
            hasTime = true
        } else if name.equals("title") {
            item.title = try value.text(Place("title"))
            hasTitle = true
        } else if name.equals("description") {
            item.description = try value.text(Place("description"))
        } else if name.equals("tags") {
            item.tags = try CatalogReading.readTexts(value, "tags", into: &tags)
        } else if name.equals("language") {
            item.language = try value.id(Place("language"))
        } else if name.equals("attributes") {
            try readAttributes(value)
        } else if name.equals("domains") {
            try readDomains(value)
        } else if name.equals("available") {
            item.available = try value.truth(Place("available"))
        } else if name.equals("published_ms") {
            item.published_ms = try value.time(Place("published_ms"))
        } else {
            item.unknownFields += 1
        }
    }

    /// Reads the item's kind, which the field `field` holds.
    mutating func readKind(_ value: JSONView, _ field: StaticString) throws(ContractError) {
        let word = try value.text(Place(field))
        guard word.equals("item") || word.equals("query") else {
            throw value.wrongValue(Place(field), "item or query")
        }
        item.kind = word.equals("item") ? .item : .query
    }

    mutating func finish() throws(ContractError) {
        if item.item_id.isEmpty { throw .missing("/item_id", in: "every item") }
        guard hasTime else { throw .missing("/time_ms", in: "every item") }
        guard hasTitle else { throw .missing("/title", in: "every item") }
    }

    /// As `finish`, for an item that is gone.
    func finishDeleted() throws(ContractError) {
        if item.item_id.isEmpty { throw .missing("/item_id", in: "every item") }
        guard hasTime else { throw .missing("/time_ms", in: "every item") }
    }

    static func readTexts(
        _ list: JSONView, _ field: StaticString, into texts: inout ReusedList<ByteSlice>
    ) throws(ContractError) -> BorrowedList<ByteSlice> {
        guard list.isArray else { throw list.wrongType(Place(field), "a list of texts") }
        texts.removeAll()
        var index = 0
        for element in list.elements {
            texts.append(try element.id(Place(field, index, "")))
            index += 1
        }
        return texts.list
    }

    private mutating func readDomains(_ list: JSONView) throws(ContractError) {
        guard list.isArray else { throw list.wrongType(Place("domains"), "a list of domains") }
        var index = 0
        for element in list.elements {
            domains.append(try element.domain(Place("domains", index, "")))
            index += 1
        }
        item.domains = domains.list
    }

    private mutating func readAttributes(_ object: JSONView) throws(ContractError) {
        guard object.isObject else {
            throw object.wrongType(Place("attributes"), "an object of scalars and lists of scalars")
        }
        for (name, value) in object.members where !value.isNull {
            guard name.count >= 1 && name.count <= Limit.idBytes else {
                throw ContractError(
                    .out_of_range, path: "/attributes",
                    "/attributes holds a name of \(name.count) bytes; names have 1 to \(Limit.idBytes)."
                )
            }
            guard attributes.count < Limit.attributes else {
                throw ContractError(
                    .too_many_values, path: "/attributes",
                    "/attributes holds \(object.count) values; \(Limit.attributes) are allowed.")
            }
            starts.append(values.count)
            attributes.append(Attribute(name: name, isList: value.isArray, values: BorrowedList()))
            guard value.isArray else {
                values.append(try value.scalar(Place("attributes", name: name)))
                continue
            }
            var index = 0
            for element in value.elements {
                values.append(try element.scalar(Place("attributes", name: name, index)))
                index += 1
            }
        }
        starts.append(values.count)
        for i in 0..<attributes.count {
            attributes[i].values = values.list(starts[i], starts[i + 1])
            attributes.settle(i, by: \.name)
        }
        item.attributes = attributes.list
    }
}
