// One embedded run from its first line to summary.json.

import Bytes
import EmbeddedFleet
import EventMapping
import FleetSettings
import Gateway
import JSON
import LineFiles
import Reports
import Streams
import TextEncoding

#if canImport(Glibc)
    import Glibc
#endif

/// What is run, over what.
struct EmbeddedRun {
    var settings: FleetSettings
    var layout: FleetLayout
    /// Files, plain or gzip; without events it runs over what the log of a data folder holds.
    var events: String?
    var catalog: String?
    /// Where the log is kept; nil: it dies with the process.
    var data: String?
    /// Whether the end of the input closes every window.
    var closes = true
    /// Event seconds a wall second; nil: as fast as it goes.
    var speed: Double?
    var map: EventMap?

    init(settings: FleetSettings, layout: FleetLayout, events: String?) {
        self.settings = settings
        self.layout = layout
        self.events = events
    }

    /// Runs to the end of the input and writes the outputs.
    ///
    /// - Returns: false where a signal stopped it; a run with a data folder has then written its
    ///   checkpoints, and the next one goes on from there.
    func run(into output: String) throws -> Bool {
        let settings = try MemoryLimit.fit(settings, layout)
        let key = try UserHashKey.read(settings)
        let start = ProcessFacts.seconds
        let log =
            try data.map { folder in
                try FolderFiles.make(folder)
                return try MemoryLog(topics: layout.topics, folder: folder)
            } ?? MemoryLog(topics: layout.topics)
        let fleet = try EmbeddedFleet(
            settings, layout: layout, log: log, userHashKey: key,
            environment: ProcessFacts.environment)
        tellOfDefaultEncoder(settings)
        if let input { try fleet.begin(input) }
        let files = try OutputFiles(log, folder: output, keepsLog: data != nil)
        guard try drain(fleet, files) else {
            try checkpoint(fleet, log)
            return false
        }
        try files.finish()
        try checkpoint(fleet, log)
        tellOfTexts(fleet)
        let seconds = ProcessFacts.seconds - start
        var summary = RunSummary(fleet)
        if data != nil {
            // Lines that earlier runs held back are in the log, and nobody's state counts them.
            let earlier =
                try RunFolder.heldBackLines(in: output)
                - (fleet.ingest?.progress.unusableEvents ?? 0)
            summary.deadLetters += earlier
            summary.events += earlier
        }
        try RunFolder.write(
            summary.json(seconds: seconds, memoryPeakBytes: ProcessFacts.memoryPeak), to: output)
        return true
    }

    private func tellOfDefaultEncoder(_ settings: FleetSettings) {
        guard settings.value("encoder").origin == .builtIn, settings.integer("dimension") > 0 else {
            return
        }
        let folder = InstalledModel.folder(ProcessFacts.environment)
        let isThere = folder.map { InstalledModel.isThere($0) } ?? false
        say(
            isThere
                ? "coldstream: text: hashed n-grams; --set text.encoder=minilm uses the language model in "
                    + folder!
                : "coldstream: text: hashed n-grams, no language model installed; `coldstream text "
                    + "install` gets one")
    }

    /// What became of texts, where that took a while or did not end well.
    private func tellOfTexts(_ fleet: EmbeddedFleet) {
        guard let maker = fleet.maker else { return }
        let counts = maker.counts
        if counts.texts > 0, counts.seconds >= 1 {
            say(
                "coldstream: text: \(Formatted.count(counts.texts)) texts encoded by "
                    + "\(maker.identity.name), "
                    + "\(Formatted.count(Int64(Double(counts.texts) / counts.seconds))) texts/s")
        }
        if fleet.encode.owed > 0 {
            say(
                "coldstream: text: \(Formatted.count(Int64(fleet.encode.owed))) items and queries have no "
                    + "vector yet: \(counts.lastError ?? "the encoder failed")"
                    + (data == nil ? "" : "; the same command goes on with them"))
        }
    }

    private var input: IngestInput? {
        guard let events else { return nil }
        var input = IngestInput(
            name: FolderFiles.resolved(events), events: events, catalog: catalog)
        input.label = events
        input.closes = closes
        if let map { MapFile.apply(map, to: &input) }
        return input
    }

    /// Turn by turn until everything is drained; false: a signal came in between.
    private func drain(_ fleet: EmbeddedFleet, _ files: OutputFiles) throws -> Bool {
        var bar = ProgressBar()
        defer { bar.end() }
        let total = size
        var pace = speed.map { Pace(speed: $0) }
        while true {
            if StopSignal.isRaised { return false }
            let goesOn: Bool
            if let ingest = fleet.ingest, pace != nil {
                guard let limit = try wait(ingest, &pace!) else { return false }
                let hasMore = try ingest.turn(until: limit)
                goesOn = try fleet.drain() > 0 || hasMore
            } else {
                goesOn = try fleet.turn()
            }
            try files.drain()
            try fleet.trim()
            guard goesOn else { return true }
            if let progress = fleet.ingest?.progress {
                bar.show(total.map { Double(progress.bytes) / Double(max(1, $0)) }) { elapsed in
                    let rate = Double(progress.eventLines) / max(0.001, elapsed)
                    return
                        "\(Formatted.count(progress.linesSkipped + progress.eventLines)) events, "
                        + "\(Formatted.count(Int64(rate)))/s, "
                        + "\(Formatted.count(progress.deadLetters)) unusable lines"
                }
            }
        }
    }

    /// Waits until the next event is due; returns up to which event time the replay may go now, nil
    /// where a signal came first.
    private func wait(_ ingest: Ingest<MemoryLogClient>, _ pace: inout Pace) throws -> Int64? {
        func now() -> Int64 { Int64(ProcessFacts.seconds * 1_000) }
        guard let next = try ingest.nextEventTime() else { return Int64.max }
        var limit = pace.eventTime(at: now(), next: next)
        while limit < next {
            let left = pace.wait(until: next, at: now())
            usleep(UInt32(min(100, max(1, left))) * 1_000)
            if StopSignal.isRaised { return nil }
            limit = pace.eventTime(at: now(), next: next)
        }
        return limit
    }

    /// With a data folder: everything is on disk, and the next start has nothing to replay.
    private func checkpoint(_ fleet: EmbeddedFleet, _ log: MemoryLog) throws {
        guard data != nil else { return }
        try fleet.enrich.checkpointAll()
        try fleet.finetune.checkpointAll()
        try log.flush()
    }

    /// Bytes of content of all files; nil where one does not tell.
    private var size: Int64? {
        var total: Int64 = 0
        for file in [events, catalog] {
            guard let file else { continue }
            guard let size = FolderFiles.contentSize(file) else { return nil }
            total += size
        }
        return total
    }
}
