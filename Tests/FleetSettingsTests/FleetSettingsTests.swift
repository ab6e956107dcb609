// Settings: what a file may say, what is said when it says something else, and where a value came from.

import Foundation
import JSON
import Testing

@testable import FleetSettings

private func settings(_ text: String) throws -> FleetSettings {
    try FleetSettings(parsing: Array(text.utf8), file: "coldstream.json")
}

/// The sentence with which a file is refused; nil where it is accepted.
private func refusal(_ text: String) -> String? {
    do {
        _ = try settings(text)
        return nil
    } catch { return "\(error)" }
}

@Suite struct FleetSettingsTests {
    @Test func `an empty file means every default`() throws {
        let settings = try settings("{}")
        #expect(settings.fleet == "coldstream")
        #expect(settings.integer("lateness_s") == 2)
        #expect(settings.integer("label_window_s") == 60)
        #expect(settings.integer("attribution_window_s") == 1_800)
        #expect(settings.integer("conversion_window_s") == 86_400)
        #expect(settings.integers("half_lives_s") == [3_600, 86_400, 604_800])
        #expect(settings.words("tasks") == ["click"])
        #expect(settings.number("rate") == 0.05)
        #expect(settings.integer("checkpoint_records", role: "finetune") == 50_000)
        #expect(settings.integer("users_max", role: "enrich") == 2_000_000)
        #expect(settings.text("user_hash_key_env") == nil)
        #expect(settings.effective().allSatisfy { $0.origin == .builtIn })
    }

    @Test func `every default is allowed by its own declaration and names are unique`() {
        for declaration in SettingDeclaration.all {
            if let value = declaration.defaultValue {
                #expect(declaration.allows(value), "\(declaration.name)")
            }
        }
        for section in SettingDeclaration.Section.allCases {
            let names = SettingDeclaration.names(of: section)
            #expect(Set(names).count == names.count)
        }
    }

    @Test(
        arguments: [
            (#"{"latenes_s":1}"#, "latenes_s", "lateness_s"),
            (#"{"domain_default":{}}"#, "domain_default", "domain_defaults"),
            (
                #"{"domain_defaults":{"label_windw_s":1}}"#, "domain_defaults.label_windw_s",
                "label_window_s"
            ),
            (#"{"domains":{"a":{"publis":{}}}}"#, "domains.a.publis", "publish"),
            (
                #"{"domains":{"a":{"publish":{"treshold":1}}}}"#, "domains.a.publish.treshold",
                "threshold"
            ),
            (
                #"{"domain_defaults":{"learning":{"rat":1}}}"#, "domain_defaults.learning.rat",
                "rate"
            ),
            (#"{"roles":{"finetun":{}}}"#, "roles.finetun", "finetune"),
            (#"{"roles":{"enrich":{"user_max":1}}}"#, "roles.enrich.user_max", "users_max"),
            (#"{"limits":{"memory_byte":1}}"#, "limits.memory_byte", "memory_bytes"),
            (
                #"{"cluster":{"client_propertys":{}}}"#, "cluster.client_propertys",
                "client_properties"
            ),
            (#"{"topics":{"events":{"nam":"x"}}}"#, "topics.events.nam", "name"),
            (#"{"text":{"encodr":"none"}}"#, "text.encodr", "encoder"),
        ])
    func `an unknown key names file, key and the nearest known one`(
        text: String, path: String, nearest: String
    ) {
        #expect(
            refusal(text)
                == "coldstream.json: \(path): there is no such setting; did you mean \"\(nearest)\"?"
        )
    }

    @Test func `a key that is like nothing known names no neighbour`() {
        #expect(
            refusal(#"{"zzzzzzzzzzzz":1}"#)
                == "coldstream.json: zzzzzzzzzzzz: there is no such setting")
    }

    @Test(
        arguments: [
            ("lateness_s", "0", true), ("lateness_s", "3600", true), ("lateness_s", "3601", false),
            ("lateness_s", "-1", false), ("lateness_s", "1.5", false),
            ("lateness_s", "\"2\"", false),
            ("tick_period_ms", "0", true), ("tick_period_ms", "9", false),
            ("tick_period_ms", "10", true), ("publish_period_ms", "9", false),
            ("publish_period_ms", "60000", true), ("publish_period_ms", "60001", false),
            ("history", "50", true), ("history", "51", false), ("hash_bits", "9", false),
            ("hash_bits", "10", true), ("hash_bits", "24", true), ("hash_bits", "25", false),
            ("new_domains", "\"dead_letter\"", true), ("new_domains", "\"drop\"", false),
            ("numerics", "\"skylakex\"", true), ("numerics", "\"fast\"", false),
            ("domains_max", "65536", true), ("domains_max", "0", false),
        ])
    func `a value is allowed up to its bounds and not beyond`(
        name: String, value: String, isAllowed: Bool
    ) throws {
        let found = refusal("{\"\(name)\":\(value)}")
        if isAllowed {
            #expect(found == nil)
        } else {
            let allowed = SettingDeclaration.find(name, in: .fleet)!.allowed
            #expect(
                found == "coldstream.json: \(name): \(value) is not allowed; expected \(allowed)")
        }
    }

    @Test(
        arguments: [
            ("tasks", #"["click","conversion"]"#, true), ("tasks", "[]", false),
            ("tasks", #"["click","click"]"#, false), ("tasks", #"["view"]"#, false),
            ("half_lives_s", "[1]", true), ("half_lives_s", "[1,2,3,4,5]", true),
            ("half_lives_s", "[1,2,3,4,5,6]", false), ("half_lives_s", "[]", false),
            ("half_lives_s", "[2,1]", false), ("half_lives_s", "[1,1]", false),
            ("negative_share", "0.01", true), ("negative_share", "0.009", false),
            ("negative_share", "1", true), ("negative_share", "1.1", false),
        ])
    func `lists and shares have bounds too`(name: String, value: String, isAllowed: Bool) {
        let found = refusal("{\"domain_defaults\":{\"\(name)\":\(value)}}")
        #expect((found == nil) == isAllowed, "\(found ?? "accepted")")
    }

    @Test func `each window is at least as long as the one before`() {
        #expect(
            refusal(#"{"domain_defaults":{"label_window_s":1801}}"#)
                == "coldstream.json: domain_defaults: label_window_s is 1801, attribution_window_s is "
                + "1800; each window is at least as long as the one before")
        #expect(refusal(#"{"domain_defaults":{"label_window_s":1800}}"#) == nil)
        #expect(
            refusal(#"{"domains":{"a":{"attribution_window_s":86401}}}"#)?.contains("domains.a")
                == true)
        // A domain's own window counts beside the defaults of the others.
        #expect(
            refusal(
                #"{"domain_defaults":{"label_window_s":5},"domains":{"a":{"attribution_window_s":4}}}"#
            )
                != nil)
        #expect(
            refusal(#"{"roles":{"enrich":{"collect_min_ms":200}}}"#)
                == "coldstream.json: roles.enrich: collect_min_ms is 200, collect_max_ms only 100")
    }

    @Test func `a domain's own value goes before the defaults, and those before the built-in one`()
        throws
    {
        let settings = try settings(
            #"""
            {"domain_defaults":{"label_window_s":30,"publish":{"threshold":0.1}},
             "domains":{"feed":{"label_window_s":10,"publish":{"contexts":8},"surface":"search"},
                        "other":{}}}
            """#)
        #expect(settings.domains == ["feed", "other"])
        #expect(settings.integer("label_window_s", domain: "feed") == 10)
        #expect(settings.integer("label_window_s", domain: "other") == 30)
        #expect(settings.integer("label_window_s", domain: "never heard of") == 30)
        #expect(settings.number("threshold", domain: "feed") == 0.1)
        #expect(settings.integer("contexts", domain: "feed") == 8)
        #expect(settings.integer("contexts", domain: "other") == 64)
        #expect(settings.text("surface", domain: "feed") == "search")
        #expect(settings.text("surface", domain: "other") == "recommendation")
    }

    @Test func `a role's value is that role's alone`() throws {
        let settings = try settings(#"{"roles":{"enrich":{"items_max":5000}}}"#)
        #expect(settings.integer("items_max", role: "enrich") == 5_000)
        #expect(settings.integer("items_max", role: "finetune") == 1_000_000)
        #expect(refusal(#"{"roles":{"enrich":{"items_max":999}}}"#) != nil)
    }

    @Test func `every value has its origin: default, then file, then flag`() throws {
        var settings = try settings(
            #"{"lateness_s":3,"publish_period_ms":100,"domains":{"a":{"negative_share":0.5}}}"#)
        try settings.set("publish_period_ms", to: "40")
        try settings.set("domains.a.publish.threshold", to: "0.1")
        try settings.set("roles.finetune.collect_max_ms", to: "50")
        var origins: [String: SettingOrigin] = [:]
        for row in settings.effective() {
            #expect(origins.updateValue(row.origin, forKey: row.path) == nil, "\(row.path) twice")
        }
        #expect(origins["lateness_s"] == .file)
        #expect(origins["publish_period_ms"] == .flag)
        #expect(origins["history"] == .builtIn)
        #expect(origins["domains.a.negative_share"] == .file)
        #expect(origins["domains.a.publish.threshold"] == .flag)
        #expect(origins["domain_defaults.publish.threshold"] == .builtIn)
        #expect(origins["roles.finetune.collect_max_ms"] == .flag)
        #expect(origins["roles.enrich.collect_max_ms"] == .builtIn)
        #expect(settings.integer("publish_period_ms") == 40)
    }

    @Test(
        arguments: [
            ("latenes_s", "1"), ("lateness_s", "9999"), ("lateness_s", "soon"),
            ("domains.a.label_windw_s", "1"), ("domains.label_window_s", "1"),
            ("domains.UPPER.label_window_s", "1"), ("domains.a.b.label_window_s", "1"),
            ("domain_defaults.x.label_window_s", "1"),
            ("roles.finetun.items_max", "5000"), ("roles.items_max", "5000"),
            ("limits.x.memory_bytes", "100000000"), ("nowhere.lateness_s", "1"),
            ("domain_defaults.label_window_s", "100000"), ("", "1"),
        ])
    func `a flag is checked as a file is`(path: String, value: String) throws {
        var settings = try settings("{}")
        #expect(throws: SettingsError.self) { try settings.set(path, to: value) }
    }

    @Test func `a flag may name a domain that the file does not know`() throws {
        var settings = try settings(#"{"domains":{"z":{}}}"#)
        try settings.set("domains.b.learning.micro_batch", to: "8")
        try settings.set("domains.b.surface", to: "search")
        #expect(settings.domains == ["b", "z"])
        #expect(settings.integer("micro_batch", domain: "b") == 8)
        #expect(settings.integer("micro_batch", domain: "z") == 32)
        #expect(settings.text("surface", domain: "b") == "search")
    }

    @Test(
        arguments: [
            "[]", "{", "", #"{"version":2}"#, #"{"fleet":"Upper"}"#, #"{"fleet":""}"#,
            #"{"domains":{"A b":{}}}"#, #"{"domains":[]}"#, #"{"roles":{"enrich":7}}"#,
            #"{"topics":{"events":{"partitions":0}}}"#, #"{"topics":{"events":{"name":""}}}"#,
            #"{"cluster":{"client_properties":{"a":[]}}}"#, #"{"lateness_s":1,"lateness_s":2}"#,
            #"{"limits":{"memory_bytes":1}}"#, #"{"domain_defaults":{"learning":{"rate":1e400}}}"#,
        ])
    func `what is no settings file is refused with a sentence that names it`(text: String) {
        #expect(refusal(text)?.hasPrefix("coldstream.json: ") == true)
    }

    @Test func `topics and client properties are taken as they are given`() throws {
        let settings = try settings(
            #"""
            {"$schema":"x","version":1,"fleet":"shop-1",
             "cluster":{"client_properties":{"bootstrap.servers":"k:9092","acks":1,"x":true}},
             "topics":{"events":{"name":"clicks","partitions":6}}}
            """#)
        #expect(settings.fleet == "shop-1")
        #expect(settings.topicNames == ["events": "clicks"])
        #expect(settings.topicPartitions == ["events": 6])
        #expect(
            settings.clientProperties == ["bootstrap.servers": "k:9092", "acks": "1", "x": "true"])
    }
}

@Suite struct SchemaTests {
    private static let example = #"""
        {"$schema":"coldstream.schema.json","version":1,"fleet":"shop","lateness_s":1,
         "cluster":{"client_properties":{"bootstrap.servers":"k:9092"}},
         "topics":{"events":{"name":"clicks","partitions":6}},"numerics":"haswell",
         "roles":{"enrich":{"users_max":5000},"finetune":{"collect_max_ms":40,"collect_min_ms":5}},
         "domain_defaults":{"label_window_s":6,"tasks":["click","conversion"],
          "half_lives_s":[60,600],"learning":{"rate":0.1},"publish":{"threshold":0.05}},
         "domains":{"feed":{"surface":"search","publish":{"head_queries":10}}},
         "limits":{"memory_bytes":100000000}}
        """#

    @Test func `the schema knows every setting and closes every object`() throws {
        let schema = FleetSettings.schema()
        let text = schema.canonicalText
        for declaration in SettingDeclaration.all {
            #expect(text.contains("\"\(declaration.name)\":{"), "\(declaration.name)")
        }
        let properties = schema["properties"]!
        #expect(properties["lateness_s"]?["maximum"]?.integer == 3_600)
        #expect(
            properties["domain_defaults"]?["properties"]?["publish"]?["properties"]?["threshold"]?[
                "default"]?.double == 0.02)
        #expect(schema["additionalProperties"]?.boolean == false)
        #expect(text == FleetSettings.schema().canonicalText)
    }

    @Test func `an independent validator accepts the example and refuses what settings refuse`()
        throws
    {
        _ = try settings(Self.example)
        let bad = [
            #"{"latenes_s":1}"#, #"{"lateness_s":-1}"#, #"{"version":2}"#,
            #"{"domains":{"a":{"publish":{"treshold":1}}}}"#, #"{"domain_defaults":{"tasks":[]}}"#,
            #"{"roles":{"finetun":{}}}"#, #"{"domain_defaults":{"half_lives_s":[1,2,3,4,5,6]}}"#,
            #"{"numerics":"fast"}"#, #"{"hash_bits":25}"#,
        ]
        for text in bad { #expect(refusal(text) != nil, "\(text)") }
        let script = """
            import json, sys
            try:
                import jsonschema
            except ImportError:
                print("no jsonschema"); sys.exit(0)
            schema, good, *bad = [json.loads(line) for line in sys.stdin]
            jsonschema.Draft202012Validator.check_schema(schema)
            validator = jsonschema.Draft202012Validator(schema)
            print("good", validator.is_valid(good))
            print("bad", [validator.is_valid(each) for each in bad].count(True))
            """
        let lines =
            [FleetSettings.schema().canonicalText, Self.example.replacing("\n", with: " ")] + bad
        guard let said = try python(script, input: lines.joined(separator: "\n") + "\n") else {
            print("python3 is not here: the schema was checked by its structure alone")
            return
        }
        if said.contains("no jsonschema") {
            print("jsonschema is not here: the schema was checked by its structure alone")
            return
        }
        #expect(said == "good True\nbad 0\n")
    }

    /// What a script prints; nil without Python.
    private func python(_ script: String, input: String) throws -> String? {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["python3", "-c", script]
        let (stdin, stdout) = (Pipe(), Pipe())
        process.standardInput = stdin
        process.standardOutput = stdout
        process.standardError = FileHandle.nullDevice
        do { try process.run() } catch { return nil }
        stdin.fileHandleForWriting.write(Data(input.utf8))
        try stdin.fileHandleForWriting.close()
        let said = try stdout.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return process.terminationStatus == 0 ? String(decoding: said, as: UTF8.self) : nil
    }
}

@Suite struct TextSettingsTests {
    @Test func `without a word about texts, n-grams of 384 numbers are made`() throws {
        let settings = try settings("{}")
        #expect(settings.text("encoder") == "ngrams")
        #expect(settings.integer("dimension") == 384)
        #expect(settings.text("template") == "{title}. {description}. {tags}")
        #expect(settings.text("model") == nil)
        #expect(settings.text("secret_env") == nil)
    }

    @Test func `a file and a flag say who encodes`() throws {
        var settings = try settings(
            #"{"text":{"encoder":"http","url":"http://h:8000","model":"m","dimension":768}}"#)
        #expect(settings.text("encoder") == "http")
        #expect(settings.text("url") == "http://h:8000")
        #expect(settings.value("dimension").origin == .file)
        try settings.set("text.dimension", to: "0")
        #expect(settings.integer("dimension") == 0)
        #expect(settings.value("dimension").origin == .flag)
        #expect(
            settings.effective().contains {
                $0.path == "text.url" && $0.value == .text("http://h:8000")
            })
    }

    @Test(arguments: [
        ("encoder", #""bert""#, false), ("encoder", #""minilm""#, true),
        ("dimension", "4096", true),
        ("dimension", "4097", false), ("batch", "0", false), ("batch", "1024", true),
        ("concurrency", "65", false), ("timeout_s", "0", false), ("timeout_s", "600", true),
        ("template", #""{titel}""#, false), ("template", #""{title""#, false),
        ("template", #""title""#, false), ("template", #""{tags}: {title}""#, true),
    ])
    func `what is not allowed is refused`(name: String, value: String, isAllowed: Bool) {
        let sentence = refusal(#"{"text":{"\#(name)":\#(value)}}"#)
        #expect((sentence == nil) == isAllowed, "\(sentence ?? "accepted")")
        if let sentence { #expect(sentence.hasPrefix("coldstream.json: text.\(name): ")) }
    }

    @Test func `a part of the template that is not known names the nearest`() {
        #expect(
            refusal(#"{"text":{"template":"{titel}"}}"#)
                == "coldstream.json: text.template: there is no part {titel}; parts are {title}, "
                + "{description} and {tags}; did you mean \"{title}\"?")
    }
}
