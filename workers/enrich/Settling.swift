// Labels: when a window closes, what was known by then goes out.

import Contracts
import Streams

extension Enrich {
    /// Ends every stage and every wait that is due at `time`, in order of due time, ties in log order.
    func settle(
        _ state: EnrichState, until time: Int64, _ now: Now, into outbox: inout Outbox
    ) {
        while let entry = state.due.popDue(at: time) {
            let row = entry.row
            guard state.open.isLive(row), state.open[row].pointee.sequence == entry.sequence,
                state.open[row].pointee.due == entry.due
            else { continue }
            endStage(state, row, now, into: &outbox)
        }
        while let entry = state.waitingDue.popDue(at: time) {
            let row = entry.row
            guard state.waiting.isLive(row), state.waiting[row].pointee.sequence == entry.sequence
            else { continue }
            giveUpWaiting(state, row)
        }
    }

    private func endStage(
        _ state: EnrichState, _ row: UInt32, _ now: Now, into outbox: inout Outbox
    ) {
        let impression = state.open[row]
        let windows = state.resolved[Int(impression.pointee.domain)]
        switch impression.pointee.stage {
        case .open:
            label(state, row, now, into: &outbox)
            if impression.pointee.isClicked != 0 {
                state.change(row) { $0.pointee.stage = .clicked }
                state.schedule(row, due: impression.pointee.clickTime + windows.conversionWindow)
            } else {
                state.change(row) { $0.pointee.stage = .labeled }
                state.schedule(row, due: impression.pointee.time + windows.attributionWindow)
            }
        case .labeled: state.close(row)
        case .clicked:
            closeConversionWindow(state, row, now, into: &outbox)
            state.close(row)
        }
    }

    /// Lets an impression make room: what would go out later goes out now.
    func settleEarly(
        _ state: EnrichState, _ row: UInt32, _ now: Now, into outbox: inout Outbox
    ) {
        if state.open[row].pointee.stage == .open { label(state, row, now, into: &outbox) }
        if state.open[row].pointee.isClicked != 0 {
            closeConversionWindow(state, row, now, into: &outbox)
        }
        state.close(row)
        state.totals.value.pointee.counts.evictedImpressions += 1
    }

    /// The first label, which is also the moment at which the user's own rate learns of both.
    private func label(
        _ state: EnrichState, _ row: UInt32, _ now: Now, into outbox: inout Outbox
    ) {
        let impression = state.open[row]
        let isClicked = impression.pointee.isClicked != 0
        if let user = state.user(of: impression) {
            state.users[user].pointee.impressions += 1
            if isClicked { state.users[user].pointee.clicks += 1 }
            state.users.markChanged(user)
        }
        state.totals.value.pointee.counts.labels += 1
        var label = Label()
        label.task = .click
        label.value = isClicked ? 1 : 0
        label.time_ms = min(impression.pointee.due, state.totals.value.pointee.newestTime)
        write(state, &label, row, now, headers: headers.domainLog, into: &outbox)
    }

    private func closeConversionWindow(
        _ state: EnrichState, _ row: UInt32, _ now: Now, into outbox: inout Outbox
    ) {
        let impression = state.open[row]
        guard impression.pointee.isConverted == 0,
            state.resolved[Int(impression.pointee.domain)].hasConversionTask
        else { return }
        var label = Label()
        label.task = .conversion
        label.value = 0
        label.time_ms = min(impression.pointee.due, state.totals.value.pointee.newestTime)
        write(state, &label, row, now, headers: headers.domainLog, into: &outbox)
    }

    /// Writes a label of the open impression `row`; task, value, revision and time are set by the
    /// caller.
    func write(
        _ state: EnrichState, _ label: inout Label, _ row: UInt32, _ now: Now,
        headers: Headers, into outbox: inout Outbox
    ) {
        let impression = state.open[row]
        let domain = UInt32(impression.pointee.domain)
        label.source = now.source
        label.ordinal = now.ordinal
        label.impression_id = state.impressionID(row)
        label.domain = state.domains.name(domain)
        if impression.pointee.isClicked != 0 { label.click_time_ms = impression.pointee.clickTime }
        beginDomainRecord(state, domain, into: &outbox)
        label.append(to: &outbox.bytes)
        outbox.end(headers: headers)
    }
}
