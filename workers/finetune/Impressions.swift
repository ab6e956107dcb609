// What happens when something is shown: the statistics as they are now become features, and the head as
// it is now predicts. Point-in-time by construction.

import Bytes
import Contracts
import DeterministicMath
import Statistics
import Streams

extension FinetuneStep {
    func show(
        _ state: FinetuneState, _ shown: Impression, _ record: Record, _ outbox: inout Outbox
    ) {
        guard let domain = domain(state, shown.domain, record, &outbox) else { return }
        let key = Hash128(shown.impression_id)
        guard state.pending.find(key) == nil else { return }
        let item = item(state, shown.item_id, &outbox)
        let domainItem = domainItem(state, domain, item, &outbox)
        var query: UInt32?
        if let hash = shown.query {
            query = self.query(state, domain, hash, at: shown.time_ms, &outbox)
        }

        count(state, domain, item, domainItem, shown, record)
        let features = scratch.features
        guard usesHead else {
            features.pointee.hashedCount = 0
            features.pointee.position = UInt16(HeadInput.positions)
            let logit = Float(
                itemRate(state, item) + Math.logit(state.clock.value.pointee.globalRate))
            if let query { _ = countCandidate(state, domain, query, item, &outbox) }
            keep(state, key, domain, item, domainItem, logit, shown)
            return
        }
        buildFeatures(state, domain, item, shown)
        if !features.isUsable {
            features.maskInputs()
            state.clock.value.pointee.counters.unusableNumbers += 1
        }
        let head = state.head(domain, scratch.lookups)
        features.pointee.content = head.content(features)
        features.pointee.itemContent = head.itemContent(
            features.dense[HeadInput.contentRate], state.features(item))
        let effect = effect(
            state, item, domainItem, content: Double(features.pointee.itemContent))
        features.pointee.effect = Float(effect.mean)
        features.pointee.pairEffect = 0
        if let query, let candidate = countCandidate(state, domain, query, item, &outbox) {
            features.pointee.pairEffect = pairEffect(state, domain, candidate).mean
        }
        var logit =
            features.pointee.content + features.pointee.effect
            + features.pointee.pairEffect + head.top(features)
        if !logit.isFinite { logit = predictWithoutHead(state) }
        keep(state, key, domain, item, domainItem, logit, shown)
        remember(state, domain, shown)
    }

    /// The prediction where the head's is no number: the global rate. No evidence is taken of what the
    /// parts of the head said.
    private func predictWithoutHead(_ state: FinetuneState) -> Float {
        let clock = state.clock.value
        clock.pointee.counters.unusableNumbers += 1
        let logit = Float(Math.logit(clock.pointee.globalRate))
        let features = scratch.features
        features.pointee.content = logit
        features.pointee.itemContent = 0
        features.pointee.effect = 0
        features.pointee.pairEffect = 0
        return logit
    }

    /// The item's effect in a domain as the evidence stands.
    func effect(
        _ state: FinetuneState, _ item: UInt32, _ domainItem: UInt32, content: Double
    ) -> ItemEffect {
        let all = state.items[item].pointee
        let own = state.domainItems[domainItem].pointee.effect.evidence
        return ItemEffect(
            own: own, elsewhere: all.evidence - own + all.elsewhere, content: content,
            variances: state.shared.value.pointee.spread.variances,
            globalRate: state.clock.value.pointee.globalRate)
    }

    private func count(
        _ state: FinetuneState, _ domain: UInt32, _ item: UInt32, _ domainItem: UInt32,
        _ shown: Impression, _ record: Record
    ) {
        let place = state.domains[domain]
        place.pointee.shown += 1
        place.pointee.users.add(shown.user)
        place.pointee.topItems.add(state.itemTag(item))
        if place.pointee.firstTime == 0 { place.pointee.firstTime = shown.time_ms }
        place.pointee.lastTime = max(place.pointee.lastTime, shown.time_ms)
        state.domains.markChanged(domain)
        state.domainItems[domainItem].pointee.shown += 1
        state.domainItems.touch(domainItem)
        state.domainItems.markChanged(domainItem)
        state.items.touch(item)
    }

    /// The row of a query in a domain, its decayed count one higher.
    private func query(
        _ state: FinetuneState, _ domain: UInt32, _ hash: UInt64, at time: Int64,
        _ outbox: inout Outbox
    ) -> UInt32 {
        let key = FinetuneState.queryKey(domain, hash)
        let parameters = state.domains[domain].pointee.parameters
        let age = Double(max(time, 0)) / parameters.queryHalfLife
        let row: UInt32
        if let known = state.queries.find(key) {
            row = known
            let place = state.queries[row]
            let count = Math.exp2(place.pointee.weight - age) + 1
            place.pointee.weight = Math.log(count) * 1.4426950408889634 + age
            state.queries.touch(row)
        } else {
            if state.queries.isFull {
                removeQuery(state, state.queries.oldest!, &outbox)
                state.clock.value.pointee.counters.evictedQueries += 1
            }
            row = state.queries.insert(key)
            state.queries[row].pointee = QueryRow(hash: hash, weight: age, domain: domain)
        }
        state.queries.markChanged(row)
        touchText(state, of: row)
        if parameters.surface == .search {
            state.views[Int(domain)].headQueries.offer(
                row, weight: state.queries[row].pointee.weight, limit: Int(parameters.headQueries))
        }
        return row
    }

    /// A query that is seen keeps its text.
    private func touchText(_ state: FinetuneState, of query: UInt32) {
        let place = state.queries[query]
        if place.pointee.text == 0 {
            guard let text = state.texts.find(FinetuneState.textKey(place.pointee.hash)) else {
                return
            }
            let first = state.texts[text].pointee.firstQuery
            place.pointee.text = text + 1
            place.pointee.nextOfText = first
            if first != 0 {
                state.queries[first - 1].pointee.previousOfText = query + 1
                state.queries.markChanged(first - 1)
            }
            state.texts[text].pointee.firstQuery = query + 1
            state.texts.markChanged(text)
        }
        state.texts.touch(place.pointee.text - 1)
    }

    private func unlinkText(_ state: FinetuneState, of query: UInt32) {
        let gone = state.queries[query].pointee
        guard gone.text != 0 else { return }
        if gone.previousOfText != 0 {
            state.queries[gone.previousOfText - 1].pointee.nextOfText = gone.nextOfText
            state.queries.markChanged(gone.previousOfText - 1)
        } else {
            state.texts[gone.text - 1].pointee.firstQuery = gone.nextOfText
            state.texts.markChanged(gone.text - 1)
        }
        if gone.nextOfText != 0 {
            state.queries[gone.nextOfText - 1].pointee.previousOfText = gone.previousOfText
            state.queries.markChanged(gone.nextOfText - 1)
        }
    }

    func removeQuery(_ state: FinetuneState, _ row: UInt32, _ outbox: inout Outbox) {
        let domain = state.queries[row].pointee.domain
        let view = state.views[Int(domain)]
        let wasHead = view.headQueries.remove(row)
        for candidate in view.takeCandidates(of: row) {
            removeCandidate(state, candidate, &outbox)
        }
        view.publishedQueries.remove(row)
        unlinkText(state, of: row)
        state.queries.remove(row)
        if wasHead { state.findHeadQueries(of: domain) }
    }

    /// The candidate's row; nil outside search.
    private func countCandidate(
        _ state: FinetuneState, _ domain: UInt32, _ query: UInt32, _ item: UInt32,
        _ outbox: inout Outbox
    ) -> UInt32? {
        guard state.domains[domain].pointee.parameters.surface == .search else { return nil }
        let view = state.views[Int(domain)]
        let key = FinetuneState.candidateKey(query, item)
        let row: UInt32
        if let known = state.candidates.find(key) {
            row = known
            state.candidates.touch(row)
        } else {
            if state.candidates.isFull {
                removeCandidate(state, state.candidates.oldest!, &outbox)
                state.clock.value.pointee.counters.evictedCandidates += 1
            }
            row = state.candidates.insert(key)
            let place = state.candidates[row]
            place.pointee.query = query
            place.pointee.domain = domain
            place.pointee.item = item
            let next = state.items[item].pointee.firstCandidate
            place.pointee.nextOfItem = next
            if next != 0 {
                state.candidates[next - 1].pointee.previousOfItem = row + 1
                state.candidates.markChanged(next - 1)
            }
            state.items[item].pointee.firstCandidate = row + 1
            state.items.markChanged(item)
            view.addCandidate(row, of: query)
        }
        let place = state.candidates[row]
        place.pointee.shown += 1
        let bias = state.head(domain, scratch.lookups).weight(
            Int(scratch.features.pointee.position))
        place.pointee.positionBias +=
            (bias - place.pointee.positionBias) / Float(min(place.pointee.shown, 32))
        touchCandidate(state, row)
        return row
    }

    /// Forgets a candidate, and takes its score back.
    func removeCandidate(_ state: FinetuneState, _ row: UInt32, _ outbox: inout Outbox) {
        let gone = state.candidates[row].pointee
        withdraw(state, candidate: row, &outbox)
        state.views[Int(gone.domain)].removeCandidate(row, of: gone.query)
        if gone.previousOfItem != 0 {
            state.candidates[gone.previousOfItem - 1].pointee.nextOfItem = gone.nextOfItem
            state.candidates.markChanged(gone.previousOfItem - 1)
        } else {
            state.items[gone.item].pointee.firstCandidate = gone.nextOfItem
            state.items.markChanged(gone.item)
        }
        if gone.nextOfItem != 0 {
            state.candidates[gone.nextOfItem - 1].pointee.previousOfItem = gone.previousOfItem
            state.candidates.markChanged(gone.nextOfItem - 1)
        }
        state.candidates.remove(row)
    }

    /// What is known of a pair of query and item beyond the rest.
    func pairEffect(
        _ state: FinetuneState, _ domain: UInt32, _ candidate: UInt32
    ) -> (mean: Float, variance: Float) {
        state.candidates[candidate].pointee.pair.effect(
            state.domains[domain].pointee.pairSpread.variance)
    }

    func touchCandidate(_ state: FinetuneState, _ row: UInt32) {
        let place = state.candidates[row]
        place.pointee.isTouched = 1
        state.candidates.markChanged(row)
        let query = state.queries[place.pointee.query]
        guard query.pointee.isTouched == 0 else { return }
        query.pointee.isTouched = 1
        state.queries.markChanged(place.pointee.query)
    }

    // Features

    /// `R` of an item: how much its rate over all domains differs from the global one, in logits.
    @inline(__always)
    func itemRate(_ state: FinetuneState, _ item: UInt32) -> Double {
        let counts = state.items[item].pointee
        guard counts.impressions > 0 else { return 0 }
        let global = state.clock.value.pointee.globalRate
        return Math.shrunkenLogit(
            counts.clicks, counts.impressions, strength: HeadConstant.rateStrength, towards: global)
            - Math.logit(global)
    }

    /// Writes the features of an impression to `scratch.features`.
    private func buildFeatures(
        _ state: FinetuneState, _ domain: UInt32, _ item: UInt32, _ shown: Impression
    ) {
        let global = state.clock.value.pointee.globalRate
        let base = Math.logit(global)
        let rate = itemRate(state, item)
        let user =
            Math.shrunkenLogit(
                shown.user_clicks, shown.user_impressions, strength: HeadConstant.rateStrength,
                towards: global) - base
        scratch.history.removeAll(keepingCapacity: true)
        var historyRate = 0.0
        var inHistory: Float = 0
        for id in shown.history {
            guard let row = state.items.find(Hash128(id)) else {
                scratch.history.append(UInt32.max)
                continue
            }
            scratch.history.append(row)
            historyRate += itemRate(state, row)
            if row == item { inHistory = 1 }
        }
        if !scratch.history.isEmpty { historyRate /= Double(scratch.history.count) }
        let content = contentFeatures(state, item, global: global, base: base)
        let features = scratch.features
        features.dense[HeadInput.userRate] = Float(user)
        features.dense[HeadInput.userCount] = Float(Math.log(1 + shown.user_impressions) / 3)
        features.dense[HeadInput.historyRate] = Float(historyRate)
        features.dense[HeadInput.contentRate] = Float(content.rate)
        features.dense[HeadInput.taste] = Float(content.taste)
        features.dense[HeadInput.match] = shown.query.map { match(state, $0, item) } ?? 0
        addCosines(state, item, query: shown.query)
        features.cross[0] = Float(rate * user)
        features.cross[1] = Float(rate * historyRate)
        features.cross[2] = inHistory
        features.pointee.position = UInt16(
            HeadInput.position(
                state.domains[domain].pointee.parameters.surface,
                row: PositionTable.row(of: shown.position)))
        hashFeatures(state, item, shown)
    }

    /// The share of a query's words that are in the item's title or tags.
    func match(_ state: FinetuneState, _ query: UInt64, _ item: UInt32) -> Float {
        guard let row = state.texts.find(FinetuneState.textKey(query)) else { return 0 }
        let features = state.features(item)
        let count = Int(features.pointee.wordCount)
        guard count > 0 else { return 0 }
        var (words, found) = (0, 0)
        forEachWord(state.texts.name(row)) { word in
            words += 1
            let title = Int(tokenBucket(ByteSlice("title"), word))
            let tag = Int(tokenBucket(ByteSlice("tags"), word))
            for j in 0..<count {
                let bucket = features.tokens[j].bucket
                if bucket == title || bucket == tag {
                    found += 1
                    break
                }
            }
        }
        return words > 0 ? Float(found) / Float(words) : 0
    }

    /// The tokens' rate, and how much the user's clicks prefer them.
    private func contentFeatures(
        _ state: FinetuneState, _ item: UInt32, global: Double, base: Double
    ) -> (rate: Double, taste: Double) {
        let features = state.features(item)
        let count = Int(features.pointee.tokenCount)
        guard count > 0 else { return (0, 0) }
        let size = Double(scratch.history.count)
        if size > 0 { countHistoryTokens(state, by: 1) }
        defer { if size > 0 { countHistoryTokens(state, by: 0) } }
        let allClicks = state.clock.value.pointee.clicks + 1
        var rate = 0.0
        var taste = 0.0
        for j in 0..<count {
            let token = features.tokens[j]
            let counts = state.tokens.elements[token.bucket]
            rate += Math.shrunkenLogit(
                counts.clicks, counts.impressions,
                strength: HeadConstant.tokenStrength, towards: global)
            if size > 0 {
                let share = (counts.clicks + 0.5) / allClicks
                let times = Double(scratch.tokenCount[token.bucket])
                taste +=
                    Double(scratch.lookups.shares[token.share])
                    * Math.log((times + 1) / (size * share + 1))
            }
        }
        return (rate / Double(count) - base, taste)
    }

    /// Counts the tokens of the history's items, or (`by` 0) clears the counts again.
    private func countHistoryTokens(_ state: FinetuneState, by one: UInt8) {
        for item in scratch.history where item != UInt32.max {
            let features = state.features(item)
            for j in 0..<Int(features.pointee.tokenCount) {
                let bucket = features.tokens[j].bucket
                scratch.tokenCount[bucket] = one == 0 ? 0 : scratch.tokenCount[bucket] &+ 1
            }
        }
    }

    private func hashFeatures(_ state: FinetuneState, _ item: UInt32, _ shown: Impression) {
        var count = 0
        let hashed = scratch.features.hashed
        func add(_ bucket: UInt32) {
            guard count < KeptFeatures.otherMaximum else { return }
            hashed[count] = PackedFeature(bucket: bucket, shareOf: 1)
            count += 1
        }
        add(bucket(.user, shown.user))
        if let query = shown.query {
            add(bucket(.query, query))
            add(bucket(.queryItem, pairKey(query, state.items.key(item).low)))
        }
        for scalar in shown.user_attributes { add(bucket(.userAttribute, scalar)) }
        for scalar in shown.context { add(bucket(.context, scalar)) }
        let features = state.features(item)
        for j in 0..<Int(features.pointee.tokenCount) {
            hashed[count] = features.tokens[j]
            count += 1
        }
        // What the impression before left here must not get into this one's row.
        for j in count..<max(count, Int(scratch.features.pointee.hashedCount)) {
            hashed[j] = PackedFeature(bucket: 0, shareOf: 0)
        }
        scratch.features.pointee.hashedCount = UInt16(count)
    }

    /// Families of hashed features: equal values of different families have different buckets.
    enum HashedFamily: UInt64 {
        case user = 12, query, queryItem, userAttribute, context, token
    }

    @inline(__always)
    func bucket(_ family: HashedFamily, _ value: UInt64) -> UInt32 {
        UInt32(truncatingIfNeeded: Hash128(family.rawValue, value).low)
            & UInt32((1 << hashBits) - 1)
    }

    /// A query and an item as one value.
    @inline(__always)
    func pairKey(_ query: UInt64, _ itemKey: UInt64) -> UInt64 {
        query ^ itemKey &* 0x9E37_79B9_7F4A_7C15
    }

    func bucket(_ family: HashedFamily, _ scalar: NamedScalar) -> UInt32 {
        bucket(family, Hash128(scalar.name, seed: family.rawValue).low ^ scalar.value.hash)
    }

    // What is kept

    private func keep(
        _ state: FinetuneState, _ key: Hash128, _ domain: UInt32, _ item: UInt32,
        _ domainItem: UInt32,
        _ logit: Float, _ shown: Impression
    ) {
        if state.pending.isFull {
            removePending(state, state.pending.oldest!)
            state.clock.value.pointee.counters.evictedImpressions += 1
        }
        scratch.name.removeAll()
        scratch.name.append(shown.impression_id)
        if let request = shown.request_id {
            scratch.name.append(UInt8(0))
            scratch.name.append(request)
        }
        let row = state.pending.insert(key, name: scratch.name.slice)
        let place = state.pending[row]
        place.pointee.time = shown.time_ms
        place.pointee.user = shown.user
        place.pointee.query = shown.query ?? 0
        place.pointee.hasQuery = shown.query == nil ? 0 : 1
        place.pointee.itemKey = state.items.key(item).low
        place.pointee.domain = domain
        place.pointee.item = item
        place.pointee.logit = logit
        place.pointee.impressionIDBytes = UInt16(shown.impression_id.count)
        place.pointee.position = UInt16(clamping: shown.position ?? 0)
        place.pointee.hasPosition = shown.position == nil ? 0 : 1
        place.pointee.ageSlice = ItemAge.slice(labels: state.domainItems[domainItem].pointee.labels)
        if usesHead { state.kept(row).update(from: scratch.features, count: 1) }
    }

    /// Keeps some of the requests as the contexts in which scores are computed: a uniform sample of the
    /// domain's requests up to 4,096 of them, then one that forgets slowly.
    private func remember(_ state: FinetuneState, _ domain: UInt32, _ shown: Impression) {
        let place = state.domains[domain]
        let request = shown.request_id.map { Hash128($0).low } ?? shown.user
        guard request != place.pointee.lastRequest else { return }
        place.pointee.lastRequest = request
        let seen = place.pointee.contextsSeen
        place.pointee.contextsSeen += 1
        let limit = Int64(place.pointee.parameters.contexts)
        var slot = Int64(place.pointee.contextsFilled)
        if slot < limit {
            place.pointee.contextsFilled += 1
        } else {
            let draw = SplitMix64.mix(UInt64(bitPattern: seen) &+ place.pointee.nameKey)
            slot = Int64(draw % UInt64(min(seen + 1, 64 * limit)))
            guard slot < limit else { return }
        }
        state.views[Int(domain)].contextsVersion += 1
        state.views[Int(domain)].exchangedContexts |= 1 << UInt64(slot)
        let context = state.contexts(domain) + Int(slot)
        let dense = scratch.features.dense
        context.pointee.userRate = dense[HeadInput.userRate]
        context.pointee.userCount = dense[HeadInput.userCount]
        context.pointee.historyRate = dense[HeadInput.historyRate]
        let newest = scratch.history.suffix(ContextRow.historyMaximum)
        context.pointee.historyCount = UInt8(newest.count)
        for (i, row) in newest.enumerated() {
            context.history[i] = row
            context.historyKeys[i] =
                row == UInt32.max ? 0 : UInt32(truncatingIfNeeded: state.items.key(row).low)
        }
        var others = 0
        func add(_ bucket: UInt32) {
            guard others < 36 else { return }
            context.others[others] = PackedFeature(bucket: bucket, shareOf: 1)
            others += 1
        }
        add(bucket(.user, shown.user))
        for scalar in shown.user_attributes { add(bucket(.userAttribute, scalar)) }
        for scalar in shown.context { add(bucket(.context, scalar)) }
        context.pointee.otherCount = UInt8(others)
    }

    func removePending(_ state: FinetuneState, _ row: UInt32) {
        let kept = state.pending[row].pointee
        if kept.isBatched != 0 {
            // The cap takes its features before they could be learned from.
            let place = state.domains[kept.domain]
            var left = 0
            for i in 0..<Int(place.pointee.batchCount)
            where place.batch[i] & 0x7FFF_FFFF != row {
                place.batch[left] = place.batch[i]
                left += 1
            }
            place.pointee.batchCount = Int32(left)
            state.domains.markChanged(kept.domain)
        }
        state.pending.remove(row)
    }
}

extension Clock {
    var globalRate: Double { clicks / impressions }
}

extension Scalar {
    /// Equal scalars, equal hashes.
    var hash: UInt64 {
        switch self {
        case .text(let text): Hash128(text, seed: 1).low
        case .number(let number): Hash128(number.bitPattern, 2).low
        case .boolean(let truth): Hash128(truth ? 1 : 0, 3).low
        }
    }
}
