// catalog: what there is to show; the newest record of an item counts, a tombstone ends it.

import Bytes
import JSON

@frozen
public enum ItemKind: UInt8, Sendable {
    case item, query

    public var word: StaticString { self == .item ? "item" : "query" }
}

/// One record of `catalog`. Read by `CatalogReader`, slices and lists live until its next `read`.
@frozen
public struct CatalogItem: BitwiseCopyable {
    public var item_id: ByteSlice
    public var time_ms: Int64
    public var kind: ItemKind
    public var title: ByteSlice
    public var description: ByteSlice?
    public var tags: BorrowedList<ByteSlice>
    public var language: ByteSlice?
    /// In byte order of their names.
    public var attributes: BorrowedList<Attribute>
    /// The domains it is for; nil means all, present and future.
    public var domains: BorrowedList<ByteSlice>?
    public var available: Bool
    public var published_ms: Int64?
    /// How many fields of the record are not in the contract.
    public var unknownFields: Int

    public init(item_id: ByteSlice = .empty, time_ms: Int64 = 0, title: ByteSlice = .empty) {
        self.item_id = item_id
        self.time_ms = time_ms
        kind = .item
        self.title = title
        description = nil
        tags = BorrowedList()
        language = nil
        attributes = BorrowedList()
        domains = nil
        available = true
        published_ms = nil
        unknownFields = 0
    }

    /// Writes the record as canonical JSON; what equals its default is left out.
    public func append(to buffer: inout ByteBuffer) {
        buffer.openRecord()
        buffer.member("attributes", attributes)
        if !available { buffer.member("available", false) }
        buffer.member("description", description)
        if let domains { buffer.member("domains", domains) }
        buffer.member("item_id", item_id)
        if kind != .item { buffer.member("kind", kind.word) }
        buffer.member("language", language)
        buffer.member("published_ms", published_ms)
        if !tags.isEmpty { buffer.member("tags", tags) }
        buffer.member("time_ms", time_ms)
        buffer.member("title", title)
        buffer.closeObject()
    }
}
