// `coldstream bench stream --brokers` as a process, small.

import Foundation
import JSON
import KafkaTestBroker
import KafkaTransactions
import Testing

@Suite(.serialized, .enabled(if: RealBroker.isAvailable, Comment(rawValue: RealBroker.absence)))
struct KafkaBenchmarkTests {
    private static let program = URL(fileURLWithPath: CommandLine.arguments[0])
        .deletingLastPathComponent().appendingPathComponent("coldstream")

    private func run(_ words: String...) throws -> (status: Int32, output: String) {
        let process = Process()
        process.executableURL = Self.program
        process.arguments = words
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let bytes = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: bytes, as: UTF8.self))
    }

    @Test func `the benchmark tells every figure and leaves no topic behind`() throws {
        let broker = try RealBroker.shared()
        let (status, output) = try run(
            "bench", "stream", "--brokers", broker.address, "--events", "2000", "--seconds", "1",
            "--pace", "200", "--format", "json")
        #expect(status == 0)
        let figures = try JSONValue(parsing: output).array ?? []
        #expect(
            figures.compactMap { $0["name"]?.text } == [
                "kafka.finetune_statistics", "kafka.finetune_head", "kafka.enrich", "kafka.chain",
                "kafka.exactly_once_cost", "kafka.backlog_enrich", "kafka.backlog_finetune",
                "kafka.freshness_p50", "kafka.freshness_p99", "kafka.freshness_p999",
            ])
        for figure in figures {
            let name = figure["name"]?.text ?? ""
            #expect((figure["value"]?.double ?? 0) > 0 || name.hasSuffix("cost"), "\(name)")
            #expect(figure["unit"]?.text?.isEmpty == false && figure["detail"]?.text != nil)
        }
        let left = try topics(of: broker).filter { $0.hasPrefix("coldstream-bench") }
        #expect(left == [], "its fleets' topics are deleted")
    }

    private func topics(of broker: RealBroker) throws -> [String] {
        let admin = try Admin(ClientProperties(bootstrapServers: broker.address))
        return try admin.topicNames()
    }
}
