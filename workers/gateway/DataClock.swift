// How far a clock that follows the data goes with a line: one fast clock must not move everybody's time.

/// Moves the clock of a log that has none of its own.
///
/// A line that is more than `leap` ahead of the clock moves it only if most of the next lines are ahead,
/// too. Otherwise a clock was fast that wrote this line: the line is appended, but time stays.
struct DataClock {
    /// Milliseconds; a gap of less is nothing that needs a look at the lines behind it.
    var leap: Int64 = 60_000
    /// How many lines behind a leap are asked, where the input still has so many.
    var linesAsked = 10

    /// Where the clock stands with a line of `time`.
    ///
    /// - Parameters:
    ///   - now: where it stood before; nil before the first line, for which the middle one of the first
    ///     lines stands in.
    ///   - ahead: the time of the line so many lines further on: nil behind the end of the input,
    ///     `.some(nil)` for a line that cannot be used.
    func moved(to time: Int64, from now: Int64?, ahead: (Int) throws -> Int64??) rethrows -> Int64 {
        if let now, time <= now + leap { return max(now, time) }
        var others: [Int64] = []
        for i in 1...linesAsked {
            guard let line = try ahead(i) else { break }
            if let other = line { others.append(other) }
        }
        if let now {
            let behind = others.count { $0 <= now + leap }
            return 2 * behind > others.count ? now : time
        }
        others.append(time)
        others.sort()
        let middle = others[(others.count - 1) / 2]
        return time <= middle + leap ? time : middle
    }
}
