// Adagrad on one micro-batch: gradients summed first, then one step for every coordinate they touch.

import DeterministicMath

#if canImport(Glibc)
    import Glibc
#endif

/// A micro-batch being learned from. Source: model-spec §12; corrections: design §2 "Finetune" 3.
struct Learner {
    let head: HeadView
    private let parameters: DomainParameters
    /// Whether other partitions are to be told of the steps.
    private let tellsOthers: Bool
    private let scratch: Scratch
    private let sums: UnsafeMutablePointer<GradientSums>

    init(
        _ head: HeadView, _ parameters: DomainParameters, tellsOthers: Bool, _ scratch: Scratch
    ) {
        self.tellsOthers = tellsOthers
        self.head = head
        self.parameters = parameters
        self.scratch = scratch
        sums = scratch.sums
        sums.initialize(to: GradientSums())
        scratch.buckets.removeAll(keepingCapacity: true)
        scratch.corrections.removeAll(keepingCapacity: true)
    }

    /// Adds one labeled impression at the present weights; false: it cannot be predicted, so nothing of it
    /// is learned from.
    ///
    /// The content part learns from its own residual, so that it stays the prediction for an unknown
    /// item; the cross part and the final bias from the whole logit's. Where negatives are thinned to a
    /// share r, σ(logit − ln r) is what is learned (design §2 "Finetune" 2), so that σ(logit) stays the
    /// probability.
    func add(_ features: UnsafeMutablePointer<KeptFeatures>, clicked: Bool) -> Bool {
        let thinned: Float =
            parameters.negativeShare < 1 ? -Math.log(parameters.negativeShare) : 0
        let y: Float = clicked ? 1 : 0
        let content = head.content(features)
        let logit =
            content + features.pointee.effect + features.pointee.pairEffect + head.top(features)
        guard logit.isFinite else { return false }
        let p = Math.sigmoid(content + thinned)
        spread((p - y) / HeadConstant.batchDivisor, features)
        let whole = Math.sigmoid(logit + thinned)
        let error = (whole - y) / HeadConstant.batchDivisor
        for k in 0..<HeadInput.crossCount {
            sums.all[HeadInput.weights + k] += error * features.cross[k]
        }
        sums.pointee.contentSurplus += Double(y - p)
        sums.pointee.contentInformation += Double(p * (1 - p))
        sums.pointee.wholeSurplus += Double(y - whole)
        sums.pointee.wholeInformation += Double(whole * (1 - whole))
        return true
    }

    private func spread(_ error: Float, _ features: UnsafeMutablePointer<KeptFeatures>) {
        let dense = features.dense
        for k in 0..<HeadInput.count { sums.all[k] += error * dense[k] }
        sums.all[HeadInput.bias] += error
        sums.all[Int(features.pointee.position)] += error
        let list = features.hashed
        for j in 0..<Int(features.pointee.hashedCount) {
            let bucket = list[j].bucket
            if scratch.gradient[bucket] == 0 { scratch.buckets.append(bucket) }
            scratch.gradient[bucket] += error * head.shares[list[j].share]
        }
    }

    /// Notes a correction; its step is taken behind the batch's.
    func correct(_ features: UnsafeMutablePointer<KeptFeatures>) {
        scratch.corrections.append(features)
    }

    /// Takes the step, then those of the corrections.
    func finish(examples: Int, markHashed: (Int) -> Void) {
        let rate = parameters.rate
        let shared = head.shared
        for i in 0..<HeadInput.weights where sums.all[i] != 0 {
            let g = sums.all[i]
            step(&shared.part.weights[i], &shared.part.accumulators[i], g, rate)
            tell(i, g)
            guard parameters.learnsOwnWeights, i != HeadInput.bias else { continue }
            step(
                &head.own.weights[i], &head.own.accumulators[i], g, rate * HeadConstant.ownShare)
        }
        for k in 0..<HeadInput.crossCount where sums.all[HeadInput.weights + k] != 0 {
            let g = sums.all[HeadInput.weights + k]
            step(&shared.cross[k], &shared.crossAccumulators[k], g, rate)
            tell(HeadInput.weights + k, g)
        }
        for bucket in scratch.buckets {
            let place = head.hashed + bucket
            step(&place.pointee.weight, &place.pointee.accumulator, scratch.gradient[bucket], rate)
            scratch.gradient[bucket] = 0
            markHashed(bucket)
        }
        if examples > 0 { moveBiases(Double(examples)) }
        if tellsOthers { shared.pointee.examples += Int64(examples) }
        for features in scratch.corrections { takeCorrection(features, markHashed) }
    }

    private func tell(_ i: Int, _ g: Float) {
        guard tellsOthers else { return }
        head.shared.gradient[i] += Double(g)
        head.shared.square[i] += Double(g) * Double(g)
    }

    /// Newton steps of the domain's own bias and of its final bias; what they rest on fades.
    private func moveBiases(_ examples: Double) {
        let left = Math.exp2(-examples / HeadConstant.biasHalfLife)
        let biases = head.biases
        biases.pointee.ownPrecision =
            max(HeadConstant.ownBiasPrecision, biases.pointee.ownPrecision * left)
            + sums.pointee.contentInformation
        let own = sums.pointee.contentSurplus / biases.pointee.ownPrecision
        biases.pointee.own += max(-0.5, min(0.5, own))
        biases.pointee.finalPrecision =
            max(HeadConstant.finalBiasPrecision, biases.pointee.finalPrecision * left)
            + sums.pointee.wholeInformation
        let final = sums.pointee.wholeSurplus / biases.pointee.finalPrecision
        biases.pointee.final += max(-0.5, min(0.5, final))
    }

    /// `θ += rate / √acc · ∂logit/∂θ / B`, each coordinate by at most its rate, accumulators unchanged.
    private func takeCorrection(
        _ features: UnsafeMutablePointer<KeptFeatures>, _ markHashed: (Int) -> Void
    ) {
        let rate = parameters.rate
        func moved(_ slope: Float, _ accumulator: Float, _ rate: Float) -> Float {
            let step = rate * slope / HeadConstant.batchDivisor / accumulator.squareRoot()
            return max(-rate, min(rate, step))
        }
        let shared = head.shared
        func move(_ i: Int, _ slope: Float) {
            shared.part.weights[i] += moved(slope, shared.part.accumulators[i], rate)
            if tellsOthers { shared.gradient[i] -= Double(slope / HeadConstant.batchDivisor) }
            guard parameters.learnsOwnWeights, i != HeadInput.bias else { return }
            head.own.weights[i] += moved(
                slope, head.own.accumulators[i], rate * HeadConstant.ownShare)
        }
        for k in 0..<HeadInput.count { move(k, features.dense[k]) }
        move(HeadInput.bias, 1)
        move(Int(features.pointee.position), 1)
        for k in 0..<HeadInput.crossCount {
            let slope = features.cross[k]
            shared.cross[k] += moved(slope, shared.crossAccumulators[k], rate)
            if tellsOthers {
                shared.gradient[HeadInput.weights + k] -= Double(
                    slope / HeadConstant.batchDivisor)
            }
        }
        for j in 0..<Int(features.pointee.hashedCount) {
            let feature = features.hashed[j]
            let place = head.hashed + feature.bucket
            place.pointee.weight += moved(
                head.shares[feature.share], place.pointee.accumulator, rate)
            markHashed(feature.bucket)
        }
        let biases = head.biases
        biases.pointee.own += min(0.05, 1 / biases.pointee.ownPrecision)
        biases.pointee.final += min(0.05, 1 / biases.pointee.finalPrecision)
    }

    @inline(__always)
    private func step(
        _ weight: inout Float, _ accumulator: inout Float, _ g: Float, _ rate: Float
    ) {
        accumulator += g * g
        weight -= rate * g / accumulator.squareRoot()
    }
}

/// Sums over a micro-batch: dense and cross gradients, and what the biases move by.
struct GradientSums {
    var all: InlineArray<62, Float> = InlineArray(repeating: 0)
    var contentSurplus: Double = 0
    var contentInformation: Double = 0
    var wholeSurplus: Double = 0
    var wholeInformation: Double = 0
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
