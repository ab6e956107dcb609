// `coldstream evaluate ranklens DIR`: the network's variants on RankLens beside the reference program.

import Foundation
import ModelStudies
import RankingModel
import Tensors
import TextEncoding

/// Prints one line a variant as soon as it is done, then the domains that joint training makes worse.
func evaluateRankLens(folder: String, seeds: Int, variants: [String]) throws {
    let data = try RankLens(folder)
    let study = JointStudy(data)
    print(
        "variant                   AUC             reference       GAUC            reference       within bounds"
    )
    var rows: [JointStudy.Row] = []
    for variant in variants {
        var row = JointStudy.Row(name: variant)
        for seed in 0..<seeds {
            FileHandle.standardError.write(Data("\(variant), seed \(seed)\n".utf8))
            row.runs.append(study.run(variant, seed: UInt64(seed)))
        }
        print(JointReport.line(row))
        rows.append(row)
    }
    print(JointReport.domains(rows, names: data.domainNames))
}

/// Prints table (e): online learning on four held-out domains, beside the reference program.
func evaluateOnline(folder: String, seeds: Int) throws {
    let study = OnlineStudy(try RankLens(folder))
    var sums: [String: [[Double]]] = [:]
    for seed in 0..<seeds {
        var means: [String: [Double]] = [:]
        for held in OnlineStudy.held {
            FileHandle.standardError.write(Data("\(held), seed \(seed)\n".utf8))
            for (name, report) in study.run(held: held, seed: UInt64(seed)) {
                let old = means[name] ?? Array(repeating: 0, count: 6)
                means[name] = zip(old, report.values).map { $0 + $1 / 4 }
            }
        }
        for (name, values) in means { sums[name, default: []].append(values) }
    }
    print(OnlineReport.header)
    let named = Set(OnlineStudy.reference.map(\.name))
    for (i, reference) in OnlineStudy.reference.enumerated() {
        guard let runs = sums[reference.name] else { continue }
        print(OnlineReport.line(i, runs))
    }
    print("rows that the reference has not: AUC, GAUC, first fifth, last fifth, calibration")
    for name in sums.keys.sorted() where !named.contains(name) {
        print(OnlineReport.plain(name, sums[name]!))
    }
}

/// Prints zero-shot quality on held-out domains by kind of text vector; see `TextStudy`.
///
/// - Parameters:
///   - model: folder of the sentence encoder; nil for the installed one, if any.
///   - held: the held-out domains; empty for the reference's four, or all of a simulation's.
func evaluateText(folder: String, model: String?, seeds: Int, held: [String], threads: Int) throws {
    let study =
        FileManager.default.fileExists(atPath: folder + "/items.jsonl")
        ? TextStudy(try RankLens(folder)) : TextStudy(try SimulatedTraffic(folder))
    if let unknown = held.first(where: { !study.domainNames.contains($0) }) {
        throw StudyError(
            "\(folder) has no domain \(unknown); it has "
                + study.domainNames.joined(separator: ", "))
    }
    try KernelChoice.chooseIfNeeded()
    try study.prepare(.random)
    try study.prepare(.ngrams, encoder: HashedNGrams())
    let installed = InstalledModel.folder(ProcessFacts.environment)
    if let weights = model ?? installed.flatMap({ InstalledModel.isThere($0) ? $0 : nil }) {
        try study.prepare(.minilm, encoder: try BertEncoder(folder: weights))
    } else {
        say("no model: the table has no line minilm; `coldstream text install` brings one")
    }
    let runs = study.run(
        held: held.isEmpty ? study.defaultHeld : held, seeds: seeds, threads: threads
    ) { run in
        let line = "\(run.held), seed \(run.seed), \(run.kind.rawValue)\n"
        FileHandle.standardError.write(Data(line.utf8))
    }
    print(TextReport.text(runs), terminator: "")
}
