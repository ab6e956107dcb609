// Time: what moves it, what goes out when it has moved, and the ticks that tell finetune.

import Bytes
import Contracts
import Streams

extension Enrich {
    /// Moves the partition's newest time; what is due before it goes out first.
    func advance(
        _ state: EnrichState, to time: Int64, _ now: Now, into outbox: inout Outbox
    ) {
        let totals = state.totals.value
        let isFirst = totals.pointee.hasTime == 0
        guard isFirst || time > totals.pointee.newestTime else { return }
        totals.pointee.hasTime = 1
        totals.pointee.newestTime = time
        settle(state, until: time - settings.latenessMilliseconds, now, into: &outbox)
        forgetSeen(state)
        let period = floorDivision(time, settings.publishPeriodMilliseconds)
        guard isFirst || period != totals.pointee.period else { return }
        totals.pointee.period = period
        writeTicks(state, close: false, now, into: &outbox)
    }

    /// Forgets which events were seen where the window has passed.
    private func forgetSeen(_ state: EnrichState) {
        let limit =
            state.totals.value.pointee.newestTime - settings.duplicateWindowMilliseconds
        while let oldest = state.seen.oldest, state.seen[oldest].pointee.time <= limit {
            state.seen.remove(oldest)
        }
    }

    /// A tick of the fleet moves time or closes the batch; anyone else's is a dead letter.
    func tick(
        _ state: EnrichState, _ event: Event, _ record: Record, _ now: Now,
        into outbox: inout Outbox
    ) {
        guard let header = record.headers.first("coldstream-tick"),
            fleet.lend({ $0.equals(header) })
        else {
            deadLetter(
                state, record, .foreign_tick,
                "The tick has no header coldstream-tick with the name of this fleet.", domain: nil,
                into: &outbox)
            return
        }
        state.totals.value.pointee.counts.ticks += 1
        guard event.close else {
            advance(state, to: event.time_ms, now, into: &outbox)
            return
        }
        settle(state, until: Int64.max, now, into: &outbox)
        writeTicks(state, close: true, now, into: &outbox)
    }

    /// One tick to every partition of domain-log, with the counts of the domains that live there.
    private func writeTicks(
        _ state: EnrichState, close: Bool, _ now: Now, into outbox: inout Outbox
    ) {
        state.countedDomains.sort {
            state.domains.name($0).precedes(state.domains.name($1))
        }
        var tick = Tick()
        tick.time_ms = state.totals.value.pointee.newestTime
        tick.source = now.source
        tick.ordinal = now.ordinal
        tick.close = close
        for partition in 0..<settings.domainLogPartitions {
            scratch.counts.removeAll()
            for row in state.countedDomains
            where state.resolved[Int(row)].partition == partition {
                let counts = state.domains[row].pointee
                scratch.counts.append(
                    TickCounts(
                        domain: state.domains.name(row), duplicates: Int(counts.duplicates),
                        orphans: Int(counts.orphans), late: Int(counts.late),
                        dead: Int(counts.dead)))
            }
            tick.domains = scratch.counts.list
            outbox.begin(Topic.domainLog, partition: partition, hasKey: false)
            outbox.beginValue()
            tick.append(to: &outbox.bytes)
            outbox.end(headers: headers.domainLog)
        }
        for row in state.countedDomains {
            state.domains[row].pointee = DomainRow(duplicates: 0, orphans: 0, late: 0, dead: 0)
            state.domains.markChanged(row)
        }
        state.countedDomains.removeAll(keepingCapacity: true)
        state.totals.value.pointee.unpublished = 0
        outbox.markPublishPoint()
    }
}

/// The quotient rounded down, also below 0.
func floorDivision(_ a: Int64, _ b: Int64) -> Int64 {
    let quotient = a / b
    return a % b < 0 ? quotient - 1 : quotient
}
