// The score of an item in a domain: its expected click probability over the domain's recent contexts.

import Bytes
import DeterministicMath
import Streams

/// A domain's contexts at a publish point, prepared so that one item takes about a microsecond.
///
/// The logit splits into a part of the item, a part of the context and a few products of the two; the
/// histories' tokens are looked up by bucket.
final class Scorer {
    private unowned let step: FinetuneStep
    private var state: FinetuneState!
    private var head: HeadView!
    private var count = 0
    private let contextPart = Scorer.floats()
    private let userRate = Scorer.floats()
    private let historyRate = Scorer.floats()
    private let historyCount = UnsafeMutablePointer<UInt8>.allocate(capacity: 64)
    /// First entry of a token's bucket in `entries`, or -1.
    private let firstEntry: UnsafeMutablePointer<Int32>
    private var entries: [(context: UInt8, times: UInt8, next: Int32)] = []
    private var usedBuckets: [Int] = []
    /// Contexts, as bits, whose history holds an item.
    private var inHistory: [UInt32: UInt64] = [:]
    private var sizes: [UInt8] = []
    private var global = 0.0
    private var base = 0.0
    private let logits = Scorer.floats()
    /// By size of the history: what the taste of an item loses for its tokens being common.
    private let common = Scorer.floats()

    private static func floats() -> UnsafeMutablePointer<Float> {
        let floats = UnsafeMutablePointer<Float>.allocate(capacity: 64)
        floats.initialize(repeating: 0, count: 64)
        return floats
    }

    init(_ step: FinetuneStep) {
        self.step = step
        firstEntry = .allocate(capacity: 1 << step.hashBits)
        firstEntry.initialize(repeating: -1, count: 1 << step.hashBits)
        historyCount.initialize(repeating: 0, count: 64)
    }

    deinit {
        firstEntry.deallocate()
        historyCount.deallocate()
        for floats in [contextPart, userRate, historyRate, logits, common] { floats.deallocate() }
    }

    /// Takes the contexts of a domain at the present weights.
    func prepare(_ state: FinetuneState, _ domain: UInt32) {
        self.state = state
        head = state.head(domain, step.scratch.lookups)
        global = state.clock.value.pointee.globalRate
        base = Math.logit(global)
        for bucket in usedBuckets { firstEntry[bucket] = -1 }
        usedBuckets.removeAll(keepingCapacity: true)
        entries.removeAll(keepingCapacity: true)
        inHistory.removeAll(keepingCapacity: true)
        let row = state.domains[domain]
        count = Int(min(row.pointee.contextsSeen, Int64(row.pointee.parameters.contexts)))
        sizes.removeAll(keepingCapacity: true)
        for c in 0..<count { prepareContext(state.contexts(domain) + c, c) }
        if count == 0 {
            // Nothing was shown yet: one context of which nothing is known.
            count = 1
            contextPart[0] = 0
            userRate[0] = 0
            historyRate[0] = 0
            historyCount[0] = 0
        }
    }

    private func prepareContext(_ context: UnsafeMutablePointer<ContextRow>, _ c: Int) {
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
        if context.pointee.historyCount > 0, !sizes.contains(context.pointee.historyCount) {
            sizes.append(context.pointee.historyCount)
        }
        for i in 0..<Int(context.pointee.historyCount) {
            let item = context.history[i]
            guard item != UInt32.max, state.items.isLive(item),
                UInt32(truncatingIfNeeded: state.items.key(item).low)
                    == context.historyKeys[i]
            else { continue }
            inHistory[item, default: 0] |= 1 << UInt64(c)
            let features = state.features(item)
            for j in 0..<Int(features.pointee.tokenCount) {
                count(bucket: features.tokens[j].bucket, in: UInt8(c))
            }
        }
    }

    private func count(bucket: Int, in context: UInt8) {
        if firstEntry[bucket] < 0 { usedBuckets.append(bucket) }
        var at = firstEntry[bucket]
        while at >= 0, entries[Int(at)].context != context { at = entries[Int(at)].next }
        if at >= 0 {
            entries[Int(at)].times += 1
        } else {
            entries.append((context, 1, firstEntry[bucket]))
            firstEntry[bucket] = Int32(entries.count - 1)
        }
    }

    /// The mean probability over the contexts, and the standard deviation of its logit.
    ///
    /// - Parameters:
    ///   - domainItem: its row, for its evidence in the domain.
    ///   - labels: how many the score rests on.
    ///   - extra: what query and position add to the logit.
    func score(
        item: UInt32, domain: UInt32, domainItem: UInt32, labels: Int32, extra: Float
    ) -> (score: Float, standardDeviation: Float) {
        let features = state.features(item)
        let rate = Float(step.itemRate(state, item))
        for c in 0..<count { logits[c] = 0 }
        let contentRate = addTaste(features)
        let content = head.itemContent(contentRate, features)
        let effect = step.effect(state, item, domainItem, content: Double(content))
        let part =
            head.bias + Float(head.biases.pointee.final) + extra + content + Float(effect.mean)
        let byUser = head.shared.cross[0] * rate
        let byHistory = head.shared.cross[1] * rate
        let clickedBefore = inHistory.isEmpty ? 0 : inHistory[item] ?? 0
        let again = head.shared.cross[2]
        for c in 0..<count {
            logits[c] += part + contextPart[c] + byUser * userRate[c] + byHistory * historyRate[c]
        }
        if clickedBefore != 0 {
            for c in 0..<count where clickedBefore >> UInt64(c) & 1 == 1 { logits[c] += again }
        }
        for c in count..<64 { logits[c] = 0 }
        Math.sigmoid(logits, count: 64, into: logits)
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
        let tokens = features.tokens
        var rate = 0.0
        for size in sizes { common[Int(size)] = 0 }
        let allClicks = state.clock.value.pointee.clicks + 1
        for j in 0..<tokenCount {
            let bucket = tokens[j].bucket
            let value = lookups.shares[tokens[j].share]
            let counts = state.tokens.elements[bucket]
            rate += Math.shrunkenLogit(
                Double(counts.clicks), Double(counts.impressions),
                strength: HeadConstant.tokenStrength, towards: global)
            let share = Float((Double(counts.clicks) + 0.5) / allClicks)
            for size in sizes {
                common[Int(size)] += value * Math.log(Float(size) * share + 1)
            }
            var at = firstEntry[bucket]
            while at >= 0 {
                let entry = entries[Int(at)]
                logits[Int(entry.context)] += weight * value * lookups.logs[Int(entry.times)]
                at = entry.next
            }
        }
        for c in 0..<count where historyCount[c] > 0 {
            logits[c] -= weight * common[Int(historyCount[c])]
        }
        return Float(rate / Double(tokenCount) - base)
    }
}
