// The study of text vectors on a log small enough to count by hand.

import Foundation
import RankingModel
import Tensors
import Testing
import TextEncoding

@testable import ModelStudies

@Suite struct TextStudyTests {
    /// Two feeds and a search; every item of `b` but one is also in `a`.
    private func folder() throws -> String {
        let path = NSTemporaryDirectory() + "coldstream-study-" + UUID().uuidString
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true)
        var events: [String] = []
        for i in 0..<60 {
            let domain = i % 3 == 2 ? "b" : i % 3 == 1 ? "a" : "find"
            let query = domain == "find" ? #","query":"red"# + "\"" : ""
            let items = (0..<4).map {
                #"{"item_id":"\#(domain == "b" && $0 == 3 ? "new" : "t\($0)")","position":\#($0 + 1)}"#
            }.joined(separator: ",")
            events.append(
                #"{"type":"impression","id":"i\#(i)","domain":"\#(domain)","user_id":"u\#(i % 5)","request_id":"r\#(i)","time_ms":\#(i * 1000)\#(query),"items":[\#(items)]}"#
            )
            // The three ways in which a click names its impression.
            let clicked = domain == "b" && i % 4 == 3 ? "new" : "t\(i % 4)"
            let name =
                switch i % 5 {
                case 0: #""impression_id":"i\#(i)#\#(i % 4 + 1)""#
                case 1: #""impression_id":"i\#(i)","item_id":"\#(clicked)""#
                default: #""request_id":"r\#(i)","item_id":"\#(clicked)""#
                }
            events.append(
                #"{"type":"click","domain":"\#(domain)","user_id":"u\#(i % 5)",\#(name),"time_ms":\#(i * 1000 + 500)}"#
            )
        }
        events.append(#"{"broken":"#)
        let catalog = ["t0", "t1", "t2", "t3", "new"].map {
            #"{"item_id":"\#($0)","title":"red \#($0)","description":"thing","tags":["x","\#($0)"]}"#
        }
        try events.joined(separator: "\n").write(
            toFile: path + "/events.jsonl", atomically: true, encoding: .utf8)
        try catalog.joined(separator: "\n").write(
            toFile: path + "/catalog.jsonl", atomically: true, encoding: .utf8)
        return path
    }

    @Test func `a simulation's clicks, histories and texts become examples`() throws {
        let folder = try folder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let traffic = try SimulatedTraffic(folder)
        let set = traffic.examples
        #expect(traffic.domainNames == ["a", "b", "find"])
        #expect(set.count == 240)
        #expect(set.labels.reduce(0, +) == 60, "every request has one click")
        #expect(set.queryPresent.filter { $0 }.count == 80)
        #expect(traffic.itemTexts.compactMap { $0 }.contains(Array("red new. thing".utf8)))
        // The second request of u0 is the sixth of all: one click is known by then.
        let request = Int(set.request[5 * 4])
        #expect(set.histories.offsets[request + 1] - set.histories.offsets[request] == 1)
    }

    @Test func `every kind of vector is trained and scored, the same on one thread and on two`()
        throws
    {
        let folder = try folder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try KernelChoice.chooseIfNeeded()
        let study = TextStudy(try SimulatedTraffic(folder))
        try study.prepare(.random)
        try study.prepare(.ngrams, encoder: HashedNGrams(dimension: 32))
        let runs = study.run(held: ["b"], seeds: 2, threads: 1) { _ in }
        #expect(runs.map(\.kind) == [.none, .random, .ngrams, .none, .random, .ngrams])
        #expect(runs.allSatisfy { $0.rows == 32 && $0.coldRows == 8 }, "one item of four is new")
        let again = study.run(held: ["b"], seeds: 2, threads: 2) { _ in }
        #expect(zip(runs, again).allSatisfy { $0.all == $1.all && $0.cold == $1.cold })
        #expect(TextReport.text(runs).contains("ngrams - none"))
    }

    @Test func `an interval is Student's`() {
        #expect(TextReport.interval([0.01, 0.02, 0.03]) == "+.0200 [-.0048, +.0448]")
        #expect(TextReport.interval([-0.01]) == "-.0100")
    }
}
