// Ingest: every line once, in order, whatever happens in between.

import Bytes
import Contracts
import Gateway
import JSON
import LineFiles
import Streams
import Testing

#if canImport(Glibc)
    import Glibc
#endif

@Suite struct IngestTests {
    let folder = Folder()
    let log = makeLog()

    @Test func `lines become events, keyed by user, byte for byte`() throws {
        let line = event("e1", 1_000, user: "ann")
        let file = try folder.write("events.jsonl", [line])
        let progress = try ingest(log, events: file)
        var found: [[String]] = []
        try log.read(Topic.events, partition: 0) { found.append([$0.key!.text, $0.value!.text]) }
        #expect(found == [["ann", line]])
        #expect(progress.eventsAppended == 1)
        #expect(progress.isDone)
        #expect(progress.newestTime == 1_000)
    }

    @Test func `gzip, Windows line ends and a missing last newline make no difference`() throws {
        let packed = try folder.write("events.jsonl.gz", [event("e1", 1), event("e2", 2)])
        try ingest(log, events: packed)
        #expect(try arrived(log, .events) == ["e1", "e2"])
        let windows = makeLog()
        try ingest(
            windows,
            events: try folder.write(
                "events.jsonl", [event("e1", 1), event("e2", 2)], ending: "\r\n"))
        var values: [String] = []
        try windows.read(Topic.events, partition: 0) { values.append($0.value!.text) }
        #expect(values == [event("e1", 1), event("e2", 2)])
    }

    @Test func `a broken line is a dead letter with file and line, and stops nothing`() throws {
        let file = try folder.write(
            "events.jsonl",
            [event("e1", 1), "{", "", #"{"type":"tick","time_ms":5}"#, event("e2", 2)])
        let progress = try ingest(log, events: file)
        #expect(try arrived(log, .events) == ["e1", "e2"])
        var letters: [JSONValue] = []
        try log.read(Topic.deadLetters, partition: 0) {
            letters.append(try JSONValue(parsing: $0.value!))
        }
        #expect(letters.map { $0["reason"]!.text! } == ["invalid_json", "empty", "foreign_tick"])
        #expect(letters.map { $0["line"]!.integer! } == [2, 3, 4])
        #expect(letters[0]["input"]!.text == "test")
        var headers: [[String]] = []
        try log.read(Topic.deadLetters, partition: 0) { record in
            #expect(record.key!.text == "events/test")
            record.headers.forEach { headers.append([$0.text, $1.text]) }
        }
        #expect(headers == Array(repeating: ["coldstream-schema", "dead-letters/1"], count: 3))
        #expect(letters[0]["topic"]!.text == "events")
        #expect(letters[0]["value_base64"]!.text == "ew==")
        #expect(progress.deadLetters == 3)
        #expect(progress.eventLines == 5)
    }

    @Test func `a line of more than 1 MiB is a dead letter of its first bytes`() throws {
        let long = String(repeating: "x", count: (1 << 20) + 5)
        let file = try folder.write("events.jsonl", [long, event("e1", 1)])
        try ingest(log, events: file)
        #expect(try arrived(log, .events) == ["e1"])
        var letter: JSONValue?
        try log.read(Topic.deadLetters, partition: 0) { letter = try JSONValue(parsing: $0.value!) }
        #expect(letter!["reason"]!.text == "too_large")
        #expect(letter!["value_bytes"]!.integer == Int64(1 << 20) + 5)
    }

    @Test func `records carry the newest accepted time, and the log's clock follows`() throws {
        let file = try folder.write(
            "events.jsonl", [event("e1", 5_000), event("e2", 3_000), event("e3", 9_000)])
        try ingest(log, events: file)
        var times: [Int64] = []
        try log.read(Topic.events, partition: 0) { times.append($0.timestamp) }
        #expect(times == [5_000, 5_000, 9_000])
        #expect(log.now == 9_000)
    }

    @Test func `a line far ahead moves the clock only if most of the ten behind it are ahead, too`()
        throws
    {
        let hour: Int64 = 3_600_000
        // Lines behind the far one that are there, too, of eleven; whether the clock believes it.
        for (ahead, isBelieved) in [(0, false), (4, false), (5, true), (10, true)] {
            let log = makeLog()
            var lines = [event("before", 1_000), event("far", 2 * hour)]
            for i in 0..<10 {
                lines.append(event("e\(i)", i < ahead ? 2 * hour + Int64(i) : 2_000 + Int64(i)))
            }
            try ingest(log, events: try folder.write("events.jsonl", lines))
            #expect(try arrived(log, .events).count == 12, "each line is an event")
            var times: [Int64] = []
            try log.read(Topic.events, partition: 0) { times.append($0.timestamp) }
            #expect(times[1] == (isBelieved ? 2 * hour : 1_000), "\(ahead) ahead")
        }
    }

    @Test func `a leap of a minute needs no look, and behind one at the end stands nobody to ask`()
        throws
    {
        for (time, last) in [(61_000, 2_000), (61_001, 61_001)] as [(Int64, Int64)] {
            let log = makeLog()
            let file = try folder.write(
                "events.jsonl", [event("a", 1_000), event("b", time), event("c", last)])
            try ingest(log, events: file)
            #expect(log.now == time)
        }
        let alone = try folder.write("events.jsonl", [event("a", 1_000), event("b", 9_000_000)])
        try ingest(log, events: alone)
        #expect(log.now == 9_000_000)
    }

    @Test func `a fast clock in the first line does not set the clock`() throws {
        let file = try folder.write(
            "events.jsonl", [event("fast", 7_200_000), event("a", 1_000), event("b", 2_000)])
        try ingest(log, events: file)
        #expect(log.now == 2_000)
    }

    @Test func `a turn appends a thousand lines in one transaction`() throws {
        let file = try folder.write("events.jsonl", (0..<1_500).map { event("e\($0)", Int64($0)) })
        let input = IngestInput(name: "test", events: file)
        let job = try makeIngest(log, input)
        #expect(try job.turn())
        #expect(job.progress.eventLines == 1_000)
        #expect(job.progress.bytes > 0)
        #expect(try !job.turn())
        #expect(job.progress.eventLines == 1_500)
    }

    @Test func `a second run appends nothing, a longer file what is new`() throws {
        var lines = (0..<10).map { event("e\($0)", Int64($0)) }
        try ingest(log, events: try folder.write("events.jsonl", lines))
        let again = try ingest(log, events: try folder.write("events.jsonl", lines))
        #expect(again.eventsAppended == 0)
        #expect(again.linesSkipped == 10)
        lines.append(event("new", 99))
        let more = try ingest(log, events: try folder.write("events.jsonl", lines))
        #expect(more.eventsAppended == 1)
        #expect(try arrived(log, .events).count == 11)
    }

    @Test func `closing writes one tick to every partition, in the last transaction`() throws {
        let wide = makeLog(events: 3)
        let file = try folder.write("events.jsonl", (0..<1_000).map { event("e\($0)", Int64($0)) })
        var input = IngestInput(name: "test", events: file)
        input.closes = true
        let job = try makeIngest(wide, input)
        #expect(try !job.turn(), "a thousand lines and their end are one turn")
        for partition in 0..<3 {
            #expect(
                try arrived(wide, .events, partition: partition).filter { $0 == "close" }.count == 1
            )
        }
        var fleet: String?
        try wide.read(Topic.events, partition: 2) { record in
            if record.key == nil { fleet = record.headers.first("coldstream-tick")?.text }
        }
        #expect(fleet == "coldstream")
        try ingest(wide, events: file, closes: true)
        #expect(
            try arrived(wide, .events, partition: 1).filter { $0 == "close" }.count == 1,
            "nothing new, nothing to close")
    }

    @Test func `a map may make no event of a line, or several`() throws {
        let file = try folder.write("events.jsonl", ["id,time", "a,5", "b,x", "c,7"])
        let progress = try ingest(
            log, events: file,
            map: { (line: ByteSlice, out: inout ByteBuffer) throws(ContractError) in
                let parts = line.text.split(separator: ",")
                if parts[0] == "id" { return }
                guard let time = Int64(parts[1]) else {
                    throw ContractError(.not_mapped, path: "", "The time \(parts[1]) is no number.")
                }
                out.append(event("\(parts[0])1", time) + "\n")
                out.append(event("\(parts[0])2", time + 1) + "\n")
            })
        #expect(try arrived(log, .events) == ["a1", "a2", "c1", "c2"])
        #expect(try arrived(log, .deadLetters) == ["not_mapped"])
        #expect(progress.eventLines == 4)
    }

    @Test(arguments: 1...40 as ClosedRange<UInt64>)
    func `crashes lose no line and double none`(seed: UInt64) throws {
        let lines = (0..<300).map { $0 % 17 == 3 ? "{" : event("e\($0)", Int64($0) * 10) }
        let items = (0..<40).map { item("i\($0)", Int64($0) * 80) }
        let file = try folder.write("events.jsonl", lines)
        let catalog = try folder.write("catalog.jsonl", items)
        var settings = GatewaySettings()
        settings.linesPerTurn = 1 + Int(seed % 30)
        var input = IngestInput(name: "test", events: file, catalog: catalog)
        input.closes = true

        let calm = makeLog(events: 2)
        try ingest(calm, events: file, catalog: catalog, closes: true, settings: settings)
        let stormy = makeLog(events: 2)
        var state = seed
        stormy.crashes = { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state >> 33 & 7 == 0
        }
        var crashes = 0
        while true {
            do {
                let job = try makeIngest(stormy, input, settings: settings)
                while try job.turn() {}
                break
            } catch is Crash {
                crashes += 1
            }
        }
        stormy.crashes = nil
        #expect(crashes > 0, "seed \(seed)")
        for (topic, partition) in [
            (Topic.events, 0), (.events, 1), (.catalog, 0), (.deadLetters, 0),
        ] {
            #expect(
                try bytes(calm, topic, partition) == bytes(stormy, topic, partition),
                "seed \(seed), \(topic) \(partition)")
        }
    }

    private func bytes(_ log: MemoryLog, _ topic: Topic, _ partition: Int) throws -> [String] {
        var all: [String] = []
        try log.read(topic, partition: partition) { record in
            all.append("\(record.timestamp) \(record.key?.text ?? "-") \(record.value!.text)")
        }
        return all
    }
}

@Suite struct CatalogLineTests {
    let folder = Folder()
    let log = makeLog()

    /// Topics in the order in which their records were appended, told by their timestamps and turns.
    private func order(_ events: [String], _ items: [String]) throws -> [String] {
        let file = try folder.write("events.jsonl", events)
        let catalog = try folder.write("catalog.jsonl", items)
        var settings = GatewaySettings()
        settings.linesPerTurn = 1
        let job = try makeIngest(
            log, IngestInput(name: "test", events: file, catalog: catalog), settings: settings)
        var order: [String] = []
        var seen = (events: 0, catalog: 0)
        var goesOn = true
        while goesOn {
            goesOn = try job.turn()
            let now = (try arrived(log, .events), try arrived(log, .catalog))
            order += now.1.dropFirst(seen.catalog)
            order += now.0.dropFirst(seen.events)
            seen = (now.0.count, now.1.count)
        }
        return order
    }

    @Test func `a catalog line goes before the first event whose time is not before its own`()
        throws
    {
        #expect(
            try order(
                [event("e1", 10), event("e2", 20), event("e3", 30)],
                [item("i1", 5), item("i2", 20), item("i3", 21), item("i4", 99)])
                == ["i1", "e1", "i2", "e2", "i3", "e3", "i4"])
    }

    @Test func `a broken catalog line waits for nothing`() throws {
        #expect(
            try order([event("e1", 10)], ["{", item("i1", 5)]) == ["i1", "e1"])
        #expect(try arrived(log, .deadLetters) == ["invalid_json"])
    }

    @Test func `a catalog alone is read to its end`() throws {
        let catalog = try folder.write("catalog.jsonl", [item("i1", 5), item("i2", 6)])
        let progress = try ingest(log, catalog: catalog)
        #expect(try arrived(log, .catalog) == ["i1", "i2"])
        #expect(progress.catalogLines == 2)
        var keys: [String] = []
        try log.read(Topic.catalog, partition: 0) { keys.append($0.key!.text) }
        #expect(keys == ["i1", "i2"])
    }
}

@Suite struct JumpTests {
    let folder = Folder()
    let log = makeLog()
    let day: Int64 = 86_400_000

    private func run(_ lines: [String]) throws -> (events: [String], dead: [String]) {
        try ingest(log, events: try folder.write("events.jsonl", lines))
        return (try arrived(log, .events), try arrived(log, .deadLetters))
    }

    @Test func `one wrong clock is a dead letter`() throws {
        let (events, dead) = try run([
            event("e1", 1_000), event("wrong", 1_001 + day), event("e2", 2_000),
        ])
        #expect(events == ["e1", "e2"])
        #expect(dead == ["time_jump"])
        #expect(log.now == 2_000, "it moved no time")
    }

    @Test func `a jump of exactly jump_s is none`() throws {
        let (events, dead) = try run([event("e1", 1_000), event("e2", 1_000 + day)])
        #expect(events == ["e1", "e2"])
        #expect(dead == [])
    }

    @Test func `a hundred lines that agree end a gap, and none of them is lost`() throws {
        let before = [event("e", 1_000)]
        let after = (0..<100).map { event("g\($0)", 5 * day + Int64($0)) }
        let (events, dead) = try run(before + after)
        #expect(events.count == 101)
        #expect(dead == [])
    }

    @Test
    func `fewer lines before the end of the input end a gap too, if no line contradicts them`()
        throws
    {
        for count in [2, 3, 99] {
            let log = makeLog()
            let lines = (0..<count).map { event("g\($0)", 5 * day + Int64($0)) }
            try ingest(log, events: try folder.write("events.jsonl", [event("e", 1_000)] + lines))
            #expect(try arrived(log, .events).count == 1 + count)
            #expect(try arrived(log, .deadLetters) == [])
        }
    }

    @Test func `one line alone behind a gap is held back, and the next run's lines agree with it`()
        throws
    {
        var lines = [event("e", 1_000), event("alone", 5 * day)]
        let (events, dead) = try run(lines)
        #expect(events == ["e"])
        #expect(dead == ["time_jump"])
        lines.append(event("next", 5 * day + 3_600_000))
        let more = try run(lines)
        #expect(more.events == ["e", "next"])
        #expect(more.dead == ["time_jump"])
    }

    @Test func `a line of the old time ends what was held back`() throws {
        var lines = [event("e1", 1_000), event("wrong1", 5 * day)]
        for line in [event("e2", 2_000), event("wrong2", 5 * day), event("e3", 3_000)] {
            _ = try run(lines)
            lines.append(line)
        }
        let (events, dead) = try run(lines)
        #expect(events == ["e1", "e2", "e3"])
        #expect(dead.count == 2)
    }

    @Test(arguments: [1, 5, 10, 30])
    func `a shop that is closed at weekends loses no line`(linesADay: Int) throws {
        var lines: [String] = []
        for week in 0..<6 {
            for weekday in 0..<5 {
                for i in 0..<linesADay {
                    let time = Int64(week * 7 + weekday) * day + 9 * 3_600_000
                    lines.append(
                        event(
                            "\(week)/\(weekday)/\(i)",
                            time + Int64(i) * 8 * 3_600_000 / Int64(linesADay)))
                }
            }
        }
        let (events, dead) = try run(lines)
        #expect(events.count == lines.count)
        #expect(dead == [])
    }

    @Test func `a wrong clock before a real gap is found out by the lines behind the gap`() throws {
        let after = (0..<120).map { event("g\($0)", 5 * day + Int64($0)) }
        let (events, dead) = try run([event("e", 1_000), event("wrong", 90 * day)] + after)
        #expect(events.count == 121)
        #expect(dead == ["time_jump"])
    }

    @Test func `a wrong clock among lines that agree is passed over`() throws {
        var after = (0..<100).map { event("g\($0)", 5 * day + Int64($0)) }
        after.insert(event("wrong", 90 * day), at: 40)
        let (events, dead) = try run([event("e", 1_000)] + after)
        #expect(events.count == 101)
        #expect(dead == ["time_jump"])
    }

    @Test func `a pipe that falls silent behind a gap is not waited for`() throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        defer { close(ends[1]) }
        var settings = GatewaySettings()
        settings.pipePatienceMilliseconds = 1
        func say(_ lines: [String]) {
            lines.map { $0 + "\n" }.joined().lend { _ = write(ends[1], $0.base, $0.count) }
        }
        say([event("e", 1_000)])
        let job = try makeIngest(
            log, IngestInput(name: "test", events: "/dev/fd/\(ends[0])"), settings: settings)
        close(ends[0])
        #expect(try job.turn())
        #expect(try arrived(log, .events) == ["e"], "the first line does not wait for 99 others")
        say([event("g1", 5 * day), event("g2", 5 * day + 1)])
        #expect(try job.turn())
        #expect(try arrived(log, .events) == ["e", "g1", "g2"])
        say([event("alone", 50 * day)])
        #expect(try job.turn())
        #expect(try arrived(log, .deadLetters) == ["time_jump"])
        say([event("next", 50 * day + 1)])
        #expect(try job.turn())
        #expect(try arrived(log, .events) == ["e", "g1", "g2", "next"])
    }

    @Test func `a line of the old time in between shows that the clock was wrong`() throws {
        let wrong = (0..<50).map { event("w\($0)", 5 * day + Int64($0)) }
        let (events, dead) = try run(
            [event("e1", 1_000)] + wrong + [event("e2", 2_000)] + wrong + [event("e3", 3_000)])
        #expect(events == ["e1", "e2", "e3"])
        #expect(dead.count == 100)
    }

    @Test func `lines that jump to different times do not agree`() throws {
        let (events, _) = try run(
            [event("e1", 1_000)] + (0..<120).map { event("w\($0)", Int64(5 + 3 * $0) * day) })
        #expect(events == ["e1"])
    }

    @Test func `broken lines in a gap neither agree nor disagree`() throws {
        var after = (0..<100).map { event("g\($0)", 5 * day + Int64($0)) }
        after.insert("{", at: 50)
        let (events, dead) = try run([event("e", 1_000)] + after)
        #expect(events.count == 101)
        #expect(dead == ["invalid_json"])
    }

    @Test func `a wrong clock in the very first line is found out`() throws {
        let (events, dead) = try run(
            [event("wrong", 9 * day)] + (0..<9).map { event("e\($0)", Int64($0)) })
        #expect(events.count == 9)
        #expect(dead == ["time_jump"])
    }
}

@Suite struct PaceTests {
    let folder = Folder()

    @Test func `a replay sleeps until the next event is due, times its speed`() throws {
        let log = makeLog()
        let file = try folder.write(
            "events.jsonl", [event("e1", 1_000), event("e2", 1_500), event("e3", 5_000)])
        let job = try makeIngest(log, IngestInput(name: "test", events: file))
        var wall: Int64 = 70_000
        var sleeps: [Int64] = []
        var arrivals: [String] = []
        try job.run(
            pace: Pace(speed: 2), clock: { wall },
            sleep: {
                sleeps.append($0)
                wall += $0
                return true
            },
            report: { arrivals.append("\(wall): \($0.eventsAppended)") })
        #expect(sleeps == [250, 1_750])
        #expect(arrivals == ["70000: 1", "70250: 2", "72000: 3"])
    }

    @Test func `a wrong clock does not make a replay wait`() throws {
        let log = makeLog()
        let file = try folder.write(
            "events.jsonl", [event("e1", 1_000), event("wrong", 1 << 40), event("e2", 1_010)])
        let job = try makeIngest(log, IngestInput(name: "test", events: file))
        var wall: Int64 = 0
        try job.run(
            pace: Pace(speed: 1), clock: { wall },
            sleep: {
                wall += $0
                return true
            })
        #expect(wall == 10)
        #expect(try arrived(log, .events) == ["e1", "e2"])
    }

    @Test func `a replay can be stopped between two turns, and goes on later`() throws {
        let log = makeLog()
        let file = try folder.write("events.jsonl", [event("e1", 1_000), event("e2", 9_000)])
        let input = IngestInput(name: "test", events: file)
        try makeIngest(log, input).run(pace: Pace(speed: 1), clock: { 0 }, sleep: { _ in false })
        #expect(try arrived(log, .events) == ["e1"])
        try makeIngest(log, input).run(clock: { 0 }, sleep: { _ in true })
        #expect(try arrived(log, .events) == ["e1", "e2"])
    }

    @Test(arguments: [nil, 1e6])
    func `the next turn waits until the readers have caught up`(speed: Double?) throws {
        let log = makeLog()
        let file = try folder.write("events.jsonl", (0..<2_500).map { event("e\($0)", 1_000) })
        let job = try makeIngest(log, IngestInput(name: "test", events: file))
        var looks = 0
        var sleeps = 0
        var linesAtLook: [Int64] = []
        try job.run(
            pace: speed.map { Pace(speed: $0) }, clock: { 0 },
            sleep: {
                if $0 > 0 { sleeps += 1 }; return true
            },
            hasCaughtUp: {
                looks += 1
                linesAtLook.append(job.progress.eventLines)
                return looks % 3 == 0
            })
        #expect(linesAtLook == [1_000, 1_000, 1_000, 2_000, 2_000, 2_000])
        #expect(sleeps == 4)
        #expect(job.progress.isDone, "nobody is waited for behind the last turn")
    }

    @Test func `a job that waits for its readers can be stopped`() throws {
        let log = makeLog()
        let file = try folder.write("events.jsonl", (0..<1_500).map { event("e\($0)", 1_000) })
        let job = try makeIngest(log, IngestInput(name: "test", events: file))
        var calls = 0
        try job.run(
            clock: { 0 },
            sleep: { _ in
                calls += 1
                return calls < 4
            }, hasCaughtUp: { false })
        #expect(job.progress.eventLines == 1_000 && !job.progress.isDone)
    }
}

@Suite struct HeaderTests {
    let folder = Folder()
    let log = makeLog()

    @Test func `a header names the columns in every run and is no event`() throws {
        var lines = ["id,time", "a,5", "b,7"]
        var headers: [String] = []
        func run() throws -> IngestProgress {
            var input = IngestInput(
                name: "test", events: try folder.write("events.jsonl", lines, ending: "\r\n"))
            input.readHeader = { headers.append($0.text) }
            input.map = { (line: ByteSlice, out: inout ByteBuffer) throws(ContractError) in
                let parts = line.text.split(separator: ",")
                out.append(event("\(parts[0])", Int64(parts[1])!) + "\n")
            }
            let job = try makeIngest(log, input)
            while try job.turn() {}
            return job.progress
        }
        #expect(try run().eventLines == 2)
        lines.append("c,9")
        #expect(try run().eventLines == 1)
        #expect(try arrived(log, .events) == ["a", "b", "c"])
        #expect(headers == ["id,time", "id,time"])
        #expect(try arrived(log, .deadLetters) == [])
    }
}
