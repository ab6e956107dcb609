// How fast the network trains and scores: the 'standard' configuration on synthetic batches.

import DeterministicMath
import RankingModel
import Tensors

#if canImport(Glibc)
    import Glibc
#endif

/// One measured figure.
public struct SpeedFigure: Sendable {
    public let name: String
    /// Median of the repeats, examples a second.
    public let value: Double
    public let least: Double
    public let most: Double
    public let detail: String
}

/// Batches of the 'standard' configuration and the clock over them.
///
/// Every example has 10 history items (id and text), 4 × 3 item field values, 2 × 3 user field
/// values, 60 % a query; domains uniform, rows sorted by domain, ids mildly skewed (the square of a
/// uniform number), 20,000 text vectors: as in the reference program's `speed.py`.
public final class SpeedStudy {
    let configuration = ModelConfiguration.standard
    public let parameters: Parameters
    let texts: Block
    let store: TextStore
    static let textRows = 20_000

    public init(seed: UInt64 = 0) {
        parameters = Parameters(configuration)
        parameters.initialize(seed: seed)
        let width = configuration.text_dim
        texts = Block(count: Self.textRows * width)
        var random = SplitMix64(seed: 77)
        for r in 0..<Self.textRows {
            let row = texts.base + r * width
            for j in 0..<width { row[j] = Float(Int64(bitPattern: random.next()) >> 40) * 0x1p-23 }
            let length = Kernels.dot(row, row, count: width).squareRoot()
            Kernels.scale(row, row, 1 / length, count: width)
        }
        store = TextStore(texts.base, rows: Self.textRows, width: width)
    }

    /// A batch of `count` rows.
    public func batch(_ count: Int, seed: UInt64) -> Batch {
        let c = configuration
        let batch = Batch(c)
        var random = Random(seed: seed)
        func skewed(_ n: Int) -> Int32 {
            let u = random.uniform()
            return Int32(min(n - 1, Int(u * u * Double(n))))
        }
        batch.domain = (0..<count).map { _ in Int32(random.below(c.M)) }.sorted()
        for _ in 0..<count {
            batch.labels.append(random.chance(0.2) ? 1 : 0)
            batch.userID.append(skewed(c.n_user))
            batch.itemID.append(skewed(c.n_item))
            batch.itemText.append(Int32(random.below(Self.textRows)))
            let hasQuery = random.chance(0.6)
            batch.queryPresent.append(hasQuery)
            batch.queryID.append(skewed(c.n_query))
            batch.queryText.append(Int32(random.below(Self.textRows)))
            for _ in 0..<10 {
                batch.historyID.append(skewed(c.n_item))
                batch.historyText.append(Int32(random.below(Self.textRows)))
            }
            batch.historyOffsets.append(Int32(batch.historyID.count))
            for f in c.item_sparse.indices {
                for _ in 0..<3 { batch.itemSparse[f].ids.append(skewed(c.item_sparse[f].rows)) }
                batch.itemSparse[f].close()
            }
            for f in c.user_sparse.indices {
                for _ in 0..<3 { batch.userSparse[f].ids.append(skewed(c.user_sparse[f].rows)) }
                batch.userSparse[f].close()
            }
            batch.context[0].append(Int32(random.below(24)))
            for _ in 0..<c.n_dense { batch.dense.append(Float(random.normal() * 0.3)) }
        }
        batch.texts = store
        return batch
    }

    /// Examples a second of training (or scoring) batches of `count` rows: the median of 7 repeats.
    public func measure(
        training: Bool, _ count: Int, threads: Int = 1, seconds: Double = 1.2
    ) -> SpeedFigure {
        let network = Network(parameters, workers: Workers(threads: threads))
        let optimizer = Optimizer(parameters, OptimizerSettings(rate: 0.01, tableRate: 0.01))
        let batches = (0..<8).map { batch(count, seed: UInt64($0)) }
        var out: [Float] = []
        func run(_ k: Int) {
            let batch = batches[k % batches.count]
            if training {
                _ = network.backward(batch, alpha: 0.1)
                optimizer.step(network)
            } else {
                network.forward(batch)
                network.copyLogits(to: &out)
            }
        }
        for k in 0..<3 { run(k) }
        let start = now(threads)
        run(3)
        let once = max(now(threads) - start, 1e-6)
        let repeats = 7
        let runs = max(1, Int(seconds / Double(repeats) / once))
        var rates: [Double] = []
        var k = 0
        for _ in 0..<repeats {
            let start = now(threads)
            for _ in 0..<runs {
                run(k)
                k += 1
            }
            rates.append(Double(count * runs) / (now(threads) - start))
        }
        rates.sort()
        let what = training ? "train" : "forward"
        let suffix = threads == 1 ? "" : ".threads_\(threads)"
        return SpeedFigure(
            name: "model.\(what)_\(count)\(suffix)", value: rates[repeats / 2], least: rates[0],
            most: rates[repeats - 1],
            detail: "\(KernelChoice.current?.rawValue ?? "") \(KernelChoice.blasName)")
    }

    /// Seconds of this thread's processor time for one thread, which other programs on the machine
    /// disturb less; of the clock on the wall for several.
    private func now(_ threads: Int) -> Double {
        var time = timespec()
        clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    /// GFLOP/s of the largest product, the experts' first layer at batch 1,024: (1024, 128) (1024, 128)ᵀ.
    public func product() -> SpeedFigure {
        let (a, b) = (Block(count: 1024 * 128), Block(count: 1024 * 128))
        for i in 0..<a.count {
            a.base[i] = Float(i % 7)
            b.base[i] = Float(i % 5)
        }
        let c = Block(count: 1024 * 1024)
        var rates: [Double] = []
        for _ in 0..<21 {
            let start = now(1)
            for _ in 0..<4 {
                Product.linear(
                    Matrix(c.base, 1024, 1024), Matrix(a.base, 1024, 128),
                    Matrix(b.base, 1024, 128))
            }
            rates.append(4 * 2 * 1024 * 1024 * 128 / (now(1) - start) * 1e-9)
        }
        rates.sort()
        return SpeedFigure(
            name: "model.product", value: rates[10], least: rates[0], most: rates[20],
            detail: "GFLOP/s, \(KernelChoice.blasName)")
    }

    /// The most memory that this process has held, in bytes.
    public static var peakMemory: Int {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return usage.ru_maxrss * 1024
    }
}
