// Whether a fleet has handled everything there is.

import Contracts
import KafkaTransactions

/// Asks again and again whether every role has read its input to the end. Joins no group; one thread.
public final class DrainCheck {
    private let inputs: [FleetInput]
    private let vectors: OwedVectors
    /// Items and texts without a vector when last looked. A drained fleet may owe some whose encoder
    /// fails: nothing came for `encoderSeconds`.
    public private(set) var owed = 0
    private var owedSince = ContinuousClock.now
    private let encoderSeconds: Int
    /// Where every role stood when the last look found nothing to do.
    private var quiet: [[TopicPartition: Int64]]?

    /// - Parameter encoderSeconds: how long vectors are waited for when none come.
    public init(_ fleet: KafkaFleet, encoderSeconds: Int = 60) throws(KafkaError) {
        self.encoderSeconds = encoderSeconds
        vectors = try OwedVectors(fleet)
        inputs = try FleetInput.all(of: fleet)
    }

    /// True when two looks in a row find no open transaction, nothing to read for anybody, and every
    /// role where it was: what one role wrote while another was looked at shows in the second.
    public func isDrained(timeoutMilliseconds: Int = 2_000) throws(KafkaError) -> Bool {
        let last = quiet
        quiet = nil
        var now: [[TopicPartition: Int64]] = []
        for input in inputs {
            guard let committed = try input.positionsAtEnd(timeoutMilliseconds) else {
                return false
            }
            now.append(committed)
        }
        guard try vectorsHaveCome() else { return false }
        quiet = now
        return last == now
    }

    private func vectorsHaveCome() throws(KafkaError) -> Bool {
        guard let now = try vectors.count() else { return false }
        if now < owed || owed == 0 { owedSince = ContinuousClock.now }
        owed = now
        return now == 0 || ContinuousClock.now - owedSince > .seconds(encoderSeconds)
    }
}
