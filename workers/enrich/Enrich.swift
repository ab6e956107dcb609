// Enrich: joins what users did, and owns time. One record of `events` in, records of domain-log out.

import Bytes
import Contracts
import Streams

/// The step of the role enrich: a pure function of the records of one `events` partition.
///
/// Per record, in order: read it; move the clock; let go out what falls due before it; drop it if it
/// is a duplicate; handle it; let go out what is due at once.
public final class Enrich: Step {
    /// Changes whenever equal records would give other bytes.
    static let codeVersion = "enrich/3"

    public let settings: EnrichSettings
    public let stepVersion: String
    let fleet: [UInt8]
    private let eventsSchema = Array(TopicContract.header(.events).value.utf8)
    let userHash: SipHash
    let reader = EventReader()
    let headers = OutputHeaders()
    let letters: DeadLetterWriter
    let scratch = Scratch()

    /// Memory that is reused from record to record.
    final class Scratch {
        @exclusivity(unchecked) var identity = ByteBuffer()
        @exclusivity(unchecked) var name = ByteBuffer()
        @exclusivity(unchecked) var names = ReusedList<ByteSlice>(capacity: 64)
        @exclusivity(unchecked) var counts = ReusedList<TickCounts>(capacity: 64)
    }

    /// The record that is being handled, as far as outputs name it.
    struct Now {
        let source: Int
        let ordinal: Int64
        /// Headers for what goes to domain-log: ours, and the record's foreign ones.
        let headers: Headers
    }

    /// - Parameter identity: which worker writes, for the headers of dead letters.
    public init(_ settings: EnrichSettings, identity: WriterIdentity? = nil) {
        self.settings = settings
        stepVersion = "\(Enrich.codeVersion)+\(settings.hash)"
        fleet = Array(settings.fleet.utf8)
        userHash = SipHash(key: settings.userHashKey.0, settings.userHashKey.1)
        letters = DeadLetterWriter(identity)
    }

    public func makeState(partition: Int) -> EnrichState {
        EnrichState(partition: partition, settings: settings)
    }

    public func step(_ state: EnrichState, _ record: Record, into outbox: inout Outbox) {
        let now = Now(
            source: record.partition, ordinal: record.ordinal,
            headers: headers.domainLog(passing: record.headers))
        guard let value = record.value else {
            deadLetter(
                state, record, .empty, "The record has no value; an event is needed.", domain: nil,
                into: &outbox)
            return
        }
        if let schema = record.headers.first("coldstream-schema"),
            !eventsSchema.lend({ $0.equals(schema) })
        {
            deadLetter(
                state, record, .unknown_version,
                "The header coldstream-schema is \(schema.text); this worker reads another version.",
                domain: nil, into: &outbox)
            return
        }
        do throws(ContractError) { try reader.read(value) } catch {
            deadLetter(state, record, error.reason, error.message, domain: nil, into: &outbox)
            return
        }
        let event = reader.event
        if event.type == .tick {
            tick(state, event, record, now, into: &outbox)
            return
        }
        guard let domain = admit(state, event, record, into: &outbox) else { return }
        state.totals.value.pointee.counts.lines += 1
        state.totals.value.pointee.counts.unknownFields += Int64(event.unknownFields)
        // Nothing happens after it is told: a user's clock that is fast must not close windows of others.
        advance(state, to: min(event.time_ms, record.timestamp), now, into: &outbox)
        handle(state, event, domain: domain, key: record.key!, now, into: &outbox)
        settle(state, until: state.watermark!, now, into: &outbox)
    }

    /// The domain's row if the event may be used; otherwise it becomes a dead letter.
    private func admit(
        _ state: EnrichState, _ event: Event, _ record: Record, into outbox: inout Outbox
    ) -> UInt32? {
        let known = state.domains.find(Hash128(event.domain))
        func refuse(_ reason: DeadLetterReason, _ message: String) {
            deadLetter(state, record, reason, message, domain: known, into: &outbox)
        }
        guard let key = record.key else {
            refuse(.key_missing, "The key is missing; it must be the user_id, else the session_id.")
            return nil
        }
        guard let wanted = event.key, wanted.equals(key) else {
            let field = event.user_id == nil ? "session_id" : "user_id"
            refuse(.key_mismatch, "The key differs from the \(field); it must be equal to it.")
            return nil
        }
        // A record's timestamp can be any number; an event's time cannot.
        let ahead = event.time_ms.subtractingReportingOverflow(record.timestamp)
        guard !ahead.overflow && ahead.partialValue <= settings.futureMilliseconds else {
            refuse(
                .time_in_future,
                """
                time_ms is more than \(settings.futureMilliseconds) ms ahead of the record's \
                timestamp \(record.timestamp).
                """)
            return nil
        }
        if let known { return known }
        if settings.newDomains == .deadLetter, settings.domains[event.domain.text] == nil {
            refuse(.new_domain, "The domain \(event.domain.text) is not in the settings.")
            return nil
        }
        guard !state.domains.isFull else {
            refuse(
                .too_many_domains,
                """
                The domain \(event.domain.text) would be one more than the \
                \(settings.domainsMaximum) of domains_max.
                """)
            return nil
        }
        let row = state.domains.insert(Hash128(event.domain), name: event.domain)
        state.resolved.append(state.resolve(event.domain))
        return row
    }

    private func handle(
        _ state: EnrichState, _ event: Event, domain: UInt32, key: ByteSlice, _ now: Now,
        into outbox: inout Outbox
    ) {
        guard markSeen(state, event) else {
            state.totals.value.pointee.counts.duplicates += 1
            state.counting(domain).pointee.duplicates += 1
            return
        }
        if event.time_ms < state.watermark! {
            state.totals.value.pointee.counts.late += 1
            state.counting(domain).pointee.late += 1
        }
        let outcome: Outcome
        switch event.type {
        case .impression:
            show(state, event, domain: domain, key: key, now, into: &outbox)
            outcome = .used
        case .click: outcome = click(state, event, domain: domain, now, into: &outbox)
        case .conversion: outcome = convert(state, event, domain: domain, now, into: &outbox)
        case .judgment:
            judge(state, event, domain: domain, now, into: &outbox)
            outcome = .used
        case .tick: preconditionFailure("a tick is no line")
        }
        count(state, outcome, domain: domain)
    }

    /// What became of a line.
    enum Outcome { case used, orphan, waiting }

    func count(_ state: EnrichState, _ outcome: Outcome, domain: UInt32) {
        switch outcome {
        case .used: state.totals.value.pointee.counts.used += 1
        case .orphan:
            state.totals.value.pointee.counts.orphans += 1
            state.counting(domain).pointee.orphans += 1
        case .waiting: break
        }
    }

    /// False for a duplicate: type and id were seen in the window, or the impression is still open.
    private func markSeen(_ state: EnrichState, _ event: Event) -> Bool {
        let hash = Hash128(event.id, seed: UInt64(event.type.rawValue) &+ 1)
        if state.seen.find(hash) != nil { return false }
        if event.type == .impression, isOpen(state, event) { return false }
        if state.seen.isFull, let oldest = state.seen.oldest {
            state.seen.remove(oldest)
            state.totals.value.pointee.counts.evictedDuplicates += 1
        }
        let row = state.seen.insert(hash)
        state.seen[row].pointee.time = state.totals.value.pointee.newestTime
        return true
    }

    private func isOpen(_ state: EnrichState, _ event: Event) -> Bool {
        if event.items.isEmpty {
            return state.open.find(Hash128(event.impression_id ?? event.id)) != nil
        }
        for item in event.items {
            if state.open.find(Hash128(slateIdentity(event, item.position))) != nil { return true }
        }
        return false
    }

    /// `id#position`; valid until the next call.
    func slateIdentity(_ event: Event, _ position: Int) -> ByteSlice {
        scratch.identity.removeAll()
        scratch.identity.append(event.impression_id ?? event.id)
        scratch.identity.append(UInt8(ascii: "#"))
        scratch.identity.appendJSON(Int64(position))
        return scratch.identity.slice
    }

    private func judge(
        _ state: EnrichState, _ event: Event, domain: UInt32, _ now: Now, into outbox: inout Outbox
    ) {
        guard let query = event.query, let item = event.item_id, let grade = event.grade else {
            preconditionFailure("the reader lets no judgment through without query, item and grade")
        }
        var judgment = Judgment()
        judgment.time_ms = event.time_ms
        judgment.source = now.source
        judgment.ordinal = now.ordinal
        judgment.domain = event.domain
        judgment.query = introduce(
            state, query, domain: domain, named: event.domain, at: event.time_ms, into: &outbox)
        judgment.item_id = item
        judgment.grade = grade
        state.totals.value.pointee.counts.judgments += 1
        beginDomainRecord(state, domain, into: &outbox)
        judgment.append(to: &outbox.bytes)
        outbox.end(headers: now.headers)
    }

    /// Starts a record of domain-log whose key is the domain.
    func beginDomainRecord(_ state: EnrichState, _ domain: UInt32, into outbox: inout Outbox) {
        state.totals.value.pointee.unpublished += 1
        outbox.begin(Topic.domainLog, partition: state.resolved[Int(domain)].partition)
        outbox.bytes.append(state.domains.name(domain))
        outbox.beginValue()
    }
}
