// The score of an item in a domain: its expected click probability over the domain's recent contexts.

import Bytes
import DeterministicMath
import Streams

/// A domain's contexts at a publish point, prepared so that one item takes about a microsecond.
///
/// The logit splits into a part of the item, a part of the context and three products; the history's
/// tokens are looked up by bucket.
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

    /// The mean probability over the contexts.
    ///
    /// - Parameters:
    ///   - domainItem: its row, for the domain's deviation.
    ///   - extra: what query and position add to the logit.
    func score(item: UInt32, domainItem: UInt32, extra: Float) -> Float {
        let counts = state.items[item].pointee
        let rate = Float(step.itemRate(state, item))
        let key = state.items.key(item).low
        var part = head.weight(HeadInput.bias) + extra
        part += head.weight(HeadInput.itemRate) * rate
        part += head.weight(HeadInput.itemCount) * Float(Math.log(1 + counts.impressions) / 3)
        part +=
            head.weight(HeadInput.itemDomain)
            * Float(step.domainDeviation(state, domainItem, counts, global))
        part += head.hashed[Int(step.bucket(.item, key))].weight
        let byUser = head.weight(HeadInput.itemUser) * rate
        let byHistory = head.weight(HeadInput.itemHistory) * rate
        let features = state.features(item)
        let logs = step.scratch.lookups.logs
        let tokenCount = Int(features.pointee.tokenCount)
        let tasteWeight = head.weight(HeadInput.taste)
        for c in 0..<64 { logits[c] = 0 }
        if tokenCount > 0 {
            var content = 0.0
            for size in sizes { common[Int(size)] = 0 }
            let allClicks = state.clock.value.pointee.clicks + 1
            for j in 0..<tokenCount {
                let token = features.tokens[j]
                let value = step.scratch.lookups.shares[token.share]
                let counts = state.tokens.elements[token.bucket]
                content += Math.shrunkenLogit(
                    Double(counts.clicks), Double(counts.impressions),
                    strength: HeadConstant.tokenStrength, towards: global)
                part += head.hashed[token.bucket].weight * value
                let share = Float((Double(counts.clicks) + 0.5) / allClicks)
                for size in sizes {
                    common[Int(size)] += value * Math.log(Float(size) * share + 1)
                }
                var at = firstEntry[token.bucket]
                while at >= 0 {
                    let entry = entries[Int(at)]
                    logits[Int(entry.context)] +=
                        tasteWeight * value * logs[Int(entry.times)]
                    at = entry.next
                }
            }
            part += head.weight(HeadInput.contentRate) * Float(content / Double(tokenCount) - base)
            for c in 0..<count where historyCount[c] > 0 {
                logits[c] -= tasteWeight * common[Int(historyCount[c])]
            }
        }
        let clickedBefore = inHistory[item] ?? 0
        let again = head.weight(HeadInput.inHistory)
        for c in 0..<count {
            logits[c] += part + contextPart[c] + byUser * userRate[c] + byHistory * historyRate[c]
            if clickedBefore >> UInt64(c) & 1 == 1 { logits[c] += again }
        }
        var sum: Float = 0
        for c in 0..<count { sum += Math.sigmoid(logits[c]) }
        return sum / Float(count)
    }
}
