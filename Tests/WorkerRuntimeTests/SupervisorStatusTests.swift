import Foundation
import JSON
import KafkaTestBroker
import PrometheusText
import Testing

@testable import WorkerRuntime

/// What `up` shows of its processes.
@Suite struct SupervisorStatusTests {
    let status = SupervisorStatus(fleet: "f", worker: "f.up", version: "1", library: "2.0.2")
    let lines = Lines()

    private func supervisor(_ scripts: (name: String, script: String, isJob: Bool)...) -> Supervisor
    {
        let lines = lines
        return Supervisor(
            scripts.map {
                var process = SupervisedProcess(
                    name: $0.name, path: "/bin/sh", arguments: ["-c", $0.script])
                process.isJob = $0.isJob
                process.http = $0.isJob ? nil : "127.0.0.1:9101"
                return process
            }, journal: Journal(worker: "f.up") { lines.append($0) }, status: status)
    }

    private func page() throws -> PrometheusPage { try PrometheusPage(parsing: status.metrics) }

    @Test func `restarts are counted by exit code, and counters never go down`() throws {
        let supervisor = supervisor(
            ("a", "exit 75", false), ("b", "kill -9 $$", false), ("job", "exit 0", true))
        #expect(status.unreadyBecause == "starting")
        var pages = [try page()]
        let deadline = ContinuousClock.now + .seconds(30)
        func isDone(_ page: PrometheusPage) -> Bool {
            page.sum("coldstream_process_exits_total", ["process": "a"]) >= 3
                && page.sum("coldstream_process_exits_total", ["process": "b"]) >= 2
                && supervisor.hasFinished("job")
        }
        while !isDone(pages.last!), ContinuousClock.now < deadline {
            #expect(supervisor.turn() == nil)
            pages.append(try page())
        }
        supervisor.stopAll()
        for (earlier, later) in zip(pages, pages.dropFirst()) {
            #expect(later.regressions(since: earlier) == [])
        }
        let last = try page()
        #expect(last.value("coldstream_process_exits_total", ["process": "a", "code": "75"])! >= 3)
        #expect(
            last.value("coldstream_process_exits_total", ["process": "b", "code": "75"])! >= 2,
            "who was killed is one to start again")
        #expect(last.value("coldstream_process_exits_total", ["process": "job", "code": "0"]) == 1)
        for name in ["a", "b"] {
            let starts = last.value("coldstream_process_starts_total", ["process": name])!
            let exits = last.sum("coldstream_process_exits_total", ["process": name])
            #expect(exits == starts || exits == starts - 1)
        }
        #expect(try JSONValue(parsing: status.json)["state"]?.text == "draining")
    }

    @Test func `ready is who has every process running or through with its work`() throws {
        let server = try StatusServer(status, address: "127.0.0.1:0")
        let supervisor = supervisor(
            ("a", "trap 'exit 0' TERM; while :; do sleep 0.05; done", false),
            ("job", "exit 0", true))
        #expect(try http(server.port, "GET /health/ready").hasPrefix("HTTP/1.1 503"))
        let deadline = ContinuousClock.now + .seconds(20)
        while !supervisor.hasFinished("job"), ContinuousClock.now < deadline {
            _ = supervisor.turn()
        }
        #expect(try http(server.port, "GET /health/ready").hasPrefix("HTTP/1.1 200"))
        let json = try JSONValue(parsing: status.json)
        #expect(json["state"]?.text == "assigned" && json["reason"] == .null)
        let processes = try #require(json["processes"]?.array)
        #expect(processes.map { $0["state"]?.text } == ["running", "finished"])
        #expect(processes[0]["http"]?.text == "127.0.0.1:9101" && processes[1]["http"] == .null)
        #expect(processes[0]["pid"]?.integer != nil && processes[1]["exits"]?["0"]?.integer == 1)
        #expect(try page().value("coldstream_running_processes", ["process": "a"]) == 1)
        supervisor.stopAll()
        #expect(try http(server.port, "GET /health/ready").hasSuffix("draining\n"))
    }

    @Test func `who waits for a restart is named`() throws {
        let supervisor = supervisor(("a", "exit 76", false))
        let deadline = ContinuousClock.now + .seconds(20)
        while status.processes.first?.exits[76] == nil, ContinuousClock.now < deadline {
            _ = supervisor.turn()
        }
        #expect(status.unreadyBecause == "waiting for a", "a fenced process waits for seconds")
        #expect(try page().value("coldstream_ready_workers") == 0)
        supervisor.stopAll()
    }

    @Test func `a supervisor that looks at nothing any more is dead`() {
        let now = ContinuousClock.now
        #expect(status.deadBecause(at: now + .seconds(1_000)) == nil, "it has not begun")
        status.publish([], isDraining: false)
        #expect(status.deadBecause(at: now + .seconds(80)) == nil)
        #expect(status.deadBecause(at: now + .seconds(100))?.contains("90 s") == true)
    }
}
