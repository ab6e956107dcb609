// An input is known by its name and its content: what was appended is never taken for something else.

import Bytes
import Contracts
import Gateway
import LineFiles
import Streams
import Testing

#if canImport(Glibc)
    import Glibc
#endif

@Suite struct ContentTests {
    let folder = Folder()
    let log = makeLog()

    /// Lines of about 100 bytes.
    private func lines(_ prefix: String, _ numbers: Range<Int>) -> [String] {
        numbers.map { event("\(prefix)\($0)", Int64($0)) }
    }

    private func file(_ lines: [String], packed: Bool = false) throws -> String {
        try folder.write(packed ? "events.jsonl.gz" : "events.jsonl", lines)
    }

    /// A pipe that holds these lines and has ended.
    private func ingestPipe(
        _ lines: [String], isNameShared: Bool = true
    ) throws -> IngestProgress {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        // F_SETPIPE_SZ: what is written must fit.
        _ = fcntl(ends[1], 1031, 1 << 20)
        lines.map { $0 + "\n" }.joined().lend { _ = write(ends[1], $0.base, $0.count) }
        close(ends[1])
        defer { close(ends[0]) }
        var input = IngestInput(name: "-", events: "/dev/fd/\(ends[0])")
        input.isNameShared = isNameShared
        let job = try makeIngest(log, input)
        while try job.turn() {}
        return job.progress
    }

    @Test(arguments: [3, 1_000], [false, true])
    func `other content under the same name is refused, and nothing of it appended`(
        count: Int, packed: Bool
    ) throws {
        try ingest(log, events: try file(lines("a", 0..<count), packed: packed))
        // Longer and shorter than the first.
        for other in [count + 500, count / 2] {
            let path = try file(lines("b", 0..<other), packed: packed)
            let error = #expect(throws: IngestError.self) { try ingest(log, events: path) }
            #expect(error!.description.contains("--name NAME"))
            #expect(error!.description.contains("the \(count) lines"))
        }
        #expect(try arrived(log, .events).count == count)
    }

    @Test(arguments: [3, 1_000], [false, true])
    func `content that differs only in the last line before the position is other content`(
        count: Int, packed: Bool
    ) throws {
        var all = lines("a", 0..<count)
        try ingest(log, events: try file(all, packed: packed))
        all[count - 1] = event("x\(count - 1)", Int64(count - 1))
        all += lines("more", count..<count + 10)
        let path = try file(all, packed: packed)
        #expect(throws: IngestError.self) { try ingest(log, events: path) }
    }

    @Test(arguments: [1, 3, 163, 164, 165, 166, 330, 1_000, 3_000], [false, true])
    func `a file that grows goes on where it stopped, again and again`(
        step: Int, packed: Bool
    ) throws {
        for run in 1...4 {
            let path = try file(lines("a", 0..<run * step), packed: packed)
            let progress = try ingest(log, events: path)
            #expect(progress.linesSkipped == Int64((run - 1) * step))
            #expect(progress.eventsAppended == Int64(step))
            #expect(try ingest(log, events: path).eventsAppended == 0)
        }
        #expect(try arrived(log, .events) == (0..<4 * step).map { "a\($0)" })
    }

    @Test func `a last line without newline is taken, and its newline is no line`() throws {
        let path = try folder.write("events.jsonl", [event("a", 1), event("b", 2)], ending: "\n")
        func write(_ text: String) throws {
            try text.lend { try LineWriter.write($0, to: path) }
        }
        try write(event("a", 1) + "\n" + event("b", 2))
        #expect(try ingest(log, events: path).eventsAppended == 2)
        try write(event("a", 1) + "\n" + event("b", 2) + "\n" + event("c", 3) + "\n")
        #expect(try ingest(log, events: path).eventsAppended == 1)
        #expect(try arrived(log, .events) == ["a", "b", "c"])
        #expect(try arrived(log, .deadLetters) == [])
    }

    @Test(arguments: [3, 1_000])
    func `a pipe with new content is read from its start, with the same one gone on with`(
        count: Int
    ) throws {
        let first = lines("a", 0..<count)
        #expect(try ingestPipe(first).eventsAppended == Int64(count))
        #expect(try ingestPipe(first).eventsAppended == 0, "a repeated run doubles nothing")
        let longer = try ingestPipe(first + lines("a", count..<count + 7))
        #expect(longer.eventsAppended == 7)
        let other = try ingestPipe(lines("b", 0..<count + 20))
        #expect(other.eventsAppended == Int64(count) + 20)
        #expect(other.linesSkipped == 0)
        #expect(try arrived(log, .deadLetters) == [])
    }

    @Test func `a pipe under a name of its own is refused when its content is another`() throws {
        _ = try ingestPipe(lines("a", 0..<10), isNameShared: false)
        #expect(throws: IngestError.self) {
            _ = try ingestPipe(lines("b", 0..<20), isNameShared: false)
        }
    }

    @Test func `a pipe that changes behind its beginning is refused`() throws {
        _ = try ingestPipe(lines("a", 0..<2_000))
        #expect(throws: IngestError.self) {
            _ = try ingestPipe(lines("a", 0..<1_000) + lines("b", 1_000..<2_500))
        }
    }

    @Test(arguments: [3, 1_000])
    func `a catalog that was exported anew is read from its beginning`(count: Int) throws {
        func items(_ title: String, _ count: Int) -> [String] {
            (0..<count).map { #"{"item_id":"i\#($0)","time_ms":\#($0),"title":"\#(title)"}"# }
        }
        for (title, expected) in [("old", count), ("old", 0), ("new", count)] {
            let path = try folder.write("catalog.jsonl", items(title, count))
            #expect(try ingest(log, catalog: path).catalogLines == Int64(expected))
        }
        // Only the last line differs.
        let last = #"{"item_id":"i","time_ms":9,"title":"other"}"#
        let path = try folder.write("catalog.jsonl", items("new", count - 1) + [last])
        #expect(try ingest(log, catalog: path).catalogLines == Int64(count))
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func `crashes while a pipe is read again and again lose no line and double none`(
        seed: UInt64
    ) throws {
        let all = lines("a", 0..<400)
        var state = seed
        log.crashes = { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state >> 33 & 3 == 0
        }
        while true {
            do {
                _ = try ingestPipe(all)
                break
            } catch is Crash {}
        }
        log.crashes = nil
        #expect(try arrived(log, .events) == (0..<400).map { "a\($0)" }, "seed \(seed)")
    }
}
