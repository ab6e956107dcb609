import JSON
import Testing

@testable import Reports

@Suite struct ComparisonTests {
    func summary(labels: Int = 10, auc: Double = 0.7, clicks: Int = 3) throws -> JSONValue {
        try JSONValue(
            parsing: """
                {"events": 12, "used": 11, "impressions": 10, "clicks": 3, "duplicates": 1, "orphans": 0,
                 "dead_letters": 0, "labels": \(labels), "corrections": 2, "scores_published": \(labels),
                 "overall": {"auc": \(auc), "gauc": null, "log_loss": 0.5, "calibration": 1.01},
                 "domains": {"home": {"impressions": 10, "clicks": \(clicks), "auc": \(auc)}}}
                """)
    }

    @Test func `runs with equal counts and metrics within the tolerance are equal`() throws {
        let comparison = ReportComparison(try summary(), try summary(auc: 0.7029))
        #expect(comparison.differences.map(\.name) == [])
        #expect(
            comparison.text.hasPrefix(
                "equal: 11 counts, metrics within 0.003; farthest apart is overall.auc"))
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
}
