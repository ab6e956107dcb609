// Lets users visit the world and writes down what a logging pipeline would have seen of it.

import Bytes
import Contracts
import DeterministicMath

/// Makes a simulation's events one line at a time, in the order in which they arrive.
///
/// Memory grows with the world and with what is going to happen (a few thousand clicks and
/// conversions), not with the number of lines.
public struct TrafficGenerator: ~Copyable {
    public let settings: SimulationSettings
    /// What has been handed out so far.
    public private(set) var tally = TrafficTally()

    let world: World
    var truthItems: TruthItems

    private var traffic: Random
    private var faults: Random
    private var pending = PendingQueue<Pending>()
    private let freshVisits: Int
    private var freshVisitsMade = 0
    private var requestsMade = 0
    private var nextFreshVisit: Int64

    private var scratch = Scratch()
    private var bytes = ByteBuffer()
    private var slate: [Int] = []
    private var propensities: [Double] = []

    /// The chance that a request is followed by another one of the same user.
    private static let continuation = 0.55
    /// The chance that such a user goes to a domain chosen anew.
    private static let move = 0.5
    private static let lateness: Int64 = 2_000

    private enum Pending {
        case request(user: Int, domain: Int)
        case judgment(domain: Int, number: Int)
        case line(PendingLine)
    }

    public init(_ settings: SimulationSettings) {
        self.settings = settings
        world = World(settings)
        truthItems = TruthItems(settings)
        traffic = Random(seed: settings.seed, stream: World.Stream.traffic)
        faults = Random(seed: settings.seed, stream: World.Stream.faults)
        let plans = settings.domains
        let shares = Math.sum(plans.map { $0.share * (1 - $0.opens) })
        let slate = Math.sum(plans.map { $0.share * (1 - $0.opens) * Double($0.slate) }) / shares
        let requests = Double(settings.impressions) / slate
        freshVisits = max(1, Int(requests * (1 - Self.continuation)))
        nextFreshVisit = settings.startMilliseconds
        nextFreshVisit = timeOfFreshVisit(0)
        for d in plans.indices where plans[d].surface == .search {
            for number in 0..<settings.judgments {
                let time = Double(settings.seconds) * traffic.uniform(in: plans[d].opens..<1)
                pending.push(.judgment(domain: d, number: number), at: milliseconds(time))
            }
        }
    }

    /// Writes the next line of the log.
    ///
    /// - Parameters:
    ///   - line: overwritten with the line, without a newline.
    ///   - truth: lines of `truth.jsonl` are appended, each with a newline, for impressions that will be
    ///     logged.
    /// - Returns: false when there are no more; `line` is then empty.
    public mutating func next(line: inout ByteBuffer, truth: inout ByteBuffer) -> Bool {
        line.removeAll()
        while true {
            if freshVisitsMade < freshVisits, nextFreshVisit <= pending.nextTime ?? .max {
                visit(at: nextFreshVisit)
                continue
            }
            guard let (time, element) = pending.pop() else { return false }
            switch element {
            case .request(let user, let domain):
                request(world.user(user), domain: domain, at: time, &truth)
            case .judgment(let domain, let number): judge(domain: domain, number: number, at: time)
            case .line(let pending):
                if time > lastArrival { continue }
                tally.count(pending, at: time)
                pending.bytes.lend { line.append($0) }
                return true
            }
        }
    }

    /// The log is cut when every impression's attribution window has closed.
    private var lastArrival: Int64 {
        let longest = settings.domains.map(\.attributionWindowSeconds).max()!
        return settings.startMilliseconds + Int64(settings.seconds + longest) * 1_000
    }

    private func milliseconds(_ seconds: Double) -> Int64 {
        settings.startMilliseconds + Int64(seconds * 1_000)
    }

    private func seconds(_ milliseconds: Int64) -> Double {
        Double(milliseconds - settings.startMilliseconds) / 1_000
    }

    /// Somewhere within the visit's even share of the run.
    private mutating func timeOfFreshVisit(_ number: Int) -> Int64 {
        let share = Double(settings.seconds) / Double(freshVisits)
        return milliseconds((Double(number) + traffic.uniform()) * share)
    }

    private mutating func visit(at time: Int64) {
        let user = world.drawUser(at: seconds(time), &traffic)
        if let domain = world.drawDomain(user, at: seconds(time), &traffic) {
            pending.push(.request(user: user.number, domain: domain), at: time)
        }
        freshVisitsMade += 1
        if freshVisitsMade < freshVisits { nextFreshVisit = timeOfFreshVisit(freshVisitsMade) }
    }

    // A request: what is shown, what comes of it, and whether the user stays.

    private mutating func request(
        _ user: User, domain d: Int, at time: Int64, _ truth: inout ByteBuffer
    ) {
        let plan = settings.domains[d]
        let visit = world.drawVisit(user, &traffic)
        let q =
            plan.surface == .search
            ? world.drawQuery(domain: d, user, at: seconds(time), &traffic) : nil
        world.drawSlate(
            domain: d, query: q.map { world.queries[d][$0] }, at: seconds(time), &traffic,
            into: &slate, propensities: &propensities)
        let isAnonymous = plan.anonymousShare > 0 && traffic.chance(plan.anonymousShare)
        let request = ShownRequest(
            number: requestsMade, domain: d, query: q, visit: visit, isAnonymous: isAnonymous,
            time: time)
        requestsMade += 1
        if !slate.isEmpty { show(request, &truth) }
        if traffic.chance(Self.continuation) {
            let later = time + delay(medianSeconds: 10, spread: 0.8)
            var next: Int? = d
            if traffic.chance(Self.move) {
                next = world.drawDomain(user, at: seconds(later), &traffic)
            }
            if let next, seconds(later) < Double(settings.seconds) {
                pending.push(.request(user: user.number, domain: next), at: later)
            }
        }
    }

    private mutating func show(_ request: ShownRequest, _ truth: inout ByteBuffer) {
        let plan = settings.domains[request.domain]
        truthItems.count(request)
        var isLost = false
        if plan.logsSlates {
            scratch.removeAll()
            writeSlate(request)
            isLost = schedule(.impression, at: request.time, impressions: slate.count)
        }
        for place in slate.indices {
            // People read down the page: where each item is a line, each has its own time.
            let shown = request.time + (plan.logsSlates ? 0 : Int64(400 * place))
            let grade = request.query.map {
                world.grade(world.queries[request.domain][$0], world.items[slate[place]])
            }
            let logit = world.clickLogit(
                domain: request.domain, item: slate[place], visit: request.visit, grade: grade,
                position: place + 1, at: seconds(shown))
            let probability = Math.sigmoid(logit)
            if let q = request.query {
                truthItems.add(
                    domain: request.domain, query: q, item: slate[place],
                    probability: Math.sigmoid(
                        logit + driftToEnd(request.domain, slate[place], from: shown)))
            }
            if !plan.logsSlates {
                scratch.removeAll()
                writeImpression(request, place: place, at: shown)
                isLost = schedule(.impression, at: shown, impressions: 1)
            }
            if !isLost {
                scratch.removeAll()
                writeTruth(request, place: place, probability, to: &truth)
            }
            if traffic.chance(probability) {
                click(request, place: place, shown: shown, isLost: isLost)
            }
        }
    }

    private func driftToEnd(_ d: Int, _ i: Int, from time: Int64) -> Double {
        world.drift(domain: d, item: world.items[i], at: Double(settings.seconds))
            - world.drift(domain: d, item: world.items[i], at: seconds(time))
    }

    private mutating func click(_ request: ShownRequest, place: Int, shown: Int64, isLost: Bool) {
        let plan = settings.domains[request.domain]
        let wait = delay(
            medianSeconds: plan.clickDelayMedianSeconds, spread: DomainPlan.delaySpread)
        scratch.removeAll()
        writeConsequence(.click, request, place: place, at: shown + wait)
        schedule(
            .click, at: shown + wait, window: plan.window(for: wait), isOrphan: isLost)
        let chance = world.conversionProbability(domain: request.domain, item: slate[place])
        guard chance > 0, traffic.chance(chance) else { return }
        let later = shown + wait + delay(medianSeconds: 240, spread: 1)
        scratch.removeAll()
        writeConsequence(.conversion, request, place: place, at: later)
        schedule(.conversion, at: later, isOrphan: isLost)
    }

    /// A log-normal delay in whole milliseconds, at least one.
    private mutating func delay(medianSeconds: Double, spread: Double) -> Int64 {
        max(1, Int64(1_000 * medianSeconds * Math.exp(spread * traffic.normal())))
    }

    private mutating func judge(domain d: Int, number: Int, at time: Int64) {
        let user = world.drawUser(at: seconds(time), &traffic)
        let q = world.drawQuery(domain: d, user, at: seconds(time), &traffic)
        world.drawSlate(
            domain: d, query: world.queries[d][q], at: seconds(time), &traffic, into: &slate,
            propensities: &propensities)
        guard let i = slate.first else { return }
        scratch.removeAll()
        writeJudgment(domain: d, query: q, item: i, number: number, at: time)
        schedule(.judgment, at: time)
    }

    // From an event to its line, or what becomes of it on the way.

    /// Sends the line that lies in `bytes` on its way.
    ///
    /// - Returns: whether it is lost.
    @discardableResult
    private mutating func schedule(
        _ type: EventType, at time: Int64, impressions: Int = 0,
        window: TrafficTally.Window? = nil, isOrphan: Bool = false
    ) -> Bool {
        let plan = settings.faults
        if type == .impression, faults.chance(plan.lost) {
            tally.lost += impressions
            return true
        }
        var line = PendingLine(
            bytes: bytes.slice.copy(), type: type, impressions: impressions, window: window)
        line.isOrphan = isOrphan
        var arrival = time
        let u = faults.uniform()
        if u < plan.late {
            arrival += Self.lateness + Int64(1_000 * plan.lateSeconds * faults.uniform())
            line.isLate = true
        } else if u < plan.late + plan.reordered {
            arrival += Int64(Double(Self.lateness) * 0.95 * faults.uniform())
            line.isReordered = true
        }
        pending.push(.line(line), at: arrival)
        if faults.chance(plan.duplicates) {
            var copy = line
            copy.isDuplicate = true
            let wait = Int64(1_000 * plan.duplicateDelaySeconds * faults.uniform())
            pending.push(.line(copy), at: arrival + wait)
        }
        if faults.chance(plan.broken) {
            let kind = BrokenKind.allCases[faults.below(BrokenKind.allCases.count)]
            var broken = PendingLine(
                bytes: kind.break(line.bytes), type: type, impressions: 0, window: nil)
            broken.broken = kind
            pending.push(.line(broken), at: arrival)
        }
        return false
    }

    private mutating func writeSlate(_ request: ShownRequest) {
        var items: [SlateItem] = []
        for (place, i) in slate.enumerated() {
            items.append(
                SlateItem(
                    item_id: itemID(i), position: place + 1, propensity: propensities[place]))
        }
        var event = self.event(.impression, request, at: request.time)
        identify(&event, impressionID(request, place: nil), request)
        items.withUnsafeBufferPointer {
            event.items = BorrowedList($0)
            writeShown(&event, request)
        }
    }

    private mutating func writeImpression(_ request: ShownRequest, place: Int, at time: Int64) {
        var event = self.event(.impression, request, at: time)
        identify(&event, impressionID(request, place: place), request)
        event.item_id = itemID(slate[place])
        event.position = place + 1
        event.propensity = propensities[place]
        writeShown(&event, request)
    }

    private func identify(_ event: inout Event, _ identity: ByteSlice, _ request: ShownRequest) {
        if settings.domains[request.domain].saysImpressionID {
            event.impression_id = identity
        } else {
            event.id = identity
            event.isIDDerived = false
        }
    }

    /// Adds what only impressions say, and writes the line.
    private mutating func writeShown(_ event: inout Event, _ request: ShownRequest) {
        let plan = settings.domains[request.domain]
        event.request_id = scratch.text("r", request.number)
        event.query = request.query.map { scratch.text(world.queries[request.domain][$0].text) }
        event.policy =
            plan.surface == .search ? scratch.text("by-relevance") : scratch.text("shuffled")
        let visit = request.visit
        let hour = (request.time / 3_600_000) % 24
        let context = [
            NamedScalar(
                name: scratch.text("entry"), value: .text(scratch.text(Words.entries[visit.entry]))),
            NamedScalar(name: scratch.text("hour"), value: .number(Double(hour))),
            NamedScalar(
                name: scratch.text("network"),
                value: .text(scratch.text(Words.networks[visit.network]))),
        ]
        var user = [
            NamedScalar(
                name: scratch.text("device"),
                value: .text(scratch.text(Words.devices[visit.user.device])))
        ]
        if !request.isAnonymous {
            let city = Words.cities[visit.user.city]
            user.insert(
                NamedScalar(name: scratch.text("city"), value: .text(scratch.text(city))), at: 0)
        }
        bytes.removeAll()
        context.withUnsafeBufferPointer { context in
            user.withUnsafeBufferPointer { user in
                event.context = BorrowedList(context)
                event.user = BorrowedList(user)
                event.append(to: &bytes)
            }
        }
    }

    /// A click or a conversion, naming its impression as the domain does.
    private mutating func writeConsequence(
        _ type: EventType, _ request: ShownRequest, place: Int, at time: Int64
    ) {
        let plan = settings.domains[request.domain]
        var event = self.event(type, request, at: time)
        switch plan.clickReference {
        case .impression, .slatePosition:
            event.impression_id = impressionID(request, place: place)
        case .slateItem:
            event.impression_id = impressionID(request, place: nil)
            event.item_id = itemID(slate[place])
        case .requestItem:
            event.request_id = scratch.text("r", request.number)
            event.item_id = itemID(slate[place])
        }
        if plan.saysImpressionID {
            event.id = scratch.text(type == .click ? "c" : "b", request.number, "-", place + 1)
            event.isIDDerived = false
        }
        if type == .conversion {
            event.value = world.items[slate[place]].price
            event.currency = scratch.text("EUR")
        }
        bytes.removeAll()
        event.append(to: &bytes)
    }

    private mutating func writeJudgment(
        domain d: Int, query q: Int, item i: Int, number: Int, at time: Int64
    ) {
        var event = Event(
            type: .judgment, id: scratch.text("j", d, "-", number), time_ms: time,
            domain: scratch.text(settings.domains[d].name))
        event.session_id = scratch.text("editor-", number % 7)
        event.query = scratch.text(world.queries[d][q].text)
        event.item_id = itemID(i)
        event.grade = world.grade(world.queries[d][q], world.items[i])
        bytes.removeAll()
        event.append(to: &bytes)
    }

    private mutating func writeTruth(
        _ request: ShownRequest, place: Int, _ probability: Double, to truth: inout ByteBuffer
    ) {
        truth.openRecord()
        truth.member("impression_id", impressionID(request, place: place))
        truth.member("probability", roundedProbability(probability))
        truth.closeObject()
        truth.append("\n" as StaticString)
    }

    private mutating func event(_ type: EventType, _ request: ShownRequest, at time: Int64) -> Event
    {
        var event = Event(
            type: type, time_ms: time, domain: scratch.text(settings.domains[request.domain].name))
        if request.isAnonymous {
            event.session_id = scratch.text("s", request.number)
        } else {
            event.user_id = scratch.text("u", request.visit.user.number)
        }
        return event
    }

    /// The identity of the impression at a place, or of the whole slate.
    private mutating func impressionID(_ request: ShownRequest, place: Int?) -> ByteSlice {
        guard let place else { return scratch.text("i", request.number) }
        return settings.domains[request.domain].logsSlates
            ? scratch.text("i", request.number, "#", place + 1)
            : scratch.text("i", request.number, "-", place + 1)
    }

    private mutating func itemID(_ i: Int) -> ByteSlice {
        scratch.text(world.items[i].shelf.prefix, i)
    }
}

/// Nine decimals, which is what the truth files say.
func roundedProbability(_ probability: Double) -> Double {
    (probability * 1e9).rounded() / 1e9
}

/// A request and its circumstances; what was shown stands beside it.
struct ShownRequest {
    let number: Int
    let domain: Int
    let query: Int?
    let visit: Visit
    let isAnonymous: Bool
    let time: Int64
}

extension DomainPlan {
    func window(for delay: Int64) -> TrafficTally.Window {
        if delay <= Int64(labelWindowSeconds) * 1_000 { return .label }
        return delay <= Int64(attributionWindowSeconds) * 1_000 ? .attribution : .beyond
    }
}
