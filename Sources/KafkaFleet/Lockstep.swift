// Lets a job that appends a backlog go no further ahead than those who read it.

import Contracts
import KafkaTransactions

/// Asks whether encode and enrich have read what has been appended. Joins no group; one thread.
///
/// What happened over hours is appended in seconds. Left alone, enrich is then hours of event time ahead
/// of encode, and finetune learns from impressions of items and queries whose vectors are still being
/// made. A live fleet is never that far behind, and an embedded one takes turns.
public final class Lockstep {
    /// Lines after which the readers are waited for: a fleet needs a third of a second for one round.
    public static let lines = 1_000

    private let inputs: [FleetInput]
    /// Lines of which the readers have read everything.
    private var linesRead: Int64 = 0

    public init(_ fleet: KafkaFleet) throws(KafkaError) {
        inputs = try FleetInput.all(of: fleet).filter { $0.topic != .domainLog }
    }

    /// Whether a job that has appended so many lines may go on. A broker that does not answer now may do so
    /// when asked again.
    public func allowsMore(after lines: Int64) throws(KafkaError) -> Bool {
        guard lines - linesRead >= Self.lines else { return true }
        do {
            guard try hasCaughtUp() else { return false }
        } catch {
            guard error.remedy == .retry else { throw error }
            return false
        }
        linesRead = lines
        return true
    }

    /// True when nothing is left to read in events, then in the texts that enrich made of them, and in
    /// the catalog. An encoder that fails holds nobody up: what it owes goes without a vector.
    public func hasCaughtUp(timeoutMilliseconds: Int = 2_000) throws(KafkaError) -> Bool {
        for topic in [Topic.events, .texts, .catalog] {
            for input in inputs where input.topic == topic {
                guard try input.positionsAtEnd(timeoutMilliseconds) != nil else { return false }
            }
        }
        return true
    }
}

/// What one group reads.
struct FleetInput {
    let topic: Topic
    private let places: [TopicPartition]
    private let offsets: Offsets

    /// In the order of `KafkaFleet.inputs`.
    static func all(of fleet: KafkaFleet) throws(KafkaError) -> [FleetInput] {
        let roles = KafkaFleet.inputs
        let admin = try Admin(fleet.client)
        let found = try admin.describe(topics: roles.map { fleet.topics[$0.topic] })
        var inputs: [FleetInput] = []
        for role in roles {
            let name = fleet.topics[role.topic]
            let count = found.first { $0.name == name }?.partitions ?? 0
            inputs.append(
                FleetInput(
                    topic: role.topic, places: (0..<count).map { TopicPartition(name, $0) },
                    offsets: try Offsets(
                        fleet.client, group: "\(fleet.settings.fleet).\(role.role)")))
        }
        return inputs
    }

    /// Where the group stands; nil where something is left to read or a transaction is open.
    func positionsAtEnd(_ timeoutMilliseconds: Int) throws(KafkaError) -> [TopicPartition: Int64]? {
        let bounds = try offsets.offsets(of: places, timeoutMilliseconds: timeoutMilliseconds)
        guard bounds.values.allSatisfy(\.isSettled) else { return nil }
        let committed = try offsets.committed(places, timeoutMilliseconds: timeoutMilliseconds)
        let lag = try offsets.lag(
            behind: places.map { Position($0, committed[$0] ?? bounds[$0]!.first) },
            timeoutMilliseconds: timeoutMilliseconds)
        return lag.values.allSatisfy { $0 == .none } ? committed : nil
    }
}
