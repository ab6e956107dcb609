// What a fleet can set about enrich, with the defaults of the contracts.

import Bytes
import Contracts

/// Settings of enrich. They decide bytes, so all of them are part of the step's version.
public struct EnrichSettings: Sendable, Equatable {
    /// What a domain can set.
    public struct Domain: Sendable, Equatable {
        /// Whether the label of the task `conversion` goes out with 0 where none came.
        public var tasks: [Task] = [.click]
        public var labelWindowMilliseconds: Int64 = 60_000
        public var attributionWindowMilliseconds: Int64 = 1_800_000
        /// Counts from the click.
        public var conversionWindowMilliseconds: Int64 = 86_400_000

        public init() {}
    }

    /// What becomes of an event of a domain that the settings do not name.
    public enum NewDomains: String, Sendable { case accept, deadLetter = "dead_letter" }

    /// Caps of the tables of one partition; the oldest rows make room.
    public struct Caps: Sendable, Equatable {
        public var users = 2_000_000
        public var items = 1_000_000
        public var openImpressions = 4_000_000
        public var queries = 200_000
        public var duplicates = 4_000_000
        public var waitingClicks = 100_000

        public init() {}
    }

    /// The fleet's name: the value of the header that its own ticks carry.
    public var fleet = "coldstream"
    /// The watermark is the newest event time minus this.
    public var latenessMilliseconds: Int64 = 2_000
    /// A tick is written whenever the newest time enters a new span of this length.
    public var publishPeriodMilliseconds: Int64 = 250
    /// How far an event may lie ahead of its record's timestamp.
    public var futureMilliseconds: Int64 = 300_000
    public var duplicateWindowMilliseconds: Int64 = 3_600_000
    /// Clicked items kept per user.
    public var history = 10
    /// The two halves of the key of the users' hashes.
    public var userHashKey: (UInt64, UInt64) = (0x636F_6C64_7374_7265, 0x616D_2D75_7365_7273)
    public var newDomains = NewDomains.accept
    public var domainsMaximum = 256
    public var caps = Caps()
    public var domainDefaults = Domain()
    public var domains: [String: Domain] = [:]
    /// How many partitions domain-log has: a domain's place there follows from it.
    public var domainLogPartitions = 1

    public init() {}

    public static func == (a: EnrichSettings, b: EnrichSettings) -> Bool {
        a.canonicalText == b.canonicalText
    }

    /// Every setting in a fixed order: equal text, equal bytes out.
    var canonicalText: String {
        func text(_ domain: Domain) -> String {
            let tasks = Task.allCases.filter(domain.tasks.contains).map { "\($0)" }
            return """
                \(tasks.joined(separator: "+")) \(domain.labelWindowMilliseconds) \
                \(domain.attributionWindowMilliseconds) \(domain.conversionWindowMilliseconds)
                """
        }
        var lines = [
            "fleet \(fleet)", "lateness \(latenessMilliseconds)",
            "publish \(publishPeriodMilliseconds)", "future \(futureMilliseconds)",
            "duplicates \(duplicateWindowMilliseconds)", "history \(history)",
            "key \(userHashKey.0) \(userHashKey.1)", "new \(newDomains.rawValue) \(domainsMaximum)",
            """
            caps \(caps.users) \(caps.items) \(caps.openImpressions) \(caps.queries) \
            \(caps.duplicates) \(caps.waitingClicks)
            """,
            "partitions \(domainLogPartitions)", "defaults \(text(domainDefaults))",
        ]
        for (name, domain) in domains.sorted(by: { $0.key < $1.key }) {
            lines.append("domain \(name) \(text(domain))")
        }
        return lines.joined(separator: "\n")
    }

    /// 16 hexadecimal digits that stand for these settings.
    public var hash: String {
        canonicalText.lend { String(SHA256.hex($0).prefix(16)) }
    }
}
