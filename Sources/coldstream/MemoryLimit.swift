// Caps that fit into memory, before the first record: what is full must not be what ends a process.

import Contracts
import EmbeddedFleet
import FleetSettings
import Reports

enum MemoryLimit {
    /// The settings with caps with which full tables of all partitions fit into `memory_bytes`: default
    /// ones are halved until they do.
    ///
    /// - Parameter role: a process of that role alone has the memory; nil: all roles share it.
    /// - Throws: where caps that were given do not fit.
    static func fit(
        _ settings: FleetSettings, _ layout: FleetLayout, role: String? = nil
    ) throws -> FleetSettings {
        let given = settings.value("memory_bytes").value?.integer
        let limit = given ?? ProcessFacts.memoryLimit
        guard let (fitted, halvings) = settings.fitting(limit, layout, role: role) else {
            throw refusal(settings, layout, role, limit)
        }
        if halvings > 0 {
            let memory = FleetMemory(fitted, layout, role: role)
            say(
                """
                coldstream: default caps\(role.map { " of \($0)" } ?? "") divided by \(1 << halvings), so \
                that full tables stay within \(Formatted.bytes(limit)) of memory \
                (\(Formatted.bytes(memory.bytes))); caps that you set are never changed
                """)
            if role != nil, given == nil {
                say(
                    """
                    coldstream: slots on machines of other sizes need equal caps: set \
                    limits.memory_bytes in \(settings.file)
                    """)
            }
        }
        return fitted
    }

    /// As many partitions as settings and contracts say.
    static func layout(_ settings: FleetSettings) -> FleetLayout {
        func partitions(_ topic: Topic) -> Int {
            settings.topicPartitions[topic.name] ?? TopicContract(topic).partitions
        }
        var layout = FleetLayout()
        layout.eventsPartitions = partitions(.events)
        layout.domainLogPartitions = partitions(.domainLog)
        return layout
    }

    /// The caps that were given are too large, the others as small as they can be; says what to lower.
    private static func refusal(
        _ settings: FleetSettings, _ layout: FleetLayout, _ role: String?, _ limit: Int64
    ) -> SettingsError {
        let memory = FleetMemory(settings, layout, role: role)
        let given = memory.shares.first { share in
            let parts = share.path.split(separator: ".").map(String.init)
            return settings.value(parts[2], role: parts[1]).origin != .builtIn
        }
        let advice =
            given.map {
                "lower \($0.path), whose \(Formatted.count($0.rows)) rows take \(Formatted.bytes($0.bytes))"
            } ?? "raise it, or ask for fewer partitions"
        return SettingsError(
            "\(settings.file): full tables do not fit into limits.memory_bytes, "
                + "\(Formatted.bytes(limit)); \(advice)")
    }
}

extension FleetSettings {
    /// Caps in which this differs from `other`, as `--set` takes them.
    func changedCaps(from other: FleetSettings) -> [(path: String, value: String)] {
        FleetMemory.caps.flatMap { role, names in
            names.compactMap { name in
                let rows = integer(name, role: role)
                guard rows != other.integer(name, role: role) else { return nil }
                return ("roles.\(role).\(name)", "\(rows)")
            }
        }
    }
}
