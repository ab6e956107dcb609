import Contracts
import KafkaFleet
import KafkaTestBroker
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
        #expect(try lockstep.hasCaughtUp(), "nothing is there")
        try under.append(try under.writeInput(200))
        #expect(try !lockstep.hasCaughtUp(), "nobody has read anything")
        try under.start("enrich")
        try under.until(60, "rest of enrich") {
            try under.fleet.lag(now: 0, roles: ["enrich"]).allSatisfy { $0.records == 0 }
        }
        #expect(try !lockstep.hasCaughtUp(), "items, and the texts of queries, wait for encode")
        try under.start("encode")
        try under.until(60, "the readers") { try lockstep.hasCaughtUp() }
        #expect(under.stopAll().allSatisfy { $0 == 0 })
        #expect(try under.progress("finetune", .domainLog) == 0)
    }
}
