// What finetune shows of its states: the model's quality among it, as the state keeps it.

import Finetune
import Statistics
import WorkerRuntime

extension Metric {
    static let auc = Metric(
        "coldstream_auc_ratio", .gauge,
        "Prequential AUC: every label against the prediction made before it was known.",
        labels: ["domain"])
    static let gauc = Metric(
        "coldstream_gauc_ratio", .gauge, "Prequential AUC within requests, averaged by their size.",
        labels: ["domain"])
    static let logLoss = Metric(
        "coldstream_log_loss_nats", .gauge, "Mean prequential log loss.", labels: ["domain"])
    static let calibration = Metric(
        "coldstream_calibration_ratio", .gauge,
        "Mean prediction over observed click rate; 1 is right.", labels: ["domain"])
    static let impressions = Metric(
        "coldstream_impressions_total", .counter, "Impressions counted.", labels: ["domain"])
    static let labels = Metric(
        "coldstream_labels_total", .counter, "First labels counted.", labels: ["domain"])
    static let clicks = Metric(
        "coldstream_clicks_total", .counter, "Labels that are 1 by now, corrected ones included.",
        labels: ["domain"])
    static let corrections = Metric(
        "coldstream_corrections_total", .counter, "Labels that turned from 0 to 1.",
        labels: ["domain"])
    static let domainsUnlisted = Metric(
        "coldstream_unlisted_domains", .gauge,
        "Domains that stand in no label because domains_max others have more impressions.")
    static let scoresPublished = Metric(
        "coldstream_scores_published_total", .counter,
        "Scores and withdrawals published since the partition's beginning.", labels: ["partition"])
    static let publishPoints = Metric(
        "coldstream_publish_points_total", .counter, "Publish points.", labels: ["partition"])
    static let recordsUnused = Metric(
        "coldstream_records_unused_total", .counter, "Records that taught nothing, and why.",
        labels: ["partition", "reason"])
    static let vectorsMasked = Metric(
        "coldstream_vectors_masked_total", .counter,
        "Text vectors of another length than text.dimension, or with numbers that are not finite.",
        labels: ["partition"])
    static let unusableNumbers = Metric(
        "coldstream_unusable_numbers_total", .counter,
        "Inputs, predictions and priors that are no numbers or beyond all bounds: not learned from.",
        labels: ["partition"])
    static let refusedRows = Metric(
        "coldstream_refused_rows_total", .counter,
        "What found a full table: items without a score, other partitions' evidence of items.",
        labels: ["partition", "table"])
}

extension RoleMetrics where State == FinetuneState {
    /// - Parameter domainsMaximum: so many domains become labels, those with the most impressions.
    static func finetune(domainsMaximum: Int) -> RoleMetrics {
        var role = RoleMetrics()
        role.metrics = [
            .auc, .gauc, .logLoss, .calibration, .impressions, .labels, .clicks, .corrections,
            .domainsUnlisted, .scoresPublished, .publishPoints, .recordsUnused, .vectorsMasked,
            .unusableNumbers, .refusedRows, .evictedRows,
        ]
        role.eventTime = { $0.time > 0 ? $0.time : nil }
        role.publication = { state in
            Publication(points: state.publishPoints, recordsSince: state.recordsSincePublish)
        }
        role.read = { states, values in
            values.add(domainsOf: states.map(\.state), domainsMaximum)
            for (partition, state) in states { values.add(state, "\(partition)") }
        }
        return role
    }
}

/// A domain over the partitions of a worker; its records are in one, but nothing here rests on that.
private struct DomainMoment {
    var impressions: Int64 = 0
    var quality = PrequentialQuality()
}

extension MetricValues {
    fileprivate mutating func add(domainsOf states: [FinetuneState], _ maximum: Int) {
        var domains: [String: DomainMoment] = [:]
        for state in states {
            state.forEachDomain { name, impressions, _, quality in
                domains[name, default: DomainMoment()].impressions += impressions
                domains[name]!.quality.merge(quality)
            }
        }
        let order = domains.sorted {
            ($1.value.impressions, $0.key) < ($0.value.impressions, $1.key)
        }
        for (name, domain) in order.prefix(maximum) {
            let quality = domain.quality
            if let auc = quality.ranking.auc { add(.auc, auc, name) }
            if let gauc = quality.groups.value { add(.gauc, gauc, name) }
            if let loss = quality.calibration.logLoss { add(.logLoss, loss, name) }
            if let ratio = quality.calibration.ratio { add(.calibration, ratio, name) }
            add(.impressions, domain.impressions, name)
            add(.labels, Int64(quality.calibration.examples), name)
            add(.clicks, Int64(quality.calibration.positives), name)
            add(.corrections, Int64(quality.corrections), name)
        }
        add(.domainsUnlisted, Int64(max(0, order.count - maximum)))
    }

    fileprivate mutating func add(_ state: FinetuneState, _ partition: String) {
        let counters = state.counters
        add(.scoresPublished, counters.scoresPublished, partition)
        add(.publishPoints, state.publishPoints, partition)
        add(.vectorsMasked, counters.vectorsMasked, partition)
        add(.unusableNumbers, counters.unusableNumbers, partition)
        for (reason, count) in [
            ("before_settings", counters.recordsBeforeSettings),
            ("correction_after_horizon", counters.correctionsAfterHorizon),
            ("domain_refused", counters.refusedDomains),
            ("label_without_impression", counters.labelsWithoutImpression),
            ("unreadable", counters.unreadableRecords),
        ] { add(.recordsUnused, count, partition, reason) }
        for (table, count) in [
            ("pending", counters.evictedImpressions), ("items", counters.evictedItems),
            ("candidates", counters.evictedCandidates),
            ("domain-items", counters.evictedDomainItems),
            ("domain-items-unseen", counters.evictedUnseenItems),
            ("queries", counters.evictedQueries), ("texts", counters.evictedTexts),
            ("groups", counters.evictedGroups),
        ] { add(.evictedRows, count, partition, table) }
        add(.refusedRows, counters.unscoredItems, partition, "domain-items")
        add(.refusedRows, counters.refusedPriors, partition, "staged-priors")
    }
}
