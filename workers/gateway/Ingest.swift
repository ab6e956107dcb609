// Ingest: lines of files into events and catalog, each once, in whatever pieces it is stopped.

import Bytes
import Contracts
import JSON
import LineFiles
import Streams

/// Turns one line of somebody else's into events of ours: appends each as one line of JSON with a
/// newline behind it, none for a line that says nothing, or throws why it cannot. It knows nothing of
/// other lines, and may be asked about one line more than once.
public typealias LineMap = (_ line: ByteSlice, _ events: inout ByteBuffer) throws(ContractError) ->
    Void

/// What an ingest reads and how it ends.
public struct IngestInput {
    /// Under this name the position in the input is kept: a run goes on where the last one of the name
    /// stopped, provided that what stands before is what was read then.
    public var name: String
    /// Whether other content may take the name over, from its beginning: for a pipe, which has none of
    /// its own.
    public var isNameShared = false
    /// What dead letters call the input.
    public var label: String
    /// JSON lines of events, plain or gzip; `-` is standard input.
    public var events: String?
    /// JSON lines of the catalog, in order of time. Each goes before the first event whose time is
    /// not before its own.
    public var catalog: String?
    public var map: LineMap?
    /// Takes the first line of the events, which names columns and is no event; called at the start of
    /// every run.
    public var readHeader: ((ByteSlice) throws -> Void)?
    /// Whether the end of the input closes every window.
    public var closes = false

    public init(name: String, events: String? = nil, catalog: String? = nil) {
        self.name = name
        label = name
        self.events = events
        self.catalog = catalog
    }
}

/// How far an ingest has come, for a progress bar.
public struct IngestProgress: Equatable, Sendable {
    /// Lines before the place where this run began.
    public var linesSkipped: Int64 = 0
    public var eventLines: Int64 = 0
    public var catalogLines: Int64 = 0
    public var eventsAppended: Int64 = 0
    public var deadLetters: Int64 = 0
    /// Of those, what was to be an event; a line that a map makes several of is as many.
    public var unusableEvents: Int64 = 0
    /// Of uncompressed content of both files, from their beginnings.
    public var bytes: Int64 = 0
    public var newestTime: Int64?
    public var isDone = false
}

/// The job that appends an input; used from one thread.
public final class Ingest<Client: LogClient> {
    private let settings: GatewaySettings
    private let client: Client
    private let input: IngestInput
    private let moveClock: ((Int64) -> Void)?
    private let events: LineQueue?
    private let catalog: LineQueue?
    private let rule: JumpRule
    private let eventReader = EventReader()
    private let catalogReader = CatalogReader()
    private let eventPartitions: Int
    private let headers: GatewayHeaders
    private let letters: DeadLetterWriter
    private var outbox = Outbox()
    private var mapped = ByteBuffer()
    private var position: IngestPosition
    private var lines = 0
    /// The number of the line that `eventReader` holds, where lines are not mapped.
    private var lineInReader: Int64?
    /// What was decided about the line of that number; a pipe is waited for once.
    private var judged: (number: Int64, isAccepted: Bool)?
    /// How far the line that is being appended may move the clock.
    private var clock: Int64?
    /// The number of the catalog line that comes next, and its time; nil: it cannot be read.
    private var catalogHead: (number: Int64, time: Int64?)?
    public private(set) var progress = IngestProgress()

    /// Opens the input where the last run left it.
    ///
    /// - Parameter moveClock: for a log whose clock follows the data (MemoryLog): told the newest
    ///   accepted event time before each commit, and records carry it as their timestamp. Nil where
    ///   the log has a clock of its own.
    public init(
        _ settings: GatewaySettings, client: Client, input: IngestInput,
        moveClock: ((Int64) -> Void)? = nil
    ) throws {
        self.settings = settings
        self.client = client
        self.input = input
        self.moveClock = moveClock
        var position = IngestPosition()
        var key = ByteBuffer()
        IngestPosition.appendKey(input.name, to: &key)
        try client.read(Topic.checkpoints, partition: 0, from: nil, upTo: nil) { record in
            guard let found = record.key, found.equals(key.slice), let value = record.value else {
                return
            }
            position = try IngestPosition(value, of: input.name)
        }
        (events, catalog) = try Ingest.open(input, &position)
        self.position = position
        rule = JumpRule(jump: settings.jumpMilliseconds, linesThatAgree: settings.linesThatAgree)
        eventPartitions = try client.partitionCount(Topic.events)
        headers = GatewayHeaders(fleet: settings.fleet)
        letters = DeadLetterWriter(settings.identity)
        progress.linesSkipped = position.events.lines + position.catalog.lines
        progress.newestTime = position.newestTime
        if let newest = position.newestTime { moveClock?(newest) }
    }

    /// Opens the files where the position says, or from the beginning where that is right.
    private static func open(
        _ input: IngestInput, _ position: inout IngestPosition
    ) throws -> (events: LineQueue?, catalog: LineQueue?) {
        var events: LineQueue?
        if let path = input.events {
            let queue = try LineQueue(
                path, maximumLineBytes: Limit.recordBytes, readHeader: input.readHeader)
            if position.events.offset > queue.position.offset {
                switch try queue.goOn(at: position.events, known: position.eventsMark, path) {
                case .same: break
                case .otherFromStart where input.isNameShared: position = IngestPosition()
                case .otherFromStart, .otherLater:
                    throw otherContent(path, position.events, of: input)
                }
            }
            position.events = queue.position
            position.eventsMark = queue.mark
            events = queue
        }
        guard let path = input.catalog else { return (events, nil) }
        func open() throws -> LineQueue {
            try LineQueue(path, maximumLineBytes: Limit.recordBytes)
        }
        var catalog = try open()
        if position.catalog.offset > 0 {
            switch try catalog.goOn(at: position.catalog, known: position.catalogMark, path) {
            case .same, .otherFromStart: break
            case .otherLater:
                // A catalog that was exported anew: its records replace those of before.
                guard path != "-" else { throw otherContent(path, position.catalog, of: input) }
                catalog = try open()
            }
            position.catalog = catalog.position
            position.catalogMark = catalog.mark
        }
        return (events, catalog)
    }

    private static func otherContent(
        _ path: String, _ position: LinePosition, of input: IngestInput
    ) -> IngestError {
        IngestError(
            """
            \(path == "-" ? "standard input" : path) does not hold the \(position.lines) lines \
            (\(position.offset) bytes) any more that were appended under the name \(input.name): it is \
            other content, and nothing of it was appended. Append it under a name of its own (ingest \
            --name NAME, or the file under another path), or go on with the earlier content
            """)
    }

    /// Appends the next lines in one transaction.
    ///
    /// - Parameter limit: stops before the first event later than this.
    /// - Returns: false when the input has ended and everything is appended.
    @discardableResult
    public func turn(until limit: Int64? = nil) throws -> Bool {
        outbox.removeAll()
        lines = 0
        let before = position
        var isStopped = false
        while lines < settings.linesPerTurn, !isStopped {
            if lines > 0, let events, !events.isReady { break }
            guard let line = try events?.peek() else {
                guard let entry = try catalog?.peek() else { break }
                takeCatalogLine(entry)
                continue
            }
            isStopped = try !takeEventLine(line, until: limit)
        }
        let isAtEnd = try !isStopped && isExhausted()
        if position != before { position.isClosed = false }
        if isAtEnd, input.closes, !position.isClosed {
            for partition in 0..<eventPartitions { appendClosingTick(partition) }
            position.isClosed = true
        }
        if position != before { try commit() }
        progress.isDone = isAtEnd
        return !isAtEnd
    }

    /// The time of the event that comes next, for whoever paces a replay; nil where the next line waits
    /// for nothing: it cannot be used, or there is none.
    public func nextEventTime() throws -> Int64? {
        guard let line = try events?.peek(), let time = time(of: line) else { return nil }
        return try isAccepted(line, time) ? time : nil
    }

    private func isExhausted() throws -> Bool {
        // A pipe is not waited for here; its end shows when the next turn finds nothing.
        if lines > 0, let events, !events.isReady { return false }
        return try events?.peek() == nil && catalog?.peek() == nil
    }

    private func commit() throws {
        outbox.begin(Topic.checkpoints, partition: 0)
        IngestPosition.appendKey(input.name, to: &outbox.bytes)
        outbox.beginValue()
        position.append(to: &outbox.bytes)
        outbox.end(headers: headers.checkpoints)
        if let newest = position.newestTime { moveClock?(newest) }
        try client.commit(outbox, positions: [])
        progress.bytes = position.events.offset + position.catalog.offset
        progress.newestTime = position.newestTime
    }

    /// The timestamp of what is appended now; nil: the log's own clock.
    private var timestamp: Int64? { moveClock == nil ? nil : position.newestTime }

    private func appendClosingTick(_ partition: Int) {
        var tick = Event(type: .tick, time_ms: position.newestTime ?? 0)
        tick.close = true
        outbox.begin(Topic.events, partition: partition, hasKey: false, timestamp: timestamp)
        outbox.beginValue()
        tick.append(to: &outbox.bytes)
        outbox.end(headers: headers.tick)
    }

    // Events

    /// False: the line is not due yet.
    private func takeEventLine(_ line: LineQueue.Line, until limit: Int64?) throws -> Bool {
        let time = time(of: line)
        var isUsed = true
        if let time {
            isUsed = try isAccepted(line, time)
            if isUsed {
                if let limit, time > limit { return false }
                while let entry = try dueCatalogLine(before: time) {
                    if lines == settings.linesPerTurn { return true }
                    takeCatalogLine(entry)
                }
                if lines == settings.linesPerTurn { return true }
            }
        }
        clock = try isUsed ? time.map(clock(movedTo:)) : nil
        // Looking ahead may have moved the bytes.
        let line = try events!.peek()!
        appendEventLine(line, isAccepted: isUsed)
        if let time {
            position.heldBack =
                isUsed
                ? JumpRule.HeldBack() : rule.holdingBack(time, after: position.heldBack)
        }
        events!.take()
        position.events = events!.position
        position.eventsMark = events!.mark
        lines += 1
        progress.eventLines += 1
        return true
    }

    /// Whether the next line, of this time, may move the newest time there.
    private func isAccepted(_ line: LineQueue.Line, _ time: Int64) throws -> Bool {
        if let judged, judged.number == line.number { return judged.isAccepted }
        let events = events!
        var patience = settings.pipePatienceMilliseconds
        let isAccepted = try rule.accepts(
            time, newest: position.newestTime, heldBack: position.heldBack
        ) { ahead in
            try events.peek(ahead, within: &patience).map { self.time(of: $0) }
        }
        judged = (line.number, isAccepted)
        return isAccepted
    }

    /// Where the clock stands with the next line, which is of this time.
    private func clock(movedTo time: Int64) throws -> Int64 {
        guard moveClock != nil else { return max(position.newestTime ?? time, time) }
        let events = events!
        // Lines of a pipe that are not there yet are not asked.
        var patience = 0
        return try DataClock().moved(to: time, from: position.newestTime) { ahead in
            try events.peek(ahead, within: &patience).map { self.time(of: $0) }
        }
    }

    /// The newest time of what a line says; nil if it cannot be used or says nothing.
    private func time(of line: LineQueue.Line) -> Int64? {
        guard !line.isOversized else { return nil }
        if input.map == nil {
            lineInReader = nil
            do throws(ContractError) { try eventReader.read(line.bytes) } catch { return nil }
            lineInReader = line.number
            return eventReader.event.type == .tick ? nil : eventReader.event.time_ms
        }
        var newest: Int64?
        forEachEvent(of: line.bytes) { bytes in
            do throws(ContractError) { try eventReader.read(bytes) } catch { return }
            if eventReader.event.type == .tick { return }
            newest = max(newest ?? Int64.min, eventReader.event.time_ms)
        } onError: { _ in
        }
        return newest
    }

    private func forEachEvent(
        of line: ByteSlice, _ body: (ByteSlice) -> Void, onError: (ContractError) -> Void
    ) {
        guard let map = input.map else {
            body(line)
            return
        }
        mapped.removeAll()
        do throws(ContractError) { try map(line, &mapped) } catch {
            onError(error)
            return
        }
        var start = 0
        for i in 0..<mapped.count where mapped.slice[i] == UInt8(ascii: "\n") {
            body(mapped.slice(start..<i))
            start = i + 1
        }
    }

    private func appendEventLine(_ line: LineQueue.Line, isAccepted: Bool) {
        if let refusal = refusal(of: line) {
            appendDeadLetter(refusal, line, topic: .events, line.bytes)
            return
        }
        guard isAccepted else {
            let newest =
                position.newestTime.map { "the newest accepted time \($0)" } ?? "its neighbours"
            let message = """
                The time jumps more than \(settings.jumpMilliseconds) ms ahead of \(newest), and the \
                lines behind it do not agree on the new time.
                """
            appendDeadLetter(
                ContractError(.time_jump, path: "/time_ms", message), line, topic: .events,
                line.bytes)
            return
        }
        forEachEvent(of: line.bytes) { bytes in
            do throws(ContractError) {
                if lineInReader != line.number { try eventReader.read(bytes) }
                guard let key = eventReader.event.key else {
                    throw ContractError(
                        .foreign_tick, path: "/type",
                        "A line must not be a tick; only the fleet itself writes ticks.")
                }
                appendEvent(bytes, key: key, time: eventReader.event.time_ms)
            } catch {
                appendDeadLetter(error, line, topic: .events, line.bytes)
            }
        } onError: { error in
            appendDeadLetter(error, line, topic: .events, line.bytes)
        }
    }

    private func appendEvent(_ bytes: ByteSlice, key: ByteSlice, time: Int64) {
        let reached = clock.map { min($0, time) } ?? time
        position.newestTime = max(position.newestTime ?? reached, reached)
        outbox.begin(Topic.events, timestamp: timestamp)
        outbox.bytes.append(key)
        outbox.beginValue()
        outbox.bytes.append(bytes)
        outbox.end(headers: headers.events)
        progress.eventsAppended += 1
    }

    /// Why a line is of no use before anybody reads it.
    private func refusal(of line: LineQueue.Line) -> ContractError? {
        if line.isOversized {
            return ContractError(
                .too_large, path: "",
                "The line has \(line.length) bytes; \(Limit.recordBytes) are allowed.")
        }
        return nil
    }

    // Catalog

    private func dueCatalogLine(before time: Int64) throws -> LineQueue.Line? {
        guard let line = try catalog?.peek() else { return nil }
        if catalogHead?.number != line.number {
            catalogHead = (line.number, nil)
            if !line.isOversized {
                do throws(ContractError) {
                    try catalogReader.read(line.bytes)
                    catalogHead!.time = catalogReader.item.time_ms
                } catch {}
            }
        }
        // What cannot be read waits for nothing.
        guard let own = catalogHead!.time else { return line }
        return own <= time ? line : nil
    }

    private func takeCatalogLine(_ line: LineQueue.Line) {
        if let refusal = refusal(of: line) {
            appendDeadLetter(refusal, line, topic: .catalog, line.bytes)
        } else {
            do throws(ContractError) {
                try catalogReader.read(line.bytes)
                outbox.begin(Topic.catalog, timestamp: timestamp)
                outbox.bytes.append(catalogReader.item.item_id)
                outbox.beginValue()
                outbox.bytes.append(line.bytes)
                outbox.end(headers: headers.catalog)
            } catch {
                appendDeadLetter(error, line, topic: .catalog, line.bytes)
            }
        }
        catalog!.take()
        position.catalog = catalog!.position
        position.catalogMark = catalog!.mark
        lines += 1
        progress.catalogLines += 1
    }

    private func appendDeadLetter(
        _ error: ContractError, _ line: LineQueue.Line, topic: Topic, _ value: ByteSlice
    ) {
        progress.deadLetters += 1
        if topic == .events { progress.unusableEvents += 1 }
        letters.append(
            error,
            InputLine(
                input: input.label, number: line.number, bytes: value, length: Int(line.length)),
            topic: topic, timestamp: timestamp, to: &outbox)
    }
}

/// The headers of what the gateway writes.
private final class GatewayHeaders {
    private let owners: [OwnedHeaders]

    init(fleet: String) {
        let topics: [Topic] = [.events, .catalog, .checkpoints]
        owners =
            topics.map { OwnedHeaders([TopicContract.header($0)]) }
            + [OwnedHeaders([TopicContract.header(.events), (Event.tickHeaderName, fleet)])]
    }

    var events: Headers { owners[0].headers }
    var catalog: Headers { owners[1].headers }
    var checkpoints: Headers { owners[2].headers }
    var tick: Headers { owners[3].headers }
}
