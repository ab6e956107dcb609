// What the catalog says of an item becomes tokens: hashed words of its tags and attributes.

import Bytes
import Contracts
import Streams

extension FinetuneStep {
    func take(_ state: FinetuneState, _ record: Item, _ outbox: inout Outbox) {
        let item = item(state, record.record.item_id, &outbox)
        let place = state.items[item]
        let wasAvailable = place.pointee.isUnavailable == 0
        let hadDomainList = place.pointee.hasDomainList
        var isSame = true
        place.pointee.isInCatalog = record.deleted ? 0 : 1
        place.pointee.isUnavailable = record.deleted || !record.record.available ? 1 : 0
        if !record.deleted {
            tokenize(record.record)
            setDomains(record.record, place)
            let old = state.features(item)
            isSame = ByteSlice(scratch.itemFeatures).equals(ByteSlice(old))
            if !isSame {
                state.historiesVersion += 1
                // Token counts follow the item: its past goes where its tokens go.
                countTokens(
                    state, item, impressions: -place.pointee.impressions,
                    clicks: -place.pointee.clicks)
                old.update(from: scratch.itemFeatures, count: 1)
                countTokens(
                    state, item, impressions: place.pointee.impressions,
                    clicks: place.pointee.clicks)
            }
        }
        keep(record.deleted ? nil : record.vector, of: item, state)
        state.items.touch(item)
        state.items.markChanged(item)
        let isAvailable = place.pointee.isUnavailable == 0
        if !isSame || isAvailable != wasAvailable || hadDomainList != place.pointee.hasDomainList {
            touchCandidates(state, of: item, &outbox)
        }
        guard wasAvailable != isAvailable || !record.deleted else { return }
        state.domains.forEachLive { domain in
            if let row = state.domainItems.find(FinetuneState.domainItemKey(domain, item)) {
                touch(state, row)
            }
        }
    }

    /// The scores of an item's candidates are computed again, and those of what a domain may not show any
    /// more are taken back, whether their queries are of the head now or not.
    private func touchCandidates(
        _ state: FinetuneState, of item: UInt32, _ outbox: inout Outbox
    ) {
        var next = state.items[item].pointee.firstCandidate
        while next != 0 {
            let row = next - 1
            let candidate = state.candidates[row].pointee
            next = candidate.nextOfItem
            if isEligible(state, item, candidate.domain) {
                touchCandidate(state, row)
            } else {
                withdraw(state, candidate: row, &outbox)
            }
        }
    }

    private func setDomains(_ record: CatalogItem, _ place: UnsafeMutablePointer<ItemRow>) {
        place.pointee.hasDomainList = 0
        guard let domains = record.domains, domains.count <= ItemFeatures.domainMaximum else {
            return
        }
        place.pointee.hasDomainList = 1
        scratch.itemFeatures.pointee.domainCount = UInt32(domains.count)
        for (i, domain) in domains.enumerated() {
            scratch.itemFeatures.domains[i] = Hash128(domain).low
        }
    }

    /// Words of the title, tags, and every attribute that is a text or a list of texts: at most 16 values a
    /// field and `tokenMaximum` in all, equal values of a field once; a field's values share its weight.
    private func tokenize(_ record: CatalogItem) {
        scratch.itemFeatures.pointee = ItemFeatures()
        let tokens = scratch.itemFeatures.tokens
        var count = 0
        var first = 0
        func add(_ bucket: UInt32) {
            guard count < ItemFeatures.tokenMaximum, count < first + 16 else { return }
            for j in first..<count where tokens[j].bucket == Int(bucket) { return }
            tokens[count] = PackedFeature(bucket: bucket, shareOf: 1)
            count += 1
        }
        func endField() {
            for j in first..<count {
                let bucket = UInt32(tokens[j].bucket)
                tokens[j] = PackedFeature(bucket: bucket, shareOf: count - first)
            }
            first = count
        }
        forEachWord(record.title) { add(tokenBucket(ByteSlice("title"), $0)) }
        endField()
        for tag in record.tags { add(tokenBucket(ByteSlice("tags"), tag)) }
        endField()
        scratch.itemFeatures.pointee.wordCount = UInt16(count)
        for attribute in record.attributes {
            for value in attribute.values {
                if case .text(let text) = value { add(tokenBucket(attribute.name, text)) }
            }
            endField()
        }
        scratch.itemFeatures.pointee.tokenCount = UInt16(count)
    }

    /// The bucket of a field's value; a token's counts and its weight share it.
    func tokenBucket(_ field: ByteSlice, _ value: ByteSlice) -> UInt32 {
        bucket(.token, Hash128(field, seed: 7).combined(with: Hash128(value)).low)
    }

    /// Calls `body` with every word in lower case: runs of ASCII letters and digits, and of all that is
    /// not ASCII.
    func forEachWord(_ text: ByteSlice, _ body: (ByteSlice) -> Void) {
        scratch.words.removeAll()
        func isWord(_ byte: UInt8) -> Bool {
            byte >= 0x80 || (48...57).contains(byte) || (65...90).contains(byte)
                || (97...122).contains(byte)
        }
        for i in 0..<text.count {
            let byte = text[i]
            scratch.words.append((65...90).contains(byte) ? byte | 0x20 : byte)
        }
        var start = 0
        let words = scratch.words.slice
        while start < words.count {
            guard isWord(words[start]) else {
                start += 1
                continue
            }
            var end = start
            while end < words.count, isWord(words[end]) { end += 1 }
            body(words.slice(start, end))
            start = end
        }
    }

    /// Whether a domain may show the item: the catalog says nothing else.
    func isEligible(_ state: FinetuneState, _ item: UInt32, _ domain: UInt32) -> Bool {
        let row = state.items[item].pointee
        guard row.isUnavailable == 0 else { return false }
        guard row.hasDomainList != 0 else { return true }
        let features = state.features(item)
        let key = state.domains[domain].pointee.nameKey
        for i in 0..<Int(features.pointee.domainCount) where features.domains[i] == key {
            return true
        }
        return false
    }
}

extension ByteSlice {
    /// The memory of one value.
    fileprivate init(_ value: UnsafeMutablePointer<ItemFeatures>) {
        self.init(UnsafeRawBufferPointer(start: value, count: MemoryLayout<ItemFeatures>.stride))
    }
}
