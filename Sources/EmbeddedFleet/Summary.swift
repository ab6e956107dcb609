// What a run came to: the numbers of summary.json.

import Bytes
import Contracts
import Enrich
import Finetune
import JSON
import Statistics
import Streams

/// Counts of a run and the quality of its predictions.
public struct RunSummary {
    public struct Quality: Sendable {
        public var impressions: Int64 = 0
        public var clicks: Int64 = 0
        public var report: QualityReport
    }

    /// Each is one of used, duplicates, orphans and dead letters; lines of the catalog are none.
    public var events: Int64 = 0
    public var used: Int64 = 0
    public var impressions: Int64 = 0
    public var clicks: Int64 = 0
    public var duplicates: Int64 = 0
    public var orphans: Int64 = 0
    public var deadLetters: Int64 = 0
    public var labels: Int64 = 0
    public var corrections: Int64 = 0
    public var scoresPublished: Int64 = 0
    public var evictions: Int64 = 0
    /// By name of the domain, sorted.
    public var domains: [(name: String, quality: Quality)] = []
    public var overall: Quality

    /// Reads the states of a fleet that has drained.
    public init(_ fleet: EmbeddedFleet) {
        self.init(
            enrich: (0..<fleet.layout.eventsPartitions).compactMap { fleet.enrich.state(of: $0) },
            finetune: (0..<fleet.layout.domainLogPartitions).compactMap {
                fleet.finetune.state(of: $0)
            },
            heldBack: fleet.ingest?.progress.unusableEvents ?? 0)
    }

    /// - Parameters:
    ///   - enrich: of every partition of `events` that has had a record.
    ///   - finetune: of every partition of `domain-log`.
    ///   - heldBack: dead letters of what was to be an event and was never appended.
    public init(enrich: [EnrichState], finetune: [FinetuneState], heldBack: Int64) {
        var all = PrequentialQuality()
        var byDomain: [String: (impressions: Int64, clicks: Int64, quality: PrequentialQuality)] =
            [:]
        for counts in enrich.map(\.counts) {
            events += counts.lines
            used += counts.used
            impressions += counts.impressions
            clicks += counts.clicks
            duplicates += counts.duplicates
            orphans += counts.orphans
            deadLetters += counts.deadLetters
            labels += counts.labels
            corrections += counts.corrections
            evictions +=
                counts.evictedImpressions + counts.evictedUsers + counts.evictedItems
                + counts.evictedQueries + counts.evictedDuplicates + counts.evictedWaiting
        }
        deadLetters += heldBack
        events += heldBack
        for state in finetune {
            scoresPublished += state.counters.scoresPublished
            evictions += state.counters.evictions
            state.forEachDomain { name, impressions, clicks, quality in
                all.merge(quality)
                byDomain[name] = (impressions, clicks, quality)
            }
        }
        domains = byDomain.keys.sorted().map { name in
            let domain = byDomain[name]!
            return (
                name,
                Quality(
                    impressions: domain.impressions, clicks: domain.clicks,
                    report: domain.quality.report)
            )
        }
        overall = Quality(impressions: impressions, clicks: clicks, report: all.report)
    }

    /// `summary.json` (contracts.md).
    ///
    /// - Parameters:
    ///   - seconds: wall time of the run.
    ///   - freshness: percentiles in milliseconds; `nil` in a batch.
    public func json(
        seconds: Double, memoryPeakBytes: Int64, freshness: (p50: Double, p99: Double)? = nil
    ) -> JSONValue {
        func member(_ name: String, _ value: Int64) -> JSONMember {
            JSONMember(name, .integer(value))
        }
        func number(_ value: Double?) -> JSONValue { value.map { .number($0) } ?? .null }
        func quality(_ quality: Quality, isOverall: Bool) -> JSONValue {
            let report = quality.report
            var members: [JSONMember] = []
            if !isOverall {
                let rate =
                    report.examples > 0
                    ? Double(report.positives) / Double(report.examples) : nil
                members += [
                    member("impressions", quality.impressions), member("clicks", quality.clicks),
                    JSONMember("ctr", number(rate)),
                ]
            }
            members += [
                JSONMember("auc", number(report.auc)), JSONMember("gauc", number(report.gauc)),
                JSONMember("log_loss", number(report.logLoss)),
                JSONMember("calibration", number(report.calibration)),
            ]
            return .object(members)
        }
        return .object([
            member("events", events), member("used", used), member("impressions", impressions),
            member("clicks", clicks), member("duplicates", duplicates), member("orphans", orphans),
            member("dead_letters", deadLetters), member("labels", labels),
            member("corrections", corrections), member("scores_published", scoresPublished),
            member("evictions", evictions), JSONMember("seconds", .number(seconds)),
            JSONMember(
                "events_per_second", .number((Double(events) / max(seconds, 1e-9)).rounded())),
            JSONMember(
                "freshness_ms",
                .object([
                    JSONMember("p50", number(freshness?.p50)),
                    JSONMember("p99", number(freshness?.p99)),
                ])),
            member("memory_peak_bytes", memoryPeakBytes),
            JSONMember(
                "domains",
                .object(domains.map { JSONMember($0.name, quality($0.quality, isOverall: false)) })),
            JSONMember("overall", quality(overall, isOverall: true)),
        ])
    }
}
