// Finetune: from what was shown and clicked to statistics, a learning head and fresh scores.

import Bytes
import Contracts
import DeterministicMath
import Statistics
import Streams

/// The finetune role: a pure step over one partition of domain-log (design §2 "Finetune").
public final class FinetuneStep: Step {
    let caps: FinetuneCaps
    /// Partitions of domain-log, to which priors are sent.
    let partitions: Int
    let hashBits: Int
    /// Without a head, the step counts and publishes shrunken rates: what counters alone can do.
    let usesHead: Bool
    /// Whether there are other partitions to send priors to.
    var tellsOthers: Bool { partitions > 1 }
    let reader = DomainLogReader()
    private let letters: DeadLetterWriter
    /// The headers of a record, for its dead letter, where they are not read with every record.
    public var headersOf: ((Record) -> Headers)?
    let scratch: Scratch
    @exclusivity(unchecked) private(set) var scorer: Scorer!
    /// The name of what is published while there is one head.
    let liveArm = ByteSlice("live")

    /// - Parameters:
    ///   - hashBits: a fleet setting that decides the size of tables.
    ///   - numerics: the kernel class, part of the version.
    ///   - usesHead: `false` = statistics and shrunken rates alone, as a baseline of quality and speed.
    ///   - identity: which worker writes, for the headers of dead letters.
    public init(
        caps: FinetuneCaps = FinetuneCaps(), domainLogPartitions: Int, hashBits: Int = 18,
        numerics: String = "haswell", usesHead: Bool = true, identity: WriterIdentity? = nil
    ) {
        letters = DeadLetterWriter(identity)
        self.usesHead = usesHead
        self.caps = caps
        self.hashBits = hashBits
        partitions = domainLogPartitions
        scratch = Scratch(buckets: 1 << hashBits, dimension: caps.textDimension)
        stepVersion =
            "finetune/5 \(numerics) bits=\(hashBits) partitions=\(domainLogPartitions) "
            + "caps=\(caps.domains),\(caps.items),\(caps.queries),\(caps.openImpressions),"
            + "\(caps.corrections) vectors=\(caps.textDimension)\(usesHead ? "" : " statistics")"
        RowFields.check()
        scorer = Scorer(self)
    }

    public let stepVersion: String

    public func makeState(partition: Int) -> FinetuneState {
        FinetuneState(partition: partition, caps: caps, hashBits: hashBits)
    }

    public func step(_ state: FinetuneState, _ record: Record, into outbox: inout Outbox) {
        guard let value = record.value else {
            state.clock.value.pointee.counters.unreadableRecords += 1
            return
        }
        let kind: DomainLogKind
        do {
            kind = try reader.read(value)
        } catch {
            letters.append(
                error, record, ordinal: record.ordinal, headers: headersOf?(record), to: &outbox)
            state.clock.value.pointee.counters.unreadableRecords += 1
            return
        }
        let clock = state.clock.value
        guard state.settings != nil || kind == .settings else {
            clock.pointee.counters.recordsBeforeSettings += 1
            return
        }
        clock.pointee.recordsSincePublish += 1
        switch kind {
        case .impression: show(state, reader.impression, record, &outbox)
        case .label: settle(state, reader.label, record, &outbox)
        case .judgment:
            if let domain = domain(state, reader.judgment.domain, record, &outbox) {
                state.domains[domain].pointee.judgments += 1
                state.domains.markChanged(domain)
            }
        case .item: take(state, reader.item, &outbox)
        case .text: name(state, reader.text, &outbox)
        case .prior: receive(state, reader.prior, &outbox)
        case .release: break  // The first head stands alone; releases come with the foundation.
        case .settings: apply(state, reader.settings)
        case .tick: tick(state, reader.tick, record, &outbox)
        }
        if clock.pointee.recordsSincePublish >= 1_024, state.settings != nil {
            learnPartialBatches(state, record, &outbox)
            publish(state, record, isClosing: false, &outbox)
        }
    }

    private func apply(_ state: FinetuneState, _ record: SettingsRecord) {
        guard let settings = try? FinetuneSettings(canonical: record.settings) else {
            state.clock.value.pointee.counters.unreadableRecords += 1
            return
        }
        while let old = state.settingsRecord.oldest { state.settingsRecord.remove(old) }
        _ = state.settingsRecord.insert(Hash128(record.settings), name: record.settings)
        state.settings = settings
        state.domains.forEachLive { row in
            let before = state.domains[row].pointee.parameters.surface
            let parameters = settings.parameters(of: state.domains.name(row))
            change(state, row, to: parameters)
            state.domains.markChanged(row)
            state.findHeadQueries(of: row)
            guard state.domains[row].pointee.parameters.surface != before else { return }
            for item in state.views[Int(row)].ranking.rows where state.domainItems.isLive(item) {
                if state.domainItems[item].pointee.domain == row { touch(state, item) }
            }
        }
    }

    /// Gives a domain other settings, and restates what was counted under the ones before.
    private func change(_ state: FinetuneState, _ domain: UInt32, to parameters: DomainParameters) {
        let place = state.domains[domain]
        let old = place.pointee.parameters
        place.pointee.parameters = parameters
        place.pointee.decayed.keep(old, as: parameters)
        // What is beyond a smaller limit is not remembered as it was when the limit grows again.
        place.pointee.contextsFilled = min(place.pointee.contextsFilled, parameters.contexts)
        guard old.queryHalfLife != parameters.queryHalfLife else { return }
        // Counts as of the newest impression fade with the new half-life from then on.
        let now = Double(max(place.pointee.lastTime, 0))
        let moved = now / parameters.queryHalfLife - now / old.queryHalfLife
        state.queries.forEachLive { row in
            guard state.queries[row].pointee.domain == domain else { return }
            state.queries[row].pointee.weight += moved
            state.queries.markChanged(row)
        }
    }

    private func tick(
        _ state: FinetuneState, _ tick: Tick, _ record: Record, _ outbox: inout Outbox
    ) {
        for counts in tick.domains {
            guard counts.domain.count != 1 || counts.domain[0] != UInt8(ascii: "-"),
                let row = domain(state, counts.domain, record, &outbox)
            else { continue }
            state.domains[row].pointee.duplicates += Int64(counts.duplicates)
            state.domains[row].pointee.orphans += Int64(counts.orphans)
            state.domains[row].pointee.late += Int64(counts.late)
            state.domains[row].pointee.dead += Int64(counts.dead)
            state.domains.markChanged(row)
        }
        let clock = state.clock.value
        if !tick.close, tick.time_ms > clock.pointee.time { clock.pointee.time = tick.time_ms }
        learnPartialBatches(state, record, &outbox)
        expireFeatures(state)
        if tick.close {
            publish(state, record, isClosing: true, &outbox)
        } else if clock.pointee.time - clock.pointee.lastPublish >= state.settings!.publishPeriod {
            publish(state, record, isClosing: false, &outbox)
        }
    }

    // Names to rows, created on first sight

    /// The domain's row; nil where the cap is reached: then the record is a dead letter.
    func domain(
        _ state: FinetuneState, _ name: ByteSlice, _ record: Record, _ outbox: inout Outbox
    ) -> UInt32? {
        let key = Hash128(name)
        if let row = state.domains.find(key) { return row }
        guard !state.domains.isFull else {
            state.clock.value.pointee.counters.refusedDomains += 1
            letters.append(
                ContractError(
                    .too_many_domains, path: "/domain",
                    """
                    The domain \(name.text) would be one more than the \(caps.domains) that a partition of \
                    domain-log has room for; raise domains_max and start again.
                    """),
                record, ordinal: record.ordinal, headers: headersOf?(record),
                to: &outbox)
            return nil
        }
        let row = state.domains.insert(key, name: name)
        let place = state.domains[row]
        place.initialize(to: DomainRow())
        place.pointee.parameters = state.settings!.parameters(of: name)
        place.pointee.nameKey = key.low
        place.pointee.firstOrdinal = record.ordinal
        state.addView(row)
        startNewDomain(state, row)
        for slice in 0..<ItemAge.sliceCount {
            let place = state.quality.insert(FinetuneState.qualityKey(row, slice))
            state.quality[place].initialize(to: QualityRow())
        }
        return row
    }

    /// The item's row; the item not seen for the longest time makes room for a new one.
    func item(_ state: FinetuneState, _ name: ByteSlice, _ outbox: inout Outbox) -> UInt32 {
        let key = Hash128(name)
        if let row = state.items.find(key) { return row }
        if state.items.isFull {
            removeItem(state, state.items.oldest!, &outbox)
            state.clock.value.pointee.counters.evictedItems += 1
        }
        let row = state.items.insert(key, name: name)
        let clock = state.clock.value
        clock.pointee.itemRows = max(clock.pointee.itemRows, row + 1)
        return row
    }

    private func removeItem(_ state: FinetuneState, _ item: UInt32, _ outbox: inout Outbox) {
        state.historiesVersion += 1
        state.domains.forEachLive { domain in
            if let row = state.domainItems.find(FinetuneState.domainItemKey(domain, item)) {
                removeDomainItem(state, row, &outbox)
            }
        }
        while state.items[item].pointee.firstCandidate != 0 {
            removeCandidate(state, state.items[item].pointee.firstCandidate - 1, &outbox)
        }
        keep(nil, of: item, state)
        state.items.remove(item)
    }

    private func removeDomainItem(_ state: FinetuneState, _ row: UInt32, _ outbox: inout Outbox) {
        let item = state.domainItems[row].pointee
        withdraw(
            state, item.domain, query: nil, item.item, &state.domainItems[row].pointee.published,
            &outbox)
        state.domains[item.domain].pointee.items -= 1
        state.domains.markChanged(item.domain)
        state.domainItems.remove(row)
    }

    /// The row of an item that is shown in a domain. Where the table is full, what was never shown
    /// makes room first, then what was not shown for the longest time.
    func domainItem(
        _ state: FinetuneState, _ domain: UInt32, _ item: UInt32, _ outbox: inout Outbox
    ) -> UInt32 {
        let key = FinetuneState.domainItemKey(domain, item)
        if let row = state.domainItems.find(key) { return row }
        if state.domainItems.isFull {
            let clock = state.clock.value
            if let unseen = state.oldestUnseenItem() {
                removeDomainItem(state, unseen, &outbox)
                clock.pointee.counters.evictedUnseenItems += 1
            } else {
                removeDomainItem(state, state.domainItems.oldest!, &outbox)
                clock.pointee.counters.evictedDomainItems += 1
            }
        }
        return insertDomainItem(state, key, domain, item)
    }

    /// The row of an item that a domain may show and has not shown yet; nil where there is no room:
    /// it makes none.
    func unseenDomainItem(_ state: FinetuneState, _ domain: UInt32, _ item: UInt32) -> UInt32? {
        let key = FinetuneState.domainItemKey(domain, item)
        if let row = state.domainItems.find(key) { return row }
        guard !state.domainItems.isFull else {
            state.clock.value.pointee.counters.unscoredItems += 1
            return nil
        }
        let row = insertDomainItem(state, key, domain, item)
        state.rememberUnseenItem(row)
        return row
    }

    private func insertDomainItem(
        _ state: FinetuneState, _ key: Hash128, _ domain: UInt32, _ item: UInt32
    ) -> UInt32 {
        let row = state.domainItems.insert(key)
        state.domainItems[row].pointee.domain = domain
        state.domainItems[row].pointee.item = item
        state.domains[domain].pointee.items += 1
        state.domains.markChanged(domain)
        touch(state, row)
        return row
    }

    /// Its score is computed at the next publish point.
    @inline(__always)
    func touch(_ state: FinetuneState, _ domainItem: UInt32) {
        let place = state.domainItems[domainItem]
        guard place.pointee.isTouched == 0 else { return }
        place.pointee.isTouched = 1
        state.domainItems.markChanged(domainItem)
        state.views[Int(place.pointee.domain)].touched.append(domainItem)
    }

    private func name(_ state: FinetuneState, _ text: Text, _ outbox: inout Outbox) {
        let key = FinetuneState.textKey(text.hash)
        let row: UInt32
        if let known = state.texts.find(key) {
            row = known
            state.texts.touch(row)
        } else {
            if state.texts.isFull {
                removeText(state, state.texts.oldest!, &outbox)
                state.clock.value.pointee.counters.evictedTexts += 1
            }
            row = state.texts.insert(key, name: text.text)
        }
        if let vector = text.vector { keep(vector, ofText: row, state) }
    }

    /// A text is as old as the newest of its queries, and goes with them: a query without its text
    /// could not be published.
    private func removeText(_ state: FinetuneState, _ text: UInt32, _ outbox: inout Outbox) {
        while state.texts[text].pointee.firstQuery != 0 {
            removeQuery(state, state.texts[text].pointee.firstQuery - 1, &outbox)
            state.clock.value.pointee.counters.evictedQueries += 1
        }
        let vector = state.texts[text].pointee.vector
        if vector > 0 { state.textVectors?.remove(vector - 1) }
        state.texts.remove(text)
    }
}

/// Memory that a step needs for the length of a call; nothing in it outlives one.
final class Scratch {
    /// Gradient by bucket; all zero between calls.
    let gradient: UnsafeMutablePointer<Float>
    /// How often a token is in the history; all zero between calls.
    let tokenCount: UnsafeMutablePointer<UInt8>
    @exclusivity(unchecked) var buckets: [Int] = []
    @exclusivity(unchecked) var changed: [UInt32] = []
    let features = UnsafeMutablePointer<KeptFeatures>.allocate(capacity: 1)
    /// Item rows of the impression's history; `UInt32.max` = not known here.
    @exclusivity(unchecked) var history: [UInt32] = []
    @exclusivity(unchecked) var name = ByteBuffer()
    @exclusivity(unchecked) var words = ByteBuffer()
    let itemFeatures = UnsafeMutablePointer<ItemFeatures>.allocate(capacity: 1)
    let historyRows = HistoryRows()
    /// A vector that has just been read.
    let vector: UnsafeMutablePointer<Int8>
    let lookups: Lookups
    @exclusivity(unchecked) var ranks: [Int32] = []
    @exclusivity(unchecked) var ranking = RankedOnce()
    let sums = UnsafeMutablePointer<GradientSums>.allocate(capacity: 1)
    /// Features of a micro-batch's corrections.
    @exclusivity(unchecked) var corrections: [UnsafeMutablePointer<KeptFeatures>] = []
    @exclusivity(unchecked) var examples: [Example] = []
    @exclusivity(unchecked) var numbers = LentList<Double>()
    @exclusivity(unchecked) var hashed = LentList<HashedFeature>()

    init(buckets: Int, dimension: Int) {
        vector = .allocate(capacity: max(1, dimension))
        gradient = .allocate(capacity: buckets)
        gradient.initialize(repeating: 0, count: buckets)
        tokenCount = .allocate(capacity: buckets)
        tokenCount.initialize(repeating: 0, count: buckets)
        features.initialize(to: KeptFeatures())
        itemFeatures.initialize(to: ItemFeatures())
        let shares = UnsafeMutablePointer<Float>.allocate(capacity: 256)
        let logs = UnsafeMutablePointer<Float>.allocate(capacity: 256)
        for n in 0..<256 {
            shares[n] = n == 0 ? 0 : 1 / Float(n).squareRoot()
            logs[n] = Math.log(Float(n + 1))
        }
        let powersOfTen = UnsafeMutablePointer<Double>.allocate(capacity: 23)
        powersOfTen[0] = 1
        for n in 1..<23 { powersOfTen[n] = powersOfTen[n - 1] * 10 }
        lookups = Lookups(shares: shares, logs: logs, powersOfTen: powersOfTen)
    }

    deinit {
        gradient.deallocate()
        tokenCount.deallocate()
        sums.deallocate()
        features.deallocate()
        itemFeatures.deallocate()
        vector.deallocate()
        lookups.shares.deallocate()
        lookups.logs.deallocate()
        lookups.powersOfTen.deallocate()
    }
}
