// domain-log: everything finetune follows from, and the order in which it happened.
//
// `time_ms` is common to all kinds. `source` and `ordinal` are enrich's: the partition of `events`
// and the place there.

import Bytes
import JSON

@frozen
public enum DomainLogKind: UInt8, CaseIterable, Sendable {
    case impression, label, judgment, item, text, prior, release, settings, tick

    public var word: StaticString {
        switch self {
        case .impression: "impression"
        case .label: "label"
        case .judgment: "judgment"
        case .item: "item"
        case .text: "text"
        case .prior: "prior"
        case .release: "release"
        case .settings: "settings"
        case .tick: "tick"
        }
    }
}

/// One item shown once, with what is known of the user at that moment.
@frozen
public struct Impression: BitwiseCopyable {
    public var time_ms: Int64 = 0
    public var source: Int = 0
    public var ordinal: Int64 = 0
    public var impression_id: ByteSlice = .empty
    public var domain: ByteSlice = .empty
    public var item_id: ByteSlice = .empty
    public var request_id: ByteSlice?
    /// Keyed hash of the user's (else the session's) id.
    public var user: UInt64 = 0
    /// `TextHash` of the query.
    public var query: UInt64?
    public var position: Int?
    public var propensity: Double?
    public var policy: ByteSlice?
    /// Matured impressions and clicks of the user over all domains.
    public var user_impressions: Double = 0
    public var user_clicks: Double = 0
    /// The user's last clicked items, newest last.
    public var history: BorrowedList<ByteSlice> = BorrowedList()
    /// The event's `user`; named so because `user` is the hash here.
    public var user_attributes: BorrowedList<NamedScalar> = BorrowedList()
    public var context: BorrowedList<NamedScalar> = BorrowedList()

    public init() {}
}

/// What became of an impression.
@frozen
public struct Label: BitwiseCopyable {
    public var time_ms: Int64 = 0
    public var source: Int = 0
    public var ordinal: Int64 = 0
    public var impression_id: ByteSlice = .empty
    public var domain: ByteSlice = .empty
    public var task: Task = .click
    /// 0 or 1.
    public var value: Int = 0
    /// 0 when the window closed; 1 for a correction.
    public var revision: Int = 0
    public var click_time_ms: Int64?

    public init() {}
}

/// How well an item answers a query, as a person or a model judged it.
@frozen
public struct Judgment: BitwiseCopyable {
    public var time_ms: Int64 = 0
    public var source: Int = 0
    public var ordinal: Int64 = 0
    public var domain: ByteSlice = .empty
    /// `TextHash` of the query.
    public var query: UInt64 = 0
    public var item_id: ByteSlice = .empty
    /// 0…1
    public var grade: Double = 0

    public init() {}
}

/// The catalog's record of an item, or its end.
///
/// On the wire the catalog's fields stand beside `kind: item`; its own `kind` is called
/// `item_kind`.
@frozen
public struct Item: BitwiseCopyable {
    /// Of a deleted item only `item_id` and `time_ms` count.
    public var record: CatalogItem
    public var deleted: Bool
    /// Of the item's text; nil where it has none or none yet.
    public var vector: TextVector?

    public init(_ record: CatalogItem, deleted: Bool = false, vector: TextVector? = nil) {
        self.record = record
        self.deleted = deleted
        self.vector = vector
    }
}

/// A text that later records name by its hash; it comes again with its vector.
@frozen
public struct Text: BitwiseCopyable {
    public var time_ms: Int64 = 0
    public var hash: UInt64 = 0
    public var text: ByteSlice = .empty
    /// nil where it is not known yet.
    public var vector: TextVector?

    public init() {}
}

@frozen
public struct PriorItem: BitwiseCopyable {
    public var item_id: ByteSlice
    public var impressions: Double
    public var clicks: Double
    /// Sum of what the content part of the head predicted for these impressions; 0 where not said.
    public var expected: Double
    /// Sum of the part of those logits that came from the item's content; 0 where not said.
    public var content: Double

    public init(
        item_id: ByteSlice, impressions: Double, clicks: Double, expected: Double = 0,
        content: Double = 0
    ) {
        self.item_id = item_id
        self.impressions = impressions
        self.clicks = clicks
        self.expected = expected
        self.content = content
    }
}

@frozen
public struct NamedWeights: BitwiseCopyable {
    public var name: ByteSlice
    public var values: BorrowedList<Double>

    public init(name: ByteSlice, values: BorrowedList<Double>) {
        self.name = name
        self.values = values
    }
}

/// What another domain-log partition has learned since its last set: one block of a set.
@frozen
public struct Prior: BitwiseCopyable {
    public var time_ms: Int64 = 0
    /// The domain-log partition that tells.
    public var sender: Int = 0
    /// The range of the sender's ordinals that the set covers.
    public var first_ordinal: Int64 = 0
    public var last_ordinal: Int64 = 0
    /// From 0; the set is complete with block `blocks` - 1.
    public var block: Int = 0
    public var blocks: Int = 1
    public var items: BorrowedList<PriorItem> = BorrowedList()
    /// These four only in the last block.
    public var impressions: Double?
    public var clicks: Double?
    /// In byte order of their names; empty where the sender has none.
    public var weights: BorrowedList<NamedWeights> = BorrowedList()
    public var examples: Double?

    public init() {}
}

/// A pretrained foundation takes part from here on.
@frozen
public struct Release: BitwiseCopyable {
    public var time_ms: Int64 = 0
    public var hash: ByteSlice = .empty
    /// By domain-log partition: up to which ordinal its examples were trained on.
    public var ordinals: BorrowedList<Int64> = BorrowedList()

    public init() {}
}

/// The settings that finetune's step uses from here on.
@frozen
public struct SettingsRecord: BitwiseCopyable {
    public var time_ms: Int64 = 0
    /// SHA-256 of the canonical bytes of `settings`, 64 hexadecimal digits.
    public var hash: ByteSlice = .empty
    /// A JSON object in canonical bytes.
    public var settings: ByteSlice = .empty

    public init() {}
}

/// What enrich counted for one domain since its last tick in this partition.
@frozen
public struct TickCounts: BitwiseCopyable {
    /// `-` counts what could not be told to belong to a domain.
    public var domain: ByteSlice
    public var duplicates: Int
    public var orphans: Int
    public var late: Int
    public var dead: Int

    public init(
        domain: ByteSlice, duplicates: Int = 0, orphans: Int = 0, late: Int = 0, dead: Int = 0
    ) {
        self.domain = domain
        self.duplicates = duplicates
        self.orphans = orphans
        self.late = late
        self.dead = dead
    }
}

/// How far event time has come in one partition of `events`.
@frozen
public struct Tick: BitwiseCopyable {
    public var time_ms: Int64 = 0
    public var source: Int = 0
    public var ordinal: Int64 = 0
    /// In byte order of the domains' names; domains with nothing to count are left out.
    public var domains: BorrowedList<TickCounts> = BorrowedList()
    /// The batch ends: settle everything, move neither time nor decay.
    public var close: Bool = false

    public init() {}
}
