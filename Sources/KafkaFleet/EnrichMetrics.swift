// What enrich shows of its states.

import Enrich
import WorkerRuntime

extension Metric {
    static let events = Metric(
        "coldstream_events_total", .counter,
        "What became of events since the partition's beginning; the outcomes add up to all of them, ticks aside.",
        labels: ["partition", "outcome"])
    static let eventsLate = Metric(
        "coldstream_events_late_total", .counter,
        "Events that came later than the lateness allowed; they are used all the same.",
        labels: ["partition"])
    static let eventsUsed = Metric(
        "coldstream_events_used_total", .counter, "Events used, by their type.",
        labels: ["partition", "type"])
    static let unknownFields = Metric(
        "coldstream_unknown_fields_total", .counter, "Fields of events that no contract knows.",
        labels: ["partition"])
    static let ticks = Metric(
        "coldstream_ticks_total", .counter, "Ticks of a quiet partition.", labels: ["partition"])
    static let labelsWritten = Metric(
        "coldstream_labels_written_total", .counter,
        "Labels of the task click: first ones, and corrections of a 0.",
        labels: ["partition", "revision"])
    static let evictedRows = Metric(
        "coldstream_evicted_rows_total", .counter, "Rows that made room in a full table.",
        labels: ["partition", "table"])
}

extension RoleMetrics where State == EnrichState {
    static var enrich: RoleMetrics {
        var role = RoleMetrics()
        role.metrics = [
            .events, .eventsLate, .eventsUsed, .unknownFields, .ticks, .labelsWritten, .evictedRows,
        ]
        role.eventTime = \.newestTime
        role.read = { states, values in
            for (partition, state) in states {
                values.add(state.counts, partition: "\(partition)")
            }
        }
        return role
    }
}

extension MetricValues {
    fileprivate mutating func add(_ counts: EnrichCounts, partition: String) {
        add(.events, counts.used, partition, "used")
        add(.events, counts.duplicates, partition, "duplicate")
        add(.events, counts.orphans, partition, "orphan")
        add(.events, counts.deadLetters, partition, "dead_letter")
        add(.eventsLate, counts.late, partition)
        add(.eventsUsed, counts.impressions, partition, "impression")
        add(.eventsUsed, counts.clicks, partition, "click")
        add(.eventsUsed, counts.conversions, partition, "conversion")
        add(.eventsUsed, counts.judgments, partition, "judgment")
        add(.unknownFields, counts.unknownFields, partition)
        add(.ticks, counts.ticks, partition)
        add(.labelsWritten, counts.labels, partition, "0")
        add(.labelsWritten, counts.corrections, partition, "1")
        add(.evictedRows, counts.evictedImpressions, partition, "open")
        add(.evictedRows, counts.evictedUsers, partition, "users")
        add(.evictedRows, counts.evictedItems, partition, "items")
        add(.evictedRows, counts.evictedQueries, partition, "queries")
        add(.evictedRows, counts.evictedDuplicates, partition, "seen")
        add(.evictedRows, counts.evictedWaiting, partition, "waiting")
    }
}
