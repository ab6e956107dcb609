// What every test of the gateway works with: files of lines, a MemoryLog, what arrived.

import Bytes
import Contracts
import Foundation
import Gateway
import JSON
import LineFiles
import Streams

#if canImport(Glibc)
    import Glibc
#endif

/// A folder for one test, removed with it.
final class Folder {
    let path: String

    init() {
        var template = Array(
            (NSTemporaryDirectory() + "coldstream-gateway-XXXXXX").utf8CString)
        path = template.withUnsafeMutableBufferPointer { String(cString: mkdtemp($0.baseAddress!)) }
    }

    deinit {
        for name in ["events.jsonl", "events.jsonl.gz", "catalog.jsonl"] {
            unlink("\(path)/\(name)")
        }
        rmdir(path)
    }

    func write(_ name: String, _ lines: [String], ending: String = "\n") throws -> String {
        let text = lines.map { $0 + ending }.joined()
        try text.lend { try LineWriter.write($0, to: "\(path)/\(name)") }
        return "\(path)/\(name)"
    }
}

func event(_ id: String, _ time: Int64, user: String = "u") -> String {
    #"{"type":"impression","id":"\#(id)","time_ms":\#(time),"domain":"d","user_id":"\#(user)","item_id":"a"}"#
}

func item(_ id: String, _ time: Int64) -> String {
    #"{"item_id":"\#(id)","time_ms":\#(time),"title":"\#(id)"}"#
}

func makeLog(events: Int = 1) -> MemoryLog {
    MemoryLog(
        topics: Topic.allCases.map {
            MemoryTopic(
                name: $0.name, partitions: $0 == .events ? events : 1, isCompacted: $0.isCompacted)
        })
}

func makeIngest(
    _ log: MemoryLog, _ input: IngestInput, settings: GatewaySettings = GatewaySettings()
) throws -> Ingest<MemoryLogClient> {
    try Ingest(
        settings,
        client: MemoryLogClient(
            log, group: "gateway", input: Topic.events, transactionalID: "gateway.0"),
        input: input, moveClock: { log.now = max(log.now, $0) })
}

/// Runs an input to its end.
@discardableResult
func ingest(
    _ log: MemoryLog, events: String? = nil, catalog: String? = nil, closes: Bool = false,
    map: LineMap? = nil, settings: GatewaySettings = GatewaySettings()
) throws -> IngestProgress {
    var input = IngestInput(name: "test", events: events, catalog: catalog)
    input.closes = closes
    input.map = map
    let ingest = try makeIngest(log, input, settings: settings)
    while try ingest.turn() {}
    return ingest.progress
}

/// Values of a topic; the closing tick as `tick`, events and items as their ids.
func arrived(_ log: MemoryLog, _ topic: Topic, partition: Int = 0) throws -> [String] {
    var values: [String] = []
    try log.read(topic, partition: partition) { record in
        let value = try JSONValue(parsing: record.value!)
        if value["type"]?.text == "tick" {
            values.append(value["close"]?.boolean == true ? "close" : "tick")
        } else {
            values.append(value["id"]?.text ?? value["item_id"]?.text ?? value["reason"]!.text!)
        }
    }
    return values
}
