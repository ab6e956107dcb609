// Reports are read from files alone, exact, and look the same every time.

import JSON
import Testing

@testable import Reports

@Suite struct ReportTests {
    @Test func `the report of a small run is this text`() throws {
        let run = try SmallRun()
        let text = try RunReport(folder: run.folder).text()
        #expect(text == goldenReport)
        #expect(text.split(separator: "\n").allSatisfy { $0.count <= 100 })
    }

    @Test func `the evaluation of a small run is this text`() throws {
        let run = try SmallRun()
        let text = try EvaluationReport(folder: run.folder, truth: run.folder).text()
        #expect(text == goldenEvaluation)
        #expect(text.split(separator: "\n").allSatisfy { $0.count <= 100 })
    }

    @Test func `a correction changes the label and keeps the prediction`() throws {
        let run = try SmallRun()
        let table = try #require(try ExampleTable(folder: run.folder))
        #expect(table.count == 1_000)
        #expect(table.corrections == 2 && table.strayCorrections == 0)
        let row = try #require(table.rows.first { $0.time == 8_000 })
        #expect(row.isClicked)
        #expect(row.prediction == 0.125, "the prediction of revision 0")
    }

    @Test
    func `an example stands for as many as its share says, a corrected one for its correction's`()
        throws
    {
        let run = try SmallRun()
        func example(_ id: String, _ label: Int, _ share: Double, revision: Int = 0) -> String {
            """
            {"impression_id":"\(id)","kept_share":\(share),"label":\(label),"prediction":0.5,\
            "revision":\(revision),"task":"click","time_ms":1,"user":"0000000000000002"}
            """
        }
        let list = [
            example("a", 0, 0.25), example("b", 0, 0.25), example("c", 1, 1),
            example("b", 1, 1, revision: 1),
        ]
        try run.write(
            "examples.jsonl",
            [#"{"domain":"feed","examples":["# + list.joined(separator: ",") + "]}"])
        let quality = try #require(try ExampleTable(folder: run.folder)).overall.whole
        #expect(quality.examples == 3 && quality.positives == 2)
        #expect(quality.calibration == (4 * 0.5 + 0.5 + 0.5) / 2)
    }

    @Test func `examples come in order of time whatever their order in the file`() throws {
        let run = try SmallRun()
        let table = try #require(try ExampleTable(folder: run.folder))
        #expect(zip(table.rows, table.rows.dropFirst()).allSatisfy { $0.time <= $1.time })
        #expect(table.overall.firstFifth.examples == 200)
    }

    @Test func `the curve is that of the domain which started last`() throws {
        let run = try SmallRun()
        let table = try #require(try ExampleTable(folder: run.folder))
        let curve = try #require(LearningCurve(table))
        #expect(curve.domain == "new.feed")
        #expect(curve.startSeconds == 1_200)
        #expect(curve.spans.map(\.last) == [100, 200, 400])
        #expect(curve.spans.map(\.quality.examples) == [100, 100, 200])
        #expect(curve.spans[2].othersAUC == nil, "the other domain had ended")
    }

    @Test func `an interval is wide where little is known, and holds the score`() throws {
        let run = try SmallRun()
        let top = try ScoreFile.top(
            RunFiles(folder: run.folder), domain: "feed", query: nil, count: 2)
        #expect(top.map(\.item) == ["b", "a"])
        #expect(top.allSatisfy { $0.interval.contains($0.score) })
        #expect(abs(top[0].interval.lowerBound - 0.3053) < 0.0001, "σ(−1.645 · .5)")
        let query = try ScoreFile.top(
            RunFiles(folder: run.folder), domain: "search", query: "red shoes", count: 2)
        #expect(query.map(\.score) == [0.75])
    }

    @Test func `dead letters show what is no text as bytes`() throws {
        let run = try SmallRun()
        var shown: [String] = []
        try OutputRecords.forEachDeadLetter(RunFiles(folder: run.folder)) { letter in
            shown.append("\(letter.origin): \(letter.printableValue)")
            return true
        }
        #expect(
            shown == [
                #"events.jsonl, line 7: {""#, "events, partition 0, ordinal 3: {}",
                #"events, partition 0, ordinal 4: \x00\xff"#,
            ])
    }

    @Test func `a folder without a summary is refused by name`() throws {
        let error = #expect(throws: ReportError.self) {
            try RunReport(folder: "/nonexistent-coldstream-folder")
        }
        #expect(error?.description.contains("summary.json") == true)
    }

    @Test func `the report as JSON has the exact figures`() throws {
        let run = try SmallRun()
        let json = try RunReport(folder: run.folder).json
        #expect(json["summary"]?["events"]?.integer == 1_248)
        #expect(json["overall"]?["whole"]?["examples"]?.integer == 1_000)
        #expect(json["learning_curve"]?["domain"]?.text == "new.feed")
        #expect(json["dead_letters"]?["invalid_json"]?.integer == 2)
    }
}
