// From the fleet's settings to what each role takes.

import Bytes
import Contracts
import Encode
import Enrich
import Finetune
import Gateway
import FleetSettings
import JSON
import Streams

extension GatewaySettings {
    public init(_ settings: FleetSettings) {
        self.init()
        fleet = settings.fleet
        identity = WriterIdentity(worker: "\(settings.fleet).gateway")
        jumpMilliseconds = settings.integer("jump_s") * 1_000
    }
}

extension EnrichSettings {
    /// - Parameter userHashKey: the key under which user ids are hashed; `nil` = the fixed one.
    public init(
        _ settings: FleetSettings, domainLogPartitions: Int, userHashKey: (UInt64, UInt64)? = nil
    ) {
        self.init()
        fleet = settings.fleet
        latenessMilliseconds = settings.integer("lateness_s") * 1_000
        publishPeriodMilliseconds = settings.integer("publish_period_ms")
        futureMilliseconds = settings.integer("future_s") * 1_000
        duplicateWindowMilliseconds = settings.integer("duplicate_window_s") * 1_000
        history = Int(settings.integer("history"))
        newDomains = settings.text("new_domains") == "dead_letter" ? .deadLetter : .accept
        domainsMaximum = Int(settings.integer("domains_max"))
        self.domainLogPartitions = domainLogPartitions
        if let userHashKey { self.userHashKey = userHashKey }
        caps.users = settings.cap("users_max", "enrich")
        caps.items = settings.cap("items_max", "enrich")
        caps.openImpressions = settings.cap("open_impressions_max", "enrich")
        caps.queries = settings.cap("queries_max", "enrich")
        caps.duplicates = settings.cap("duplicates_max", "enrich")
        caps.waitingClicks = settings.cap("waiting_clicks_max", "enrich")
        domainDefaults = Domain(settings, domain: nil)
        for name in settings.domains { domains[name] = Domain(settings, domain: name) }
    }
}

extension EnrichSettings.Domain {
    init(_ settings: FleetSettings, domain: String?) {
        self.init()
        tasks = settings.words("tasks", domain: domain).compactMap { word in word.lend { Task($0) }
        }
        labelWindowMilliseconds = settings.integer("label_window_s", domain: domain) * 1_000
        attributionWindowMilliseconds =
            settings.integer("attribution_window_s", domain: domain) * 1_000
        conversionWindowMilliseconds =
            settings.integer("conversion_window_s", domain: domain) * 1_000
    }
}

extension EncodeSettings {
    public init(_ settings: FleetSettings) {
        self.init()
        recordsPerTurn = min(
            recordsPerTurn, Int(settings.integer("collect_records", role: "encode")))
        // Settings are checked when they are read.
        template = ItemTextTemplate(settings.text("template") ?? "") ?? ItemTextTemplate()
        vectorsMaximum = settings.cap("items_max", "encode") + settings.cap("queries_max", "encode")
        waysMaximum = settings.cap("queries_max", "encode") * 4
    }
}

extension FinetuneCaps {
    public init(_ settings: FleetSettings) {
        self.init()
        domains = Int(settings.integer("domains_max"))
        items = settings.cap("items_max", "finetune")
        queries = settings.cap("queries_max", "finetune")
        openImpressions = settings.cap("open_impressions_max", "finetune")
        corrections = settings.cap("corrections_max", "finetune")
        textDimension =
            settings.text("encoder") == "none" ? 0 : Int(settings.integer("dimension"))
    }
}

extension FinetuneSettings {
    public init(_ settings: FleetSettings) {
        self.init()
        publishPeriod = settings.integer("publish_period_ms")
        priorPeriod = settings.integer("prior_period_ms")
        defaults = DomainParameters(settings, domain: nil)
        for name in settings.domains { domains[name] = DomainParameters(settings, domain: name) }
    }
}

extension DomainParameters {
    init(_ settings: FleetSettings, domain: String?) {
        self.init()
        correctionHorizon = settings.integer("correction_horizon_s", domain: domain) * 1_000
        let given = settings.integers("half_lives_s", domain: domain)
        for i in 0..<5 { halfLives[i] = i < given.count ? given[i] : 0 }
        rate = Float(settings.number("rate", domain: domain))
        negativeShare = Float(settings.number("negative_share", domain: domain))
        threshold = Float(settings.number("threshold", domain: domain))
        microBatch = Int32(settings.integer("micro_batch", domain: domain))
        contexts = Int32(settings.integer("contexts", domain: domain))
        referencePosition = Int32(settings.integer("reference_position", domain: domain))
        headQueries = Int32(settings.integer("head_queries", domain: domain))
        surface = settings.text("surface", domain: domain) == "search" ? .search : .recommendation
        learnsOwnWeights = settings.text("parts", domain: domain) != "shared"
    }
}

extension WorkerLimits {
    public init(_ settings: FleetSettings, role: String) {
        self.init()
        collectRecords = Int(settings.integer("collect_records", role: role))
        checkpointRecords = settings.integer("checkpoint_records", role: role)
        checkpointSeconds = settings.integer("checkpoint_s", role: role)
        checkpointBytes = Int(settings.integer("checkpoint_bytes", role: role))
    }
}

extension FleetSettings {
    func cap(_ name: String, _ role: String) -> Int { Int(integer(name, role: role)) }
}
