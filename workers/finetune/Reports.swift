// What a publish point says about a domain: its statistics, and how good its predictions were.

import Bytes
import Contracts
import DeterministicMath
import Statistics
import Streams

extension FinetuneStep {
    func publishStatistics(
        _ state: FinetuneState, _ domain: UInt32, _ point: PublishPoint, _ outbox: inout Outbox
    ) {
        let place = state.domains[domain]
        let hash = place.pointee.countsHash
        guard hash != place.pointee.statisticsHash else { return }
        place.pointee.statisticsHash = hash
        state.domains.markChanged(domain)
        let time = point.time
        place.pointee.decayed.fade(to: time, place.pointee.parameters)
        let row = place
        var statistics = DomainStatistics()
        statistics.domain = state.domains.name(domain)
        statistics.time_ms = time
        statistics.partition = state.partition
        statistics.ordinal = point.record.ordinal
        statistics.impressions = row.pointee.shown
        statistics.labels = row.pointee.labels
        statistics.clicks = row.pointee.clicks
        statistics.conversions = row.pointee.conversions
        statistics.corrections = row.pointee.corrections
        statistics.judgments = row.pointee.judgments
        statistics.requests = row.pointee.requests
        statistics.requests_clicked = row.pointee.requestsClicked
        statistics.page_rate = ratio(row.pointee.requestsClicked, row.pointee.requests)
        statistics.users = Int64(row.pointee.users.estimate.rounded())
        statistics.items = row.pointee.items
        statistics.ctr = ratio(row.pointee.clicks, row.pointee.labels)
        statistics.duplicates = row.pointee.duplicates
        statistics.orphans = row.pointee.orphans
        statistics.late = row.pointee.late
        statistics.dead = row.pointee.dead
        let prior = state.learnedPrior(domain).prior
        statistics.prior_mean = rounded(prior.mean)
        statistics.prior_strength = rounded(prior.strength)
        statistics.label_delay_p50_ms = row.pointee.delays.quantile(0.5).map { $0.rounded() }
        statistics.label_delay_p90_ms = row.pointee.delays.quantile(0.9).map { $0.rounded() }
        statistics.label_delay_p99_ms = row.pointee.delays.quantile(0.99).map { $0.rounded() }
        statistics.drift = row.pointee.drift.stabilityIndex.map(rounded)
        outbox.begin(Topic.domainStatistics)
        outbox.bytes.append(statistics.domain)
        outbox.beginValue()
        let rates = decayedRates(row)
        let positions = positionRates(row)
        let top = topItems(state, row)
        rates.withUnsafeBufferPointer { rates in
            positions.withUnsafeBufferPointer { positions in
                top.withUnsafeBufferPointer { top in
                    statistics.rates = BorrowedList(rates)
                    statistics.position = BorrowedList(positions)
                    statistics.top_items = BorrowedList(top)
                    statistics.append(to: &outbox.bytes)
                }
            }
        }
        outbox.end()
    }

    private func decayedRates(_ row: UnsafeMutablePointer<DomainRow>) -> [DecayedRate] {
        (0..<5).filter { row.pointee.parameters.halfLives[$0] > 0 }.map { i in
            let (n, c) = (row.pointee.decayed.impressions[i], row.pointee.decayed.clicks[i])
            return DecayedRate(
                half_life_s: row.pointee.parameters.halfLives[i], impressions: rounded(n),
                clicks: rounded(c),
                rate: n > 0 ? rounded(c / n) : 0)
        }
    }

    private func positionRates(_ row: UnsafeMutablePointer<DomainRow>) -> [PositionRate] {
        let reference = PositionTable.row(of: Int(row.pointee.parameters.referencePosition))
        let base = row.pointee.positions.bias(row: reference)
        return (1..<25).filter { row.pointee.positions.rows[$0].impressions > 0 }.map { position in
            let counts = row.pointee.positions.rows[position]
            return PositionRate(
                position: position, impressions: Double(counts.impressions),
                clicks: Double(counts.clicks),
                bias: rounded(row.pointee.positions.bias(row: position) - base))
        }
    }

    private func topItems(_ state: FinetuneState, _ row: UnsafeMutablePointer<DomainRow>)
        -> [TopItem]
    {
        var top: [TopItem] = []
        for hitter in row.pointee.topItems.top(20) where top.count < 10 {
            guard let item = state.item(ofTag: hitter.key) else { continue }
            top.append(TopItem(item_id: state.items.name(item), count: hitter.weight))
        }
        return top
    }

    func publishEvaluations(
        _ state: FinetuneState, _ domain: UInt32, _ point: PublishPoint, _ outbox: inout Outbox
    ) {
        let headHash = Array(state.headHash.hex.utf8)
        let scoresHash = Array(state.clock.value.pointee.scoresHash.hex.utf8)
        for slice in 0..<ItemAge.sliceCount {
            guard let found = state.quality.find(FinetuneState.qualityKey(domain, slice)) else {
                continue
            }
            let row = state.quality[found]
            let report = row.pointee.quality.report
            guard report.examples > 0 else { continue }
            var evaluation = Evaluation()
            evaluation.domain = state.domains.name(domain)
            evaluation.arm = liveArm
            evaluation.head_version = state.clock.value.pointee.headVersion
            evaluation.slice_by = slice == 0 ? ItemAge.all : ItemAge.labels
            evaluation.slice_value = ItemAge.value(slice)
            evaluation.partition = state.partition
            evaluation.first_ordinal = row.pointee.firstOrdinal
            evaluation.last_ordinal = point.record.ordinal
            evaluation.first_time_ms = row.pointee.firstTime
            evaluation.last_time_ms = row.pointee.lastTime
            evaluation.examples = Int64(report.examples)
            evaluation.positives = Int64(report.positives)
            evaluation.corrections = Int64(report.corrections)
            evaluation.auc = report.auc.map(rounded)
            evaluation.gauc = slice == 0 ? report.gauc.map(rounded) : nil
            evaluation.log_loss = report.logLoss.map(rounded)
            evaluation.normalized_entropy = report.normalizedEntropy.map(rounded)
            evaluation.calibration = report.calibration.map(rounded)
            evaluation.ece = report.calibrationError.map(rounded)
            outbox.begin(Topic.evaluations)
            evaluation.appendKey(to: &outbox.bytes)
            outbox.beginValue()
            headHash.lend { head in
                scoresHash.lend { scores in
                    evaluation.head_hash = head
                    evaluation.scores_hash = scores
                    evaluation.append(to: &outbox.bytes)
                }
            }
            outbox.end()
        }
    }

    private func ratio(_ part: Int64, _ whole: Int64) -> Double? {
        whole > 0 ? rounded(Double(part) / Double(whole)) : nil
    }

    /// Seven significant decimals: what a Float holds, and no more than a reader can use.
    func rounded(_ value: Double) -> Double {
        guard value.isFinite, value != 0 else { return 0 }
        let decade = Int((Double(value.exponent) * 0.30102999566398120).rounded(.down))
        let places = 6 - decade
        guard places > 0 else { return value.rounded() }
        guard places <= 22 else { return 0 }
        let scale = scratch.lookups.powersOfTen[places]
        return (value * scale).rounded() / scale
    }

    func rounded(_ value: Float) -> Double { rounded(Double(value)) }
}

extension DomainRow {
    /// Changes when something that the statistics tell has been counted.
    var countsHash: Hash128 {
        Hash128(UInt64(bitPattern: shown), UInt64(bitPattern: labels))
            .combined(with: Hash128(UInt64(bitPattern: clicks), UInt64(bitPattern: conversions)))
            .combined(with: Hash128(UInt64(bitPattern: duplicates), UInt64(bitPattern: orphans)))
            .combined(with: Hash128(UInt64(bitPattern: late), UInt64(bitPattern: dead)))
            .combined(with: Hash128(UInt64(bitPattern: items), UInt64(bitPattern: judgments)))
    }
}

extension FinetuneState {
    /// The prior of an item's rate in a domain, learned anew when labels have grown by a fiftieth: an
    /// estimate takes 0.1 ms.
    func learnedPrior(_ domain: UInt32) -> LearnedPrior {
        let row = domains[domain]
        let (labels, at) = (row.pointee.labels, row.pointee.learnedAt)
        if at < 0 || labels >= at + max(1, at / 50) {
            row.pointee.learned = row.pointee.rates.learnedPrior()
            row.pointee.learnedAt = labels
            domains.markChanged(domain)
        }
        return row.pointee.learned
    }

    /// Hash of all weights: the shared part, every domain's own and the hashed ones.
    var headHash: Hash128 {
        var hash = Hash128(
            ByteSlice(
                UnsafeRawBufferPointer(start: shared.value, count: MemoryLayout<HeadPart>.stride)))
        domains.forEachLive { row in
            hash = hash.combined(
                with: withUnsafeBytes(of: domains[row].pointee.own) { Hash128(ByteSlice($0)) })
        }
        return hash.combined(
            with: Hash128(
                ByteSlice(
                    UnsafeRawBufferPointer(
                        start: hashed.elements,
                        count: hashed.count * MemoryLayout<HashedWeight>.stride))))
    }
}
