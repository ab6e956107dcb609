// The fleet's settings as they apply: default < file < flag, each value with where it came from.

import Bytes
import CommandLineArguments
import JSON

/// A setting that is not there or not allowed: names the file, the key and what would be right.
public struct SettingsError: Error, Equatable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}

/// Where a value came from.
public enum SettingOrigin: String, Sendable {
    case builtIn = "default"
    case file
    case flag
}

/// The names of roles that settings may speak of.
public let settingsRoles = ["gateway", "enrich", "encode", "finetune", "pretrain"]

/// `coldstream.json`, checked, with defaults filled in.
///
/// A missing key means its default, so an upgrade that adds a key breaks no file. An unknown key and a
/// value that is not allowed are errors.
public struct FleetSettings: Sendable {
    /// Given values by path (`lateness_s`, `domains.home-feed.publish.threshold`).
    private var given: [String: (value: JSONValue, origin: SettingOrigin)] = [:]
    /// The file's name in messages.
    public let file: String
    public private(set) var fleet = "coldstream"
    /// Domains with settings of their own, sorted.
    public private(set) var domains: [String] = []
    /// Topic names that differ from ours, by ours.
    public private(set) var topicNames: [String: String] = [:]
    /// Partition counts that differ from the contract's, by topic.
    public private(set) var topicPartitions: [String: Int] = [:]
    /// `cluster.client_properties`, as librdkafka or Kafka's tools name them.
    public private(set) var clientProperties: [String: String] = [:]

    /// All defaults.
    public init() { file = "(no file)" }

    /// Reads and checks a settings file's bytes.
    public init(parsing bytes: [UInt8], file: String) throws(SettingsError) {
        self.file = file
        let root: JSONValue
        do {
            root = try JSONValue(parsing: bytes)
        } catch {
            throw SettingsError("\(file): \(error)")
        }
        guard let members = root.members else {
            throw SettingsError("\(file): a settings file is a JSON object")
        }
        for member in members { try readTop(member) }
        try checkWindows()
        try checkText()
    }

    // Reading

    private static let topKeys = [
        "$schema", "version", "fleet", "cluster", "topics", "roles", "domain_defaults", "domains",
        "limits", "text",
    ]

    private func fail(_ path: String, _ sentence: String) -> SettingsError {
        SettingsError("\(file): \(path): \(sentence)")
    }

    private func unknown(_ path: String, _ key: String, among known: [String]) -> SettingsError {
        let nearest = nearestWord(to: key, in: known)
        return fail(
            path.isEmpty ? key : "\(path).\(key)",
            "there is no such setting" + (nearest.map { "; did you mean \"\($0)\"?" } ?? ""))
    }

    private mutating func readTop(_ member: JSONMember) throws(SettingsError) {
        let value = member.value
        switch member.name {
        case "$schema": break
        case "version":
            guard value.integer == 1 else {
                throw fail("version", "this binary reads version 1 of the settings")
            }
        case "fleet":
            guard let name = value.text, isName(name) else {
                throw fail("fleet", "a fleet's name is [a-z0-9][a-z0-9._-]{0,63}")
            }
            fleet = name
        case "cluster":
            for part in try object(value, "cluster") {
                guard part.name == "client_properties" else {
                    throw unknown("cluster", part.name, among: ["client_properties"])
                }
                for property in try object(part.value, "cluster.client_properties") {
                    guard
                        let text = property.value.text ?? property.value.integer.map(String.init)
                            ?? property.value.boolean.map({ $0 ? "true" : "false" })
                    else {
                        throw fail("cluster.client_properties.\(property.name)", "expected a text")
                    }
                    clientProperties[property.name] = text
                }
            }
        case "topics": try readTopics(value)
        case "roles":
            for role in try object(value, "roles") {
                guard settingsRoles.contains(role.name) else {
                    throw unknown("roles", role.name, among: settingsRoles)
                }
                try readSection(.role, role.value, "roles.\(role.name)")
            }
        case "domain_defaults": try readDomain(value, "domain_defaults")
        case "domains":
            for domain in try object(value, "domains") {
                guard isName(domain.name) else {
                    throw fail(
                        "domains.\(domain.name)", "a domain's name is [a-z0-9][a-z0-9._-]{0,63}")
                }
                domains.append(domain.name)
                try readDomain(domain.value, "domains.\(domain.name)")
            }
            domains.sort()
        case "limits": try readSection(.limits, value, "limits")
        case "text": try readSection(.text, value, "text")
        default:
            guard let declaration = SettingDeclaration.find(member.name, in: .fleet) else {
                throw unknown(
                    "", member.name,
                    among: FleetSettings.topKeys + SettingDeclaration.names(of: .fleet))
            }
            try accept(declaration, value, path: member.name, origin: .file)
        }
    }

    private func object(_ value: JSONValue, _ path: String) throws(SettingsError) -> [JSONMember] {
        guard let members = value.members else { throw fail(path, "expected an object") }
        return members
    }

    private mutating func readTopics(_ value: JSONValue) throws(SettingsError) {
        for topic in try object(value, "topics") {
            for part in try object(topic.value, "topics.\(topic.name)") {
                try setTopic(topic.name, part.name, part.value)
            }
        }
    }

    private mutating func setTopic(
        _ topic: String, _ part: String, _ value: JSONValue
    ) throws(SettingsError) {
        switch part {
        case "name":
            guard let name = value.text, !name.isEmpty else {
                throw fail("topics.\(topic).name", "expected a topic's name")
            }
            topicNames[topic] = name
        case "partitions":
            guard let count = value.integer, (1...10_000).contains(count) else {
                throw fail("topics.\(topic).partitions", "expected 1…10000")
            }
            topicPartitions[topic] = Int(count)
        default: throw unknown("topics.\(topic)", part, among: ["name", "partitions"])
        }
    }

    private mutating func readDomain(_ value: JSONValue, _ path: String) throws(SettingsError) {
        for member in try object(value, path) {
            switch member.name {
            case "learning": try readSection(.learning, member.value, "\(path).learning")
            case "publish": try readSection(.publish, member.value, "\(path).publish")
            default:
                guard let declaration = SettingDeclaration.find(member.name, in: .domain) else {
                    throw unknown(
                        path, member.name,
                        among: SettingDeclaration.names(of: .domain) + ["learning", "publish"])
                }
                try accept(declaration, member.value, path: "\(path).\(member.name)", origin: .file)
            }
        }
    }

    private mutating func readSection(
        _ section: SettingDeclaration.Section, _ value: JSONValue, _ path: String
    ) throws(SettingsError) {
        for member in try object(value, path) {
            guard let declaration = SettingDeclaration.find(member.name, in: section) else {
                throw unknown(path, member.name, among: SettingDeclaration.names(of: section))
            }
            try accept(declaration, member.value, path: "\(path).\(member.name)", origin: .file)
        }
    }

    private mutating func accept(
        _ declaration: SettingDeclaration, _ value: JSONValue, path: String, origin: SettingOrigin
    ) throws(SettingsError) {
        guard declaration.allows(value) else {
            throw fail(
                path, "\(value.canonicalText) is not allowed; expected \(declaration.allowed)")
        }
        given[path] = (value, origin)
    }

    private func checkWindows() throws(SettingsError) {
        for domain in [nil] + domains.map(Optional.some) {
            let windows = ["label_window_s", "attribution_window_s", "conversion_window_s"]
            for (first, second) in zip(windows, windows.dropFirst()) {
                let (a, b) = (integer(first, domain: domain), integer(second, domain: domain))
                if a > b {
                    throw fail(
                        domain.map { "domains.\($0)" } ?? "domain_defaults",
                        "\(first) is \(a), \(second) is \(b); each window is at least as long as the one "
                            + "before")
                }
            }
        }
        for role in settingsRoles {
            let (a, b) = (
                integer("collect_min_ms", role: role), integer("collect_max_ms", role: role)
            )
            if a > b {
                throw fail("roles.\(role)", "collect_min_ms is \(a), collect_max_ms only \(b)")
            }
        }
    }

    /// What `text` says must fit together; what else it needs is looked for when an encoder is made.
    private func checkText() throws(SettingsError) {
        let template = text("template") ?? ""
        var rest = Substring(template)
        var isEmpty = true
        while let open = rest.firstIndex(of: "{") {
            guard let close = rest[open...].firstIndex(of: "}") else {
                throw fail("text.template", "\"\(template)\" has a { without its }")
            }
            let name = String(rest[rest.index(after: open)..<close])
            guard FleetSettings.templateParts.contains(name) else {
                let nearest = nearestWord(to: name, in: FleetSettings.templateParts)
                throw fail(
                    "text.template",
                    "there is no part {\(name)}; parts are {title}, {description} and {tags}"
                        + (nearest.map { "; did you mean \"{\($0)}\"?" } ?? ""))
            }
            isEmpty = false
            rest = rest[rest.index(after: close)...]
        }
        guard !isEmpty else {
            throw fail(
                "text.template",
                "\"\(template)\" names no part; expected {title}, {description} or {tags}")
        }
    }

    private static let templateParts = ["title", "description", "tags"]

    /// Takes another fleet's name, as the flag `--fleet` does.
    public mutating func rename(fleet name: String) throws(SettingsError) {
        guard isName(name) else {
            throw fail("fleet", "a fleet's name is [a-z0-9][a-z0-9._-]{0,63}")
        }
        fleet = name
    }

    /// Sets a value by its path, as a flag does (`--set publish_period_ms=40`).
    public mutating func set(_ path: String, to text: String) throws(SettingsError) {
        var parts = path.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        let name = parts.removeLast()
        if parts.first == "topics", parts.count == 2 {
            let number = name == "partitions" ? Int64(text) : nil
            try setTopic(parts[1], name, number.map { .integer($0) } ?? .text(text))
            return
        }
        let section = try section(of: path, parts)
        guard let declaration = SettingDeclaration.find(name, in: section) else {
            throw unknown(
                parts.joined(separator: "."), name, among: SettingDeclaration.names(of: section))
        }
        if parts.first == "domains", parts.count >= 2, !domains.contains(parts[1]) {
            domains = (domains + [parts[1]]).sorted()
        }
        let value: JSONValue
        switch declaration.kind {
        case .text, .word: value = .text(text)
        default:
            do { value = try JSONValue(parsing: text) } catch {
                throw fail(path, "\(text) is not allowed; expected \(declaration.allowed)")
            }
        }
        try accept(declaration, value, path: path, origin: .flag)
        try checkWindows()
        try checkText()
    }

    /// The section that a path's parts before the last lead to.
    private func section(
        of path: String, _ parts: [String]
    ) throws(SettingsError) -> SettingDeclaration.Section {
        func inner(_ rest: ArraySlice<String>) throws(SettingsError) -> SettingDeclaration.Section {
            switch Array(rest) {
            case []: return .domain
            case ["learning"]: return .learning
            case ["publish"]: return .publish
            default:
                throw unknown(
                    parts.dropLast().joined(separator: "."), rest.last!,
                    among: ["learning", "publish"])
            }
        }
        guard let first = parts.first else { return .fleet }
        switch first {
        case "limits" where parts.count == 1: return .limits
        case "text" where parts.count == 1: return .text
        case "roles" where parts.count == 2:
            guard settingsRoles.contains(parts[1]) else {
                throw unknown("roles", parts[1], among: settingsRoles)
            }
            return .role
        case "domain_defaults": return try inner(parts.dropFirst())
        case "domains" where parts.count >= 2:
            guard isName(parts[1]) else {
                throw fail(
                    "domains.\(parts[1])", "a domain's name is [a-z0-9][a-z0-9._-]{0,63}")
            }
            return try inner(parts.dropFirst(2))
        case "limits", "roles", "domains", "text": throw fail(path, "there is no such setting")
        default: throw unknown("", first, among: FleetSettings.topKeys)
        }
    }

    // Asking

    /// The value that applies, most special first: of the domain (or role), of the defaults, built in.
    public func value(
        _ name: String, role: String? = nil, domain: String? = nil
    ) -> (value: JSONValue?, origin: SettingOrigin) {
        let declaration =
            SettingDeclaration.all.first {
                $0.name == name && (role != nil) == ($0.section == .role)
            }
            ?? SettingDeclaration.all.first { $0.name == name }
        guard let declaration else { preconditionFailure("there is no setting \(name)") }
        var paths: [String]
        switch declaration.section {
        case .fleet: paths = [name]
        case .limits, .text: paths = ["\(declaration.section).\(name)"]
        case .role: paths = ["roles.\(role ?? "finetune").\(name)"]
        case .domain: paths = ["domain_defaults.\(name)"]
        case .learning, .publish: paths = ["domain_defaults.\(declaration.section).\(name)"]
        }
        if let domain {
            let inner = declaration.section == .domain ? "" : "\(declaration.section)."
            paths.insert("domains.\(domain).\(inner)\(name)", at: 0)
        }
        for path in paths { if let found = given[path] { return found } }
        return (declaration.defaultValue, .builtIn)
    }

    public func integer(_ name: String, role: String? = nil, domain: String? = nil) -> Int64 {
        guard let found = value(name, role: role, domain: domain).value?.integer else {
            preconditionFailure("\(name) is no whole number")
        }
        return found
    }

    public func number(_ name: String, domain: String? = nil) -> Double {
        guard let found = value(name, domain: domain).value?.double else {
            preconditionFailure("\(name) is no number")
        }
        return found
    }

    public func text(_ name: String, domain: String? = nil) -> String? {
        value(name, domain: domain).value?.text
    }

    public func integers(_ name: String, domain: String? = nil) -> [Int64] {
        value(name, domain: domain).value?.array?.compactMap(\.integer) ?? []
    }

    public func words(_ name: String, domain: String? = nil) -> [String] {
        value(name, domain: domain).value?.array?.compactMap(\.text) ?? []
    }

    /// Every setting with its value and origin, by path: what `config show --effective` prints.
    public func effective() -> [(
        path: String, value: JSONValue?, origin: SettingOrigin, isLive: Bool
    )] {
        var rows: [(path: String, value: JSONValue?, origin: SettingOrigin, isLive: Bool)] = []
        func add(_ path: String, _ declaration: SettingDeclaration, role: String?, domain: String?)
        {
            let found = value(declaration.name, role: role, domain: domain)
            rows.append((path, found.value, found.origin, declaration.isLive))
        }
        for declaration in SettingDeclaration.all {
            let name = declaration.name
            switch declaration.section {
            case .fleet: add(name, declaration, role: nil, domain: nil)
            case .limits, .text:
                add("\(declaration.section).\(name)", declaration, role: nil, domain: nil)
            case .role:
                for role in settingsRoles {
                    add("roles.\(role).\(name)", declaration, role: role, domain: nil)
                }
            case .domain, .learning, .publish:
                let inner = declaration.section == .domain ? "" : "\(declaration.section)."
                add("domain_defaults.\(inner)\(name)", declaration, role: nil, domain: nil)
                for domain in domains {
                    add("domains.\(domain).\(inner)\(name)", declaration, role: nil, domain: domain)
                }
            }
        }
        return rows
    }

    /// The JSON Schema of the file, for editors.
    public static func schema() -> JSONValue {
        func object(_ properties: [JSONMember], closed: Bool = true) -> JSONValue {
            .object([
                JSONMember("type", .text("object")), JSONMember("properties", .object(properties)),
                JSONMember("additionalProperties", .boolean(!closed)),
            ])
        }
        func map(_ value: JSONValue) -> JSONValue {
            .object([
                JSONMember("type", .text("object")), JSONMember("additionalProperties", value),
            ])
        }
        func section(_ section: SettingDeclaration.Section) -> [JSONMember] {
            SettingDeclaration.all.filter { $0.section == section }.map {
                JSONMember($0.name, $0.schema)
            }
        }
        let text = JSONValue.object([JSONMember("type", .text("string"))])
        let domain = object(
            section(.domain) + [
                JSONMember("learning", object(section(.learning))),
                JSONMember("publish", object(section(.publish))),
            ])
        let topic = object([
            JSONMember("name", text),
            JSONMember("partitions", .object([JSONMember("type", .text("integer"))])),
        ])
        let properties =
            [
                JSONMember("$schema", text),
                JSONMember("version", .object([JSONMember("const", .integer(1))])),
                JSONMember("fleet", text),
                JSONMember("cluster", object([JSONMember("client_properties", map(.object([])))])),
                JSONMember("topics", map(topic)),
                JSONMember(
                    "roles", object(settingsRoles.map { JSONMember($0, object(section(.role))) })),
                JSONMember("domain_defaults", domain), JSONMember("domains", map(domain)),
                JSONMember("limits", object(section(.limits))),
                JSONMember("text", object(section(.text))),
            ] + section(.fleet)
        guard case .object(let members) = object(properties) else { return .null }
        return .object(
            [
                JSONMember("$schema", .text("https://json-schema.org/draft/2020-12/schema")),
                JSONMember("title", .text("Settings of a Coldstream fleet")),
            ] + members)
    }
}

/// `[a-z0-9][a-z0-9._-]{0,63}`
private func isName(_ name: String) -> Bool {
    let bytes = Array(name.utf8)
    func isPlain(_ byte: UInt8) -> Bool { (97...122).contains(byte) || (48...57).contains(byte) }
    guard let first = bytes.first, bytes.count <= 64, isPlain(first) else { return false }
    return bytes.allSatisfy { isPlain($0) || $0 == 46 || $0 == 95 || $0 == 45 }
}
