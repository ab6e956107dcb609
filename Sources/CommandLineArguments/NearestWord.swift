// The known word that somebody most likely meant.

/// The fewest single-character insertions, deletions, replacements and swaps of neighbours that turn
/// one word into the other (optimal string alignment), case ignored.
public func editDistance(_ a: String, _ b: String) -> Int {
    let a = Array(a.lowercased().unicodeScalars)
    let b = Array(b.lowercased().unicodeScalars)
    var twoBack = [Int](repeating: 0, count: b.count + 1)
    var previous = Array(0...b.count)
    for i in 0..<a.count {
        var current = [i + 1]
        for j in 0..<b.count {
            var best = min(
                previous[j + 1] + 1, current[j] + 1, previous[j] + (a[i] == b[j] ? 0 : 1))
            if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] {
                best = min(best, twoBack[j - 1] + 1)
            }
            current.append(best)
        }
        twoBack = previous
        previous = current
    }
    return previous[b.count]
}

/// The nearest of `known` to `word`, the earlier one of equals; nil when none is near: more than a
/// third of the longer one would have to change, and neither is the beginning of the other.
public func nearestWord(to word: String, in known: [String]) -> String? {
    var nearest: (word: String, distance: Int)?
    for candidate in known {
        let distance = editDistance(word, candidate)
        let isBeginning = word.count >= 2 && candidate.hasPrefix(word)
        guard isBeginning || 3 * distance <= max(3, max(word.count, candidate.count)) else {
            continue
        }
        let rank = isBeginning ? 1 : distance
        if nearest.map({ rank < $0.distance }) ?? true { nearest = (candidate, rank) }
    }
    return nearest?.word
}
