// Impressions: sent on at once with what is known of the user now, and kept open for what follows.

import Bytes
import Contracts
import Streams

extension Enrich {
    /// Sends an impression, or each item of a slate, to its domain's log and keeps it open.
    func show(
        _ state: EnrichState, _ event: Event, domain: UInt32, key: ByteSlice, _ now: Now,
        into outbox: inout Outbox
    ) {
        let user = state.user(key)
        var impression = Impression()
        impression.time_ms = event.time_ms
        impression.source = now.source
        impression.ordinal = now.ordinal
        impression.domain = event.domain
        impression.request_id = event.request_id
        impression.user = userHash(key)
        impression.query = event.query.map {
            introduce(
                state, $0, domain: domain, named: event.domain, at: event.time_ms, into: &outbox)
        }
        impression.policy = event.policy
        impression.user_impressions = Double(state.users[user].pointee.impressions)
        impression.user_clicks = Double(state.users[user].pointee.clicks)
        scratch.names.removeAll()
        state.forEachClickedItem(of: user) { scratch.names.append($0) }
        impression.history = scratch.names.list
        impression.user_attributes = event.user
        impression.context = event.context
        guard event.items.isEmpty else {
            showSlate(state, event, &impression, user, domain, now, into: &outbox)
            return
        }
        impression.impression_id = event.impression_id ?? event.id
        impression.item_id = event.item_id ?? .empty
        impression.position = event.position
        impression.propensity = event.propensity
        write(state, impression, domain, now, into: &outbox)
        let row = keepOpen(
            state, impression, slate: nil, user: user, domain: domain, now, into: &outbox)
        joinWaiting(state, row, now, into: &outbox)
    }

    /// All of a slate is shown before a click that waited for one of its items is heard.
    private func showSlate(
        _ state: EnrichState, _ event: Event, _ impression: inout Impression, _ user: UInt32,
        _ domain: UInt32, _ now: Now, into outbox: inout Outbox
    ) {
        for item in event.items {
            impression.impression_id = slateIdentity(event, item.position)
            impression.item_id = item.item_id
            impression.position = item.position
            impression.propensity = item.propensity ?? event.propensity
            write(state, impression, domain, now, into: &outbox)
        }
        for item in event.items {
            impression.impression_id = slateIdentity(event, item.position)
            impression.item_id = item.item_id
            _ = keepOpen(
                state, impression, slate: event.impression_id ?? event.id, user: user,
                domain: domain, now, into: &outbox)
        }
        guard state.waiting.liveRows > 0 else { return }
        for item in event.items {
            // A slate larger than the cap may have made room for itself.
            if let row = state.open.find(Hash128(slateIdentity(event, item.position))) {
                joinWaiting(state, row, now, into: &outbox)
            }
        }
    }

    private func write(
        _ state: EnrichState, _ impression: Impression, _ domain: UInt32, _ now: Now,
        into outbox: inout Outbox
    ) {
        state.totals.value.pointee.counts.impressions += 1
        beginDomainRecord(state, domain, into: &outbox)
        impression.append(to: &outbox.bytes)
        outbox.end(headers: now.headers)
    }

    private func keepOpen(
        _ state: EnrichState, _ impression: Impression, slate: ByteSlice?, user: UInt32,
        domain: UInt32, _ now: Now, into outbox: inout Outbox
    ) -> UInt32 {
        if state.open.isFull, let oldest = state.open.oldest {
            settleEarly(state, oldest, now, into: &outbox)
        }
        scratch.name.removeAll()
        scratch.name.append(impression.impression_id)
        scratch.name.append(impression.item_id)
        let row = state.open.insert(
            Hash128(impression.impression_id), name: scratch.name.slice)
        let kept = state.open[row]
        kept.pointee.time = impression.time_ms
        kept.pointee.sequence = state.takeSequence()
        kept.pointee.requestAlias =
            impression.request_id.map { MatchValue.request($0, impression.item_id) } ?? 0
        kept.pointee.slateAlias = slate.map { MatchValue.slate($0, impression.item_id) } ?? 0
        kept.pointee.user = user
        kept.pointee.userGeneration = state.users[user].pointee.generation
        kept.pointee.domain = UInt16(domain)
        kept.pointee.idBytes = UInt16(impression.impression_id.count)
        state.linkAliases(row)
        state.labelsToCome += 1
        state.schedule(
            row, due: impression.time_ms + state.resolved[Int(domain)].labelWindow)
        return row
    }

    /// After so many times that a query was seen its text goes out again: a partition that hears of more
    /// texts than this source may have forgotten it.
    private static let timesUntilSentAgain: UInt64 = 64

    /// The hash of a query; its text goes ahead where the domain's partition may not know it.
    func introduce(
        _ state: EnrichState, _ query: ByteSlice, domain: UInt32, named name: ByteSlice,
        at time: Int64, into outbox: inout Outbox
    ) -> UInt64 {
        let hash = TextHash.of(query)
        let partition = state.resolved[Int(domain)].partition
        let key = Hash128(query, seed: UInt64(partition) &+ 1)
        var isAgain = false
        if let row = state.queries.find(key) {
            state.queries.touch(row)
            state.queries.markChanged(row)
            state.queries[row].pointee.timesSeen += 1
            guard state.queries[row].pointee.timesSeen >= Enrich.timesUntilSentAgain else {
                return hash
            }
            state.queries[row].pointee.timesSeen = 0
            isAgain = true
        } else {
            if state.queries.isFull, let oldest = state.queries.oldest {
                state.queries.remove(oldest)
                state.totals.value.pointee.counts.evictedQueries += 1
            }
            _ = state.queries.insert(key)
            // Nobody knows whether it is one of those that were forgotten here.
            isAgain = state.totals.value.pointee.counts.evictedQueries > 0
        }
        var text = Text()
        text.time_ms = time
        text.hash = hash
        text.text = query
        outbox.begin(Topic.domainLog, partition: partition, hasKey: false)
        outbox.beginValue()
        text.append(to: &outbox.bytes)
        outbox.end(headers: headers.domainLog)
        var record = TextRecord()
        record.time_ms = time
        record.hash = hash
        record.text = query
        record.domain = name
        record.again = isAgain
        outbox.begin(Topic.texts)
        record.appendKey(to: &outbox.bytes)
        outbox.beginValue()
        record.append(to: &outbox.bytes)
        outbox.end(headers: headers.texts)
        return hash
    }
}
