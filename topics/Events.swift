// events: what happened, as apps send it.

import Bytes
import JSON

@frozen
public enum EventType: UInt8, CaseIterable, Sendable {
    case impression, click, conversion, judgment, tick

    public var word: StaticString {
        switch self {
        case .impression: "impression"
        case .click: "click"
        case .conversion: "conversion"
        case .judgment: "judgment"
        case .tick: "tick"
        }
    }
}

/// One place of a slate.
@frozen
public struct SlateItem: BitwiseCopyable {
    public var item_id: ByteSlice
    /// 1-based; the place in the list where the record does not say.
    public var position: Int
    public var propensity: Double?

    public init(item_id: ByteSlice, position: Int, propensity: Double? = nil) {
        self.item_id = item_id
        self.position = position
        self.propensity = propensity
    }
}

/// One record of `events`; every field as in the contract, absent optional fields nil or empty.
///
/// Read by `EventReader`, the slices and lists live until its next `read`.
@frozen
public struct Event: BitwiseCopyable {
    public var type: EventType
    /// The record's own id; where it has none, 32 hexadecimal digits of the hash of its bytes.
    public var id: ByteSlice
    /// Whether `id` was made from the bytes; then it is not written again.
    public var isIDDerived: Bool
    public var time_ms: Int64
    /// Empty for a tick.
    public var domain: ByteSlice
    public var user_id: ByteSlice?
    public var session_id: ByteSlice?
    public var request_id: ByteSlice?
    public var impression_id: ByteSlice?
    public var item_id: ByteSlice?
    /// A slate's items in the order of the record; empty for any other event.
    public var items: BorrowedList<SlateItem>
    public var position: Int?
    /// Text; an empty one counts as absent.
    public var query: ByteSlice?
    public var propensity: Double?
    public var policy: ByteSlice?
    public var value: Double?
    public var currency: ByteSlice?
    public var grade: Double?
    public var user: BorrowedList<NamedScalar>
    public var context: BorrowedList<NamedScalar>
    /// A tick that ends a batch.
    public var close: Bool
    /// How many fields of the record are not in the contract.
    public var unknownFields: Int

    public init(
        type: EventType = .impression, id: ByteSlice = .empty, time_ms: Int64 = 0,
        domain: ByteSlice = .empty
    ) {
        self.type = type
        self.id = id
        isIDDerived = id.isEmpty
        self.time_ms = time_ms
        self.domain = domain
        user_id = nil
        session_id = nil
        request_id = nil
        impression_id = nil
        item_id = nil
        items = BorrowedList()
        position = nil
        query = nil
        propensity = nil
        policy = nil
        value = nil
        currency = nil
        grade = nil
        user = BorrowedList()
        context = BorrowedList()
        close = false
        unknownFields = 0
    }

    /// The header that only the fleet's own ticks carry; its value is the fleet's name.
    public static let tickHeaderName = "coldstream-tick"

    /// What the record's key must be: the user, else the session; nil for a tick.
    @inlinable public var key: ByteSlice? { user_id ?? session_id }

    /// Writes the record as canonical JSON.
    public func append(to buffer: inout ByteBuffer) {
        buffer.openRecord()
        if close { buffer.member("close", true) }
        buffer.member("context", context)
        buffer.member("currency", currency)
        if type != .tick { buffer.member("domain", domain) }
        buffer.member("grade", grade)
        if !isIDDerived { buffer.member("id", id) }
        buffer.member("impression_id", impression_id)
        buffer.member("item_id", item_id)
        if !items.isEmpty {
            buffer.name("items")
            buffer.openArray()
            for item in items {
                buffer.openObject()
                buffer.member("item_id", item.item_id)
                buffer.member("position", item.position)
                buffer.member("propensity", item.propensity)
                buffer.closeObject()
            }
            buffer.closeArray()
        }
        buffer.member("policy", policy)
        buffer.member("position", position)
        buffer.member("propensity", propensity)
        buffer.member("query", query)
        buffer.member("request_id", request_id)
        buffer.member("session_id", session_id)
        buffer.member("time_ms", time_ms)
        buffer.member("type", type.word)
        buffer.member("user", user)
        buffer.member("user_id", user_id)
        buffer.member("value", value)
        buffer.closeObject()
    }
}
