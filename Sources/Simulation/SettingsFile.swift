// The settings file that fits a log which was made or imported here.

/// A `coldstream.json` with integers and words, indented for people.
struct SettingsFile {
    enum Value {
        case integer(Int)
        case word(String)

        var text: String {
            switch self {
            case .integer(let integer): String(integer)
            case .word(let word): "\"\(word)\""
            }
        }
    }

    typealias Members = [(key: String, value: Value)]

    var fleet: String
    var fleetSettings: Members
    var domainDefaults: Members
    var domains: [(name: String, members: Members)]

    var text: String {
        var top = ["\"version\": 1", "\"fleet\": \"\(fleet)\""]
        top += fleetSettings.map(line)
        top.append("\"domain_defaults\": " + object(domainDefaults))
        let domains = domains.map { "\"\($0.name)\": \(object($0.members, indent: "  "))" }
        top.append("\"domains\": {\n    " + domains.joined(separator: ",\n    ") + "\n  }")
        return "{\n  " + top.joined(separator: ",\n  ") + "\n}\n"
    }

    private func line(_ member: Members.Element) -> String {
        "\"\(member.key)\": \(member.value.text)"
    }

    private func object(_ members: Members, indent: String = "") -> String {
        guard !members.isEmpty else { return "{}" }
        let lines = members.map(line).joined(separator: ",\n    \(indent)")
        return "{\n    \(indent)\(lines)\n  \(indent)}"
    }
}

extension SimulationSettings {
    /// Windows from the click delays (the label window is their 95 % point), surfaces, lateness.
    var settingsFile: SettingsFile {
        let most = DomainPlan(
            "x", .search, shelves: [], share: 1, clickRate: 0.5, slate: 1,
            logsSlates: true, clickReference: .slateItem, positionBias: 0)
        return SettingsFile(
            fleet: "simulated", fleetSettings: [("lateness_s", .integer(2))],
            domainDefaults: [
                ("label_window_s", .integer(most.labelWindowSeconds)),
                ("attribution_window_s", .integer(most.attributionWindowSeconds)),
                ("conversion_window_s", .integer(DomainPlan.conversionWindowSeconds)),
            ],
            domains: domains.map { plan in
                var members: SettingsFile.Members = [
                    ("surface", .word(plan.surface == .search ? "search" : "recommendation"))
                ]
                if plan.labelWindowSeconds != most.labelWindowSeconds {
                    members.append(("label_window_s", .integer(plan.labelWindowSeconds)))
                    members.append(
                        ("attribution_window_s", .integer(plan.attributionWindowSeconds)))
                }
                return (plan.name, members)
            })
    }
}
