// How fast a worker takes a backlog in, and what memory that needs.

import KafkaTransactions

/// What draining a backlog took.
struct Drain {
    /// Records of the backlog.
    var records = 0
    /// Of the worker's process, from its start to the commit of the last record.
    var processorSeconds = 0.0
    /// Records a second of wall time, from the first commit that was seen to the last.
    var recordsPerSecond = 0.0
    /// Resident memory when a quarter, a half, three quarters and all were committed: the most since the
    /// one before, in bytes.
    var memory: [Int64] = []
    /// Commits a second, over the same time as `recordsPerSecond`.
    var commitsPerSecond = 0.0
    /// Records that the worker published, its checkpoints and positions included.
    var recordsOut = 0

    var recordsPerCoreSecond: Double { Double(records) / processorSeconds }

    var memoryText: String {
        memory.map { "\($0 >> 20)" }.joined(separator: ", ") + " MiB at 25, 50, 75, 100 %"
    }
}

extension BenchmarkFleet {
    /// Lets a worker drain what `goal` says and stops it.
    ///
    /// - Parameters:
    ///   - role: whose group commits.
    ///   - goal: by partition, the offset behind the last record.
    func drain(
        _ worker: WorkerProcess, _ role: String, records: Int, goal: [TopicPartition: Int64]
    ) throws -> Drain {
        let offsets = try Offsets(client, group: "\(fleet.settings.fleet).\(role)")
        let places = goal.keys.sorted()
        let total = goal.values.reduce(0, +)
        var drain = Drain(records: records)
        var first: (moment: ContinuousClock.Instant, done: Int64)?
        var last: (moment: ContinuousClock.Instant, done: Int64) = (.now, -1)
        var peak: Int64 = 0
        while true {
            try around.checkStop()
            try worker.check()
            let committed = try offsets.committed(places)
            let processor = worker.processorSeconds
            let done = places.reduce(Int64(0)) { $0 + min(committed[$1] ?? 0, goal[$1]!) }
            peak = max(peak, worker.residentBytes)
            while drain.memory.count < 4, done * 4 >= total * Int64(drain.memory.count + 1) {
                drain.memory.append(peak)
                if drain.memory.count < 4 { peak = worker.residentBytes }
            }
            if done > last.done {
                last = (.now, done)
                if first == nil, done > 0 { first = last }
            } else if ContinuousClock.now - last.moment > .seconds(60) {
                throw BenchmarkError(
                    "\(role) stands still at \(done) of \(total) for 60 s")
            }
            if done == total {
                drain.processorSeconds = processor
                break
            }
            sleepMilliseconds(20)
        }
        let report = try worker.stop()
        drain.recordsOut = report.recordsOut
        let wall = seconds(last.moment - first!.moment)
        if wall > 0 {
            let share = Double(total - first!.done) / Double(max(1, total))
            drain.recordsPerSecond = Double(records) * share / wall
            drain.commitsPerSecond = Double(report.commits) * share / wall
        }
        return drain
    }
}

func seconds(_ duration: Duration) -> Double {
    Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
}
