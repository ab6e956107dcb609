// SIGTERM and SIGINT as a value that the loop asks for.

import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

private let raised = Atomic<Bool>(false)

/// Runs inside a signal: does nothing that is not allowed there.
private func note(_ signal: Int32) { raised.store(true, ordering: .relaxed) }

/// Whether the process has been asked to stop.
public struct StopSignal: Sendable {
    private let ask: @Sendable () -> Bool

    /// Anything else that can say when to stop, for tests.
    public init(_ ask: @escaping @Sendable () -> Bool) { self.ask = ask }

    /// SIGTERM and SIGINT of this process, from now on.
    public static func ofProcess() -> StopSignal {
        signal(SIGTERM, note)
        signal(SIGINT, note)
        // Whoever started this process may have blocked them.
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGTERM)
        sigaddset(&signals, SIGINT)
        pthread_sigmask(SIG_UNBLOCK, &signals, nil)
        return StopSignal { raised.load(ordering: .relaxed) }
    }

    public var isRaised: Bool { ask() }
}
