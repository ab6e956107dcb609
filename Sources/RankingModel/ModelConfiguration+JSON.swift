// A configuration as JSON: read from a golden file or a release, written canonically.

import JSON

extension ModelConfiguration {
    /// Reads a configuration; missing keys keep their defaults.
    ///
    /// Fields stand either as an object name → rows in its order (golden files) or as a list of
    /// [name, rows] (what we write: canonical JSON sorts the members of objects).
    /// - Throws: a sentence that names the key that is unknown or has an impossible value.
    public init(_ json: JSONValue) throws(ReleaseError) {
        guard let members = json.members, let M = json["M"]?.integer else {
            throw ReleaseError("the configuration is no object with the number of domains, M")
        }
        self.init(M: Int(M))
        for member in members { try set(member.name, member.value) }
        if let problem { throw ReleaseError("the configuration is impossible: \(problem)") }
    }

    private static var integers: [(String, WritableKeyPath<ModelConfiguration, Int>)] {
        [
            ("M", \.M), ("d", \.d), ("d_id", \.d_id), ("d_sp", \.d_sp), ("d_ctx", \.d_ctx),
            ("H", \.H),
            ("E", \.E), ("e1", \.e1), ("e2", \.e2), ("t", \.t), ("n_user", \.n_user),
            ("n_item", \.n_item), ("n_query", \.n_query), ("text_dim", \.text_dim),
            ("n_dense", \.n_dense), ("n_min", \.n_min), ("mmd_cap", \.mmd_cap), ("din_h", \.din_h),
            ("ple_sp", \.ple_sp), ("ple_sh", \.ple_sh), ("star_aux", \.star_aux),
            ("ple_levels", \.ple_levels), ("low_rank", \.low_rank),
        ]
    }
    private static var numbers: [(String, WritableKeyPath<ModelConfiguration, Float>)] {
        [
            ("alpha", \.alpha), ("tau", \.tau), ("div_ema", \.div_ema),
        ]
    }
    private static var switches: [(String, WritableKeyPath<ModelConfiguration, Bool>)] {
        [
            ("da", \.da), ("domain_norm", \.domain_norm),
        ]
    }
    private static var fields: [(String, WritableKeyPath<ModelConfiguration, [Field]>)] {
        [
            ("item_sparse", \.item_sparse), ("user_sparse", \.user_sparse), ("ctx", \.ctx),
        ]
    }

    private mutating func set(_ name: String, _ value: JSONValue) throws(ReleaseError) {
        let wrong = ReleaseError("the configuration's \(name) has a value that is not possible")
        func choice<Choice: RawRepresentable<String>>(_: Choice.Type) throws(ReleaseError) -> Choice
        {
            guard let text = value.text, let found = Choice(rawValue: text) else { throw wrong }
            return found
        }
        if let (_, path) = Self.integers.first(where: { $0.0 == name }) {
            guard let integer = value.integer, abs(integer) < 1 << 40 else { throw wrong }
            self[keyPath: path] = Int(integer)
        } else if let (_, path) = Self.numbers.first(where: { $0.0 == name }) {
            guard let number = value.double else { throw wrong }
            self[keyPath: path] = Float(number)
        } else if let (_, path) = Self.switches.first(where: { $0.0 == name }) {
            guard let truth = value.boolean else { throw wrong }
            self[keyPath: path] = truth
        } else if let (_, path) = Self.fields.first(where: { $0.0 == name }) {
            self[keyPath: path] = try Self.readFields(value, wrong)
        } else {
            switch name {
            case "gate": gate = try choice(Gate.self)
            case "backbone": backbone = try choice(Backbone.self)
            case "div": div = try choice(Divergence.self)
            case "hist": hist = try choice(History.self)
            case "tasks":
                guard let list = value.array else { throw wrong }
                let read = list.compactMap { $0.text.flatMap(Task.init(rawValue:)) }
                if read.count != list.count { throw wrong }
                tasks = read
            default: throw ReleaseError("the configuration has a key \(name) that we do not know")
            }
        }
    }

    private static func readFields(_ value: JSONValue, _ wrong: ReleaseError)
        throws(ReleaseError) -> [Field]
    {
        var pairs: [(String?, Int64?)] = []
        if let members = value.members {
            pairs = members.map { ($0.name, $0.value.integer) }
        } else if let list = value.array {
            pairs = list.map { pair in
                guard let two = pair.array, two.count == 2 else { return (nil, nil) }
                return (two[0].text, two[1].integer)
            }
        } else {
            throw wrong
        }
        var fields: [Field] = []
        for (name, rows) in pairs {
            guard let name, let rows, rows > 0, rows < 1 << 40 else { throw wrong }
            fields.append(Field(name, Int(rows)))
        }
        return fields
    }

    /// The configuration with every key.
    public var json: JSONValue {
        var members: [JSONMember] = []
        for (name, path) in Self.integers {
            members.append(JSONMember(name, .integer(Int64(self[keyPath: path]))))
        }
        for (name, path) in Self.numbers {
            members.append(JSONMember(name, .number(Double(self[keyPath: path]))))
        }
        for (name, path) in Self.switches {
            members.append(JSONMember(name, .boolean(self[keyPath: path])))
        }
        for (name, path) in Self.fields {
            let pairs = self[keyPath: path].map {
                JSONValue.array([.text($0.name), .integer(Int64($0.rows))])
            }
            members.append(JSONMember(name, .array(pairs)))
        }
        members.append(JSONMember("gate", .text(gate.rawValue)))
        members.append(JSONMember("backbone", .text(backbone.rawValue)))
        members.append(JSONMember("div", .text(div.rawValue)))
        members.append(JSONMember("hist", .text(hist.rawValue)))
        members.append(JSONMember("tasks", .array(tasks.map { .text($0.rawValue) })))
        return .object(members)
    }
}

/// A release that cannot be used, or cannot be written.
public struct ReleaseError: Error, Equatable, CustomStringConvertible {
    public let description: String

    public init(_ description: String) { self.description = description }
}
