// Training to the best epoch: stratified batches, hidden ids, a divergence that warms up, early stop.

import DeterministicMath
import Statistics
import Tensors

/// How to train.
public struct TrainingSettings: Sendable {
    public var optimizer = OptimizerSettings()
    public var batch = 2304
    public var epochs = 6
    public var dropout = 0.15
    public var temperature = 0.5
    /// Share of the planned steps over which the divergence's weight grows from 0.
    public var warmUp = 0.1
    /// Evaluations without gain before training stops.
    public var patience = 2
    public var seed: UInt64 = 0
    public var setting = FreezeSetting.full
    public var threads = 1
    /// Draw the rows of gates and experts independently, as the reference program did.
    public var independentRows = false

    public init() {}
}

/// What an epoch came to.
public struct EpochReport: Sendable {
    public var epoch: Int
    public var bce: Double
    public var divergence: Double
    /// Macro AUC of the validation rows; nil without any.
    public var validation: Double?
}

/// A trained network and what led to it.
public struct TrainingResult {
    public let parameters: Parameters
    public let optimizer: Optimizer
    public let best: Double?
    public let epochs: [EpochReport]
}

public enum Trainer {
    /// Trains on `rows` until `validation`'s macro AUC stops to grow; the best epoch's weights and
    /// accumulators are returned.
    ///
    /// - Parameters:
    ///   - start: weights to begin with; nil for a fresh draw from the seed.
    ///   - known: ids that are used; others count as unknown.
    ///   - domains: new number of each domain of the set.
    ///   - progress: called after every epoch.
    public static func fit(
        _ set: ExampleSet, rows: [Int32], validation: [Int32], _ configuration: ModelConfiguration,
        _ settings: TrainingSettings, start: Parameters? = nil, known: KnownIDs? = nil,
        domains: [Int32]? = nil, progress: (EpochReport) -> Void = { _ in }
    ) -> TrainingResult {
        let parameters = start ?? Parameters(configuration)
        if start == nil {
            parameters.initialize(
                seed: settings.seed, independentRows: settings.independentRows)
        }
        let network = Network(parameters, workers: Workers(threads: settings.threads))
        network.freeze(settings.setting)
        let optimizer = Optimizer(parameters, settings.optimizer)
        var random = Random(seed: settings.seed, stream: 1)
        var sampler = StratifiedSampler(
            set, rows: rows, batch: settings.batch, temperature: settings.temperature,
            random: Random(seed: settings.seed, stream: 2))
        var preparation = BatchPreparation(
            known: known, dropout: settings.dropout, domains: domains)
        let batch = Batch(configuration)
        let total = sampler.stepsPerEpoch * settings.epochs
        var step = 0
        var reports: [EpochReport] = []
        var best: (value: Double, parameters: Parameters, optimizer: Optimizer)?
        var worse = 0
        for epoch in 0..<settings.epochs {
            var (bce, divergence) = (0.0, 0.0)
            for _ in 0..<sampler.stepsPerEpoch {
                step += 1
                let drawn = sampler.next()
                preparation.fill(batch, set, drawn[...], &random)
                let ramp = min(1, Double(step) / max(1, settings.warmUp * Double(total)))
                let result = network.backward(batch, alpha: configuration.alpha * Float(ramp))
                optimizer.step(network)
                bce += Double(result.bce)
                divergence += Double(result.divergence)
            }
            let steps = Double(sampler.stepsPerEpoch)
            var report = EpochReport(
                epoch: epoch, bce: bce / steps, divergence: divergence / steps, validation: nil)
            if validation.isEmpty {
                reports.append(report)
                progress(report)
                continue
            }
            let logits = predict(network, set, validation, known: known, domains: domains)
            let value = Quality.byDomain(set, validation, logits).macro.auc
            report.validation = value
            reports.append(report)
            progress(report)
            if value > best?.value ?? -1 {
                let accumulators = Optimizer(parameters, settings.optimizer)
                accumulators.copy(from: optimizer)
                best = (value, parameters.copy(), accumulators)
                worse = 0
            } else {
                worse += 1
                if worse >= settings.patience { break }
            }
        }
        return TrainingResult(
            parameters: best?.parameters ?? parameters, optimizer: best?.optimizer ?? optimizer,
            best: best?.value, epochs: reports)
    }

    /// Logits of the first task for `rows`, in their order.
    public static func predict(
        _ network: Network, _ set: ExampleSet, _ rows: [Int32], known: KnownIDs? = nil,
        domains: [Int32]? = nil, batch size: Int = 4096
    ) -> [Float] {
        var preparation = BatchPreparation(known: known, domains: domains)
        var random = Random(seed: 0)
        let batch = Batch(network.configuration)
        let T = network.configuration.tasks.count
        var out: [Float] = []
        out.reserveCapacity(rows.count)
        var logits: [Float] = []
        var i = 0
        while i < rows.count {
            let end = min(rows.count, i + size)
            preparation.fill(batch, set, rows[i..<end], &random)
            network.forward(batch)
            network.copyLogits(to: &logits)
            for r in 0..<end - i { out.append(logits[r * T]) }
            i = end
        }
        return out
    }
}

/// AUC and GAUC of one domain, or their mean.
public struct Quality: Sendable, Equatable {
    public var auc: Double
    public var gauc: Double

    /// AUC over all rows of each domain, GAUC by request, and the means over domains.
    ///
    /// - Parameter logits: of the first task, one a row.
    public static func byDomain(
        _ set: ExampleSet, _ rows: [Int32], _ logits: [Float]
    ) -> (domains: [Int: Quality], macro: Quality) {
        var places: [Int: [Int]] = [:]
        for (i, row) in rows.enumerated() {
            places[Int(set.domain[Int(row)]), default: []].append(i)
        }
        var domains: [Int: Quality] = [:]
        var (auc, gauc) = (0.0, 0.0)
        for m in places.keys.sorted() {
            let quality = of(set, places[m]!.map { rows[$0] }, places[m]!.map { logits[$0] })
            domains[m] = quality
            auc += quality.auc
            gauc += quality.gauc
        }
        let count = Double(max(1, domains.count))
        return (domains, Quality(auc: auc / count, gauc: gauc / count))
    }

    /// AUC and GAUC of some rows together; 0.5 where a class is missing.
    public static func of(_ set: ExampleSet, _ rows: [Int32], _ logits: [Float]) -> Quality {
        let T = set.configuration.tasks.count
        let labels = rows.map { set.labels[Int($0) * T] > 0.5 }
        let auc = RankingQuality.auc(predictions: logits, labels: labels) ?? 0.5
        let order = rows.indices.sorted {
            (set.request[Int(rows[$0])], $0) < (set.request[Int(rows[$1])], $1)
        }
        var (sum, weight) = (0.0, 0.0)
        var i = 0
        while i < order.count {
            var j = i
            while j < order.count,
                set.request[Int(rows[order[j]])] == set.request[Int(rows[order[i]])]
            {
                j += 1
            }
            let group = order[i..<j]
            if let value = RankingQuality.auc(
                predictions: group.map { logits[$0] }, labels: group.map { labels[$0] })
            {
                sum += value * Double(j - i)
                weight += Double(j - i)
            }
            i = j
        }
        return Quality(auc: auc, gauc: weight > 0 ? sum / weight : 0.5)
    }
}
