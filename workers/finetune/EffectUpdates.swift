// How labels become evidence for an item's effect, and how the spread of effects is learned.

import DeterministicMath
import Streams

extension FinetuneStep {
    /// A label of revision 0 enters the evidence, after the blocks have measured it against what was
    /// claimed before it.
    func addEvidence(
        _ state: FinetuneState, _ domain: UInt32, _ item: UInt32, _ domainItem: UInt32,
        _ features: UnsafeMutablePointer<KeptFeatures>, clicked: Bool
    ) {
        let y: Float = clicked ? 1 : 0
        let content = features.pointee.content
        let p = Math.sigmoid(content)
        let place = state.domainItems[domainItem]
        let labels = place.pointee.labels
        if place.pointee.effect.blockLabels == 0 {
            let effect = effect(
                state, item, domainItem, content: Double(features.pointee.itemContent))
            place.pointee.effect.openBlock(effect, bin: EffectSpread.bin(labels))
        }
        place.pointee.effect.addToBlock(y, Math.sigmoid(content + place.pointee.effect.blockEffect))
        if place.pointee.effect.firstLabels >= 0 {
            place.pointee.effect.addToFirst(y, p)
            if place.pointee.effect.firstLabels == EffectCell.firstBlock {
                closeFirstBlock(state, domain, item, place)
            }
        }
        let old = place.pointee.effect.evidence
        place.pointee.effect.evidence.fade(by: Evidence.remainder)
        place.pointee.effect.evidence.labels += 1
        place.pointee.effect.evidence.clicks += Double(y)
        place.pointee.effect.evidence.expected += Double(p)
        place.pointee.effect.evidence.content += Double(features.pointee.itemContent)
        let all = state.items[item]
        all.pointee.evidence = all.pointee.evidence + (place.pointee.effect.evidence - old)
        if tellsOthers {
            all.pointee.unsentExpected += Double(p)
            all.pointee.unsentContent += Double(features.pointee.itemContent)
        }
        state.items.markChanged(item)
        closeBlock(state, place, labels: labels + 1)
    }

    /// The first labels of an item in a domain say how far effects spread: beside the domains' other
    /// items, and beside the same item's first labels in other domains.
    private func closeFirstBlock(
        _ state: FinetuneState, _ domain: UInt32, _ item: UInt32,
        _ place: UnsafeMutablePointer<DomainItemRow>
    ) {
        let spread = state.shared.value
        spread.pointee.spread.add(first: place.pointee.effect)
        state.domains.forEachLive { other in
            guard other != domain,
                let row = state.domainItems.find(FinetuneState.domainItemKey(other, item)),
                state.domainItems[row].pointee.effect.firstLabels < 0
            else { return }
            spread.pointee.spread.add(
                first: place.pointee.effect, state.domainItems[row].pointee.effect)
        }
        place.pointee.effect.firstLabels = -1
    }

    private func closeBlock(
        _ state: FinetuneState, _ place: UnsafeMutablePointer<DomainItemRow>, labels: Int64
    ) {
        let count = place.pointee.effect.blockLabels - 1
        guard count >= 8, 2 * count >= labels - count else { return }
        let information = place.pointee.effect.blockInformation
        let claimed = information * information * Double(place.pointee.effect.blockVariance)
        let weight = claimed / ((information + claimed) * (information + claimed))
        let surplus = place.pointee.effect.blockSurplus
        let bin = Int(place.pointee.effect.blockBin)
        let spread = state.shared.value
        spread.pointee.spread.missed[bin] +=
            weight * (surplus * surplus - place.pointee.effect.blockSquares)
        spread.pointee.spread.claimed[bin] += weight * claimed
        place.pointee.effect.blockLabels = 0
    }

    /// A counted 0 turned out to be a 1.
    func correctEvidence(
        _ state: FinetuneState, _ domain: UInt32, _ item: UInt32, _ domainItem: UInt32,
        _ features: UnsafeMutablePointer<KeptFeatures>
    ) {
        let place = state.domainItems[domainItem]
        let content = features.pointee.content
        place.pointee.effect.evidence.clicks += 1
        state.items[item].pointee.evidence.clicks += 1
        if place.pointee.effect.blockLabels > 0 {
            let q = Math.sigmoid(content + place.pointee.effect.blockEffect)
            place.pointee.effect.blockSurplus += 1
            place.pointee.effect.blockSquares += Double(1 - 2 * q)
        }
        if place.pointee.effect.firstLabels >= 0 {
            place.pointee.effect.firstSurplus += 1
            place.pointee.effect.firstSquares += 1 - 2 * Math.sigmoid(content)
        }
    }

    /// Variance of a score's logit (DECISIONS.md): the effect's posterior as wide as held-out blocks
    /// say, what calibration wanders, what the domain's own bias does not know, and a floor for the
    /// rest.
    func scoreVariance(
        _ state: FinetuneState, _ domain: UInt32, _ effect: ItemEffect, labels: Int64
    ) -> Double {
        let row = state.domains[domain]
        let width = labels < 100 ? 1.3 : 1
        let widening = state.shared.value.pointee.spread.widening(EffectSpread.bin(labels))
        return width * widening * effect.variance + max(0, row.pointee.wander.variance)
            + 1 / row.pointee.biases.ownPrecision + 0.005
    }
}

extension EffectCell {
    mutating func openBlock(_ effect: ItemEffect, bin: Int) {
        blockEffect = Float(effect.mean)
        blockVariance = Float(effect.variance)
        blockSurplus = 0
        blockInformation = 0
        blockSquares = 0
        blockLabels = 1
        blockBin = Int32(bin)
    }

    mutating func addToBlock(_ y: Float, _ q: Float) {
        blockSurplus += Double(y - q)
        blockInformation += Double(q * (1 - q))
        blockSquares += Double((y - q) * (y - q))
        blockLabels += 1
    }

    mutating func addToFirst(_ y: Float, _ p: Float) {
        firstSurplus += y - p
        firstInformation += p * (1 - p)
        firstSquares += (y - p) * (y - p)
        firstLabels += 1
    }
}

extension UnsafeMutablePointer where Pointee == KeptFeatures {
    /// The numbers of an example's `dense`, in order.
    func told(_ k: Int) -> Float {
        switch k {
        case 0..<8: dense[k]
        case 8..<11: cross[k - 8]
        case 11: pointee.content
        case 12: pointee.itemContent
        default: pointee.effect
        }
    }
}
