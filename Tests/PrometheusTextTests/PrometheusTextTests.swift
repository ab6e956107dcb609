import PrometheusText
import Testing

@Suite struct PrometheusTextTests {
    /// A page with everything in it.
    static let page = """
        # A comment.
        # HELP a_total Records \\\\ and \\n lines.
        # TYPE a_total counter
        a_total{topic="x",path="C:\\\\d\\n\\"q\\""} 3
        a_total{topic="y",path=""} 4.5e3

        # HELP b_seconds How long.
        # TYPE b_seconds histogram
        b_seconds_bucket{le="0.5"} 1
        b_seconds_bucket{le="2"} 3
        b_seconds_bucket{le="+Inf"} 4
        b_seconds_sum 12.5
        b_seconds_count 4
        # HELP c_ratio Nothing known.
        # TYPE c_ratio gauge
        c_ratio NaN
        # HELP d_ratio Has no sample.
        # TYPE d_ratio gauge

        """

    @Test func `a page is read with its escapes, values and kinds`() throws {
        let page = try PrometheusPage(parsing: Self.page)
        #expect(page.families.map(\.name) == ["a_total", "b_seconds", "c_ratio", "d_ratio"])
        #expect(page["a_total"]?.help == "Records \\ and \n lines.")
        #expect(page["a_total"]?.samples.first?["path"] == "C:\\d\n\"q\"")
        #expect(page.value("a_total", ["topic": "y"]) == 4_500)
        #expect(page.value("a_total") == nil, "there are two")
        #expect(page.sum("a_total") == 4_503)
        #expect(page.value("b_seconds_bucket", ["le": "2"]) == 3)
        #expect(page.value("c_ratio")?.isNaN == true)
        #expect(page["d_ratio"]?.samples == [])
        #expect(page["b_seconds"]?.labelNames == [])
    }

    /// Each makes a fault out of the page; the sentence must say which.
    @Test(arguments: [
        ("# HELP a_total", "# HELP z_total", "no HELP before its TYPE"),
        ("# TYPE a_total counter\n", "", "no TYPE before"),
        ("# TYPE d_ratio gauge\n", "", "HELP and no TYPE"),
        (
            "# TYPE a_total counter\n", "# TYPE a_total counter\n# TYPE a_total counter\n",
            "second TYPE"
        ),
        ("# TYPE b_seconds", "# HELP b_seconds Again.\n# TYPE b_seconds", "a second HELP"),
        (
            "# HELP c_ratio Nothing known.\n# TYPE c_ratio gauge", "# HELP c_ratio N.",
            "no TYPE before"
        ),
        ("counter", "countess", "no type countess"),
        ("a_total counter", "a_total gauge", "is no counter"),
        ("c_ratio gauge\nc_ratio", "c_ratio counter\nc_ratio", "does not end in _total"),
        ("c_ratio NaN\n", "c_ratio NaN\na_total{topic=\"z\",path=\"\"} 1\n", "stand apart"),
        ("{topic=\"y\",path=\"\"} 4.5e3", "{path=\"C:\\\\d\\n\\\"q\\\"\",topic=\"x\"} 4", "twice"),
        ("{topic=\"y\",path=\"\"} 4.5e3", "{topic=\"y\",topic=\"x\"} 4", "label topic twice"),
        ("topic=\"y\"", "to-pic=\"y\"", "no name of a label"),
        ("topic=\"y\"", "1topic=\"y\"", "no name of a label"),
        ("topic=\"y\"", "__topic=\"y\"", "no name of a label"),
        ("topic=\"y\"", "topic=y", "is missing behind the label"),
        ("topic=\"y\"", "topic=\"y\" ", "neither , nor }"),
        ("topic=\"y\"", "topic=\"\\y\"", "no escape"),
        ("topic=\"y\",path=\"\"} 4.5e3", "topic=\"y", "does not end"),
        ("c_ratio NaN", "c-ratio NaN", "no name of a metric"),
        ("c_ratio NaN", "9c_ratio NaN", "no name of a metric"),
        ("c_ratio NaN", "c_ratio nan", "no value"),
        ("c_ratio NaN", "c_ratio 0x10", "no value"),
        ("c_ratio NaN", "c_ratio 1 17 18", "no value"),
        ("c_ratio NaN", "c_ratio", "a blank is missing"),
        ("path=\"\"} 4.5e3", "path=\"\"} -1", "counter a_total is -1"),
        ("path=\"\"} 4.5e3", "path=\"\"} NaN", "counter a_total is nan"),
        ("b_seconds_bucket{le=\"2\"} 3", "b_seconds_bucket{le=\"2\"} 0", "not cumulative"),
        ("b_seconds_bucket{le=\"2\"} 3", "b_seconds_bucket{le=\"0.1\"} 3", "out of order"),
        ("b_seconds_bucket{le=\"2\"} 3", "b_seconds_bucket 3", "without le"),
        ("b_seconds_bucket{le=\"+Inf\"} 4\n", "", "no bucket +Inf"),
        ("b_seconds_count 4", "b_seconds_count 5", "+Inf says otherwise"),
        ("b_seconds_sum 12.5\n", "", "has no sum"),
        ("b_seconds_count 4\n", "", "has no count"),
        ("b_seconds_sum 12.5", "b_seconds 12.5", "sample of its own name"),
        ("# A comment.", "#HELP a b", "a blank is missing behind #"),
    ])
    func `a fault is seen and named`(there: String, fault: String, sentence: String) throws {
        let text = Self.page.replacing(there, with: fault, maxReplacements: 1)
        #expect(text != Self.page)
        let error = #expect(throws: PrometheusError.self) { _ = try PrometheusPage(parsing: text) }
        #expect(error?.description.contains(sentence) == true, "\(error?.description ?? "none")")
    }

    @Test func `a page without a line feed at its end, or that is not UTF-8, is none`() {
        #expect(throws: PrometheusError.self) {
            _ = try PrometheusPage(parsing: String(Self.page.dropLast(2)))
        }
        #expect(throws: PrometheusError.self) { _ = try PrometheusPage(parsing: "") }
        #expect(throws: PrometheusError.self) {
            _ = try PrometheusPage(parsing: Array("# \n".utf8) + [0xFF, 0x0A])
        }
    }

    @Test func `a counter that goes down or is gone is a regression, a gauge is not`() throws {
        let first = try PrometheusPage(parsing: Self.page)
        #expect(first.regressions(since: first) == [])
        let down = Self.page.replacing("q\\\"\"} 3", with: "q\\\"\"} 2").replacing(
            "c_ratio NaN", with: "c_ratio 1")
        #expect(try PrometheusPage(parsing: down).regressions(since: first).count == 1)
        let gone = Self.page.replacing("topic=\"y\"", with: "topic=\"z\"")
        #expect(try PrometheusPage(parsing: gone).regressions(since: first).count == 1)
        #expect(first.regressions(since: try PrometheusPage(parsing: down)) == [])
    }
}
