// Adagrad on one micro-batch: gradients summed first, then one step for every coordinate they touch.

import DeterministicMath

#if canImport(Glibc)
    import Glibc
#endif

/// A micro-batch being learned from. Source: model-spec §12; corrections: design §2 "Finetune" 3.
struct Learner {
    let head: HeadView
    private let parameters: DomainParameters
    private let scratch: Scratch
    private let sums: UnsafeMutablePointer<GradientSums>

    init(_ head: HeadView, _ parameters: DomainParameters, _ scratch: Scratch) {
        self.head = head
        self.parameters = parameters
        self.scratch = scratch
        sums = scratch.sums
        sums.initialize(to: GradientSums())
        scratch.buckets.removeAll(keepingCapacity: true)
        scratch.correctedBuckets.removeAll(keepingCapacity: true)
    }

    /// Adds one labeled impression at the present weights.
    ///
    /// Where negatives are thinned to a share r, σ(logit − ln r) is what is learned (design §2
    /// "Finetune" 2), so that σ(logit) stays the probability.
    func add(_ features: UnsafeMutablePointer<KeptFeatures>, clicked: Bool) {
        var logit = head.logit(features)
        if parameters.negativeShare < 1 { logit -= Math.log(parameters.negativeShare) }
        let error = (Math.sigmoid(logit) - (clicked ? 1 : 0)) / HeadConstant.batchDivisor
        spread(error, features, isCorrection: false)
        sums.pointee.examples += 1
    }

    /// Adds a correction: the difference between having trained a 1 and having trained a 0.
    func correct(_ features: UnsafeMutablePointer<KeptFeatures>) {
        spread(-1 / HeadConstant.batchDivisor, features, isCorrection: true)
    }

    private func spread(
        _ error: Float, _ features: UnsafeMutablePointer<KeptFeatures>, isCorrection: Bool
    ) {
        func add(_ i: Int, _ slope: Float) {
            sums.all[i] += slope
            if !isCorrection { sums.trained[i] += slope }
        }
        let dense = features.dense
        for k in 0..<HeadInput.count { add(k, error * dense[k]) }
        add(HeadInput.bias, error)
        add(HeadInput.positions + Int(features.pointee.position), error)
        let list = features.hashed
        for j in 0..<Int(features.pointee.hashedCount) {
            let feature = list[j]
            let slope = error * head.shares[feature.share]
            if isCorrection {
                scratch.correctedBuckets.append((feature.bucket, slope))
                continue
            }
            if scratch.gradient[feature.bucket] == 0 { scratch.buckets.append(feature.bucket) }
            scratch.gradient[feature.bucket] += slope
        }
    }

    /// Takes the step. A coordinate's step is never longer than its rate where it is a correction's.
    func finish(markHashed: (Int) -> Void) {
        let rate = parameters.rate
        for i in 0..<HeadInput.weights where sums.all[i] != 0 {
            let trained = sums.trained[i]
            let correction = sums.all[i] - trained
            let shared = head.shared
            step(
                &shared.part.weights[i], &shared.part.accumulators[i], trained,
                correction, rate)
            shared.gradient[i] += sums.all[i]
            shared.square[i] += trained * trained
            guard parameters.learnsOwnWeights else { continue }
            let own = head.own
            step(
                &own.weights[i], &own.accumulators[i], trained, correction,
                i == HeadInput.bias ? rate : rate * HeadConstant.ownShare)
        }
        head.shared.pointee.examples += Int64(sums.pointee.examples)
        for bucket in scratch.buckets {
            let place = head.hashed + bucket
            step(
                &place.pointee.weight, &place.pointee.accumulator, scratch.gradient[bucket], 0, rate
            )
            scratch.gradient[bucket] = 0
            markHashed(bucket)
        }
        for (bucket, slope) in scratch.correctedBuckets {
            let place = head.hashed + bucket
            step(&place.pointee.weight, &place.pointee.accumulator, 0, slope, rate)
            markHashed(bucket)
        }
    }

    @inline(__always)
    private func step(
        _ weight: inout Float, _ accumulator: inout Float, _ trained: Float, _ correction: Float,
        _ rate: Float
    ) {
        accumulator += trained * trained
        let root = accumulator.squareRoot()
        weight -= rate * trained / root
        if correction != 0 { weight -= min(max(rate * correction / root, -rate), rate) }
    }
}

/// Dense gradients of a micro-batch: of everything in it, and without its corrections.
struct GradientSums {
    var all: InlineArray<37, Float> = InlineArray(repeating: 0)
    var trained: InlineArray<37, Float> = InlineArray(repeating: 0)
    var examples: Int32 = 0
}

/// A list in reused memory, filled by index and lent.
struct LentList<Element: BitwiseCopyable>: ~Copyable {
    private var base = UnsafeMutablePointer<Element>.allocate(capacity: 1)
    private var capacity = 1

    init() {}

    deinit { base.deallocate() }

    mutating func reserve(_ count: Int) {
        guard count > capacity else { return }
        base.deallocate()
        capacity = count
        base = .allocate(capacity: count)
    }

    /// Fills `count` elements in the `index`-th stretch of `stride` and lends them.
    mutating func fill(
        _ count: Int, at index: Int, stride: Int, _ element: (Int) -> Element
    ) -> UnsafePointer<Element> {
        precondition(index * stride + count <= capacity, "\(count) elements do not fit")
        let start = base + index * stride
        for i in 0..<count { start[i] = element(i) }
        return UnsafePointer(start)
    }
}
