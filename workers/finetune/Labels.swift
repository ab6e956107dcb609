// What happens when a label arrives: it enters the statistics, judges the kept prediction and joins its
// domain's micro-batch. A correction turns a counted and trained 0 into a 1.

import Bytes
import Contracts
import DeterministicMath
import Statistics
import Streams

/// In a micro-batch: the row of `pending`, and whether it is a correction.
let correctionBit: UInt32 = 1 << 31

extension FinetuneStep {
    func settle(_ state: FinetuneState, _ label: Label, _ record: Record, _ outbox: inout Outbox) {
        guard let domain = domain(state, label.domain, record, &outbox) else { return }
        let clock = state.clock.value
        if label.task == .conversion {
            if label.value == 1 { countConversion(state, domain, label) }
            return
        }
        guard label.task == .click else { return }
        guard let row = state.pending.find(Hash128(label.impression_id)),
            state.pending[row].pointee.domain == domain
        else {
            if label.revision == 0 {
                clock.pointee.counters.labelsWithoutImpression += 1
            } else {
                clock.pointee.counters.correctionsAfterHorizon += 1
            }
            return
        }
        let kept = state.pending[row]
        if let clicked = label.click_time_ms, label.value == 1 {
            state.domains[domain].pointee.delays.add(Double(max(1, clicked - kept.pointee.time)))
        }
        if label.revision == 0 {
            guard kept.pointee.isLabeled == 0 else { return }
            countLabel(state, domain, row, clicked: label.value == 1, record, &outbox)
            kept.pointee.isLabeled = 1
            kept.pointee.isClicked = UInt8(label.value)
            let parameters = state.domains[domain].pointee.parameters
            kept.pointee.expiry = max(
                1, max(clock.pointee.time, label.time_ms) + parameters.correctionHorizon)
            kept.pointee.sequence = clock.pointee.sequence
            clock.pointee.sequence += 1
            state.expiries.push(
                .init(due: kept.pointee.expiry, sequence: kept.pointee.sequence, row: row))
            state.pending.markChanged(row)
            join(state, domain, row, isCorrection: false, record, &outbox)
        } else if label.value == 1, kept.pointee.isLabeled == 1, kept.pointee.isClicked == 0 {
            kept.pointee.isClicked = 1
            state.pending.markChanged(row)
            countCorrection(state, domain, row)
            join(state, domain, row, isCorrection: true, record, &outbox)
        }
    }

    // Statistics

    /// The item's row, if it is still the item that the impression was of.
    private func item(_ state: FinetuneState, of kept: PendingRow) -> UInt32? {
        guard state.items.isLive(kept.item), state.items.key(kept.item).low == kept.itemKey else {
            return nil
        }
        return kept.item
    }

    private func countLabel(
        _ state: FinetuneState, _ domain: UInt32, _ row: UInt32, clicked: Bool, _ record: Record,
        _ outbox: inout Outbox
    ) {
        let kept = state.pending[row].pointee
        let clock = state.clock.value
        let click: Double = clicked ? 1 : 0
        let time = max(clock.pointee.time, kept.time)
        let place = state.domains[domain]
        // The prediction is judged against what was known when it was made.
        let logit = Double(kept.logit)
        place.pointee.wander.add(label: click, prediction: Math.sigmoid(logit))
        judge(state, domain, slice: 0, logit, clicked, kept.time, record)
        judge(state, domain, slice: Int(kept.ageSlice), logit, clicked, kept.time, record)
        place.pointee.drift.add(logit: logit, at: time, halfLife: HalfLife(seconds: 3_600))
        if place.pointee.labels == 1_000 { place.pointee.drift.keepAsReference() }

        clock.pointee.impressions += 1
        clock.pointee.clicks += click
        if clock.pointee.unsentImpressions == 0 {
            clock.pointee.firstUnsentOrdinal = record.ordinal
        }
        clock.pointee.unsentImpressions += 1
        clock.pointee.unsentClicks += click
        place.pointee.labels += 1
        place.pointee.clicks += clicked ? 1 : 0
        place.pointee.decayed.add(
            impressions: 1, clicks: click, at: time, place.pointee.parameters)
        place.pointee.positions.add(
            clicked: clicked, row: kept.positionRow)
        state.domains.markChanged(domain)
        if let item = item(state, of: kept) {
            countItem(state, item, impressions: 1, clicks: click)
            countDomainItem(state, domain, item, row, clicked: clicked, &outbox)
        }
        countGroup(state, domain, row, clicked: clicked, time)
    }

    private func judge(
        _ state: FinetuneState, _ domain: UInt32, slice: Int, _ logit: Double, _ clicked: Bool,
        _ time: Int64, _ record: Record
    ) {
        guard let row = state.quality.find(FinetuneState.qualityKey(domain, slice)) else { return }
        let place = state.quality[row]
        place.pointee.quality.add(logit: logit, clicked: clicked)
        if place.pointee.firstTime == 0 {
            place.pointee.firstTime = time
            place.pointee.firstOrdinal = record.ordinal
        }
        place.pointee.lastTime = max(time, place.pointee.lastTime)
        place.pointee.lastOrdinal = record.ordinal
        state.quality.markChanged(row)
    }

    /// Adds to the item's counts over all domains, to its tokens' and to what other partitions are told.
    private func countItem(
        _ state: FinetuneState, _ item: UInt32, impressions: Double, clicks: Double
    ) {
        let place = state.items[item]
        place.pointee.impressions += impressions
        place.pointee.clicks += clicks
        if tellsOthers {
            place.pointee.unsentImpressions += impressions
            place.pointee.unsentClicks += clicks
            if place.pointee.isUnsent == 0 {
                place.pointee.isUnsent = 1
                state.unsentItems.append(item)
            }
        }
        state.items.markChanged(item)
        countTokens(state, item, impressions: impressions, clicks: clicks)
    }

    func countTokens(_ state: FinetuneState, _ item: UInt32, impressions: Double, clicks: Double) {
        let features = state.features(item)
        for j in 0..<Int(features.pointee.tokenCount) {
            let bucket = features.tokens[j].bucket
            state.tokens.elements[bucket].impressions += impressions
            state.tokens.elements[bucket].clicks += clicks
            state.tokens.markChanged(bucket)
        }
    }

    private func countDomainItem(
        _ state: FinetuneState, _ domain: UInt32, _ item: UInt32, _ row: UInt32, clicked: Bool,
        _ outbox: inout Outbox
    ) {
        let kept = state.pending[row].pointee
        let domainItem = domainItem(state, domain, item, &outbox)
        let place = state.domainItems[domainItem]
        state.domains[domain].pointee.rates.add(
            clicked: clicked,
            before: Counts(
                impressions: UInt64(place.pointee.labels), clicks: UInt64(place.pointee.clicks)))
        if usesHead {
            addEvidence(state, domain, item, domainItem, state.kept(row), clicked: clicked)
        }
        place.pointee.labels += 1
        place.pointee.clicks += clicked ? 1 : 0
        state.domainItems.markChanged(domainItem)
        touch(state, domainItem)
        if kept.hasQuery != 0,
            let query = state.queries.find(FinetuneState.queryKey(domain, kept.query)),
            let candidate = state.candidates.find(FinetuneState.candidateKey(query, item))
        {
            let place = state.candidates[candidate]
            place.pointee.labels += 1
            place.pointee.clicks += clicked ? 1 : 0
            if usesHead {
                place.pointee.pair.add(
                    clicked ? 1 : 0, Math.sigmoid(kept.logit - state.kept(row).pointee.pairEffect),
                    to: &state.domains[domain].pointee.pairSpread)
            }
            touchCandidate(state, candidate)
        }
    }

    private func countConversion(_ state: FinetuneState, _ domain: UInt32, _ label: Label) {
        state.domains[domain].pointee.conversions += 1
        state.domains.markChanged(domain)
        guard let row = state.pending.find(Hash128(label.impression_id)),
            let item = item(state, of: state.pending[row].pointee),
            let domainItem = state.domainItems.find(FinetuneState.domainItemKey(domain, item))
        else { return }
        state.domainItems[domainItem].pointee.conversions += 1
        state.domainItems.markChanged(domainItem)
    }

    private func countCorrection(_ state: FinetuneState, _ domain: UInt32, _ row: UInt32) {
        let kept = state.pending[row].pointee
        let clock = state.clock.value
        let place = state.domains[domain]
        place.pointee.corrections += 1
        place.pointee.clicks += 1
        place.pointee.positions.correct(row: kept.positionRow)
        clock.pointee.clicks += 1
        clock.pointee.unsentClicks += 1
        let time = max(clock.pointee.time, kept.time)
        place.pointee.decayed.add(impressions: 0, clicks: 1, at: time, place.pointee.parameters)
        state.domains.markChanged(domain)
        for slice in [0, Int(kept.ageSlice)] {
            if let row = state.quality.find(FinetuneState.qualityKey(domain, slice)) {
                state.quality[row].pointee.quality.correct(logit: Double(kept.logit))
                state.quality.markChanged(row)
            }
        }
        correctGroup(state, domain, row)
        guard let item = item(state, of: kept) else { return }
        countItem(state, item, impressions: 0, clicks: 1)
        guard let domainItem = state.domainItems.find(FinetuneState.domainItemKey(domain, item))
        else {
            return
        }
        let own = state.domainItems[domainItem]
        if own.pointee.labels > own.pointee.clicks {
            place.pointee.rates.correct(
                before: Counts(
                    impressions: UInt64(own.pointee.labels), clicks: UInt64(own.pointee.clicks)))
            own.pointee.clicks += 1
        }
        if usesHead { correctEvidence(state, domain, item, domainItem, state.kept(row)) }
        state.domainItems.markChanged(domainItem)
        touch(state, domainItem)
        if kept.hasQuery != 0,
            let query = state.queries.find(FinetuneState.queryKey(domain, kept.query)),
            let candidate = state.candidates.find(FinetuneState.candidateKey(query, item))
        {
            state.candidates[candidate].pointee.clicks += 1
            state.candidates[candidate].pointee.pair.surplus += 1
            touchCandidate(state, candidate)
        }
    }

    /// Features whose correction horizon has passed go.
    func expireFeatures(_ state: FinetuneState) {
        let now = state.clock.value.pointee.time
        while let entry = state.expiries.popDue(at: now) {
            guard state.pending.isLive(entry.row),
                state.pending[entry.row].pointee.expiry == entry.due,
                state.pending[entry.row].pointee.sequence == entry.sequence
            else { continue }
            removePending(state, entry.row)
        }
        let horizon = state.settings?.defaults.correctionHorizon ?? 0
        while let oldest = state.groups.oldest {
            let group = state.groups[oldest].pointee
            let own = state.domains[group.domain].pointee.parameters.correctionHorizon
            guard group.time + max(own, horizon) + 60_000 < now else { break }
            state.groups.remove(oldest)
        }
    }

    // Learning

    private func join(
        _ state: FinetuneState, _ domain: UInt32, _ row: UInt32, isCorrection: Bool,
        _ record: Record,
        _ outbox: inout Outbox
    ) {
        guard usesHead else { return }
        let place = state.domains[domain]
        place.batch[Int(place.pointee.batchCount)] =
            row | (isCorrection ? correctionBit : 0)
        place.pointee.batchCount += 1
        state.pending[row].pointee.isBatched = 1
        state.pending.markChanged(row)
        state.domains.markChanged(domain)
        if place.pointee.batchCount >= place.pointee.parameters.microBatch {
            learn(state, domain, record, &outbox)
        }
    }

    /// Learns from every domain's micro-batch as it is, domains in the order of their rows.
    func learnPartialBatches(_ state: FinetuneState, _ record: Record, _ outbox: inout Outbox) {
        state.domains.forEachLive { domain in
            if state.domains[domain].pointee.batchCount > 0 {
                learn(state, domain, record, &outbox)
            }
        }
    }

    /// One Adagrad step on the domain's micro-batch, and its record in `examples`.
    private func learn(
        _ state: FinetuneState, _ domain: UInt32, _ record: Record, _ outbox: inout Outbox
    ) {
        let place = state.domains[domain]
        let count = Int(place.pointee.batchCount)
        let clock = state.clock.value
        clock.pointee.headVersion += 1
        appendExamples(state, domain, count, record, &outbox)
        let learner = Learner(
            state.head(domain, scratch.lookups), place.pointee.parameters, tellsOthers: tellsOthers,
            scratch)
        var learned = 0
        func add(_ features: UnsafeMutablePointer<KeptFeatures>, clicked: Bool) {
            guard learner.add(features, clicked: clicked) else {
                clock.pointee.counters.unusableNumbers += 1
                return
            }
            learned += 1
        }
        for i in 0..<count {
            let entry = place.batch[i]
            let row = entry & ~correctionBit
            let features = state.kept(row)
            let share = place.pointee.parameters.negativeShare
            if entry & correctionBit != 0 {
                if isKept(state, row, share) {
                    learner.correct(features)
                } else {
                    // Its negative was thinned away: it is a plain positive.
                    add(features, clicked: true)
                }
            } else {
                let kept = state.pending[row].pointee
                let clicked = kept.isClicked != 0 && !isCorrected(place, row, count)
                guard clicked || isKept(state, row, share) else { continue }
                add(features, clicked: clicked)
            }
        }
        clock.pointee.examplesLearned += Int64(learned)
        place.pointee.examplesLearned += Int64(learned)
        learner.finish(examples: learned) { state.hashed.markChanged($0) }
        for i in 0..<count {
            let row = place.batch[i] & ~correctionBit
            state.pending[row].pointee.isBatched = 0
            state.pending.markChanged(row)
        }
        place.pointee.batchCount = 0
        state.domains.markChanged(domain)
    }

    /// Whether the same batch also holds the row's correction: then it was a 0 when it was labeled.
    func isCorrected(
        _ domain: UnsafeMutablePointer<DomainRow>, _ row: UInt32, _ count: Int
    ) -> Bool {
        for i in 0..<count where domain.batch[i] == row | correctionBit { return true }
        return false
    }

    /// Thins negatives by a hash of the impression's id.
    func isKept(_ state: FinetuneState, _ row: UInt32, _ share: Float) -> Bool {
        guard share < 1 else { return true }
        let draw = Float(state.pending.key(row).high >> 40) * 0x1p-24
        return draw < share
    }
}

extension PendingRow {
    /// Row of the position table; 0 = unknown.
    var positionRow: Int { hasPosition != 0 ? PositionTable.row(of: Int(position)) : 0 }
}
