// One wrong clock must not close every window, one gap must not end the input.

import Contracts

/// Tells a wrong clock from a gap by what the following lines say.
struct JumpRule {
    let jump: Int64
    let linesThatAgree: Int
    /// How many lines are looked at, usable or not.
    var linesAhead: Int { linesThatAgree * 10 }

    /// Whether a line of `time` may move the newest time there.
    ///
    /// - Parameters:
    ///   - newest: the newest accepted time; nil before the first line. Then the middle one of the
    ///     first lines stands for it, so that a wrong clock in the first line is found out too.
    ///   - ahead: the time of the line so many lines further on: nil behind the end of the input,
    ///     `.some(nil)` for a line that cannot be used.
    func accepts(
        _ time: Int64, newest: Int64?, ahead: (Int) throws -> Int64??
    ) rethrows -> Bool {
        let limit: Int64
        if let newest {
            limit = newest + jump
        } else {
            var times = [time]
            for i in 1..<linesThatAgree {
                guard let line = try ahead(i) else { break }
                if let time = line { times.append(time) }
            }
            times.sort()
            limit = times[(times.count - 1) / 2] + jump
        }
        if time <= limit { return true }
        var agreeing = 1
        var i = 1
        while agreeing < linesThatAgree, i < linesAhead, let line = try ahead(i) {
            i += 1
            guard let other = line else { continue }
            guard other > limit, abs(other - time) <= jump else { return false }
            agreeing += 1
        }
        return agreeing == linesThatAgree
    }
}
