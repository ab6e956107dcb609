// A real Kafka broker for tests, where the environment names a Kafka distribution.

import Foundation

/// A single broker that this process has started by `ops/kafka` and that ends with it at the latest.
public final class RealBroker: Sendable {
    /// The folder of the Kafka distribution, from `KAFKA_HOME`.
    public static var home: String? {
        let home = ProcessInfo.processInfo.environment["KAFKA_HOME"] ?? ""
        return home.isEmpty ? nil : home
    }

    public static var isAvailable: Bool { home != nil }

    /// Why tests that need a broker are skipped.
    public static let absence = "KAFKA_HOME is not set: nothing was tested on a real broker"

    /// What went wrong with a broker.
    public struct Failure: Error, CustomStringConvertible {
        public let description: String
        public init(description: String) { self.description = description }
    }

    public let port: Int
    public let folder: String
    private let extraArguments: [String]

    public var address: String { "127.0.0.1:\(port)" }

    /// The broker's process; changes with `restart`.
    public var processID: Int32? {
        (try? String(contentsOfFile: "\(folder)/pid", encoding: .utf8))
            .flatMap { Int32($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
    }

    /// Starts a broker in a new temporary folder and waits until it answers.
    ///
    /// - Parameters:
    ///   - port: from `freePort`; nil: any.
    ///   - settings: lines of server.properties.
    ///   - arguments: further arguments of `ops/kafka start`.
    public init(
        port: Int? = nil, settings: [String: String] = [:], arguments: [String] = []
    ) throws {
        self.port = port ?? Self.freePort()
        folder = NSTemporaryDirectory() + "coldstream-broker-\(UUID().uuidString)"
        extraArguments = Self.arguments(settings) + arguments
        try restart()
    }

    deinit { end() }

    /// Starts the broker again after `kill` or `stop`, with its topics and records.
    ///
    /// - Parameter settings: lines of server.properties, for this time.
    public func restart(settings: [String: String] = [:]) throws {
        try Self.run(
            ["start", "--data", folder, "--port", "\(port)", "--owner", "\(getpid())"]
                + extraArguments + Self.arguments(settings))
    }

    private static func arguments(_ settings: [String: String]) -> [String] {
        settings.sorted { $0.key < $1.key }.flatMap { ["--set", "\($0.key)=\($0.value)"] }
    }

    /// `kill -9`; returns when the process is gone.
    public func kill() {
        guard let processID else { return }
        while Foundation.kill(processID, SIGKILL) == 0 { usleep(10_000) }
    }

    /// SIGSTOP: connections stay open and nothing answers.
    public func suspend() { signal(SIGSTOP) }

    /// SIGCONT.
    public func resume() { signal(SIGCONT) }

    private func signal(_ number: Int32) {
        if let processID { _ = Foundation.kill(processID, number) }
    }

    /// A clean stop.
    public func stop() throws { try Self.run(["stop", "--data", folder]) }

    /// Ends the broker and removes its folder.
    public func end() {
        kill()
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// One broker for all suites of this process that need nothing special. They run side by side: who kills
    /// or stops a broker has one of its own.
    public static func shared() throws -> RealBroker { try sharedResult.get() }

    private static let sharedResult = Result {
        let broker = try RealBroker()
        atexit { (try? RealBroker.shared())?.end() }
        return broker
    }

    /// The package's folder, which holds `ops/`.
    public static let package = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// Runs `ops/kafka` and waits for it. Its complaints go through a file: a pipe would stay open as
    /// long as the broker.
    private static func run(_ arguments: [String]) throws {
        let path = package.appendingPathComponent("ops/kafka").path
        let complaints = NSTemporaryDirectory() + "coldstream-\(UUID().uuidString).err"
        defer { unlink(complaints) }
        var files = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&files)
        defer { posix_spawn_file_actions_destroy(&files) }
        posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_addopen(&files, 2, complaints, O_WRONLY | O_CREAT, 0o600)
        var words: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var process: pid_t = 0
        // Threads of the test runner block signals, and a broker would inherit that.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        let code = posix_spawn(&process, path, &files, &attributes, &words, environ)
        guard code == 0 else {
            throw Failure(description: "\(path): \(String(cString: strerror(code)))")
        }
        var status: Int32 = 0
        while waitpid(process, &status, 0) == -1, errno == EINTR {}
        guard status == 0 else {
            let text = (try? String(contentsOfFile: complaints, encoding: .utf8)) ?? ""
            throw Failure(description: "ops/kafka \(arguments.joined(separator: " ")): \(text)")
        }
    }

    /// A port that is free together with the next one.
    public static func freePort() -> Int {
        var random = SystemRandomNumberGenerator()
        while true {
            let port = Int.random(in: 20_000..<32_000, using: &random)
            if canBind(port), canBind(port + 1) { return port }
        }
    }

    private static func canBind(_ port: Int) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }
}
