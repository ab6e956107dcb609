// Whether there is room: on disks that can be looked at, and how much the fleet keeps on those that cannot.

import Contracts
import KafkaTransactions

/// Room on the file system of a folder, as its machine tells.
public struct DiskSpace: Equatable, Sendable {
    public let folder: String
    /// Bytes that a program without privileges may still write; nil: the folder is not there.
    public let free: Int64?
    public let size: Int64

    public init(folder: String, free: Int64?, size: Int64) {
        self.folder = folder
        self.free = free
        self.size = size
    }
}

extension Doctor {
    /// Below a tenth of a disk something should be done, below a twentieth now: a broker whose disk is
    /// full stops.
    func disk(keptBytes: Int64?) -> Finding {
        let kept =
            keptBytes.map { "the fleet's topics keep at most \($0 >> 20) MiB on the brokers" }
            ?? "how much the topics keep is not known"
        // Kafka tells its disks by DescribeLogDirs, which librdkafka does not send.
        guard !around.disks.isEmpty else {
            return Finding(
                "disk", .ok,
                "\(kept), before copies and compression; no worker writes to a disk, and the brokers' "
                    + "cannot be asked from here (doctor --disk DIR on their machines looks)")
        }
        let rooms = around.disks.map { disk -> (outcome: Finding.Outcome, sentence: String) in
            guard let free = disk.free else { return (.failed, "\(disk.folder) is not there") }
            let share = disk.size > 0 ? free * 100 / disk.size : 0
            let outcome: Finding.Outcome =
                free * 20 < disk.size || disk.size == 0
                ? .failed : free * 10 < disk.size ? .warning : .ok
            return (outcome, "\(disk.folder) has \(free >> 20) MiB free, \(share) %")
        }
        let worst =
            [Finding.Outcome.failed, .warning].first { outcome in
                rooms.contains { $0.outcome == outcome }
            } ?? .ok
        let shown = rooms.filter { $0.outcome == worst }.map(\.sentence)
        return Finding(
            "disk", worst, "\(Finding.list(shown)); \(kept)",
            worst == .ok
                ? nil
                : "give it room, or lower retention.ms of the largest topics (Kafka's kafka-log-dirs "
                    + "--describe shows them): a broker whose disk is full stops")
    }

    /// At most what the logs hold, by their offsets and the contracts' bytes a record.
    func keptBytes(_ topics: TopicsFound) throws -> Int64 {
        let offsets = try Offsets(fleet.client, group: doctorGroup)
        var bytes: Int64 = 0
        for contract in TopicContract.all {
            let places = (0..<topics.partitions[contract.topic]!).map {
                TopicPartition(fleet.topics[contract.topic], $0)
            }
            let records = try offsets.offsets(of: places).values.reduce(0) {
                $0 + $1.end - $1.first
            }
            bytes += records * Int64(contract.bytesPerRecord)
        }
        return bytes
    }
}
