// Joint training on RankLens, variant by variant, beside what the reference program gives.

import RankingModel
import Tensors

/// Macro AUC and GAUC of the variants over seeds; text vectors left out on both sides.
public struct JointStudy {
    /// One variant's figures over the seeds.
    public struct Row {
        public let name: String
        public var runs: [(domains: [Int: Quality], macro: Quality)] = []

        public init(name: String) { self.name = name }
    }

    /// What the reference program gives for text `none` with five seeds: mean and standard deviation.
    public struct Reference: Sendable {
        public let auc: Double, aucDeviation: Double, gauc: Double, gaucDeviation: Double
    }

    /// `run_joint.py` with text none, five seeds, one thread.
    public static let reference: [String: Reference] = [
        "single (separate models)": Reference(
            auc: 0.7531, aucDeviation: 0.0033, gauc: 0.7248, gaucDeviation: 0.0009),
        "single": Reference(auc: 0.7521, aucDeviation: 0.0035, gauc: 0.7337, gaucDeviation: 0.0020),
        "shared_bottom": Reference(
            auc: 0.7517, aucDeviation: 0.0059, gauc: 0.7363, gaucDeviation: 0.0011),
        "mmoe": Reference(auc: 0.7530, aucDeviation: 0.0049, gauc: 0.7343, gaucDeviation: 0.0016),
        "ple": Reference(auc: 0.7517, aucDeviation: 0.0032, gauc: 0.7358, gaucDeviation: 0.0010),
        "star": Reference(auc: 0.7473, aucDeviation: 0.0043, gauc: 0.7321, gaucDeviation: 0.0014),
        "mmoe-da": Reference(
            auc: 0.7531, aucDeviation: 0.0047, gauc: 0.7344, gaucDeviation: 0.0007),
        "mmoe-da-mmd": Reference(
            auc: 0.7552, aucDeviation: 0.0049, gauc: 0.7339, gaucDeviation: 0.0011),
        "mdf": Reference(auc: 0.7533, aucDeviation: 0.0053, gauc: 0.7344, gaucDeviation: 0.0011),
    ]

    let data: RankLens

    public init(_ data: RankLens) { self.data = data }

    /// The reference program's settings: Adagrad .02 for all, batches of 2,304, at most 6 epochs.
    public static func settings(seed: UInt64) -> TrainingSettings {
        var settings = TrainingSettings()
        settings.optimizer = OptimizerSettings(.adagrad, rate: 0.02, tableRate: 0.02)
        settings.seed = seed
        settings.independentRows = true
        return settings
    }

    /// Trains `variant` once and scores the test rows.
    public func run(_ variant: String, seed: UInt64, threads: Int = 1)
        -> (domains: [Int: Quality], macro: Quality)
    {
        let (train, validation, test) = data.split()
        let set = data.examples
        var settings = Self.settings(seed: seed)
        settings.threads = threads
        if variant == "single (separate models)" { return runSeparately(settings) }
        let known = set.knownIDs(in: train)
        let result = Trainer.fit(
            set, rows: train, validation: validation, set.configuration.variant(variant), settings,
            known: known)
        let logits = Trainer.predict(Network(result.parameters), set, test, known: known)
        return Quality.byDomain(set, test, logits)
    }

    /// One model per domain: nothing shared, not even tables.
    private func runSeparately(_ base: TrainingSettings) -> (
        domains: [Int: Quality], macro: Quality
    ) {
        let set = data.examples
        let split = data.split()
        var logits = [Float](repeating: 0, count: split.test.count)
        for m in 0..<set.configuration.M {
            func own(_ rows: [Int32]) -> [Int32] { rows.filter { set.domain[Int($0)] == Int32(m) } }
            var c = set.configuration.variant("shared_bottom")
            c.M = 1
            var settings = base
            settings.batch = 256
            let known = set.knownIDs(in: own(split.train))
            let domains = [Int32](repeating: 0, count: set.configuration.M)
            let result = Trainer.fit(
                set, rows: own(split.train), validation: own(split.validation), c, settings,
                known: known, domains: domains)
            let test = split.test.indices.filter { set.domain[Int(split.test[$0])] == Int32(m) }
            let scores = Trainer.predict(
                Network(result.parameters), set, test.map { split.test[$0] }, known: known,
                domains: domains)
            for (i, score) in zip(test, scores) { logits[i] = score }
        }
        return Quality.byDomain(set, split.test, logits)
    }
}

/// Mean and standard deviation over runs.
public func meanAndDeviation(_ values: [Double]) -> (mean: Double, deviation: Double) {
    let n = Double(values.count)
    let mean = values.reduce(0, +) / n
    if values.count < 2 { return (mean, 0) }
    let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    return (mean, (squares / (n - 1)).squareRoot())
}
