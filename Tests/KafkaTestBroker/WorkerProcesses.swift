// Worker processes for tests that kill them, started again as a supervisor would.

import Foundation
import WorkerRuntime

/// Processes by name; what they write goes to a file.
public final class WorkerProcesses {
    /// Why a process could not be started.
    public struct Failure: Error, CustomStringConvertible {
        public let description: String
    }

    private let errors: String
    private var children: [String: (id: pid_t, words: [String])] = [:]
    /// How processes ended: exit code, or minus the signal.
    public private(set) var exits: [(name: String, code: Int32)] = []

    /// - Parameter errors: the file that standard error and output are appended to.
    public init(errors: String) { self.errors = errors }

    deinit { for (id, _) in children.values { kill(id, SIGKILL) } }

    public func start(_ name: String, _ words: [String]) throws {
        var id: pid_t = 0
        let code = spawn(&id, words, output: errors, errors: errors)
        guard code == 0 else {
            throw Failure(description: "\(words[0]): \(String(cString: strerror(code)))")
        }
        children[name] = (id, words)
    }

    public var names: [String] { children.keys.sorted() }

    /// Sends a signal; after SIGKILL the process is gone when this returns.
    public func signal(_ name: String, _ number: Int32) {
        if let child = children[name] { TestProcess.signal(child.id, number) }
    }

    /// Starts again what has ended with a code that allows it.
    public func tend() throws {
        for (name, child) in children {
            var status: Int32 = 0
            guard waitpid(child.id, &status, WNOHANG) == child.id else { continue }
            let code = Self.code(status)
            exits.append((name, code))
            children[name] = nil
            if code < 0 || ExitCode(rawValue: code)?.allowsRestart == true {
                try start(name, child.words)
            }
        }
    }

    /// SIGTERM, once the process heeds it; the exit code.
    public func stop(_ name: String) -> Int32? {
        if let child = children[name] { TestProcess.waitUntilItHeeds(child.id, SIGTERM) }
        signal(name, SIGTERM)
        return wait(name)
    }

    /// Waits for a process to end by itself, and kills it when that takes too long; nil: it does not run.
    public func wait(_ name: String, seconds: Int = 300) -> Int32? {
        guard let child = children.removeValue(forKey: name) else { return nil }
        let deadline = ContinuousClock.now + .seconds(seconds)
        var status: Int32 = 0
        while waitpid(child.id, &status, WNOHANG) != child.id {
            if ContinuousClock.now > deadline { kill(child.id, SIGKILL) }
            usleep(5_000)
        }
        let code = Self.code(status)
        exits.append((name, code))
        return code
    }

    private static func code(_ status: Int32) -> Int32 {
        status & 0x7F == 0 ? status >> 8 & 0xFF : -(status & 0x7F)
    }

    /// What the processes have written, line by line.
    public var lines: [String] {
        let text = (try? String(contentsOfFile: errors, encoding: .utf8)) ?? ""
        return text.split(separator: "\n").map(String.init)
    }
}

/// Signals to child processes.
public enum TestProcess {
    /// Sends a signal; after SIGKILL the process is gone when this returns, and waits to be reaped.
    public static func signal(_ id: pid_t, _ number: Int32) {
        kill(id, number)
        guard number == SIGKILL else { return }
        var information = siginfo_t()
        while waitid(P_PID, id_t(id), &information, WEXITED | WNOWAIT) == -1, errno == EINTR {}
    }

    /// Waits until a process has a handler for a signal that would end it before, or has ended.
    public static func waitUntilItHeeds(_ id: pid_t, _ number: Int32, seconds: Int = 30) {
        let deadline = ContinuousClock.now + .seconds(seconds)
        while ContinuousClock.now < deadline {
            let status = try? String(contentsOfFile: "/proc/\(id)/status", encoding: .utf8)
            guard let lines = status?.split(separator: "\n") else { return }
            func value(_ name: String) -> Substring? {
                lines.first { $0.hasPrefix(name) }?.split(separator: "\t").last
            }
            if value("State:")?.hasPrefix("Z") == true { return }
            let caught = value("SigCgt:").flatMap { UInt64($0, radix: 16) } ?? 0
            if caught & (1 << UInt64(number - 1)) != 0 { return }
        }
    }
}
