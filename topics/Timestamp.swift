// Dates as CloudEvents writes them (RFC 3339), to milliseconds since the epoch.

import Bytes

public enum Timestamp {
    /// Milliseconds since 1970-01-01T00:00:00Z, digits beyond them cut off; nil unless `text` is a
    /// date and time with offset, as in `2021-11-15T16:30:34.25+01:00`, inside the years 1970 to
    /// 9999.
    public static func milliseconds(_ text: ByteSlice) -> Int64? {
        guard text.count >= 20, let year = digits(text, 0, 4), text[4] == UInt8(ascii: "-"),
            let month = digits(text, 5, 2), text[7] == UInt8(ascii: "-"),
            let day = digits(text, 8, 2),
            text[10] | 0x20 == UInt8(ascii: "t"), let hour = digits(text, 11, 2),
            text[13] == UInt8(ascii: ":"),
            let minute = digits(text, 14, 2), text[16] == UInt8(ascii: ":"),
            let second = digits(text, 17, 2),
            (1...12).contains(month), day >= 1 && day <= daysInMonth(month, year), hour < 24,
            minute < 60,
            second <= 60
        else { return nil }
        var i = 19
        var fraction: Int64 = 0
        if text[i] == UInt8(ascii: ".") {
            i += 1
            var scale: Int64 = 100
            let first = i
            while i < text.count, let digit = digits(text, i, 1) {
                fraction += digit * scale
                scale /= 10
                i += 1
            }
            guard i > first else { return nil }
        }
        guard let offset = offsetMinutes(text, i) else { return nil }
        let seconds =
            daysSinceEpoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second
        let time_ms = (seconds - offset * 60) * 1_000 + fraction
        return Limit.time_ms.contains(time_ms) ? time_ms : nil
    }

    /// `Z`, or `+hh:mm` up to the end of the text.
    private static func offsetMinutes(_ text: ByteSlice, _ i: Int) -> Int64? {
        guard i < text.count else { return nil }
        if text[i] | 0x20 == UInt8(ascii: "z") { return i + 1 == text.count ? 0 : nil }
        guard text.count == i + 6, text[i] == UInt8(ascii: "+") || text[i] == UInt8(ascii: "-"),
            let hours = digits(text, i + 1, 2), text[i + 3] == UInt8(ascii: ":"),
            let minutes = digits(text, i + 4, 2), hours < 24, minutes < 60
        else { return nil }
        return (text[i] == UInt8(ascii: "-") ? -1 : 1) * (hours * 60 + minutes)
    }

    private static func digits(_ text: ByteSlice, _ start: Int, _ count: Int) -> Int64? {
        guard start + count <= text.count else { return nil }
        var value: Int64 = 0
        for i in start..<start + count {
            let digit = text[i] &- UInt8(ascii: "0")
            guard digit < 10 else { return nil }
            value = value * 10 + Int64(digit)
        }
        return value
    }

    private static func daysInMonth(_ month: Int64, _ year: Int64) -> Int64 {
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        return [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][Int(month - 1)]
    }

    /// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", days_from_civil.
    private static func daysSinceEpoch(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let y = month <= 2 ? year - 1 : year
        let era = y / 400
        let yearOfEra = y - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }
}
