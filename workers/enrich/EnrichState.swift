// Everything enrich knows of one partition of `events`, and the indexes derived from it.

import Bytes
import Streams

/// The state of one partition: tables of plain rows and indexes over them.
public final class EnrichState: PartitionState {
    let partition: Int
    let settings: EnrichSettings

    let totals: Block<PartitionTotals>
    let users: Table<UserRow>
    let items: Table<ItemRow>
    let open: Table<OpenImpression>
    let seen: Table<SeenEvent>
    let waiting: Table<WaitingEvent>
    let queries: Table<SeenQuery>
    let domains: Table<DomainRow>

    // Derived from the rows. The state belongs to one thread and lends itself to one step at a time, so
    // the checks of exclusive access, a tenth of a step's time, are left out here.
    @exclusivity(unchecked) var due = DueQueue()
    @exclusivity(unchecked) var waitingDue = DueQueue()
    /// Open impressions by request and item (nodes 2·row) and by slate and item (2·row + 1).
    let aliases = RowChains()
    /// Waiting events by what they wait for (nodes 2·row and 2·row + 1).
    let waitingFor = RowChains()
    /// By row of `domains`.
    @exclusivity(unchecked) var resolved: [ResolvedDomain] = []
    /// Domains with counts since the last tick.
    @exclusivity(unchecked) var countedDomains: [UInt32] = []
    /// Open impressions of which a label will go out when a window closes.
    @exclusivity(unchecked) var labelsToCome = 0

    /// A domain's settings, found once.
    struct ResolvedDomain {
        var labelWindow: Int64
        var attributionWindow: Int64
        var conversionWindow: Int64
        var hasConversionTask: Bool
        /// Of domain-log.
        var partition: Int
    }

    init(partition: Int, settings: EnrichSettings) {
        self.partition = partition
        self.settings = settings
        let caps = settings.caps
        totals = Block("totals", PartitionTotals())
        users = Table(
            "users", maximumRows: caps.users,
            tailBytes: settings.history * MemoryLayout<HistoryEntry>.stride)
        items = Table("items", maximumRows: caps.items, isNamed: true)
        open = Table("open", maximumRows: caps.openImpressions, isNamed: true)
        seen = Table("seen", maximumRows: caps.duplicates)
        waiting = Table("waiting", maximumRows: caps.waitingClicks)
        queries = Table("queries", maximumRows: caps.queries)
        domains = Table("domains", maximumRows: settings.domainsMaximum, isNamed: true)
    }

    public var tables: [any StateTable] {
        [totals, users, items, open, seen, waiting, queries, domains]
    }

    public func rebuild() {
        aliases.removeAll()
        waitingFor.removeAll()
        resolved = []
        countedDomains = []
        labelsToCome = 0
        // Rows of `domains` are never removed: those that live are 0, 1, 2, …
        for row in 0..<UInt32(domains.liveRows) {
            resolved.append(resolve(domains.name(row)))
            if hasCounts(row) { countedDomains.append(row) }
        }
        // By age, which is the order in which chains were made.
        var row = open.oldest
        while let at = row {
            linkAliases(at)
            if hasLabelToCome(at) { labelsToCome += 1 }
            row = open.newer(than: at)
        }
        row = waiting.oldest
        while let at = row {
            linkWaiting(at)
            row = waiting.newer(than: at)
        }
        rebuildDue()
        rebuildWaitingDue()
    }

    // What a worker's driver asks.

    /// The newest event time of the partition, or nil before its first event.
    public var newestTime: Int64? {
        totals.value.pointee.hasTime == 0 ? nil : totals.value.pointee.newestTime
    }

    /// Whether a tick would let something go on: a label falls due, a click stops waiting, or something
    /// was written or counted since the last tick.
    public var needsTicks: Bool {
        labelsToCome > 0 || waiting.liveRows > 0 || totals.value.pointee.unpublished > 0
            || !countedDomains.isEmpty
    }

    /// What became of everything that came in so far.
    public var counts: EnrichCounts { totals.value.pointee.counts }

    /// Clicks and conversions that wait for what they belong to.
    public var waitingEvents: Int { waiting.liveRows }

    public var openImpressions: Int { open.liveRows }

    /// Bytes of memory that the tables and their indexes have taken.
    public var allocatedBytes: Int {
        tables.reduce(0) { $0 + $1.allocatedBytes } + due.allocatedBytes
            + waitingDue.allocatedBytes + aliases.allocatedBytes + waitingFor.allocatedBytes
    }

    /// Time behind which events count as late; nil before the first event.
    var watermark: Int64? { newestTime.map { $0 - settings.latenessMilliseconds } }

    func takeSequence() -> UInt64 {
        defer { totals.value.pointee.nextSequence += 1 }
        return totals.value.pointee.nextSequence
    }

    /// Tells rows apart that come after each other in one place; starts again after four billion.
    func takeGeneration() -> UInt32 {
        defer { totals.value.pointee.nextGeneration += 1 }
        return UInt32(truncatingIfNeeded: totals.value.pointee.nextGeneration)
    }

    // Domains

    func resolve(_ name: ByteSlice) -> ResolvedDomain {
        let set = settings.domains[name.text] ?? settings.domainDefaults
        return ResolvedDomain(
            labelWindow: set.labelWindowMilliseconds,
            attributionWindow: set.attributionWindowMilliseconds,
            conversionWindow: set.conversionWindowMilliseconds,
            hasConversionTask: set.tasks.contains(.conversion),
            partition: Murmur2.partition(name, of: settings.domainLogPartitions))
    }

    /// The domain's row for counting; remembers that the next tick has something to say of it.
    func counting(_ domain: UInt32) -> UnsafeMutablePointer<DomainRow> {
        if !hasCounts(domain) { countedDomains.append(domain) }
        domains.markChanged(domain)
        return domains[domain]
    }

    private func hasCounts(_ domain: UInt32) -> Bool {
        let counts = domains[domain].pointee
        return counts.duplicates | counts.orphans | counts.late | counts.dead != 0
    }

    // Users and their histories

    /// The row of a user, who is now the one seen last; a new one makes room if it must.
    func user(_ key: ByteSlice) -> UInt32 {
        let hash = Hash128(key)
        if let row = users.find(hash) {
            users.touch(row)
            return row
        }
        if users.isFull, let oldest = users.oldest {
            forgetHistory(of: oldest)
            users.remove(oldest)
            totals.value.pointee.counts.evictedUsers += 1
        }
        let row = users.insert(hash)
        users[row].pointee.generation = takeGeneration()
        return row
    }

    /// The user of an open impression, unless it was evicted since.
    func user(of impression: UnsafeMutablePointer<OpenImpression>) -> UInt32? {
        let row = impression.pointee.user
        guard users.isLive(row), users[row].pointee.generation == impression.pointee.userGeneration
        else { return nil }
        return row
    }

    /// Calls `body` with the names of the user's clicked items, oldest first.
    @inline(__always)
    func forEachClickedItem(of user: UInt32, _ body: (ByteSlice) -> Void) {
        let entries = users.tail(user, as: HistoryEntry.self)
        for i in 0..<Int(users[user].pointee.historyCount) {
            let entry = entries[i]
            if isCurrent(entry) { body(items.name(entry.item)) }
        }
    }

    private func isCurrent(_ entry: HistoryEntry) -> Bool {
        items.isLive(entry.item) && items[entry.item].pointee.generation == entry.generation
    }

    /// Appends a clicked item to the user's history; the oldest entry makes room.
    func addToHistory(of user: UInt32, _ item: ByteSlice) {
        guard settings.history > 0 else { return }
        let row = clickedItem(item)
        let entries = users.tail(user, as: HistoryEntry.self)
        var count = Int(users[user].pointee.historyCount)
        // Before the oldest entry lets go, so that an item that is in both places stays.
        items[row].pointee.references += 1
        if count == settings.history {
            release(entries[0])
            for i in 1..<count { entries[i - 1] = entries[i] }
            count -= 1
        }
        entries[count] = HistoryEntry(item: row, generation: items[row].pointee.generation)
        users[user].pointee.historyCount = UInt32(count + 1)
        users.markChanged(user)
    }

    /// The row of an item that is clicked now; a new one makes room if it must.
    private func clickedItem(_ name: ByteSlice) -> UInt32 {
        let hash = Hash128(name)
        if let row = items.find(hash) {
            items.touch(row)
            items.markChanged(row)
            return row
        }
        if items.isFull, let oldest = items.oldest {
            items.remove(oldest)
            totals.value.pointee.counts.evictedItems += 1
        }
        let row = items.insert(hash, name: name)
        items[row].pointee.generation = takeGeneration()
        return row
    }

    private func release(_ entry: HistoryEntry) {
        guard isCurrent(entry) else { return }
        items.markChanged(entry.item)
        items[entry.item].pointee.references -= 1
        if items[entry.item].pointee.references == 0 { items.remove(entry.item) }
    }

    private func forgetHistory(of user: UInt32) {
        let entries = users.tail(user, as: HistoryEntry.self)
        for i in 0..<Int(users[user].pointee.historyCount) { release(entries[i]) }
    }

    // Open impressions by alias

    /// What a click or a conversion looks for among impressions that share an alias.
    enum AliasMark: UInt64 { case unclicked = 1, clicked, converted }

    private func mark(of impression: UnsafeMutablePointer<OpenImpression>) -> AliasMark {
        impression.pointee.isConverted != 0
            ? .converted : impression.pointee.isClicked != 0 ? .clicked : .unclicked
    }

    func linkAliases(_ row: UInt32) {
        let impression = open[row]
        let mark = mark(of: impression).rawValue
        if impression.pointee.requestAlias != 0 {
            aliases.append(
                row * 2, value: MatchValue.marked(impression.pointee.requestAlias, mark))
        }
        if impression.pointee.slateAlias != 0 {
            aliases.append(
                row * 2 + 1, value: MatchValue.marked(impression.pointee.slateAlias, mark))
        }
    }

    func unlinkAliases(_ row: UInt32) {
        aliases.remove(row * 2)
        aliases.remove(row * 2 + 1)
    }

    /// The oldest open impression with `alias` and `mark`.
    func oldest(_ alias: UInt64, _ mark: AliasMark) -> UInt32? {
        guard alias != 0 else { return nil }
        return aliases.first(MatchValue.marked(alias, mark.rawValue)).map { $0 / 2 }
    }

    func impressionID(_ row: UInt32) -> ByteSlice {
        open.name(row).slice(0, Int(open[row].pointee.idBytes))
    }

    func itemID(_ row: UInt32) -> ByteSlice {
        let name = open.name(row)
        return name.slice(Int(open[row].pointee.idBytes), name.count)
    }

    /// Whether the end of the impression's present stage will write a label.
    private func hasLabelToCome(_ row: UInt32) -> Bool {
        let impression = open[row]
        switch impression.pointee.stage {
        case .open: return true
        case .labeled: return false
        case .clicked:
            return impression.pointee.isConverted == 0
                && resolved[Int(impression.pointee.domain)].hasConversionTask
        }
    }

    /// Changes an open impression, and with it what is to come of it.
    @inline(__always)
    func change(_ row: UInt32, _ body: (UnsafeMutablePointer<OpenImpression>) -> Void) {
        let before = hasLabelToCome(row)
        body(open[row])
        open.markChanged(row)
        labelsToCome += (hasLabelToCome(row) ? 1 : 0) - (before ? 1 : 0)
    }

    /// Puts an open impression at the end of a stage.
    func schedule(_ row: UInt32, due time: Int64) {
        open[row].pointee.due = time
        open.markChanged(row)
        due.push(DueQueue.Entry(due: time, sequence: open[row].pointee.sequence, row: row))
        // Entries of rows that made room stay until they are due; their number is bounded here.
        if due.count > 2 * open.liveRows + 1_024 { rebuildDue() }
    }

    /// The same order again, without entries of rows that are gone.
    private func rebuildDue() {
        due.removeAll()
        var row = open.oldest
        while let at = row {
            due.push(
                DueQueue.Entry(
                    due: open[at].pointee.due, sequence: open[at].pointee.sequence, row: at))
            row = open.newer(than: at)
        }
    }

    private func rebuildWaitingDue() {
        waitingDue.removeAll()
        var row = waiting.oldest
        while let at = row {
            waitingDue.push(
                DueQueue.Entry(
                    due: waiting[at].pointee.due, sequence: waiting[at].pointee.sequence, row: at))
            row = waiting.newer(than: at)
        }
    }

    func close(_ row: UInt32) {
        if hasLabelToCome(row) { labelsToCome -= 1 }
        unlinkAliases(row)
        open.remove(row)
    }

    // Waiting clicks and conversions

    func linkWaiting(_ row: UInt32) {
        let event = waiting[row]
        let mark = UInt64(event.pointee.isConversion)
        waitingFor.append(row * 2, value: MatchValue.marked(event.pointee.primary, mark))
        if event.pointee.slate != 0 {
            waitingFor.append(row * 2 + 1, value: MatchValue.marked(event.pointee.slate, mark))
        }
    }

    /// Puts a click or conversion, whose row is filled, among those that wait.
    func startWaiting(_ row: UInt32) {
        linkWaiting(row)
        waitingDue.push(
            DueQueue.Entry(
                due: waiting[row].pointee.due, sequence: waiting[row].pointee.sequence, row: row))
        if waitingDue.count > 2 * waiting.liveRows + 1_024 { rebuildWaitingDue() }
    }

    func stopWaiting(_ row: UInt32) {
        waitingFor.remove(row * 2)
        waitingFor.remove(row * 2 + 1)
        waiting.remove(row)
    }

    /// The oldest click or conversion that waits for `value`.
    func oldestWaiting(_ value: UInt64, isConversion: Bool) -> UInt32? {
        guard value != 0 else { return nil }
        return waitingFor.first(MatchValue.marked(value, isConversion ? 1 : 0)).map { $0 / 2 }
    }
}
