// What the log of a simulation holds, counted where it is handed out.

import Contracts

/// Lines and what they are; the sums that a job must arrive at too.
public struct TrafficTally: Equatable, Sendable {
    /// Into which window of its impression a click falls.
    public enum Window: Int, CaseIterable, Sendable { case label, attribution, beyond }

    public internal(set) var lines = 0
    public internal(set) var bytes = 0
    /// Times of the first and the last line's arrival, in milliseconds since the epoch.
    public internal(set) var firstArrival: Int64?
    public internal(set) var lastArrival: Int64?
    /// Good lines that are neither duplicates nor broken, by type.
    public internal(set) var impressionLines = 0
    public internal(set) var clicks = 0
    public internal(set) var conversions = 0
    public internal(set) var judgments = 0
    /// Impressions after slates are taken apart.
    public internal(set) var impressions = 0
    /// Clicks on impressions that were not lost, by the window of the impression they fall into.
    public internal(set) var clicksByWindow = [0, 0, 0]
    /// Clicks and conversions whose impression was lost.
    public internal(set) var orphans = 0
    public internal(set) var duplicates = 0
    public internal(set) var reordered = 0
    public internal(set) var late = 0
    /// Impressions that never reached the log.
    public internal(set) var lost = 0
    /// In the order of `BrokenKind.allCases`.
    public internal(set) var brokenByKind = [Int](repeating: 0, count: BrokenKind.allCases.count)

    public init() {}

    public var broken: Int { brokenByKind.reduce(0, +) }

    public func clicks(in window: Window) -> Int { clicksByWindow[window.rawValue] }

    mutating func count(_ line: PendingLine, at time: Int64) {
        lines += 1
        bytes += line.bytes.count + 1
        firstArrival = firstArrival ?? time
        lastArrival = time
        if let kind = line.broken {
            brokenByKind[BrokenKind.allCases.firstIndex(of: kind)!] += 1
            return
        }
        if line.isDuplicate {
            duplicates += 1
            return
        }
        reordered += line.isReordered ? 1 : 0
        late += line.isLate ? 1 : 0
        orphans += line.isOrphan ? 1 : 0
        switch line.type {
        case .impression:
            impressionLines += 1
            impressions += line.impressions
        case .click:
            clicks += 1
            if !line.isOrphan, let window = line.window { clicksByWindow[window.rawValue] += 1 }
        case .conversion: conversions += 1
        case .judgment: judgments += 1
        case .tick: break
        }
    }
}

/// A line on its way into the log.
struct PendingLine {
    let bytes: [UInt8]
    let type: EventType
    let impressions: Int
    let window: TrafficTally.Window?
    var isDuplicate = false
    var isReordered = false
    var isLate = false
    var isOrphan = false
    var broken: BrokenKind?

    init(bytes: [UInt8], type: EventType, impressions: Int, window: TrafficTally.Window?) {
        self.bytes = bytes
        self.type = type
        self.impressions = impressions
        self.window = window
    }
}
