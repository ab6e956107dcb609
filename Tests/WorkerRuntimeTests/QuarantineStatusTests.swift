import Bytes
import Contracts
import CountingRole
import JSON
import KafkaTestBroker
import KafkaTransactions
import PrometheusText
import Streams
import Testing

@testable import WorkerRuntime

/// What a worker on a real broker shows when it cannot go on.
@Suite(.serialized, .enabled(if: RealBroker.isAvailable, Comment(rawValue: RealBroker.absence)))
struct QuarantineStatusTests {
    @Test func `a partition that is refused stands in the status with the sentence`() throws {
        let fleet = try Fleet(try RealBroker.shared())
        let process = CountingProcess(address: fleet.broker.address, fleet: fleet.name, slot: 0)
        try fleet.feed(200)
        let first = BackgroundWorker(process)
        try fleet.drain()
        #expect(first.end() == .done)
        // The checkpoint loses a record that it cannot do without.
        let producer = try IdempotentProducer(ProducerSettings(client: fleet.client))
        let topic = try producer.topic(fleet.topics[.checkpoints])
        try "\(fleet.name).counter/2/manifest".lend {
            try producer.produce(topic, partition: 2, key: $0, value: nil)
        }
        try producer.flush()

        let lines = Lines()
        let status = WorkerStatus(
            fleet: fleet.name, worker: process.settings.slotName, version: "1", library: "l")
        let worker = KafkaWorker(
            role: Counter(), log: try KafkaLogClient(process.settings, input: Topic.events),
            input: Topic.events, checkpoints: Topic.checkpoints, limits: process.limits,
            status: status, journal: Journal(worker: "w") { lines.append($0) },
            watchdog: Watchdog { _ in })
        let error = #expect(throws: Quarantine.self) {
            try worker.run(until: StopSignal { false })
        }
        let json = try JSONValue(parsing: status.json)
        #expect(json["state"]?.text == "quarantined")
        #expect(json["reason"]?.text == error?.description)
        #expect(json["reason"]?.text?.contains("partition 2 is quarantined") == true)
        #expect(json["step_version"]?.text == "counter/1" && json["numerics"] == .null)
        #expect(status.unreadyBecause == "quarantined")
        let page = try PrometheusPage(parsing: status.metrics)
        #expect(page.value("coldstream_quarantined_partitions") == 1)
    }
}
