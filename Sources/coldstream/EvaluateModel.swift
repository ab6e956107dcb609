// `coldstream evaluate ranklens DIR`: the network's variants on RankLens beside the reference program.

import ModelStudies
import RankingModel

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
        for seed in 0..<seeds { row.runs.append(study.run(variant, seed: UInt64(seed))) }
        print(JointReport.line(row))
        rows.append(row)
    }
    print(JointReport.domains(rows, names: data.domainNames))
}
