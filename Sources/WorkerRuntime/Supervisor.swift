// Keeps the processes of a fleet running: what ends with "restart me" is started again.

import JSON

#if canImport(Glibc)
    import Glibc
#endif

/// How long to wait before a process is started again.
public struct RestartPolicy: Sendable {
    public var firstMilliseconds = 100
    public var longestMilliseconds = 30_000
    /// After so long a run the next failure counts as the first.
    public var steadyMilliseconds = 60_000
    /// Who was fenced waits for the other to be gone or to have taken over for good.
    public var fencedMilliseconds = 10_000
    public private(set) var failures = 0

    public init() {}

    /// The wait after an end, with jitter: half to one and a half of the nominal time.
    ///
    /// - Parameters:
    ///   - jitter: in 0..<1.
    /// - Returns: nil where starting again cannot help.
    public mutating func wait(
        after code: ExitCode, ranMilliseconds: Int, jitter: Double
    ) -> Int? {
        guard code.allowsRestart else { return nil }
        failures = ranMilliseconds >= steadyMilliseconds ? 0 : failures + 1
        let doubled = firstMilliseconds << min(20, max(0, failures - 1))
        var nominal = min(longestMilliseconds, doubled)
        if code == .fenced { nominal = max(nominal, fencedMilliseconds) }
        return Int(Double(nominal) * (0.5 + jitter))
    }
}

/// A process that a supervisor keeps running.
public struct SupervisedProcess: Sendable {
    public var name: String
    public var path: String
    public var arguments: [String]
    /// Whether it ends by itself when its work is done, with exit code 0; a worker only does when asked.
    public var isJob = false
    /// Where it serves its own pages, for whoever looks for them; nil: nowhere.
    public var http: String?

    public init(name: String, path: String, arguments: [String]) {
        self.name = name
        self.path = path
        self.arguments = arguments
    }
}

/// Starts processes, starts them again, and stops them together.
public final class Supervisor {
    private struct Child {
        let process: SupervisedProcess
        var policy = RestartPolicy()
        var id: pid_t?
        var started = ContinuousClock.now
        var startAt: ContinuousClock.Instant? = .now
        var isFinished = false
        var moment: ProcessMoment
    }

    private var children: [Child]
    private let status: SupervisorStatus?
    private var isDraining = false
    private let journal: Journal
    private var random = SystemRandomNumberGenerator()
    /// How long a process may take to drain.
    private let drainSeconds: Int

    public init(
        _ processes: [SupervisedProcess], journal: Journal, drainSeconds: Int = 60,
        status: SupervisorStatus? = nil
    ) {
        children = processes.map { process in
            var moment = ProcessMoment(name: process.name)
            moment.http = process.http
            return Child(process: process, moment: moment)
        }
        self.status = status
        self.journal = journal
        self.drainSeconds = drainSeconds
    }

    /// Process ids by name, of those that run.
    public var processIDs: [String: Int32] {
        children.reduce(into: [:]) { $0[$1.process.name] = $1.id }
    }

    /// Whether a job has done its work.
    public func hasFinished(_ name: String) -> Bool {
        children.contains { $0.process.name == name && $0.isFinished }
    }

    /// Runs until `stop` is raised, or until a process ends in a way that no restart can help.
    public func run(until stop: StopSignal) -> ExitCode {
        while !stop.isRaised {
            if let code = turn() {
                stopAll()
                return code
            }
            usleep(20_000)
        }
        stopAll()
        return .done
    }

    /// Starts what is due and looks who has ended; for a loop that has more to do between.
    ///
    /// - Returns: how a process ended that no restart can help; nil while all is well.
    public func turn() -> ExitCode? {
        for index in children.indices { startIfDue(index) }
        let code = reap()
        publish()
        return code
    }

    private func publish() {
        status?.publish(
            children.map { child in
                var moment = child.moment
                moment.id = child.id
                moment.state = child.isFinished ? .finished : child.id == nil ? .waiting : .running
                return moment
            }, isDraining: isDraining)
    }

    private func startIfDue(_ index: Int) {
        guard let startAt = children[index].startAt, startAt <= .now else { return }
        let process = children[index].process
        var id: pid_t = 0
        let code = spawn(
            &id, [process.path] + process.arguments, joinsOutputs: true)
        guard code == 0 else {
            journal(
                .error, "spawn failed", ("process", .text(process.name)),
                ("reason", .text(String(cString: strerror(code)))))
            children[index].startAt = .now + .seconds(1)
            return
        }
        children[index].id = id
        children[index].started = .now
        children[index].startAt = nil
        children[index].moment.starts += 1
        children[index].moment.startTime = Double(wallClock()) / 1e3
        journal(
            .notice, "process started", ("process", .text(process.name)),
            ("pid", .integer(Int64(id))))
    }

    /// Takes note of ended processes; returns a code that ends everything.
    private func reap() -> ExitCode? {
        for index in children.indices {
            guard let id = children[index].id else { continue }
            var status: Int32 = 0
            guard waitpid(id, &status, WNOHANG) == id else { continue }
            children[index].id = nil
            let code = Self.exitCode(status)
            children[index].moment.exits[code.rawValue, default: 0] += 1
            let age = (ContinuousClock.now - children[index].started).components
            let ran = Int(age.seconds) * 1_000 + Int(age.attoseconds / 1_000_000_000_000_000)
            if children[index].process.isJob, code == .done {
                children[index].isFinished = true
                journal(
                    .notice, "job finished", ("process", .text(children[index].process.name)),
                    ("ran_ms", .integer(Int64(ran))))
                continue
            }
            let wait = children[index].policy.wait(
                after: code, ranMilliseconds: ran, jitter: Double.random(in: 0..<1, using: &random))
            journal(
                .warning, "process ended", ("process", .text(children[index].process.name)),
                ("exit", .integer(Int64(code.rawValue))), ("ran_ms", .integer(Int64(ran))),
                ("wait_ms", wait.map { .integer(Int64($0)) } ?? .null))
            guard let wait else { return code }
            children[index].startAt = .now + .milliseconds(wait)
        }
        return nil
    }

    /// A process that a signal ended is one to start again; one that does not understand its command
    /// line (64) never is.
    private static func exitCode(_ status: Int32) -> ExitCode {
        guard status & 0x7F == 0 else { return .restart }
        let code = status >> 8 & 0xFF
        return code == 64 ? .settings : ExitCode(rawValue: code) ?? .bug
    }

    /// SIGTERM to all, then `kill -9` to who has not drained in time.
    public func stopAll() {
        isDraining = true
        publish()
        for child in children { if let id = child.id { kill(id, SIGTERM) } }
        let deadline = ContinuousClock.now + .seconds(drainSeconds)
        while children.contains(where: { $0.id != nil }) {
            for index in children.indices {
                guard let id = children[index].id else { continue }
                var status: Int32 = 0
                if waitpid(id, &status, WNOHANG) == id { children[index].id = nil }
                if .now >= deadline { kill(id, SIGKILL) }
            }
            usleep(20_000)
        }
    }
}

/// Starts a program with every signal as it was meant to be: threads of a runtime block some, and a
/// child would inherit that and never hear SIGTERM. Returns 0 or an error number.
///
/// - Parameters:
///   - output: file that standard output is appended to; nil: this process' own.
///   - errors: the same for standard error.
///   - joinsOutputs: standard output goes where standard error goes.
package func spawn(
    _ id: inout pid_t, _ words: [String], output: String? = nil, errors: String? = nil,
    joinsOutputs: Bool = false
) -> Int32 {
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    sigaddset(&signals, SIGTERM)
    sigaddset(&signals, SIGINT)
    posix_spawnattr_setsigdefault(&attributes, &signals)
    posix_spawnattr_setflags(
        &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
    var files = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&files)
    defer { posix_spawn_file_actions_destroy(&files) }
    for (descriptor, file) in [(Int32(1), output), (2, errors)] {
        guard let file else { continue }
        posix_spawn_file_actions_addopen(
            &files, descriptor, file, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    }
    if joinsOutputs { posix_spawn_file_actions_adddup2(&files, 2, 1) }
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    return posix_spawn(&id, words[0], &files, &attributes, &arguments, environ)
}
