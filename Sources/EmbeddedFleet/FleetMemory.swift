// How much memory the caps of a fleet allow, and caps that fit: nothing that arrives may stop a worker,
// so what does not fit is refused before the first record.

import Encode
import Enrich
import Finetune
import FleetSettings
import JSON
import Streams

/// What the tables of all partitions take when every row is in use.
public struct FleetMemory: Sendable {
    /// One cap's part of the whole.
    public struct Share: Sendable {
        /// The setting: `roles.finetune.items_max`.
        public var path: String
        public var rows: Int64
        /// Over all partitions.
        public var bytes: Int64
    }

    /// Over all roles and partitions.
    public let bytes: Int64
    /// Largest first.
    public let shares: [Share]

    /// The caps that cost memory, by role.
    public static let caps: [(role: String, names: [String])] = [
        (
            "enrich",
            [
                "users_max", "items_max", "open_impressions_max", "queries_max", "duplicates_max",
                "waiting_clicks_max",
            ]
        ),
        ("encode", ["items_max", "queries_max"]),
        ("finetune", ["items_max", "queries_max", "open_impressions_max", "corrections_max"]),
    ]

    static let fewestRows: Int64 = 1_000

    /// - Parameter role: nil: all of them.
    public init(_ settings: FleetSettings, _ layout: FleetLayout, role only: String? = nil) {
        var shares: [Share] = []
        var total: Int64 = 0
        for (role, names) in FleetMemory.caps where only == nil || role == only {
            let whole = FleetMemory.bytes(settings, layout, role)
            total += whole
            for name in names {
                let path = "roles.\(role).\(name)"
                var least = settings
                do {
                    try least.set(path, to: String(FleetMemory.fewestRows))
                } catch {
                    preconditionFailure("\(path): \(error)")
                }
                shares.append(
                    Share(
                        path: path, rows: settings.integer(name, role: role),
                        bytes: whole - FleetMemory.bytes(least, layout, role)))
            }
        }
        bytes = total
        self.shares = shares.sorted { ($1.bytes, $0.path) < ($0.bytes, $1.path) }
    }

    /// What `init` finds, without the shares.
    static func bytes(_ settings: FleetSettings, _ layout: FleetLayout, role: String?) -> Int64 {
        caps.filter { role == nil || $0.role == role }
            .reduce(0) { $0 + bytes(settings, layout, $1.role) }
    }

    /// What the tables of one role take in all partitions of `layout`, every row in use.
    public static func bytes(
        _ settings: FleetSettings, _ layout: FleetLayout, _ role: String
    ) -> Int64 {
        if role == "enrich" {
            let enrich = EnrichSettings(settings, domainLogPartitions: layout.domainLogPartitions)
            return Int64(enrich.caps.bytes(history: enrich.history) * layout.eventsPartitions)
        }
        if role == "encode" {
            let dimension = Int(settings.integer("dimension"))
            guard dimension > 0, settings.text("encoder") != "none" else { return 0 }
            return Int64(EncodeSettings(settings).vectorBytes(dimension: dimension))
        }
        let step = FinetuneStep(
            caps: FinetuneCaps(settings), domainLogPartitions: layout.domainLogPartitions,
            hashBits: Int(settings.integer("hash_bits")))
        let tables = step.makeState(partition: 0).tables
        return Int64(tables.reduce(0) { $0 + $1.maximumBytes } * layout.domainLogPartitions)
    }
}

extension FleetSettings {
    /// These settings with the caps that nobody has given halved, all together, until the fleet fits.
    ///
    /// - Parameter only: a role that has the memory for itself; nil: all share it.
    /// - Returns: nil where it fits only with caps that were given lowered. `halvings` is 0 where
    ///   nothing had to change.
    public func fitting(
        _ limit: Int64, _ layout: FleetLayout, role only: String? = nil
    ) -> (settings: FleetSettings, halvings: Int)? {
        var fitted = self
        var halvings = 0
        while FleetMemory.bytes(fitted, layout, role: only) > limit {
            halvings += 1
            var hasChanged = false
            for (role, names) in FleetMemory.caps where only == nil || role == only {
                for name in names {
                    let rows = fitted.integer(name, role: role)
                    guard value(name, role: role).origin == .builtIn, rows > FleetMemory.fewestRows
                    else { continue }
                    let half = max(FleetMemory.fewestRows, rows / 2)
                    do {
                        try fitted.set("roles.\(role).\(name)", to: String(half))
                    } catch {
                        preconditionFailure("\(role).\(name): \(error)")
                    }
                    hasChanged = true
                }
            }
            guard hasChanged else { return nil }
        }
        return (fitted, halvings)
    }
}
