// The truth: items, queries and users with fixed traits, and the probability that a click follows.

import DeterministicMath

/// An item's traits. The texts stand in `ItemText`.
struct Item {
    let shelf: Shelf
    /// Seconds from the beginning; below 0 for what was there before.
    let published: Double
    /// When it leaves the shelves; infinite for most.
    let withdrawn: Double
    let primarySubject: Int
    let secondarySubject: Int
    /// The words of the primary subject that are among its tags, one bit each.
    let tagWords: UInt16
    /// Of a product, else nil.
    let brand: Int?
    let price: Double
    /// What its texts, its brand and itself add to the logit, wherever it is shown.
    let quality: Double
    /// How often feeds show it, relative to others; independent of its quality.
    let exposure: Double

    func isShown(at seconds: Double) -> Bool { published <= seconds && seconds < withdrawn }
}

/// A query of one search domain.
struct Query {
    let text: String
    let subject: Int
    /// The words of the subject that stand in it, one bit each.
    let words: UInt16
    /// Seconds from the beginning before which nobody asks it.
    let firstSeen: Double
}

/// A user's traits; they follow from the number and need no memory.
struct User {
    let number: Int
    /// The user's own part of the logit, in every domain.
    let bias: Double
    let firstInterest: Int
    let secondInterest: Int
    let device: Int
    let city: Int
    /// Two domains where the user is four times as often as elsewhere.
    let favourites: SIMD2<Int>
}

/// One request's circumstances.
struct Visit {
    let user: User
    let network: Int
    let entry: Int
}

/// An item in answer to a query, from 0 (unrelated) to 1.
typealias Grade = Double

struct World {
    let settings: SimulationSettings
    let items: [Item]
    let texts: [ItemText]
    /// The queries of each domain; none of a recommendation domain.
    let queries: [[Query]]
    /// What each domain can show: everything, and by subject.
    let pools: [DomainPools]
    /// The logit at which a domain has the click rate of its plan.
    private(set) var base: [Double]

    private let queryWeights: [Double]
    private let itemInDomain: [Double]
    private let subjectInDomain: [Double]
    private let deviceInDomain: [Double]
    private let cityEffects: [Double]
    /// The subject whose logit rises over the run, and the one that falls.
    let risingSubject: Int
    let fallingSubject: Int

    static let subjectDrift = 0.6
    static let networkEffects = [0.08, -0.12]
    static let entryEffects = [0.05, 0, -0.2]

    /// Numbers of the random streams that share the seed.
    enum Stream {
        static let items: UInt64 = 1, effects: UInt64 = 2, queries: UInt64 = 3, traffic: UInt64 = 4
        static let faults: UInt64 = 5, truth: UInt64 = 6, calibration: UInt64 = 1_000,
            users: UInt64 = 1 << 32
    }

    var domains: [DomainPlan] { settings.domains }

    init(_ settings: SimulationSettings) {
        precondition(!settings.domains.isEmpty, "a simulation without domains")
        precondition(settings.items > 0 && settings.users > 0 && settings.queries > 0)
        self.settings = settings
        let D = settings.domains.count
        let T = Subject.all.count
        var effects = Random(seed: settings.seed, stream: Stream.effects)
        func normals(_ count: Int, _ deviation: Double) -> [Double] {
            (0..<count).map { _ in deviation * effects.normal() }
        }
        let subjectAppeal = normals(T, 0.25)
        let brandAppeal = normals(Words.brands.count, 0.15)
        subjectInDomain = normals(T * D, 0.2)
        deviceInDomain = normals(Words.devices.count * D, 0.15)
        cityEffects = normals(Words.cities.count, 0.08)
        itemInDomain = normals(settings.items * D, 0.2)
        risingSubject = effects.below(T)
        fallingSubject = (risingSubject + 1 + effects.below(T - 1)) % T

        (items, texts) = makeItems(settings, subjectAppeal: subjectAppeal, brandAppeal: brandAppeal)
        let items = items
        pools = settings.domains.map { DomainPools($0, items) }
        queries = makeQueries(settings)
        var total = 0.0
        queryWeights = (0..<settings.queries).map { rank in
            total += 1 / (Double(rank) + 3)
            return total
        }
        base = [Double](repeating: 0, count: D)
        for d in 0..<D { base[d] = calibratedBase(d) }
    }

    func user(_ number: Int) -> User {
        var random = Random(seed: settings.seed, stream: Stream.users + UInt64(number))
        let bias = 0.4 * random.normal()
        let T = Subject.all.count
        let first = random.below(T)
        let second = (first + 1 + random.below(T - 1)) % T
        let u = random.uniform()
        let device = u < 0.6 ? 0 : u < 0.9 ? 1 : 2
        return User(
            number: number, bias: bias, firstInterest: first, secondInterest: second,
            device: device, city: random.below(Words.cities.count),
            favourites: [random.below(domains.count), random.below(domains.count)])
    }

    /// The logit of the probability that a shown item is clicked: the sum of the documented terms.
    ///
    /// - Parameters:
    ///   - grade: how well it answers the query; nil in a recommendation domain.
    ///   - position: 1-based.
    ///   - seconds: from the beginning of the simulation.
    func clickLogit(
        domain d: Int, item i: Int, visit: Visit, grade: Grade?, position: Int, at seconds: Double
    ) -> Double {
        let item = items[i]
        let user = visit.user
        let itself =
            item.quality + itemInDomain[i * domains.count + d]
            + subjectInDomain[item.primarySubject * domains.count + d]
        let person = user.bias + interest(of: user, in: item)
        let circumstances =
            deviceInDomain[user.device * domains.count + d] + cityEffects[user.city]
            + Self.networkEffects[visit.network] + Self.entryEffects[visit.entry]
        let match = grade.map { 2 * $0 - 1 } ?? 0
        let place = domains[d].positionBias * Math.log(Double(position))
        return base[d] + itself + person + circumstances + match - place
            + drift(domain: d, item: item, at: seconds)
    }

    func clickProbability(
        domain d: Int, item i: Int, visit: Visit, grade: Grade?, position: Int, at seconds: Double
    ) -> Double {
        Math.sigmoid(
            clickLogit(
                domain: d, item: i, visit: visit, grade: grade, position: position, at: seconds))
    }

    private func interest(of user: User, in item: Item) -> Double {
        let interests = [user.firstInterest, user.secondInterest]
        return (interests.contains(item.primarySubject) ? 0.7 : 0)
            + (interests.contains(item.secondarySubject) ? 0.3 : 0)
    }

    /// What moves over the run: the domain and two of the subjects.
    ///
    /// Linear over the run, 0 in its middle, and constant after its end.
    func drift(domain d: Int, item: Item, at seconds: Double) -> Double {
        let progress = min(1, seconds / Double(settings.seconds))
        let subject =
            item.primarySubject == risingSubject
            ? Self.subjectDrift : item.primarySubject == fallingSubject ? -Self.subjectDrift : 0
        return settings.drift * (domains[d].drift + subject) * (progress - 0.5)
    }

    /// The chance that a click on the item is followed by a conversion.
    func conversionProbability(domain d: Int, item i: Int) -> Double {
        let rate = domains[d].conversionRate
        return rate > 0 ? Math.sigmoid(Math.logit(rate) + 0.5 * items[i].quality) : 0
    }

    func grade(_ query: Query, _ item: Item) -> Grade {
        if item.primarySubject == query.subject {
            return item.tagWords & query.words != 0 ? 1 : 0.7
        }
        return item.secondarySubject == query.subject ? 0.35 : 0
    }

    /// A user by activity, of those who are there yet: a quarter of them makes half of the visits.
    func drawUser(at seconds: Double, _ random: inout Random) -> User {
        let progress = min(1, seconds / Double(settings.seconds))
        let there = Double(settings.users) * (0.6 + 0.4 * progress)
        let u = random.uniform()
        return user(min(settings.users - 1, Int((0.1 * u + 0.9 * u * u) * there)))
    }

    func drawVisit(_ user: User, _ random: inout Random) -> Visit {
        let network = random.chance(0.65) ? 0 : 1
        let u = random.uniform()
        return Visit(user: user, network: network, entry: u < 0.6 ? 0 : u < 0.85 ? 1 : 2)
    }

    /// One of the domains that are open, by traffic and the user's habits; nil before any is.
    func drawDomain(_ user: User, at seconds: Double, _ random: inout Random) -> Int? {
        let progress = seconds / Double(settings.seconds)
        func weight(_ d: Int) -> Double {
            guard progress >= domains[d].opens else { return 0 }
            return domains[d].share * (user.favourites[0] == d || user.favourites[1] == d ? 4 : 1)
        }
        var total = 0.0
        for d in domains.indices { total += weight(d) }
        guard total > 0 else { return nil }
        var u = random.uniform() * total
        for d in domains.indices {
            let w = weight(d)
            if w > 0, u < w { return d }
            u -= w
        }
        return domains.indices.last { weight($0) > 0 }
    }

    /// A query that is known by then; in two of three tries one of the user's own interests.
    func drawQuery(domain d: Int, _ user: User, at seconds: Double, _ random: inout Random) -> Int {
        let queries = queries[d]
        var chosen = 0
        for tries in 0..<40 {
            let u = random.uniform() * queryWeights.last!
            let q = min(queries.count - 1, firstIndex(in: queryWeights, above: u))
            guard queries[q].firstSeen <= seconds else { continue }
            chosen = q
            let subject = queries[q].subject
            let isOwn = subject == user.firstInterest || subject == user.secondInterest
            if isOwn || tries >= 2 { break }
        }
        return chosen
    }

    /// Fills `slate` with the items that answer a request, in the order in which they are shown, and
    /// `propensities` with the chance of each, given those above it.
    ///
    /// A search draws most of its candidates from the query's subject and ranks them by chance, the
    /// better ones likelier first; a feed draws by exposure, new items more often, and shuffles.
    func drawSlate(
        domain d: Int, query: Query?, at seconds: Double, _ random: inout Random,
        into slate: inout [Int], propensities: inout [Double]
    ) {
        slate.removeAll(keepingCapacity: true)
        propensities.removeAll(keepingCapacity: true)
        let wanted = domains[d].slate
        for _ in 0..<(20 * wanted) where slate.count < wanted {
            let u = random.uniform()
            let pool =
                query.map { query in
                    u < 0.7
                        ? pools[d].byPrimarySubject[query.subject]
                        : u < 0.9 ? pools[d].bySecondarySubject[query.subject] : pools[d].all
                } ?? pools[d].all
            guard let i = pool.draw(at: seconds, &random), items[i].isShown(at: seconds),
                !slate.contains(i)
            else { continue }
            slate.append(i)
        }
        guard let query else {
            random.shuffle(&slate)
            propensities = slate.map { _ in 1 / Double(slate.count) }
            return
        }
        var weights = slate.map { Math.exp(1.5 * grade(query, items[$0])) }
        var left = Math.sum(weights)
        for position in slate.indices {
            var u = random.uniform() * left
            var next = position
            while next < slate.count - 1, u >= weights[next] {
                u -= weights[next]
                next += 1
            }
            slate.swapAt(position, next)
            weights.swapAt(position, next)
            propensities.append(position == slate.count - 1 ? 1 : weights[position] / left)
            left -= weights[position]
        }
    }

    /// The base logit at which a sample of the domain's requests is clicked at the plan's rate.
    private func calibratedBase(_ d: Int) -> Double {
        var random = Random(seed: settings.seed, stream: Stream.calibration + UInt64(d))
        var slate: [Int] = []
        var propensities: [Double] = []
        var logits: [Double] = []
        let duration = Double(settings.seconds)
        for _ in 0..<(settings.impressions < 10_000 ? 150 : 1_500) {
            let seconds = duration * random.uniform(in: domains[d].opens..<1)
            let visit = drawVisit(drawUser(at: seconds, &random), &random)
            let query =
                domains[d].surface == .search
                ? queries[d][drawQuery(domain: d, visit.user, at: seconds, &random)] : nil
            drawSlate(
                domain: d, query: query, at: seconds, &random, into: &slate,
                propensities: &propensities)
            for (place, i) in slate.enumerated() {
                logits.append(
                    clickLogit(
                        domain: d, item: i, visit: visit, grade: query.map { grade($0, items[i]) },
                        position: place + 1, at: seconds))
            }
        }
        guard !logits.isEmpty else { return Math.logit(domains[d].clickRate) }
        var low = -12.0
        var high = 12.0
        for _ in 0..<24 {
            let middle = (low + high) / 2
            let mean = Math.sum(logits.map { Math.sigmoid($0 + middle) }) / Double(logits.count)
            if mean < domains[d].clickRate { low = middle } else { high = middle }
        }
        return (low + high) / 2
    }
}

/// What a domain can show.
struct DomainPools {
    let all: Pool
    let byPrimarySubject: [Pool]
    let bySecondarySubject: [Pool]

    init(_ plan: DomainPlan, _ items: [Item]) {
        let eligible = items.indices.filter { plan.shelves.contains(items[$0].shelf) }
        all = Pool(eligible, items)
        guard plan.surface == .search else {
            byPrimarySubject = []
            bySecondarySubject = []
            return
        }
        byPrimarySubject = Subject.all.indices.map { subject in
            Pool(eligible.filter { items[$0].primarySubject == subject }, items)
        }
        bySecondarySubject = Subject.all.indices.map { subject in
            Pool(eligible.filter { items[$0].secondarySubject == subject }, items)
        }
    }
}

/// Items in the order in which they were published, to draw from those that are there.
struct Pool {
    let items: [Int]
    private let published: [Double]
    private let exposureUpTo: [Double]

    /// The newest items of a pool, which are drawn in every seventh draw or so.
    static let newest = 12
    static let newestShare = 0.15

    init(_ members: [Int], _ all: [Item]) {
        items = members.sorted { (all[$0].published, $0) < (all[$1].published, $1) }
        published = items.map { all[$0].published }
        var total = 0.0
        exposureUpTo = items.map {
            total += all[$0].exposure
            return total
        }
    }

    func draw(at seconds: Double, _ random: inout Random) -> Int? {
        let count = firstIndex(in: published, above: seconds)
        guard count > 0 else { return nil }
        if random.chance(Self.newestShare) {
            return items[count - 1 - random.below(min(Self.newest, count))]
        }
        let u = random.uniform() * exposureUpTo[count - 1]
        return items[min(count - 1, firstIndex(in: exposureUpTo, above: u))]
    }
}

/// The first place in ascending `values` that holds more than `limit`; their count if none does.
func firstIndex(in values: [Double], above limit: Double) -> Int {
    var low = 0
    var high = values.count
    while low < high {
        let middle = (low + high) / 2
        if values[middle] > limit { high = middle } else { low = middle + 1 }
    }
    return low
}
