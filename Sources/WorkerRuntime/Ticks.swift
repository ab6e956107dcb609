// Time goes on in a partition that has fallen quiet: recorded input, so replay is exact.

import Bytes
import KafkaTransactions
import Streams

#if canImport(Glibc)
    import Glibc
#endif

/// Milliseconds since the epoch.
func wallClock() -> Int64 {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    return Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000
}

/// When a partition needs ticks, and what one looks like.
public struct TickRule<State> {
    /// How long a partition must be quiet, and the time between its ticks.
    public var periodMilliseconds: Int
    /// The newest event time of a partition in which something waits for time to pass; nil where
    /// nothing does.
    public var waitingSince: (State) -> Int64?
    /// Appends the value of a tick with this event time.
    public var appendValue: (Int64, inout ByteBuffer) -> Void
    /// Headers of every tick.
    public var headers: [(name: String, value: String)]

    public init(
        periodMilliseconds: Int, headers: [(name: String, value: String)],
        waitingSince: @escaping (State) -> Int64?,
        appendValue: @escaping (Int64, inout ByteBuffer) -> Void
    ) {
        self.periodMilliseconds = periodMilliseconds
        self.headers = headers
        self.waitingSince = waitingSince
        self.appendValue = appendValue
    }
}

/// Appends ticks to quiet partitions, outside transactions: one that is lost or comes twice does no
/// harm, it is part of the log like any other record.
final class TickDriver<State> {
    private struct Quiet {
        var ordinal: Int64
        var since: ContinuousClock.Instant
        /// When the newest tick was sent; it is on its way until the ordinal moves.
        var sent: ContinuousClock.Instant?
    }

    private let rule: TickRule<State>
    private let topicName: String
    private let client: ClientProperties
    private var producer: IdempotentProducer?
    private var quiet: [Int: Quiet] = [:]
    private var value = ByteBuffer()

    init<Topic: RawRepresentable>(
        _ rule: TickRule<State>, _ settings: KafkaLogSettings, input: Topic
    ) where Topic.RawValue == UInt16 {
        self.rule = rule
        topicName = settings.topics[number: input.rawValue]
        client = settings.client
    }

    /// Looks at every owned partition; called once a turn.
    func tick(
        _ partitions: [(partition: Int, ordinal: Int64, state: State)],
        now: ContinuousClock.Instant = .now
    ) throws {
        var still: [Int: Quiet] = [:]
        for (partition, ordinal, state) in partitions {
            var here = quiet[partition] ?? Quiet(ordinal: ordinal, since: now)
            if here.ordinal != ordinal { here = Quiet(ordinal: ordinal, since: now) }
            let waits = now - (here.sent ?? here.since)
            if waits >= .milliseconds(rule.periodMilliseconds),
                let newest = rule.waitingSince(state)
            {
                try send(partition, at: newest + milliseconds(now - here.since))
                here.sent = now
            }
            still[partition] = here
        }
        quiet = still
    }

    private func milliseconds(_ duration: Duration) -> Int64 {
        duration.components.seconds * 1_000 + duration.components.attoseconds
            / 1_000_000_000_000_000
    }

    private func send(_ partition: Int, at time: Int64) throws {
        if producer == nil {
            var settings = ProducerSettings(client: client)
            settings.lingerMilliseconds = 0
            settings.queueBytes = 1 << 20
            producer = try IdempotentProducer(settings)
        }
        value.removeAll()
        rule.appendValue(time, &value)
        var headers = RecordHeaders()
        for (name, value) in rule.headers { headers.append(name, value) }
        let topic = try producer!.topic(topicName)
        try producer!.produce(
            topic, partition: partition, key: nil, value: value.slice, headers: headers)
        _ = producer!.takeLog()  // serves its events too
    }
}
