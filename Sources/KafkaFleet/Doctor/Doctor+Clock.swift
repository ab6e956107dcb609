// How far the broker's clock is from ours.

import Bytes
import Contracts
import KafkaTransactions

extension Doctor {
    /// Difference above which something is worth looking at, in seconds.
    private static let noticeableSeconds = 5.0

    /// Kafka tells its time nowhere but in what it writes itself: the marker that ends a transaction. So
    /// one record is written to `dead-letters` and taken back, which no reader ever sees, and the time
    /// of its marker is found by asking which offset stands for which time.
    func clock(_ topics: TopicsFound) throws -> Finding {
        let place = TopicPartition(
            fleet.topics[.deadLetters], topics.partitions[.deadLetters]! - 1)
        let offsets = try Offsets(fleet.client, group: doctorGroup)
        let producer = try TransactionalProducer(transactions)
        try producer.connect()
        try producer.initialise()
        let topic = try producer.topic(place.topic)
        for _ in 0..<3 {
            let end = try offsets.offsets(of: [place])[place]!.end
            let before = around.clock()
            var transaction = try producer.begin()
            try "doctor".lend {
                try transaction.produce(
                    topic, partition: place.partition, key: $0, value: nil,
                    timestampMilliseconds: 1)
            }
            try transaction.flush()
            try transaction.abort()
            let after = around.clock()
            guard let marker = try markerOffset(place, behind: end, offsets),
                let time = try time(of: marker, in: place, near: (before + after) / 2, offsets)
            else { continue }
            return clockFinding(broker: time, before: before, after: after)
        }
        return Finding(
            "clock", .warning,
            "others write to \(place) or ran ahead of time there; the broker's clock cannot be told from it",
            "compare the clocks of this machine and the brokers, as chrony or timedatectl show them"
        )
    }

    /// The marker of our transaction, where nobody else wrote in the meantime.
    private func markerOffset(
        _ place: TopicPartition, behind end: Int64, _ offsets: Offsets
    ) throws -> Int64? {
        // An abort returns before its markers are written.
        for _ in 0..<200 {
            let now = try offsets.offsets(of: [place])[place]!
            if now.isSettled, now.end >= end + 2 { return now.end == end + 2 ? end + 1 : nil }
            around.pause(10)
        }
        return nil
    }

    /// The timestamp of what stands at `offset`, by bisection over two days.
    private func time(
        of offset: Int64, in place: TopicPartition, near middle: Int64, _ offsets: Offsets
    ) throws -> Int64? {
        let day: Int64 = 86_400_000
        /// Whether something up to `offset` has a timestamp of at least `time`.
        func reaches(_ time: Int64) throws -> Bool {
            try offsets.firstOffset(of: place, notBefore: time).map { $0 <= offset } ?? false
        }
        var (low, high) = (middle - day, middle + day)
        guard try reaches(low), try !reaches(high) else { return nil }
        while high - low > 1 {
            let half = low + (high - low) / 2
            if try reaches(half) { low = half } else { high = half }
        }
        return try offsets.firstOffset(of: place, notBefore: low) == offset ? low : nil
    }

    func clockFinding(broker: Int64, before: Int64, after: Int64) -> Finding {
        let ahead = Double(broker - (before + after) / 2) / 1_000
        let uncertain = Double(after - before) / 2_000
        let future = Double(fleet.settings.integer("future_s"))
        let said =
            "the broker's clock is \(tenths(abs(ahead))) s \(ahead < 0 ? "behind" : "ahead of") ours "
            + "(± \(tenths(uncertain)) s)"
        let advice =
            "let all machines follow the same time servers (chrony, systemd-timesyncd): event times "
            + "more than future_s (\(Int(future)) s) after a record's timestamp are dead letters"
        guard abs(ahead) - uncertain > Self.noticeableSeconds else {
            return Finding("clock", .ok, said)
        }
        return Finding("clock", abs(ahead) > future ? .failed : .warning, said, advice)
    }

    private func tenths(_ seconds: Double) -> String {
        let tenths = Int64((seconds * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }
}
