// What was learned from, as records of `examples`: nobody ever has to join anything again.

import Bytes
import Contracts
import DeterministicMath
import Statistics
import Streams

extension FinetuneStep {
    /// Appends a domain's micro-batch, before it is learned from.
    func appendExamples(
        _ state: FinetuneState, _ domain: UInt32, _ count: Int, _ record: Record,
        _ outbox: inout Outbox
    ) {
        let place = state.domains[domain]
        outbox.begin(Topic.examples)
        outbox.bytes.append(state.domains.name(domain))
        outbox.beginValue()
        var batch = ExampleBatch()
        batch.domain = state.domains.name(domain)
        batch.partition = state.partition
        batch.ordinal = record.ordinal
        batch.head_version = state.clock.value.pointee.headVersion
        scratch.examples.removeAll(keepingCapacity: true)
        scratch.numbers.reserve(count * HeadInput.toldCount)
        scratch.hashed.reserve(count * KeptFeatures.hashedMaximum)
        for i in 0..<count {
            let entry = place.batch[i]
            let row = entry & ~correctionBit
            let isCorrection = entry & correctionBit != 0
            let kept = state.pending[row].pointee
            let clicked =
                isCorrection || (kept.isClicked != 0 && !isCorrected(place, row, count))
            let name = state.pending.name(row)
            let idBytes = Int(kept.impressionIDBytes)
            var example = Example()
            example.impression_id = name.slice(0, idBytes)
            if name.count > idBytes { example.request_id = name.slice(idBytes + 1, name.count) }
            example.time_ms = kept.time
            example.revision = isCorrection ? 1 : 0
            example.label = clicked ? 1 : 0
            example.prediction = rounded(Math.sigmoid(kept.logit))
            example.learned =
                clicked || isKept(state, row, place.pointee.parameters.negativeShare)
            example.item = kept.itemKey
            example.user = kept.user
            example.query = kept.hasQuery != 0 ? kept.query : nil
            example.position = kept.hasPosition != 0 ? Int(kept.position) : nil
            let features = state.kept(row)
            example.dense = BorrowedList(
                scratch.numbers.fill(HeadInput.toldCount, at: i, stride: HeadInput.toldCount) { k in
                    self.rounded(features.told(k))
                }, count: HeadInput.toldCount)
            let hashedCount = Int(features.pointee.hashedCount)
            example.hashed = BorrowedList(
                scratch.hashed.fill(hashedCount, at: i, stride: KeptFeatures.hashedMaximum) { j in
                    let feature = features.hashed[j]
                    return HashedFeature(
                        bucket: feature.bucket,
                        value: rounded(scratch.lookups.shares[feature.share])
                    )
                }, count: hashedCount)
            scratch.examples.append(example)
        }
        scratch.examples.withUnsafeBufferPointer { examples in
            batch.examples = BorrowedList(examples)
            batch.append(to: &outbox.bytes)
        }
        outbox.end()
    }
}
