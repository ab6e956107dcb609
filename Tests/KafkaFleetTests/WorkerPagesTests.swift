import Contracts
import Foundation
import JSON
import KafkaTestBroker
import KafkaTransactions
import PrometheusText
import Streams
import Testing
import WorkerRuntime

@testable import KafkaFleet

/// What the real roles serve over HTTP while they work on a real broker.
@Suite(.serialized, .enabled(if: RealBroker.isAvailable, Comment(rawValue: RealBroker.absence)))
struct WorkerPagesTests {
    let under: FleetUnderTest

    init() throws { under = try FleetUnderTest(try RealBroker.shared(), events: 2, domainLog: 2) }

    /// The three roles, each in a thread with a server.
    private final class Roles {
        static let names = ["encode", "enrich", "finetune"]
        let servers: [String: StatusServer]
        private let stop = Mutexed(false)
        private let errors = Mutexed<[String]>([])
        private let ended = DispatchGroup()

        init(_ fleet: KafkaFleet) throws {
            let lines = Mutexed<[String]>([])
            var servers: [String: StatusServer] = [:]
            let signal = StopSignal { [stop] in stop.value }
            for role in Self.names {
                let around = KafkaFleet.Surroundings(
                    status: WorkerStatus(
                        fleet: fleet.settings.fleet, worker: "\(fleet.settings.fleet).\(role).0",
                        version: "test", library: "\(LibraryVersion.running)"),
                    journal: Journal(worker: role) { line in lines.change { $0.append(line) } },
                    watchdog: Watchdog { _ in })
                servers[role] = try StatusServer(around.status, address: "127.0.0.1:0")
                ended.enter()
                Thread { [errors, ended] in
                    do {
                        switch role {
                        case "encode": try fleet.encode(slot: 0, around).run(until: signal)
                        case "enrich": try fleet.enrich(slot: 0, around).run(until: signal)
                        default: try fleet.finetune(slot: 0, around).run(until: signal)
                        }
                    } catch { errors.change { $0.append("\(role): \(error)") } }
                    ended.leave()
                }.start()
            }
            self.servers = servers
        }

        func end() {
            stop.change { $0 = true }
            #expect(ended.wait(timeout: .now() + 60) == .success)
            #expect(errors.value == [])
        }

        func text(_ role: String, _ path: String) throws -> String {
            let answer = try http(servers[role]!.port, "GET \(path)")
            return String(answer.split(separator: "\r\n\r\n", maxSplits: 1).last!)
        }

        func page(_ role: String) throws -> PrometheusPage {
            try PrometheusPage(parsing: text(role, "/metrics"))
        }

        func status(_ role: String) throws -> JSONValue {
            try JSONValue(parsing: text(role, "/status"))
        }

        func isReady(_ role: String) throws -> Bool {
            try http(servers[role]!.port, "GET /health/ready").hasPrefix("HTTP/1.1 200")
        }
    }

    /// Looks at every page again and again until the condition holds; each look must be a strict page
    /// on which no counter went down.
    private func watch(
        _ roles: Roles, _ newest: inout [String: PrometheusPage], _ what: String,
        until condition: ([String: PrometheusPage]) throws -> Bool
    ) throws {
        let deadline = ContinuousClock.now + .seconds(120)
        while ContinuousClock.now < deadline {
            for role in Roles.names {
                let page = try roles.page(role)
                if let earlier = newest[role] {
                    let faults = page.regressions(since: earlier)
                    #expect(faults.isEmpty, "\(role): \(faults)")
                }
                newest[role] = page
            }
            if try condition(newest) { return }
        }
        Issue.record("not in time: \(what)")
    }

    private func readsAll(_ pages: [String: PrometheusPage], _ total: [String: Int]) -> Bool {
        total.allSatisfy { role, count in
            pages[role]!.sum("coldstream_position_records") >= Double(count)
                && pages[role]!.sum("coldstream_lag_records") == 0
        }
    }

    @Test
    func `pages of working roles are strict, never go back, and add up to what is in the topics`()
        throws
    {
        var roles = try Roles(under.fleet)
        var pages: [String: PrometheusPage] = [:]
        var input = try under.writeInput(1_000)
        input.closes = true
        try watch(roles, &pages, "readiness") { _ in
            try Roles.names.allSatisfy { try roles.isReady($0) }
        }
        try under.append(input)
        try under.appendBadEvent()
        let check = try DrainCheck(under.fleet)
        try watch(roles, &pages, "rest") { _ in try check.isDrained() }
        let verifier = try Verifier(reading: under)
        func count(_ topic: Topic) -> Int { verifier.records[topic]!.joined().count }
        let total = ["enrich": count(.events), "finetune": count(.domainLog)]
        try watch(roles, &pages, "the newest numbers") { pages in
            readsAll(pages, total)
                && pages["finetune"]!.sum("coldstream_labels_total") == 1_000
                && pages["enrich"]!.sum("coldstream_dead_letters_total") == 1
        }

        let (enrich, finetune, encode) = (pages["enrich"]!, pages["finetune"]!, pages["encode"]!)
        // Every record that was taken in was processed, and is there.
        for (role, topic) in [("enrich", Topic.events), ("finetune", .domainLog)] {
            let page = pages[role]!
            let labels = ["topic": topic.name]
            #expect(page.value("coldstream_records_in_total", labels) == Double(count(topic)))
            #expect(
                page.value("coldstream_records_processed_total", labels) == Double(count(topic)))
            #expect(page.value("coldstream_records_ignored_total", labels) == 0)
            #expect(page.sum("coldstream_position_records") == Double(count(topic)))
        }
        // Every record that a role says it wrote is in the topic.
        for topic in [Topic.scores, .examples, .evaluations, .domainStatistics] {
            #expect(
                finetune.value("coldstream_records_out_total", ["topic": topic.name])
                    == Double(count(topic)), "\(topic.name)")
        }
        let domainLog = [enrich, encode, finetune].map {
            $0.value("coldstream_records_out_total", ["topic": "domain-log"]) ?? 0
        }
        // The settings were written before them.
        #expect(domainLog.reduce(0, +) + 2 == Double(count(.domainLog)), "\(domainLog)")
        #expect(
            enrich.value("coldstream_records_out_total", ["topic": "dead-letters"]) == 1
                && enrich.value("coldstream_dead_letters_total", ["reason": "key_mismatch"]) == 1)
        #expect(
            enrich.sum("coldstream_events_total") + enrich.sum("coldstream_ticks_total")
                == Double(count(.events)))
        #expect(finetune.sum("coldstream_scores_published_total") == Double(count(.scores)))
        #expect(encode.value("coldstream_records_in_total", ["topic": "catalog"]) == 20)
        #expect(encode.value("coldstream_owed_vectors") == 0)

        for (role, page) in pages {
            #expect(page.value("coldstream_transactions_committed_total")! > 0, "\(role)")
            #expect(
                page.value("coldstream_commit_seconds_count")
                    == page.value("coldstream_transactions_committed_total"), "\(role)")
            #expect(page.value("coldstream_connections_lost_total") == 0)
            #expect(page.value("coldstream_ready_workers") == 1)
        }
        // Points of the batches that were committed: some hold several.
        let points = finetune.value("coldstream_freshness_seconds_count")!
        #expect(points > 0 && points <= finetune.sum("coldstream_publish_points_total"))
        #expect(finetune.sum("coldstream_freshness_seconds_sum") < 120 * points)
        #expect(finetune.sum("coldstream_table_rows", ["table": "domains"]) == 4)

        let status = try roles.status("finetune")
        #expect(status["state"]?.text == "assigned" && status["lag_records"]?.integer == 0)
        #expect(status["numerics"]?.text == under.fleet.settings.text("numerics"))
        #expect(status["step_version"]?.text?.hasPrefix("finetune/") == true)
        #expect(status["partitions"]?.array?.count == 2)

        // The next process goes on where this one ended.
        roles.end()
        #expect(try roles.status("finetune")["state"]?.text == "stopped")
        #expect(try !roles.isReady("finetune"))
        roles = try Roles(under.fleet)
        var again: [String: PrometheusPage] = [:]
        try watch(roles, &again, "another start") { pages in
            pages["finetune"]!.sum("coldstream_labels_total") == 1_000
                && pages["enrich"]!.value("coldstream_recoveries_total") == 2
        }
        for role in ["enrich", "finetune"] {
            #expect(again[role]!.value("coldstream_recoveries_total") == 2)
            #expect(again[role]!.value("coldstream_records_replayed_total") == 0)
            for family in pages[role]!.families where family.kind == .counter {
                for sample in family.samples where sample["partition"] ?? sample["domain"] != nil {
                    let now = again[role]!.families.flatMap(\.samples).first {
                        $0.series == sample.series
                    }
                    #expect(now?.value == sample.value, "\(sample.series)")
                }
            }
        }
        roles.end()
    }

    @Test func `up serves its own pages, and its processes theirs behind`() throws {
        let port = RealBroker.freePort()
        let program = URL(fileURLWithPath: CommandLine.arguments[0])
            .deletingLastPathComponent().appendingPathComponent("coldstream").path
        try under.processes.start(
            "up",
            [
                program, "up", "--config", under.settingsFile, "--brokers", under.broker.address,
                "--http", "127.0.0.1:\(port)",
            ])
        func text(_ port: Int, _ path: String) throws -> String {
            let answer = try http(port, "GET \(path)")
            return String(answer.split(separator: "\r\n\r\n", maxSplits: 1).last!)
        }
        func processes() throws -> [JSONValue] {
            try JSONValue(parsing: text(port, "/status"))["processes"]?.array ?? []
        }
        func ports() throws -> [Int] {
            try processes().compactMap { $0["http"]?.text?.split(separator: ":").last }
                .compactMap { Int($0) }
        }
        try under.until(60, "ready workers") {
            guard let found = try? ports(), found.count == 3 else { return false }
            return found.allSatisfy {
                (try? http($0, "GET /health/ready").hasPrefix("HTTP/1.1 200")) ?? false
            }
        }
        #expect(try ports() == [port + 1, port + 2, port + 3])
        #expect(try http(port, "GET /health/ready").hasPrefix("HTTP/1.1 200"))
        let first = try PrometheusPage(parsing: text(port, "/metrics"))
        #expect(first.sum("coldstream_running_processes") == 3)
        for (port, role) in zip(try ports(), ["enrich", "finetune", "encode"]) {
            let page = try PrometheusPage(parsing: text(port, "/metrics"))
            let build = try #require(page["coldstream_build_info"]?.samples.first)
            #expect(build["role"] == role && build["slot"] == "0")
            #expect(build["librdkafka"] == "\(LibraryVersion.running)")
            let status = try JSONValue(parsing: text(port, "/status"))
            #expect(status["broker"]?.text != nil, "\(role)")
        }

        // One is killed and comes back.
        let victim = "\(under.name).finetune.0"
        let id = try #require(
            try processes().first { $0["name"]?.text == victim }?["pid"]?.integer)
        kill(Int32(id), SIGKILL)
        try under.until(60, "restart of \(victim)") {
            let page = try PrometheusPage(parsing: text(port, "/metrics"))
            return page.value("coldstream_process_exits_total", ["process": victim, "code": "75"])
                == 1
                && page.value("coldstream_process_starts_total", ["process": victim]) == 2
                && page.sum("coldstream_running_processes") == 3
        }
        let last = try PrometheusPage(parsing: text(port, "/metrics"))
        #expect(last.regressions(since: first) == [])
        #expect(under.processes.stop("up") == 0, "\(under.newestLines)")
    }
}
