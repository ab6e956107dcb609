// Publish points: what has changed enough to tell downstream feeds.

import Bytes
import Contracts
import DeterministicMath
import Statistics
import Streams

extension FinetuneStep {
    /// One publish point: priors, scores, statistics, and every 64th time evaluations.
    func publish(
        _ state: FinetuneState, _ record: Record, isClosing: Bool, _ outbox: inout Outbox
    ) {
        let clock = state.clock.value
        outbox.markPublishPoint()
        clock.pointee.publishPoints += 1
        clock.pointee.lastPublish = clock.pointee.time
        clock.pointee.recordsSincePublish = 0
        if isClosing
            || clock.pointee.time - clock.pointee.lastPriors >= state.settings!.priorPeriod
        {
            clock.pointee.lastPriors = clock.pointee.time
            sendPriors(state, record, &outbox)
        }
        let window = sweep(state, all: isClosing)
        scorer.begin(state)
        let point = PublishPoint(record: record, time: clock.pointee.time, isClosing: isClosing)
        let isStatisticsPoint = isClosing || clock.pointee.publishPoints % 4 == 0
        let isEvaluationPoint = isClosing || clock.pointee.publishPoints % 64 == 0
        state.domains.forEachLive { domain in
            if state.domains[domain].pointee.parameters.surface == .search {
                publishQueries(state, domain, point, &outbox)
            } else {
                publishItems(state, domain, window, point, &outbox)
            }
            withdrawQueries(state, domain, point, &outbox)
            if isStatisticsPoint { publishStatistics(state, domain, point, &outbox) }
            if isEvaluationPoint { publishEvaluations(state, domain, point, &outbox) }
        }
    }

    /// The next 1/64 of the items in row order (or all), so that no score is older than 64 points: of
    /// items of the catalog wherever a domain may show them, of others where they were shown.
    private func sweep(_ state: FinetuneState, all: Bool) -> Range<UInt32> {
        let clock = state.clock.value
        let rows = clock.pointee.itemRows
        guard !all, rows > 0 else { return 0..<rows }
        let first = clock.pointee.sweepItem < rows ? clock.pointee.sweepItem : 0
        let last = min(rows, first + max(1, (rows + 63) / 64))
        clock.pointee.sweepItem = last
        return first..<last
    }

    // Recommendation: items of a domain at one reference position

    private func publishItems(
        _ state: FinetuneState, _ domain: UInt32, _ window: Range<UInt32>, _ point: PublishPoint,
        _ outbox: inout Outbox
    ) {
        let view = state.views[Int(domain)]
        for item in window where state.items.isLive(item) && isEligible(state, item, domain) {
            let row =
                state.items[item].pointee.isInCatalog != 0
                ? unseenDomainItem(state, domain, item)
                : state.domainItems.find(FinetuneState.domainItemKey(domain, item))
            if let row { touch(state, row) }
        }
        var changed = takeTouched(state, domain)
        guard !changed.isEmpty else { return }
        scorer.prepare(domain)
        let parameters = state.domains[domain].pointee.parameters
        let position = state.head(domain, scratch.lookups).weight(
            HeadInput.position(
                .recommendation, row: PositionTable.row(of: Int(parameters.referencePosition))))
        var kept = 0
        for row in changed {
            let place = state.domainItems[row]
            let item = place.pointee.item
            state.domainItems.markChanged(row)
            guard isEligible(state, item, domain) else {
                withdraw(state, domain, query: nil, item, &place.pointee.published, &outbox)
                place.pointee.isRanked = 0
                continue
            }
            let (score, standardDeviation) = scorer.score(
                item: item, domain: domain, domainItem: row, labels: place.pointee.labels,
                extra: position)
            place.pointee.published.score = score
            place.pointee.published.scoreStd = standardDeviation
            changed[kept] = row
            kept += 1
        }
        let gone = changed.count - kept
        changed.removeLast(gone)
        rank(state, domain, &changed, view)
        for (i, row) in changed.enumerated() {
            offer(state, domain, row, rank: Int(scratch.ranks[i]), parameters, point, &outbox)
        }
        for (i, row) in view.ranking.rows.prefix(101).enumerated()
        where state.domainItems[row].pointee.isRanked == 1 {
            let published = state.domainItems[row].pointee.published
            if crosses(Int(published.publishedRank), i + 1) {
                offer(state, domain, row, rank: i + 1, parameters, point, &outbox)
            }
        }
        for row in changed { state.domainItems[row].pointee.isRanked = 1 }
    }

    /// The touched rows of a domain, in row order, each once; they are touched no more.
    private func takeTouched(_ state: FinetuneState, _ domain: UInt32) -> [UInt32] {
        let view = state.views[Int(domain)]
        var rows: [UInt32] = []
        rows.reserveCapacity(view.touched.count)
        for row in view.touched where state.domainItems.isLive(row) {
            let place = state.domainItems[row]
            guard place.pointee.domain == domain, place.pointee.isTouched != 0 else { continue }
            place.pointee.isTouched = 0
            state.domainItems.markChanged(row)
            rows.append(row)
        }
        view.touched.removeAll(keepingCapacity: true)
        rows.sort()
        return rows
    }

    /// Brings the ranking up to date; `scratch.ranks` are those of `changed`, which is put in their order.
    private func rank(
        _ state: FinetuneState, _ domain: UInt32, _ changed: inout [UInt32], _ view: DomainView
    ) {
        for row in changed { state.domainItems[row].pointee.isRanked = 2 }
        scratch.ranks.removeAll(keepingCapacity: true)
        view.ranking.update(
            &changed,
            isStale: { row in
                guard state.domainItems.isLive(row) else { return true }
                let place = state.domainItems[row]
                return place.pointee.domain != domain || place.pointee.isRanked != 1
            },
            score: { state.domainItems[$0].pointee.published.score },
            ranked: { _, rank in scratch.ranks.append(Int32(rank)) })
    }

    /// Publishes a score if it says something new.
    private func offer(
        _ state: FinetuneState, _ domain: UInt32, _ row: UInt32, rank: Int,
        _ parameters: DomainParameters, _ point: PublishPoint, _ outbox: inout Outbox
    ) {
        let place = state.domainItems[row]
        guard place.pointee.published.saysNew(rank, place.pointee.labels, parameters.threshold)
        else {
            return
        }
        place.pointee.published.remember(rank, place.pointee.labels)
        state.domainItems.markChanged(row)
        append(
            state, domain, query: nil, item: place.pointee.item, place.pointee.published, rank,
            impressions: place.pointee.shown, labels: place.pointee.labels, point, &outbox)
    }

    private func crosses(_ a: Int, _ b: Int) -> Bool { PublishedScore.crosses(a, b) }

    // Search: the candidates of the most frequent queries

    private func publishQueries(
        _ state: FinetuneState, _ domain: UInt32, _ point: PublishPoint, _ outbox: inout Outbox
    ) {
        for row in takeTouched(state, domain) {
            // Of the time when the domain was none of search.
            let place = state.domainItems[row]
            withdraw(
                state, domain, query: nil, place.pointee.item, &place.pointee.published, &outbox)
            place.pointee.isRanked = 0
        }
        let view = state.views[Int(domain)]
        let heads = view.headQueries.rows.map(\.row).sorted()
        let turn = UInt32(truncatingIfNeeded: state.clock.value.pointee.publishPoints)
        var isPrepared = false
        let parameters = state.domains[domain].pointee.parameters
        for query in heads {
            // All candidates of a query in its turn, so that no score is older than 64 points.
            let isTurn = point.isClosing || query & 63 == turn & 63
            guard isTurn || state.queries[query].pointee.isTouched != 0,
                let candidates = view.candidates[query]
            else { continue }
            if !isPrepared {
                scorer.prepare(domain)
                isPrepared = true
            }
            publishCandidates(
                state, domain, query, candidates, all: isTurn, parameters, point, &outbox)
            if state.queries[query].pointee.isTouched != 0 {
                state.queries[query].pointee.isTouched = 0
                state.queries.markChanged(query)
            }
        }
    }

    private func publishCandidates(
        _ state: FinetuneState, _ domain: UInt32, _ query: UInt32, _ candidates: [UInt32],
        all: Bool,
        _ parameters: DomainParameters, _ point: PublishPoint, _ outbox: inout Outbox
    ) {
        let hash = state.queries[query].pointee.hash
        guard let text = state.texts.find(FinetuneState.textKey(hash)) else { return }
        let head = state.head(domain, scratch.lookups)
        let queryWeight = head.hashed[Int(bucket(.query, hash))].weight
        scratch.ranking.removeAll()
        for row in candidates {
            let place = state.candidates[row]
            let item = place.pointee.item
            guard all || place.pointee.isTouched != 0 else {
                if place.pointee.isRanked != 0 {
                    scratch.ranking.append(row, score: place.pointee.published.score)
                }
                continue
            }
            place.pointee.isTouched = 0
            place.pointee.isRanked = 0
            state.candidates.markChanged(row)
            guard isEligible(state, item, domain),
                let domainItem = state.domainItems.find(FinetuneState.domainItemKey(domain, item))
            else {
                withdraw(state, candidate: row, &outbox)
                continue
            }
            let pair = pairEffect(state, domain, row)
            let key = pairKey(hash, state.items.key(item).low)
            let extra =
                queryWeight + head.hashed[Int(bucket(.queryItem, key))].weight
                + head.weight(HeadInput.match) * match(state, hash, item)
                + head.weight(HeadInput.queryCosine) * queryInput(state, hash, item)
                + place.pointee.positionBias + (usesHead ? pair.mean : 0)
            let (score, standardDeviation) = scorer.score(
                item: item, domain: domain, domainItem: domainItem, labels: place.pointee.labels,
                extra: extra)
            place.pointee.published.score = score
            place.pointee.published.scoreStd =
                (standardDeviation * standardDeviation + pair.variance).squareRoot()
            place.pointee.isRanked = 1
            scratch.ranking.append(row, score: score)
        }
        var rank = 0
        scratch.ranking.forEachSorted { row in
            rank += 1
            let place = state.candidates[row]
            guard place.pointee.published.saysNew(rank, place.pointee.labels, parameters.threshold)
            else { return }
            place.pointee.published.remember(rank, place.pointee.labels)
            state.candidates.markChanged(row)
            if state.queries[query].pointee.isPublished == 0 {
                state.queries[query].pointee.isPublished = 1
                state.queries.markChanged(query)
                state.views[Int(domain)].publishedQueries.insert(query)
            }
            append(
                state, domain, query: text, item: place.pointee.item, place.pointee.published,
                rank, impressions: place.pointee.shown, labels: place.pointee.labels, point,
                &outbox)
        }
    }

    /// Takes back the scores of queries that are not of the head any more: each in its turn, so that one
    /// at the edge does not come and go at every point, and none stays longer than 64 points.
    private func withdrawQueries(
        _ state: FinetuneState, _ domain: UInt32, _ point: PublishPoint, _ outbox: inout Outbox
    ) {
        let view = state.views[Int(domain)]
        guard !view.publishedQueries.isEmpty else { return }
        let turn = UInt32(truncatingIfNeeded: state.clock.value.pointee.publishPoints)
        let due = view.publishedQueries.filter { point.isClosing || $0 & 63 == turn & 63 }
        guard !due.isEmpty else { return }
        let heads = Set(view.headQueries.rows.map(\.row))
        for query in due.subtracting(heads).sorted() {
            for candidate in view.candidates[query] ?? [] {
                withdraw(state, candidate: candidate, &outbox)
            }
            state.queries[query].pointee.isPublished = 0
            state.queries.markChanged(query)
            view.publishedQueries.remove(query)
        }
    }

    // Records

    private func append(
        _ state: FinetuneState, _ domain: UInt32, query: UInt32?, item: UInt32,
        _ published: PublishedScore, _ rank: Int, impressions: Int64, labels: Int64,
        _ point: PublishPoint, _ outbox: inout Outbox
    ) {
        var score = Score()
        score.domain = state.domains.name(domain)
        score.query = query.map { state.texts.name($0) }
        score.item_id = state.items.name(item)
        score.score = rounded(published.score)
        score.score_std = rounded(published.scoreStd)
        score.rank = rank
        score.impressions = impressions
        score.labels = labels
        score.stage = labels == 0 ? .zero_shot : .learning
        score.time_ms = point.time
        score.head_version = state.clock.value.pointee.headVersion
        score.arm = liveArm
        score.partition = state.partition
        score.ordinal = point.record.ordinal
        let start = outbox.bytes.count
        outbox.begin(Topic.scores)
        score.appendKey(to: &outbox.bytes)
        outbox.beginValue()
        score.append(to: &outbox.bytes)
        chainScore(state, outbox.bytes.slice(from: start))
        outbox.end()
    }

    private func chainScore(_ state: FinetuneState, _ bytes: ByteSlice) {
        let clock = state.clock.value
        clock.pointee.scoresHash = clock.pointee.scoresHash.combined(with: Hash128(bytes))
        clock.pointee.counters.scoresPublished += 1
    }

    func withdraw(_ state: FinetuneState, candidate row: UInt32, _ outbox: inout Outbox) {
        let place = state.candidates[row]
        withdraw(
            state, place.pointee.domain, query: state.queries[place.pointee.query].pointee.hash,
            place.pointee.item, &place.pointee.published, &outbox)
        place.pointee.isRanked = 0
        state.candidates.markChanged(row)
    }

    /// A tombstone, if there is a score, for what may no longer be shown or is forgotten.
    ///
    /// - Parameter query: the hash of its text.
    func withdraw(
        _ state: FinetuneState, _ domain: UInt32, query: UInt64?, _ item: UInt32,
        _ published: inout PublishedScore, _ outbox: inout Outbox
    ) {
        guard published.publishedRank != 0 else { return }
        published.publishedRank = 0
        let start = outbox.bytes.count
        outbox.begin(Topic.scores)
        ScoreKey.append(
            state.domains.name(domain), .click,
            queryHash: query, state.items.name(item),
            to: &outbox.bytes)
        chainScore(state, outbox.bytes.slice(from: start))
        outbox.endTombstone()
    }
}

/// The place in the log at which outputs are cut.
struct PublishPoint {
    let record: Record
    let time: Int64
    let isClosing: Bool
}

extension PublishedScore {
    /// Ranks at which crossing is news.
    private static let steps: InlineArray<5, Int> = [1, 3, 10, 30, 100]

    static func crosses(_ a: Int, _ b: Int) -> Bool {
        for i in 0..<5 where (a <= steps[i]) != (b <= steps[i]) { return true }
        return false
    }

    /// Whether the score moved by more than `threshold` of its own value, its rank crossed a step, its
    /// uncertainty moved by a tenth, or its labels passed a power of ten.
    func saysNew(_ rank: Int, _ labels: Int64, _ threshold: Float) -> Bool {
        if publishedRank == 0 { return true }
        if abs(score - publishedScore) > threshold * publishedScore { return true }
        if abs(scoreStd - publishedStd) > 0.1 * publishedStd { return true }
        if PublishedScore.crosses(Int(publishedRank), rank) { return true }
        return PublishedScore.decade(labels) != publishedDecade
    }

    mutating func remember(_ rank: Int, _ labels: Int64) {
        publishedScore = score
        publishedStd = scoreStd
        publishedRank = Int32(rank)
        publishedDecade = PublishedScore.decade(labels)
    }

    private static func decade(_ labels: Int64) -> Int32 {
        var (decade, left) = (Int32(0), labels)
        while left > 0 {
            decade += 1
            left /= 10
        }
        return decade
    }
}
