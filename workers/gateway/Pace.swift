// Replay at the pace of event time: how far a replay may go now, and how long until the next event.

import Streams

/// Maps wall time to event time, from the first event on, times a factor.
public struct Pace {
    private let speed: Double
    private var firstEvent: Int64?
    private var start: Int64 = 0

    /// - Parameter speed: event seconds a wall second; 1 is as it happened.
    public init(speed: Double) {
        precondition(speed > 0, "a replay of speed \(speed) never comes to an end")
        self.speed = speed
    }

    /// The event time up to which a replay may have come at wall time `now`, in milliseconds.
    public mutating func eventTime(at now: Int64, next event: Int64) -> Int64 {
        guard let firstEvent else {
            firstEvent = event
            start = now
            return event
        }
        return firstEvent + Int64(Double(now - start) * speed)
    }

    /// Milliseconds from `now` until `event` is due.
    public func wait(until event: Int64, at now: Int64) -> Int64 {
        guard let firstEvent else { return 0 }
        let due = start + Int64((Double(event - firstEvent) / speed).rounded(.up))
        return max(0, due - now)
    }
}

extension Ingest {
    /// Appends the whole input, each event when its time has come; at once without a pace.
    ///
    /// - Parameters:
    ///   - clock: wall time in milliseconds, from any beginning.
    ///   - sleep: waits so many milliseconds, 0 without a pace; `false` stops between two turns.
    ///   - report: called after each turn.
    ///   - hasCaughtUp: whether the next turn may come; asked again and again behind every one but the
    ///     last.
    public func run(
        pace: Pace? = nil, clock: () -> Int64, sleep: (Int64) -> Bool,
        report: (IngestProgress) -> Void = { _ in }, hasCaughtUp: () throws -> Bool = { true }
    ) throws {
        guard var pace else {
            while sleep(0) {
                let goesOn = try turn()
                report(progress)
                if !goesOn { return }
                while try !hasCaughtUp() {
                    guard sleep(Self.catchUpMilliseconds) else { return }
                }
            }
            return
        }
        var limit = Int64.min
        while true {
            if let next = try nextEventTime() {
                limit = pace.eventTime(at: clock(), next: next)
                if next > limit {
                    guard sleep(pace.wait(until: next, at: clock())) else { return }
                    limit = next
                }
            }
            let goesOn = try turn(until: limit)
            report(progress)
            if !goesOn { return }
            while try !hasCaughtUp() {
                guard sleep(Self.catchUpMilliseconds) else { return }
            }
        }
    }

    private static var catchUpMilliseconds: Int64 { 5 }
}
