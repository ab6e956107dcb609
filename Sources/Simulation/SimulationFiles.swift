// A simulation as a folder of files, or in memory.

import Bytes
import Contracts
import JSON
import LineFiles

#if canImport(Glibc)
    import Glibc
#endif

/// Writes a simulation into a folder that `up --embedded --input` reads.
public enum SimulationFiles {
    /// Writes `events.jsonl.gz` (or `events.jsonl`), `catalog.jsonl`, `truth.jsonl`,
    /// `truth-items.jsonl` and `coldstream.json`; equal settings give equal bytes. Memory does not
    /// grow with the number of events.
    ///
    /// - Parameters:
    ///   - folder: made if it is not there.
    ///   - progress: called now and then with the part that is done, 0 to 1.
    public static func write(
        _ settings: SimulationSettings, to folder: String, compressed: Bool = true,
        progress: (Double) -> Void = { _ in }
    ) throws(LineFileError) -> TrafficTally {
        try makeFolder(folder)
        var generator = TrafficGenerator(settings)
        try writeCatalog(generator.world, to: folder + "/catalog.jsonl")
        var events = try LineWriter.create(
            folder + (compressed ? "/events.jsonl.gz" : "/events.jsonl"), compressionLevel: 3)
        var truths = try LineWriter.create(folder + "/truth.jsonl")
        var line = ByteBuffer()
        var truth = ByteBuffer()
        while generator.next(line: &line, truth: &truth) {
            try events.append(line: line.slice)
            try truths.append(truth.slice)
            truth.removeAll()
            if generator.tally.lines & 0x3FFF == 0 { progress(generator.progress) }
        }
        try truths.append(truth.slice)
        try events.finish()
        try truths.finish()
        var items = try LineWriter.create(folder + "/truth-items.jsonl")
        try generator.forEachTruthItem { (line) throws(LineFileError) in
            try items.append(line: line)
        }
        try items.finish()
        let file = settings.settingsFile.text
        try file.writeFile(folder + "/coldstream.json")
        progress(1)
        return generator.tally
    }

    private static func writeCatalog(_ world: World, to path: String) throws(LineFileError) {
        var catalog = try LineWriter.create(path)
        try CatalogLines(world).forEach { (line) throws(LineFileError) in
            try catalog.append(line: line)
        }
        try catalog.finish()
    }
}

/// Makes a folder and those above it.
func makeFolder(_ path: String) throws(LineFileError) {
    var upTo = path.hasPrefix("/") ? "/" : ""
    for part in path.split(separator: "/") {
        upTo += part + "/"
        if mkdir(upTo, 0o755) != 0, errno != EEXIST {
            throw LineFileError("make the folder", path, String(cString: strerror(errno)))
        }
    }
}

extension String {
    /// Puts the text into a file, whole or not at all.
    func writeFile(_ path: String) throws(LineFileError) {
        var bytes = ByteBuffer()
        bytes.append(self)
        try LineWriter.write(bytes.slice, to: path)
    }
}

extension SimulationSettings {
    /// The text of the `coldstream.json` that fits this simulation.
    public var fleetSettings: String { settingsFile.text }
}

extension TrafficGenerator {
    /// Calls `body` with each line of `catalog.jsonl`, without a newline, in order of time.
    public func forEachCatalogLine<E: Error>(
        _ body: (ByteSlice) throws(E) -> Void
    ) throws(E) { try CatalogLines(world).forEach(body) }

    /// How much of the run is over, 0 to 1.
    var progress: Double {
        guard let arrival = tally.lastArrival else { return 0 }
        let seconds = Double(arrival - settings.startMilliseconds) / 1_000
        return max(0, min(1, seconds / Double(settings.seconds)))
    }

    /// Calls `body` with each line of `truth-items.jsonl`; complete once `next` has returned false.
    func forEachTruthItem<E: Error>(_ body: (ByteSlice) throws(E) -> Void) throws(E) {
        var scratch = Scratch()
        var line = ByteBuffer()
        var problem: E?
        truthItems.forEach(world) { d, q, i, probability in
            guard problem == nil else { return }
            scratch.removeAll()
            line.removeAll()
            line.openRecord()
            line.member("domain", scratch.text(settings.domains[d].name))
            line.member("item_id", scratch.text(world.items[i].shelf.prefix, i))
            line.member("probability", roundedProbability(probability))
            line.member("query", orNull: q.map { scratch.text(world.queries[d][$0].text) })
            line.closeObject()
            do throws(E) { try body(line.slice) } catch { problem = error }
        }
        if let problem { throw problem }
    }
}

/// A small simulation held in memory, for tests and benchmarks.
public struct SimulatedLog: Sendable {
    public let settings: SimulationSettings
    /// Lines without newlines, in the order in which they arrive.
    public let events: [[UInt8]]
    public let catalog: [[UInt8]]
    /// Lines of `truth.jsonl` and `truth-items.jsonl`.
    public let truth: [[UInt8]]
    public let truthItems: [[UInt8]]
    /// The bytes of `coldstream.json`.
    public let settingsFile: [UInt8]
    public let tally: TrafficTally

    public init(_ settings: SimulationSettings) {
        self.settings = settings
        settingsFile = Array(settings.settingsFile.text.utf8)
        var generator = TrafficGenerator(settings)
        var catalog: [[UInt8]] = []
        CatalogLines(generator.world).forEach { catalog.append($0.copy()) }
        var events: [[UInt8]] = []
        var line = ByteBuffer()
        var truths = ByteBuffer()
        while generator.next(line: &line, truth: &truths) { events.append(line.slice.copy()) }
        var truthItems: [[UInt8]] = []
        generator.forEachTruthItem { truthItems.append($0.copy()) }
        self.events = events
        self.catalog = catalog
        self.truthItems = truthItems
        truth = truths.slice.copy().split(separator: UInt8(ascii: "\n")).map(Array.init)
        tally = generator.tally
    }
}
