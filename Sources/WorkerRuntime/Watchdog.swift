// Ends the process when its one thread does not come back: librdkafka can hang, and a step can loop.

import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// A thread that watches for signs of life. Crash-only: what hangs is ended with "restart me".
public final class Watchdog: Sendable {
    private struct State {
        var deadline: ContinuousClock.Instant?
        var reason = ""
    }

    private let state = Mutex(State())
    private let end: @Sendable (String) -> Void

    /// - Parameter end: called with the reason; the default writes a line and ends the process.
    public init(end: @escaping @Sendable (String) -> Void = Watchdog.exit) { self.end = end }

    /// The process must call again, or `rest`, within so long.
    public func expect(within seconds: Int, _ reason: String) {
        state.withLock {
            $0.deadline = ContinuousClock.now + .seconds(seconds)
            $0.reason = reason
        }
    }

    /// Calls `body`, which must come back within so long, or sooner where that is expected already.
    func limit<Result>(
        toMilliseconds milliseconds: Int, _ reason: String, _ body: () throws -> Result
    ) rethrows -> Result {
        let own = ContinuousClock.now + .milliseconds(milliseconds)
        let before = state.withLock { state in
            let before = state
            if state.deadline.map({ own < $0 }) ?? true {
                state = State(deadline: own, reason: reason)
            }
            return before
        }
        defer { state.withLock { $0 = before } }
        return try body()
    }

    /// Nothing is expected for now.
    public func rest() { state.withLock { $0.deadline = nil } }

    /// Whether time is over, and what for.
    func overdue(at now: ContinuousClock.Instant = .now) -> String? {
        state.withLock { state in
            guard let deadline = state.deadline, now >= deadline else { return nil }
            return state.reason
        }
    }

    /// Starts the watching thread.
    public func start() {
        let context = Unmanaged.passRetained(self).toOpaque()
        var thread = pthread_t()
        pthread_create(&thread, nil, watch, context)
        pthread_detach(thread)
    }

    fileprivate func watchOnce() {
        if let reason = overdue() { end(reason) }
    }

    public static let exit: @Sendable (String) -> Void = { reason in
        writeToStandardError("coldstream: the worker hangs: \(reason)\n")
        _exit(ExitCode.restart.rawValue)
    }
}

private func watch(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    let watchdog = Unmanaged<Watchdog>.fromOpaque(context!).takeUnretainedValue()
    while true {
        usleep(250_000)
        watchdog.watchOnce()
    }
}
