// All that finetune remembers, as plain rows: what each holds, and what its row is named by.

import Bytes
import Contracts
import DeterministicMath
import Statistics

/// The partition's clock and totals.
struct Clock: BitwiseCopyable {
    /// Newest tick time over all sources; never goes back. 0 before the first tick.
    var time: Int64 = 0
    var lastPublish: Int64 = 0
    var lastPriors: Int64 = 0
    var publishPoints: Int64 = 0
    var recordsSincePublish: Int64 = 0
    /// Numbers given to what waits in a `DueQueue`.
    var sequence: UInt64 = 0
    /// Matured impressions and clicks over all domains of all partitions, beginning with the start
    /// values of model-spec §12: 1 click of 5.
    var impressions: Double = 5
    var clicks: Double = 1
    /// The part of them that has not been sent to the other partitions yet.
    var unsentImpressions: Double = 0
    var unsentClicks: Double = 0
    var firstUnsentOrdinal: Int64 = 0
    /// Micro-batches learned from, over all domains: the version of the head.
    var headVersion: Int64 = 0
    var examplesLearned: Int64 = 0
    /// Hash of all scores published so far.
    var scoresHash = Hash128.zero
    /// One more than the highest item and candidate row ever used.
    var itemRows: UInt32 = 0
    var candidateRows: UInt32 = 0
    /// Where the sweep over all items, and over all candidates, goes on.
    var sweepItem: UInt32 = 0
    var sweepCandidate: UInt32 = 0
    var counters = Counters()
}

/// What was met on the way and only counted.
public struct Counters: BitwiseCopyable, Sendable {
    /// Labels whose impression is not (or no longer) known here.
    public var labelsWithoutImpression: Int64 = 0
    /// Corrections that came after the horizon.
    public var correctionsAfterHorizon: Int64 = 0
    public var evictedImpressions: Int64 = 0
    public var evictedItems: Int64 = 0
    public var evictedCandidates: Int64 = 0
    /// Items of a domain that had been shown there.
    public var evictedDomainItems: Int64 = 0
    /// Items of a domain that had a score and had never been shown there: they go before the others.
    public var evictedUnseenItems: Int64 = 0
    public var evictedQueries: Int64 = 0
    public var evictedTexts: Int64 = 0
    /// Requests whose labels may not have been complete.
    public var evictedGroups: Int64 = 0
    /// Times that an item which was never shown in a domain found no room for a score there.
    public var unscoredItems: Int64 = 0
    /// Items of other partitions' priors that found no room.
    public var refusedPriors: Int64 = 0
    /// Records of domains beyond the cap; each is a dead letter.
    public var refusedDomains: Int64 = 0
    /// Records before the partition's first settings record.
    public var recordsBeforeSettings: Int64 = 0
    public var unreadableRecords: Int64 = 0
    public var scoresPublished: Int64 = 0
    /// Vectors of another length than `FinetuneCaps.textDimension`, or with numbers that are not
    /// finite: masked.
    public var vectorsMasked: Int64 = 0
    /// Impressions and priors whose numbers are no numbers, or lie far outside of what can be: predicted
    /// without what is wrong, and not learned from.
    public var unusableNumbers: Int64 = 0

    /// Rows of all tables that made room; what goes with its owner is not counted again.
    public var evictions: Int64 {
        evictedImpressions + evictedItems + evictedCandidates + evictedDomainItems
            + evictedUnseenItems + evictedQueries + evictedTexts + evictedGroups
    }

    public init() {}
}

/// Counts that fade, one pair per half-life of the domain.
///
/// In `Double`: one is added to sums of any size, and what 10 ms leave of a week's memory is told from 1.
struct DecayedClicks: BitwiseCopyable {
    var time: Int64 = 0
    var impressions: InlineArray<5, Double> = InlineArray(repeating: 0)
    var clicks: InlineArray<5, Double> = InlineArray(repeating: 0)

    mutating func add(
        impressions n: Double, clicks c: Double, at now: Int64, _ parameters: DomainParameters
    ) {
        fade(to: now, parameters)
        for i in 0..<5 where parameters.halfLives[i] > 0 {
            impressions[i] += n
            clicks[i] += c
        }
    }

    /// Lets the counts fade to `now`; a time before theirs counts as no time.
    mutating func fade(to now: Int64, _ parameters: DomainParameters) {
        let elapsed = now - time
        guard elapsed > 0 else { return }
        if time > 0 {
            for i in 0..<5 where parameters.halfLives[i] > 0 {
                let halfLife = HalfLife(seconds: Double(parameters.halfLives[i]))
                let left = halfLife.remainder(after: elapsed)
                impressions[i] *= left
                clicks[i] *= left
            }
        }
        time = now
    }

    /// What was counted under other half-lives: those that are among the new ones go on, the others begin
    /// with nothing.
    mutating func keep(_ old: DomainParameters, as new: DomainParameters) {
        let before = self
        impressions = InlineArray(repeating: 0)
        clicks = InlineArray(repeating: 0)
        for i in 0..<5 where new.halfLives[i] > 0 {
            for j in 0..<5 where old.halfLives[j] == new.halfLives[i] {
                impressions[i] = before.impressions[j]
                clicks[i] = before.clicks[j]
            }
        }
    }
}

/// An item over all domains of all partitions. Named by its id; tail: `ItemFeatures`.
struct ItemRow: BitwiseCopyable {
    /// Matured labels over all domains, priors of other partitions included.
    var impressions: Double = 0
    var clicks: Double = 0
    /// Evidence for its effect: the sum over this partition's domains, and what priors brought.
    var evidence = Evidence()
    var elsewhere = Evidence()
    /// What has not been sent to the other partitions yet.
    var unsentImpressions: Double = 0
    var unsentClicks: Double = 0
    var unsentExpected: Double = 0
    var unsentContent: Double = 0
    var isUnavailable: UInt8 = 0
    /// The catalog has spoken of it.
    var isInCatalog: UInt8 = 0
    /// For the domains of its list alone.
    var hasDomainList: UInt8 = 0
    var isUnsent: UInt8 = 0
    /// One more than its row of `itemVectors`; 0 = no vector.
    var vector: UInt32 = 0
    /// One more than the row of its newest candidate; 0 = none.
    var firstCandidate: UInt32 = 0
    var padding: UInt32 = 0
}

/// What has been computed and published of an item, or of a candidate of a query.
struct PublishedScore: BitwiseCopyable {
    var score: Float = 0
    var scoreStd: Float = 0
    var publishedScore: Float = 0
    var publishedStd: Float = 0
    /// 0: never published.
    var publishedRank: Int32 = 0
    /// Digits of the labels that it rested on.
    var publishedDecade: Int32 = 0
}

/// An item in one domain.
struct DomainItemRow: BitwiseCopyable {
    var domain: UInt32 = 0
    var item: UInt32 = 0
    var shown: Int64 = 0
    /// Labels and clicks that have arrived.
    var labels: Int64 = 0
    var clicks: Int64 = 0
    var conversions: Int64 = 0
    var isTouched: UInt8 = 0
    /// It has a score and stands in the domain's ranking.
    var isRanked: UInt8 = 0
    var padding: UInt16 = 0
    var published = PublishedScore()
    var padding2: UInt32 = 0
    var effect = EffectCell()

    /// Made for a score alone: nothing is known of it here.
    var isUnseen: Bool { shown == 0 && labels == 0 }
}

/// An item that was shown for a query in a search domain; it goes with its item and with its query.
struct CandidateRow: BitwiseCopyable {
    /// The item's candidates in a list: one more than their rows, 0 = none.
    var nextOfItem: UInt32 = 0
    var previousOfItem: UInt32 = 0
    var padding2: UInt32 = 0
    var query: UInt32 = 0
    var domain: UInt32 = 0
    var item: UInt32 = 0
    var shown: Int64 = 0
    var labels: Int64 = 0
    var clicks: Int64 = 0
    /// Its average position bias, over the last 32 or so times it was shown.
    var positionBias: Float = 0
    var isTouched: UInt8 = 0
    var isRanked: UInt8 = 0
    var padding: UInt16 = 0
    var published = PublishedScore()
    var pair = PairEvidence()
}

/// A text that queries name by its hash. Named by the text.
struct TextRow: BitwiseCopyable {
    /// One more than its row of `textVectors`; 0 = no vector.
    var vector: UInt32 = 0
    /// One more than the row of a query that has the text; 0 = none.
    var firstQuery: UInt32 = 0
}

/// A query in one domain.
struct QueryRow: BitwiseCopyable {
    var hash: UInt64 = 0
    /// `log2(decayed count) + time / half-life`: comparable between queries at any time.
    var weight: Double = 0
    var domain: UInt32 = 0
    /// A candidate of it was touched since its scores were last computed.
    var isTouched: UInt32 = 0
    /// One more than the row of its text; 0 = not known when it was last seen.
    var text: UInt32 = 0
    /// The queries of a text, one a domain, in a list: one more than their rows, 0 = none.
    var nextOfText: UInt32 = 0
    var previousOfText: UInt32 = 0
    /// It has been published since it last came to the head.
    var isPublished: UInt32 = 0
}

/// The labels of one request (else user) in one domain: page rate and GAUC. Tail: `GroupLabels`.
struct GroupRow: BitwiseCopyable {
    /// Event time of its newest label.
    var time: Int64 = 0
    var domain: UInt32 = 0
    var size: UInt16 = 0
    var positives: UInt16 = 0
    /// Twice the number of (positive, negative) pairs in order, ties counting once.
    var wins: Int32 = 0
    var isRequest: UInt8 = 0
    var padding: UInt8 = 0
    var padding2: UInt16 = 0
}

/// Predictions of a group; the label is the lowest bit.
struct GroupLabels: BitwiseCopyable {
    static let maximum = 100
    var entries: InlineArray<100, UInt32> = InlineArray(repeating: 0)
}

/// An impression from the moment it was shown until it can no longer be corrected.
/// Named by impression id, a NUL, request id; tail: `KeptFeatures`.
struct PendingRow: BitwiseCopyable {
    /// When it was shown.
    var time: Int64 = 0
    var user: UInt64 = 0
    var query: UInt64 = 0
    /// Lower half of the item's key: the row may have been given to another item.
    var itemKey: UInt64 = 0
    /// When its features may go: set by its label.
    var expiry: Int64 = 0
    var sequence: UInt64 = 0
    var domain: UInt32 = 0
    var item: UInt32 = 0
    var logit: Float = 0
    var impressionIDBytes: UInt16 = 0
    var position: UInt16 = 0
    var hasQuery: UInt8 = 0
    var isLabeled: UInt8 = 0
    var isClicked: UInt8 = 0
    /// Slice of item age: labels so far 0, 1–9, 10–99, ≥ 100.
    var ageSlice: UInt8 = 0
    /// In a micro-batch that has not been learned from.
    var isBatched: UInt8 = 0
    var hasPosition: UInt8 = 0
    var padding: UInt16 = 0
}

/// A context in which something was shown, for the average that a score is.
struct ContextRow: BitwiseCopyable {
    static let historyMaximum = 10

    var userRate: Float = 0
    var userCount: Float = 0
    var historyRate: Float = 0
    var padding: UInt16 = 0
    var historyCount: UInt8 = 0
    var otherCount: UInt8 = 0
    /// Item rows of the history's newest clicks, the newest last, with a part of their keys.
    var history: InlineArray<10, UInt32> = InlineArray(repeating: 0)
    var historyKeys: InlineArray<10, UInt32> = InlineArray(repeating: 0)
    /// Hashed features of user and context.
    var others: InlineArray<36, PackedFeature> = InlineArray(
        repeating: PackedFeature(bucket: 0, shareOf: 0))
}

/// Counts and sketches of a domain, its own weights, and its open micro-batch.
/// Named; tail: `contexts` rows of `ContextRow`.
struct DomainRow: BitwiseCopyable {
    var parameters = DomainParameters()
    var own = HeadPart.ownStart
    var biases = DomainBiases()
    var wander = CalibrationWander()
    var pairSpread = PairSpread()
    /// Of the request whose impressions were last seen, to tell requests apart.
    var lastRequest: UInt64 = 0
    var shown: Int64 = 0
    var labels: Int64 = 0
    var clicks: Int64 = 0
    var conversions: Int64 = 0
    var corrections: Int64 = 0
    var judgments: Int64 = 0
    var requests: Int64 = 0
    var requestsClicked: Int64 = 0
    var duplicates: Int64 = 0
    var orphans: Int64 = 0
    var late: Int64 = 0
    var dead: Int64 = 0
    var items: Int64 = 0
    var examplesLearned: Int64 = 0
    var firstTime: Int64 = 0
    var lastTime: Int64 = 0
    var firstOrdinal: Int64 = 0
    /// Requests that could have become a context.
    var contextsSeen: Int64 = 0
    var statisticsHash = Hash128.zero
    var decayed = DecayedClicks()
    var positions = PositionTable()
    var users = HyperLogLog()
    var topItems = HeavyHitters<64>()
    var delays = QuantileSketch()
    var rates = RatePopulation()
    /// What `rates` came to when the domain had `learnedAt` labels.
    var learned = LearnedPrior(prior: .start, logitMeanVariance: 0, logStrengthVariance: 0)
    var learnedAt: Int64 = -1
    var drift = PredictionDrift()
    /// Lower half of the name's hash.
    var nameKey: UInt64 = 0
    /// Rows of `pending`, with bit 31 = a correction.
    var batch: InlineArray<64, UInt32> = InlineArray(repeating: 0)
    var batchCount: Int32 = 0
    /// Rows of the tail that hold a context.
    var contextsFilled: Int32 = 0
}

/// A partition that has sent priors, and the newest of what it said about weights.
struct SenderRow: BitwiseCopyable {
    var sender: Int64 = 0
    var examples: Double = 0
    /// Means of its domains' own parts and biases: of recommendation, of search.
    var recommendation = ToldPart()
    var search = ToldPart()
    var nextBlock: Int32 = 0
    var padding: UInt32 = 0
}

/// A mean of domains' own parts, as partitions tell each other.
struct ToldPart: BitwiseCopyable {
    /// Own weights, own bias, final bias.
    var values: InlineArray<61, Float> = InlineArray(repeating: 0)
    var isTold: UInt32 = 0
}

/// Counts of a set of priors that is not complete yet. Named by the item's id.
struct StagedPriorRow: BitwiseCopyable {
    var sender: Int64 = 0
    /// Labels, clicks, expected and content since the sender's last set.
    var added = Evidence()
}

/// Quality of a domain's predictions in one slice of item age.
struct QualityRow: BitwiseCopyable {
    var quality = PrequentialQuality()
    var firstOrdinal: Int64 = 0
    var lastOrdinal: Int64 = 0
    var firstTime: Int64 = 0
    var lastTime: Int64 = 0
}
