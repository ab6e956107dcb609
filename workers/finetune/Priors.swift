// What one domain-log partition tells the others: counts of items, global counts, and what its labels
// taught the shared weights (design §2 "Finetune" 5).

import Bytes
import Contracts
import DeterministicMath
import Streams

extension FinetuneStep {
    /// A block stays below 64 KiB: an item of it takes at most 300 bytes.
    private static let itemsPerBlock = 200

    /// Appends one set of priors to every other partition, if there is something to tell.
    func sendPriors(_ state: FinetuneState, _ record: Record, _ outbox: inout Outbox) {
        let clock = state.clock.value
        guard tellsOthers, clock.pointee.unsentImpressions > 0 || clock.pointee.unsentClicks > 0
        else {
            return
        }
        var items: [UInt32] = []
        for item in state.unsentItems.sorted() where items.last != item {
            if state.items.isLive(item), state.items[item].pointee.isUnsent != 0 {
                items.append(item)
            }
        }
        let blocks = max(1, (items.count + Self.itemsPerBlock - 1) / Self.itemsPerBlock)
        let shared = state.shared.value
        var weights: [(name: [UInt8], values: [Double])] = [
            (Array("gradient".utf8), told(shared.gradient, HeadInput.toldWeights))
        ]
        for (surface, name) in [
            (DomainParameters.Surface.recommendation, "own_recommendation"),
            (.search, "own_search"),
        ] {
            guard let mean = meanOwnPart(state, surface) else { continue }
            weights.append(
                (
                    Array(name.utf8),
                    (0..<ToldPart.count).map { rounded(mean.values[$0]) }
                ))
        }
        weights.append((Array("square".utf8), told(shared.square, HeadInput.toldWeights)))
        for target in 0..<partitions where target != state.partition {
            for block in 0..<blocks {
                let range =
                    block * Self.itemsPerBlock..<min(items.count, (block + 1) * Self.itemsPerBlock)
                appendPrior(state, record, items[range], block, blocks, weights, target, &outbox)
            }
        }
        for item in items {
            state.items[item].pointee.unsentImpressions = 0
            state.items[item].pointee.unsentClicks = 0
            state.items[item].pointee.unsentExpected = 0
            state.items[item].pointee.unsentContent = 0
            state.items[item].pointee.isUnsent = 0
            state.items.markChanged(item)
        }
        state.unsentItems.removeAll(keepingCapacity: true)
        clock.pointee.unsentImpressions = 0
        clock.pointee.unsentClicks = 0
        for i in 0..<HeadInput.toldWeights {
            shared.gradient[i] = 0
            shared.square[i] = 0
        }
        shared.pointee.examples = 0
    }

    private func appendPrior(
        _ state: FinetuneState, _ record: Record, _ items: ArraySlice<UInt32>, _ block: Int,
        _ blocks: Int, _ weights: [(name: [UInt8], values: [Double])], _ target: Int,
        _ outbox: inout Outbox
    ) {
        let clock = state.clock.value.pointee
        let counts = items.map { item in
            let row = state.items[item].pointee
            return PriorItem(
                item_id: state.items.name(item), impressions: row.unsentImpressions,
                clicks: row.unsentClicks, expected: rounded(row.unsentExpected),
                content: rounded(row.unsentContent))
        }
        var prior = Prior()
        prior.time_ms = clock.time
        prior.sender = state.partition
        prior.first_ordinal = clock.firstUnsentOrdinal
        prior.last_ordinal = record.ordinal
        prior.block = block
        prior.blocks = blocks
        outbox.begin(Topic.domainLog, partition: target, hasKey: false)
        outbox.beginValue()
        counts.withUnsafeBufferPointer { counts in
            prior.items = BorrowedList(counts)
            guard block == blocks - 1 else {
                prior.append(to: &outbox.bytes)
                return
            }
            prior.impressions = clock.unsentImpressions
            prior.clicks = clock.unsentClicks
            prior.examples = Double(state.shared.value.pointee.examples)
            lendWeights(weights) { named in
                prior.weights = named
                prior.append(to: &outbox.bytes)
            }
        }
        outbox.end()
    }

    private func lendWeights(
        _ weights: [(name: [UInt8], values: [Double])], _ body: (BorrowedList<NamedWeights>) -> Void
    ) {
        var named: [NamedWeights] = []
        func lend(_ index: Int) {
            guard index < weights.count else {
                named.withUnsafeBufferPointer { body(BorrowedList($0)) }
                return
            }
            weights[index].name.lend { name in
                weights[index].values.withUnsafeBufferPointer { values in
                    named.append(NamedWeights(name: name, values: BorrowedList(values)))
                    lend(index + 1)
                }
            }
        }
        lend(0)
    }

    private func told(_ values: UnsafeMutablePointer<Double>, _ count: Int) -> [Double] {
        (0..<count).map { rounded(values[$0]) }
    }

    /// Labels that a domain must have for its own part to count as known.
    private static let knownDomain: Int64 = 200

    /// The mean of the known domains' own parts and biases on a surface.
    private func meanOwnPart(
        _ state: FinetuneState, _ surface: DomainParameters.Surface, except new: UInt32? = nil
    ) -> ToldPart? {
        var sum = ToldPart()
        var domains: Float = 0
        state.domains.forEachLive { row in
            let domain = state.domains[row]
            guard row != new, domain.pointee.parameters.surface == surface,
                domain.pointee.labels >= FinetuneStep.knownDomain
            else { return }
            domains += 1
            for i in 0..<HeadInput.weights { sum.values[i] += domain.own.weights[i] }
            sum.values[ToldPart.ownBias] += Float(domain.biases.pointee.own)
            sum.values[ToldPart.finalBias] += Float(domain.biases.pointee.final)
        }
        guard domains > 0 else { return nil }
        for i in 0..<ToldPart.count { sum.values[i] /= domains }
        return sum
    }

    /// Takes a block of another partition's priors; a set counts when its last block is here.
    func receive(_ state: FinetuneState, _ prior: Prior, _ outbox: inout Outbox) {
        guard prior.sender != state.partition else { return }
        let key = Hash128(UInt64(truncatingIfNeeded: prior.sender), 0, seed: 8)
        if state.senders.find(key) == nil {
            guard !state.senders.isFull else { return }
            let row = state.senders.insert(key)
            state.senders[row].pointee.sender = Int64(prior.sender)
        }
        let row = state.senders.find(key)!
        let sender = state.senders[row]
        state.senders.markChanged(row)
        if prior.block == 0 {
            if sender.pointee.nextBlock != 0 { dropStaged(state, sender.pointee.sender) }
            sender.pointee.nextBlock = 0
        }
        guard prior.block == Int(sender.pointee.nextBlock) else { return }
        guard prior.isUsable else {
            state.clock.value.pointee.counters.unusableNumbers += 1
            return
        }
        sender.pointee.nextBlock += 1
        for item in prior.items { stage(state, sender.pointee.sender, item) }
        guard prior.block == prior.blocks - 1 else { return }
        sender.pointee.nextBlock = 0
        applyStaged(state, sender.pointee.sender, &outbox)
        let clock = state.clock.value
        clock.pointee.impressions += prior.impressions ?? 0
        clock.pointee.clicks += prior.clicks ?? 0
        learn(from: prior, state, sender)
    }

    private func stage(_ state: FinetuneState, _ sender: Int64, _ item: PriorItem) {
        let key = Hash128(item.item_id, seed: UInt64(bitPattern: sender) &+ 1)
        let row: UInt32
        if let known = state.stagedPriors.find(key) {
            row = known
        } else {
            guard !state.stagedPriors.isFull else {
                state.clock.value.pointee.counters.refusedPriors += 1
                return
            }
            row = state.stagedPriors.insert(key, name: item.item_id)
            state.stagedPriors[row].pointee.sender = sender
        }
        let place = state.stagedPriors[row]
        place.pointee.added =
            place.pointee.added
            + Evidence(
                labels: item.impressions, clicks: item.clicks, expected: item.expected,
                content: item.content)
        state.stagedPriors.markChanged(row)
    }

    /// Forgets a set that its sender began again before it was complete.
    private func dropStaged(_ state: FinetuneState, _ sender: Int64) {
        var next = state.stagedPriors.oldest
        while let row = next {
            next = state.stagedPriors.newer(than: row)
            if state.stagedPriors[row].pointee.sender == sender { state.stagedPriors.remove(row) }
        }
    }

    /// Adds a whole set: to items, their tokens and their evidence elsewhere; and the tokens' weights
    /// learn from it what the sender's labels say of them, Σ (expected − clicks) by token.
    private func applyStaged(_ state: FinetuneState, _ sender: Int64, _ outbox: inout Outbox) {
        scratch.buckets.removeAll(keepingCapacity: true)
        var next = state.stagedPriors.oldest
        while let row = next {
            next = state.stagedPriors.newer(than: row)
            guard state.stagedPriors[row].pointee.sender == sender else { continue }
            let added = state.stagedPriors[row].pointee.added
            let item = item(state, state.stagedPriors.name(row), &outbox)
            let place = state.items[item]
            place.pointee.impressions += added.labels
            place.pointee.clicks += added.clicks
            place.pointee.elsewhere.fade(
                by: Math.exp2(added.labels * FinetuneStep.evidenceFading))
            place.pointee.elsewhere = place.pointee.elsewhere + added
            state.items.markChanged(item)
            countTokens(state, item, impressions: added.labels, clicks: added.clicks)
            spreadResidual(state, item, Float(added.expected - added.clicks))
            state.stagedPriors.remove(row)
        }
        let rate = state.settings!.defaults.rate
        for bucket in scratch.buckets {
            let place = state.hashed.elements + bucket
            let g = scratch.gradient[bucket]
            scratch.gradient[bucket] = 0
            guard g != 0 else { continue }
            place.pointee.accumulator += g * g
            place.pointee.weight -= rate * g / place.pointee.accumulator.squareRoot()
            state.hashed.markChanged(bucket)
        }
    }

    /// log2 of what a label leaves of the evidence before it.
    private static let evidenceFading = Math.log(Evidence.remainder) * 1.4426950408889634

    private func spreadResidual(_ state: FinetuneState, _ item: UInt32, _ residual: Float) {
        let features = state.features(item)
        for j in 0..<Int(features.pointee.tokenCount) {
            let token = features.tokens[j]
            if scratch.gradient[token.bucket] == 0 { scratch.buckets.append(token.bucket) }
            scratch.gradient[token.bucket] +=
                residual / HeadConstant.batchDivisor * scratch.lookups.shares[token.share]
        }
    }

    /// The Adagrad steps that a single partition would have taken, summed over the sender's set.
    private func learn(
        from prior: Prior, _ state: FinetuneState, _ sender: UnsafeMutablePointer<SenderRow>
    ) {
        var gradient: BorrowedList<Double>?
        var square: BorrowedList<Double>?
        for weights in prior.weights {
            if weights.values.count == HeadInput.toldWeights {
                if weights.name.equals("gradient") { gradient = weights.values }
                if weights.name.equals("square") { square = weights.values }
            }
            guard weights.values.count == ToldPart.count else { continue }
            if weights.name.equals("own_recommendation") {
                sender.pointee.recommendation = ToldPart(weights.values)
            }
            if weights.name.equals("own_search") {
                sender.pointee.search = ToldPart(weights.values)
            }
        }
        sender.pointee.examples += prior.examples ?? 0
        guard let gradient, let square else { return }
        let shared = state.shared.value
        let rate = state.settings!.defaults.rate
        for i in 0..<HeadInput.toldWeights where square[i] > 0 {
            let isCross = i >= HeadInput.weights
            let weights = isCross ? shared.cross - HeadInput.weights : shared.part.weights
            let accumulators =
                isCross ? shared.crossAccumulators - HeadInput.weights : shared.part.accumulators
            accumulators[i] += Float(square[i])
            weights[i] -= rate * Float(gradient[i]) / accumulators[i].squareRoot()
        }
    }

    /// A new domain starts from the mean of the known domains of its surface, here and elsewhere.
    func startNewDomain(_ state: FinetuneState, _ new: UInt32) {
        let domain = state.domains[new]
        let surface = domain.pointee.parameters.surface
        var known: [ToldPart] = []
        if let here = meanOwnPart(state, surface, except: new) { known.append(here) }
        state.senders.forEachLive { row in
            let sender = state.senders[row]
            let told =
                surface == .search ? sender.pointee.search : sender.pointee.recommendation
            if told.isTold != 0 { known.append(told) }
        }
        guard !known.isEmpty else { return }
        let share = 1 / Float(known.count)
        for part in known {
            for i in 0..<HeadInput.weights { domain.own.weights[i] += share * part.values[i] }
            domain.biases.pointee.own += Double(share * part.values[ToldPart.ownBias])
            domain.biases.pointee.final += Double(share * part.values[ToldPart.finalBias])
        }
    }
}

extension Prior {
    /// No number of a prior can be larger; of those that are none is counted, nor is the rest of the set.
    static let largestNumber = 1e15

    var isUsable: Bool {
        func isCount(_ number: Double) -> Bool { number >= 0 && number <= Prior.largestNumber }
        guard isCount(impressions ?? 0), isCount(clicks ?? 0), isCount(examples ?? 0) else {
            return false
        }
        for item in items {
            guard isCount(item.impressions), isCount(item.clicks), isCount(item.expected),
                abs(item.content) <= Prior.largestNumber
            else { return false }
        }
        for named in weights {
            for value in named.values where !(abs(value) <= Prior.largestNumber) { return false }
        }
        return true
    }
}

extension ToldPart {
    static let ownBias = HeadInput.weights
    static let finalBias = HeadInput.weights + 1
    static let count = HeadInput.weights + 2

    init(_ told: BorrowedList<Double>) {
        self.init()
        for i in 0..<ToldPart.count { values[i] = Float(told[i]) }
        isTold = 1
    }
}
