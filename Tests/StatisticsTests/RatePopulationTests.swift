// The prior of a population is found from labels alone.

import DeterministicMath
import Statistics
import Testing

@Suite struct RatePopulationTests {
    /// Items with rates from Beta(mean, strength), exposed as `exposure` says.
    static func population(
        items: Int, mean: Double, strength: Double, seed: UInt64,
        exposure: (Int, inout Random) -> Int
    ) -> RatePopulation {
        var random = Random(seed: seed)
        var population = RatePopulation()
        for i in 0..<items {
            let rate = random.beta(mean * strength, (1 - mean) * strength)
            var counts = Counts()
            for _ in 0..<exposure(i, &random) {
                let clicked = random.chance(rate)
                population.add(clicked: clicked, before: counts)
                counts.add(clicked: clicked)
            }
        }
        return population
    }

    static let cases: [(mean: Double, strength: Double)] = [
        (0.2, 6), (0.05, 20), (0.5, 3), (0.02, 60),
    ]

    @Test(arguments: cases)
    func `2,000 items of 50 impressions give the mean within 5 % and the strength within 20 %`(
        mean: Double, strength: Double
    ) {
        for seed in 1...3 as ClosedRange<UInt64> {
            let learned = Self.population(
                items: 2_000, mean: mean, strength: strength, seed: seed, exposure: { _, _ in 50 }
            ).learnedPrior()
            #expect(abs(learned.prior.mean / mean - 1) < 0.05, "seed \(seed): \(learned)")
            #expect(abs(learned.prior.strength / strength - 1) < 0.2, "seed \(seed): \(learned)")
        }
    }

    @Test(arguments: cases)
    func
        `exposure from 1 to 3,000 impressions, one item in fifty as much as all others, misleads it as little`(
            mean: Double, strength: Double
        )
    {
        for seed in 1...3 as ClosedRange<UInt64> {
            let learned = Self.population(
                items: 2_000, mean: mean, strength: strength, seed: seed,
                exposure: { i, random in
                    i % 50 == 0 ? 3_000 : 1 + Int(Math.exp(4 * random.uniform()))
                }
            ).learnedPrior()
            #expect(abs(learned.prior.mean / mean - 1) < 0.08, "seed \(seed): \(learned)")
            #expect(abs(learned.prior.strength / strength - 1) < 0.3, "seed \(seed): \(learned)")
        }
    }

    @Test func `a recommender that shows what was clicked does not bias the prior`() {
        var random = Random(seed: 4)
        var population = RatePopulation()
        let items = 3_000
        for _ in 0..<items {
            let rate = random.beta(0.1 * 10, 0.9 * 10)
            var counts = Counts()
            while counts.impressions < 10
                || (counts.impressions < 300
                    && random.chance(
                        0.8 + 0.19 * Double(counts.clicks) / Double(counts.impressions)))
            {
                let clicked = random.chance(rate)
                population.add(clicked: clicked, before: counts)
                counts.add(clicked: clicked)
            }
        }
        let learned = population.learnedPrior()
        let pooled = Double(population.counts.clicks) / Double(population.counts.impressions)
        #expect(abs(learned.prior.mean - 0.1) < 0.005, "\(learned), seed 4")
        #expect(abs(learned.prior.strength - 10) < 2, "\(learned), seed 4")
        #expect(pooled > 0.103, "clicks over impressions is too high: \(pooled), seed 4")
    }

    @Test
    func `without items the prior is the parent, with few it stays near and says how sure it is`() {
        let parent = BetaPrior(mean: 0.13, strength: 9)
        let none = RatePopulation().learnedPrior(parent: parent)
        #expect(abs(none.prior.mean - 0.13) < 1e-9 && abs(none.prior.strength - 9) < 1e-6)

        for seed in 1...30 as ClosedRange<UInt64> {
            let few = Self.population(
                items: 3, mean: 0.13, strength: 9, seed: seed, exposure: { _, _ in 40 }
            ).learnedPrior(parent: parent)
            #expect(few.prior.strength > 1.5 && few.prior.strength < 60, "seed \(seed): \(few)")
            #expect(few.prior.mean > 0.02 && few.prior.mean < 0.45, "seed \(seed): \(few)")
            #expect(few.logitMeanVariance < none.logitMeanVariance)
        }
    }

    @Test func `items that are all alike get a strong prior, within its limit`() {
        var population = RatePopulation()
        for _ in 0..<500 {
            population.add(from: Counts(), to: Counts(impressions: 1_000, clicks: 100))
        }
        let learned = population.learnedPrior()
        #expect(abs(learned.prior.mean - 0.1) < 0.001)
        #expect(learned.prior.strength > 1_000 && learned.prior.strength <= 10_001)
    }

    @Test func `the estimate is where the likelihood is highest`() {
        // An independent evaluation of the penalised log likelihood, item by item.
        var random = Random(seed: 8)
        let items = (0..<60).map { _ -> Counts in
            let n = 1 + random.below(30)
            let rate = random.beta(1.5, 6)
            return Counts(impressions: UInt64(n), clicks: UInt64(random.binomial(n, rate)))
        }
        var population = RatePopulation()
        for item in items { population.add(from: Counts(), to: item) }
        func objective(_ mean: Double, _ strength: Double) -> Double {
            let (a, b) = (mean * strength, (1 - mean) * strength)
            var value = 0.0
            for item in items {
                let (n, c) = (Double(item.impressions), Double(item.clicks))
                value +=
                    Math.lgamma(a + c) - Math.lgamma(a) + Math.lgamma(b + n - c) - Math.lgamma(b)
                value -= Math.lgamma(a + b + n) - Math.lgamma(a + b)
            }
            let distance = Math.log(strength / 6)
            value += 5 * (0.2 * Math.log(mean) + 0.8 * Math.log(1 - mean)) - distance * distance / 2
            return value
        }
        let learned = population.learnedPrior()
        let best = objective(learned.prior.mean, learned.prior.strength)
        for (dm, ds) in [
            (0.01, 0.0), (-0.01, 0), (0, 0.05), (0, -0.05), (0.01, 0.05), (-0.01, -0.05),
        ] {
            let other = objective(learned.prior.mean * (1 + dm), learned.prior.strength * (1 + ds))
            #expect(other < best, "mean \(dm), strength \(ds)")
        }
    }

    @Test func `populations of different items merge exactly`() {
        var random = Random(seed: 3)
        let items = (0..<300).map { _ in
            let n = 1 + random.below(500)
            return Counts(impressions: UInt64(n), clicks: UInt64(random.binomial(n, 0.2)))
        }
        checkLaw(
            RatePopulation.self, size: 4_416, inputs: items, cut: 120,
            feed: { $0.add(from: Counts(), to: $1) })
    }

    @Test func `label by label, in one step, and with corrections are the same bytes`() {
        var random = Random(seed: 5)
        var stepwise = RatePopulation()
        var atOnce = RatePopulation()
        var corrected = RatePopulation()
        for _ in 0..<50 {
            var counts = Counts()
            var withLate = Counts()
            var late = 0
            for _ in 0..<random.below(400) {
                let clicked = random.chance(0.3)
                stepwise.add(clicked: clicked, before: counts)
                counts.add(clicked: clicked)
                let isLate = clicked && random.chance(0.5)
                if isLate { late += 1 }
                corrected.add(clicked: clicked && !isLate, before: withLate)
                withLate.add(clicked: clicked && !isLate)
            }
            for _ in 0..<late {
                corrected.correct(before: withLate)
                withLate.correct()
            }
            atOnce.add(from: Counts(), to: counts)
        }
        #expect(bytes(of: stepwise) == bytes(of: atOnce))
        #expect(bytes(of: stepwise) == bytes(of: corrected))
        atOnce.add(
            from: Counts(impressions: 50_000_000, clicks: 7),
            to: Counts(impressions: 49_000_000, clicks: 7))
        atOnce.add(
            from: Counts(impressions: 49_000_000, clicks: 7),
            to: Counts(impressions: 50_000_000, clicks: 7))
        #expect(bytes(of: stepwise) == bytes(of: atOnce))
    }

    @Test func `a young domain leans on the global prior and leaves it as its own items come`() {
        // Global: many domains whose items are clicked one time in ten. The young one: three in ten.
        let global = Self.population(
            items: 2_000, mean: 0.1, strength: 8, seed: 6, exposure: { _, _ in 30 }
        ).learnedPrior()
        var last = global.prior.mean
        for items in [0, 1, 5, 30, 300] {
            let young = Self.population(
                items: items, mean: 0.3, strength: 8, seed: 7, exposure: { _, _ in 30 }
            ).learnedPrior(parent: global.prior)
            if items > 0 {
                #expect(young.prior.mean > last - 0.05, "\(items) items, seeds 6 and 7")
            }
            last = young.prior.mean
        }
        #expect(abs(last - 0.3) < 0.03, "seeds 6 and 7: \(last)")
    }

    @Test(arguments: [(0.1, 6.0), (0.05, 20.0), (0.25, 5.0)])
    func `with the learned prior, 90 % intervals hold 85 to 95 % of new items, shown or not`(
        mean: Double, strength: Double
    ) {
        var random = Random(seed: 13)
        for items in [50, 1_000] {
            let learned = (1...20 as ClosedRange<UInt64>).map {
                Self.population(
                    items: items, mean: mean, strength: strength, seed: $0,
                    exposure: { i, _ in 20 + i % 20 }
                ).learnedPrior()
            }
            for impressions in [0, 5, 50, 500] {
                var inside = 0
                for i in 0..<2_000 {
                    let rate = random.beta(strength * mean, strength * (1 - mean))
                    let (n, c) = (Double(impressions), Double(random.binomial(impressions, rate)))
                    let center = Math.logit(learned[i % 20].prior.rate(clicks: c, impressions: n))
                    let deviation = learned[i % 20].logitVariance(clicks: c, impressions: n)
                        .squareRoot()
                    if abs(Math.logit(max(rate, 1e-300)) - center) <= 1.645 * deviation {
                        inside += 1
                    }
                }
                let share = Double(inside) / 2_000
                #expect(
                    share >= 0.85 && share <= 0.95,
                    "\(items) items, \(impressions) impressions: \(share), seeds 13 and 1 to 20")
            }
        }
    }
}
