// What the catalog says of an item becomes tokens: hashed words of its tags and attributes.

import Bytes
import Contracts
import Streams

extension FinetuneStep {
    func take(_ state: FinetuneState, _ record: Item) {
        let item = item(state, record.record.item_id)
        let place = state.items[item]
        let wasAvailable = place.pointee.isUnavailable == 0
        place.pointee.isInCatalog = record.deleted ? 0 : 1
        place.pointee.isUnavailable = record.deleted || !record.record.available ? 1 : 0
        if !record.deleted {
            tokenize(record.record)
            setDomains(record.record, place)
            let old = state.features(item)
            let isSame = ByteSlice(scratch.itemFeatures).equals(ByteSlice(old))
            if !isSame {
                // Token counts follow the item: its past goes where its tokens go.
                countTokens(
                    state, item, impressions: -Float(place.pointee.impressions),
                    clicks: -Float(place.pointee.clicks))
                old.update(from: scratch.itemFeatures, count: 1)
                countTokens(
                    state, item, impressions: Float(place.pointee.impressions),
                    clicks: Float(place.pointee.clicks))
            }
        }
        state.items.touch(item)
        state.items.markChanged(item)
        guard wasAvailable != (place.pointee.isUnavailable == 0) || !record.deleted else { return }
        state.domains.forEachLive { domain in
            if let row = state.domainItems.find(FinetuneState.domainItemKey(domain, item)) {
                touch(state, row)
            }
        }
    }

    private func setDomains(_ record: CatalogItem, _ place: UnsafeMutablePointer<ItemRow>) {
        place.pointee.hasDomainList = 0
        guard let domains = record.domains, domains.count <= ItemFeatures.domainMaximum else {
            return
        }
        place.pointee.hasDomainList = 1
        scratch.itemFeatures.pointee.domainCount = UInt16(domains.count)
        for (i, domain) in domains.enumerated() {
            scratch.itemFeatures.domains[i] = Hash128(domain).low
        }
    }

    /// Tags, and every attribute that is a text or a list of texts: at most 16 values a field and
    /// `tokenMaximum` in all, equal values of a field once; a field's values share its weight.
    private func tokenize(_ record: CatalogItem) {
        scratch.itemFeatures.pointee = ItemFeatures()
        var count = 0
        func addField(_ name: ByteSlice, _ values: some Collection<ByteSlice>) {
            let first = count
            for value in values.prefix(16) where count < ItemFeatures.tokenMaximum {
                let bucket = bucket(
                    .token, Hash128(name, seed: 7).combined(with: Hash128(value)).low)
                var isNew = true
                for j in first..<count
                where scratch.itemFeatures.tokens[j].bucket == Int(bucket) { isNew = false }
                guard isNew else { continue }
                scratch.itemFeatures.tokens[count] = PackedFeature(bucket: bucket, shareOf: 1)
                count += 1
            }
            for j in first..<count {
                let bucket = UInt32(scratch.itemFeatures.tokens[j].bucket)
                scratch.itemFeatures.tokens[j] = PackedFeature(
                    bucket: bucket, shareOf: count - first)
            }
        }
        addField(ByteSlice("tags"), record.tags)
        for attribute in record.attributes {
            var texts: [ByteSlice] = []
            for value in attribute.values { if case .text(let text) = value { texts.append(text) } }
            addField(attribute.name, texts)
        }
        scratch.itemFeatures.pointee.tokenCount = UInt16(count)
    }

    /// Whether a domain may show the item.
    func isEligible(_ state: FinetuneState, _ item: UInt32, _ domain: UInt32) -> Bool {
        let row = state.items[item].pointee
        guard row.isUnavailable == 0, row.isInCatalog != 0 else { return false }
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
