// `coldstream bench json`: how fast events from outside become typed records.

import Bytes
import Contracts
import JSON

#if canImport(Glibc)
    import Glibc
#endif

/// Decodes events of ordinary size, strictly and completely, on one core.
enum JSONBenchmark {
    /// Typed event decodes a core-second.
    ///
    /// - Parameter rounds: how often the 1,000 events are decoded; the best of five such runs counts, because
    ///   others use the machine too.
    /// - Returns: events a second of this thread's processor time, and the mean size of an event.
    static func decodeEvents(rounds: Int = 100) -> (eventsPerSecond: Double, bytesPerEvent: Double)
    {
        let events = sampleEvents(1_000)
        let bytes = events.reduce(0) { $0 + $1.count }
        let reader = EventReader()
        var best = Double.infinity
        for _ in 0..<5 {
            let start = processorSeconds()
            var impressions = 0
            for _ in 0..<rounds {
                for event in events {
                    event.lend { value in
                        do throws(ContractError) {
                            try reader.read(value)
                        } catch {
                            preconditionFailure("a sample event is refused: \(error)")
                        }
                    }
                    if reader.event.type == .impression { impressions += 1 }
                }
            }
            let seconds = processorSeconds() - start
            precondition(
                impressions == rounds * 900, "\(impressions) impressions in \(rounds) rounds")
            best = min(best, seconds)
        }
        return (Double(rounds * events.count) / best, Double(bytes) / Double(events.count))
    }

    /// Nine impressions to a click, about 270 bytes each, as an app would send them.
    private static func sampleEvents(_ count: Int) -> [[UInt8]] {
        (0..<count).map { i in
            let user = "u\(i * 7_919 % 100_003)"
            let request = "r\(i / 10)-\(i * 31 % 997)"
            let text =
                i % 10 == 9
                ? #"{"id":"c-\#(i)-\#(user)","type":"click","time_ms":\#(1_700_000_000_000 + i * 137),"domain":"home.feed","user_id":"\#(user)","session_id":"s-\#(i / 3)-4f1c9a","request_id":"\#(request)","impression_id":"i-\#(i - 1)-\#(user)","item_id":"item-\#(i * 17 % 5_003)","position":\#(i % 24 + 1),"policy":"production","value":0.25}"#
                : #"{"id":"i-\#(i)-\#(user)","type":"impression","time_ms":\#(1_700_000_000_000 + i * 137),"domain":"home.feed","user_id":"\#(user)","request_id":"\#(request)","item_id":"item-\#(i * 17 % 5_003)","position":\#(i % 24 + 1),"query":"running shoes","propensity":0.125,"user":{"city":"Oslo"},"context":{"device":"phone"}}"#
            return Array(text.utf8)
        }
    }

    private static func processorSeconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}
