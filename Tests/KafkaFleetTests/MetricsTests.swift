import Contracts
import EmbeddedFleet
import Encode
import Enrich
import FleetSettings
import Foundation
import Gateway
import JSON
import KafkaTestBroker
import KafkaTransactions
import PrometheusText
import Streams
import Testing

@testable import Finetune
@testable import KafkaFleet
@testable import WorkerRuntime

/// The pages of every role, of what a fleet in memory has counted.
private struct RolePages {
    var pages: [(role: String, page: PrometheusPage, declared: [Metric])] = []
    /// `/status` by role.
    var statuses: [String: JSONValue] = [:]
    let fleet: EmbeddedFleet

    init(_ settings: FleetSettings, _ input: IngestInput, domains: Int = 256) throws {
        var layout = FleetLayout()
        layout.eventsPartitions = 2
        layout.domainLogPartitions = 2
        fleet = try EmbeddedFleet(settings, layout: layout, log: MemoryLog(topics: layout.topics))
        try fleet.begin(input)
        while try fleet.turn() {}
        try add("enrich", fleet.enrich, .enrich)
        try add("finetune", fleet.finetune, .finetune(domainsMaximum: domains))
        try addEncode()
        try addSupervisor()
    }

    private func status(_ role: String) -> WorkerStatus {
        WorkerStatus(fleet: "f", worker: "f.\(role).0", version: "1", library: "2.0.2")
    }

    private mutating func add(_ role: String, _ status: any StatusPages, _ declared: [Metric])
        throws
    {
        pages.append((role, try PrometheusPage(parsing: status.metrics), declared))
        statuses[role] = try JSONValue(parsing: status.json)
    }

    private mutating func add<Role: Step>(
        _ name: String, _ worker: StepWorker<Role, MemoryLogClient>, _ role: RoleMetrics<Role.State>
    ) throws {
        let status = status(name)
        var moment = WorkerMoment()
        moment.phase = .assigned
        moment.inputs = [InputMoment(topic: name == "enrich" ? "events" : "domain-log")]
        moment.partitions = worker.ordinals.map { partition, ordinal in
            PartitionStatus(
                topic: moment.inputs[0].topic, partition: partition, ordinal: ordinal, lag: 0,
                eventDelaySeconds: worker.state(of: partition).flatMap(role.eventTime).map(
                    Double.init))
        }
        moment.more = role.values(
            of: worker.ordinals.map {
                (partition: $0.partition, state: worker.state(of: $0.partition)!)
            },
            worker.checkpoints, recoveries: 0, replayed: 0, recoverySeconds: 0,
            freshness: Histogram())
        status.publish(moment)
        try add(name, status, role.allMetrics)
    }

    private mutating func addEncode() throws {
        let status = status("encode")
        var moment = WorkerMoment()
        moment.phase = .assigned
        moment.inputs = [InputMoment(topic: "catalog"), InputMoment(topic: "texts")]
        moment.partitions = [PartitionStatus(topic: "catalog", partition: 0, ordinal: 1, lag: 0)]
        var made = fleet.maker?.counts ?? MakerCounts()
        made.failures["timeout"] = 2
        moment.more = MetricValues(encode: fleet.encode.counts, made)
        moment.more.add(.owedTexts, Int64(fleet.encode.owed))
        moment.more.add(.keptVectors, Int64(fleet.encode.vectors))
        status.publish(moment)
        try add("encode", status, Metric.ofWorkers + Metric.ofEncode)
    }

    private mutating func addSupervisor() throws {
        let status = SupervisorStatus(fleet: "f", worker: "f.up", version: "1", library: "2.0.2")
        var process = ProcessMoment(name: "f.enrich.0")
        process.startTime = 1
        process.exits = [75: 1]
        status.publish([process], isDraining: false)
        try add("up", status, Metric.ofSupervisors)
    }

    subscript(role: String) -> PrometheusPage { pages.first { $0.role == role }!.page }
}

@Suite struct MetricsTests {
    private let folder = NSTemporaryDirectory() + "metrics-\(UUID().uuidString)"

    /// Impressions in domains with awkward names, every third clicked, one line that cannot be used.
    private func pages(domains: Int = 256) throws -> RolePages {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let start: Int64 = 1_700_000_000_000
        var events = ""
        for n in 0..<400 {
            let domain = ["home", "a-b", "c_d"][n % 7 % 3]
            let time = start + Int64(n) * 50
            let common =
                "\"domain\":\"\(domain)\",\"user_id\":\"u\(n % 20)\",\"item_id\":\"i\(n % 9)\""
            events +=
                "{\"id\":\"e\(n)\",\"type\":\"impression\",\"time_ms\":\(time),\"request_id\":\"r\(n / 4)\",\"position\":1,\(common)}\n"
            if n % 3 == 0 {
                events +=
                    "{\"id\":\"c\(n)\",\"type\":\"click\",\"time_ms\":\(time + 10),\"impression_id\":\"e\(n)\",\(common)}\n"
            }
        }
        events +=
            "{\"id\":\"e1\",\"type\":\"impression\",\"time_ms\":\(start + 50),\"domain\":\"home\",\"user_id\":\"u1\",\"item_id\":\"i1\",\"position\":1}\n"
        var catalog = ""
        for item in 0..<9 {
            catalog +=
                "{\"item_id\":\"i\(item)\",\"time_ms\":\(start),\"title\":\"item \(item)\"}\n"
        }
        try events.write(toFile: "\(folder)/events.jsonl", atomically: true, encoding: .utf8)
        try catalog.write(toFile: "\(folder)/catalog.jsonl", atomically: true, encoding: .utf8)
        let settings = try FleetSettings(
            parsing: Array(
                #"{"version": 1, "fleet": "f", "hash_bits": 10, "domain_defaults": {"label_window_s": 2}}"#
                    .utf8), file: "coldstream.json")
        var input = IngestInput(
            name: "input", events: "\(folder)/events.jsonl", catalog: "\(folder)/catalog.jsonl")
        input.closes = true
        return try RolePages(settings, input, domains: domains)
    }

    @Test func `every role's page is strict, and has exactly the metrics that the role declares`()
        throws
    {
        for (role, page, declared) in try pages().pages {
            #expect(Set(page.families.map(\.name)) == Set(declared.map(\.name)), "\(role)")
            for metric in declared {
                let family = try #require(page[metric.name], "\(role)")
                #expect(family.kind.rawValue == metric.kind.rawValue && family.help == metric.help)
                for sample in family.samples {
                    let names = Set(sample.labels.map(\.name)).subtracting(["le"])
                    #expect(
                        names == Set(metric.labels).union(["fleet", "worker"]), "\(sample.series)")
                }
                #expect(metric.name.hasPrefix("coldstream_"))
                let bounded = [
                    "role", "slot", "version", "librdkafka", "numerics", "step_version", "topic",
                    "partition", "domain", "reason", "table", "outcome", "type", "revision",
                    "queue",
                    "process", "code",
                ]
                #expect(Set(metric.labels).isSubset(of: bounded), "\(metric.name)")
            }
        }
    }

    @Test func `what a role counts adds up`() throws {
        let pages = try pages()
        let enrich = pages["enrich"]
        let ordinals = enrich.sum("coldstream_position_records")
        #expect(
            enrich.sum("coldstream_events_total") + enrich.sum("coldstream_ticks_total") == ordinals
        )
        #expect(enrich.sum("coldstream_events_total", ["outcome": "duplicate"]) == 1)
        #expect(
            enrich.sum("coldstream_events_used_total")
                == enrich.sum("coldstream_events_total", ["outcome": "used"]))
        #expect(enrich.sum("coldstream_labels_written_total", ["revision": "0"]) == 400)
        let finetune = pages["finetune"]
        #expect(finetune.sum("coldstream_labels_total") == 400)
        #expect(finetune.sum("coldstream_impressions_total") == 400)
        #expect(finetune.sum("coldstream_clicks_total") == 134)
        #expect(finetune["coldstream_labels_total"]?.samples.count == 3)
        #expect(finetune.value("coldstream_unlisted_domains") == 0)
        #expect(finetune.sum("coldstream_scores_published_total") > 9)
        #expect(finetune.sum("coldstream_checkpoints_total") > 0)
        #expect(finetune.sum("coldstream_checkpoint_bytes_total") > 1_000)
        #expect(finetune.value("coldstream_table_rows", ["table": "domains"]) == 3)
        for (role, name) in [("enrich", "users"), ("finetune", "items")] {
            #expect(pages[role].value("coldstream_table_rows", ["table": name])! > 0)
            #expect(pages[role].value("coldstream_table_bytes", ["table": name])! > 0)
        }
        let encode = pages["encode"]
        #expect(encode.value("coldstream_items_sent_total") == 9)
        #expect(encode.value("coldstream_texts_encoded_total") == 9)
        #expect(encode.value("coldstream_encoder_failures_total", ["reason": "timeout"]) == 2)
    }

    @Test func `the model's quality is that of its states`() throws {
        let pages = try pages()
        let page = pages["finetune"]
        var seen = 0
        for partition in 0..<2 {
            pages.fleet.finetune.state(of: partition)!.forEachDomain { name, _, clicks, quality in
                guard quality.report.examples > 0 else { return }
                seen += 1
                let report = quality.report
                let domain = ["domain": name]
                #expect(page.value("coldstream_auc_ratio", domain) == report.auc)
                #expect(page.value("coldstream_gauc_ratio", domain) == report.gauc)
                #expect(page.value("coldstream_log_loss_nats", domain) == report.logLoss)
                #expect(page.value("coldstream_calibration_ratio", domain) == report.calibration)
                #expect(page.value("coldstream_clicks_total", domain) == Double(clicks))
            }
        }
        #expect(seen == 3)
    }

    @Test func `no more domains become labels than the fleet may have`() throws {
        let page = try pages(domains: 2)["finetune"]
        let listed = page["coldstream_impressions_total"]!.samples
        #expect(listed.count == 2 && page["coldstream_auc_ratio"]!.samples.count <= 2)
        #expect(page.value("coldstream_unlisted_domains") == 1)
        let all = try pages()["finetune"]["coldstream_impressions_total"]!.samples.map(\.value)
        #expect(listed.map(\.value) == all.sorted(by: >).prefix(2).map { $0 })
    }

    @Test func `whatever finetune only counts has a place of its own`() throws {
        let state = FinetuneStep(domainLogPartitions: 1).makeState(partition: 3)
        let fields: [(WritableKeyPath<Counters, Int64>, name: String, label: (String, String)?)] = [
            (\.labelsWithoutImpression, "records_unused", ("reason", "label_without_impression")),
            (\.correctionsAfterHorizon, "records_unused", ("reason", "correction_after_horizon")),
            (\.refusedDomains, "records_unused", ("reason", "domain_refused")),
            (\.recordsBeforeSettings, "records_unused", ("reason", "before_settings")),
            (\.unreadableRecords, "records_unused", ("reason", "unreadable")),
            (\.evictedImpressions, "evicted_rows", ("table", "pending")),
            (\.evictedItems, "evicted_rows", ("table", "items")),
            (\.evictedCandidates, "evicted_rows", ("table", "candidates")),
            (\.evictedDomainItems, "evicted_rows", ("table", "domain-items")),
            (\.evictedUnseenItems, "evicted_rows", ("table", "domain-items-unseen")),
            (\.evictedQueries, "evicted_rows", ("table", "queries")),
            (\.evictedTexts, "evicted_rows", ("table", "texts")),
            (\.evictedGroups, "evicted_rows", ("table", "groups")),
            (\.unscoredItems, "refused_rows", ("table", "domain-items")),
            (\.refusedPriors, "refused_rows", ("table", "staged-priors")),
            (\.scoresPublished, "scores_published", nil),
            (\.vectorsMasked, "vectors_masked", nil),
            (\.unusableNumbers, "unusable_numbers", nil),
        ]
        #expect(fields.count * 8 == MemoryLayout<Counters>.size, "a counter that nobody sees")
        for (i, field) in fields.enumerated() {
            state.clock.value.pointee.counters[keyPath: field.0] = Int64(i + 1)
        }
        let status = WorkerStatus(fleet: "f", worker: "f.finetune.0", version: "1", library: "2")
        var moment = WorkerMoment()
        moment.more = RoleMetrics.finetune(domainsMaximum: 1).values(
            of: [(partition: 3, state: state)], CheckpointCounts(), recoveries: 0, replayed: 0,
            recoverySeconds: 0, freshness: Histogram())
        status.publish(moment)
        let page = try PrometheusPage(parsing: status.metrics)
        for (i, field) in fields.enumerated() {
            var labels = ["partition": "3"]
            if let (name, value) = field.label { labels[name] = value }
            #expect(
                page.value("coldstream_\(field.name)_total", labels) == Double(i + 1),
                "\(field.name) \(labels)")
        }
    }

    // What operators read

    private static let document = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("ops/METRICS.md")

    /// Rows of a table of the document, by the heading above it.
    private func rows(_ heading: String) throws -> [String] {
        let text = try String(contentsOf: Self.document, encoding: .utf8)
        let parts = text.components(separatedBy: "\n## ")
        let part = try #require(parts.first { $0.hasPrefix(heading + "\n") }, "no ## \(heading)")
        return part.split(separator: "\n").filter { $0.hasPrefix("| `") }.map(String.init)
    }

    @Test func `METRICS_md lists every metric that a page has, and nothing else`() throws {
        var order: [String] = []
        var roles: [String: [String]] = [:]
        var facts: [String: String] = [:]
        for (role, page, declared) in try pages().pages {
            for family in page.families {
                let metric = try #require(declared.first { $0.name == family.name })
                if roles[family.name] == nil { order.append(family.name) }
                roles[family.name, default: []].append(role)
                let labels = metric.labels.map { "`\($0)`" }.joined(separator: " ")
                facts[family.name] = "\(labels) | \(family.help)"
                roles[family.name + " kind"] = [family.kind.rawValue]
            }
        }
        let wanted = order.map { name in
            let who = roles[name]!.count == 4 ? "all" : roles[name]!.joined(separator: " ")
            return "| `\(name)` | \(roles[name + " kind"]![0]) | \(who) | \(facts[name]!) |"
        }
        let found = try rows("Metrics")
        #expect(
            found.sorted() == wanted.sorted(),
            "the table should be:\n\(wanted.joined(separator: "\n"))")
    }

    @Test func `METRICS_md lists every member of status, and nothing else`() throws {
        let statuses = try pages().statuses
        for (heading, role, parts) in [
            ("Status of a worker", "enrich", ["partitions", "commits"]),
            ("Status of up", "up", ["processes"]),
        ] {
            let status = try #require(statuses[role])
            var names = try #require(status.members).map(\.name)
            for part in parts {
                let inner = status[part]?.array?.first ?? status[part]!
                names += try #require(inner.members).map { "\(part).\($0.name)" }
            }
            if role == "enrich" {
                names += ["topic", "partition", "offset", "end"].map { "recovery.\($0)" }
            }
            let found = try rows(heading).map { String($0.split(separator: "`")[1]) }
            #expect(found.sorted() == names.sorted(), "\(names.sorted().joined(separator: "\n"))")
        }
    }
}
