// One wrong clock must not close every window, one gap must not end the input.

import Contracts

/// Tells a wrong clock from a gap by what the lines around say.
///
/// A line that jumps is believed when `linesThatAgree` lines in a row agree with it: each is behind the
/// jump, not more than `jump` before the line, nor more than `jump` ahead of the newest that agrees. A
/// line of the old time, or one far before the jumping line, contradicts it. A line still further ahead is
/// a gap of its own or another wrong clock: it says nothing. Where the input ends before so many lines,
/// two that agree are enough if none contradicts.
struct JumpRule {
    let jump: Int64
    let linesThatAgree: Int
    /// How many lines are looked at, usable or not.
    var linesAhead: Int { linesThatAgree * 10 }

    /// Lines that were held back one behind the other, agree, and have been contradicted by none.
    struct HeldBack: Equatable {
        var lines: Int64 = 0
        var newestTime: Int64 = 0
    }

    /// Whether a line of `time` may move the newest time there.
    ///
    /// - Parameters:
    ///   - newest: the newest accepted time; nil before the first line. Then the middle one of the
    ///     first lines stands for it, so that a wrong clock in the first line is found out too.
    ///   - heldBack: the lines just before this one.
    ///   - ahead: the time of the line so many lines further on: nil behind the end of the input,
    ///     `.some(nil)` for a line that cannot be used.
    func accepts(
        _ time: Int64, newest: Int64?, heldBack: HeldBack = HeldBack(),
        ahead: (Int) throws -> Int64??
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
        if agrees(time, with: heldBack) { agreeing += Int(heldBack.lines) }
        var newestAgreeing = time
        var i = 1
        while agreeing < linesThatAgree, i < linesAhead, let line = try ahead(i) {
            i += 1
            guard let other = line else { continue }
            guard other > limit, other >= time - jump else { return false }
            guard other <= newestAgreeing + jump else { continue }
            agreeing += 1
            newestAgreeing = max(newestAgreeing, other)
        }
        return agreeing > 1
    }

    /// What is held back with a line of `time`, too.
    func holdingBack(_ time: Int64, after heldBack: HeldBack) -> HeldBack {
        guard agrees(time, with: heldBack) else { return HeldBack(lines: 1, newestTime: time) }
        return HeldBack(lines: heldBack.lines + 1, newestTime: max(heldBack.newestTime, time))
    }

    private func agrees(_ time: Int64, with heldBack: HeldBack) -> Bool {
        heldBack.lines > 0 && abs(time - heldBack.newestTime) <= jump
    }
}
