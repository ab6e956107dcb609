// The truth itself: each documented term moves the click probability as documented.

import DeterministicMath
import Testing

@testable import Simulation

@Suite struct WorldTests {
    static let world = World(settings)
    static let settings: SimulationSettings = {
        var settings = SimulationSettings()
        settings.impressions = 5_000
        settings.items = 2_000
        return settings
    }()
    let world = WorldTests.world
    let visit = Visit(user: WorldTests.world.user(3), network: 0, entry: 0)

    func logit(
        _ d: Int, _ i: Int, _ visit: Visit? = nil, grade: Grade? = nil, position: Int = 1,
        at seconds: Double = 3_600
    ) -> Double {
        world.clickLogit(
            domain: d, item: i, visit: visit ?? self.visit, grade: grade, position: position,
            at: seconds)
    }

    @Test func `position, match, circumstances and interest add up`() {
        let bias = world.domains[0].positionBias
        #expect(abs(logit(0, 5) - logit(0, 5, position: 8) - bias * Math.log(8)) < 1e-12)
        #expect(abs(logit(0, 5, grade: 1) - logit(0, 5, grade: 0) - 2) < 1e-12)
        let pushed = Visit(user: visit.user, network: 1, entry: 2)
        #expect(abs(logit(2, 5) - logit(2, 5, pushed) - (0.2 + 0.25)) < 1e-12)
        let item = world.items.indices.first {
            world.items[$0].primarySubject == visit.user.firstInterest
        }!
        let stranger = (0..<1_000).map(world.user).first {
            let subjects = [world.items[item].primarySubject, world.items[item].secondarySubject]
            return !subjects.contains($0.firstInterest) && !subjects.contains($0.secondInterest)
        }!
        let difference =
            logit(2, item) - logit(2, item, Visit(user: stranger, network: 0, entry: 0))
        #expect(difference > visit.user.bias - stranger.bias + 0.3)
    }

    @Test func `drift is zero in the middle and constant after the end`() {
        let home = 2
        let still = world.items.indices.first {
            ![world.risingSubject, world.fallingSubject].contains(world.items[$0].primarySubject)
        }!
        let end = Double(world.settings.seconds)
        #expect(abs(logit(home, still, at: 0) - logit(home, still, at: end) - 0.4) < 1e-12)
        #expect(logit(home, still, at: end) == logit(home, still, at: 2 * end))
        let rising = world.items.indices.first {
            world.items[$0].primarySubject == world.risingSubject
        }!
        let cards = 4
        #expect(abs(logit(cards, rising, at: end) - logit(cards, rising, at: 0) - 0.6) < 1e-12)
        #expect(logit(cards, still, at: 0) == logit(cards, still, at: end))
    }

    @Test func `the words of an item tell its quality`() {
        // The mean quality of items by the adjective that opens the title must follow its effect.
        var sums: [String: (Double, Double)] = [:]
        for (item, text) in zip(world.items, world.texts) {
            let word = text.title.split(separator: " ")[0].lowercased()
            let (sum, count) = sums[word] ?? (0, 0)
            sums[word] = (sum + item.quality, count + 1)
        }
        #expect(sums.count == Adjective.all.count)
        let best = sums["award-winning"]!
        let worst = sums["flimsy"]!
        #expect(best.0 / best.1 - worst.0 / worst.1 > 0.5)
        for (item, text) in zip(world.items, world.texts) {
            #expect(text.tags[0] == Subject.all[item.primarySubject].name)
        }
    }

    @Test func `a user is the same whenever asked for`() {
        #expect(world.user(77).bias == world.user(77).bias)
        #expect(world.user(77).bias != world.user(78).bias)
        #expect(world.user(77).firstInterest != world.user(77).secondInterest)
    }

    @Test func `grades tell tags from subjects and subjects from nothing`() {
        let query = world.queries[0][0]
        let grades = world.items.map { world.grade(query, $0) }
        #expect(Set(grades) == [0, 0.35, 0.7, 1])
        for (item, grade) in zip(world.items, grades) where grade == 1 {
            #expect(item.primarySubject == query.subject && item.tagWords & query.words != 0)
        }
    }

    @Test func `propensities of a feed are equal and those of a search sum up`() {
        var random = Random(seed: 1)
        var slate: [Int] = []
        var propensities: [Double] = []
        world.drawSlate(
            domain: 2, query: nil, at: 3_600, &random, into: &slate, propensities: &propensities)
        #expect(slate.count == 6 && Set(slate).count == 6)
        #expect(propensities == [Double](repeating: 1.0 / 6, count: 6))
        // Over many requests, an item of grade g is first with the chance that is logged for it.
        let query = world.queries[0][0]
        var expected = 0.0
        var observed = 0.0
        for _ in 0..<2_000 {
            world.drawSlate(
                domain: 0, query: query, at: 3_600, &random, into: &slate,
                propensities: &propensities)
            let weights = slate.map { Math.exp(1.5 * world.grade(query, world.items[$0])) }
            let best = weights.max()!
            expected += Math.sum(weights.filter { $0 == best }) / Math.sum(weights)
            observed += weights[0] == best ? 1 : 0
            #expect(abs(propensities[0] - weights[0] / Math.sum(weights)) < 1e-12)
            #expect(propensities.last == 1)
        }
        #expect(abs(expected - observed) < 4 * 500.0.squareRoot())
    }

    @Test func `pools draw only what is published, by exposure`() {
        var random = Random(seed: 2)
        let pool = world.pools[2].all
        for seconds in [-80_000.0, 0, 3_600] {
            for _ in 0..<200 {
                if let i = pool.draw(at: seconds, &random) {
                    #expect(world.items[i].published <= seconds)
                }
            }
        }
        #expect(pool.draw(at: -86_401, &random) == nil)
        #expect(firstIndex(in: [1, 2, 2, 3], above: 2) == 3)
        #expect(firstIndex(in: [1, 2], above: 0) == 0)
        #expect(firstIndex(in: [1, 2], above: 2) == 2)
    }
}
