// What an operator is told: one JSON object a line, with a fixed name, on standard error.

import Bytes
import JSON

#if canImport(Glibc)
    import Glibc
#endif

/// Writes journal lines of one worker. Normal operation is silent.
public struct Journal: Sendable {
    public enum Level: Int, Sendable, CaseIterable {
        case error, warning, notice, debug
    }

    private let common: [JSONMember]
    private let level: Level
    private let write: @Sendable (String) -> Void

    /// - Parameters:
    ///   - worker: stands in every line.
    ///   - level: what is less important is not written.
    ///   - write: takes one line; nil: standard error.
    public init(
        worker: String, level: Level = .notice,
        write: (@Sendable (String) -> Void)? = nil
    ) {
        common = [JSONMember("worker", .text(worker))]
        self.level = level
        self.write = write ?? { writeToStandardError($0) }
    }

    /// One line: name, time, worker, then what belongs to it.
    public func callAsFunction(
        _ level: Level = .notice, _ name: String, _ members: (String, JSONValue)...
    ) {
        guard level.rawValue <= self.level.rawValue else { return }
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        let milliseconds = Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000
        let line = JSONValue.object(
            [
                JSONMember("event", .text(name)), JSONMember("level", .text("\(level)")),
                JSONMember("time_ms", .integer(milliseconds)),
            ] + common + members.map { JSONMember($0.0, $0.1) })
        write(line.canonicalText + "\n")
    }
}

/// In one piece, so that lines of several processes do not mix.
func writeToStandardError(_ text: String) {
    var text = text
    text.withUTF8 { bytes in _ = write(STDERR_FILENO, bytes.baseAddress, bytes.count) }
}
