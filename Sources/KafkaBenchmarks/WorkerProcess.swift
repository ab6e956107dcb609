// A worker in a process of its own, so that its processor time and memory can be told from outside.

import JSON
import WorkerRuntime

#if canImport(Glibc)
    import Glibc
#endif

/// A measurement that could not be taken.
public struct BenchmarkError: Error, CustomStringConvertible {
    public let description: String
    init(_ description: String) { self.description = description }
}

/// What a worker says of itself at its end.
struct WorkerReport {
    let recordsOut: Int
    let commits: Int
    /// Seconds of all commits, and of the longest.
    let commitSeconds: Double
    let longestCommitSeconds: Double

    init(_ text: String) throws {
        let root = try JSONValue(parsing: text)
        guard let out = root["records_out"]?.integer, let commits = root["commits"]?.integer,
            let all = root["commit_seconds"]?.double,
            let longest = root["longest_commit_seconds"]?.double
        else { throw BenchmarkError("a worker's report cannot be read: \(text)") }
        recordsOut = Int(out)
        self.commits = Int(commits)
        commitSeconds = all
        longestCommitSeconds = longest
    }

    var commitText: String {
        let mean = 1_000 * commitSeconds / Double(max(1, commits))
        return "\(commits) commits of \(tenths(mean)) ms, the longest "
            + "\(tenths(1_000 * longestCommitSeconds)) ms"
    }
}

/// A child process; gone with this value at the latest.
final class WorkerProcess {
    private let id: pid_t
    private let name: String
    private let output: String
    private let errors: String
    private var hasEnded = false

    /// - Parameters:
    ///   - name: also of the files in `folder` that take what it writes.
    ///   - words: the program and its arguments.
    init(_ name: String, folder: String, words: [String]) throws {
        self.name = name
        output = "\(folder)/\(name).out"
        errors = "\(folder)/\(name).err"
        var id: pid_t = 0
        let code = spawn(&id, words, output: output, errors: errors)
        guard code == 0 else {
            throw BenchmarkError("\(words[0]) could not start: \(String(cString: strerror(code)))")
        }
        self.id = id
    }

    deinit {
        guard !hasEnded else { return }
        kill(id, SIGKILL)
        var status: Int32 = 0
        while waitpid(id, &status, 0) == -1, errno == EINTR {}
    }

    /// User and system time of all its threads so far, librdkafka's included.
    var processorSeconds: Double {
        var clock: clockid_t = 0
        var time = timespec()
        guard clock_getcpuclockid(id, &clock) == 0, clock_gettime(clock, &time) == 0 else {
            return 0
        }
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    /// Resident memory in bytes now.
    var residentBytes: Int64 {
        guard let text = readFile("/proc/\(id)/status"),
            let line = text.split(separator: "\n").first(where: { $0.hasPrefix("VmRSS:") }),
            let kibibytes = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst()
                .first.flatMap({ Int64($0) })
        else { return 0 }
        return kibibytes << 10
    }

    /// Whether its group has given it partitions and it has recovered them.
    var isAssigned: Bool { (readFile(errors) ?? "").contains("\"event\":\"assigned\"") }

    /// Throws what it wrote last where it has ended by itself.
    func check() throws {
        var status: Int32 = 0
        guard waitpid(id, &status, WNOHANG) == id else { return }
        hasEnded = true
        throw BenchmarkError(
            "the worker \(name) has ended (\(status)); its last lines:\n\(lastLines)")
    }

    /// Asks it to stop, waits until it has (30 s at most), and returns what it did.
    func stop() throws -> WorkerReport {
        try check()
        kill(id, SIGTERM)
        let deadline = ContinuousClock.now + .seconds(30)
        var status: Int32 = 0
        while waitpid(id, &status, WNOHANG) != id {
            if .now > deadline { kill(id, SIGKILL) }
            usleep(5_000)
        }
        hasEnded = true
        guard status == 0 else {
            throw BenchmarkError(
                "the worker \(name) did not stop well (\(status)); its last lines:\n\(lastLines)")
        }
        return try WorkerReport(readFile(output) ?? "")
    }

    private var lastLines: String {
        (readFile(errors) ?? "").split(separator: "\n").suffix(5).joined(separator: "\n")
    }
}

/// A small file as text.
func readFile(_ path: String) -> String? {
    guard let file = fopen(path, "r") else { return nil }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 14)
    while true {
        let count = fread(&chunk, 1, chunk.count, file)
        if count == 0 { break }
        bytes += chunk[0..<count]
    }
    return String(decoding: bytes, as: UTF8.self)
}

func sleepMilliseconds(_ milliseconds: UInt32) { usleep(milliseconds * 1_000) }
