// Protocol B with live statistics: a held-out domain streams by, labels arrive six seconds late.

import DeterministicMath
import RankingModel
import Statistics
import Tensors

/// Table (e) of the reference's results: network, counters and both, learning online.
public struct OnlineStudy {
    /// Quality over a stream: whole, first and last fifth, and mean prediction / observed.
    public struct Report: Sendable {
        public var auc = 0.0, gauc = 0.0, first = 0.0, last = 0.0
        public var calibrationFirst = 0.0, calibration = 0.0

        public var values: [Double] { [auc, gauc, first, last, calibrationFirst, calibration] }
    }

    public static let held = ["crime_thriller", "drama_romance", "scifi", "horror_dark"]
    static let delay: Int64 = 6000
    static let kappa = 6.0

    /// Means over the held-out domains of `reference/online.py`, text none, three seeds: AUC, GAUC,
    /// first fifth, last fifth, calibration there and over all.
    public static let reference: [(name: String, values: [Double])] = [
        ("counters", [0.7674, 0.7351, 0.7392, 0.7733, 1.10, 1.00]),
        ("plain zero_shot", [0.7254, 0.7124, 0.7299, 0.7251, 1.12, 1.06]),
        ("plain zero_shot + wide", [0.7660, 0.7392, 0.7451, 0.7725, 1.19, 1.04]),
        ("plain adapter", [0.7324, 0.7160, 0.7232, 0.7386, 0.99, 0.99]),
        ("plain adapter + wide", [0.7678, 0.7396, 0.7452, 0.7730, 1.15, 1.03]),
        ("plain full", [0.7495, 0.7383, 0.7066, 0.7635, 0.98, 0.99]),
        ("plain full + wide", [0.7690, 0.7409, 0.7399, 0.7752, 1.14, 1.04]),
        ("plain full warm", [0.7512, 0.7346, 0.7321, 0.7613, 1.00, 0.99]),
        ("plain full warm + wide", [0.7696, 0.7414, 0.7452, 0.7756, 1.15, 1.03]),
        ("stats zero_shot", [0.7497, 0.7244, 0.7400, 0.7543, 1.20, 1.13]),
        ("stats zero_shot + wide", [0.7677, 0.7384, 0.7458, 0.7747, 1.23, 1.05]),
        ("stats adapter", [0.7564, 0.7312, 0.7321, 0.7681, 0.99, 0.99]),
        ("stats adapter + wide", [0.7690, 0.7395, 0.7443, 0.7753, 1.17, 1.04]),
        ("stats full", [0.7573, 0.7388, 0.7135, 0.7718, 0.99, 0.99]),
        ("stats full + wide", [0.7689, 0.7404, 0.7389, 0.7761, 1.16, 1.04]),
        ("stats full warm", [0.7625, 0.7382, 0.7385, 0.7729, 1.01, 0.99]),
        ("stats full warm + wide", [0.7701, 0.7404, 0.7444, 0.7768, 1.17, 1.04]),
    ]

    /// Standard deviations over the seeds of the reference's AUC and GAUC, in the same order.
    public static let deviations: [(Double, Double)] = [
        (0, 0), (0.0036, 0.0030), (0.0004, 0.0010), (0.0044, 0.0011), (0.0006, 0.0002),
        (0.0017, 0.0018), (0.0006, 0.0005), (0.0025, 0.0001), (0.0004, 0.0004), (0.0036, 0.0056),
        (0.0017, 0.0016), (0.0029, 0.0021), (0.0010, 0.0009), (0.0016, 0.0015), (0.0007, 0.0006),
        (0.0020, 0.0022), (0.0008, 0.0007),
    ]

    let data: RankLens
    /// Event time of the launch: 40 % of the rows lie before it.
    let launch: Double

    public init(_ data: RankLens) {
        self.data = data
        launch = Self.quantile(data.examples.time, 0.4)
    }

    /// Linear between neighbours, as numpy does.
    static func quantile(_ values: [Int64], _ share: Double) -> Double {
        let sorted = values.sorted()
        let place = share * Double(sorted.count - 1)
        let low = Int(place)
        let high = min(low + 1, sorted.count - 1)
        return Double(sorted[low]) + (place - Double(low)) * Double(sorted[high] - sorted[low])
    }

    /// Runs one held-out domain with one seed: reports by row name.
    public func run(held name: String, seed: UInt64) -> [String: Report] {
        let set = data.examples
        let M = set.configuration.M
        let held = Int32(data.domainNames.firstIndex(of: name)!)
        var domains = [Int32](repeating: Int32(M - 1), count: M)
        var next: Int32 = 0
        for m in 0..<M where m != Int(held) {
            domains[m] = next
            next += 1
        }
        let rows = (0..<Int32(set.count))
        let pool = rows.filter {
            set.domain[Int($0)] != held && Double(set.time[Int($0)]) < launch
        }
        let stream = rows.filter {
            set.domain[Int($0)] == held && Double(set.time[Int($0)]) >= launch
        }
        let cut = Self.quantile(pool.map { set.time[Int($0)] }, 0.9)
        let train = pool.filter { Double(set.time[Int($0)]) < cut }
        let late = pool.filter { Double(set.time[Int($0)]) >= cut }
        let statistics = liveStatistics(held: held)
        var reports: [String: Report] = [:]
        let none = [Float](repeating: 0, count: set.count)
        reports["counters"] = report(
            stream, wide(statistics, none, warm: pool, stream: stream, network: false))
        for tag in ["plain", "stats"] {
            var tagged = set
            if tag == "stats" { tagged = adding(statistics, to: set) }
            var c = tagged.configuration.variant("mdf")
            c.M = M - 1
            let known = tagged.knownIDs(in: train)
            var settings = JointStudy.settings(seed: seed)
            settings.epochs = 4
            let fitted = Trainer.fit(
                tagged, rows: train, validation: late, c, settings, known: known, domains: domains)
            fitted.parameters.resetUntrainedRows(known: known)
            let parameters = fitted.parameters.addingDomain()
            let warm = fitted.optimizer.addingDomain(fitted.parameters, to: parameters)
            let warmers = warmLogits(tagged, late, parameters, domains, held: held)
            let plans: [(String, FreezeSetting, Float, Optimizer?, Bool)] = [
                ("zero_shot", .head, 0, nil, false), ("adapter", .adapter, 0.01, nil, true),
                ("full", .full, 0.01, nil, true), ("full warm", .full, 0.005, warm, true),
            ]
            for (label, setting, rate, accumulators, learns) in plans {
                var logits = online(
                    tagged, stream, parameters, setting, rate: rate, accumulators,
                    domains: domains, learns: learns)
                reports["\(tag) \(label)"] = report(stream, logits)
                for (suffix, before) in warmers {
                    for row in late { logits[Int(row)] = before[Int(row)] }
                    reports["\(tag) \(label) \(suffix)"] = report(
                        stream, wide(statistics, logits, warm: late, stream: stream, network: true))
                }
                for trust in [0.2, 0.4] {
                    reports["\(tag) \(label) + wide from counters, \(trust)"] = report(
                        stream,
                        wideFromCounters(
                            statistics, logits, aligned: warmers[1].1, late: late, pool: pool,
                            stream: stream, trust: trust))
                }
            }
        }
        return reports
    }

    /// The network's logits of the sources' last rows, from which the wide part learns how far to
    /// trust the network, in three ways.
    ///
    /// - `+ wide`: as `online.py` has it. It sorts each 256 rows by domain, scores them, and gives the
    ///   scores to the rows in their order before the sorting, so most rows get another row's score.
    /// - `+ wide aligned`: each row its own score, with its domain's own layers.
    /// - `+ wide as new`: each row its own score, as if it were of the new domain and its item
    ///   unknown: what the network is worth where the wide part will be used.
    private func warmLogits(
        _ set: ExampleSet, _ late: [Int32], _ parameters: Parameters, _ domains: [Int32],
        held: Int32
    ) -> [(String, [Float])] {
        let network = Network(parameters)
        func spread(_ scores: [Float], _ rows: [Int32]) -> [Float] {
            var out = [Float](repeating: 0, count: set.count)
            for (row, score) in zip(rows, scores) { out[Int(row)] = score }
            return out
        }
        let aligned = Trainer.predict(network, set, late, domains: domains)
        var misplaced: [Float] = []
        var first = 0
        while first < late.count {
            let last = min(late.count, first + 256)
            let order = (first..<last).sorted {
                (domains[Int(set.domain[Int(late[$0])])], $0)
                    < (domains[Int(set.domain[Int(late[$1])])], $1)
            }
            misplaced += order.map { aligned[$0] }
            first = last
        }
        let c = set.configuration
        let unknown = KnownIDs(
            user: Array(repeating: true, count: c.n_user),
            item: Array(repeating: false, count: c.n_item),
            query: Array(repeating: true, count: c.n_query))
        let new = [Int32](repeating: domains[Int(held)], count: c.M)
        let asNew = Trainer.predict(network, set, late, known: unknown, domains: new)
        return [
            ("+ wide", spread(misplaced, late)), ("+ wide aligned", spread(aligned, late)),
            ("+ wide as new", spread(asNew, late)),
        ]
    }

    /// Four statistics a row, from labels that had arrived by then; the held-out domain's own early
    /// rows and the others' late item counts stay outside.
    func liveStatistics(held: Int32) -> [WideInput] {
        let set = data.examples
        let c = set.configuration
        var itemClicks = [Double](repeating: 0, count: c.n_item)
        var itemShown = itemClicks
        var userClicks = [Double](repeating: 0, count: c.n_user)
        var userShown = userClicks
        var (clicks, shown) = (1.0, 5.0)
        var q = 0
        var out: [WideInput] = []
        out.reserveCapacity(set.count)
        for r in 0..<set.count {
            while set.time[q] + Self.delay <= set.time[r] {
                let isOwn = set.domain[q] == held
                let isLate = Double(set.time[q]) >= launch
                if !isOwn || isLate {
                    let label = Double(set.labels[q])
                    if isOwn || !isLate {
                        itemShown[Int(set.item[q])] += 1
                        itemClicks[Int(set.item[q])] += label
                    }
                    userShown[Int(set.user[q])] += 1
                    userClicks[Int(set.user[q])] += label
                    clicks += label
                    shown += 1
                }
                q += 1
            }
            let p0 = clicks / shown
            let (i, u) = (Int(set.item[r]), Int(set.user[r]))
            var x = WideInput()
            x.itemRate = WideInput.rate(
                clicks: itemClicks[i], impressions: itemShown[i], global: p0, kappa: Self.kappa)
            x.userRate = WideInput.rate(
                clicks: userClicks[u], impressions: userShown[u], global: p0, kappa: Self.kappa)
            x.itemCount = Math.log1p(itemShown[i]) / 3
            x.userCount = Math.log1p(userShown[u]) / 3
            x.position = Int(data.position[r])
            out.append(x)
        }
        return out
    }

    private func adding(_ statistics: [WideInput], to set: ExampleSet) -> ExampleSet {
        var larger = set
        let n = set.configuration.n_dense
        larger.configuration.n_dense = n + 4
        larger.dense = []
        for r in 0..<set.count {
            larger.dense.append(contentsOf: set.dense[r * n..<(r + 1) * n])
            let x = statistics[r]
            larger.dense.append(
                contentsOf: [x.itemRate, x.userRate, x.itemCount, x.userCount].map(Float.init))
        }
        return larger
    }

    /// Calls `predict(row)` at each impression and `learn(rows)` for each 32 labels that fell due.
    func replay(_ rows: [Int32], predict: (Int32) -> Void, learn: ([Int32]) -> Void) {
        let time = data.examples.time
        var waiting = 0
        var batch: [Int32] = []
        for row in rows {
            while waiting < rows.count, time[Int(rows[waiting])] + Self.delay <= time[Int(row)] {
                batch.append(rows[waiting])
                waiting += 1
                if batch.count == 32 {
                    learn(batch)
                    batch.removeAll(keepingCapacity: true)
                }
            }
            predict(row)
        }
    }

    /// Logits of `rows` by a network that learns from labels as they arrive.
    private func online(
        _ set: ExampleSet, _ rows: [Int32], _ start: Parameters, _ setting: FreezeSetting,
        rate: Float, _ accumulators: Optimizer?, domains: [Int32], learns: Bool
    ) -> [Float] {
        let parameters = start.copy()
        let network = Network(parameters)
        network.freeze(setting)
        let optimizer = Optimizer(
            parameters, OptimizerSettings(.adagrad, rate: rate, tableRate: rate))
        if let accumulators { optimizer.copy(from: accumulators) }
        var logits = [Float](repeating: 0, count: set.count)
        var asked: [Int32] = []
        var preparation = BatchPreparation(domains: domains)
        var random = Random(seed: 0)
        let batch = Batch(network.configuration)
        func answer() {
            let scores = Trainer.predict(network, set, asked, domains: domains, batch: 256)
            for (row, score) in zip(asked, scores) { logits[Int(row)] = score }
            asked.removeAll(keepingCapacity: true)
        }
        replay(
            rows, predict: { asked.append($0) },
            learn: { due in
                if !learns { return }
                answer()
                preparation.fill(batch, set, due[...], &random)
                _ = network.backward(batch, alpha: 0)
                optimizer.step(network)
            })
        answer()
        return logits
    }

    /// Logits of the wide part, warm from `warm`, learning on through `stream`.
    private func wide(
        _ statistics: [WideInput], _ logits: [Float], warm: [Int32], stream: [Int32], network: Bool
    ) -> [Float] {
        var part = WidePart(positions: 24, domains: 1, network: network, ownWeights: false)
        var out = [Float](repeating: 0, count: statistics.count)
        func input(_ row: Int32) -> WideInput {
            var x = statistics[Int(row)]
            x.network = network ? Double(logits[Int(row)]) : 0
            return x
        }
        for (rows, isScored) in [(warm, false), (stream, true)] {
            replay(
                rows, predict: { if isScored { out[Int($0)] = Float(part.logit(input($0))) } },
                learn: { due in
                    part.learn(due.map { (input($0), Double(data.examples.labels[Int($0)])) })
                })
        }
        return out
    }

    /// Logits of a wide part that starts as the counters' own, which every domain confirms, and leans
    /// on the network with the weight `trust` until the new domain's labels say better.
    ///
    /// The network's logit counts from its mean over the sources' last rows, so that leaning on it
    /// does not move the level; its weight moves in steps as small as the item rate's.
    private func wideFromCounters(
        _ statistics: [WideInput], _ logits: [Float], aligned: [Float], late: [Int32],
        pool: [Int32], stream: [Int32], trust: Double
    ) -> [Float] {
        var part = WidePart(positions: 24, domains: 1, network: false, ownWeights: false)
        var out = [Float](repeating: 0, count: statistics.count)
        let labels = data.examples.labels
        replay(
            pool, predict: { _ in },
            learn: { due in
                part.learn(due.map { (statistics[Int($0)], Double(labels[Int($0)])) })
            })
        part.weights[5] = trust
        part.squares[5] = part.squares[0]
        let level = late.reduce(0.0) { $0 + Double(aligned[Int($1)]) } / Double(late.count)
        func input(_ row: Int32) -> WideInput {
            var x = statistics[Int(row)]
            x.network = Double(logits[Int(row)]) - level
            return x
        }
        replay(
            stream, predict: { out[Int($0)] = Float(part.logit(input($0))) },
            learn: { due in part.learn(due.map { (input($0), Double(labels[Int($0)])) }) })
        return out
    }

    private func report(_ rows: [Int32], _ logits: [Float]) -> Report {
        let set = data.examples
        let fifth = rows.count / 5
        func auc(_ part: ArraySlice<Int32>) -> Double {
            RankingQuality.auc(
                predictions: part.map { logits[Int($0)] },
                labels: part.map { set.labels[Int($0)] > 0.5 }) ?? 0.5
        }
        func calibration(_ part: ArraySlice<Int32>) -> Double {
            let predicted = part.reduce(0.0) { $0 + Math.sigmoid(Double(logits[Int($1)])) }
            return predicted / part.reduce(0.0) { $0 + Double(set.labels[Int($1)]) }
        }
        var report = Report()
        report.auc = auc(rows[...])
        report.gauc = Quality.of(set, rows, rows.map { logits[Int($0)] }).gauc
        report.first = auc(rows[..<fifth])
        report.last = auc(rows[(rows.count - fifth)...])
        report.calibrationFirst = calibration(rows[..<fifth])
        report.calibration = calibration(rows[...])
        return report
    }
}
