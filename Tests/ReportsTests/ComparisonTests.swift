import JSON
import Testing

@testable import Reports

@Suite struct ComparisonTests {
    func summary(
        labels: Int = 10, auc: Double = 0.7, clicks: Int = 3, home: Double? = 0.7,
        cards: Double = 0.6
    ) throws -> JSONValue {
        try JSONValue(
            parsing: """
                {"events": 12, "used": 11, "impressions": 10, "clicks": 3, "duplicates": 1, "orphans": 0,
                 "dead_letters": 0, "labels": \(labels), "corrections": 2, "scores_published": \(labels),
                 "overall": {"auc": \(auc), "gauc": null, "log_loss": 0.5, "calibration": 1.01},
                 "domains": {"home": {"impressions": 7, "clicks": \(clicks), "auc": \(home.map { "\($0)" } ?? "null")},
                             "cards": {"impressions": 3, "clicks": 0, "auc": \(cards), "log_loss": 0.4}}}
                """)
    }

    @Test func `runs with equal counts and metrics within the tolerance are equal`() throws {
        let comparison = ReportComparison(try summary(), try summary(auc: 0.7029))
        #expect(comparison.differences.map(\.name) == [])
        #expect(
            comparison.text.hasPrefix(
                "equal: 13 counts, metrics within 0.003; farthest apart is overall.auc"))
    }

    @Test func `one label more, one click less and a metric beyond the tolerance are named`() throws
    {
        let comparison = ReportComparison(
            try summary(), try summary(labels: 11, auc: 0.7031, clicks: 2))
        #expect(comparison.differences.map(\.name) == ["labels", "overall.auc", "home.clicks"])
        #expect(comparison.text.contains("labels"))
    }

    @Test func `a metric that only one run has is a difference`() throws {
        var other = try summary()
        if case .object(let members) = other {
            other = .object(members.filter { $0.name != "overall" })
        }
        #expect(
            ReportComparison(try summary(), other).differences.map(\.name).contains("overall.auc"))
    }

    @Test func `a domain's metrics are compared too, on both sides of the tolerance`()
        throws
    {
        let inside = ReportComparison(try summary(), try summary(home: 0.7029, cards: 0.6))
        #expect(inside.differences.map(\.name) == [])
        #expect(inside.farthestDomain?.name == "home")
        #expect(inside.farthestDomain?.farthest?.name == "home.auc")
        #expect(
            inside.text.hasSuffix(
                """
                by domain, farthest apart is home
                  domain  impressions  clicks  farthest apart   first  second  distance
                  cards             3       0  auc             0.6000  0.6000    0.0000
                  home              7       3  auc             0.7000  0.7029    0.0029

                """), "\(inside.text)")
        let outside = ReportComparison(try summary(), try summary(home: 0.7031, cards: 0.5969))
        #expect(outside.differences.map(\.name) == ["cards.auc", "home.auc"])
        #expect(outside.text.contains("home.auc"))
    }

    @Test func `a domain, or a domain's metric, that only one run has is a difference`() throws {
        #expect(
            ReportComparison(try summary(), try summary(home: nil)).differences.map(\.name) == [
                "home.auc"
            ])
        var other = try summary()
        if case .object(let members) = other {
            other = .object(
                members.map {
                    guard $0.name == "domains", case .object(let domains) = $0.value else {
                        return $0
                    }
                    return JSONMember("domains", .object(domains.filter { $0.name != "cards" }))
                })
        }
        #expect(
            ReportComparison(try summary(), other).differences.map(\.name) == [
                "cards.impressions", "cards.clicks", "cards.auc", "cards.log_loss",
            ])
    }
}
