// The plain rows that enrich keeps; everything it knows is in them.

import Bytes

/// A user, found by the hash of the record's key. Its tail holds `history` entries, oldest first.
struct UserRow: BitwiseCopyable {
    /// Impressions whose label went out, and how many of them were clicked.
    var impressions: Int64
    var clicks: Int64
    /// Tells this user from an earlier one in the same row.
    var generation: UInt32
    var historyCount: UInt32
}

/// One clicked item in a user's history; stale where the item was evicted since.
struct HistoryEntry: BitwiseCopyable {
    var item: UInt32
    var generation: UInt32
}

/// An item in somebody's history, named by its id.
struct ItemRow: BitwiseCopyable {
    /// Tells this item from an earlier one in the same row.
    var generation: UInt32
    /// How many history entries point here; nobody keeps an item at 0.
    var references: UInt32
}

/// How far an impression has come.
enum Stage: UInt8, BitwiseCopyable {
    /// Its label is not out.
    case open
    /// Its label went out with 0; a click would correct it.
    case labeled
    /// Its label went out, and it was clicked; conversions may come.
    case clicked
}

/// An open impression: 64 bytes, found by its id. Its name is its id and, behind it, its item's.
struct OpenImpression: BitwiseCopyable {
    var time: Int64
    /// When its stage ends.
    var due: Int64
    /// Log order; unique.
    var sequence: UInt64
    /// `MatchValue` of request and item, and of slate and item; 0: none.
    var requestAlias: UInt64
    var slateAlias: UInt64
    var clickTime: Int64
    var user: UInt32
    var userGeneration: UInt32
    var domain: UInt16
    /// How many bytes of the name are the impression's id.
    var idBytes: UInt16
    var stage: Stage
    var isClicked: UInt8
    var isConverted: UInt8
    var unused: UInt8
}

/// A type and an id that were seen, found by the hash of both.
struct SeenEvent: BitwiseCopyable {
    /// The partition's newest time when it came.
    var time: Int64
}

/// A click or conversion whose impression (or whose click) has not come.
struct WaitingEvent: BitwiseCopyable {
    var time: Int64
    /// When it stops waiting.
    var due: Int64
    var sequence: UInt64
    /// `MatchValue` of the impression's id, or of request and item.
    var primary: UInt64
    /// `MatchValue` of slate and item; 0: none.
    var slate: UInt64
    var domain: UInt32
    var isConversion: UInt32
}

/// A query text that a domain-log partition knows, found by the hash of both.
struct SeenQuery: BitwiseCopyable {
    /// How often it was seen since its text was sent.
    var timesSeen: UInt64
}

/// A domain, named; rows are never removed, so their order is that of their first events.
struct DomainRow: BitwiseCopyable {
    /// Counts since the last tick.
    var duplicates: UInt32
    var orphans: UInt32
    var late: UInt32
    var dead: UInt32
}

/// The partition's clock and totals.
struct PartitionTotals: BitwiseCopyable {
    /// 0 before the first event.
    var hasTime: Int64 = 0
    var newestTime: Int64 = 0
    /// Number of the publish period of the last tick.
    var period: Int64 = 0
    /// Records of domain-log since the last tick.
    var unpublished: Int64 = 0
    var nextSequence: UInt64 = 1
    var nextGeneration: UInt64 = 1
    var counts = EnrichCounts()
}

/// What became of everything that came in; each line is one of used, duplicate, orphan, dead letter,
/// or still waiting.
public struct EnrichCounts: BitwiseCopyable, Equatable, Sendable {
    public var lines: Int64 = 0
    public var used: Int64 = 0
    public var duplicates: Int64 = 0
    public var orphans: Int64 = 0
    public var deadLetters: Int64 = 0
    public var late: Int64 = 0
    /// Fields that the contract does not know; ignored.
    public var unknownFields: Int64 = 0
    public var ticks: Int64 = 0
    public var impressions: Int64 = 0
    public var clicks: Int64 = 0
    public var conversions: Int64 = 0
    public var judgments: Int64 = 0
    /// Labels of the task click, revision 0.
    public var labels: Int64 = 0
    public var corrections: Int64 = 0
    /// Rows that made room.
    public var evictedImpressions: Int64 = 0
    public var evictedUsers: Int64 = 0
    public var evictedItems: Int64 = 0
    public var evictedQueries: Int64 = 0
    public var evictedDuplicates: Int64 = 0
    public var evictedWaiting: Int64 = 0
}

/// 64-bit values by which impressions and what waits for them find each other; never 0.
enum MatchValue {
    static func impression(_ id: ByteSlice) -> UInt64 {
        nonzero(Hash128(id, seed: 0x1D).low)
    }

    static func request(_ request: ByteSlice, _ item: ByteSlice) -> UInt64 {
        pair(request, item, seed: 0x4E)
    }

    static func slate(_ slate: ByteSlice, _ item: ByteSlice) -> UInt64 {
        pair(slate, item, seed: 0x51)
    }

    private static func pair(_ a: ByteSlice, _ b: ByteSlice, seed: UInt64) -> UInt64 {
        nonzero(Hash128(a, seed: seed).combined(with: Hash128(b, seed: seed)).low)
    }

    /// The same value, apart by what is looked for.
    static func marked(_ value: UInt64, _ mark: UInt64) -> UInt64 {
        nonzero(Hash128(value, mark).low)
    }

    private static func nonzero(_ value: UInt64) -> UInt64 { value == 0 ? 1 : value }
}
