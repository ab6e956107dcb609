// What is known of a user when an impression is sent: never more than had happened and was due.

import Bytes
import Contracts
import JSON
import Testing

@testable import Enrich

@Suite struct UserTests {
    @Test func `impressions and clicks enter a user's rate together, when the label goes out`()
        throws
    {
        var run = try EnrichRun()
        _ = try run.after(.impression("i1", 0), .click("i1", 1_000))
        var shown = try run.impressions(after: .impression("i2", 31_999))
        #expect(shown[0]["user_impressions"]!.integer == 0)
        #expect(shown[0]["user_clicks"]!.integer == 0)
        shown = try run.impressions(after: .impression("i3", 32_000))
        #expect(shown[0]["user_impressions"]!.integer == 1)
        #expect(shown[0]["user_clicks"]!.integer == 1)
    }

    @Test func `a correction adds its click to the user's rate`() throws {
        var run = try EnrichRun()
        _ = try run.after(.impression("i1", 0), .tick(40_000), .click("i1", 40_001))
        let shown = try run.impressions(after: .impression("i2", 40_002))
        #expect(shown[0]["user_impressions"]!.integer == 1)
        #expect(shown[0]["user_clicks"]!.integer == 1)
    }

    @Test func `a click enters the history when it arrives`() throws {
        var run = try EnrichRun()
        _ = try run.after(.impression("i1", 0, item: "shoe"))
        var shown = try run.impressions(after: .impression("i2", 1, item: "hat", domain: "e"))
        #expect(shown[0]["history"] == nil)
        shown = try run.impressions(after: .click("i1", 2), .impression("i3", 3, domain: "f"))
        #expect(shown[0]["history"] == .array([.text("shoe")]), "over all domains")
        shown = try run.impressions(after: .impression("i4", 3, user: "another"))
        #expect(shown[0]["history"] == nil)
    }

    @Test func `the history holds the last clicks, newest last`() throws {
        var run = try EnrichRun()
        for (i, item) in ["a", "b", "c", "d", "b"].enumerated() {
            _ = try run.after(.impression("i\(i)", Int64(i), item: item), .click("i\(i)", Int64(i)))
        }
        let shown = try run.impressions(after: .impression("last", 9))
        #expect(shown[0]["history"] == .array(["c", "d", "b"].map { .text($0) }))
        #expect(run.state.items.liveRows == 3, "items in nobody's history are forgotten")
    }

    @Test func `the user is a keyed hash, never the id`() throws {
        var run = try EnrichRun()
        let shown = try run.impressions(after: .impression("i1", 0, user: "ann@example.org"))
        let settings = EnrichSettings.test
        let hash = SipHash(key: settings.userHashKey.0, settings.userHashKey.1)
        #expect(
            shown[0]["user"]!.text
                == hexadecimal("ann@example.org".lend { hash($0) }))
        #expect(!shown[0].canonicalText.contains("ann@"))

        var other = try EnrichRun(.test.with { $0.userHashKey = (1, 2) })
        let again = try other.impressions(after: .impression("i1", 0, user: "ann@example.org"))
        #expect(again[0]["user"] != shown[0]["user"])
    }

    @Test func `where nobody is signed in the session is the user`() throws {
        var run = try EnrichRun()
        var event = TestEvent.impression("i1", 0).with("user_id", nil)
        event["session_id"] = .text("s9")
        event.key = "s9"
        #expect(try run.after(event) == ["impression i1 a"])
    }

    @Test func `what the event says of user and context goes along`() throws {
        var run = try EnrichRun()
        var event = TestEvent.impression("i1", 0)
        event["user"] = .object([JSONMember("city", .text("Ulm"))])
        event["context"] = .object([JSONMember("hour", .integer(9))])
        event["policy"] = .text("p1")
        event["position"] = .integer(4)
        event["propensity"] = .number(0.5)
        let shown = try run.impressions(after: event)[0]
        #expect(shown["user_attributes"] == .object([JSONMember("city", .text("Ulm"))]))
        #expect(shown["context"] == .object([JSONMember("hour", .integer(9))]))
        #expect(shown["policy"]!.text == "p1")
        #expect(shown["position"]!.integer == 4)
        #expect(shown["propensity"]!.double == 0.5)
        #expect(shown["source"]!.integer == 0)
    }

    /// Recomputes every count and history from the events alone, in plain Swift.
    @Test(arguments: 1...10 as ClosedRange<UInt64>)
    func `no impression knows more than what was due before it`(seed: UInt64) throws {
        var random = TestRandom(seed)
        var run = try EnrichRun()
        var truth = PlainUsers(window: 30_000, lateness: 2_000, history: 3)
        var time: Int64 = 0
        var open: [(id: String, user: String, item: String, time: Int64)] = []
        for i in 0..<400 {
            time += Int64(random.below(4_000))
            truth.advance(to: time)
            if i % 3 == 2, let shown = open.randomElement(using: &random),
                time - shown.time < 28_000
            {
                try run.send([
                    .click(shown.id, time, user: shown.user).with("id", .text("c\(i)"))
                ])
                truth.click(shown.id, user: shown.user, item: shown.item)
                continue
            }
            let user = "u\(random.below(5))"
            let item = "item\(random.below(9))"
            let expected = truth.users[user, default: PlainUsers.User()]
            let shown = try run.impressions(
                after: .impression("i\(i)", time, item: item, user: user))
            #expect(
                shown[0]["user_impressions"]!.integer == expected.impressions, "seed \(seed), i\(i)"
            )
            #expect(shown[0]["user_clicks"]!.integer == expected.clicks, "seed \(seed), i\(i)")
            let history = shown[0]["history"]?.array ?? []
            #expect(history == expected.history.map { .text($0) }, "seed \(seed), i\(i)")
            truth.show("i\(i)", user: user, time: time)
            open.append(("i\(i)", user, item, time))
        }
    }
}

/// What users did, kept as plainly as it can be said.
private struct PlainUsers {
    struct User {
        var impressions: Int64 = 0
        var clicks: Int64 = 0
        var history: [String] = []
    }

    let window: Int64
    let lateness: Int64
    let history: Int
    var users: [String: User] = [:]
    var open: [(id: String, user: String, due: Int64)] = []
    var clicked: Set<String> = []
    /// A label that went out before its click.
    var labeled: Set<String> = []

    init(window: Int64, lateness: Int64, history: Int) {
        self.window = window
        self.lateness = lateness
        self.history = history
    }

    mutating func advance(to time: Int64) {
        for impression in open where impression.due <= time - lateness {
            users[impression.user, default: User()].impressions += 1
            if clicked.contains(impression.id) { users[impression.user]!.clicks += 1 }
            labeled.insert(impression.id)
        }
        open.removeAll { $0.due <= time - lateness }
    }

    mutating func show(_ id: String, user: String, time: Int64) {
        open.append((id, user, time + window))
    }

    mutating func click(_ id: String, user: String, item: String) {
        guard clicked.insert(id).inserted else { return }
        if labeled.contains(id) { users[user, default: User()].clicks += 1 }
        users[user, default: User()].history.append(item)
        if users[user]!.history.count > history { users[user]!.history.removeFirst() }
    }
}

/// SplitMix64; the seed is in every failure message.
struct TestRandom: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

    mutating func happens(_ probability: Double) -> Bool {
        Double(next() >> 11) * 0x1p-53 < probability
    }
}
