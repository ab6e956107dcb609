// Clicks and conversions: found by id or by request and item, used, corrected, awaited or given up.

import Bytes
import Contracts
import Streams

extension Enrich {
    /// What a click or a conversion names, as values to look for.
    private struct Target {
        /// Of the impression's id, or of request and item.
        var primary: UInt64
        var slate: UInt64
        var isByRequest: Bool
        var identity: Hash128
    }

    private func target(of event: Event) -> Target {
        if let id = event.impression_id {
            return Target(
                primary: MatchValue.impression(id),
                slate: event.item_id.map { MatchValue.slate(id, $0) } ?? 0, isByRequest: false,
                identity: Hash128(id))
        }
        return Target(
            primary: MatchValue.request(event.request_id ?? .empty, event.item_id ?? .empty),
            slate: 0, isByRequest: true, identity: .zero)
    }

    func click(
        _ state: EnrichState, _ event: Event, domain: UInt32, _ now: Now, into outbox: inout Outbox
    ) -> Outcome {
        let target = target(of: event)
        let row: UInt32?
        if target.isByRequest {
            row = clickable(state, target.primary)
        } else {
            row =
                state.open.find(target.identity)
                ?? clickable(state, target.slate)
        }
        guard let row else {
            wait(state, event, target, domain: domain)
            return .waiting
        }
        return useClick(
            state, row, at: event.time_ms, now, headers: now.headers, into: &outbox)
    }

    func convert(
        _ state: EnrichState, _ event: Event, domain: UInt32, _ now: Now, into outbox: inout Outbox
    ) -> Outcome {
        let target = target(of: event)
        var row: UInt32?
        if target.isByRequest {
            row = convertible(state, target.primary)
        } else if let found = state.open.find(target.identity) {
            row = state.open[found].pointee.isClicked != 0 ? found : nil
        } else {
            row = convertible(state, target.slate)
        }
        guard let row else {
            wait(state, event, target, domain: domain)
            return .waiting
        }
        return useConversion(
            state, row, at: event.time_ms, now, headers: now.headers, into: &outbox)
    }

    /// Unclicked impressions first, oldest first; `nil`: none is open.
    private func clickable(_ state: EnrichState, _ alias: UInt64) -> UInt32? {
        state.oldest(alias, .unclicked) ?? convertible(state, alias)
    }

    /// Impressions without a conversion first.
    private func convertible(_ state: EnrichState, _ alias: UInt64) -> UInt32? {
        state.oldest(alias, .clicked) ?? state.oldest(alias, .converted)
    }

    /// A click of an open impression. A second one says nothing new.
    private func useClick(
        _ state: EnrichState, _ row: UInt32, at time: Int64, _ now: Now, headers: Headers,
        into outbox: inout Outbox
    ) -> Outcome {
        let impression = state.open[row]
        let windows = state.resolved[Int(impression.pointee.domain)]
        guard time - impression.pointee.time < windows.attributionWindow else { return .orphan }
        guard impression.pointee.isClicked == 0 else { return .used }
        state.totals.value.pointee.counts.clicks += 1
        state.unlinkAliases(row)
        state.change(row) {
            $0.pointee.isClicked = 1
            $0.pointee.clickTime = time
        }
        // Chains are in order of age, also after a restore.
        state.open.touch(row)
        state.linkAliases(row)
        if let user = state.user(of: impression) {
            state.addToHistory(of: user, state.itemID(row))
        }
        if impression.pointee.stage == .labeled {
            correct(state, row, now, headers: headers, into: &outbox)
            state.change(row) { $0.pointee.stage = .clicked }
            state.schedule(row, due: time + windows.conversionWindow)
        }
        joinWaiting(state, row, now, into: &outbox)
        return .used
    }

    /// A click came after its impression's label had gone out with 0.
    private func correct(
        _ state: EnrichState, _ row: UInt32, _ now: Now, headers: Headers,
        into outbox: inout Outbox
    ) {
        let impression = state.open[row]
        if let user = state.user(of: impression) {
            state.users[user].pointee.clicks += 1
            state.users.markChanged(user)
        }
        state.totals.value.pointee.counts.corrections += 1
        var label = Label()
        label.task = .click
        label.value = 1
        label.revision = 1
        label.time_ms = impression.pointee.clickTime
        write(state, &label, row, now, headers: headers, into: &outbox)
    }

    /// A conversion of a clicked impression. Only the first one makes a label.
    private func useConversion(
        _ state: EnrichState, _ row: UInt32, at time: Int64, _ now: Now, headers: Headers,
        into outbox: inout Outbox
    ) -> Outcome {
        let impression = state.open[row]
        let windows = state.resolved[Int(impression.pointee.domain)]
        guard time - impression.pointee.clickTime < windows.conversionWindow else {
            return .orphan
        }
        guard impression.pointee.isConverted == 0 else { return .used }
        state.totals.value.pointee.counts.conversions += 1
        state.unlinkAliases(row)
        state.change(row) { $0.pointee.isConverted = 1 }
        state.open.touch(row)
        state.linkAliases(row)
        var label = Label()
        label.task = .conversion
        label.value = 1
        label.time_ms = time
        write(state, &label, row, now, headers: headers, into: &outbox)
        return .used
    }

    // Waiting

    /// Keeps a click or conversion until the watermark reaches what is the newest time now.
    private func wait(
        _ state: EnrichState, _ event: Event, _ target: Target, domain: UInt32
    ) {
        if state.waiting.isFull, let oldest = state.waiting.oldest {
            giveUpWaiting(state, oldest)
            state.totals.value.pointee.counts.evictedWaiting += 1
        }
        let sequence = state.takeSequence()
        let row = state.waiting.insert(Hash128(sequence, 0))
        let waiting = state.waiting[row]
        waiting.pointee.time = event.time_ms
        waiting.pointee.due = state.totals.value.pointee.newestTime
        waiting.pointee.sequence = sequence
        waiting.pointee.primary = target.primary
        waiting.pointee.slate = target.slate
        waiting.pointee.domain = domain
        waiting.pointee.isConversion = event.type == .conversion ? 1 : 0
        state.startWaiting(row)
    }

    func giveUpWaiting(_ state: EnrichState, _ row: UInt32) {
        count(state, .orphan, domain: state.waiting[row].pointee.domain)
        state.stopWaiting(row)
    }

    /// Hears what waited for the open impression `row`: its click first, then its conversion.
    ///
    /// What names the impression itself is heard whole; of what names its request or slate and its
    /// item, one click and one conversion, as the next ones may be for another impression.
    func joinWaiting(
        _ state: EnrichState, _ row: UInt32, _ now: Now, into outbox: inout Outbox
    ) {
        guard state.waiting.liveRows > 0 else { return }
        let id = MatchValue.impression(state.impressionID(row))
        let request = state.open[row].pointee.requestAlias
        let slate = state.open[row].pointee.slateAlias
        while let event = state.oldestWaiting(id, isConversion: false) {
            hear(state, event, row, now, into: &outbox)
        }
        hearOne(state, request, isConversion: false, row, now, into: &outbox)
        hearOne(state, slate, isConversion: false, row, now, into: &outbox)
        guard state.open[row].pointee.isClicked != 0 else { return }
        while let event = state.oldestWaiting(id, isConversion: true) {
            hear(state, event, row, now, into: &outbox)
        }
        hearOne(state, request, isConversion: true, row, now, into: &outbox)
        hearOne(state, slate, isConversion: true, row, now, into: &outbox)
    }

    /// Hears the oldest that waits for an alias, unless the impression has what it brings.
    private func hearOne(
        _ state: EnrichState, _ alias: UInt64, isConversion: Bool, _ row: UInt32, _ now: Now,
        into outbox: inout Outbox
    ) {
        let impression = state.open[row]
        let has = isConversion ? impression.pointee.isConverted : impression.pointee.isClicked
        guard has == 0, let event = state.oldestWaiting(alias, isConversion: isConversion) else {
            return
        }
        hear(state, event, row, now, into: &outbox)
    }

    private func hear(
        _ state: EnrichState, _ event: UInt32, _ row: UInt32, _ now: Now,
        into outbox: inout Outbox
    ) {
        let heard = state.waiting[event].pointee
        state.stopWaiting(event)
        let outcome =
            heard.isConversion != 0
            ? useConversion(
                state, row, at: heard.time, now, headers: headers.domainLog, into: &outbox)
            : useClick(state, row, at: heard.time, now, headers: headers.domainLog, into: &outbox)
        count(state, outcome, domain: heard.domain)
    }
}
