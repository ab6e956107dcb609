// Numbers look the same everywhere, whatever the locale.

import Testing

@testable import Reports

@Suite struct FormattingTests {
    @Test func `counts are grouped by thousands`() {
        #expect(Formatted.count(0) == "0")
        #expect(Formatted.count(999) == "999")
        #expect(Formatted.count(1_000) == "1,000")
        #expect(Formatted.count(-1_234_567) == "-1,234,567")
    }

    @Test func `decimals are rounded half away from zero and never lose their zeros`() {
        #expect(Formatted.fixed(1.005, 1) == "1.0")
        #expect(Formatted.fixed(0.05, 1) == "0.1")
        #expect(Formatted.fixed(-0.04, 1) == "0.0")
        #expect(Formatted.fixed(2.5, 0) == "3")
        #expect(Formatted.fixed(nil, 2) == "–")
        #expect(Formatted.fixed(.nan, 2) == "–")
        #expect(Formatted.unit(0.76789) == ".7679")
        #expect(Formatted.unit(1) == "1.0000")
        #expect(Formatted.percent(0.1234) == "12.3%")
    }

    @Test func `sizes and durations choose their unit`() {
        #expect(Formatted.bytes(1_023) == "1023 bytes")
        #expect(Formatted.bytes(312 << 20) == "312 MiB")
        #expect(Formatted.bytes(3 << 29) == "1.5 GiB")
        #expect(Formatted.duration(12.34) == "12.3 s")
        #expect(Formatted.duration(3_725) == "1 h 02 min")
        #expect(Formatted.duration(61) == "1 min 01 s")
    }
}
