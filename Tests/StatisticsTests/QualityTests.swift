// Ranking quality and calibration against slow, plain calculations.

import DeterministicMath
import Statistics
import Testing

/// Clicks with logits spread around a rate of a few percent, and predictions that know part of it.
func traffic(_ count: Int, seed: UInt64, spread: Double = 1, center: Double = -2.5) -> [(
    logit: Double, clicked: Bool
)] {
    var random = Random(seed: seed)
    return (0..<count).map { _ in
        let logit = center + spread * random.normal()
        return (logit, random.chance(Math.sigmoid(logit)))
    }
}

@Suite struct RankingQualityTests {
    @Test func `AUC of a list is its share of pairs in the right order, ties half`() {
        let auc = { (p: [Double], y: [Bool]) in RankingQuality.auc(predictions: p, labels: y) }
        #expect(auc([1, 2, 3, 4], [false, false, true, true]) == 1)
        #expect(auc([4, 3, 2, 1], [false, false, true, true]) == 0)
        #expect(auc([1, 1, 1], [false, true, true]) == 0.5)
        #expect(auc([1, 2, 2, 3], [false, true, false, true]) == 3.5 / 4)
        #expect(auc([1, 2], [true, true]) == nil && auc([], []) == nil)
        #expect(auc([.nan, 2], [true, false]) == 0, "NaN ranks lowest")
    }

    @Test(arguments: 1...10 as ClosedRange<UInt64>)
    func `sorting and counting pairs agree, with ties`(seed: UInt64) {
        var random = Random(seed: seed)
        let predictions = (0..<300).map { _ in Double(random.below(40)) }
        let labels = predictions.map { random.chance(0.1 + $0 / 80) }
        var halfWins = 0
        var pairs = 0
        for i in 0..<300 where labels[i] {
            for j in 0..<300 where !labels[j] {
                pairs += 2
                halfWins +=
                    predictions[i] > predictions[j] ? 2 : predictions[i] == predictions[j] ? 1 : 0
            }
        }
        let truth = Double(halfWins) / Double(pairs)
        #expect(
            RankingQuality.auc(predictions: predictions, labels: labels) == truth, "seed \(seed)")
        let floats = predictions.map { Float($0) }
        #expect(RankingQuality.auc(predictions: floats, labels: labels) == truth, "seed \(seed)")
    }

    @Test(arguments: [(1.0, -2.5), (0.5, -3.0), (1.5, -1.0), (2.5, -4.0), (0.5, 0.0)])
    func `the histogram's AUC is within 0.0005 of the exact one`(spread: Double, center: Double) {
        for seed in 1...3 as ClosedRange<UInt64> {
            let examples = traffic(20_000, seed: seed, spread: spread, center: center)
            var histogram = RankingHistogram()
            for example in examples {
                histogram.add(logit: example.logit, clicked: example.clicked)
            }
            let exact = RankingQuality.auc(
                predictions: examples.map(\.logit), labels: examples.map(\.clicked))!
            #expect(abs(histogram.auc! - exact) <= 0.0005, "seed \(seed)")
        }
    }

    @Test func `cells of a histogram stop where they are full and do not begin again`() {
        var histogram = RankingHistogram()
        histogram.add(logit: -1, clicked: false)
        histogram.add(logit: 1, clicked: true)
        for _ in 0..<33 { histogram.merge(histogram) }
        #expect(histogram.auc == 1)
        histogram.add(logit: -1, clicked: false)
        histogram.add(logit: 1, clicked: true)
        histogram.correct(logit: -1)
        #expect(abs(histogram.auc! - 1) < 1e-6)
    }

    @Test func `predictions that know nothing have an AUC of one half`() {
        var random = Random(seed: 6)
        var histogram = RankingHistogram()
        for example in traffic(40_000, seed: 6) {
            histogram.add(logit: random.normal() - 2, clicked: example.clicked)
        }
        #expect(abs(histogram.auc! - 0.5) < 0.015, "seed 6")
    }

    @Test func `histograms merge exactly`() {
        checkLaw(
            RankingHistogram.self, size: 16_384, inputs: traffic(5_000, seed: 2, spread: 4),
            cut: 2_222,
            feed: { $0.add(logit: $1.logit, clicked: $1.clicked) })
    }

    @Test func `GAUC is the mean over groups by size, and a group of one class is left out`() {
        var grouped = GroupedAUC()
        #expect(grouped.value == nil)
        grouped.add(predictions: [1.0, 2], labels: [false, true])  // 1, two examples
        grouped.add(predictions: [3.0, 1, 2, 2], labels: [false, true, false, false])  // 0, four
        grouped.add(predictions: [1.0, 2, 3], labels: [false, false, false])  // left out
        #expect(abs(grouped.value! - 2.0 / 6) < 1e-8)
        #expect(grouped.groups == 2 && grouped.examples == 6 && grouped.groupsOfOneClass == 1)
        // The label of the third group's last example turns out to be a click.
        grouped.remove(auc: nil, size: 3)
        grouped.add(predictions: [1.0, 2, 3], labels: [false, false, true])
        #expect(abs(grouped.value! - 5.0 / 9) < 1e-8 && grouped.groupsOfOneClass == 0)
    }

    @Test func `GAUC merges exactly`() {
        var random = Random(seed: 3)
        let groups = (0..<200).map { _ in
            (0..<(1 + random.below(24))).map { _ in (random.normal(), random.chance(0.15)) }
        }
        checkLaw(
            GroupedAUC.self, size: 32, inputs: groups, cut: 77,
            feed: { $0.add(predictions: $1.map(\.0), labels: $1.map(\.1)) })
    }
}

@Suite struct CalibrationTests {
    @Test func `log loss, entropy and ratio are those of the plain sums`() {
        let examples = traffic(10_000, seed: 4)
        var calibration = Calibration()
        var loss = 0.0
        var predicted = 0.0
        for example in examples {
            calibration.add(logit: example.logit, clicked: example.clicked)
            let p = Math.sigmoid(example.logit)
            loss -= Math.log(example.clicked ? p : 1 - p)
            predicted += p
        }
        let n = 10_000.0
        let rate = Double(examples.count(where: \.clicked)) / n
        let entropy = -(rate * Math.log(rate) + (1 - rate) * Math.log(1 - rate))
        #expect(abs(calibration.logLoss! - loss / n) < 1e-8)
        #expect(abs(calibration.normalizedEntropy! - loss / n / entropy) < 1e-7)
        #expect(abs(calibration.ratio! - predicted / n / rate) < 1e-7)
        #expect(calibration.observedRate == rate)
        #expect(abs(calibration.meanPrediction! - predicted / n) < 1e-8)
    }

    @Test func `without examples, or with one class, what cannot be said is nil`() {
        var calibration = Calibration()
        #expect(
            calibration.logLoss == nil && calibration.ratio == nil
                && calibration.meanPrediction == nil)
        calibration.add(logit: -1, clicked: false)
        #expect(
            calibration.logLoss != nil && calibration.ratio == nil
                && calibration.normalizedEntropy == nil)
    }

    @Test func `sums merge exactly`() {
        checkLaw(
            Calibration.self, size: 32, inputs: traffic(3_000, seed: 5), cut: 1_000,
            feed: { $0.add(logit: $1.logit, clicked: $1.clicked) })
    }

    @Test func `endless and missing logits cost at most 32 and stop nothing`() {
        var quality = PrequentialQuality()
        for logit in [Double.infinity, -.infinity, .nan, 1e300, -1e300] {
            quality.add(logit: logit, clicked: false)
            quality.add(logit: logit, clicked: true)
            quality.add(logit: logit, clicked: false)
            quality.correct(logit: logit)
        }
        #expect(quality.calibration.logLoss! <= 32 && quality.report.auc != nil)
    }

    @Test func `calibration error is small for true predictions and the shift for shifted ones`() {
        let examples = traffic(100_000, seed: 8)
        func error(_ change: (Double) -> Double) -> Double {
            var histogram = RankingHistogram()
            for example in examples {
                histogram.add(logit: change(example.logit), clicked: example.clicked)
            }
            return histogram.calibrationError()!
        }
        #expect(error { $0 } < 0.005, "seed 8")
        #expect(RankingHistogram().calibrationError() == nil)
        // Every prediction too high: the error is the difference of the means.
        let shift = { (logit: Double) in logit + 1 }
        let difference =
            examples.map { Math.sigmoid(shift($0.logit)) - ($0.clicked ? 1 : 0) }.reduce(0, +)
            / 100_000
        #expect(abs(error(shift) - difference) < 0.001, "seed 8")
    }

    @Test func `calibration error is that of 15 bins of equal mass over the sorted predictions`() {
        for seed in 1...5 as ClosedRange<UInt64> {
            let examples = traffic(30_000, seed: seed).map {
                (logit: $0.logit + 0.4, clicked: $0.clicked)
            }
            var histogram = RankingHistogram()
            for example in examples {
                histogram.add(logit: example.logit, clicked: example.clicked)
            }
            let sorted = examples.sorted { $0.logit < $1.logit }
            var truth = 0.0
            for bin in 0..<15 {
                let part = sorted[(bin * 2_000)..<((bin + 1) * 2_000)]
                truth += abs(
                    part.map { Math.sigmoid($0.logit) - ($0.clicked ? 1 : 0) }.reduce(0, +))
            }
            #expect(abs(histogram.calibrationError()! - truth / 30_000) < 0.001, "seed \(seed)")
        }
    }
}

@Suite struct PrequentialQualityTests {
    @Test func `a correction leaves the bytes of having known the click`() {
        for seed in 1...5 as ClosedRange<UInt64> {
            var random = Random(seed: seed)
            var known = PrequentialQuality()
            var corrected = PrequentialQuality()
            var late: [Double] = []
            for example in traffic(2_000, seed: seed, spread: 6) {
                known.add(logit: example.logit, clicked: example.clicked)
                let isLate = example.clicked && random.chance(0.3)
                corrected.add(logit: example.logit, clicked: example.clicked && !isLate)
                if isLate { late.append(example.logit) }
            }
            random.shuffle(&late)
            for logit in late { corrected.correct(logit: logit) }
            #expect(corrected.corrections == UInt64(late.count))
            corrected.corrections = 0
            #expect(bytes(of: corrected) == bytes(of: known), "seed \(seed)")
        }
    }

    @Test func `quality merges exactly and reports by the names of the topic`() {
        let examples = traffic(4_000, seed: 9)
        checkLaw(
            PrequentialQuality.self, size: 16_456, inputs: examples, cut: 1_500,
            feed: { $0.add(logit: $1.logit, clicked: $1.clicked) })
        var quality = PrequentialQuality()
        for example in examples { quality.add(logit: example.logit, clicked: example.clicked) }
        let report = quality.report
        #expect(report.examples == 4_000 && report.corrections == 0 && report.gauc == nil)
        #expect(report.positives == UInt64(examples.count(where: \.clicked)))
        #expect(
            report.auc! > 0.65 && report.normalizedEntropy! < 1 && report.calibrationError! < 0.02)
        #expect(abs(report.calibration! - 1) < 0.15, "seed 9")
    }
}

@Suite struct ExactSumTests {
    @Test func `terms come in any order and go without a trace`() {
        var random = Random(seed: 10)
        var terms = (0..<1_000).map { _ in random.normal() * 100 }
        var forward = ExactSum()
        for term in terms { forward.add(term) }
        random.shuffle(&terms)
        var other = ExactSum()
        for term in terms { other.add(term) }
        #expect(forward == other)
        for term in terms { other.remove(term) }
        #expect(other == ExactSum())
        #expect(abs(forward.value - terms.reduce(0, +)) < 1_000 * 3.8e-9)
    }

    @Test func `terms that are too large or not a number are held`() {
        var sum = ExactSum()
        for term in [Double.infinity, -.infinity, .nan] { sum.add(term) }
        #expect(sum.value == 0)
        sum.add(1e30)
        #expect(sum.value == 1_048_576)
    }
}
