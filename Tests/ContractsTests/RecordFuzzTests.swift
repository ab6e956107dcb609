// Mutated records: whatever arrives, a reader refuses it with a sentence or reads what can be
// written again.

import Bytes
import DeterministicMath
import JSON
import Testing

@testable import Contracts

@Suite struct RecordFuzzTests {
    /// How many records in a normal run; COLDSTREAM_FUZZ_RECORDS asks for more.
    static let total = FuzzSize.records(default: 100_000)

    @Test(arguments: [
        Topic.events, .catalog, .domainLog, .scores, .domainStatistics, .evaluations, .examples,
        .deadLetters, .texts,
    ])
    func `of mutated records none crashes and none is read as something else`(topic: Topic) throws {
        let seed: UInt64 = 20_211_115
        var random = Random(seed: seed, stream: UInt64(topic.rawValue))
        let share = topic == .events ? 2 : 16
        let mutants = RecordMutants(topic)
        var rewriter = Rewriter()
        var accepted = 0
        for round in 0..<RecordFuzzTests.total / share {
            let mutant = mutants.next(&random)
            let written: [UInt8]
            do {
                written = try rewriter.rewrite(topic, mutant)
            } catch let error as ContractError {
                if !error.message.hasSuffix(".") || error.message.utf8.count > 2_000 {
                    Issue.record("seed \(seed), round \(round): \(error)")
                }
                continue
            }
            accepted += 1
            let again = try rewriter.rewrite(topic, written)
            guard again == written else {
                Issue.record(
                    "seed \(seed), round \(round): \(ByteText(mutant)) is rewritten twice differently"
                )
                continue
            }
            // The tree costs ten times the reading, so every eighth is compared.
            guard accepted % 8 == 0 else { continue }
            if let difference = try mutants.difference(mutant, written) {
                Issue.record(
                    "seed \(seed), round \(round): \(difference) of \(ByteText(mutant)) became \(ByteText(written))"
                )
            }
        }
        #expect(
            accepted > RecordFuzzTests.total / share / 20, "too few to mean anything: \(accepted)")
    }
}

/// Bytes for a message.
struct ByteText: CustomStringConvertible {
    let description: String
    init(_ bytes: [UInt8]) { description = String(decoding: bytes.prefix(1_000), as: UTF8.self) }
}

/// Makes broken and odd records out of a topic's examples.
struct RecordMutants {
    private let topic: Topic
    private let examples: [[UInt8]]
    private let trees: [JSONValue]

    private static let punctuation = Array("{}[]\",:0123456789.eE+-\\untf".utf8)

    init(_ topic: Topic) {
        self.topic = topic
        examples = TopicContract(topic).examples.filter(\.isJSON).map(\.value)
        trees = examples.map { try! JSONValue(parsing: $0) }
    }

    func next(_ random: inout Random) -> [UInt8] {
        let example = random.below(examples.count)
        if random.chance(0.4) {
            var bytes = examples[example]
            for _ in 0...random.below(3) { mutate(&bytes, &random) }
            return bytes
        }
        var tree = trees[example]
        for _ in 0...random.below(3) { mutate(&tree, depth: 0, &random) }
        return tree.hasEqualNames ? examples[example] : tree.canonicalBytes
    }

    private func mutate(_ bytes: inout [UInt8], _ random: inout Random) {
        guard !bytes.isEmpty else { return }
        let place = random.below(bytes.count)
        switch random.below(5) {
        case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
        case 1: bytes.remove(at: place)
        case 2:
            bytes.insert(
                RecordMutants.punctuation[random.below(RecordMutants.punctuation.count)], at: place)
        case 3:
            let end = min(bytes.count, place + random.below(20))
            bytes.insert(contentsOf: bytes[place..<end], at: place)
        default: bytes.removeSubrange(place..<min(bytes.count, place + random.below(6)))
        }
    }

    private func mutate(_ value: inout JSONValue, depth: Int, _ random: inout Random) {
        switch value {
        case .object(var members) where !members.isEmpty:
            let i = random.below(members.count)
            switch random.below(10) {
            case 0: members.remove(at: i)
            case 1: members[i].name = odd(&random).text ?? "zz"
            case 2: members.append(JSONMember(members[i].name + "_", odd(&random)))
            case 3: members[i].value = odd(&random)
            case 4: members[i].value = .null
            default: mutate(&members[i].value, depth: depth + 1, &random)
            }
            value = .object(members)
        case .array(var values) where !values.isEmpty && random.below(4) > 0:
            let i = random.below(values.count)
            switch random.below(5) {
            case 0: values.remove(at: i)
            case 1: values.append(values[i])
            case 2: values[i] = odd(&random)
            default: mutate(&values[i], depth: depth + 1, &random)
            }
            value = .array(values)
        case .integer(let integer) where random.below(2) == 0:
            value = .integer(integer &+ Int64(random.below(5)) &- 2)
        default: value = odd(&random)
        }
    }

    private func odd(_ random: inout Random) -> JSONValue {
        let odds: [JSONValue] = [
            .null, .boolean(true), .boolean(false), .integer(0), .integer(1), .integer(-1),
            .integer(.max),
            .integer(.min), .integer(9_007_199_254_740_993), .number(0.5), .number(-0.25),
            .number(1e300),
            .number(.leastNonzeroMagnitude), .number(1e20), .text(""), .text("a"),
            .text("0123456789abcdef"),
            .text("\u{0}\u{1F}\"\\"),
            .text("é😀"), .text(String(repeating: "x", count: 257)), .text("click"),
            .text("impression"),
            .text("tick"), .text("specversion"), .array([]), .array([.integer(1)]), .object([]),
            .object([JSONMember("a", .integer(1))]),
            .object([JSONMember("specversion", .text("1.0"))]),
        ]
        return odds[random.below(odds.count)]
    }

    /// The first known member that was lost or changed on the way from `mutant` to `written`; nil
    /// if none was.
    func difference(_ mutant: [UInt8], _ written: [UInt8]) throws -> String? {
        let before = try JSONValue(parsing: mutant)
        let after = try JSONValue(parsing: written)
        // These say less by contract: a tick only its time, a deleted item only its name.
        if after["type"]?.text == "tick" || after["deleted"] != nil || before["specversion"] != nil
        {
            return nil
        }
        let schema = TopicContract(topic).schema!
        let alternatives = schema["oneOf"]?.array ?? [schema]
        let kind = after["kind"]?.text
        let own =
            alternatives.count == 1
            ? alternatives[0]
            : alternatives.first { $0["properties"]?["kind"]?["const"]?.text == kind }!
        for property in own["properties"]!.members! {
            let name = property.name
            let value = before[name]
            if value == nil || value == .null || isDefault(value!) {
                if let added = after[name], added != .null, !isDefault(added) { return "/\(name)" }
                continue
            }
            if withoutNulls(value!) != withoutNulls(after[name] ?? .null) && !isFilled(name) {
                return "/\(name)"
            }
        }
        return nil
    }

    /// What is left out of a record because it goes without saying.
    private func isDefault(_ value: JSONValue) -> Bool {
        switch value {
        case .boolean: true
        case .text(let text): text.isEmpty || text == "item"
        case .array(let values): values.isEmpty
        case .object(let members): members.allSatisfy { $0.value == .null }
        default: false
        }
    }

    /// Lists of objects may have unknown members and defaults inside; they are compared by being
    /// rewritten.
    private func isFilled(_ name: String) -> Bool {
        [
            "items", "domains", "rates", "position", "top_items", "examples", "label_delay_ms",
            "prior", "slice",
        ]
        .contains(name)
    }

    private func withoutNulls(_ value: JSONValue) -> JSONValue {
        guard case .object(let members) = value else { return value }
        return .object(members.filter { $0.value != .null })
    }
}

extension JSONValue {
    fileprivate var hasEqualNames: Bool {
        switch self {
        case .object(let members):
            Set(members.map { Array($0.name.utf8) }).count < members.count
                || members.contains { $0.value.hasEqualNames }
        case .array(let values): values.contains { $0.hasEqualNames }
        default: false
        }
    }
}
