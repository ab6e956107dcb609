// The example of README.md, compiled and run.

import Bytes
import Foundation
import KafkaTransactions
import Testing

// begin of the README's example
/// Reads words from one topic and writes them in capitals to another, exactly once, until "stop".
func shout(from source: String, to target: String, address: String) throws {
    let cluster = ClientProperties(bootstrapServers: address)
    let producer = try TransactionalProducer(
        TransactionalProducerSettings(client: cluster, transactionalID: "shout-0"))
    try producer.initialise()  // fences whoever had this id before
    let capitals = try producer.topic(target)
    let consumer = try Consumer(ConsumerSettings(client: cluster, group: "shout"))
    try consumer.subscribe(to: [source])
    while true {
        switch try consumer.poll(timeoutMilliseconds: 1_000) {
        case .record(let record):
            let word = record.view.value?.text ?? ""
            var transaction = try producer.begin()
            try word.uppercased().lend {
                try transaction.produce(capitals, key: record.view.key, value: $0)
            }
            let next = Position(source, record.view.partition, record.view.offset + 1)
            try transaction.send([next], of: consumer)
            try transaction.commit()  // word and position: both or none
            if word == "stop" { return consumer.close() }
        case .assigned(let partitions):
            let positions = try consumer.committed(partitions)
            try consumer.assign(partitions.map { Position($0, positions[$0] ?? 0) })
        case .revoked: try consumer.unassign()
        default: break
        }
    }
}
// end of the README's example

@Test func `the README shows the example that is compiled here`() throws {
    let here = URL(fileURLWithPath: #filePath)
    let source = try String(contentsOf: here, encoding: .utf8)
    let readme = try String(
        contentsOf: here.deletingLastPathComponent()
            .appendingPathComponent("../../Sources/KafkaTransactions/README.md"), encoding: .utf8)
    let begin = try #require(source.range(of: "// begin of the README's example\n"))
    let end = try #require(source.range(of: "// end of the README's example\n"))
    #expect(readme.contains(source[begin.upperBound..<end.lowerBound]))
}
