// What one domain-log partition tells the others: counts of items, global counts, and what its labels
// taught the shared weights (design §2 "Finetune" 5).

import Bytes
import Contracts
import Streams

extension FinetuneStep {
    /// A block stays below 64 KiB: an item of it takes at most 300 bytes.
    private static let itemsPerBlock = 200

    /// Appends one set of priors to every other partition, if there is something to tell.
    func sendPriors(_ state: FinetuneState, _ record: Record, _ outbox: inout Outbox) {
        let clock = state.clock.value
        guard partitions > 1, clock.pointee.unsentImpressions > 0 || clock.pointee.unsentClicks > 0
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
        let weights = [
            ("gradient", shared.pointee.gradient), ("own", meanOwnPart(state)),
            ("square", shared.pointee.square),
        ].map { name, values in
            (name: Array(name.utf8), values: (0..<HeadInput.weights).map { Double(values[$0]) })
        }
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
            state.items[item].pointee.isUnsent = 0
            state.items.markChanged(item)
        }
        state.unsentItems.removeAll(keepingCapacity: true)
        clock.pointee.unsentImpressions = 0
        clock.pointee.unsentClicks = 0
        shared.pointee.gradient = InlineArray(repeating: 0)
        shared.pointee.square = InlineArray(repeating: 0)
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
                item_id: state.items.name(item), impressions: Double(row.unsentImpressions),
                clicks: Double(row.unsentClicks))
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

    /// The mean of the domains' own parts, weighted by what they learned from.
    private func meanOwnPart(_ state: FinetuneState) -> InlineArray<37, Float> {
        var sum: InlineArray<37, Float> = InlineArray(repeating: 0)
        var examples: Float = 0
        state.domains.forEachLive { row in
            let domain = state.domains[row]
            let weight = Float(domain.pointee.examplesLearned)
            examples += weight
            for i in 0..<HeadInput.weights { sum[i] += weight * domain.own.weights[i] }
        }
        guard examples > 0 else { return sum }
        for i in 0..<HeadInput.weights { sum[i] /= examples }
        return sum
    }

    /// Takes a block of another partition's priors; a set counts when its last block is here.
    func receive(_ state: FinetuneState, _ prior: Prior) {
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
        if prior.block == 0 { sender.pointee.nextBlock = 0 }
        guard prior.block == Int(sender.pointee.nextBlock) else { return }
        sender.pointee.nextBlock += 1
        for item in prior.items { stage(state, sender.pointee.sender, item) }
        guard prior.block == prior.blocks - 1 else { return }
        applyStaged(state, sender.pointee.sender)
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
            guard !state.stagedPriors.isFull else { return }
            row = state.stagedPriors.insert(key, name: item.item_id)
            state.stagedPriors[row].pointee.sender = sender
        }
        state.stagedPriors[row].pointee.impressions += item.impressions
        state.stagedPriors[row].pointee.clicks += item.clicks
        state.stagedPriors.markChanged(row)
    }

    private func applyStaged(_ state: FinetuneState, _ sender: Int64) {
        var next = state.stagedPriors.oldest
        while let row = next {
            next = state.stagedPriors.newer(than: row)
            let staged = state.stagedPriors[row].pointee
            guard staged.sender == sender else { continue }
            let item = item(state, state.stagedPriors.name(row))
            state.items[item].pointee.impressions += staged.impressions
            state.items[item].pointee.clicks += staged.clicks
            state.items.markChanged(item)
            countTokens(
                state, item, impressions: Float(staged.impressions), clicks: Float(staged.clicks))
            state.stagedPriors.remove(row)
        }
    }

    /// The Adagrad steps that a single partition would have taken, summed over the sender's set.
    private func learn(
        from prior: Prior, _ state: FinetuneState, _ sender: UnsafeMutablePointer<SenderRow>
    ) {
        var gradient: BorrowedList<Double>?
        var square: BorrowedList<Double>?
        for weights in prior.weights where weights.values.count == HeadInput.weights {
            if weights.name.equals("gradient") { gradient = weights.values }
            if weights.name.equals("square") { square = weights.values }
            if weights.name.equals("own") {
                for i in 0..<HeadInput.weights { sender.pointee.own[i] = Float(weights.values[i]) }
                sender.pointee.hasOwn = 1
            }
        }
        sender.pointee.examples += prior.examples ?? 0
        guard let gradient, let square else { return }
        let part = state.shared.value
        let rate = state.settings!.defaults.rate
        for i in 0..<HeadInput.weights where square[i] > 0 {
            part.pointee.part.accumulators[i] += Float(square[i])
            let root = part.pointee.part.accumulators[i].squareRoot()
            part.pointee.part.weights[i] -= rate * Float(gradient[i]) / root
        }
    }

    /// A new domain's own part: the example-weighted mean of the known domains', here and elsewhere.
    func startOfOwnPart(_ state: FinetuneState, except new: UInt32) -> HeadPart {
        var start = HeadPart.ownStart
        var sum: InlineArray<37, Float> = InlineArray(repeating: 0)
        var accumulators: InlineArray<37, Float> = InlineArray(repeating: 0)
        var examples: Float = 0
        var local: Float = 0
        state.domains.forEachLive { row in
            guard row != new else { return }
            let domain = state.domains[row]
            let weight = Float(domain.pointee.examplesLearned)
            examples += weight
            local += weight
            for i in 0..<HeadInput.weights {
                sum[i] += weight * domain.own.weights[i]
                accumulators[i] += weight * domain.own.accumulators[i]
            }
        }
        state.senders.forEachLive { row in
            let sender = state.senders[row]
            guard sender.pointee.hasOwn != 0 else { return }
            let weight = Float(sender.pointee.examples)
            examples += weight
            for i in 0..<HeadInput.weights { sum[i] += weight * sender.pointee.own[i] }
        }
        guard examples > 0 else { return start }
        for i in 0..<HeadInput.weights {
            start.weights[i] = sum[i] / examples
            if local > 0 { start.accumulators[i] = accumulators[i] / local }
        }
        return start
    }
}
