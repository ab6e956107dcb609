import Bytes
import Contracts
import Foundation
import JSON
import KafkaTestBroker
import PrometheusText
@testable import Streams
import Synchronization
import Testing

@testable import WorkerRuntime

/// What `/metrics`, `/status` and `/health` say of a moment.
@Suite struct StatusPageTests {
    let status = WorkerStatus(fleet: "f", worker: "f.r.7", version: "1.2", library: "2.0.2")

    /// A worker at work on two partitions.
    static func moment() -> WorkerMoment {
        var counters = LogCounters()
        counters.writes(to: Topic.scores.rawValue)
        for _ in 0..<10 { counters.received(1_000) }
        counters.committed(
            4, [InputPosition(partition: 3, next: 7)], taking: .milliseconds(30))
        counters.committed(0, [], taking: .seconds(400))
        var input = InputMoment(topic: "events", counters: counters)
        input.recordsIgnored = 2
        input.recordsSkipped = 1
        var moment = WorkerMoment()
        moment.phase = .assigned
        moment.inputs = [input]
        moment.partitions = [
            PartitionStatus(
                topic: "events", partition: 3, ordinal: 7, lag: 2, lagSeconds: 1.5,
                eventDelaySeconds: 0.25),
            PartitionStatus(topic: "events", partition: 4, ordinal: 9, lag: 0),
        ]
        return moment
    }

    @Test func `metrics are a page of Prometheus with what every worker has`() throws {
        status.describe {
            $0.stepVersion = "step/1 bits=3"
            $0.numerics = "haswell"
        }
        status.publish(Self.moment())
        let page = try PrometheusPage(parsing: status.metrics)
        #expect(page.value("coldstream_records_in_total", ["topic": "events"]) == 10)
        #expect(page.value("coldstream_records_processed_total") == 8)
        #expect(page.value("coldstream_records_ignored_total") == 2)
        #expect(page.value("coldstream_records_skipped_total") == 1)
        #expect(
            page.value("coldstream_records_out_total", ["topic": "scores"]) == 0,
            "a topic that is written to stands there before its first record")
        #expect(page.value("coldstream_lag_records", ["partition": "3"]) == 2)
        #expect(page.value("coldstream_lag_seconds", ["partition": "3"]) == 1.5)
        #expect(page.value("coldstream_position_records", ["partition": "4"]) == 9)
        #expect(page.value("coldstream_event_delay_seconds", ["partition": "3"]) == 0.25)
        #expect(page.value("coldstream_event_delay_seconds", ["partition": "4"]) == nil)
        #expect(page.value("coldstream_transactions_committed_total") == 2)
        #expect(page.value("coldstream_commit_seconds_bucket", ["le": "0.02"]) == 0)
        #expect(page.value("coldstream_commit_seconds_bucket", ["le": "0.05"]) == 1)
        #expect(page.value("coldstream_commit_seconds_bucket", ["le": "300"]) == 1)
        #expect(page.value("coldstream_commit_seconds_bucket", ["le": "+Inf"]) == 2)
        #expect(page.value("coldstream_commit_seconds_sum") == 400.03)
        #expect(page.value("coldstream_ready_workers") == 1)
        #expect(page.value("coldstream_quarantined_partitions") == 0)
        #expect(
            page["coldstream_dead_letters_total"]?.samples.count == DeadLetterReason.allCases.count)
        let build = try #require(page["coldstream_build_info"]?.samples.first)
        #expect(build["version"] == "1.2" && build["librdkafka"] == "2.0.2")
        #expect(build["step_version"] == "step/1 bits=3" && build["numerics"] == "haswell")
        #expect(build["role"] == "r" && build["slot"] == "7")
        let now = Date().timeIntervalSince1970
        let started = try #require(page.value("coldstream_start_time_seconds"))
        #expect(started > now - 600 && started <= now + 1)
        #expect(try #require(page.value("coldstream_memory_resident_bytes")) > 1_048_576)
        #expect(try #require(page.value("coldstream_processor_seconds_total")) > 0)
        for sample in page.families.flatMap(\.samples) {
            #expect(sample["fleet"] == "f" && sample["worker"] == "f.r.7", "\(sample.series)")
        }
        #expect(Set(Metric.ofWorkers.map(\.name)).isSubset(of: page.families.map(\.name)))
    }

    @Test func `a label's value may be any text`() throws {
        let metric = Metric("coldstream_x_ratio", .gauge, "A \\ and a \n.", labels: ["domain"])
        var moment = WorkerMoment()
        for name in ["a\"b\\c\nd", "ä\u{301}", "\"", ""] { moment.more.add(metric, 0.5, name) }
        status.publish(moment)
        let page = try PrometheusPage(parsing: status.metrics)
        #expect(
            page["coldstream_x_ratio"]?.samples.map { $0["domain"] }
                == ["a\"b\\c\nd", "ä\u{301}", "\"", ""])
        #expect(page["coldstream_x_ratio"]?.help == "A \\ and a \n.")
    }

    @Test func `values that are no plain numbers can be read back`() throws {
        let metric = Metric("coldstream_x_ratio", .gauge, "X.", labels: ["n"])
        let values: [Double] = [
            .infinity, -.infinity, 1e300, 5e-300, -0.1, 1e15, 999_999_999_999_999, 0,
        ]
        var all = MetricValues()
        for (n, value) in values.enumerated() { all.add(metric, value, "\(n)") }
        all.add(metric, Double.nan, "nan")
        let page = try PrometheusPage(parsing: all.text(common: []))
        #expect(page["coldstream_x_ratio"]?.samples.dropLast().map(\.value) == values)
        #expect(page["coldstream_x_ratio"]?.samples.last?.value.isNaN == true)
    }

    @Test func `status is the documented object`() throws {
        var moment = Self.moment()
        status.describe { $0.broker = "3.9" }
        status.publish(moment)
        var json = try JSONValue(parsing: status.json)
        #expect(
            json.members?.map(\.name).sorted() == [
                "broker", "commits", "fleet", "lag_records", "lag_seconds", "librdkafka",
                "numerics",
                "partitions", "reason", "records_in", "records_out", "recovery", "release", "role",
                "slot", "start_time_s", "state", "step_version", "uptime_s", "version",
                "waiting_for", "worker",
            ])
        #expect(json["state"]?.text == "assigned" && json["broker"]?.text == "3.9")
        #expect(json["release"] == .null && json["reason"] == .null && json["recovery"] == .null)
        #expect(json["waiting_for"] == .null)
        moment.waitingFor = "a transaction"
        status.publish(moment)
        #expect(try JSONValue(parsing: status.json)["waiting_for"]?.text == "a transaction")
        #expect(json["step_version"] == .null && json["role"]?.text == "r")
        #expect(json["lag_records"]?.integer == 2 && json["lag_seconds"]?.double == 1.5)
        let commits = try #require(json["commits"])
        #expect(commits["count"]?.integer == 2 && commits["last_duration_s"]?.double == 400)
        #expect(try #require(commits["last_age_s"]?.double) < 60)
        #expect(try #require(commits["last_time_ms"]?.integer) > 1_600_000_000_000)
        let partition = try #require(json["partitions"]?.array?.first)
        #expect(
            partition.members?.map(\.name).sorted() == [
                "event_delay_seconds", "lag_records", "lag_seconds", "ordinal", "partition",
                "topic",
            ])
        #expect(partition["ordinal"]?.integer == 7 && partition["topic"]?.text == "events")

        moment.phase = .recovering
        moment.recovery = RecoveryProgress(topic: "f.checkpoints", partition: 3, offset: 5, end: 9)
        status.publish(moment)
        json = try JSONValue(parsing: status.json)
        #expect(json["recovery"]?["offset"]?.integer == 5 && json["recovery"]?["end"]?.integer == 9)

        moment.phase = .quarantined
        moment.quarantine = "partition 3 is quarantined: its log was cut"
        status.publish(moment)
        json = try JSONValue(parsing: status.json)
        #expect(json["state"]?.text == "quarantined")
        #expect(json["reason"]?.text == "partition 3 is quarantined: its log was cut")
        #expect(
            try PrometheusPage(parsing: status.metrics).value("coldstream_quarantined_partitions")
                == 1)
    }

    @Test(arguments: [
        (WorkerMoment.Phase.starting, false), (.recovering, false), (.assigned, true),
        (.draining, false), (.stopped, false), (.quarantined, false),
    ])
    func `ready is who has recovered and is assigned`(phase: WorkerMoment.Phase, isReady: Bool)
        throws
    {
        let server = try StatusServer(status, address: "127.0.0.1:0")
        var moment = WorkerMoment()
        moment.phase = phase
        status.publish(moment)
        let answer = try http(server.port, "GET /health/ready")
        #expect(answer.hasPrefix(isReady ? "HTTP/1.1 200" : "HTTP/1.1 503"))
        #expect(answer.hasSuffix(isReady ? "ready\n" : "\(phase.rawValue)\n"))
        #expect(try http(server.port, "GET /health/live").hasPrefix("HTTP/1.1 200"))
        #expect(
            try PrometheusPage(parsing: status.metrics).value("coldstream_ready_workers")
                == (isReady ? 1 : 0))
    }

    @Test func `a worker lives until its watchdog has waited too long`() throws {
        let server = try StatusServer(status, address: "127.0.0.1:0")
        let watchdog = Watchdog { _ in }
        status.watch(watchdog)
        #expect(try http(server.port, "GET /health/live").hasPrefix("HTTP/1.1 200"))
        watchdog.expect(within: 60, "a turn took too long")
        #expect(try http(server.port, "GET /health/live").hasPrefix("HTTP/1.1 200"))
        watchdog.expect(within: 0, "a turn took too long")
        let answer = try http(server.port, "GET /health/live")
        #expect(answer.hasPrefix("HTTP/1.1 503") && answer.hasSuffix("a turn took too long\n"))
        #expect(try JSONValue(parsing: status.json)["reason"]?.text == "a turn took too long")
        watchdog.rest()
        #expect(try http(server.port, "GET /health/live").hasPrefix("HTTP/1.1 200"))
    }

    @Test func `the server answers its four paths and nothing else`() throws {
        let server = try StatusServer(status, address: "127.0.0.1:0")
        status.publish(Self.moment())
        let metrics = try http(server.port, "GET /metrics")
        #expect(metrics.contains("text/plain; version=0.0.4"))
        _ = try PrometheusPage(parsing: String(metrics.split(separator: "\r\n\r\n").last!))
        let body = try http(server.port, "GET /status").split(separator: "\r\n\r\n").last!
        #expect(try JSONValue(parsing: String(body))["state"]?.text == "assigned")
        #expect(try http(server.port, "GET /etc/passwd").hasPrefix("HTTP/1.1 404"))
        #expect(try http(server.port, "POST /status").hasPrefix("HTTP/1.1 405"))
    }
}

/// What is counted when a transaction is committed.
@Suite struct LogCountersTests {
    private func letter(_ reason: DeadLetterReason, _ message: String, into outbox: inout Outbox) {
        outbox.begin(Topic.deadLetters)
        outbox.bytes.append("k")
        outbox.beginValue()
        message.lend { message in
            "events".lend { topic in
                "{\"reason\":\"empty\"}".lend { value in
                    DeadLetter(reason, message: message, topic: topic, key: value, value: value)
                        .append(to: &outbox.bytes)
                }
            }
        }
        outbox.end()
    }

    @Test func `records out are counted by topic, dead letters by reason`() {
        var outbox = Outbox()
        for n in 0..<3 {
            outbox.begin(Topic.scores)
            outbox.bytes.append("k\(n)")
            outbox.beginValue()
            outbox.bytes.append("{}")
            outbox.end()
        }
        letter(.crashed, "says \"reason\":\"empty\" in its message", into: &outbox)
        letter(.invalid_json, "no quotes", into: &outbox)
        letter(.invalid_json, "", into: &outbox)
        var counters = LogCounters()
        counters.committed(outbox, [InputPosition(partition: 1, next: 9)], taking: .milliseconds(1))
        #expect(counters.recordsOut == 6)
        #expect(counters.recordsOut(to: Topic.scores.rawValue) == 3)
        #expect(counters.recordsOut(to: Topic.deadLetters.rawValue) == 3)
        #expect(!counters.isWritten(Topic.examples.rawValue))
        for reason in DeadLetterReason.allCases {
            let wanted: Int64 = reason == .crashed ? 1 : reason == .invalid_json ? 2 : 0
            #expect(counters.deadLetters(reason) == wanted, "\(reason)")
        }
        #expect(counters.next == [1: 9])
    }

    @Test func `counters of two inputs add up, and the newest commit stays`() {
        var first = LogCounters()
        var second = LogCounters()
        for _ in 0..<3 { first.received(5) }
        second.received(7)
        second.discarded(1)
        second.received(8)
        first.committed(2, [], taking: .seconds(1))
        second.committed(5, [], taking: .seconds(3))
        first.merge(second)
        #expect(first.recordsIn == 4 && first.recordsOut == 7 && first.commits == 2)
        #expect(first.newestTimestamp == 8)
        #expect(first.commitTimes.count == 2 && first.commitSeconds == 4)
        #expect(first.longestCommitSeconds == 3 && first.lastCommitSeconds == 3)
    }
}

@Suite struct HistogramTests {
    @Test func `a value belongs to the first bound that is not below it`() {
        var histogram = Histogram(bounds: [1, 2])
        for value in [0, 1, 1.5, 2, 2.5] { histogram.add(value) }
        #expect(histogram.counts == [2, 2, 1] && histogram.sum == 7 && histogram.count == 5)
    }

    @Test func `merging is adding what the other was given`() {
        var (a, b, both) = (Histogram(), Histogram(), Histogram())
        for value in [0.001, 0.25, 4] {
            a.add(value)
            both.add(value)
        }
        for value in [0.25, 1_000.0] {
            b.add(value)
            both.add(value)
        }
        a.merge(b)
        #expect(a == both)
    }
}

/// Freshness and ages, on batches made by hand.
@Suite struct BatchTimesTests {
    private func batch(_ records: (partition: Int, timestamp: Int64)...) -> [Record] {
        records.map {
            Record(
                topic: 0, partition: $0.partition, offset: 0, timestamp: $0.timestamp, key: nil,
                value: nil)
        }
    }

    @Test func `a publish point's freshness is the wait of its oldest record`() {
        var times = BatchTimes()
        times.begin(0, Publication(points: 5, recordsSince: 0))
        times.committed(batch((0, 1_000), (0, 2_000)), at: 2_500) { _ in
            Publication(points: 5, recordsSince: 2)
        }
        #expect(times.freshness.count == 0, "nothing was published")
        #expect(times.newest == [0: 2_000])
        times.committed(batch((0, 3_000), (0, 4_000)), at: 5_000) { _ in
            Publication(points: 6, recordsSince: 1)
        }
        #expect(times.freshness.count == 1 && times.freshness.sum == 4)
        // The last record of the batch came behind the point and waits for the next one.
        times.committed(batch((0, 6_000)), at: 6_500) { _ in
            Publication(points: 7, recordsSince: 0)
        }
        #expect(times.freshness.count == 2 && times.freshness.sum == 6.5)
        times.committed(batch((0, 7_000)), at: 7_250) { _ in
            Publication(points: 9, recordsSince: 0)
        }
        #expect(times.freshness.count == 3 && times.freshness.sum == 6.75)
    }

    @Test func `partitions wait each for their own points`() {
        var times = BatchTimes()
        for partition in 0..<2 { times.begin(partition, Publication(points: 0, recordsSince: 0)) }
        times.committed(batch((0, 1_000), (1, 2_000), (0, 3_000)), at: 4_000) { partition in
            Publication(points: partition == 1 ? 1 : 0, recordsSince: partition == 1 ? 0 : 2)
        }
        #expect(times.freshness.count == 1 && times.freshness.sum == 2)
        #expect(times.newest == [0: 3_000, 1: 2_000])
        times.committed(batch((1, 5_000)), at: 6_000) { partition in
            Publication(points: 1, recordsSince: partition == 1 ? 1 : 0)
        }
        #expect(times.freshness.sum == 2 + 5, "partition 0 has waited since 1,000")
    }

    @Test func `a partition that is given back waits for nothing`() {
        var times = BatchTimes()
        times.begin(0, Publication(points: 0, recordsSince: 0))
        times.committed(batch((0, 1_000)), at: 1_000) { _ in Publication(points: 0, recordsSince: 1)
        }
        times.forget(0)
        #expect(times.partitions == [] && times.newest == [:])
        times.begin(0, Publication(points: 8, recordsSince: 3))
        times.committed(batch((0, 9_000)), at: 9_100) { _ in Publication(points: 9, recordsSince: 0)
        }
        #expect(times.freshness.count == 1 && times.freshness.sum == 0.1)
    }

    @Test func `a role without publish points has ages and no freshness`() {
        var times = BatchTimes()
        times.begin(0, nil)
        times.committed(batch((0, 1_000)), at: 1_000) { _ in nil }
        #expect(times.partitions == [0] && times.newest == [0: 1_000] && times.freshness.count == 0)
    }
}
