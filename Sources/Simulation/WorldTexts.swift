// What items and queries say. The words carry the truth: subject, tags, brand and the adjectives that
// tell good from bad all stand in the texts.

import DeterministicMath

/// An item's texts, for its catalog record.
struct ItemText {
    let title: String
    let description: String
    let tags: [String]
}

/// Makes the catalog's items, about half of them published before the beginning.
func makeItems(
    _ settings: SimulationSettings, subjectAppeal: [Double], brandAppeal: [Double]
) -> ([Item], [ItemText]) {
    var random = Random(seed: settings.seed, stream: World.Stream.items)
    let served = Set(settings.domains.flatMap(\.shelves))
    let shelves = Shelf.allCases.filter { served.contains($0) }
    var ranks = Array(0..<settings.items)
    random.shuffle(&ranks)
    var items: [Item] = []
    var texts: [ItemText] = []
    for i in 0..<settings.items {
        let shelf = shelves[i % shelves.count]
        let published =
            random.chance(0.55)
            ? -86_400 * random.uniform() : Double(settings.seconds) * random.uniform()
        let withdrawn =
            random.chance(0.02)
            ? max(0, published) + Double(settings.seconds) * random.uniform() : .infinity
        let primary = random.below(Subject.all.count)
        let secondary = (primary + 1 + random.below(Subject.all.count - 1)) % Subject.all.count
        var words = Array(0..<Subject.wordCount)
        random.shuffle(&words)
        var otherWords = Array(0..<Subject.wordCount)
        random.shuffle(&otherWords)
        let first = Adjective.all[random.below(Adjective.all.count)]
        let second = Adjective.all[random.below(Adjective.all.count)]
        let brand = shelf == .product ? random.below(Words.brands.count) : nil
        let noun = shelf.nouns[random.below(shelf.nouns.count)]
        let own = 0.35 * random.normal()
        let rank = Double(ranks[i]) * 3_000 / Double(settings.items)
        items.append(
            Item(
                shelf: shelf, published: published, withdrawn: withdrawn, primarySubject: primary,
                secondarySubject: secondary,
                tagWords: words.prefix(4).reduce(0) { $0 | 1 << UInt16($1) }, brand: brand,
                price: Double(5 + random.below(95)) - 0.01,
                quality: 0.7 * first.effect + 0.3 * second.effect + subjectAppeal[primary]
                    + (brand.map { brandAppeal[$0] } ?? 0) + own,
                exposure: Math.exp(-0.9 * Math.log(rank + 15))))
        let subject = Subject.all[primary]
        let other = Subject.all[secondary]
        let w = words.map { subject.words[$0] }
        let o = otherWords.map { other.words[$0] }
        let maker = brand.map { " by \(Words.brands[$0])" } ?? ""
        texts.append(
            ItemText(
                title: "\(first.word.capitalizedFirst) \(w[0]) \(w[1]) \(noun)\(maker)",
                description:
                    "A \(second.word) \(noun) about \(subject.name): \(w[2]), \(w[3]) and \(w[4]). "
                    + "For everyone who likes \(other.name) too, with \(o[0]), \(o[1]) and a little \(w[5]).",
                tags: [subject.name, w[0], w[1], w[2], w[3], o[0]]))
    }
    return (items, texts)
}

/// Makes the queries of every search domain; three in ten are first asked in the course of the run.
func makeQueries(_ settings: SimulationSettings) -> [[Query]] {
    settings.domains.indices.map { d in
        guard settings.domains[d].surface == .search else { return [] }
        var random = Random(seed: settings.seed, stream: World.Stream.queries + UInt64(d) << 16)
        var known: Set<String> = []
        var queries: [Query] = []
        while queries.count < settings.queries {
            let t = random.below(Subject.all.count)
            let subject = Subject.all[t]
            let a = random.below(Subject.wordCount)
            let b = (a + 1 + random.below(Subject.wordCount - 1)) % Subject.wordCount
            let isLate = !queries.isEmpty && random.chance(0.3)
            let firstSeen = isLate ? Double(settings.seconds) * random.uniform() : 0
            let form = random.uniform()
            let adjective = Adjective.all[random.below(Adjective.all.count)].word
            var text = subject.words[a]
            if form > 0.35 { text += " \(subject.words[b])" }
            if form > 0.8 { text = "\(adjective) \(text)" }
            if settings.domains[d].shelves.contains(.article), form < 0.7 {
                text = "how to \(text)"
            }
            let words: UInt16 = 1 << UInt16(a) | (form > 0.35 ? 1 << UInt16(b) : 0)
            guard known.insert(text).inserted else { continue }
            queries.append(Query(text: text, subject: t, words: words, firstSeen: firstSeen))
        }
        return queries
    }
}

extension String {
    fileprivate var capitalizedFirst: String { prefix(1).uppercased() + dropFirst() }
}
