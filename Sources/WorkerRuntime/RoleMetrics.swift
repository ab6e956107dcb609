// What a role shows beside the metrics of every worker.

import Streams

/// How the states of a role are read for `/metrics`; nothing in it changes one.
public struct RoleMetrics<State: PartitionState> {
    /// What stands on the page, with or without a value.
    public var metrics: [Metric] = []
    /// Newest event time of a state, milliseconds since the epoch.
    public var eventTime: (State) -> Int64? = { _ in nil }
    /// For a role that publishes at points.
    public var publication: ((State) -> Publication)?
    /// Adds the values of the role's metrics. A counter that is part of a state has the label
    /// `partition`: it goes where the partition goes.
    public var read:
        (_ states: [(partition: Int, state: State)], _ values: inout MetricValues) -> Void = {
            _, _ in
        }

    public init() {}

    /// Everything that a worker of this role shows.
    public var allMetrics: [Metric] {
        Metric.ofWorkers + Metric.ofSteps + (publication == nil ? [] : [.freshness]) + metrics
    }

    /// Values of what workers with a state show, and of the role's own metrics.
    ///
    /// - Parameter freshness: nil for a role that publishes at no points.
    func values(
        of states: [(partition: Int, state: State)], _ checkpoints: CheckpointCounts,
        recoveries: Int, replayed: Int64, recoverySeconds: Double, freshness: Histogram
    ) -> MetricValues {
        var values = MetricValues(Metric.ofSteps)
        values.add(.recoveries, Int64(recoveries))
        values.add(.recoverySeconds, recoverySeconds)
        values.add(.recordsReplayed, replayed)
        values.add(.checkpoints, checkpoints.count)
        values.add(.checkpointBytes, checkpoints.bytes)
        values.add(.checkpointSeconds, checkpoints.seconds)
        addTables(of: states.map(\.state), to: &values)
        if publication != nil { values.add(.freshness, freshness) }
        values.append(MetricValues(metrics))
        read(states, &values)
        return values
    }

    private func addTables(of states: [State], to values: inout MetricValues) {
        var order: [String] = []
        var rows: [String: Int] = [:]
        var bytes: [String: Int] = [:]
        for state in states {
            for table in state.tables {
                if rows[table.name] == nil { order.append(table.name) }
                rows[table.name, default: 0] += table.liveRows
                bytes[table.name, default: 0] += table.allocatedBytes
            }
        }
        for name in order {
            values.add(.tableRows, Int64(rows[name]!), name)
            values.add(.tableBytes, Int64(bytes[name]!), name)
        }
    }
}
