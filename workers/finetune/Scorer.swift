// The score of an item in a domain: its expected click probability over the domain's recent contexts.

import Bytes
import DeterministicMath
import Statistics
import Streams

/// What a publish point needs to score an item in about two microseconds.
///
/// The logit splits into a part of the item, a part of the context and a few products of the two. What a
/// token says is computed once a publish point; which contexts' histories hold a token is kept with the
/// domain until its contexts change.
final class Scorer {
    private unowned(unsafe) let step: FinetuneStep
    @exclusivity(unchecked) private var state: FinetuneState!
    @exclusivity(unchecked) private var head: HeadView!
    @exclusivity(unchecked) private var view: DomainView!
    @exclusivity(unchecked) private var count = 0
    private let contextPart = Scorer.floats(64)
    private let userRate = Scorer.floats(64)
    private let historyRate = Scorer.floats(64)
    private let historyCount = UnsafeMutablePointer<UInt8>.allocate(capacity: 64)
    private let logits = Scorer.floats(64)
    /// By size of the history: what the taste of an item loses for its tokens being common.
    private let common = Scorer.floats(TokenCache.stride)
    @exclusivity(unchecked) private var global = 0.0
    @exclusivity(unchecked) private var base = 0.0
    @exclusivity(unchecked) private var prior = LearnedPrior(
        prior: .start, logitMeanVariance: 0, logStrengthVariance: 0)
    private let tokens: TokenCache

    private static func floats(_ count: Int) -> UnsafeMutablePointer<Float> {
        let floats = UnsafeMutablePointer<Float>.allocate(capacity: count)
        floats.initialize(repeating: 0, count: count)
        return floats
    }

    init(_ step: FinetuneStep) {
        self.step = step
        historyCount.initialize(repeating: 0, count: 64)
        tokens = TokenCache(buckets: 1 << step.hashBits)
    }

    deinit {
        historyCount.deallocate()
        for floats in [contextPart, userRate, historyRate, logits, common] { floats.deallocate() }
    }

    /// Begins a publish point: counts do not change before the next.
    func begin(_ state: FinetuneState) {
        self.state = state
        global = state.clock.value.pointee.globalRate
        base = Math.logit(global)
        tokens.begin()
    }

    /// Takes the contexts of a domain at the present weights.
    func prepare(_ domain: UInt32) {
        head = state.head(domain, step.scratch.lookups)
        view = state.views[Int(domain)]
        let row = state.domains[domain]
        guard step.usesHead else {
            prior = state.learnedPrior(domain)
            return
        }
        count = Int(row.pointee.contextsFilled)
        let contexts = state.contexts(domain)
        for c in 0..<count {
            let context = contexts + c
            var part = head.weight(HeadInput.userRate) * context.pointee.userRate
            part += head.weight(HeadInput.userCount) * context.pointee.userCount
            part += head.weight(HeadInput.historyRate) * context.pointee.historyRate
            for j in 0..<Int(context.pointee.otherCount) {
                part += head.hashed[context.others[j].bucket].weight
            }
            contextPart[c] = part
            userRate[c] = context.pointee.userRate
            historyRate[c] = context.pointee.historyRate
            historyCount[c] = context.pointee.historyCount
        }
        view.histories.update(state, contexts, count, version: view.contextsVersion)
        view.vectors?.update(
            state, contexts, count, exchanged: view.exchangedContexts,
            encoder: state.shared.value.pointee.historyCosines.encoder)
        view.exchangedContexts = 0
        if count == 0 {
            // Nothing was shown yet: one context of which nothing is known.
            count = 1
            contextPart[0] = 0
            userRate[0] = 0
            historyRate[0] = 0
            historyCount[0] = 0
        }
    }

    /// The mean probability over the contexts, and the standard deviation of its logit.
    ///
    /// - Parameters:
    ///   - domainItem: its row, for its evidence in the domain.
    ///   - labels: how many the score rests on.
    ///   - extra: what query and position add to the logit.
    func score(
        item: UInt32, domain: UInt32, domainItem: UInt32, labels: Int64, extra: Float
    ) -> (score: Float, standardDeviation: Float) {
        guard step.usesHead else {
            let own = state.domainItems[domainItem].pointee
            let (clicks, labels) = (Double(own.clicks), Double(own.labels))
            return (
                Float(prior.prior.rate(clicks: clicks, impressions: labels)),
                Float(prior.logitVariance(clicks: clicks, impressions: labels).squareRoot())
            )
        }
        let features = state.features(item)
        let rate = Float(step.itemRate(state, item))
        let logits = logits
        for c in 0..<64 { logits[c] = 0 }
        let contentRate = addTaste(features)
        let content = head.itemContent(contentRate, features)
        let effect = step.effect(state, item, domainItem, content: Double(content))
        var part =
            head.bias + Float(head.biases.pointee.final) + extra + content + Float(effect.mean)
        if let vectors = view.vectors, let vector = state.itemVector(item) {
            part +=
                head.weight(HeadInput.historyCosine)
                * vectors.meanInput(vector, state.shared.value.pointee.historyCosines)
        }
        let byUser = head.shared.cross[0] * rate
        let byHistory = head.shared.cross[1] * rate
        for c in 0..<count {
            logits[c] += part + contextPart[c] + byUser * userRate[c] + byHistory * historyRate[c]
        }
        let clickedBefore = view.histories.contexts(with: item)
        if clickedBefore != 0 {
            let again = head.shared.cross[2]
            for c in 0..<count where clickedBefore >> UInt64(c) & 1 == 1 { logits[c] += again }
        }
        Math.sigmoid(logits, count: count, into: logits)
        var sum: Float = 0
        for c in 0..<count { sum += logits[c] }
        let variance = step.scoreVariance(state, domain, effect, labels: labels)
        return (sum / Float(count), Float(variance.squareRoot()))
    }

    /// Adds each context's taste for the item's tokens to `logits`; returns the tokens' rate.
    private func addTaste(_ features: UnsafeMutablePointer<ItemFeatures>) -> Float {
        let tokenCount = Int(features.pointee.tokenCount)
        guard tokenCount > 0 else { return 0 }
        let lookups = step.scratch.lookups
        let weight = head.weight(HeadInput.taste)
        let list = features.tokens
        let common = common
        let logits = logits
        let histories = view.histories
        var sums = SIMD16<Float>(repeating: 0)
        var rate: Float = 0
        for j in 0..<tokenCount {
            let bucket = list[j].bucket
            let value = lookups.shares[list[j].share]
            let token = tokens.token(bucket, state, global: global)
            rate += token[0]
            sums += value * UnsafeRawPointer(token).loadUnaligned(as: SIMD16<Float>.self)
            histories.forEachContext(with: bucket) { context, times in
                logits[context] += weight * value * lookups.logs[times]
            }
        }
        UnsafeMutableRawPointer(common).storeBytes(of: sums, as: SIMD16<Float>.self)
        for c in 0..<count where historyCount[c] > 0 {
            logits[c] -= weight * common[Int(historyCount[c])]
        }
        return rate / Float(tokenCount) - Float(base)
    }
}

/// What a token says at a publish point, computed when first asked: the logit of its shrunken rate, then
/// for histories of 1 to 10 items `ln(size · share of all clicks + 1)`, then zeros.
private final class TokenCache {
    /// A vector of 16.
    static let stride = 16
    private let slots: UnsafeMutablePointer<Int32>
    @exclusivity(unchecked) private var values: UnsafeMutablePointer<Float>
    @exclusivity(unchecked) private var capacity = 1_024
    @exclusivity(unchecked) private var used: [Int] = []

    init(buckets: Int) {
        slots = .allocate(capacity: buckets)
        slots.initialize(repeating: -1, count: buckets)
        values = .allocate(capacity: capacity * TokenCache.stride)
        values.initialize(repeating: 0, count: capacity * TokenCache.stride)
    }

    deinit {
        slots.deallocate()
        values.deallocate()
    }

    func begin() {
        for bucket in used { slots[bucket] = -1 }
        used.removeAll(keepingCapacity: true)
    }

    @inline(__always)
    func token(_ bucket: Int, _ state: FinetuneState, global: Double) -> UnsafeMutablePointer<Float>
    {
        let slot = slots[bucket]
        if slot >= 0 { return values + Int(slot) * TokenCache.stride }
        return compute(bucket, state, global)
    }

    private func compute(
        _ bucket: Int, _ state: FinetuneState, _ global: Double
    ) -> UnsafeMutablePointer<Float> {
        if used.count == capacity {
            let larger = UnsafeMutablePointer<Float>.allocate(
                capacity: 2 * capacity * TokenCache.stride)
            larger.initialize(repeating: 0, count: 2 * capacity * TokenCache.stride)
            larger.update(from: values, count: capacity * TokenCache.stride)
            values.deallocate()
            values = larger
            capacity *= 2
        }
        slots[bucket] = Int32(used.count)
        let place = values + used.count * TokenCache.stride
        used.append(bucket)
        let counts = state.tokens.elements[bucket]
        place[0] = Float(
            Math.shrunkenLogit(
                counts.clicks, counts.impressions,
                strength: HeadConstant.tokenStrength, towards: global))
        let share = Float((counts.clicks + 0.5) / (state.clock.value.pointee.clicks + 1))
        for size in 1...ContextRow.historyMaximum {
            place[size] = Math.log(Float(size) * share + 1)
        }
        return place
    }
}

/// Which of a domain's contexts have a token, or an item, in their histories. Derived; rebuilt when the
/// contexts or any item's tokens have changed.
final class ContextHistories {
    private struct Entry {
        var context: UInt8
        var times: UInt8
        var next: Int32
    }

    /// What stands in a place of the open addressing: bucket + 1 and its first entry.
    private struct Slot {
        var key: UInt32 = 0
        var first: Int32 = -1
    }

    private static let slotCount = 32_768
    @exclusivity(unchecked) private var entries: UnsafeMutablePointer<Entry>
    @exclusivity(unchecked) private var entryCount = 0
    @exclusivity(unchecked) private var capacity = 1_024
    @exclusivity(unchecked) private var slots: UnsafeMutablePointer<Slot>?
    /// Places that are taken.
    @exclusivity(unchecked) private var taken: [Int32] = []
    @exclusivity(unchecked) private var items: [(item: UInt32, contexts: UInt64)] = []
    @exclusivity(unchecked) private var builtFrom: (UInt64, UInt64) = (.max, .max)

    init() { entries = .allocate(capacity: capacity) }

    deinit {
        entries.deallocate()
        slots?.deallocate()
    }

    /// Contexts, as bits, whose history holds the item.
    func contexts(with item: UInt32) -> UInt64 {
        var low = 0
        var high = items.count
        while low < high {
            let middle = (low + high) / 2
            if items[middle].item < item { low = middle + 1 } else { high = middle }
        }
        return low < items.count && items[low].item == item ? items[low].contexts : 0
    }

    @inline(__always)
    func forEachContext(with bucket: Int, _ body: (_ context: Int, _ times: Int) -> Void) {
        guard let slots else { return }
        var place = ContextHistories.home(of: bucket)
        while slots[place].key != 0 {
            if slots[place].key == UInt32(bucket) + 1 {
                var at = slots[place].first
                while at >= 0 {
                    let entry = entries[Int(at)]
                    body(Int(entry.context), Int(entry.times))
                    at = entry.next
                }
                return
            }
            place = (place &+ 1) & (ContextHistories.slotCount &- 1)
        }
    }

    @inline(__always)
    private static func home(of bucket: Int) -> Int {
        (bucket &* 0x9E37_79B1) >> 7 & (slotCount &- 1)
    }

    func update(
        _ state: FinetuneState, _ contexts: UnsafeMutablePointer<ContextRow>, _ count: Int,
        version contextsVersion: UInt64
    ) {
        let version = (state.historiesVersion, contextsVersion)
        guard builtFrom != version else { return }
        builtFrom = version
        entryCount = 0
        if let slots {
            for place in taken { slots[Int(place)] = Slot() }
        } else {
            slots = .allocate(capacity: ContextHistories.slotCount)
            slots!.initialize(repeating: Slot(), count: ContextHistories.slotCount)
        }
        taken.removeAll(keepingCapacity: true)
        var found: [UInt32: UInt64] = [:]
        for c in 0..<count {
            let context = contexts + c
            for i in 0..<Int(context.pointee.historyCount) {
                let item = state.item(in: context, i)
                guard item != UInt32.max else { continue }
                found[item, default: 0] |= 1 << UInt64(c)
                let features = state.features(item)
                for j in 0..<Int(features.pointee.tokenCount) {
                    add(features.tokens[j].bucket, UInt8(c))
                }
            }
        }
        items = found.map { ($0.key, $0.value) }.sorted { $0.item < $1.item }
    }

    private func add(_ bucket: Int, _ context: UInt8) {
        let slots = slots!
        var place = ContextHistories.home(of: bucket)
        while slots[place].key != 0, slots[place].key != UInt32(bucket) + 1 {
            place = (place &+ 1) & (ContextHistories.slotCount &- 1)
        }
        if slots[place].key == 0 {
            slots[place].key = UInt32(bucket) + 1
            taken.append(Int32(place))
        }
        var at = slots[place].first
        while at >= 0, entries[Int(at)].context != context { at = entries[Int(at)].next }
        if at >= 0 {
            entries[Int(at)].times += 1
        } else {
            if entryCount == capacity { grow() }
            entries[entryCount] = Entry(context: context, times: 1, next: slots[place].first)
            slots[place].first = Int32(entryCount)
            entryCount += 1
        }
    }

    private func grow() {
        let larger = UnsafeMutablePointer<Entry>.allocate(capacity: 2 * capacity)
        larger.update(from: entries, count: entryCount)
        entries.deallocate()
        entries = larger
        capacity *= 2
    }
}
