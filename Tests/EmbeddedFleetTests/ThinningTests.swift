// Where negatives are thinned, all of them are judged and written: figures are the same by both ways.

import EmbeddedFleet
import Foundation
import JSON
import Reports
import Simulation
import Testing

@Suite struct ThinningTests {
    @Test(arguments: ["1", "0.1"])
    func `what examples come to is what the evaluations say, whatever share is learned from`(
        share: String
    ) throws {
        let input = try TestInput(
            SimulatedLog(.tiny(seed: 61, impressions: 3_000, domains: 4))
        ).set(["domain_defaults.negative_share": share])
        let folder = TestFolder()
        let fleet = try input.fleet()
        let files = try OutputFiles(fleet.log, folder: folder.path, keepsLog: false)
        try fleet.run(input.together)
        try files.finish()

        var online: [String: JSONValue] = [:]
        for line in folder.lines("evaluations.jsonl") {
            guard line["slice"]?["by"]?.text == "all" else { continue }
            online[line["domain"]!.text!] = line
        }
        let table = try #require(try ExampleTable(folder: folder.path))
        #expect(table.domains.count >= 4 && table.corrections > 0 && table.strayCorrections == 0)
        for summary in table.byDomain {
            let (domain, found) = (summary.domain!, summary.whole)
            let told = try #require(online[domain])
            func isNear(_ value: Double?, _ name: String, _ tolerance: Double) -> Bool {
                guard let value, let other = told[name]?.double else { return false }
                return abs(value - other) < tolerance
            }
            #expect(found.examples == Int(told["examples"]!.integer!), "\(domain)")
            #expect(found.positives == Int(told["positives"]!.integer!), "\(domain)")
            #expect(isNear(found.logLoss, "log_loss", 1e-5), "\(domain)")
            #expect(isNear(found.calibration, "calibration", 1e-5), "\(domain)")
            #expect(isNear(found.auc, "auc", 5e-4), "\(domain)")
            #expect(isNear(found.gauc, "gauc", 1e-3), "\(domain)")
        }

        let examples = folder.lines("examples.jsonl").flatMap { $0["examples"]!.array! }
        #expect(examples.allSatisfy { $0["kept_share"]!.double == 1 })
        let thinned = examples.filter { $0["learned"]?.boolean == false }
        #expect(thinned.allSatisfy { $0["label"]!.integer == 0 })
        let negatives = examples.filter { $0["label"]!.integer == 0 }
        let kept = 1 - Double(thinned.count) / Double(negatives.count)
        #expect(abs(kept - Double(share)!) < 0.03, "\(kept)")
    }
}

extension TestFolder {
    /// The records of a file of lines.
    fileprivate func lines(_ name: String) -> [JSONValue] {
        (contents(name) ?? Data()).split(separator: UInt8(ascii: "\n")).map { line in
            Array(line).lend { try! JSONValue(parsing: $0) }
        }
    }
}
