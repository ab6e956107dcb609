// Whether the logs reach back as far as a recovery would have to go.

import Contracts
import KafkaTransactions
import Streams

/// What `checkpoints` says of the fleet: positions, checkpoints, settings.
struct CheckpointNotes {
    struct Place: Hashable {
        let group: String
        let partition: Int
    }

    private(set) var positions: [Place: Int64] = [:]
    private(set) var manifests: [Place: Int64] = [:]
    /// The hash of the newest settings, by partition of domain-log.
    private(set) var settings: [Int: String] = [:]

    /// Reads the topic from its beginning, as a recovery does.
    init(_ fleet: KafkaFleet, _ topics: TopicsFound) throws {
        let offsets = try Offsets(fleet.client, group: "\(fleet.settings.fleet).doctor")
        let places = (0..<topics.partitions[.checkpoints]!).map {
            TopicPartition(fleet.topics[.checkpoints], $0)
        }
        let bounds = try offsets.offsets(of: places)
        for place in places {
            let key = Array(fleet.settingsKey(place.partition).utf8)
            let here = bounds[place]!
            try offsets.forEachRecord(of: place, from: here.first, upTo: here.committedEnd) {
                view in
                guard let found = view.key else { return }
                if key.lend({ $0.equals(found) }) {
                    settings[place.partition] = view.value?.text
                } else if let note = try CheckpointNote(key: found, value: view.value) {
                    let place = Place(group: note.group, partition: note.partition)
                    switch note.kind {
                    case .position: positions[place] = note.next
                    case .manifest: manifests[place] = note.next
                    }
                }
            }
        }
    }
}

extension Doctor {
    /// Whether the newest settings in the log are those of the file.
    func settings(_ notes: CheckpointNotes, _ topics: TopicsFound) -> Finding {
        let partitions = 0..<topics.partitions[.domainLog]!
        let without = partitions.filter { notes.settings[$0] == nil }
        let advice = "coldstream topics apply writes the settings of the file to every partition"
        guard without.isEmpty else {
            return Finding(
                "settings", .failed,
                "\(without.count) of \(partitions.count) partitions of domain-log have no settings yet: "
                    + "finetune does not step without them", advice)
        }
        let others = partitions.filter { notes.settings[$0] != fleet.settingsHash }
        guard others.isEmpty else {
            return Finding(
                "settings", .warning,
                "\(others.count) of \(partitions.count) partitions of domain-log have other settings than "
                    + "\(fleet.settings.file)", advice)
        }
        return Finding("settings", .ok, "the newest settings in domain-log are those of the file")
    }

    /// How long each step role could stay away before retention passes what it would have to replay.
    func retention(_ notes: CheckpointNotes, _ topics: TopicsFound) throws -> Finding {
        var slack: [(hours: Double, place: TopicPartition)] = []
        var retentions: Set<String> = []
        var lost: [String] = []
        for (role, topic) in KafkaFleet.inputs where !role.hasPrefix("encode") {
            let name = fleet.topics[topic]
            let retention = topics.setting("retention.ms", of: name).flatMap { Int64($0) }
            retentions.insert(retention.map { $0 < 0 ? "unlimited" : "\($0)" } ?? "unknown")
            for row in try fleet.lag(now: around.clock(), roles: [role]) {
                let place = CheckpointNotes.Place(
                    group: "\(fleet.settings.fleet).\(role)", partition: row.partition)
                let here = TopicPartition(name, row.partition)
                if let sentence = passed(row, notes.manifests[place]) { lost.append(sentence) }
                guard let retention, retention >= 0,
                    let from = min(notes.manifests[place], row.committed)
                else { continue }
                let age = try self.age(of: here, from: max(from, row.first))
                slack.append((Double(retention - age) / 3_600_000, here))
            }
        }
        return finding(slack, lost, retentions)
    }

    /// How old the oldest record is that a recovery would read, in milliseconds.
    private func age(of place: TopicPartition, from offset: Int64) throws -> Int64 {
        let oldest = try Offsets(fleet.client, group: doctorGroup)
            .firstRecords(from: [Position(place, offset)])[place]?.timestamp
        return oldest.map { max(0, around.clock() - $0) } ?? 0
    }

    private func min(_ a: Int64?, _ b: Int64?) -> Int64? {
        guard let a, let b else { return a ?? b }
        return Swift.min(a, b)
    }

    /// Whether the log no longer has what a role has to read.
    func passed(_ row: PartitionLag, _ checkpoint: Int64?) -> String? {
        guard let committed = row.committed else { return nil }
        let place = "\(row.topic)/\(row.partition)"
        if row.first > committed {
            return "\(place) begins at \(row.first), \(row.role) has read up to \(committed)"
        }
        if let checkpoint, checkpoint < committed, row.first > checkpoint {
            return
                "\(place) begins at \(row.first), the checkpoint of \(row.role) is at \(checkpoint)"
        }
        return nil
    }

    private func finding(
        _ slack: [(hours: Double, place: TopicPartition)], _ lost: [String],
        _ retentions: Set<String>
    ) -> Finding {
        guard lost.isEmpty else {
            return Finding(
                "retention", .failed, Finding.list(lost),
                "while the worker runs, stop it by SIGTERM: its last checkpoint replays nothing; else "
                    + "restore a snapshot, or reset the group and its checkpoints. Then raise retention.ms"
            )
        }
        guard let least = slack.min(by: { ($0.hours, $0.place) < ($1.hours, $1.place) }) else {
            let why =
                retentions == ["unlimited"]
                ? "the logs are kept for ever"
                : retentions.contains("unknown")
                    ? "the logs reach back to every checkpoint; how long they are kept is kept from us"
                    : "nothing has been processed yet"
            return Finding("retention", .ok, why)
        }
        let hours = Int(least.hours.rounded(.down))
        let total = retentions.compactMap { Int64($0) }.min() ?? 0
        let said = "at least \(hours) hours until retention passes what a recovery would read"
        guard least.hours * 3_600_000 > Double(total) / 4 else {
            return Finding(
                "retention", .warning, "\(said) (\(least.place))",
                "let the role catch up (coldstream lag), or raise retention.ms of the topic")
        }
        return Finding("retention", .ok, said)
    }
}
