// `coldstream bench json`: how fast bytes from outside become typed records, and records become
// bytes.

import Bytes
import Contracts
import JSON

#if canImport(Glibc)
    import Glibc
#endif

/// Strict, complete decoding and canonical writing on one core.
enum JSONBenchmark {
    struct Figure {
        let name: String
        var unit = "records/s"
        /// Records a second of this thread's processor time.
        let value: Double
        let bytesPerRecord: Double

        var detail: String { "\(Int(bytesPerRecord.rounded())) bytes a record" }
    }

    /// Measures and prints: a line a figure, or JSON.
    static func run(json: Bool) {
        let figures = [decodeEvents(), decodeDomainLog(), writeDomainLog()]
        guard json else {
            for figure in figures {
                print("\(figure.name): \(Int(figure.value)) \(figure.unit) (\(figure.detail))")
            }
            return
        }
        var buffer = ByteBuffer()
        buffer.openArray()
        for figure in figures {
            buffer.openObject()
            figure.detail.lend { buffer.member("detail", $0) }
            figure.name.lend { buffer.member("name", $0) }
            figure.unit.lend { buffer.member("unit", $0) }
            buffer.member("value", figure.value)
            buffer.closeObject()
        }
        buffer.closeArray()
        print(buffer.slice.text)
    }

    /// Nine impressions to a click, as an app would send them.
    static func decodeEvents() -> Figure {
        let events = sampleEvents(1_000)
        let reader = EventReader()
        return measure("json.decode_events", unit: "events/s", events) { event in
            do throws(ContractError) {
                try reader.read(event)
            } catch {
                preconditionFailure("a sample event is refused: \(error)")
            }
            return reader.event.time_ms
        }
    }

    /// The impressions and labels of the contract's examples.
    static func decodeDomainLog() -> Figure {
        let reader = DomainLogReader()
        return measure("json.decode_domain_log", sampleDomainLog()) { record in
            do throws(ContractError) {
                return try reader.read(record) == .impression
                    ? reader.impression.time_ms : reader.label.time_ms
            } catch {
                preconditionFailure("an example is refused: \(error)")
            }
        }
    }

    /// The first of these impressions.
    static func writeDomainLog() -> Figure {
        let reader = DomainLogReader()
        let examples = sampleDomainLog()
        examples[0].lend { _ = try? reader.read($0) }
        var buffer = ByteBuffer()
        return measure("json.write_domain_log", [examples[0]]) { _ in
            buffer.removeAll()
            reader.impression.append(to: &buffer)
            return Int64(buffer.count)
        }
    }

    /// Runs `body` over the records for about a tenth of a second, five times; the best counts,
    /// because others use the machine too.
    private static func measure(
        _ name: String, unit: String = "records/s", _ records: [[UInt8]],
        _ body: (ByteSlice) -> Int64
    ) -> Figure {
        var best = Double.infinity
        var checksum: Int64 = 0
        for _ in 0..<5 {
            var rounds = 0
            let start = processorSeconds()
            var seconds = 0.0
            repeat {
                for _ in 0..<max(1, 20_000 / records.count) {
                    for record in records { checksum &+= record.lend(body) }
                    rounds += 1
                }
                seconds = processorSeconds() - start
            } while seconds < 0.1
            best = min(best, seconds / Double(rounds * records.count))
        }
        precondition(checksum != 0, "nothing was read")
        let bytes = records.reduce(0) { $0 + $1.count }
        return Figure(
            name: name, unit: unit, value: 1 / best,
            bytesPerRecord: Double(bytes) / Double(records.count))
    }

    private static func sampleEvents(_ count: Int) -> [[UInt8]] {
        (0..<count).map { i in
            let user = "u\(i * 7_919 % 100_003)"
            let request = "r\(i / 10)-\(i * 31 % 997)"
            let text =
                i % 10 == 9
                ? #"{"id":"c-\#(i)-\#(user)","type":"click","time_ms":\#(1_700_000_000_000 + i * 137),"domain":"home.feed","user_id":"\#(user)","session_id":"s-\#(i / 3)-4f1c9a","request_id":"\#(request)","impression_id":"i-\#(i - 1)-\#(user)","item_id":"item-\#(i * 17 % 5_003)","position":\#(i % 24 + 1),"policy":"production","value":0.25}"#
                : #"{"id":"i-\#(i)-\#(user)","type":"impression","time_ms":\#(1_700_000_000_000 + i * 137),"domain":"home.feed","user_id":"\#(user)","request_id":"\#(request)","item_id":"item-\#(i * 17 % 5_003)","position":\#(i % 24 + 1),"query":"running shoes","propensity":0.125,"policy":"v1","user":{"city":"Oslo"},"context":{"device":"phone"}}"#
            return Array(text.utf8)
        }
    }

    private static func sampleDomainLog() -> [[UInt8]] {
        let reader = DomainLogReader()
        return TopicContract(.domainLog).examples.map(\.value).filter { value in
            let kind = value.lend { try? reader.read($0) }
            return kind == .impression || kind == .label
        }
    }

    private static func processorSeconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}
