// The metrics that every worker has; what a role adds stands beside the role (`RoleMetrics`).

extension Metric {
    public static let buildInfo = Metric(
        "coldstream_build_info", .gauge, "1; what runs here.",
        labels: ["role", "slot", "version", "librdkafka", "numerics", "step_version"])
    public static let startTime = Metric(
        "coldstream_start_time_seconds", .gauge,
        "When the process started, in seconds since the epoch.")
    public static let residentBytes = Metric(
        "coldstream_memory_resident_bytes", .gauge, "Memory that the process holds.")
    public static let peakBytes = Metric(
        "coldstream_memory_peak_bytes", .gauge, "The most memory that the process has held.")
    public static let processorSeconds = Metric(
        "coldstream_processor_seconds_total", .counter,
        "Processor time that the process has taken, in user and system mode.")
    static let ready = Metric(
        "coldstream_ready_workers", .gauge, "1 when recovered and assigned, else 0.")
    static let quarantined = Metric(
        "coldstream_quarantined_partitions", .gauge,
        "Partitions that the worker refuses because their state does not fit their log.")

    static let recordsIn = Metric(
        "coldstream_records_in_total", .counter, "Records taken from the log.", labels: ["topic"])
    static let recordsProcessed = Metric(
        "coldstream_records_processed_total", .counter,
        "Records taken and processed; with those ignored they make those taken in.",
        labels: ["topic"])
    static let recordsIgnored = Metric(
        "coldstream_records_ignored_total", .counter,
        "Records taken that were not processed: below the expected offset, or of a partition that was given back.",
        labels: ["topic"])
    static let recordsSkipped = Metric(
        "coldstream_records_skipped_total", .counter,
        "Records that ended the process again and again and were skipped.", labels: ["topic"])
    static let recordsOut = Metric(
        "coldstream_records_out_total", .counter,
        "Records written in transactions that were committed.", labels: ["topic"])
    static let deadLetters = Metric(
        "coldstream_dead_letters_total", .counter,
        "Records that could not be used, as written to dead-letters.", labels: ["reason"])

    static let commitSeconds = Metric(
        "coldstream_commit_seconds", .histogram, "How long transactions took to commit.")
    static let longestCommit = Metric(
        "coldstream_commit_longest_seconds", .gauge, "The longest commit since the start.")
    static let committed = Metric(
        "coldstream_transactions_committed_total", .counter, "Transactions committed.")
    static let aborted = Metric(
        "coldstream_transactions_aborted_total", .counter,
        "Transactions aborted, which only ends what a dead process of the slot has left open; an error of the worker's own transaction ends the process."
    )

    static let lagRecords = Metric(
        "coldstream_lag_records", .gauge, "Records not processed yet, at most.",
        labels: ["topic", "partition"])
    static let lagSeconds = Metric(
        "coldstream_lag_seconds", .gauge,
        "While behind, the age of the newest record processed, by the time of its append; else 0.",
        labels: ["topic", "partition"])
    static let position = Metric(
        "coldstream_position_records", .gauge,
        "Records of the partition processed since the fleet's beginning (ordinal); for encode the next offset.",
        labels: ["topic", "partition"])
    static let queueBytes = Metric(
        "coldstream_queue_bytes", .gauge,
        "Bytes that wait in librdkafka, fetched or produced, as of its newest statistics (every 5 s).",
        labels: ["queue"])
    static let connectionsLost = Metric(
        "coldstream_connections_lost_total", .counter,
        "How often a connection to a broker broke, or none was left.")

    /// What a role with a state has beside.
    static let recoveries = Metric(
        "coldstream_recoveries_total", .counter, "Partitions recovered.")
    static let recoverySeconds = Metric(
        "coldstream_recovery_seconds_total", .counter,
        "Time from an assignment until its partitions were recovered.")
    static let recordsReplayed = Metric(
        "coldstream_records_replayed_total", .counter,
        "Records processed again in recoveries, between checkpoint and committed offset.")
    static let checkpoints = Metric(
        "coldstream_checkpoints_total", .counter, "Checkpoints of partitions written.")
    static let checkpointBytes = Metric(
        "coldstream_checkpoint_bytes_total", .counter, "Bytes of checkpoints written.")
    static let checkpointSeconds = Metric(
        "coldstream_checkpoint_seconds_total", .counter,
        "Time in which checkpoints were gathered; writing them is part of a commit.")
    static let tableRows = Metric(
        "coldstream_table_rows", .gauge, "Rows held, over the worker's partitions.",
        labels: ["table"])
    static let tableBytes = Metric(
        "coldstream_table_bytes", .gauge, "Memory of the tables, over the worker's partitions.",
        labels: ["table"])
    static let eventDelay = Metric(
        "coldstream_event_delay_seconds", .gauge,
        "How far the partition's newest event time lies behind the clock; large when old events are replayed.",
        labels: ["partition"])
    static let freshness = Metric(
        "coldstream_freshness_seconds", .histogram,
        "For every committed publish point of a partition: from the append to domain-log of the oldest record that no earlier point reflects to the end of the commit. The longest wait of the point; every other record of it waited less."
    )

    /// Of every process.
    public static let ofProcesses = [
        buildInfo, startTime, residentBytes, peakBytes, processorSeconds, ready,
    ]
    /// Of every worker.
    public static let ofWorkers =
        ofProcesses + [
            quarantined, recordsIn, recordsProcessed, recordsIgnored, recordsSkipped, recordsOut,
            deadLetters,
            commitSeconds, longestCommit, committed, aborted, lagRecords, lagSeconds, position,
            queueBytes, connectionsLost,
        ]
    /// Of workers that step over records with a state.
    public static let ofSteps = [
        recoveries, recoverySeconds, recordsReplayed, checkpoints, checkpointBytes,
        checkpointSeconds, tableRows, tableBytes, eventDelay,
    ]
}
