// Reads what workers tell each other in domain-log: priors, releases, settings and time.

import Bytes
import JSON

extension DomainLogReading {
    mutating func readPrior(_ root: JSONView) throws(ContractError) {
        prior = Prior()
        seen = 0
        for (name, value) in root.members where !value.isNull {
            if name.equals("time_ms") {
                prior.time_ms = try value.time(Place("time_ms"))
                seen |= 1 << 0
            } else if name.equals("sender") {
                prior.sender = Int(try value.count(Place("sender")))
                seen |= 1 << 1
            } else if name.equals("first_ordinal") {
                prior.first_ordinal = try value.count(Place("first_ordinal"))
                seen |= 1 << 2
            } else if name.equals("last_ordinal") {
                prior.last_ordinal = try value.count(Place("last_ordinal"))
                seen |= 1 << 3
            } else if name.equals("block") {
                prior.block = Int(try value.count(Place("block")))
                seen |= 1 << 4
            } else if name.equals("blocks") {
                prior.blocks = Int(try value.integer(Place("blocks"), in: 1...1_000_000))
                seen |= 1 << 5
            } else if name.equals("items") {
                try readPriorItems(value)
                seen |= 1 << 6
            } else if name.equals("impressions") {
                prior.impressions = try value.number(Place("impressions"))
            } else if name.equals("clicks") {
                prior.clicks = try value.number(Place("clicks"))
            } else if name.equals("examples") {
                prior.examples = try value.number(Place("examples"))
            } else if name.equals("weights") {
                try readWeights(value)
            }
        }
        try require(
            "time_ms", "sender", "first_ordinal", "last_ordinal", "block", "blocks", "items",
            what: "a prior")
        guard prior.block < prior.blocks else {
            throw ContractError(
                .out_of_range, path: "/block",
                "/block must be below /blocks, which is \(prior.blocks), not \(prior.block).")
        }
    }

    private mutating func readPriorItems(_ list: JSONView) throws(ContractError) {
        guard list.isArray else { throw list.wrongType(Place("items"), "a list of items") }
        priorItems.removeAll()
        var index = 0
        for row in list.elements {
            guard row.isArray && (row.count == 3 || row.count == 5) else {
                throw row.wrongType(
                    Place("items", index, ""),
                    "a list of item_id, impressions, clicks and perhaps expected and content")
            }
            var item = PriorItem(
                item_id: try row[0].id(Place("items", index, "0")),
                impressions: try row[1].number(Place("items", index, "1")),
                clicks: try row[2].number(Place("items", index, "2")))
            if row.count == 5 {
                item.expected = try row[3].number(Place("items", index, "3"))
                item.content = try row[4].number(Place("items", index, "4"))
            }
            priorItems.append(item)
            index += 1
        }
        prior.items = priorItems.list
    }

    private mutating func readWeights(_ object: JSONView) throws(ContractError) {
        guard object.isObject else {
            throw object.wrongType(Place("weights"), "an object of lists")
        }
        weights.removeAll()
        weightValues.removeAll()
        weightStarts.removeAll()
        for (name, list) in object.members {
            guard list.isArray else {
                throw list.wrongType(Place("weights", name: name), "a list of numbers")
            }
            weightStarts.append(weightValues.count)
            weights.append(NamedWeights(name: name, values: BorrowedList()))
            var index = 0
            for value in list.elements {
                weightValues.append(try value.number(Place("weights", name: name, index)))
                index += 1
            }
        }
        weightStarts.append(weightValues.count)
        for i in 0..<weights.count {
            weights[i].values = weightValues.list(weightStarts[i], weightStarts[i + 1])
            weights.settle(i, by: \.name)
        }
        prior.weights = weights.list
    }

    mutating func readRelease(_ root: JSONView) throws(ContractError) {
        release = Release()
        seen = 0
        for (name, value) in root.members where !value.isNull {
            if name.equals("time_ms") {
                release.time_ms = try value.time(Place("time_ms"))
                seen |= 1 << 0
            } else if name.equals("hash") {
                release.hash = try value.id(Place("hash"))
                seen |= 1 << 1
            } else if name.equals("ordinals") {
                guard value.isArray else {
                    throw value.wrongType(Place("ordinals"), "a list of ordinals")
                }
                ordinals.removeAll()
                for index in 0..<value.count {
                    ordinals.append(try value[index].count(Place("ordinals", index, "")))
                }
                release.ordinals = ordinals.list
                seen |= 1 << 2
            }
        }
        try require("time_ms", "hash", "ordinals", what: "a release")
    }

    mutating func readSettings(_ root: JSONView) throws(ContractError) {
        settings = SettingsRecord()
        seen = 0
        for (name, value) in root.members where !value.isNull {
            if name.equals("time_ms") {
                settings.time_ms = try value.time(Place("time_ms"))
                seen |= 1 << 0
            } else if name.equals("hash") {
                settings.hash = try value.id(Place("hash"))
                seen |= 1 << 1
            } else if name.equals("settings") {
                guard value.isObject else { throw value.wrongType(Place("settings"), "an object") }
                // Settings come once in a long while: a tree may be made of them.
                canonicalSettings.removeAll()
                canonicalSettings.element(JSONValue(value))
                settings.settings = canonicalSettings.slice
                seen |= 1 << 2
            }
        }
        try require("time_ms", "hash", "settings", what: "a settings record")
    }

    mutating func readTick(_ root: JSONView) throws(ContractError) {
        tick = Tick()
        seen = 0
        for (name, value) in root.members where !value.isNull {
            if name.equals("time_ms") {
                tick.time_ms = try value.time(Place("time_ms"))
                seen |= 1 << 0
            } else if name.equals("source") {
                tick.source = Int(try value.count(Place("source")))
                seen |= 1 << 1
            } else if name.equals("ordinal") {
                tick.ordinal = try value.count(Place("ordinal"))
                seen |= 1 << 2
            } else if name.equals("close") {
                tick.close = try value.truth(Place("close"))
            } else if name.equals("domains") {
                try readTickCounts(value)
            }
        }
        try require("time_ms", "source", "ordinal", what: "a tick")
    }

    private mutating func readTickCounts(_ object: JSONView) throws(ContractError) {
        guard object.isObject else {
            throw object.wrongType(Place("domains"), "an object of counts")
        }
        counts.removeAll()
        for (domain, row) in object.members {
            guard row.isObject else {
                throw row.wrongType(Place("domains", name: domain), "an object of counts")
            }
            guard DomainName.isValid(domain) || domain.equals("-") else {
                throw ContractError(
                    .invalid_value, path: "/domains",
                    "/domains holds \(domain.text), which is no domain's name.")
            }
            var count = TickCounts(domain: domain)
            for (name, value) in row.members where !value.isNull {
                let place = Place("domains", name: domain)
                if name.equals("duplicates") {
                    count.duplicates = Int(try value.count(place))
                } else if name.equals("orphans") {
                    count.orphans = Int(try value.count(place))
                } else if name.equals("late") {
                    count.late = Int(try value.count(place))
                } else if name.equals("dead") {
                    count.dead = Int(try value.count(place))
                }
            }
            counts.append(count)
            counts.settle(counts.count - 1, by: \.domain)
        }
        tick.domains = counts.list
    }
}
