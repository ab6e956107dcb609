import Contracts
import KafkaFleet
import KafkaTestBroker
import KafkaTransactions
import Testing

/// Who a job in lockstep waits for.
@Suite(.serialized, .enabled(if: RealBroker.isAvailable, Comment(rawValue: RealBroker.absence)))
struct LockstepTests {
    @Test
    func `a backlog has been read when enrich and encode have read it, whatever finetune does`()
        throws
    {
        let under = try FleetUnderTest(try RealBroker.shared(), events: 2, domainLog: 1)
        let lockstep = try Lockstep(under.fleet)
        // A broker that has just started looks for a group's coordinator first.
        func hasCaughtUp() throws -> Bool {
            var answer = false
            try under.until(60, "answer") {
                answer = try lockstep.hasCaughtUp()
                return true
            }
            return answer
        }
        #expect(try hasCaughtUp(), "nothing is there")
        try under.append(try under.writeInput(200))
        #expect(try !hasCaughtUp(), "nobody has read anything")
        try under.start("enrich")
        try under.until(60, "rest of enrich") {
            try under.fleet.lag(now: 0, roles: ["enrich"]).allSatisfy { $0.records == 0 }
        }
        #expect(try !hasCaughtUp(), "items, and the texts of queries, wait for encode")
        try under.start("encode")
        try under.until(60, "the readers") { try lockstep.hasCaughtUp() }
        #expect(under.stopAll().allSatisfy { $0 == 0 })
        #expect(try under.progress("finetune", .domainLog) == 0)
    }

    @Test func `ingest in lockstep stops behind a thousand lines until its readers are there`()
        throws
    {
        let under = try FleetUnderTest(try RealBroker.shared(), events: 1, domainLog: 1)
        let input = try under.writeInput(1_500)
        try under.processes.start(
            "ingest",
            [
                FleetUnderTest.program, "ingest", "events", input.events!, "--lockstep",
                "--catalog", input.catalog!,
                "--config", under.settingsFile, "--brokers", under.broker.address,
            ])
        let place = TopicPartition(under.fleet.topics[.events], 0)
        let offsets = try Offsets(under.fleet.client, group: "judge")
        func end() throws -> Int64 { try offsets.offsets(of: [place])[place]!.end }
        try under.until(60, "the first lines") { try end() > 0 }
        try under.start("enrich")
        try under.until(60, "rest of enrich") {
            try under.fleet.lag(now: 0, roles: ["enrich"]).allSatisfy { $0.records == 0 }
        }
        #expect(try end() <= 1_001, "nobody has read the catalog; a marker is one more")
        try under.start("encode")
        #expect(under.processes.wait("ingest") == 0, "\(under.newestLines)")
        #expect(try end() > 1_500)
        #expect(under.stopAll().allSatisfy { $0 == 0 })
    }
}
