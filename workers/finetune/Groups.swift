// Labels by request (else by user): the page rate, and GAUC kept up to date pair by pair.

import Bytes
import Statistics
import Streams

extension FinetuneStep {
    /// Puts the label into its request's group (else its user's): page rate and GAUC.
    func countGroup(
        _ state: FinetuneState, _ domain: UInt32, _ row: UInt32, clicked: Bool, _ time: Int64
    ) {
        let name = state.pending.name(row)
        let idBytes = Int(state.pending[row].pointee.impressionIDBytes)
        let isRequest = name.count > idBytes
        let key =
            isRequest
            ? FinetuneState.groupKey(domain, name.slice(idBytes + 1, name.count))
            : Hash128(state.pending[row].pointee.user, UInt64(domain), seed: 6)
        let group: UInt32
        if let known = state.groups.find(key) {
            group = known
            state.groups.touch(group)
        } else {
            if state.groups.isFull {
                state.groups.remove(state.groups.oldest!)
                state.clock.value.pointee.counters.evictedGroups += 1
            }
            group = state.groups.insert(key)
            state.groups[group].pointee.domain = domain
            state.groups[group].pointee.isRequest = isRequest ? 1 : 0
            if isRequest { state.domains[domain].pointee.requests += 1 }
        }
        let place = state.groups[group]
        place.pointee.time = time
        regroup(state, domain, group) {
            guard Int(place.pointee.size) < GroupLabels.maximum else { return }
            let entry = GroupLabels.entry(state.pending[row].pointee.logit, clicked: clicked)
            let entries = state.groups.tail(group, as: GroupLabels.self)
            place.pointee.wins += entries.wins(of: entry, among: Int(place.pointee.size))
            entries.entries[Int(place.pointee.size)] = entry
            place.pointee.size += 1
            if clicked {
                if place.pointee.positives == 0, place.pointee.isRequest != 0 {
                    state.domains[domain].pointee.requestsClicked += 1
                }
                place.pointee.positives += 1
            }
        }
    }

    /// Takes the group's AUC out of the domain's, lets `change` change the group, and puts it back.
    private func regroup(
        _ state: FinetuneState, _ domain: UInt32, _ group: UInt32, _ change: () -> Void
    ) {
        guard let quality = state.quality.find(FinetuneState.qualityKey(domain, 0)) else { return }
        let place = state.groups[group]
        if place.pointee.size > 0 {
            state.quality[quality].pointee.quality.groups.remove(
                auc: place.pointee.auc, size: Int(place.pointee.size))
        }
        change()
        state.quality[quality].pointee.quality.groups.add(
            auc: place.pointee.auc, size: Int(place.pointee.size))
        state.groups.markChanged(group)
        state.quality.markChanged(quality)
    }

    func correctGroup(_ state: FinetuneState, _ domain: UInt32, _ row: UInt32) {
        let name = state.pending.name(row)
        let kept = state.pending[row].pointee
        let idBytes = Int(kept.impressionIDBytes)
        let key =
            name.count > idBytes
            ? FinetuneState.groupKey(domain, name.slice(idBytes + 1, name.count))
            : Hash128(kept.user, UInt64(domain), seed: 6)
        guard let group = state.groups.find(key) else { return }
        let place = state.groups[group]
        let entries = state.groups.tail(group, as: GroupLabels.self)
        let wrong = GroupLabels.entry(kept.logit, clicked: false)
        var at: Int?
        for i in 0..<Int(place.pointee.size) where entries.entries[i] == wrong { at = i }
        guard let at else { return }
        regroup(state, domain, group) {
            let size = Int(place.pointee.size)
            entries.entries[at] = entries.entries[size - 1]
            place.pointee.wins -= entries.wins(of: wrong, among: size - 1)
            let right = GroupLabels.entry(kept.logit, clicked: true)
            place.pointee.wins += entries.wins(of: right, among: size - 1)
            entries.entries[size - 1] = right
            if place.pointee.positives == 0, place.pointee.isRequest != 0 {
                state.domains[domain].pointee.requestsClicked += 1
            }
            place.pointee.positives += 1
        }
    }
}

extension GroupRow {
    /// The group's AUC; nil while one class is missing.
    var auc: Double? {
        let negatives = Int(size) - Int(positives)
        guard positives > 0, negatives > 0 else { return nil }
        return Double(wins) / Double(2 * Int(positives) * negatives)
    }
}

extension GroupLabels {
    /// A logit with its label in the lowest bit.
    static func entry(_ logit: Float, clicked: Bool) -> UInt32 {
        logit.bitPattern & ~1 | (clicked ? 1 : 0)
    }
}

extension UnsafeMutablePointer where Pointee == GroupLabels {
    /// Twice the pairs that `entry` makes in the right order with the first `count`, ties once.
    func wins(of entry: UInt32, among count: Int) -> Int32 {
        let clicked = entry & 1
        let logit = Float(bitPattern: entry & ~1)
        let entries = entries
        var wins: Int32 = 0
        for i in 0..<count where entries[i] & 1 != clicked {
            let other = Float(bitPattern: entries[i] & ~1)
            if logit == other {
                wins += 1
            } else if (logit > other) == (clicked == 1) {
                wins += 2
            }
        }
        return wins
    }
}
