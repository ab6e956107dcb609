// domain-statistics: what has been counted in a domain so far; the newest record of a domain
// counts.

import Bytes
import JSON

/// A click rate with its half-life: decayed counts and what follows from them.
@frozen
public struct DecayedRate: BitwiseCopyable {
    public var half_life_s: Int64
    public var impressions: Double
    public var clicks: Double
    /// clicks / impressions; 0 where nothing was shown.
    public var rate: Double

    public init(half_life_s: Int64, impressions: Double, clicks: Double, rate: Double) {
        self.half_life_s = half_life_s
        self.impressions = impressions
        self.clicks = clicks
        self.rate = rate
    }
}

@frozen
public struct TopItem: BitwiseCopyable {
    public var item_id: ByteSlice
    public var count: Double

    public init(item_id: ByteSlice, count: Double) {
        self.item_id = item_id
        self.count = count
    }
}

/// How much a position is clicked, beside the reference position.
@frozen
public struct PositionRate: BitwiseCopyable {
    public var position: Int
    public var impressions: Double
    public var clicks: Double
    /// Additive, in logits; 0 at the reference position.
    public var bias: Double

    public init(position: Int, impressions: Double, clicks: Double, bias: Double) {
        self.position = position
        self.impressions = impressions
        self.clicks = clicks
        self.bias = bias
    }
}

/// One record of `domain-statistics`. Counts are whole-life unless they say otherwise.
@frozen
public struct DomainStatistics: BitwiseCopyable {
    public var domain: ByteSlice = .empty
    public var time_ms: Int64 = 0
    public var partition: Int = 0
    public var ordinal: Int64 = 0

    /// Impressions seen; `labels` of them are settled.
    public var impressions: Int64 = 0
    public var labels: Int64 = 0
    public var clicks: Int64 = 0
    public var conversions: Int64 = 0
    public var corrections: Int64 = 0
    public var judgments: Int64 = 0
    public var requests: Int64 = 0
    public var requests_clicked: Int64 = 0
    /// requests_clicked / requests (PVCTR); nil before the first request.
    public var page_rate: Double?
    /// Distinct users, estimated.
    public var users: Int64 = 0
    public var items: Int64 = 0
    /// clicks / labels; nil before the first label.
    public var ctr: Double?

    // From enrich's ticks.
    public var duplicates: Int64 = 0
    public var orphans: Int64 = 0
    public var late: Int64 = 0
    public var dead: Int64 = 0

    /// By half-life, shortest first.
    public var rates: BorrowedList<DecayedRate> = BorrowedList()
    /// The domain's empirical-Bayes prior of an item's rate: its mean, and how many impressions it
    /// weighs.
    public var prior_mean: Double = 0
    public var prior_strength: Double = 0
    /// Most shown first.
    public var top_items: BorrowedList<TopItem> = BorrowedList()
    /// By position.
    public var position: BorrowedList<PositionRate> = BorrowedList()
    /// Milliseconds from impression to click; nil before the first click.
    public var label_delay_p50_ms: Double?
    public var label_delay_p90_ms: Double?
    public var label_delay_p99_ms: Double?
    /// Distance of the recent input distribution from the older one; nil until both are known.
    public var drift: Double?

    public init() {}

    public func append(to buffer: inout ByteBuffer) {
        buffer.openRecord()
        buffer.member("clicks", clicks)
        buffer.member("conversions", conversions)
        buffer.member("corrections", corrections)
        buffer.member("ctr", orNull: ctr)
        buffer.member("dead", dead)
        buffer.member("domain", domain)
        buffer.member("drift", orNull: drift)
        buffer.member("duplicates", duplicates)
        buffer.member("impressions", impressions)
        buffer.member("items", items)
        buffer.member("judgments", judgments)
        buffer.name("label_delay_ms")
        buffer.openObject()
        buffer.member("p50", orNull: label_delay_p50_ms)
        buffer.member("p90", orNull: label_delay_p90_ms)
        buffer.member("p99", orNull: label_delay_p99_ms)
        buffer.closeObject()
        buffer.member("labels", labels)
        buffer.member("late", late)
        buffer.member("ordinal", ordinal)
        buffer.member("orphans", orphans)
        buffer.member("page_rate", orNull: page_rate)
        buffer.member("partition", partition)
        buffer.name("position")
        buffer.openArray()
        for row in position {
            buffer.openObject()
            buffer.member("bias", row.bias)
            buffer.member("clicks", row.clicks)
            buffer.member("impressions", row.impressions)
            buffer.member("position", row.position)
            buffer.closeObject()
        }
        buffer.closeArray()
        buffer.name("prior")
        buffer.openObject()
        buffer.member("mean", prior_mean)
        buffer.member("strength", prior_strength)
        buffer.closeObject()
        buffer.name("rates")
        buffer.openArray()
        for rate in rates {
            buffer.openObject()
            buffer.member("clicks", rate.clicks)
            buffer.member("half_life_s", rate.half_life_s)
            buffer.member("impressions", rate.impressions)
            buffer.member("rate", rate.rate)
            buffer.closeObject()
        }
        buffer.closeArray()
        buffer.member("requests", requests)
        buffer.member("requests_clicked", requests_clicked)
        buffer.member("time_ms", time_ms)
        buffer.name("top_items")
        buffer.openArray()
        for item in top_items {
            buffer.openObject()
            buffer.member("count", item.count)
            buffer.member("item_id", item.item_id)
            buffer.closeObject()
        }
        buffer.closeArray()
        buffer.member("users", users)
        buffer.closeObject()
    }
}
