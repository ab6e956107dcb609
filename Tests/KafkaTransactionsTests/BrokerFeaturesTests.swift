import Testing

@testable import KafkaTransactions

@Suite struct BrokerFeaturesTests {
    private func line(_ text: String) -> LogLine {
        LogLine(level: 7, subject: "APIVERSION", text: "[thrd:h:9092/bootstrap]: h:9092: " + text)
    }

    @Test func `requests and their versions are read off librdkafka's log`() {
        let features = BrokerFeatures(log: [
            line("Broker API support:"),
            line("  ApiKey Produce (0) Versions 0..13"),
            line("  ApiKey Fetch (1) Versions 4..18"),
            line("  ApiKey Unknown-80? (80) Versions 0..1"),
            line("  Feature MsgVer1: Fetch (2..2) NOT supported by broker"),
            LogLine(level: 7, subject: "FEATURE", text: "ApiKey Fetch (1) Versions 1..2"),
            line("  ApiKey Fetch (1) Versions 0..17"),
        ])
        #expect(
            features.versions == [0: 0...13, 1: 4...18, 80: 0...1],
            "the first broker's answer counts")
    }

    @Test(arguments: [
        ([1: 4...18, 80: 0...1], "4.0 or newer"), ([1: 0...17, 80: 0...0], "3.9"),
        ([1: 0...17, 74: 0...0, 75: 0...0], "3.8"), ([1: 0...16, 74: 0...0], "3.7"),
        ([1: 0...15], "3.5 or 3.6"), ([1: 0...13], "3.1 to 3.4"), ([1: 0...12], "2.7 to 3.0"),
        ([1: 0...11], "2.3 to 2.6"), ([1: 0...10], "older than 2.3"),
    ])
    func `a release is told by what changed with it`(
        versions: [Int: ClosedRange<Int>], release: String
    ) {
        #expect(BrokerFeatures(versions: versions).release == release)
    }

    @Test func `a broker that said nothing is of no release`() {
        #expect(BrokerFeatures(versions: [:]).release == nil)
        #expect(BrokerFeatures(versions: [:]).fencesByGeneration == nil)
        #expect(BrokerFeatures(versions: [28: 0...3]).fencesByGeneration == true)
        #expect(BrokerFeatures(versions: [28: 0...2]).fencesByGeneration == false)
    }
}

@Suite struct ScramLimitTests {
    @Test func `SCRAM at Kafka 4 needs librdkafka 2_6_1`() {
        #expect(LibraryVersion(2, 0, 2).scramLimit?.contains("2.6.1") == true)
        #expect(LibraryVersion(2, 6, 0).scramLimit != nil)
        #expect(LibraryVersion(2, 6, 1).scramLimit == nil)
    }

    @Test func `SCRAM is told from other log-ins in both spellings`() throws {
        func uses(_ key: String, _ mechanism: String) throws -> Bool {
            try ClientProperties(
                entries: ["bootstrap.servers": "h:1", key: mechanism], source: "test"
            ).usesSCRAM
        }
        #expect(try uses("sasl.mechanism", "SCRAM-SHA-512"))
        #expect(try uses("sasl.mechanisms", "scram-sha-256"))
        #expect(try !uses("sasl.mechanism", "PLAIN"))
        #expect(!ClientProperties(bootstrapServers: "h:1").usesSCRAM)
    }
}
